//! Coalescing decrypted packets into super-packets for one write to the TUN device: the reverse of
//! [`crate::segment`]. It copies headers only; payloads stay where they are and are named by ranges. It merges
//! nothing that splitting would not give back octet for octet (but for the identification of IPv4 packets that
//! may not be fragmented), and it never changes the order within a flow.
//! Virtio 1.2 §5.1.6, RFC 9293 §3.1, RFC 6864 (identification), RFC 3168 (ECN and CWR).
//!
//! Packets that are not merged are named whole, to be written verbatim. A packet's checksum is verified before
//! it is merged: the kernel will compute a new one and must not make a corrupted packet look right.

use crate::checksum::{self, Sum};
use crate::packet::{FragmentKind, Inner, TCP, UDP};
use crate::segment::{CWR, FIN, Gso, PSH, VnetHeader};

/// Packets in one batch; [`Merger::push`] refuses more.
pub const MAX_PACKETS: usize = 1024;
/// Packets in one super-packet; kernels before 6.9 take no more datagrams than that in one.
pub const MAX_SEGMENTS: u16 = 64;
/// Flows with a super-packet under construction at a time.
const OPEN_FLOWS_MAX: usize = 16;
/// IPv6 and the longest TCP header.
const HEADER_LEN_MAX: usize = 100;
const SUPER_PACKET_MAX: usize = 65535;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

/// What the TUN device took when it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MergeOptions {
    /// Merge TCP segments.
    pub tcp: bool,
    /// Merge UDP datagrams (the device must have accepted USO).
    pub udp: bool,
    /// Verify transport checksums before merging. Switching it off passes corruption on as valid data.
    pub verify: bool,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self { tcp: true, udp: true, verify: true }
    }
}

/// A part of a packet that the caller pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// The caller's name for the packet.
    pub handle: u32,
    /// First octet, counted from the packet's beginning.
    pub start: usize,
    /// Behind the last octet.
    pub end: usize,
}

/// One write to the device: `vnet`, then `header`, then all parts.
#[derive(Clone, Debug)]
pub struct Merged<'m> {
    /// The virtio header; all zero for a packet that goes verbatim.
    pub vnet: VnetHeader,
    /// IP and transport header of a super-packet; empty for a packet that goes verbatim.
    pub header: &'m [u8],
    /// How many parts there are in all: at most [`MAX_SEGMENTS`].
    pub parts: usize,
    links: &'m [Link],
    next: Option<u32>,
    start: usize,
}

impl Iterator for Merged<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        let link = self.links.get(self.next? as usize)?;
        self.next = link.next;
        Some(Part { handle: link.handle, start: self.start, end: link.end as usize })
    }
}

/// The packets of one batch. Keeps its memory between batches and allocates only while it grows to the
/// largest one.
#[derive(Debug, Default)]
pub struct Merger {
    options: MergeOptions,
    groups: Vec<Group>,
    links: Vec<Link>,
    open: Vec<OpenFlow>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    handle: u32,
    end: u32,
    next: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct OpenFlow {
    flow: u64,
    group: u32,
}

#[derive(Clone, Debug)]
struct Group {
    shape: Shape,
    header: [u8; HEADER_LEN_MAX],
    count: u16,
    payload_total: usize,
    first: u32,
    last: u32,
}

/// What a packet that could be merged looks like.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    ipv6: bool,
    tcp: bool,
    ip_len: usize,
    header_len: usize,
    payload_len: usize,
}

enum Verdict {
    /// May be merged, or start a super-packet.
    Candidate(Shape, u64),
    /// Goes verbatim, in order with the other packets of its flow.
    Verbatim(u64),
    /// Belongs to no flow that is merged.
    Unrelated,
    /// May belong to any flow.
    Barrier,
}

