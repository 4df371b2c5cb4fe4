//! Splitting a super-packet that a TUN device with offloads handed over (TSO, USO) into the packets that it
//! stands for, one at a time, straight into the caller's buffers. One pass: headers stamped, payload copied,
//! checksum computed while the data is in the cache. It trusts nothing in the virtio header but kind and size,
//! and never the header length (on a forwarding path the kernel's value is not one).
//! Virtio 1.2 §5.1.6.2, RFC 9293 §3.1, RFC 3168 §6.1.2 (CWR).

use crate::checksum::{self, Sum};
use crate::packet::{FragmentKind, Inner, TCP, UDP};

/// What kind of super-packet follows a virtio header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Gso {
    /// One ordinary packet.
    #[default]
    None,
    /// TCP segments over IPv4.
    Tcp4,
    /// TCP segments over IPv6.
    Tcp6,
    /// UDP datagrams, over either.
    Udp,
}

/// The fields of `struct virtio_net_hdr`, without its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VnetHeader {
    /// The transport checksum holds only the pseudo-header's sum and must be completed.
    pub needs_checksum: bool,
    /// Kind of super-packet.
    pub gso: Gso,
    /// A TCP super-packet with CWR set on its first segment.
    pub ecn: bool,
    /// Length of all headers in octets; written for the kernel, ignored when read.
    pub header_len: u16,
    /// Payload octets of each segment.
    pub gso_size: u16,
    /// Where the checksum's coverage starts.
    pub checksum_start: u16,
    /// Where, from there, the checksum is stored.
    pub checksum_offset: u16,
}

/// Why a super-packet cannot be split.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SegmentError {
    /// Headers cut short, inconsistent lengths, or a fragment.
    #[error("the super-packet's headers are malformed")]
    Malformed,
    /// The packet is not of the kind that the virtio header announces.
    #[error("the super-packet is not of the kind its virtio header announces")]
    WrongKind,
    /// A super-packet with a segment size of zero.
    #[error("the super-packet's segment size is zero")]
    ZeroSize,
    /// The checksum that is to be completed lies outside the packet.
    #[error("the checksum to complete lies outside the packet")]
    ChecksumOutside,
}

/// Offsets in a TCP header.
const TCP_SEQUENCE: usize = 4;
const TCP_DATA_OFFSET: usize = 12;
const TCP_FLAGS: usize = 13;
const TCP_CHECKSUM: usize = 16;
pub(crate) const FIN: u8 = 0x01;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const CWR: u8 = 0x80;
/// Offsets in a UDP header.
const UDP_LENGTH: usize = 4;
const UDP_CHECKSUM: usize = 6;

/// Longest IP and TCP header together: IPv6 with some extension headers, or IPv4 with options, and TCP options.
const HEADER_LEN_MAX: usize = 256;

/// The packets of one read from the TUN device.
#[derive(Debug)]
pub struct Segments<'a> {
    header: &'a [u8],
    /// What is still to be sent.
    payload: &'a [u8],
    shape: Shape,
    gso_size: usize,
    count: usize,
    /// Index of the next segment.
    index: usize,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// The packet as it is; the checksum at `start + offset` completed when there is one to complete.
    Whole {
        checksum: Option<(u16, u16)>,
    },
    Split {
        tcp: bool,
        ipv6: bool,
        transport: usize,
        addresses: Sum,
    },
}

impl<'a> Segments<'a> {
    /// Prepares the packets that `packet` with its virtio header `vnet` stands for.
    ///
    /// # Errors
    /// See [`SegmentError`].
    pub fn new(vnet: &VnetHeader, packet: &'a [u8]) -> Result<Self, SegmentError> {
        let wanted = match vnet.gso {
            Gso::None => return Self::whole(vnet, packet),
            Gso::Tcp4 | Gso::Tcp6 => TCP,
            Gso::Udp => UDP,
        };
        let inner = Inner::parse(packet).ok_or(SegmentError::Malformed)?;
        let ipv6 = inner.source.is_ipv6();
        let family_agrees = match vnet.gso {
            Gso::Tcp4 => !ipv6,
            Gso::Tcp6 => ipv6,
            _ => true,
        };
        if inner.protocol != wanted || !family_agrees {
            return Err(SegmentError::WrongKind);
        }
        if inner.fragment != FragmentKind::Whole {
            return Err(SegmentError::Malformed);
        }
        if vnet.gso_size == 0 {
            return Err(SegmentError::ZeroSize);
        }
        let tcp = wanted == TCP;
        let packet = packet.get(..inner.total_len).ok_or(SegmentError::Malformed)?;
        let transport_len = transport_header_len(packet, inner.transport_offset, tcp)?;
        let header_len = inner.transport_offset + transport_len;
        let (header, payload) = packet.split_at_checked(header_len).ok_or(SegmentError::Malformed)?;
        if header_len > HEADER_LEN_MAX {
            return Err(SegmentError::Malformed);
        }
        let gso_size = usize::from(vnet.gso_size);
        let addresses = checksum::pseudo_header(inner.source, inner.destination, wanted, 0);
        let shape = Shape::Split { tcp, ipv6, transport: inner.transport_offset, addresses };
        // A super-packet without payload is one segment.
        let count = payload.len().div_ceil(gso_size).max(1);
        Ok(Self { header, payload, shape, gso_size, count, index: 0 })
    }

