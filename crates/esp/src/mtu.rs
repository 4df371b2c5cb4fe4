//! The largest inner packet for a path MTU, by computation from the suite's sizes. It never guesses a "safe"
//! constant. The eight IPv4 rows of the AWS page "Best practices for an AWS Site-to-Site VPN customer gateway
//! device" follow from it; RFC 4303 §2 gives the sizes.

use model::{Encapsulation, EspTransform};

use crate::{ESP_HEADER_LEN, UDP_HEADER_LEN};

/// Pad length and next header, the part of the trailer that is always there.
const TRAILER_MIN: usize = 2;

/// The largest inner packet in octets whose sealed form fits `path_mtu`; 0 when nothing fits.
///
/// `path_mtu` is the outer IP packet's limit in octets; the outer header is 20 octets, or 40 with `outer_ipv6`.
pub const fn inner_mtu(
    path_mtu: u16,
    outer_ipv6: bool,
    encapsulation: Encapsulation,
    transform: EspTransform,
) -> u16 {
    let outer = if outer_ipv6 { 40 } else { 20 };
    let udp = match encapsulation {
        Encapsulation::Udp => UDP_HEADER_LEN,
        Encapsulation::Esp => 0,
    };
    let overhead = outer + udp + ESP_HEADER_LEN + transform.iv_len() + transform.icv_len();
    let room = (path_mtu as usize).saturating_sub(overhead);
    let whole_blocks = room - room % transform.alignment();
    whole_blocks.saturating_sub(TRAILER_MIN) as u16
}

#[cfg(test)]
mod tests {
    use model::EspIntegrity::*;
    use model::KeyBits::*;

    use super::*;

    const GCM: EspTransform = EspTransform::AesGcm16(B256);
    const fn cbc(integrity: model::EspIntegrity) -> EspTransform {
        EspTransform::AesCbc(B128, integrity)
    }

    #[test]
    fn the_eight_published_rows_are_met() {
        let (raw, udp) = (Encapsulation::Esp, Encapsulation::Udp);
        let rows = [
            (GCM, raw, 1446),
            (GCM, udp, 1438),
            (cbc(HmacSha1_96), raw, 1438),
            (cbc(HmacSha2_256_128), raw, 1438),
            (cbc(HmacSha1_96), udp, 1422),
            (cbc(HmacSha2_256_128), udp, 1422),
            (cbc(HmacSha2_384_192), raw, 1422),
            (cbc(HmacSha2_384_192), udp, 1422),
            (cbc(HmacSha2_512_256), raw, 1422),
            (cbc(HmacSha2_512_256), udp, 1406),
        ];
        for (transform, encapsulation, expected) in rows {
            assert_eq!(
                inner_mtu(1500, false, encapsulation, transform),
                expected,
                "{transform} {encapsulation:?}"
            );
        }
    }

    #[test]
    fn an_ipv6_outer_header_costs_twenty_octets_before_rounding() {
        let rows = [
            (GCM, 1426, 1418),
            (cbc(HmacSha1_96), 1422, 1406),
            (cbc(HmacSha2_256_128), 1406, 1406),
            (cbc(HmacSha2_384_192), 1406, 1390),
            (cbc(HmacSha2_512_256), 1390, 1390),
        ];
        for (transform, raw, udp) in rows {
            assert_eq!(inner_mtu(1500, true, Encapsulation::Esp, transform), raw, "{transform}");
            assert_eq!(inner_mtu(1500, true, Encapsulation::Udp, transform), udp, "{transform}");
        }
    }

    #[test]
    fn a_lower_path_mtu_shrinks_it_and_a_tiny_one_leaves_nothing() {
        assert_eq!(inner_mtu(1492, false, Encapsulation::Udp, GCM), 1430);
        assert_eq!(inner_mtu(60, false, Encapsulation::Udp, GCM), 0);
        assert_eq!(inner_mtu(0, true, Encapsulation::Udp, cbc(HmacSha2_512_256)), 0);
        assert_eq!(inner_mtu(u16::MAX, false, Encapsulation::Esp, GCM), 65478);
    }
}
