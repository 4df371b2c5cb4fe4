//! Listening to an interface's packets without disturbing them (packet(7)). Needs CAP_NET_RAW.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::Error;
use crate::socket;

/// Every protocol.
const ALL: u16 = libc::ETH_P_ALL as u16;

/// A non-blocking socket that hears what one interface sends and receives, each packet from its IP header on.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Listens to the interface with this index.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or when there is no such interface.
    pub fn open(index: u32) -> Result<Self, Error> {
        let wrap = |e| Error::system(format!("listen to interface number {index}"), e);
        // Bound before a protocol is given, so that nothing of another interface is heard in between.
        let fd = socket::open(libc::AF_PACKET, libc::SOCK_DGRAM, 0).map_err(wrap)?;
        // SAFETY: sockaddr_ll is plain integers; all zeroes is a valid value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = ALL.to_be();
        address.sll_ifindex = i32::try_from(index).unwrap_or(i32::MAX);
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address is readable for its length.
        let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
        if result != 0 {
            return Err(wrap(io::Error::last_os_error()));
        }
        Ok(Self(fd))
    }

    /// The next packet's first octets, as many as fit the buffer, and whether it was sent (else it was received).
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` when nothing is there.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<(&'b [u8], bool)> {
        // SAFETY: sockaddr_ll is plain integers; all zeroes is a valid value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut address_len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the buffer and the address are writable for the lengths given, during the call.
        let len = unsafe {
            libc::recvfrom(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut address).cast(),
                &raw mut address_len,
            )
        };
        let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
        Ok((buffer.get(..len).unwrap_or_default(), address.sll_pkttype == libc::PACKET_OUTGOING))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_an_interface_sends_is_heard_from_the_ip_header_on() {
        let index = crate::netlink::Netlink::open().unwrap().link("lo").unwrap().index;
        // Without root there is nothing to test.
        let Ok(socket) = PacketSocket::open(index) else { return };
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = sender.local_addr().unwrap().port();
        sender.send_to(b"heard", ("127.0.0.1", port)).unwrap();
        let mut buffer = [0; 2048];
        for _ in 0..1000 {
            let _ = crate::poll::wait(&[socket.as_fd()], Some(Duration::from_millis(100)));
            let Ok((packet, sent)) = socket.receive(&mut buffer) else { continue };
            if packet.ends_with(b"heard") && packet.get(20..22) == Some(&port.to_be_bytes()) {
                assert_eq!(packet[0], 0x45);
                assert!(sent, "the first copy on the loopback interface is the one that leaves");
                return;
            }
        }
        panic!("not heard");
    }
}
