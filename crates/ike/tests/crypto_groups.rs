//! Key exchange: published vectors, bad public values, and how long each group takes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod vectors;

use std::collections::BTreeMap;

use ike::crypto::{
    BadPublicValue, GROUPS, KeyPair, UnsupportedGroup, is_supported, is_supported_additional, self_test,
};
use ike::wire::DhGroup;
use model::SecureRng;
use vectors::{SeededRng, unhex};

/// A generator that hands out prepared octets, so that a private key can be chosen.
struct Prepared(Vec<u8>);

impl SecureRng for Prepared {
    fn fill(&mut self, out: &mut [u8]) {
        assert_eq!(out.len(), self.0.len(), "the private key is drawn in one piece");
        out.copy_from_slice(&self.0);
    }
}

fn pair(group: DhGroup, private: &str) -> KeyPair {
    KeyPair::generate(group, &mut Prepared(unhex(private))).unwrap()
}

/// Agreement in both directions against a published example.
fn check_example(group: DhGroup, i: &str, gi: &str, r: &str, gr: &str, shared: &str) {
    let initiator = pair(group, i);
    let responder = pair(group, r);
    assert_eq!(initiator.public(), unhex(gi), "{group} initiator's public value");
    assert_eq!(responder.public(), unhex(gr), "{group} responder's public value");
    assert_eq!(initiator.agree(&unhex(gr)).unwrap().expose(), unhex(shared), "{group} shared secret");
    assert_eq!(responder.agree(&unhex(gi)).unwrap().expose(), unhex(shared), "{group} shared secret");
}

#[test]
fn ecp_256_matches_rfc_5903_section_8_1() {
    check_example(
        DhGroup::ECP_256,
        "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
        "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180
         5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
        "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
        "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63
         56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
        "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
    );
}

#[test]
fn ecp_384_matches_rfc_5903_section_8_2() {
    check_example(
        DhGroup::ECP_384,
        "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655
         E35B538041E649EE3FAEF896783AB194",
        "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6
         DE3AC808ACB4BDB4C88732AEE95F41AA9482ED1FC0EEB9CAFC4984625CCFC23F
         65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
        "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942
         E0308312916B8ED2960E4BD55A7448FC",
        "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D
         0D1AC43A0336DEF96FDA41D0774A3571DCFBEC7AACF3196472169E838430367F
         66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
        "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4
         D603135569B9E9D09CF5D4A270F59746",
    );
}

#[test]
fn ecp_521_matches_rfc_5903_section_8_3() {
    check_example(
        DhGroup::ECP_521,
        "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A0
         95AA85A30FE1C2952C6771D937BA9777F5957B2639BAB072462F68C27A57382D4A52",
        "0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB4357C9ECBE
         E1E3BF42E00B8E380AEAE57C2D107564941885942AF5A7F4601723C4195D176CED3E
         017CAE20B6641D2EEB695786D8C946146239D099E18E1D5A514C739D7CB4A10A
         D8A788015AC405D7799DC75E7B7D5B6CF2261A6A7F1507438BF01BEB6CA3926F9582",
        "0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E
         9C677D600B343757A3BDBF2A3163E4C2F869CCA7458AA4A4EFFC311F5CB151685EB9",
        "00D0B3975AC4B799F5BEA16D5E13E9AF971D5E9B984C9F39728B5E5739735A21
         9B97C356436ADC6E95BB0352F6BE64A6C2912D4EF2D0433CED2B6171640012D9460F
         015C68226383956E3BD066E797B623C27CE0EAC2F551A10C2C724D9852077B87
         220B6536C5C408A1D2AEBB8E86D678AE49CB57091F4732296579AB44FCD17F0FC56A",
        "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04
         D1427E73CA4BAA240A34786859810C06B3C715A3A8CC3151F2BEE417996D19F3DDEA",
    );
}

#[test]
fn curve25519_matches_rfc_7748_section_6_1() {
    check_example(
        DhGroup::CURVE25519,
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    );
}

