//! ECN and DSCP between inner and outer header. It reads and writes the traffic-class octet and nothing else.
//! RFC 6040 (ECN; it replaces RFC 4301's rules), RFC 2983 (DSCP), RFC 4301 §5.1.2.

use crate::DropReason;
use crate::checksum;

const ECN_MASK: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// Where the outer DSCP comes from (RFC 2983 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dscp {
    /// Copied from the inner header (RFC 4301 §5.1.2.1 allows both).
    #[default]
    Copy,
    /// Always this value, 0-63, so that nothing about the inner traffic shows.
    Fixed(u8),
}

/// The outer traffic-class octet for an inner one: DSCP and ECN copied.
#[inline]
pub const fn encapsulate(inner: u8) -> u8 {
    //= RFC 6040 §4.1
    //# Normal mode: the ingress copies the ECN field, congestion experienced included. Compatibility mode, which
    //# clears it, is for egresses that do not know ECN; an IKEv2 peer must (RFC 7296 §2.24).
    inner
}

/// Like [`encapsulate`], with a choice for the DSCP.
#[inline]
pub const fn encapsulate_with(inner: u8, dscp: Dscp) -> u8 {
    match dscp {
        Dscp::Copy => encapsulate(inner),
        Dscp::Fixed(dscp) => dscp << 2 | (encapsulate(inner) & ECN_MASK),
    }
}

/// The inner traffic-class octet to deliver, from the outer and inner ones that arrived.
///
/// # Errors
/// [`DropReason::Congestion`] when a router marked a packet whose transport is not ECN-capable.
#[inline]
pub const fn decapsulate(outer: u8, inner: u8) -> Result<u8, DropReason> {
    //= RFC 6040 §4.2, figure 4
    //# Row: arriving inner header; column: arriving outer header.
    let ecn = match (inner & ECN_MASK, outer & ECN_MASK) {
        (NOT_ECT, CE) => return Err(DropReason::Congestion),
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    // RFC 2983 §3.1, RFC 4301 §5.1.2: the inner DSCP leaves the tunnel as it went in.
    Ok(inner & !ECN_MASK | ecn)
}

/// Whether the pair cannot come from a tunnel ingress that follows RFC 6040: worth a log line, rate-limited.
#[inline]
pub const fn is_suspicious(outer: u8, inner: u8) -> bool {
    // The combinations marked (!) and (!!!) in RFC 6040 figure 4.
    matches!(
        (inner & ECN_MASK, outer & ECN_MASK),
        (NOT_ECT, ECT_0 | ECT_1 | CE) | (ECT_1, ECT_0) | (CE, ECT_1)
    )
}

/// The traffic-class octet of an IPv4 or IPv6 packet.
#[inline]
pub fn traffic_class(packet: &[u8]) -> Option<u8> {
    match packet {
        [first, second, ..] if first >> 4 == 4 => Some(*second),
        [first, second, ..] if first >> 4 == 6 => Some(first << 4 | second >> 4),
        _ => None,
    }
}

/// Applies [`decapsulate`] to the inner packet `packet` where it stands; the IPv4 header checksum is kept right.
///
/// # Errors
/// [`DropReason::Congestion`] as above; [`DropReason::Inner`] when `packet` is no IP packet.
#[inline]
pub fn decapsulate_packet(outer: u8, packet: &mut [u8]) -> Result<(), DropReason> {
    let inner = traffic_class(packet).ok_or(DropReason::Inner)?;
    let new = decapsulate(outer, inner)?;
    if new == inner {
        return Ok(());
    }
    match packet {
        [first, second, ..] if *first >> 4 == 6 => {
            *first = *first & 0xf0 | new >> 4;
            *second = *second & 0x0f | new << 4;
        }
        [first, second, _, _, _, _, _, _, _, _, c0, c1, ..] => {
            let sum = checksum::update([*c0, *c1], [*first, *second], [*first, new]);
            *second = new;
            [*c0, *c1] = sum;
        }
        _ => return Err(DropReason::Inner),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Sum;

    #[test]
    fn the_decapsulation_table_is_rfc_6040_figure_4() {
        const DROP: Result<u8, DropReason> = Err(DropReason::Congestion);
        // Columns: outer Not-ECT, ECT(0), ECT(1), CE.
        let columns = [NOT_ECT, ECT_0, ECT_1, CE];
        let rows = [
            (NOT_ECT, [Ok(NOT_ECT), Ok(NOT_ECT), Ok(NOT_ECT), DROP]),
            (ECT_0, [Ok(ECT_0), Ok(ECT_0), Ok(ECT_1), Ok(CE)]),
            (ECT_1, [Ok(ECT_1), Ok(ECT_1), Ok(ECT_1), Ok(CE)]),
            (CE, [Ok(CE), Ok(CE), Ok(CE), Ok(CE)]),
        ];
        for (inner, row) in rows {
            for (outer, expected) in columns.into_iter().zip(row) {
                let dscp = 0b1011_1000;
                let expected = expected.map(|ecn| dscp | ecn);
                assert_eq!(
                    decapsulate(0b0110_0000 | outer, dscp | inner),
                    expected,
                    "{inner:02b} {outer:02b}"
                );
            }
        }
    }

    #[test]
    fn the_combinations_that_no_good_ingress_makes_are_named() {
        let suspicious: Vec<(u8, u8)> = (0..4)
            .flat_map(|inner| (0..4).map(move |outer| (inner, outer)))
            .filter(|(inner, outer)| is_suspicious(*outer, *inner))
            .collect();
        assert_eq!(
            suspicious,
            [(NOT_ECT, ECT_1), (NOT_ECT, ECT_0), (NOT_ECT, CE), (ECT_1, ECT_0), (CE, ECT_1)]
        );
    }

    #[test]
    fn the_outer_header_copies_ecn_and_the_chosen_dscp() {
        assert_eq!(encapsulate(0b1011_1011), 0b1011_1011);
        assert_eq!(encapsulate_with(0b1011_1011, Dscp::Fixed(0)), CE);
        assert_eq!(encapsulate_with(0b1011_1010, Dscp::Fixed(63)), 0b1111_1110);
    }

    #[test]
    fn a_mark_reaches_the_inner_header_and_its_checksum() {
        let mut packet = [0x45, ECT_0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        checksum::set_ipv4_header(&mut packet);
        decapsulate_packet(CE, &mut packet).unwrap();
        assert_eq!(packet[1], CE);
        assert_eq!(Sum::of(&packet).checksum(), [0, 0]);
        let mut six = [0x60, 0x2f, 0xff, 0xff];
        assert_eq!(traffic_class(&six), Some(ECT_0));
        decapsulate_packet(CE, &mut six).unwrap();
        assert_eq!(six, [0x60, 0x3f, 0xff, 0xff]);
        assert_eq!(decapsulate_packet(CE, &mut [0x60, 0, 0, 0]), Err(DropReason::Congestion));
        assert_eq!(decapsulate_packet(0, &mut []), Err(DropReason::Inner));
    }
}
