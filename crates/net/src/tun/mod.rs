//! TUN devices with segmentation offloads (`IFF_VNET_HDR`), written on libc because no crate offers the offloads
//! without copying (docs/adr/0001-tun-device.md).

mod vnet;

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

pub use vnet::{Gso, VNET_HEADER_LEN, VnetHeader};

use crate::Error;

/// Longest interface name, in octets (`IFNAMSIZ` counts the terminating zero).
pub const MAX_NAME: usize = 15;

/// What the kernel may hand over and take in one piece; device-wide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunOffloads {
    /// TCP segments of several packets' size, over IPv4 and IPv6, with ECN (`TUN_F_TSO4|6`, `TUN_F_TSO_ECN`).
    pub tso: bool,
    /// UDP likewise (`TUN_F_USO4|6`, Linux 6.2).
    pub uso: bool,
}

/// A TUN device, removed when dropped. Reads and writes do not block.
#[derive(Debug)]
pub struct Tun {
    file: File,
    name: String,
    vnet: bool,
}

impl Tun {
    /// Creates the interface `name`. With `vnet`, every packet read or written starts with a
    /// [`VnetHeader`] of [`VNET_HEADER_LEN`] octets.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN or /dev/net/tun, or when an interface of that name exists and is in use.
    pub fn create(name: &str, vnet: bool) -> Result<Self, Error> {
        if name.is_empty() || name.len() > MAX_NAME || name.bytes().any(|b| b == b'/' || b == 0) {
            return Err(Error::Argument(format!("{name:?} is no interface name")));
        }
        let wrap = |e| Error::system(format!("create TUN interface {name}"), e);
        let file = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").map_err(wrap)?;
        // SAFETY: ifreq is plain integers and pointers; all zeroes is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *slot = byte as libc::c_char;
        }
        let mut flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
        if vnet {
            flags |= libc::IFF_VNET_HDR;
        }
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: TUNSETIFF reads and writes one ifreq, which is alive and writable.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if result < 0 {
            return Err(Error::last(format!("create TUN interface {name}")));
        }
        let tun = Self { file, name: name.to_owned(), vnet };
        if vnet {
            let len = VNET_HEADER_LEN as libc::c_int;
            // SAFETY: TUNSETVNETHDRSZ reads one int, which is alive.
            let result = unsafe { libc::ioctl(tun.file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) };
            if result < 0 {
                return Err(Error::last(format!("set the header size of TUN interface {name}")));
            }
        }
        tun.set_nonblocking().map_err(wrap)?;
        Ok(tun)
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        let fd = self.file.as_raw_fd();
        // SAFETY: fcntl with F_GETFL and F_SETFL takes plain integers.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        // SAFETY: as above.
        if flags < 0 || unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Tells the kernel what it may hand over; the mask is device-wide, so it is always set explicitly.
    ///
    /// # Errors
    /// `EINVAL` when the kernel does not know one of them (UDP before 6.2).
    pub fn set_offloads(&self, offloads: TunOffloads) -> io::Result<()> {
        let mut mask = 0;
        if offloads.tso || offloads.uso {
            mask |= libc::TUN_F_CSUM;
        }
        if offloads.tso {
            mask |= libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
        }
        if offloads.uso {
            mask |= libc::TUN_F_USO4 | libc::TUN_F_USO6;
        }
        // SAFETY: TUNSETOFFLOAD takes the mask by value.
        let result =
            unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(mask)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Reads one packet, or one super-packet; `WouldBlock` when none is queued.
    ///
    /// # Errors
    /// The kernel's; `EBADFD` after the interface was deleted by somebody.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }

    /// Writes one packet.
    ///
    /// # Errors
    /// The kernel's; `EINVAL` for a malformed packet or header, `EIO` while the interface is down.
    pub fn write(&self, packet: &[u8]) -> io::Result<()> {
        (&self.file).write(packet).map(|_| ())
    }

    /// Writes one packet from its parts.
    ///
    /// # Errors
    /// As [`Tun::write`].
    pub fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        (&self.file).write_vectored(parts).map(|_| ())
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether packets start with a [`VnetHeader`].
    pub const fn has_vnet_header(&self) -> bool {
        self.vnet
    }

    /// A second handle to the same queue, for the other worker.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, name: self.name.clone(), vnet: self.vnet })
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<Tun> for OwnedFd {
    fn from(tun: Tun) -> Self {
        tun.file.into()
    }
}
