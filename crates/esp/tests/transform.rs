//! What a receiver accepts and what it refuses, over every suite.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use aes_gcm::aead::{Aead, KeyInit, Payload};
use esp::{
    DropReason, InboundSa, Lifetime, NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, NEXT_HEADER_NONE, OutboundSa,
    inner_mtu,
};
use model::{Encapsulation, EspKeys, EspSuite, EspTransform, KeyBits, Secret};
use proptest::prelude::*;

mod common;
use common::{all_suites, all_transforms, keys, spi, udp_packet};

const GCM: EspSuite = EspSuite { transform: EspTransform::AesGcm16(KeyBits::B256), esn: false };

fn pair(suite: EspSuite) -> (OutboundSa, InboundSa) {
    let keys = keys(suite.transform, 1);
    (OutboundSa::new(spi(), suite, &keys).unwrap(), InboundSa::new(spi(), suite, &keys, 64).unwrap())
}

fn seal(sa: &OutboundSa, seq: u64, inner: &[u8], next_header: u8) -> Vec<u8> {
    let mut out = vec![0xee; sa.sealed_len(inner.len()) + 5];
    let len = sa.seal_into(seq, inner, next_header, &mut out);
    assert_eq!(len, sa.sealed_len(inner.len()));
    assert_eq!(out[len..], [0xee; 5], "nothing is written behind the packet");
    out.truncate(len);
    out
}

#[test]
fn every_suite_and_every_alignment_round_trips() {
    for suite in all_suites() {
        let (sender, mut receiver) = pair(suite);
        for payload_len in 0..70 {
            for ipv6 in [false, true] {
                let inner = udp_packet(ipv6, 1, &vec![payload_len as u8; payload_len]);
                let next_header = if ipv6 { NEXT_HEADER_IPV6 } else { NEXT_HEADER_IPV4 };
                let seq = sender.reserve(1).unwrap();
                let mut packet = seal(&sender, seq, &inner, next_header);
                let opened = receiver.open_in_place(&mut packet).unwrap();
                assert_eq!(opened.inner, inner, "{suite:?}");
                assert_eq!((opened.next_header, opened.sequence), (next_header, seq));
            }
        }
        assert_eq!(receiver.highest_sequence(), 140);
    }
}

#[test]
fn both_ways_of_sealing_yield_the_same_octets_and_move_nothing() {
    for suite in all_suites() {
        let (sender, mut receiver) = pair(suite);
        let inner = udp_packet(false, 1, b"where it stands");
        let copied = seal(&sender, 9, &inner, NEXT_HEADER_IPV4);
        let mut in_place = vec![0; 200];
        let offset = sender.payload_offset();
        in_place[offset..offset + inner.len()].copy_from_slice(&inner);
        let len = sender.seal_in_place(9, &mut in_place, inner.len(), NEXT_HEADER_IPV4);
        assert_eq!(in_place[..len], copied);
        let start = in_place.as_ptr() as usize;
        let opened = receiver.open_in_place(&mut in_place[..len]).unwrap();
        assert_eq!(opened.inner.as_ptr() as usize - start, offset, "the plaintext stays where it was");
        assert_eq!(offset, receiver.payload_offset());
    }
}

