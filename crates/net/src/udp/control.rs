//! Ancillary data: building and reading control messages (cmsg(3)), and the two calls that carry them.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

use crate::socket::RawAddress;

/// Octets of ancillary data per message: pktinfo (40 for IPv6), TOS or class (24), segment size (24), overflow
/// counter (24), with room to spare.
pub(crate) const CONTROL_LEN: usize = 160;

/// Header of one control message on a 64-bit kernel: length, level, type.
const HEADER_LEN: usize = size_of::<libc::cmsghdr>();
const ALIGNMENT: usize = size_of::<usize>();

/// A buffer with the alignment that the kernel's `cmsghdr` needs.
#[repr(align(8))]
#[derive(Clone, Copy)]
pub(crate) struct ControlSpace(pub(crate) [u8; CONTROL_LEN]);

impl ControlSpace {
    pub(crate) const fn new() -> Self {
        Self([0; CONTROL_LEN])
    }
}

/// Control messages under construction.
pub(crate) struct Control<'s> {
    space: &'s mut ControlSpace,
    used: usize,
}

impl<'s> Control<'s> {
    pub(crate) const fn new(space: &'s mut ControlSpace) -> Self {
        Self { space, used: 0 }
    }

    /// The source address of the datagram (IP_PKTINFO, IPV6_PKTINFO).
    pub(crate) fn push_source(&mut self, source: IpAddr) {
        match source {
            IpAddr::V4(ip) => {
                // in_pktinfo: interface index, source address (`ipi_spec_dst`), destination.
                let mut data = [0; 12];
                data[4..8].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
            }
            IpAddr::V6(ip) => {
                // in6_pktinfo: address, interface index.
                let mut data = [0; 20];
                data[..16].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
            }
        }
    }

    /// The size of the datagrams that the payload is cut into.
    pub(crate) fn push_segment(&mut self, segment: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
    }

    /// The TOS or traffic class octet.
    pub(crate) fn push_tos(&mut self, tos: u8, ipv4: bool) {
        let value = i32::from(tos).to_ne_bytes();
        if ipv4 {
            self.push(libc::IPPROTO_IP, libc::IP_TOS, &value);
        } else {
            self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &value);
        }
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let len = HEADER_LEN + data.len();
        let Some(room) = self.space.0.get_mut(self.used..self.used + len.next_multiple_of(ALIGNMENT)) else {
            debug_assert!(false, "CONTROL_LEN holds every message we build");
            return;
        };
        room.fill(0);
        room[..ALIGNMENT].copy_from_slice(&len.to_ne_bytes());
        room[ALIGNMENT..ALIGNMENT + 4].copy_from_slice(&level.to_ne_bytes());
        room[ALIGNMENT + 4..HEADER_LEN].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER_LEN..len].copy_from_slice(data);
        self.used += len.next_multiple_of(ALIGNMENT);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.space.0.get(..self.used).unwrap_or(&[])
    }
}

/// What the kernel said about a received message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiveInfo {
    /// Our address it was sent to.
    pub(crate) destination: Option<IpAddr>,
    /// The TOS or traffic class octet.
    pub(crate) tos: u8,
    /// Size of the datagrams that were put together; zero when it is one datagram.
    pub(crate) segment: usize,
}

/// Reads the control messages in `bytes`; unknown ones are skipped, a malformed one ends the walk.
pub(crate) fn parse(bytes: &[u8]) -> ReceiveInfo {
    let mut info = ReceiveInfo::default();
    let mut rest = bytes;
    while let Some((level, kind, data, next)) = next_message(rest) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // `ipi_addr`, the header's destination, is the third word.
                if let Some(octets) = data.get(8..12).and_then(|b| <[u8; 4]>::try_from(b).ok()) {
                    info.destination = Some(Ipv4Addr::from(octets).into());
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                if let Some(octets) = data.get(..16).and_then(|b| <[u8; 16]>::try_from(b).ok()) {
                    info.destination = Some(Ipv6Addr::from(octets).into());
                }
            }
            // One octet, whereas sending takes an int.
            (libc::IPPROTO_IP, libc::IP_TOS) => info.tos = data.first().copied().unwrap_or(0),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                info.tos = int(data).and_then(|value| u8::try_from(value).ok()).unwrap_or(0);
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                info.segment = int(data).and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
            }
            _ => {}
        }
        rest = next;
    }
    info
}

