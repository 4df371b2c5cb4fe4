//! Helpers shared by the socket modules: options and address conversion.

use std::io;
use std::mem::{size_of, size_of_val};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A new close-on-exec, non-blocking socket.
pub(crate) fn open(domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket takes plain integers.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just created and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// setsockopt with an integer.
pub(crate) fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the option value is a valid int, alive during the call.
    let result = unsafe {
        libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<i32>() as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// getsockopt of an integer.
pub(crate) fn option(fd: RawFd, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0_i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is a writable int and `len` its size, both alive during the call.
    let result = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// SO_BINDTODEVICE.
pub(crate) fn bind_to_device(fd: BorrowedFd<'_>, interface: &str) -> io::Result<()> {
    let len = libc::socklen_t::try_from(interface.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: `interface` is readable for `len` octets.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            interface.as_ptr().cast(),
            len,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets a buffer size beyond the system's limit where we may (needs CAP_NET_ADMIN), else up to the limit.
pub(crate) fn set_buffer(fd: RawFd, forced: i32, plain: i32, octets: usize) -> io::Result<()> {
    let octets = i32::try_from(octets).unwrap_or(i32::MAX);
    set_option(fd, libc::SOL_SOCKET, forced, octets)
        .or_else(|_| set_option(fd, libc::SOL_SOCKET, plain, octets))
}

/// bind(2).
pub(crate) fn bind(fd: RawFd, local: SocketAddr) -> io::Result<()> {
    let address = RawAddress::new(local);
    // SAFETY: the address is readable for its length.
    let result = unsafe { libc::bind(fd, address.as_ptr(), address.len()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// connect(2).
pub(crate) fn connect(fd: RawFd, remote: SocketAddr) -> io::Result<()> {
    let address = RawAddress::new(remote);
    // SAFETY: the address is readable for its length.
    let result = unsafe { libc::connect(fd, address.as_ptr(), address.len()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// getsockname(2).
pub(crate) fn local_address(fd: RawFd) -> io::Result<SocketAddr> {
    let mut address = RawAddress::empty();
    let pointer = address.as_mut_ptr();
    // SAFETY: the address is writable for its length, which the kernel may lower.
    let result = unsafe { libc::getsockname(fd, pointer, address.len_mut()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    address.to_address().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// No path is narrower: Linux learns nothing below 552 for IPv4 (`net.ipv4.route.min_pmtu`), and IPv6 promises 1280
/// (RFC 8200 §5).
const PATH_MTU_MIN: [u16; 2] = [552, 1280];

/// The kernel's path MTU of a connected socket; `None` while it has no route. From the time at which the route is
/// lost until the next packet is sent the kernel says 68 (IPv4), which is no path's MTU: taken for one, nothing
/// would fit any more, so nothing would be sent that corrects it.
pub(crate) fn path_mtu(fd: RawFd, ipv4: bool) -> Option<u16> {
    let (level, name) =
        if ipv4 { (libc::IPPROTO_IP, libc::IP_MTU) } else { (libc::IPPROTO_IPV6, libc::IPV6_MTU) };
    let mtu = option(fd, level, name).ok()?;
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    Some(mtu).filter(|mtu| *mtu >= PATH_MTU_MIN[usize::from(!ipv4)])
}

/// Packets that the kernel dropped because the socket's receive buffer was full (`SO_MEMINFO`).
pub(crate) fn dropped(fd: RawFd) -> u64 {
    /// Position of the drop counter (`SK_MEMINFO_DROPS`), and the number of counters.
    const DROPS: usize = 8;
    const VARS: usize = 9;
    let mut counters = [0_u32; VARS];
    let mut len = size_of_val(&counters) as libc::socklen_t;
    let pointer = counters.as_mut_ptr();
    // SAFETY: `counters` is writable for `len` octets; the kernel writes no more than that.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, pointer.cast(), &raw mut len) };
    if result == 0 { counters.get(DROPS).copied().map_or(0, u64::from) } else { 0 }
}

/// A kernel socket address of either family.
#[derive(Clone, Copy)]
pub(crate) struct RawAddress {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl RawAddress {
    /// Room for the kernel to write an address into.
    pub(crate) const fn empty() -> Self {
        // SAFETY: sockaddr_storage is plain integers; all zeroes is a valid value (AF_UNSPEC).
        let storage = unsafe { std::mem::zeroed() };
        Self { storage, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut raw = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                let sin = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: sockaddr_storage is larger than sockaddr_in and aligned for it.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in>().write(sin) };
                raw.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                let sin6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: sockaddr_storage is larger than sockaddr_in6 and aligned for it.
                unsafe { (&raw mut raw.storage).cast::<libc::sockaddr_in6>().write(sin6) };
                raw.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        raw
    }

    pub(crate) const fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(crate) const fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    pub(crate) const fn len(&self) -> libc::socklen_t {
        self.len
    }

    pub(crate) const fn len_mut(&mut self) -> &mut libc::socklen_t {
        &mut self.len
    }

    /// `None` when the kernel wrote no IP address.
    pub(crate) fn to_address(self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that the kernel wrote a sockaddr_in; the storage is large and
                // aligned enough for it, and any bit pattern is a valid value.
                let sin = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(sin.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(sin.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above, for sockaddr_in6.
                let sin6 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(sin6.sin6_addr.s6_addr);
                let port = u16::from_be(sin6.sin6_port);
                Some(SocketAddrV6::new(ip, port, sin6.sin6_flowinfo, sin6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_form() {
        for text in ["192.0.2.1:4500", "[2001:db8::1]:500", "[fe80::1%3]:500"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddress::new(address).to_address(), Some(address));
        }
        assert_eq!(RawAddress::empty().to_address(), None);
    }
}