#[test]
fn the_modp_primes_are_those_that_the_definition_gives() {
    let expected: BTreeMap<u16, Vec<u8>> = include_str!("vectors/modp_primes.txt")
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(group, prime)| (group.parse().unwrap(), unhex(prime)))
        .collect();
    assert_eq!(expected.len(), 7);
    for (group, prime) in expected {
        // p-1 is refused and p-2 is not, and both only at the prime's own length: that pins every octet of p.
        let group = DhGroup(group);
        let pair = KeyPair::generate(group, &mut SeededRng(1)).unwrap();
        let mut below = prime.clone();
        *below.last_mut().unwrap() -= 1;
        assert_eq!(pair.agree(&below).unwrap_err(), BadPublicValue::Value(group));
        *below.last_mut().unwrap() -= 1;
        assert!(pair.agree(&below).is_ok(), "{group}: and a bad value before costs nothing");
    }
}

#[test]
fn modp_matches_an_independent_exponentiation() {
    for record in vectors::records(include_str!("vectors/modp.txt")) {
        let group = DhGroup(record.text("group").parse().unwrap());
        let pair = KeyPair::generate(group, &mut Prepared(record.bytes("drawn"))).unwrap();
        assert_eq!(pair.public(), record.bytes("public"), "{group}: 2^x mod p");
        let shared = pair.agree(&record.bytes("peer")).unwrap();
        assert_eq!(shared.expose(), record.bytes("shared"), "{group}: y^x mod p");
    }
}

#[test]
fn a_modp_secret_with_leading_zeros_keeps_the_length_of_the_modulus() {
    // A peer's value of 2 with a private exponent is our own public value: look for one that starts with zero.
    let mut rng = SeededRng(42);
    let short = (0..2000)
        .map(|_| KeyPair::generate(DhGroup::MODP_1024, &mut rng).unwrap())
        .find(|pair| pair.public()[0] == 0)
        .expect("one in 256");
    assert_eq!(short.public().len(), 128);
    let mut two = vec![0; 128];
    two[127] = 2;
    let public = short.public().to_vec();
    assert_eq!(short.agree(&two).unwrap().expose(), public);
}

fn sizes() -> Vec<(DhGroup, usize)> {
    vec![
        (DhGroup::MODP_1024, 128),
        (DhGroup::MODP_1536, 192),
        (DhGroup::MODP_2048, 256),
        (DhGroup::MODP_3072, 384),
        (DhGroup::MODP_4096, 512),
        (DhGroup::MODP_6144, 768),
        (DhGroup::MODP_8192, 1024),
        (DhGroup::ECP_256, 64),
        (DhGroup::ECP_384, 96),
        (DhGroup::ECP_521, 132),
        (DhGroup::CURVE25519, 32),
    ]
}

#[test]
fn a_public_value_of_any_other_length_is_refused() {
    for (group, expected) in sizes() {
        let pair = KeyPair::generate(group, &mut SeededRng(5)).unwrap();
        assert_eq!(pair.public().len(), expected);
        for received in [0, 1, expected - 1, expected + 1, 2 * expected, 65_531] {
            let mut value = pair.public().to_vec();
            value.resize(received, 1);
            let error = pair.agree(&value).unwrap_err();
            assert_eq!(error, BadPublicValue::Length { group, expected, received });
        }
    }
}

fn refused(pair: &KeyPair, value: &[u8]) -> bool {
    pair.agree(value).is_err_and(|error| error == BadPublicValue::Value(pair.group()))
}

#[test]
fn modp_values_outside_2_to_p_minus_2_are_refused() {
    for record in vectors::records(include_str!("vectors/modp.txt")) {
        let group = DhGroup(record.text("group").parse().unwrap());
        let prime = record.bytes("prime");
        let pair = KeyPair::generate(group, &mut SeededRng(6)).unwrap();
        let number = |n: u8| {
            let mut value = vec![0; prime.len()];
            *value.last_mut().unwrap() = n;
            value
        };
        let mut minus_one = prime.clone();
        *minus_one.last_mut().unwrap() -= 1;
        for bad in [number(0), number(1), minus_one, prime.clone(), vec![0xff; prime.len()]] {
            assert!(refused(&pair, &bad), "{group}");
        }
    }
}

