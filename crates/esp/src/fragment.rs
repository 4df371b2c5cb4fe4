//! Splitting an inner IPv4 packet before encryption, so that each piece fits the tunnel ("fragmentation before
//! encryption" in the AWS download). It writes into the caller's buffers and allocates nothing. IPv6 is never
//! fragmented by a router: answer those with [`crate::icmp::too_big`]. RFC 791 §3.2, RFC 1812 §4.2.2.7, RFC 6864.

use crate::checksum;
use crate::packet::Inner;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;
const HEADER_LEN: usize = 20;
const HEADER_LEN_MAX: usize = 60;

/// What the caller allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Inner MTU in octets.
    pub mtu: u16,
    /// Fragment packets that carry the don't-fragment bit too (`clear_df_bit` in the AWS download).
    pub clear_df: bool,
    /// Identification for a packet whose don't-fragment bit is cleared; the caller counts it up for each.
    pub fresh_id: u16,
}

/// Why a packet is not fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotFragmentable {
    /// Don't-fragment is set and may not be cleared: answer with [`crate::icmp::too_big`].
    #[error("the don't-fragment bit is set")]
    DontFragment,
    /// IPv6: answer with [`crate::icmp::too_big`].
    #[error("IPv6 is fragmented by its source alone")]
    Ipv6,
    /// The MTU leaves no room for eight octets behind the header.
    #[error("the MTU is too small for any fragment")]
    MtuTooSmall,
    /// No IPv4 packet.
    #[error("not an IPv4 packet")]
    Malformed,
}

/// The fragments of one packet, written one at a time.
#[derive(Debug)]
pub struct Fragments<'a> {
    header: Header,
    later_header: Header,
    /// What is still to be sent.
    payload: &'a [u8],
    /// Offset of `payload` in the original datagram, in units of eight octets.
    offset: u16,
    /// Whether the packet itself was followed by more fragments.
    more_follow: bool,
    mtu: usize,
    done: bool,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    octets: [u8; HEADER_LEN_MAX],
    len: usize,
}

impl<'a> Fragments<'a> {
    /// Prepares the fragments of `packet`. One that fits is yielded whole and unchanged.
    ///
    /// # Errors
    /// See [`NotFragmentable`].
    pub fn new(packet: &'a [u8], rules: &Rules) -> Result<Self, NotFragmentable> {
        let inner = Inner::parse(packet).ok_or(NotFragmentable::Malformed)?;
        let mtu = usize::from(rules.mtu);
        let fits = inner.total_len <= mtu;
        if inner.source.is_ipv6() && !fits {
            return Err(NotFragmentable::Ipv6);
        }
        let (header, payload) = packet
            .get(..inner.total_len)
            .and_then(|packet| packet.split_at_checked(inner.transport_offset))
            .ok_or(NotFragmentable::Malformed)?;
        if fits {
            return Ok(Self::whole(packet.get(..inner.total_len).unwrap_or_default(), mtu));
        }
        let mut header = Header::first(header).ok_or(NotFragmentable::Malformed)?;
        let field = header.fragment_field();
        if field & DONT_FRAGMENT != 0 {
            if !rules.clear_df {
                return Err(NotFragmentable::DontFragment);
            }
            //= RFC 6864 §4.1
            //# An atomic datagram's identification means nothing (many senders use 0); once it may be fragmented
            //# it has to be unique.
            if field & (MORE_FRAGMENTS | OFFSET_MASK) == 0 {
                header.set(4, rules.fresh_id);
            }
        }
        if header.len + 8 > mtu {
            return Err(NotFragmentable::MtuTooSmall);
        }
        Ok(Self {
            later_header: header.later(),
            header,
            payload,
            offset: field & OFFSET_MASK,
            more_follow: field & MORE_FRAGMENTS != 0,
            mtu,
            done: false,
        })
    }

    fn whole(packet: &'a [u8], mtu: usize) -> Self {
        let none = Header { octets: [0; HEADER_LEN_MAX], len: 0 };
        Self {
            header: none,
            later_header: none,
            payload: packet,
            offset: 0,
            more_follow: false,
            mtu,
            done: packet.is_empty(),
        }
    }

    /// Writes the next fragment to the beginning of `out` and returns its length; `None` after the last one.
    ///
    /// `out` must have room for the MTU; with less, `None` too, and the rest of the packet is lost.
    pub fn write_next(&mut self, out: &mut [u8]) -> Option<usize> {
        if self.done {
            return None;
        }
        let header = self.header;
        if header.len == 0 {
            self.done = true;
            out.get_mut(..self.payload.len())?.copy_from_slice(self.payload);
            return Some(self.payload.len());
        }
        let room = self.mtu - header.len;
        let last = self.payload.len() <= room;
        // RFC 791 §3.2: all but the last carry a multiple of eight octets.
        let take = if last { self.payload.len() } else { room - room % 8 };
        let (piece, rest) = self.payload.split_at_checked(take)?;
        self.done = last;
        let total = header.len + take;
        let (head, body) = out.get_mut(..total)?.split_at_mut_checked(header.len)?;
        body.copy_from_slice(piece);
        head.copy_from_slice(header.octets.get(..header.len)?);
        let more = if last && !self.more_follow { 0 } else { MORE_FRAGMENTS };
        put(head, 2, total as u16);
        put(head, 6, more | self.offset);
        checksum::set_ipv4_header(head);
        self.offset += (take / 8) as u16;
        self.payload = rest;
        self.header = self.later_header;
        Some(total)
    }
}

impl Header {
    fn first(header: &[u8]) -> Option<Self> {
        let mut octets = [0; HEADER_LEN_MAX];
        octets.get_mut(..header.len())?.copy_from_slice(header);
        Some(Self { octets, len: header.len() })
    }

    fn fragment_field(&self) -> u16 {
        u16::from_be_bytes([self.octets[6], self.octets[7]])
    }

    fn set(&mut self, at: usize, value: u16) {
        put(&mut self.octets, at, value);
    }

    /// The header of the fragments behind the first one.
    fn later(&self) -> Self {
        let mut later = Self { octets: [0; HEADER_LEN_MAX], len: HEADER_LEN };
        later.octets[..HEADER_LEN].copy_from_slice(&self.octets[..HEADER_LEN]);
        let mut options = self.octets.get(HEADER_LEN..self.len).unwrap_or_default();
        loop {
            let len = match *options {
                // End of the list, or an option cut short: nothing after it can be understood.
                [] | [0, ..] => break,
                [1, ..] => 1,
                [_, len, ..] if len >= 2 => usize::from(len),
                _ => break,
            };
            let Some((option, rest)) = options.split_at_checked(len) else { break };
            //= RFC 791 §3.1
            //# The copied flag, the top bit of the type, says whether an option goes into all fragments.
            if option.first().is_some_and(|kind| kind & 0x80 != 0)
                && let Some(place) = later.octets.get_mut(later.len..later.len + len)
            {
                place.copy_from_slice(option);
                later.len += len;
            }
            options = rest;
        }
        // Filled up with end-of-list octets, which are zero already.
        later.len = later.len.next_multiple_of(4);
        later.octets[0] = 0x40 | (later.len / 4) as u8;
        later
    }
}

fn put(header: &mut [u8], at: usize, value: u16) {
    if let Some(field) = header.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