    fn whole(vnet: &VnetHeader, packet: &'a [u8]) -> Result<Self, SegmentError> {
        let checksum = vnet.needs_checksum.then_some((vnet.checksum_start, vnet.checksum_offset));
        if let Some((start, offset)) = checksum
            && usize::from(start) + usize::from(offset) + 2 > packet.len()
        {
            return Err(SegmentError::ChecksumOutside);
        }
        let shape = Shape::Whole { checksum };
        Ok(Self { header: &[], payload: packet, shape, gso_size: packet.len(), count: 1, index: 0 })
    }

    /// How many packets there are in all.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// How many packets are still to be written.
    pub const fn remaining(&self) -> usize {
        self.count - self.index
    }

    /// Length in octets of every packet but the last one, which may be shorter. When it exceeds the inner MTU
    /// (a sender that ignored the clamped MSS), the packets need [`crate::fragment`] or [`crate::icmp`] each.
    pub fn max_len(&self) -> usize {
        self.header.len() + if self.count > 1 { self.gso_size } else { self.payload.len() }
    }

    /// Length of the next packet; `None` after the last one.
    pub fn next_len(&self) -> Option<usize> {
        (self.remaining() > 0).then(|| self.header.len() + self.payload.len().min(self.gso_size))
    }

    /// Writes the next packet, checksums complete, to the beginning of `out` and returns its length.
    ///
    /// `None` after the last one. `None` too, with the packet lost, when `out` is shorter than
    /// [`Self::next_len`].
    #[inline]
    pub fn write_next(&mut self, out: &mut [u8]) -> Option<usize> {
        let len = self.next_len()?;
        let first = self.index == 0;
        let index = self.index as u16; // payload and so count are below 2^16
        self.index += 1;
        let last = self.index == self.count;
        let (piece, rest) = self.payload.split_at_checked(len - self.header.len())?;
        self.payload = rest;
        let out = out.get_mut(..len)?;
        let (head, body) = out.split_at_mut_checked(self.header.len())?;
        head.copy_from_slice(self.header);
        body.copy_from_slice(piece);
        match self.shape {
            Shape::Whole { checksum: None } => {}
            Shape::Whole { checksum: Some((start, offset)) } => checksum::complete(out, start, offset)?,
            Shape::Split { tcp, ipv6, transport, addresses } => {
                stamp_ip(head, ipv6, transport, index, len)?;
                let segment_header = head.get_mut(transport..)?;
                if tcp {
                    stamp_tcp(segment_header, u32::from(index) * self.gso_size as u32, first, last)?;
                } else {
                    put(segment_header, UDP_LENGTH, (len - transport) as u16)?;
                }
                let field = if tcp { TCP_CHECKSUM } else { UDP_CHECKSUM };
                let pseudo = addresses.plus_u16((len - transport) as u16);
                checksum::set(out.get_mut(transport..)?, field, pseudo, !tcp);
            }
        }
        Some(len)
    }
}

fn transport_header_len(packet: &[u8], transport: usize, tcp: bool) -> Result<usize, SegmentError> {
    if !tcp {
        return Ok(crate::UDP_HEADER_LEN);
    }
    let data_offset = packet.get(transport + TCP_DATA_OFFSET).ok_or(SegmentError::Malformed)?;
    let len = usize::from(data_offset >> 4) * 4;
    if len < 20 { Err(SegmentError::Malformed) } else { Ok(len) }
}

fn stamp_ip(head: &mut [u8], ipv6: bool, transport: usize, index: u16, len: usize) -> Option<()> {
    if ipv6 {
        return put(head, 4, (len - 40) as u16);
    }
    put(head, 2, len as u16)?;
    let [a, b] = *head.get(4..)?.first_chunk()?;
    // The sender numbers its packets one by one; RFC 6864 wants them apart when fragmentation is allowed.
    put(head, 4, u16::from_be_bytes([a, b]).wrapping_add(index))?;
    checksum::set_ipv4_header(head.get_mut(..transport)?);
    Some(())
}

fn stamp_tcp(header: &mut [u8], advance: u32, first: bool, last: bool) -> Option<()> {
    let sequence = header.get_mut(TCP_SEQUENCE..TCP_SEQUENCE + 4)?;
    let start = u32::from_be_bytes(*sequence.first_chunk()?);
    sequence.copy_from_slice(&start.wrapping_add(advance).to_be_bytes());
    let flags = header.get_mut(TCP_FLAGS)?;
    if !last {
        *flags &= !(FIN | PSH);
    }
    //= RFC 3168 §6.1.2
    //# CWR is set on one new data packet: the first.
    if !first {
        *flags &= !CWR;
    }
    Some(())
}

fn put(header: &mut [u8], at: usize, value: u16) -> Option<()> {
    header.get_mut(at..at + 2)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}
