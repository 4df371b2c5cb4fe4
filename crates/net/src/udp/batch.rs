//! Receiving many messages with one call, into buffers that live as long as the worker.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::control::{self, CONTROL_LEN, ControlSpace, ReceiveInfo};
use crate::socket::RawAddress;

/// Most messages of one batch.
pub(crate) const MAX_MESSAGES: usize = 64;

/// One received message: a datagram, or several of equal size that the kernel put together.
#[derive(Debug)]
pub struct Message<'b> {
    /// The octets; for a raw IPv4 socket they start with the IP header.
    pub bytes: &'b mut [u8],
    /// Size of each datagram in `bytes`, the last may be shorter; never zero.
    pub segment: usize,
    /// TOS or traffic class octet of the outer header.
    pub tos: u8,
    /// The sender.
    pub remote: Option<SocketAddr>,
    /// The message was longer than the buffer; what is missing is lost.
    pub truncated: bool,
}

#[derive(Clone, Copy)]
struct Slot {
    len: usize,
    flags: i32,
    info: ReceiveInfo,
    remote: RawAddress,
}

/// Buffers for [`recvmmsg`](https://man7.org/linux/man-pages/man2/recvmmsg.2.html), allocated once.
pub struct ReceiveBatch {
    arena: Vec<u8>,
    slot_len: usize,
    control: Vec<ControlSpace>,
    slots: Vec<Slot>,
    filled: usize,
}

impl ReceiveBatch {
    /// `messages` buffers of `slot_len` octets each; 65,536 for a socket with `UDP_GRO`.
    pub fn new(messages: usize, slot_len: usize) -> Self {
        let messages = messages.clamp(1, MAX_MESSAGES);
        let slot_len = slot_len.max(1);
        let empty = Slot { len: 0, flags: 0, info: ReceiveInfo::default(), remote: RawAddress::empty() };
        Self {
            arena: vec![0; messages * slot_len],
            slot_len,
            control: vec![ControlSpace::new(); messages],
            slots: vec![empty; messages],
            filled: 0,
        }
    }

    /// Messages of the last receive.
    pub const fn len(&self) -> usize {
        self.filled
    }

    /// Whether the last receive gave nothing.
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Message `index` of the last receive, in order of arrival.
    pub fn message(&mut self, index: usize) -> Option<Message<'_>> {
        if index >= self.filled {
            return None;
        }
        let slot = self.slots.get(index)?;
        let chunk = self.arena.chunks_exact_mut(self.slot_len).nth(index)?;
        let len = slot.len.min(chunk.len());
        let segment = if slot.info.segment == 0 { len.max(1) } else { slot.info.segment };
        Some(Message {
            bytes: chunk.get_mut(..len)?,
            segment,
            tos: slot.info.tos,
            remote: slot.remote.to_address(),
            truncated: slot.flags & libc::MSG_TRUNC != 0,
        })
    }

    /// The octets of message `index` as they are now; empty when there is no such message.
    pub fn bytes(&self, index: usize) -> &[u8] {
        let Some(slot) = self.slots.get(index).filter(|_| index < self.filled) else { return &[] };
        let start = index * self.slot_len;
        self.arena.get(start..start + slot.len.min(self.slot_len)).unwrap_or(&[])
    }

    /// Makes the batch empty, for [`Self::put`].
    pub const fn clear(&mut self) {
        self.filled = 0;
    }

    /// Adds a message that came from no socket: octets that were kept, or a test's. `segment` is the size of its
    /// datagrams, zero when it is one. `false` when there is no room for it.
    pub fn put(&mut self, octets: &[u8], segment: usize, tos: u8) -> bool {
        let Some(slot) = self.slots.get_mut(self.filled) else { return false };
        let Some(chunk) = self.arena.chunks_exact_mut(self.slot_len).nth(self.filled) else { return false };
        let Some(room) = chunk.get_mut(..octets.len()) else { return false };
        room.copy_from_slice(octets);
        let info = ReceiveInfo { tos, segment, ..ReceiveInfo::default() };
        *slot = Slot { len: octets.len(), flags: 0, info, remote: RawAddress::empty() };
        self.filled += 1;
        true
    }

    pub(crate) fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        self.filled = 0;
        // SAFETY: iovec and mmsghdr are plain integers and pointers; all zeroes is a valid value.
        let mut parts: [libc::iovec; MAX_MESSAGES] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; MAX_MESSAGES] = unsafe { std::mem::zeroed() };
        let buffers = self.arena.chunks_exact_mut(self.slot_len).zip(&mut self.control).zip(&mut self.slots);
        for ((part, header), ((chunk, control), slot)) in parts.iter_mut().zip(&mut headers).zip(buffers) {
            *part = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: chunk.len() };
            slot.remote = RawAddress::empty();
            header.msg_hdr.msg_name = slot.remote.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = slot.remote.len();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_LEN;
        }
        let count = libc::c_uint::try_from(self.slots.len()).unwrap_or(1);
        // SAFETY: the first `count` headers point at live, writable, disjoint buffers of the lengths beside
        // them (`slots` is never longer than MAX_MESSAGES), and nothing else uses them during the call.
        let result = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        let filled = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        self.filled = filled.min(self.slots.len());
        for ((header, control), slot) in
            headers.iter().zip(&self.control).zip(&mut self.slots).take(self.filled)
        {
            slot.len = header.msg_len as usize;
            slot.flags = header.msg_hdr.msg_flags;
            slot.info = control::parse(control.0.get(..header.msg_hdr.msg_controllen).unwrap_or(&[]));
        }
        Ok(self.filled)
    }
}
