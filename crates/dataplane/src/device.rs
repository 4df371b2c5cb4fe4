//! The four boundaries to the kernel, as the workers see them: reading and writing the TUN, sending and receiving on
//! the wire. Two implementations each: the kernel's objects, and the fakes of the tests, which count calls and fail
//! on demand.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::time::Duration;

use model::Encapsulation;
use net::raw::EspSocket;
use net::tun::Tun;
use net::udp::{ReceiveBatch, Train, UdpSocket};

/// A TUN device.
pub(crate) trait Device {
    /// One packet or super-packet; `WouldBlock` when none is queued.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// One packet or super-packet from its parts.
    fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<()>;
    /// Whether packets start with the header of the offloads.
    fn has_vnet_header(&self) -> bool;
}

impl Device for Tun {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::read(self, buffer)
    }

    fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        Self::write_vectored(self, parts)
    }

    fn has_vnet_header(&self) -> bool {
        Self::has_vnet_header(self)
    }
}

/// What carries ESP packets between the two outside addresses.
pub(crate) trait Link: Debug + Send + Sync {
    /// Sends as many of `trains` as are taken, in their order, with one call: at least one when it succeeds.
    fn send_trains(&self, trains: &[Train<'_>]) -> io::Result<usize>;
    /// Waits until more can be sent, at most so long.
    fn wait_writable(&self, timeout: Duration) -> io::Result<()>;
    /// Receives what is there; `WouldBlock` when nothing is.
    fn receive_batch(&self, batch: &mut ReceiveBatch) -> io::Result<usize>;
    /// UDP or protocol 50.
    fn encapsulation(&self) -> Encapsulation;
    /// The outside addresses are IPv6.
    fn is_ipv6(&self) -> bool;
    /// The kernel's path MTU.
    fn path_mtu(&self) -> Option<u16>;
}

impl Link for UdpSocket {
    fn send_trains(&self, trains: &[Train<'_>]) -> io::Result<usize> {
        Self::send_trains(self, trains)
    }

    fn wait_writable(&self, timeout: Duration) -> io::Result<()> {
        net::poll::wait_writable(self.as_fd(), timeout).map(drop)
    }

    fn receive_batch(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        Self::receive_batch(self, batch)
    }

    fn encapsulation(&self) -> Encapsulation {
        Encapsulation::Udp
    }

    fn is_ipv6(&self) -> bool {
        self.local().is_ipv6()
    }

    fn path_mtu(&self) -> Option<u16> {
        Self::path_mtu(self)
    }
}

impl Link for EspSocket {
    fn send_trains(&self, trains: &[Train<'_>]) -> io::Result<usize> {
        Self::send_trains(self, trains)
    }

    fn wait_writable(&self, timeout: Duration) -> io::Result<()> {
        net::poll::wait_writable(self.as_fd(), timeout).map(drop)
    }

    fn receive_batch(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        Self::receive_batch(self, batch)
    }

    fn encapsulation(&self) -> Encapsulation {
        Encapsulation::Esp
    }

    fn is_ipv6(&self) -> bool {
        !self.is_ipv4()
    }

    fn path_mtu(&self) -> Option<u16> {
        Self::path_mtu(self)
    }
}
