//! Options on TCP sockets that the standard library lacks; for BGP.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use crate::Error;
use crate::socket::set_option;

/// Sets the TTL (IPv4) or hop limit (IPv6) of outgoing packets; 1 for eBGP to a directly connected peer.
///
/// # Errors
/// When the kernel refuses.
pub fn set_ttl(socket: &impl AsFd, ipv6: bool, ttl: u8) -> Result<(), Error> {
    let fd = socket.as_fd().as_raw_fd();
    let (level, name) =
        if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) } else { (libc::IPPROTO_IP, libc::IP_TTL) };
    set_option(fd, level, name, i32::from(ttl)).map_err(|e| Error::system("set the TTL of a TCP socket", e))
}

/// Sets DSCP and ECN of outgoing packets; network control (CS6, 0xC0) for BGP.
///
/// # Errors
/// When the kernel refuses.
pub fn set_tos(socket: &impl AsFd, ipv6: bool, tos: u8) -> Result<(), Error> {
    let fd = socket.as_fd().as_raw_fd();
    let (level, name) =
        if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) };
    set_option(fd, level, name, i32::from(tos)).map_err(|e| Error::system("set the TOS of a TCP socket", e))
}

/// Unacknowledged data older than `timeout` closes the connection (RFC 5482), so that a dead path does not
/// hold a socket for a quarter of an hour.
///
/// # Errors
/// When the kernel refuses.
pub fn set_user_timeout(socket: &impl AsFd, timeout: Duration) -> Result<(), Error> {
    let fd = socket.as_fd().as_raw_fd();
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, millis)
        .map_err(|e| Error::system("set TCP_USER_TIMEOUT", e))
}

/// Binds the socket to an interface, so that a session never leaves through another path.
///
/// # Errors
/// When the interface does not exist or the process lacks CAP_NET_RAW on old kernels.
pub fn bind_to_device(socket: &impl AsFd, interface: &str) -> Result<(), Error> {
    crate::socket::bind_to_device(socket.as_fd(), interface)
        .map_err(|e| Error::system(format!("bind a TCP socket to {interface}"), e))
}