#[test]
fn the_packet_that_fills_the_inner_mtu_fills_the_path_mtu() {
    for transform in all_transforms() {
        let (sender, _) = pair(EspSuite { transform, esn: false });
        for path in 200..=1500u16 {
            let mtu = usize::from(inner_mtu(path, false, Encapsulation::Udp, transform));
            let budget = usize::from(path) - 28;
            assert!(sender.sealed_len(mtu) <= budget, "{transform} {path}");
            assert!(sender.sealed_len(mtu + 1) > budget, "{transform} {path}");
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_and_changes_nothing() {
    for suite in all_suites() {
        let (sender, mut receiver) = pair(suite);
        let good = seal(&sender, 1, &udp_packet(false, 1, b"attack at dawn"), NEXT_HEADER_IPV4);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let refused = receiver.open_in_place(&mut bad).unwrap_err();
            let expected = match bit / 8 {
                0..4 => &[DropReason::NoSa][..],
                // The sequence number: zero is refused as a replay, any other fails the check.
                4..8 => &[DropReason::Auth, DropReason::Replay],
                _ => &[DropReason::Auth],
            };
            assert!(expected.contains(&refused), "{suite:?} bit {bit}: {refused:?}");
        }
        assert_eq!(receiver.highest_sequence(), 0);
        assert!(receiver.open_in_place(&mut good.clone()).is_ok());
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    for suite in all_suites() {
        let (sender, mut receiver) = pair(suite);
        let good = seal(&sender, 1, &udp_packet(true, 1, b"cut here"), NEXT_HEADER_IPV6);
        for len in 0..good.len() {
            let refused = receiver.open_in_place(&mut good[..len].to_vec()).unwrap_err();
            assert!(
                matches!(refused, DropReason::Malformed | DropReason::Auth),
                "{suite:?} {len}: {refused:?}"
            );
        }
        for more in 1..40 {
            let mut longer = good.clone();
            longer.resize(good.len() + more, 0);
            let refused = receiver.open_in_place(&mut longer).unwrap_err();
            assert!(
                matches!(refused, DropReason::Malformed | DropReason::Auth),
                "{suite:?} {more}: {refused:?}"
            );
        }
        assert!(receiver.open_in_place(&mut good.clone()).is_ok());
    }
}

#[test]
fn a_packet_is_delivered_once() {
    let (sender, mut receiver) = pair(GCM);
    let packet = seal(&sender, 1, &udp_packet(false, 1, b""), NEXT_HEADER_IPV4);
    assert!(receiver.open_in_place(&mut packet.clone()).is_ok());
    assert_eq!(receiver.open_in_place(&mut packet.clone()), Err(DropReason::Replay));
}

#[test]
fn a_forged_high_sequence_number_does_not_move_the_window() {
    let (sender, mut receiver) = pair(GCM);
    let mut forged = seal(&sender, 1, &udp_packet(false, 1, b""), NEXT_HEADER_IPV4);
    forged[4..8].copy_from_slice(&0xffff_0000u32.to_be_bytes());
    assert_eq!(receiver.open_in_place(&mut forged), Err(DropReason::Auth));
    let mut genuine = seal(&sender, 2, &udp_packet(false, 1, b""), NEXT_HEADER_IPV4);
    assert!(receiver.open_in_place(&mut genuine).is_ok());
}

#[test]
fn what_is_inside_is_checked_after_the_icv_and_counts_as_received() {
    let (sender, mut receiver) = pair(GCM);
    let cases = [
        (&b"dummy"[..], NEXT_HEADER_NONE, DropReason::Dummy),
        (&b"not ip"[..], NEXT_HEADER_IPV4, DropReason::Inner),
        (&[0x60; 40][..], NEXT_HEADER_IPV4, DropReason::Inner),
        (&b"tcp"[..], 6, DropReason::Inner),
    ];
    for (seq, (inner, next_header, expected)) in (1..).zip(cases) {
        let mut packet = seal(&sender, seq, inner, next_header);
        let refused = receiver.open_in_place(&mut packet).unwrap_err();
        assert_eq!(refused, expected);
        assert!(refused.is_authenticated());
        assert_eq!(receiver.highest_sequence(), seq);
    }
}

#[test]
fn tfc_padding_is_tolerated() {
    for suite in all_suites() {
        let (sender, mut receiver) = pair(suite);
        let inner = udp_packet(true, 1, b"short");
        let mut padded = inner.clone();
        padded.resize(1200, 0xff);
        let mut packet = seal(&sender, 1, &padded, NEXT_HEADER_IPV6);
        assert_eq!(receiver.open_in_place(&mut packet).unwrap().inner, inner);
    }
}

/// AES-GCM by another library, so that padding and trailer can be chosen.
fn seal_by_hand(seq: u32, plaintext: &[u8]) -> Vec<u8> {
    let keys = keys(GCM.transform, 1);
    let (key, salt) = keys.encryption.expose().split_at(32);
    let cipher = aes_gcm::Aes256Gcm::new_from_slice(key).unwrap();
    let mut packet = spi().get().to_be_bytes().to_vec();
    packet.extend(seq.to_be_bytes());
    let iv = [9, 8, 7, 6, 5, 4, 3, 2];
    let nonce: [u8; 12] = [salt, &iv].concat().try_into().unwrap();
    let sealed = cipher.encrypt(&nonce.into(), Payload { msg: plaintext, aad: &packet }).unwrap();
    packet.extend(iv);
    packet.extend(sealed);
    packet
}

#[test]
fn the_padding_may_be_long_but_must_count_up() {
    let (_, mut receiver) = pair(GCM);
    let inner = udp_packet(false, 1, b"12");
    let with = |padding: &[u8], pad_len: u8| [&inner[..], padding, &[pad_len, NEXT_HEADER_IPV4]].concat();
    let counting: Vec<u8> = (1..=252).collect();
    let mut long = seal_by_hand(1, &with(&counting, 252));
    assert_eq!(receiver.open_in_place(&mut long).unwrap().inner, inner);
    let mut zeroes = seal_by_hand(2, &with(&[0; 4], 4));
    assert_eq!(receiver.open_in_place(&mut zeroes), Err(DropReason::Padding));
    let mut too_long = seal_by_hand(3, &with(&counting, 255));
    assert_eq!(receiver.open_in_place(&mut too_long), Err(DropReason::Padding));
    let mut unaligned = seal_by_hand(4, &with(&[1], 1));
    assert_eq!(receiver.open_in_place(&mut unaligned), Err(DropReason::Malformed));
}

#[test]
fn another_spi_another_key_or_another_suite_opens_nothing() {
    for suite in all_suites() {
        let (sender, _) = pair(suite);
        let packet = seal(&sender, 1, &udp_packet(false, 1, b"mine"), NEXT_HEADER_IPV4);
        let mut other_key = InboundSa::new(spi(), suite, &keys(suite.transform, 2), 64).unwrap();
        assert_eq!(other_key.open_in_place(&mut packet.clone()), Err(DropReason::Auth), "{suite:?}");
        let flipped = EspSuite { esn: !suite.esn, ..suite };
        let (_, mut other_esn) = pair(flipped);
        assert_eq!(other_esn.open_in_place(&mut packet.clone()), Err(DropReason::Auth), "{suite:?}");
    }
}

#[test]
fn keys_of_the_wrong_length_are_refused_with_both_lengths() {
    for suite in all_suites() {
        let mut long = keys(suite.transform, 1);
        long.encryption = Secret::new(vec![0; suite.transform.encryption_key_len() + 1]);
        let error = OutboundSa::new(spi(), suite, &long).unwrap_err();
        assert_eq!((error.what, error.got), ("encryption", error.expected + 1));
        let none = EspKeys { encryption: Secret::new(vec![]), integrity: Secret::new(vec![]) };
        assert!(InboundSa::new(spi(), suite, &none, 64).is_err());
        let extra = EspKeys { integrity: Secret::new(vec![1; 5]), ..keys(suite.transform, 1) };
        assert!(OutboundSa::new(spi(), suite, &extra).is_err());
    }
}

#[test]
fn a_buffer_too_short_yields_no_packet() {
    for suite in all_suites() {
        let (sender, _) = pair(suite);
        let inner = udp_packet(false, 1, b"no room");
        for len in 0..sender.sealed_len(inner.len()) {
            let mut out = vec![0; len];
            assert_eq!(sender.seal_into(1, &inner, NEXT_HEADER_IPV4, &mut out), 0);
        }
    }
}

#[test]
fn gcm_ivs_never_repeat_and_cbc_ivs_show_no_counter() {
    let inner = udp_packet(false, 1, b"the same again");
    for suite in all_suites() {
        let (sender, _) = pair(suite);
        let iv_of = |seq| seal(&sender, seq, &inner, NEXT_HEADER_IPV4)[8..sender.payload_offset()].to_vec();
        let ivs: Vec<Vec<u8>> = (1..=200).map(iv_of).collect();
        let mut distinct = ivs.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), ivs.len());
        if let EspTransform::AesCbc(..) = suite.transform {
            // Neighbours differ in half their bits, as random blocks do (RFC 3602 §3: no low Hamming distance).
            for pair in ivs.windows(2) {
                let distance: u32 = pair[0].iter().zip(&pair[1]).map(|(a, b)| (a ^ b).count_ones()).sum();
                assert!((30..=98).contains(&distance), "{distance} of 128 bits");
            }
        }
    }
}

#[test]
fn a_32_bit_counter_stops_before_it_wraps() {
    let (sender, _) = pair(GCM);
    let hard = u64::from(u32::MAX);
    assert_eq!(sender.lifetime(), Lifetime { soft: hard - Lifetime::MARGIN, hard });
    assert_eq!(sender.reserve(10), Ok(1));
    assert_eq!(sender.reserve(1), Ok(11));
    assert!(!sender.nearly_exhausted());
    let late = sender.with_sent(hard - Lifetime::MARGIN);
    assert!(late.nearly_exhausted());
    let end = late.with_sent(hard - 3);
    assert_eq!(end.reserve(4).unwrap_err().sent, hard - 3);
    assert_eq!(end.reserve(3), Ok(hard - 2));
    assert!(end.reserve(1).is_err());
    assert_eq!(end.sent(), hard);
    let (extended, _) = pair(EspSuite { esn: true, ..GCM });
    let extended = extended.with_sent(hard);
    assert_eq!(extended.reserve(1), Ok(hard + 1));
    assert!(!extended.nearly_exhausted());
    let extended = extended.with_sent(u64::MAX - 1);
    assert_eq!(extended.reserve(1), Ok(u64::MAX));
    assert!(extended.reserve(1).is_err());
}

#[test]
fn the_counter_cannot_be_moved_back() {
    let (sender, _) = pair(GCM);
    let sender = sender.with_sent(500).with_sent(3);
    assert_eq!(sender.reserve(1), Ok(501));
}

#[test]
fn threads_never_share_a_sequence_number() {
    let (sender, _) = pair(GCM);
    let mut all: Vec<u64> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..500).map(|_| sender.reserve(3).unwrap()).collect::<Vec<u64>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    all.sort_unstable();
    assert_eq!(all, (0..2000).map(|i| 1 + i * 3).collect::<Vec<u64>>());
}

