//! A source of ESP packets that costs almost nothing while it is measured against: it seals one TCP stream's worth of
//! packets beforehand, then sends the lot whenever it is told `go`.
//!
//! The receiver's SA must be renewed before each `go` (see [`super::plane`]): the same numbers are sent again.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use esp::OutboundSa;
use esp::checksum;
use net::udp::{MAX_PAYLOAD, MAX_SEGMENTS, UdpOptions, UdpSocket};
use serde::{Deserialize, Serialize};

use super::plane::{End, SUITE};
use super::{answer, next_line, stamp};
use crate::bench::rig::{LAN_HOST, VPC_HOST};

/// IPv4 and TCP headers of an inner packet, no options.
const HEADERS: usize = 40;
const IPV4_HEADER: usize = 20;
/// IPv4 in tunnel mode.
const NEXT_HEADER: u8 = 4;

/// What to send.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::bench) struct Options {
    /// Our outside address and port.
    #[arg(long)]
    pub(super) local: SocketAddr,
    /// The receiver's.
    #[arg(long)]
    pub(super) remote: SocketAddr,
    /// Octets of the inner IP packet.
    #[arg(long, default_value_t = 1400)]
    pub(super) size: usize,
    /// How many packets to seal.
    #[arg(long)]
    pub(super) packets: usize,
    /// Packets a second; 0 for as many as possible.
    #[arg(long, default_value_t = 0)]
    pub(super) rate: u64,
}

/// One pass over the sealed packets.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(in crate::bench) struct Report {
    pub(in crate::bench) sent: u64,
    pub(in crate::bench) seconds: f64,
}

/// Seals, then sends at every `go` until standard input ends.
pub(super) fn run(options: &Options) -> Result<()> {
    let sealed_len = outbound()?.sealed_len(options.size);
    let sealed = seal(options, sealed_len)?;
    let udp = UdpOptions { send_buffer: Some(8 << 20), ..UdpOptions::default() };
    let socket = UdpSocket::bind(options.local, &udp)?;
    socket.connect(options.remote)?;
    answer(&"ready")?;
    while let Some(line) = next_line() {
        match line.as_str() {
            "go" => answer(&send(&socket, &sealed, sealed_len, options.rate)?)?,
            _ => bail!("go; not {line:?}"),
        }
    }
    Ok(())
}

fn send(socket: &UdpSocket, sealed: &[u8], len: usize, rate: u64) -> Result<Report> {
    use std::os::fd::AsFd as _;
    let train = len * MAX_SEGMENTS.min(MAX_PAYLOAD / len);
    let segment = u16::try_from(len)?;
    let start = stamp::now();
    let mut sent = 0;
    for octets in sealed.chunks(train) {
        let packets = (octets.len() / len) as u64;
        if rate > 0 {
            // It has a CPU of its own, and a sleep would make bursts.
            while (stamp::now() - start) as f64 * (rate as f64) < sent as f64 * 1e9 {
                std::hint::spin_loop();
            }
        }
        loop {
            match socket.send_segments(octets, segment, 0) {
                Ok(()) => break,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    net::poll::wait_writable(socket.as_fd(), std::time::Duration::from_millis(100))?;
                }
                Err(error) => return Err(error).context("cannot send sealed packets"),
            }
        }
        sent += packets;
    }
    Ok(Report { sent, seconds: (stamp::now() - start) as f64 / 1e9 })
}

fn outbound() -> Result<OutboundSa> {
    Ok(OutboundSa::new(End::Gw.spi()?, SUITE, &End::Gw.keys())?)
}

/// One TCP stream from the VPC host to the LAN host, whose segments follow each other without a gap.
fn seal(options: &Options, sealed_len: usize) -> Result<Vec<u8>> {
    if options.size <= HEADERS || options.packets == 0 {
        bail!("a packet needs more than its {HEADERS} octets of headers, and there must be one");
    }
    let sa = outbound()?;
    let mut sealed = vec![0; sealed_len * options.packets];
    let mut packet = vec![0x5a; options.size];
    let mut position = 1_u32;
    for slot in sealed.chunks_exact_mut(sealed_len) {
        segment(&mut packet, position)?;
        position = position.wrapping_add(u32::try_from(options.size - HEADERS)?);
        if sa.seal_into(sa.reserve(1)?, &packet, NEXT_HEADER, slot) != sealed_len {
            bail!("a slot is too short");
        }
    }
    Ok(sealed)
}

/// Headers of an IPv4 TCP segment with the given sequence number, checksums included.
fn segment(packet: &mut [u8], position: u32) -> Result<()> {
    let transport = packet.len() - IPV4_HEADER;
    let mut header = vec![0x45, 0];
    header.extend(u16::try_from(packet.len())?.to_be_bytes());
    // No identification, DF, 64 hops, TCP, no checksum yet.
    header.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    for address in [VPC_HOST, LAN_HOST] {
        let IpAddr::V4(address) = address else { bail!("the rig has IPv4 addresses") };
        header.extend(address.octets());
    }
    // Ports, sequence and acknowledgment numbers, ACK alone, window, the pseudo-header's sum, urgent pointer.
    header.extend([0x14, 0x51, 0x14, 0x52]);
    header.extend(position.to_be_bytes());
    header.extend([0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff]);
    header.extend(checksum::pseudo_header(VPC_HOST, LAN_HOST, 6, transport).folded());
    header.extend([0, 0]);
    packet.get_mut(..HEADERS).context("no room for headers")?.copy_from_slice(&header);
    checksum::set_ipv4_header(packet.get_mut(..IPV4_HEADER).unwrap_or_default());
    checksum::complete(packet, 20, 16).context("no room for a checksum")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segments_of_the_stream_have_good_checksums() {
        let mut packet = vec![0x5a; 101];
        segment(&mut packet, 77).unwrap();
        let inner = esp::packet::Inner::parse(&packet).unwrap();
        assert_eq!((inner.total_len, inner.protocol), (101, 6));
        assert_eq!(checksum::verify_transport(&inner, &packet), Some(true));
        assert_eq!(checksum::Sum::of(&packet[..20]).checksum(), [0, 0]);
    }
}