#[test]
fn ecp_values_off_the_curve_are_refused() {
    for (group, length) in sizes().into_iter().filter(|(group, _)| (19..=21).contains(&group.0)) {
        let pair = KeyPair::generate(group, &mut SeededRng(6)).unwrap();
        let good = KeyPair::generate(group, &mut SeededRng(5)).unwrap().public().to_vec();
        assert!(refused(&pair, &vec![0; length]), "{group}: zero, the usual mistake for infinity");
        assert!(refused(&pair, &vec![0xff; length]), "{group}: coordinates beyond the field");
        for index in [0, length / 2 - 1, length / 2, length - 1] {
            let mut value = good.clone();
            value[index] ^= 1;
            assert!(refused(&pair, &value), "{group}: octet {index} changed");
        }
        let swapped = [&good[length / 2..], &good[..length / 2]].concat();
        assert!(refused(&pair, &swapped), "{group}: x and y swapped");
    }
}

#[test]
fn curve25519_values_of_small_order_are_refused() {
    let pair = KeyPair::generate(DhGroup::CURVE25519, &mut SeededRng(6)).unwrap();
    for small in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        assert!(refused(&pair, &unhex(small)), "{small}");
    }
}

#[test]
fn a_group_we_do_not_run_is_an_error_and_never_a_panic() {
    for number in 0..=u16::MAX {
        let group = DhGroup(number);
        if !is_supported_additional(group) {
            assert_eq!(KeyPair::generate(group, &mut SeededRng(0)).unwrap_err(), UnsupportedGroup(group));
        }
    }
    for left_out in [1, 22, 23, 24, 1025] {
        assert!(!is_supported(DhGroup(left_out)), "{left_out}");
    }
}

#[test]
fn the_same_seed_gives_the_same_key_pair() {
    for group in GROUPS {
        let one = KeyPair::generate(group, &mut SeededRng(9)).unwrap();
        let two = KeyPair::generate(group, &mut SeededRng(9)).unwrap();
        assert_eq!(one.public(), two.public(), "{group}");
    }
}

#[test]
fn a_generator_stuck_at_one_value_still_ends() {
    struct Stuck(u8);
    impl SecureRng for Stuck {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }
    // The other groups take whatever is drawn.
    for group in [DhGroup::ECP_256, DhGroup::ECP_384, DhGroup::ECP_521] {
        assert!(KeyPair::generate(group, &mut Stuck(0)).is_ok(), "{group}");
        assert!(KeyPair::generate(group, &mut Stuck(0xff)).is_ok(), "{group}");
    }
}

#[test]
fn everything_we_offer_can_be_run() {
    self_test(&GROUPS, &mut SeededRng(3)).unwrap();
    let failure = self_test(&[DhGroup::MODP_1024_160], &mut SeededRng(3)).unwrap_err();
    assert_eq!(failure.0, "MODP_1024_160", "an offer that cannot be kept is found at the start");
}

/// Prints the time of each group (`cargo test --release -p ike --test crypto_groups -- --nocapture time_of`).
#[test]
#[allow(clippy::disallowed_methods, reason = "a measurement reads the clock; the crate itself does not")]
fn the_time_of_one_key_exchange_stays_bearable_in_every_group() {
    for group in GROUPS {
        let peer = KeyPair::generate(group, &mut SeededRng(1)).unwrap().public().to_vec();
        let rounds = if cfg!(debug_assertions) { 1 } else { 5 };
        let start = std::time::Instant::now();
        for seed in 0..rounds {
            KeyPair::generate(group, &mut SeededRng(seed)).unwrap().agree(&peer).unwrap();
        }
        let each = start.elapsed().as_secs_f64() / rounds as f64;
        println!("{group:<12} {:8.2} ms for generation and agreement", each * 1000.0);
        // A peer gives up after seconds; debug builds on a busy machine are the slow case.
        assert!(each < 3.0, "{group}: {each} s");
    }
}