impl Merger {
    /// An empty batch.
    pub fn new(options: MergeOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Changes what is merged, from the next packet on.
    pub fn set_options(&mut self, options: MergeOptions) {
        self.options = options;
    }

    /// Forgets the batch.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.links.clear();
        self.open.clear();
    }

    /// Packets in the batch.
    pub const fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether nothing was pushed.
    pub const fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Adds `packet`, which the caller knows as `handle`; push packets in the order of their sequence numbers.
    /// Returns false, with nothing added, when the batch holds [`MAX_PACKETS`]: write it out first.
    #[must_use]
    pub fn push(&mut self, handle: u32, packet: &[u8]) -> bool {
        if self.links.len() >= MAX_PACKETS {
            return false;
        }
        let link = self.links.len() as u32;
        self.links.push(Link { handle, end: packet.len() as u32, next: None });
        match self.inspect(packet) {
            Verdict::Candidate(shape, flow) => self.place(link, packet, shape, flow),
            Verdict::Verbatim(flow) => {
                self.open.retain(|open| open.flow != flow);
                self.start(link, packet, Shape::default());
            }
            Verdict::Unrelated => {
                self.start(link, packet, Shape::default());
            }
            Verdict::Barrier => {
                self.open.clear();
                self.start(link, packet, Shape::default());
            }
        }
        true
    }

    /// What is to be written, in order.
    pub fn finish(&mut self) -> impl Iterator<Item = Merged<'_>> {
        self.open.clear();
        for group in self.groups.iter_mut().filter(|group| group.count > 1) {
            group.complete_header();
        }
        let links = &self.links;
        self.groups.iter().map(|group| group.merged(links))
    }

    fn place(&mut self, link: u32, packet: &[u8], shape: Shape, flow: u64) {
        let flags = flags(packet, &shape);
        let ends_run = |gso_size: usize| shape.payload_len < gso_size || flags & PSH != 0;
        let found = self.open.iter().position(|open| open.flow == flow);
        if let Some(at) = found
            && let Some(open) = self.open.get(at)
            && let Some(group) = self.groups.get_mut(open.group as usize)
        {
            if group.accepts(packet, &shape) {
                if let Some(last) = self.links.get_mut(group.last as usize) {
                    last.next = Some(link);
                }
                group.append(link, shape.payload_len, flags);
                if ends_run(group.shape.payload_len) || group.count >= MAX_SEGMENTS {
                    self.open.swap_remove(at);
                }
                return;
            }
            self.open.swap_remove(at);
        }
        let group = self.start(link, packet, shape);
        if flags & PSH == 0 {
            if self.open.len() >= OPEN_FLOWS_MAX {
                self.open.swap_remove(0);
            }
            self.open.push(OpenFlow { flow, group });
        }
    }

    fn start(&mut self, link: u32, packet: &[u8], shape: Shape) -> u32 {
        let mut header = [0; HEADER_LEN_MAX];
        if let (Some(from), Some(to)) = (packet.get(..shape.header_len), header.get_mut(..shape.header_len)) {
            to.copy_from_slice(from);
        }
        self.groups.push(Group {
            shape,
            header,
            count: 1,
            payload_total: shape.payload_len,
            first: link,
            last: link,
        });
        (self.groups.len() - 1) as u32
    }

    fn inspect(&self, packet: &[u8]) -> Verdict {
        let Some(inner) = Inner::parse(packet) else { return Verdict::Barrier };
        let ipv6 = inner.source.is_ipv6();
        let tcp = inner.protocol == TCP;
        if !tcp && inner.protocol != UDP {
            return Verdict::Unrelated;
        }
        let ip_len = if ipv6 { 40 } else { 20 };
        // Options, extension headers and fragments: the ports may be elsewhere, or nowhere.
        if inner.fragment != FragmentKind::Whole || inner.transport_offset != ip_len {
            return Verdict::Barrier;
        }
        let Some(flow) = flow_of(packet, ip_len, ipv6) else { return Verdict::Barrier };
        let header_len = if tcp {
            ip_len + packet.get(ip_len + 12).map_or(0, |octet| usize::from(octet >> 4) * 4)
        } else {
            ip_len + crate::UDP_HEADER_LEN
        };
        let wanted = if tcp { self.options.tcp } else { self.options.udp };
        let Some(payload_len) = packet.len().checked_sub(header_len) else { return Verdict::Verbatim(flow) };
        let shape = Shape { ipv6, tcp, ip_len, header_len, payload_len };
        let is_candidate = wanted
            && inner.total_len == packet.len()
            && payload_len > 0
            && if tcp { tcp_may_merge(packet, &shape) } else { udp_may_merge(packet, &shape) }
            && (!self.options.verify || checksum::verify_transport(&inner, packet) == Some(true));
        if is_candidate { Verdict::Candidate(shape, flow) } else { Verdict::Verbatim(flow) }
    }
}

