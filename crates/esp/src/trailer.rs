//! The ESP trailer: padding, pad length, next header; and what is left when it and TFC padding are removed.
//! It never sees a packet that is not authenticated. RFC 4303 §2.4-2.7.

use crate::{DropReason, NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, NEXT_HEADER_NONE};

/// Pad length and next header.
pub(crate) const FIXED_LEN: usize = 2;

/// Octets of inner packet and trailer together: the next multiple of `alignment` that holds both.
#[inline]
pub(crate) const fn padded_len(inner_len: usize, alignment: usize) -> usize {
    (inner_len + FIXED_LEN).next_multiple_of(alignment)
}

/// The padding that we send: 1, 2, 3, ... (RFC 4303 §2.4). Our alignments need 15 octets at most.
const PADDING: [u8; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Writes padding, pad length and next header over all of `trailer`. `None` when it is no trailer's length.
#[inline]
pub(crate) fn write(trailer: &mut [u8], next_header: u8) -> Option<()> {
    let pad_len = trailer.len().checked_sub(FIXED_LEN)?;
    let (padding, fixed) = trailer.split_at_mut_checked(pad_len)?;
    padding.copy_from_slice(PADDING.get(..pad_len)?);
    fixed.copy_from_slice(&[pad_len as u8, next_header]);
    Some(())
}

/// Splits decrypted octets into the inner packet's length and its next header.
///
/// # Errors
/// [`DropReason::Padding`], [`DropReason::Inner`] or [`DropReason::Dummy`].
#[inline]
pub(crate) fn parse(plaintext: &[u8]) -> Result<(usize, u8), DropReason> {
    let [payload @ .., pad_len, next_header] = plaintext else {
        return Err(DropReason::Padding);
    };
    let payload_len = payload.len().checked_sub(usize::from(*pad_len)).ok_or(DropReason::Padding)?;
    let (payload, padding) = payload.split_at_checked(payload_len).ok_or(DropReason::Padding)?;
    //= RFC 4303 §2.4
    //# The receiver should inspect the padding: octet n holds n.
    if !padding.iter().zip(1..=u8::MAX).all(|(octet, n)| *octet == n) {
        return Err(DropReason::Padding);
    }
    let inner_len = match *next_header {
        NEXT_HEADER_IPV4 => ipv4_len(payload),
        NEXT_HEADER_IPV6 => ipv6_len(payload),
        NEXT_HEADER_NONE => return Err(DropReason::Dummy),
        _ => None,
    };
    Ok((inner_len.ok_or(DropReason::Inner)?, *next_header))
}

//= RFC 4303 §2.7
//# TFC padding lies between the inner packet and the padding; the inner header's length tells where it begins.

fn ipv4_len(payload: &[u8]) -> Option<usize> {
    let header: &[u8; 20] = payload.first_chunk()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    (header[0] >> 4 == 4 && header_len >= 20 && total >= header_len && total <= payload.len())
        .then_some(total)
}

fn ipv6_len(payload: &[u8]) -> Option<usize> {
    let header: &[u8; 40] = payload.first_chunk()?;
    let total = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    (header[0] >> 4 == 6 && total <= payload.len()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(total: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend(total.to_be_bytes());
        packet.resize(usize::from(total).max(20), 0);
        packet
    }

    #[test]
    fn padding_is_counted_up_and_checked() {
        let mut packet = ipv4(21);
        packet.extend([0; 5]);
        write(&mut packet[21..], 4).unwrap();
        assert_eq!(packet[21..], [1, 2, 3, 3, 4]);
        assert_eq!(parse(&packet), Ok((21, 4)));
        packet[22] = 3;
        assert_eq!(parse(&packet), Err(DropReason::Padding));
    }

    #[test]
    fn a_pad_length_beyond_the_packet_is_refused() {
        assert_eq!(parse(&[1, 2, 3, 4, 4]), Err(DropReason::Padding));
        assert_eq!(parse(&[9]), Err(DropReason::Padding));
        assert_eq!(parse(&[]), Err(DropReason::Padding));
    }

    #[test]
    fn tfc_padding_is_cut_by_the_inner_length() {
        let mut packet = ipv4(28);
        packet.extend([0xaa; 100]);
        packet.extend([1, 2, 2, 4]);
        assert_eq!(parse(&packet), Ok((28, 4)));
        let mut six = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
        six.resize(48, 0);
        six.extend([0x55; 31]);
        six.extend([0, 41]);
        assert_eq!(parse(&six), Ok((48, 41)));
    }

    #[test]
    fn only_ip_of_the_announced_version_and_dummies_may_be_inside() {
        let with = |mut packet: Vec<u8>, next_header| {
            packet.extend([0, next_header]);
            parse(&packet)
        };
        assert_eq!(with(ipv4(20), 41), Err(DropReason::Inner));
        assert_eq!(with(ipv4(20), 6), Err(DropReason::Inner));
        assert_eq!(with(vec![0; 7], 59), Err(DropReason::Dummy));
        assert_eq!(with(vec![], 4), Err(DropReason::Inner));
        let mut longer_than_it_is = ipv4(20);
        longer_than_it_is[3] = 21;
        assert_eq!(with(longer_than_it_is, 4), Err(DropReason::Inner));
        let mut short_header = ipv4(20);
        short_header[0] = 0x44;
        assert_eq!(with(short_header, 4), Err(DropReason::Inner));
    }
}
