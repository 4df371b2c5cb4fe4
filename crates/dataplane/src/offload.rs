//! What the kernel can do for us: asked at the start, never taken for granted.

use std::io::{self, IoSlice};

use esp::segment::{Gso, VnetHeader};
use net::tun::{Tun, TunOffloads};

use crate::{OffloadState, OffloadStates, OffloadSwitches};

/// Payload of each of the two segments of a trial super-packet.
const TRIAL_SEGMENT: usize = 100;

/// The device's form of a header, for the transform.
pub(crate) const fn from_device(vnet: &net::tun::VnetHeader) -> VnetHeader {
    VnetHeader {
        needs_checksum: vnet.needs_checksum,
        gso: match vnet.gso {
            net::tun::Gso::None => Gso::None,
            net::tun::Gso::Tcp4 => Gso::Tcp4,
            net::tun::Gso::Tcp6 => Gso::Tcp6,
            net::tun::Gso::Udp => Gso::Udp,
        },
        ecn: vnet.ecn,
        header_len: vnet.header_len,
        gso_size: vnet.gso_size,
        checksum_start: vnet.checksum_start,
        checksum_offset: vnet.checksum_offset,
    }
}

/// The transform's form of a header, for the device.
pub(crate) const fn to_device(vnet: &VnetHeader) -> net::tun::VnetHeader {
    net::tun::VnetHeader {
        needs_checksum: vnet.needs_checksum,
        gso: match vnet.gso {
            Gso::None => net::tun::Gso::None,
            Gso::Tcp4 => net::tun::Gso::Tcp4,
            Gso::Tcp6 => net::tun::Gso::Tcp6,
            Gso::Udp => net::tun::Gso::Udp,
        },
        ecn: vnet.ecn,
        header_len: vnet.header_len,
        gso_size: vnet.gso_size,
        checksum_start: vnet.checksum_start,
        checksum_offset: vnet.checksum_offset,
    }
}

/// Switches on what the device offers, and finds out by trial what it takes. The interface must be up: a write
/// fails before.
pub(crate) fn negotiate(tun: &Tun, switches: OffloadSwitches) -> OffloadStates {
    let mut states = OffloadStates::default();
    if switches.udp_gso {
        states.udp_gso = if corrupts_udp_gso(net::process::kernel_version()) {
            OffloadState::Corrupting
        } else {
            OffloadState::On
        };
    }
    if !tun.has_vnet_header() {
        return states;
    }
    states.tun_tso = OffloadState::On;
    states.tun_uso = OffloadState::On;
    if let Err(error) = tun.set_offloads(TunOffloads { tso: true, uso: true }) {
        // Linux before 6.2 does not know UDP here, and then refuses all.
        states.tun_uso = unavailable(&error);
        if let Err(error) = tun.set_offloads(TunOffloads { tso: true, uso: false }) {
            states.tun_tso = unavailable(&error);
            // The mask may be left from a former user of the device; clearing it cannot fail where setting did.
            let _ = tun.set_offloads(TunOffloads::default());
        }
    }
    states.tun_merge = try_super_packet(tun, false);
    states.tun_merge_udp = try_super_packet(tun, true);
    states
}

fn unavailable(error: &io::Error) -> OffloadState {
    OffloadState::Unavailable(error.raw_os_error().unwrap_or(net::errno::EINVAL))
}

/// Some kernels refuse every super-packet (6.6.44 and its relatives), so one is written that no host accepts: from
/// and to the loopback address, with nothing left to live.
fn try_super_packet(tun: &Tun, udp: bool) -> OffloadState {
    let (vnet, packet) = trial_packet(udp);
    match tun.write_vectored(&[IoSlice::new(&vnet.encode()), IoSlice::new(&packet)]) {
        Ok(()) => OffloadState::On,
        Err(error) => unavailable(&error),
    }
}

fn trial_packet(udp: bool) -> (net::tun::VnetHeader, Vec<u8>) {
    let transport_len = if udp { 8 } else { 20 };
    let total = 20 + transport_len + 2 * TRIAL_SEGMENT;
    let protocol = if udp { esp::packet::UDP } else { esp::packet::TCP };
    let [high, low] = (total as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 0, protocol, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    esp::checksum::set_ipv4_header(&mut packet);
    if udp {
        let [high, low] = ((total - 20) as u16).to_be_bytes();
        packet.extend([0, 9, 0, 9, high, low, 0, 0]);
    } else {
        packet.extend([0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    }
    packet.resize(total, 0);
    let vnet = net::tun::VnetHeader {
        needs_checksum: true,
        gso: if udp { net::tun::Gso::Udp } else { net::tun::Gso::Tcp4 },
        ecn: false,
        header_len: 20 + transport_len as u16,
        gso_size: TRIAL_SEGMENT as u16,
        checksum_start: 20,
        checksum_offset: if udp { 6 } else { 16 },
    };
    (vnet, packet)
}

/// Linux 7.0.0 to 7.1.4 mangles the UDP header of a train whose segments are all of one length, which ours are.
fn corrupts_udp_gso(version: (u32, u32, u32)) -> bool {
    ((7, 0, 0)..=(7, 1, 4)).contains(&version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trial_packets_are_what_their_headers_say() {
        for udp in [false, true] {
            let (vnet, packet) = trial_packet(udp);
            let segments = esp::segment::Segments::new(&from_device(&vnet), &packet).unwrap();
            assert_eq!(segments.count(), 2);
            assert_eq!(to_device(&from_device(&vnet)), vnet);
        }
    }

    #[test]
    fn only_the_kernels_with_the_bug_are_kept_from_udp_gso() {
        assert!(!corrupts_udp_gso((6, 18, 44)));
        assert!(corrupts_udp_gso((7, 0, 0)));
        assert!(corrupts_udp_gso((7, 1, 4)));
        assert!(!corrupts_udp_gso((7, 1, 5)));
    }
}