impl Group {
    /// Whether `packet`, of shape `shape`, continues this super-packet.
    fn accepts(&self, packet: &[u8], shape: &Shape) -> bool {
        let ours = &self.shape;
        ours.tcp == shape.tcp
            && ours.ipv6 == shape.ipv6
            && ours.header_len == shape.header_len
            && shape.payload_len <= ours.payload_len
            && shape.header_len + self.payload_total + shape.payload_len <= SUPER_PACKET_MAX
            && self.ip_continues(packet)
            && if shape.tcp { self.tcp_continues(packet) } else { self.udp_continues(packet) }
    }

    fn ip_continues(&self, packet: &[u8]) -> bool {
        if self.shape.ipv6 {
            // All but the payload length: class with ECN, flow label, hop limit, addresses.
            return self.same(packet, 0, 4) && self.same(packet, 6, 40);
        }
        // All but total length, identification and checksum: TOS with ECN, fragment bits, TTL, addresses.
        let same = self.same(packet, 0, 2) && self.same(packet, 6, 10) && self.same(packet, 12, 20);
        let may_not_be_fragmented = self.header[6] & 0x40 != 0;
        // Splitting numbers the packets one by one. Where that number matters, they must have come so.
        same && (may_not_be_fragmented
            || word(packet, 4) == word(&self.header, 4).map(|id| id.wrapping_add(self.count)))
    }

    fn tcp_continues(&self, packet: &[u8]) -> bool {
        let at = self.shape.ip_len;
        let next = long(&self.header, at + 4).map(|seq| seq.wrapping_add(self.payload_total as u32));
        // Ports; acknowledgement and header length; flags but PSH; window; urgent pointer and options.
        long(packet, at + 4) == next
            && self.same(packet, at, at + 4)
            && self.same(packet, at + 8, at + 13)
            && (flags(packet, &self.shape) ^ flags(&self.header, &self.shape)) & !PSH == 0
            && self.same(packet, at + 14, at + 16)
            && self.same(packet, at + 18, self.shape.header_len)
    }

    fn udp_continues(&self, packet: &[u8]) -> bool {
        let at = self.shape.ip_len;
        self.same(packet, at, at + 4)
    }

    fn same(&self, packet: &[u8], from: usize, to: usize) -> bool {
        self.header.get(from..to).is_some_and(|ours| packet.get(from..to) == Some(ours))
    }

    fn append(&mut self, link: u32, payload_len: usize, flags: u8) {
        self.last = link;
        self.count += 1;
        self.payload_total += payload_len;
        if self.shape.tcp
            && let Some(ours) = self.header.get_mut(self.shape.ip_len + 13)
        {
            *ours |= flags & PSH;
        }
    }

