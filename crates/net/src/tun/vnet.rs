//! The header before each packet of an `IFF_VNET_HDR` device (virtio 1.2 §5.1.6, native byte order here).

/// Octets of [`VnetHeader`] on the wire.
pub const VNET_HEADER_LEN: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// What kind of super-packet follows.
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

/// `struct virtio_net_hdr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VnetHeader {
    /// The transport checksum holds only the pseudo-header's sum and must be completed.
    pub needs_checksum: bool,
    /// Kind of super-packet.
    pub gso: Gso,
    /// A TCP super-packet with CWR set on its first segment.
    pub ecn: bool,
    /// Length of all headers; on a forwarding path the kernel's value cannot be trusted.
    pub header_len: u16,
    /// Payload octets of each segment.
    pub gso_size: u16,
    /// Where the checksum's coverage starts.
    pub checksum_start: u16,
    /// Where, from there, the checksum is stored.
    pub checksum_offset: u16,
}

impl VnetHeader {
    /// Splits a packet read from the device; `None` when it is too short or of a kind that was not asked for.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let bytes: &[u8; VNET_HEADER_LEN] = packet.first_chunk()?;
        let [flags, kind, h0, h1, g0, g1, s0, s1, o0, o1] = *bytes;
        // gso_type is a bit field: the ECN bit rides on the type.
        let gso = match kind & !GSO_ECN {
            GSO_NONE => Gso::None,
            GSO_TCPV4 => Gso::Tcp4,
            GSO_TCPV6 => Gso::Tcp6,
            GSO_UDP_L4 => Gso::Udp,
            _ => return None,
        };
        Some(Self {
            needs_checksum: flags & NEEDS_CSUM != 0,
            gso,
            ecn: kind & GSO_ECN != 0,
            header_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            checksum_start: u16::from_ne_bytes([s0, s1]),
            checksum_offset: u16::from_ne_bytes([o0, o1]),
        })
    }

    /// The octets for a packet to be written.
    pub fn encode(&self) -> [u8; VNET_HEADER_LEN] {
        let kind = match self.gso {
            Gso::None => GSO_NONE,
            Gso::Tcp4 => GSO_TCPV4,
            Gso::Tcp6 => GSO_TCPV6,
            Gso::Udp => GSO_UDP_L4,
        };
        let [h0, h1] = self.header_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.checksum_start.to_ne_bytes();
        let [o0, o1] = self.checksum_offset.to_ne_bytes();
        let ecn = if self.ecn { GSO_ECN } else { 0 };
        [u8::from(self.needs_checksum) * NEEDS_CSUM, kind | ecn, h0, h1, g0, g1, s0, s1, o0, o1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_kernel_form() {
        for gso in [Gso::None, Gso::Tcp4, Gso::Tcp6, Gso::Udp] {
            for ecn in [false, true] {
                let header = VnetHeader {
                    needs_checksum: ecn,
                    gso,
                    ecn,
                    header_len: 40,
                    gso_size: 1386,
                    checksum_start: 20,
                    checksum_offset: 16,
                };
                assert_eq!(VnetHeader::parse(&header.encode()), Some(header));
            }
        }
    }

    #[test]
    fn the_ecn_bit_does_not_hide_the_type_and_unknown_types_are_refused() {
        let mut bytes = [0; VNET_HEADER_LEN];
        bytes[1] = 0x81;
        assert_eq!(VnetHeader::parse(&bytes).map(|h| (h.gso, h.ecn)), Some((Gso::Tcp4, true)));
        // 3 is UDP fragmentation offload, which we never negotiate.
        for kind in [2, 3, 6, 0x83] {
            bytes[1] = kind;
            assert_eq!(VnetHeader::parse(&bytes), None);
        }
        assert_eq!(VnetHeader::parse(&bytes[..9]), None);
    }
}
