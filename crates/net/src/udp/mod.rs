//! UDP sockets: source-address control for IKE, batches with segmentation offloads for ESP (RFC 3948).

mod batch;
pub(crate) mod control;
pub(crate) mod train;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

pub use batch::{Message, ReceiveBatch};
use control::{Control, ControlSpace};
pub use train::{MAX_TRAINS, Train};

use crate::Error;
use crate::socket::{self, RawAddress, set_option};

/// Most segments one send takes: the kernel's limit is 64 before Linux 6.9, and Nebula found that it counts one
/// too many there.
pub const MAX_SEGMENTS: usize = 63;
/// Largest UDP payload of one send over IPv4; IPv6 would allow 20 octets more.
pub const MAX_PAYLOAD: usize = 65_507;

/// How to open a socket.
#[derive(Clone, Debug, Default)]
pub struct UdpOptions {
    /// Bind to this interface only.
    pub device: Option<String>,
    /// Receive buffer in octets; forced beyond `rmem_max` where we may.
    pub receive_buffer: Option<usize>,
    /// Send buffer in octets; forced beyond `wmem_max` where we may.
    pub send_buffer: Option<usize>,
}

/// A datagram's length and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Octets written to the caller's buffer.
    pub len: usize,
    /// Where it was sent to: our address and port.
    pub local: SocketAddr,
    /// Where it came from.
    pub remote: SocketAddr,
    /// It was longer than the buffer; the rest is lost.
    pub truncated: bool,
}

/// A non-blocking UDP socket with `SO_REUSEADDR`: the wildcard socket of the control plane and the connected
/// sockets of the tunnels share a port, and the kernel prefers the connected one for its peer's datagrams.
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    local: SocketAddr,
}

impl UdpSocket {
    /// Opens and binds. An IPv6 socket takes IPv6 only, so that IPv4 can be bound beside it.
    ///
    /// # Errors
    /// When the address is not ours, the port is taken by a program without `SO_REUSEADDR`, or the port is below
    /// 1024 and the process lacks CAP_NET_BIND_SERVICE.
    pub fn bind(local: SocketAddr, options: &UdpOptions) -> Result<Self, Error> {
        let what = || format!("open UDP socket {local}");
        let wrap = |e| Error::system(what(), e);
        let domain = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let fd = socket::open(domain, libc::SOCK_DGRAM, libc::IPPROTO_UDP).map_err(wrap)?;
        let raw = fd.as_raw_fd();
        set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).map_err(wrap)?;
        if let Some(device) = &options.device {
            socket::bind_to_device(fd.as_fd(), device).map_err(wrap)?;
        }
        if local.is_ipv4() {
            set_option(raw, libc::IPPROTO_IP, libc::IP_PKTINFO, 1).map_err(wrap)?;
            set_option(raw, libc::IPPROTO_IP, libc::IP_RECVTOS, 1).map_err(wrap)?;
        } else {
            set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).map_err(wrap)?;
            set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1).map_err(wrap)?;
            set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1).map_err(wrap)?;
        }
        if let Some(octets) = options.receive_buffer {
            socket::set_buffer(raw, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, octets).map_err(wrap)?;
        }
        if let Some(octets) = options.send_buffer {
            socket::set_buffer(raw, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, octets).map_err(wrap)?;
        }
        socket::bind(raw, local).map_err(wrap)?;
        let local = socket::local_address(raw).map_err(wrap)?;
        Ok(Self { fd, local })
    }

    /// Fixes the peer: from now on only its datagrams arrive here. May be called again with another peer.
    ///
    /// # Errors
    /// When there is no route to it.
    pub fn connect(&self, remote: SocketAddr) -> Result<(), Error> {
        socket::connect(self.raw(), remote)
            .map_err(|e| Error::system(format!("connect UDP socket {} to {remote}", self.local), e))
    }

    /// The address it is bound to.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Path MTU the kernel knows for a connected socket, in octets of IP packet.
    pub fn path_mtu(&self) -> Option<u16> {
        socket::path_mtu(self.raw(), self.local.is_ipv4())
    }

    /// Datagrams that the kernel dropped because this socket's receive buffer was full.
    pub fn dropped(&self) -> u64 {
        socket::dropped(self.raw())
    }

    /// Lets the kernel hand over several equal-sized datagrams as one message (`UDP_GRO`).
    ///
    /// # Errors
    /// When the kernel is older than 5.0.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        set_option(self.raw(), libc::SOL_UDP, libc::UDP_GRO, i32::from(on))
    }

    /// Sends one datagram, from `source` where the socket is bound to the wildcard.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when its buffer is full.
    pub fn send_to(&self, payload: &[u8], source: Option<IpAddr>, remote: SocketAddr) -> io::Result<()> {
        let mut space = ControlSpace::new();
        let mut control = Control::new(&mut space);
        if let Some(source) = source {
            control.push_source(source);
        }
        control::send(self.raw(), payload, Some(remote), control)
    }

    /// Sends `payload` on a connected socket with `tos` in the IP header. Longer than `segment`, it leaves as
    /// datagrams of `segment` octets each and a shorter last one (`UDP_SEGMENT`); at most [`MAX_SEGMENTS`] of
    /// them and [`MAX_PAYLOAD`] octets.
    ///
    /// # Errors
    /// The kernel's: `EIO` and `EINVAL` mean that this path cannot segment, `EMSGSIZE` that a segment is larger
    /// than the path MTU, `ECONNREFUSED` reports an earlier ICMP error.
    pub fn send_segments(&self, payload: &[u8], segment: u16, tos: u8) -> io::Result<()> {
        let mut space = ControlSpace::new();
        let mut control = Control::new(&mut space);
        if payload.len() > usize::from(segment) {
            control.push_segment(segment);
        }
        if tos != 0 {
            control.push_tos(tos, self.local.is_ipv4());
        }
        control::send(self.raw(), payload, None, control)
    }

    /// Sends as many of `trains` as the kernel takes, in their order, with one system call
    /// ([`sendmmsg`](https://man7.org/linux/man-pages/man2/sendmmsg.2.html)), at most [`MAX_TRAINS`] of them; how many
    /// it were, at least one.
    ///
    /// # Errors
    /// Those of [`Self::send_segments`] for the first of them, when that was not sent.
    pub fn send_trains(&self, trains: &[Train<'_>]) -> io::Result<usize> {
        train::send(self.raw(), trains, self.local.is_ipv4())
    }

    /// Receives one datagram with both its addresses.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when none is there.
    pub fn receive_from(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let mut remote = RawAddress::empty();
        let mut space = ControlSpace::new();
        let (len, flags, info) = control::receive(self.raw(), buffer, &mut remote, &mut space)?;
        let remote = remote.to_address().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let local = SocketAddr::new(info.destination.unwrap_or(self.local.ip()), self.local.port());
        Ok(Datagram { len, local, remote, truncated: flags & libc::MSG_TRUNC != 0 })
    }

    /// Receives what is there, up to the batch's size, without waiting; the number of messages.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when none is there.
    pub fn receive_batch(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.receive(self.raw())
    }

    fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