    /// Lengths and checksums of the super-packet.
    fn complete_header(&mut self) {
        let Shape { ipv6, tcp, ip_len, header_len, .. } = self.shape;
        let total = header_len + self.payload_total;
        let Some(header) = self.header.get_mut(..header_len) else { return };
        if ipv6 {
            put(header, 4, ((total - ip_len) as u16).to_be_bytes());
        } else {
            put(header, 2, (total as u16).to_be_bytes());
            if let Some(ip) = header.get_mut(..ip_len) {
                checksum::set_ipv4_header(ip);
            }
        }
        let transport_len = total - ip_len;
        let addresses = header.get(if ipv6 { 8..40 } else { 12..20 }).map(Sum::of).unwrap_or_default();
        let protocol = u16::from(if tcp { TCP } else { UDP });
        // What the kernel expects with a checksum that it is to complete: the pseudo-header's sum.
        let pseudo = addresses.plus_u16(protocol).plus_u16(transport_len as u16).folded();
        if tcp {
            put(header, ip_len + 16, pseudo);
        } else {
            put(header, ip_len + 4, (transport_len as u16).to_be_bytes());
            put(header, ip_len + 6, pseudo);
        }
    }

    fn merged<'m>(&'m self, links: &'m [Link]) -> Merged<'m> {
        let shape = &self.shape;
        let first = Some(self.first);
        if self.count == 1 {
            return Merged {
                vnet: VnetHeader::default(),
                header: &[],
                parts: 1,
                links,
                next: first,
                start: 0,
            };
        }
        let gso = match (shape.tcp, shape.ipv6) {
            (true, false) => Gso::Tcp4,
            (true, true) => Gso::Tcp6,
            (false, _) => Gso::Udp,
        };
        let vnet = VnetHeader {
            needs_checksum: true,
            gso,
            ecn: false,
            header_len: shape.header_len as u16,
            gso_size: shape.payload_len as u16,
            checksum_start: shape.ip_len as u16,
            checksum_offset: if shape.tcp { 16 } else { 6 },
        };
        let header = self.header.get(..shape.header_len).unwrap_or_default();
        Merged { vnet, header, parts: usize::from(self.count), links, next: first, start: shape.header_len }
    }
}

/// Plain data segments only. SYN, FIN, RST and URG mean more than their payload, and CWR belongs to one segment.
fn tcp_may_merge(packet: &[u8], shape: &Shape) -> bool {
    let flags = flags(packet, shape);
    shape.header_len >= shape.ip_len + 20 && flags & ACK != 0 && flags & (SYN | FIN | RST | URG | CWR) == 0
}

/// A datagram without checksum would get one by splitting; one with octets behind it would lose them.
fn udp_may_merge(packet: &[u8], shape: &Shape) -> bool {
    let at = shape.ip_len;
    word(packet, at + 4) == u16::try_from(packet.len() - at).ok() && word(packet, at + 6) != Some(0)
}

fn flags(packet: &[u8], shape: &Shape) -> u8 {
    if shape.tcp { packet.get(shape.ip_len + 13).copied().unwrap_or(0) } else { 0 }
}

/// A number for the five-tuple. Two flows may share one: that costs a merge, and is no error.
fn flow_of(packet: &[u8], ip_len: usize, ipv6: bool) -> Option<u64> {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let protocol = *packet.get(if ipv6 { 6 } else { 9 })?;
    // Addresses and ports stand side by side when there are no options.
    let tuple = packet.get(if ipv6 { 8 } else { 12 }..ip_len + 4)?;
    let mut hash = u64::from(protocol);
    for word in tuple.as_chunks::<4>().0 {
        hash = (hash ^ u64::from(u32::from_ne_bytes(*word))).wrapping_mul(MIX).rotate_left(29);
    }
    Some(hash)
}

fn word(packet: &[u8], at: usize) -> Option<u16> {
    packet.get(at..)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

fn long(packet: &[u8], at: usize) -> Option<u32> {
    packet.get(at..)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

fn put(header: &mut [u8], at: usize, value: [u8; 2]) {
    if let Some(field) = header.get_mut(at..at + 2) {
        field.copy_from_slice(&value);
    }
}