fn int(data: &[u8]) -> Option<i32> {
    data.get(..4).and_then(|b| <[u8; 4]>::try_from(b).ok()).map(i32::from_ne_bytes)
}

fn next_message(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(bytes.get(..ALIGNMENT)?.try_into().ok()?);
    let level = int(bytes.get(ALIGNMENT..)?)?;
    let kind = int(bytes.get(ALIGNMENT + 4..)?)?;
    let data = bytes.get(HEADER_LEN..len)?;
    Some((level, kind, data, bytes.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or(&[])))
}

/// sendmsg(2) of one buffer.
pub(crate) fn send(
    fd: RawFd,
    payload: &[u8],
    remote: Option<SocketAddr>,
    control: Control<'_>,
) -> io::Result<()> {
    let remote = remote.map(RawAddress::new);
    let mut part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: msghdr is plain integers and pointers; all zeroes is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    if let Some(remote) = &remote {
        header.msg_name = remote.as_ptr().cast_mut().cast();
        header.msg_namelen = remote.len();
    }
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    let bytes = control.bytes();
    if !bytes.is_empty() {
        header.msg_control = bytes.as_ptr().cast_mut().cast();
        header.msg_controllen = bytes.len();
    }
    // SAFETY: every pointer in `header` refers to a live buffer of the length beside it; sendmsg only reads.
    let result = unsafe { libc::sendmsg(fd, &raw const header, libc::MSG_NOSIGNAL) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// recvmsg(2) into one buffer: the number of octets, the flags, and what the kernel said.
pub(crate) fn receive(
    fd: RawFd,
    buffer: &mut [u8],
    remote: &mut RawAddress,
    space: &mut ControlSpace,
) -> io::Result<(usize, i32, ReceiveInfo)> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: as in `send`.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = remote.as_mut_ptr().cast();
    header.msg_namelen = remote.len();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = space.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN;
    // SAFETY: every pointer in `header` refers to a live, writable buffer of the length beside it.
    let result = unsafe { libc::recvmsg(fd, &raw mut header, 0) };
    let len = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
    let info = parse(space.0.get(..header.msg_controllen).unwrap_or(&[]));
    Ok((len, header.msg_flags, info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_can_be_read_back() {
        let mut space = ControlSpace::new();
        let mut control = Control::new(&mut space);
        control.push_segment(1472);
        control.push_tos(0x2a, true);
        let bytes = control.bytes();
        let (level, kind, data, rest) = next_message(bytes).unwrap();
        assert_eq!((level, kind, data), (libc::SOL_UDP, libc::UDP_SEGMENT, &1472_u16.to_ne_bytes()[..]));
        let (level, kind, data, rest) = next_message(rest).unwrap();
        assert_eq!((level, kind, int(data)), (libc::IPPROTO_IP, libc::IP_TOS, Some(0x2a)));
        assert!(rest.is_empty());
    }

    #[test]
    fn a_received_set_is_understood() {
        let mut space = ControlSpace::new();
        let mut control = Control::new(&mut space);
        control.push(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        control.push(libc::SOL_UDP, libc::UDP_GRO, &1472_i32.to_ne_bytes());
        control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &[1, 0, 0, 0, 10, 0, 0, 1, 192, 0, 2, 7]);
        control.push(libc::IPPROTO_IP, libc::IP_TOS, &[0x2b]);
        let expected =
            ReceiveInfo { destination: Some("192.0.2.7".parse().unwrap()), tos: 0x2b, segment: 1472 };
        assert_eq!(parse(control.bytes()), expected);
    }

    #[test]
    fn truncated_and_lying_messages_end_the_walk() {
        let mut space = ControlSpace::new();
        let mut control = Control::new(&mut space);
        control.push(libc::SOL_UDP, libc::UDP_GRO, &1472_i32.to_ne_bytes());
        let bytes = control.bytes().to_vec();
        for len in 0..20 {
            assert_eq!(parse(&bytes[..len]).segment, 0);
        }
        for lie in [0_usize, 1, 15, 1000, usize::MAX - 7] {
            let mut bytes = bytes.clone();
            bytes[..8].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(parse(&bytes), ReceiveInfo::default());
        }
        let negative = {
            let mut bytes = bytes;
            bytes[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
            bytes
        };
        assert_eq!(parse(&negative).segment, 0);
    }
}