#[test]
fn extended_numbers_cross_2_to_the_32_and_arrive_late_across_it() {
    for transform in all_transforms() {
        let (sender, mut receiver) = pair(EspSuite { transform, esn: true });
        let turn = 1u64 << 32;
        let inner = udp_packet(false, 1, b"turn of the counter");
        let mut open = |seq: u64| {
            let mut packet = seal(&sender, seq, &inner, NEXT_HEADER_IPV4);
            receiver.open_in_place(&mut packet).map(|opened| opened.sequence)
        };
        // Up to the turn by jumps that the low 32 bits can express.
        for seq in [1, turn / 2, turn - 2] {
            assert_eq!(open(seq), Ok(seq));
        }
        assert_eq!(open(turn + 1), Ok(turn + 1), "{transform}");
        assert_eq!(open(turn - 1), Ok(turn - 1), "late, from before the turn");
        assert_eq!(open(turn), Ok(turn), "low half zero");
        assert_eq!(open(turn - 2), Err(DropReason::Replay));
        assert_eq!(open(turn), Err(DropReason::Replay));
        // Left of the window: taken for the next turn, where the ICV does not match.
        assert_eq!(open(turn - 63), Err(DropReason::Auth));
        assert_eq!(open(turn + 63), Ok(turn + 63));
    }
}

proptest! {
    #[test]
    fn no_octets_from_the_network_panic(
        mut packet in prop::collection::vec(any::<u8>(), 0..300), suite in 0usize..20, right_spi: bool,
    ) {
        let suite = all_suites()[suite];
        let (_, mut receiver) = pair(suite);
        if right_spi && packet.len() >= 4 {
            packet[..4].copy_from_slice(&spi().get().to_be_bytes());
        }
        prop_assert!(receiver.open_in_place(&mut packet).is_err());
        prop_assert_eq!(receiver.highest_sequence(), 0);
    }

    #[test]
    fn no_plaintext_from_an_authenticated_peer_panics(plaintext in prop::collection::vec(any::<u8>(), 0..80)) {
        let (_, mut receiver) = pair(GCM);
        let mut packet = seal_by_hand(1, &plaintext);
        match receiver.open_in_place(&mut packet) {
            Ok(opened) => prop_assert!(opened.inner.len() >= 20),
            Err(reason) => prop_assert!(reason.is_authenticated() || reason == DropReason::Malformed),
        }
    }
}
