//! Raw ICMP and ICMPv6 sockets, for measurements that a person asked for. Needs CAP_NET_RAW.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::Error;
use crate::raw::strip_ipv4_header;
use crate::socket::{self, RawAddress, set_option};
use crate::udp::control::{self, Control, ControlSpace};

/// A non-blocking raw socket for ICMP (IPv4) or ICMPv6.
///
/// It hears every ICMP message that arrives here; the caller picks its own. Its packets are never fragmented, and
/// what the kernel has learnt about the path is ignored: that is what is to be measured.
#[derive(Debug)]
pub struct IcmpSocket {
    fd: OwnedFd,
    ipv4: bool,
}

impl IcmpSocket {
    /// Opens one that sends from `local`, and through `interface` whatever the routes say when that is given.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, when `local` is not ours, or there is no such interface.
    pub fn open(local: IpAddr, interface: Option<&str>) -> Result<Self, Error> {
        let wrap = |e| Error::system(format!("open a raw ICMP socket on {local}"), e);
        let ipv4 = local.is_ipv4();
        let (domain, protocol) =
            if ipv4 { (libc::AF_INET, libc::IPPROTO_ICMP) } else { (libc::AF_INET6, libc::IPPROTO_ICMPV6) };
        let fd = socket::open(domain, libc::SOCK_RAW, protocol).map_err(wrap)?;
        let raw = fd.as_raw_fd();
        if ipv4 {
            set_option(raw, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
                .map_err(wrap)?;
        } else {
            let probe = libc::IPV6_PMTUDISC_PROBE;
            set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, probe).map_err(wrap)?;
            set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1).map_err(wrap)?;
        }
        if let Some(interface) = interface {
            socket::bind_to_device(fd.as_fd(), interface).map_err(wrap)?;
        }
        socket::bind(raw, SocketAddr::new(local, 0)).map_err(wrap)?;
        Ok(Self { fd, ipv4 })
    }

    /// Sends with this TTL (hop limit) from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_ttl(&self, ttl: u8) -> io::Result<()> {
        let (level, name) = if self.ipv4 {
            (libc::IPPROTO_IP, libc::IP_TTL)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS)
        };
        set_option(self.fd.as_raw_fd(), level, name, i32::from(ttl))
    }

    /// Sends one ICMP message; the kernel writes the IP header, and for ICMPv6 the checksum.
    ///
    /// # Errors
    /// The kernel's; `EMSGSIZE` when it is larger than the interface takes.
    pub fn send_to(&self, message: &[u8], remote: IpAddr) -> io::Result<()> {
        let mut space = ControlSpace::new();
        control::send(
            self.fd.as_raw_fd(),
            message,
            Some(SocketAddr::new(remote, 0)),
            Control::new(&mut space),
        )
    }

    /// The next ICMP message, without an IP header, and who sent it.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when nothing is there.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<(&'b mut [u8], IpAddr)> {
        let mut address = RawAddress::empty();
        let (pointer, room) = (address.as_mut_ptr(), buffer.len());
        // SAFETY: the buffer is writable for `room` octets and the address for its length, both during the call.
        let len = unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                room,
                0,
                pointer,
                address.len_mut(),
            )
        };
        let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let from = address.to_address().ok_or_else(invalid)?.ip();
        let packet = buffer.get_mut(..len).ok_or_else(invalid)?;
        let message = if self.ipv4 { strip_ipv4_header(packet).ok_or_else(invalid)? } else { packet };
        Ok((message, from))
    }
}

impl AsFd for IcmpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_echo_request_to_ourselves_is_heard_and_answered() {
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        // Without root there is nothing to test.
        let Ok(socket) = IcmpSocket::open(local, None) else { return };
        // Type 8, code 0, checksum, identifier 0xc6d0, sequence 1, no data.
        let request = [8, 0, 0x31, 0x2e, 0xc6, 0xd0, 0, 1];
        socket.send_to(&request, local).unwrap();
        let mut buffer = [0; 128];
        for _ in 0..20 {
            let _ = crate::poll::wait(&[socket.as_fd()], Some(Duration::from_millis(100)));
            let Ok((message, from)) = socket.receive(&mut buffer) else { continue };
            if message.first() == Some(&0) && message.get(4..) == request.get(4..) {
                assert_eq!(from, local);
                return;
            }
        }
        panic!("no echo reply");
    }
}
