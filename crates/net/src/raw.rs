//! Raw IP protocol 50 sockets: ESP without UDP encapsulation (RFC 4303 §2). Needs CAP_NET_RAW, so it is opened
//! only when a child SA asks for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::Error;
use crate::socket::{self, set_option};
use crate::udp::train;
use crate::udp::{ReceiveBatch, Train};

/// A non-blocking raw socket for protocol 50 between two fixed addresses.
#[derive(Debug)]
pub struct EspSocket {
    fd: OwnedFd,
    ipv4: bool,
}

impl EspSocket {
    /// Opens, binds to `local` and connects to `remote`: only that peer's packets arrive. The kernel writes the
    /// outer IP header when sending.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, when `local` is not ours, or when there is no route.
    pub fn open(local: IpAddr, remote: IpAddr, receive: usize, send: usize) -> Result<Self, Error> {
        let wrap = |e| Error::system(format!("open a raw ESP socket from {local} to {remote}"), e);
        let ipv4 = local.is_ipv4();
        let domain = if ipv4 { libc::AF_INET } else { libc::AF_INET6 };
        let fd = socket::open(domain, libc::SOCK_RAW, libc::IPPROTO_ESP).map_err(wrap)?;
        let raw = fd.as_raw_fd();
        if ipv4 {
            set_option(raw, libc::IPPROTO_IP, libc::IP_RECVTOS, 1).map_err(wrap)?;
        } else {
            set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1).map_err(wrap)?;
        }
        socket::set_buffer(raw, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, receive).map_err(wrap)?;
        socket::set_buffer(raw, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, send).map_err(wrap)?;
        socket::bind(raw, SocketAddr::new(local, 0)).map_err(wrap)?;
        socket::connect(raw, SocketAddr::new(remote, 0)).map_err(wrap)?;
        Ok(Self { fd, ipv4 })
    }

    /// Sends as many of `packets` as the kernel takes, in their order, with one system call; how many it were, at
    /// least one. A train of more than one packet is refused: the kernel does not cut up protocol 50.
    ///
    /// # Errors
    /// The kernel's for the first of them, when that was not sent; `EMSGSIZE` when it is larger than the path MTU.
    pub fn send_trains(&self, packets: &[Train<'_>]) -> io::Result<usize> {
        match packets.iter().position(Train::is_cut) {
            Some(0) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            Some(first) => {
                train::send(self.fd.as_raw_fd(), packets.get(..first).unwrap_or_default(), self.ipv4)
            }
            None => train::send(self.fd.as_raw_fd(), packets, self.ipv4),
        }
    }

    /// Receives what is there; for IPv4 each message starts with the IP header, see [`strip_ipv4_header`].
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when nothing is there.
    pub fn receive_batch(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.receive(self.fd.as_raw_fd())
    }

    /// Whether messages start with an IPv4 header.
    pub const fn is_ipv4(&self) -> bool {
        self.ipv4
    }

    /// Packets that the kernel dropped because this socket's receive buffer was full.
    pub fn dropped(&self) -> u64 {
        socket::dropped(self.fd.as_raw_fd())
    }

    /// Path MTU the kernel knows towards the peer.
    pub fn path_mtu(&self) -> Option<u16> {
        socket::path_mtu(self.fd.as_raw_fd(), self.ipv4)
    }
}

impl AsFd for EspSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What follows the IPv4 header of a packet from a raw socket; `None` when the header's length is wrong.
pub fn strip_ipv4_header(packet: &mut [u8]) -> Option<&mut [u8]> {
    let len = usize::from(packet.first()? & 0x0f) * 4;
    if len < 20 { None } else { packet.get_mut(len..) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ip_header_is_stripped_with_its_options() {
        let mut packet = [0_u8; 30];
        packet[0] = 0x46;
        assert_eq!(strip_ipv4_header(&mut packet).map(|rest| rest.len()), Some(6));
        packet[0] = 0x44;
        assert_eq!(strip_ipv4_header(&mut packet), None);
        packet[0] = 0x4f;
        assert_eq!(strip_ipv4_header(&mut packet), None);
        assert_eq!(strip_ipv4_header(&mut []), None);
    }
}
