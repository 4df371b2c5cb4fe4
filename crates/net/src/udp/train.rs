//! Sending several buffers with one call, each of which the kernel may cut into datagrams of equal size.

use std::io;
use std::os::fd::RawFd;

use super::control::{Control, ControlSpace};

/// Most trains of one call; the rest is left for the next.
pub const MAX_TRAINS: usize = 64;

/// Octets that leave as datagrams of `segment` octets each, the last one shorter when it does not come out even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train<'b> {
    /// All payloads, one behind the other; at most [`super::MAX_SEGMENTS`] of them and [`super::MAX_PAYLOAD`] octets.
    pub bytes: &'b [u8],
    /// Octets of each.
    pub segment: u16,
    /// TOS or traffic class octet of the IP header.
    pub tos: u8,
}

impl<'b> Train<'b> {
    /// One datagram.
    pub const fn single(bytes: &'b [u8], tos: u8) -> Self {
        Self { bytes, segment: u16::MAX, tos }
    }

    /// Whether the kernel has to cut it up.
    pub fn is_cut(&self) -> bool {
        self.bytes.len() > usize::from(self.segment)
    }
}

/// sendmmsg(2) on a connected socket.
pub(crate) fn send(fd: RawFd, trains: &[Train<'_>], ipv4: bool) -> io::Result<usize> {
    let mut spaces = [ControlSpace::new(); MAX_TRAINS];
    // SAFETY: iovec and mmsghdr are plain integers and pointers; all zeroes is a valid value.
    let mut parts: [libc::iovec; MAX_TRAINS] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; MAX_TRAINS] = unsafe { std::mem::zeroed() };
    let slots = parts.iter_mut().zip(&mut headers).zip(&mut spaces);
    for (train, ((part, header), space)) in trains.iter().zip(slots) {
        *part = libc::iovec { iov_base: train.bytes.as_ptr().cast_mut().cast(), iov_len: train.bytes.len() };
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        let mut control = Control::new(space);
        if train.is_cut() {
            control.push_segment(train.segment);
        }
        if train.tos != 0 {
            control.push_tos(train.tos, ipv4);
        }
        let len = control.bytes().len();
        if len > 0 {
            header.msg_hdr.msg_control = space.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = len;
        }
    }
    let count = libc::c_uint::try_from(trains.len().min(MAX_TRAINS)).unwrap_or(0);
    // SAFETY: the first `count` headers point at live buffers of the lengths beside them; sendmmsg reads those, and
    // writes only the length field of each header.
    let result = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_NOSIGNAL) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
