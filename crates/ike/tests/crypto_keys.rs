//! PRF, prf+, key derivation, AUTH and the hashes around them, against the RFCs and an independent derivation.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod vectors;

use std::net::{IpAddr, SocketAddr};

use ike::crypto::{
    ChildKeys, CookieSecrets, IkeCipher, Integrity, KeyInputs, KeyMaterialExhausted, Prf, SaKeys,
    SignedOctets, Suite, auth_psk, derive_child_keys, derive_rekeyed_sa_keys, derive_sa_keys, mix_ppk,
    nat_detection_hash, prf_plus, verify_psk,
};
use ike::wire::{DhGroup, EncrId, IntegId, PrfId, Transform};
use model::{EspKeys, EspTransform, IkeSpi, KeyBits, Secret};
use vectors::{Record, SeededRng, records, unhex};

fn prf_named(name: &str) -> Prf {
    Prf::ALL.into_iter().find(|prf| prf.to_string() == name).unwrap()
}

fn cipher_named(name: &str) -> IkeCipher {
    IkeCipher::ALL.into_iter().find(|cipher| cipher.to_string() == name).unwrap()
}

fn integrity_named(name: &str) -> Option<Integrity> {
    IntegId::SUPPORTED.into_iter().find(|integrity| integrity.name() == name)
}

fn suite(record: &Record, prefix: &str) -> Suite {
    let text = |name: &str| record.text(&format!("{prefix}{name}")).to_owned();
    Suite {
        cipher: cipher_named(&text("encr")),
        prf: prf_named(&text("prf")),
        integrity: integrity_named(&text("integ")),
        group: DhGroup::CURVE25519,
    }
}

fn spi(bytes: &[u8]) -> IkeSpi {
    IkeSpi::from_bytes(bytes.try_into().unwrap())
}

fn secret(record: &Record, name: &str) -> Secret {
    Secret::new(record.bytes(name))
}

fn assert_sa_keys(record: &Record, prefix: &str, keys: &SaKeys) {
    for (name, key) in [
        ("sk_d", &keys.sk_d),
        ("sk_ai", &keys.sk_ai),
        ("sk_ar", &keys.sk_ar),
        ("sk_ei", &keys.sk_ei),
        ("sk_er", &keys.sk_er),
        ("sk_pi", &keys.sk_pi),
        ("sk_pr", &keys.sk_pr),
    ] {
        assert_eq!(key.expose(), record.bytes(&format!("{prefix}{name}")), "{prefix}{name}");
    }
}

fn vector_file() -> Vec<Record> {
    let all = records(include_str!("vectors/kdf.txt"));
    assert_eq!(all.len(), 5);
    all
}

#[test]
fn hmac_sha2_matches_rfc_4231() {
    // Key, data, then the outputs for SHA-256, SHA-384 and SHA-512; cases 1, 2, 3 and 6 (key above the block).
    let cases = [
        (
            vec![0x0b; 20],
            b"Hi There".to_vec(),
            [
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4\
                 be9d914eeb61f1702e696c203a126854",
            ],
        ),
        (
            b"Jefe".to_vec(),
            b"what do ya want for nothing?".to_vec(),
            [
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
                 caeab1a34d4a6b4b636e070a38bce737",
            ],
        ),
        (
            vec![0xaa; 20],
            vec![0xdd; 50],
            [
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
                "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
                "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807\
                 b946a337bee8942674278859e13292fb",
            ],
        ),
        (
            vec![0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
            [
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e52\
                 95e64f73f63f0aec8b915a985d786598",
            ],
        ),
    ];
    for (key, data, outputs) in cases {
        for (prf, output) in
            [Prf::HmacSha2_256, Prf::HmacSha2_384, Prf::HmacSha2_512].into_iter().zip(outputs)
        {
            assert_eq!(prf.compute(&key, &[&data]).expose(), unhex(output), "{prf}");
            let (front, back) = data.split_at(data.len() / 2);
            assert_eq!(prf.compute(&key, &[front, &[], back]).expose(), unhex(output), "{prf} in parts");
        }
    }
}

#[test]
fn hmac_sha1_matches_rfc_2202() {
    assert_eq!(
        Prf::HmacSha1.compute(&[0x0b; 20], &[b"Hi There"]).expose(),
        unhex("b617318655057264e28bc0b6fb378c8ef146be00")
    );
    assert_eq!(
        Prf::HmacSha1.compute(b"Jefe", &[b"what do ya want for nothing?"]).expose(),
        unhex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79")
    );
}

#[test]
fn prf_plus_ends_after_255_blocks() {
    for prf in Prf::ALL {
        let whole = prf_plus(prf, b"key", &[b"seed"], 255 * prf.output_len()).unwrap();
        assert_eq!(whole.len(), 255 * prf.output_len());
        assert_eq!(
            prf_plus(prf, b"key", &[b"seed"], 255 * prf.output_len() + 1).unwrap_err(),
            KeyMaterialExhausted
        );
        let short = prf_plus(prf, b"key", &[b"se", b"ed"], prf.output_len() + 1).unwrap();
        assert_eq!(short.expose(), &whole.expose()[..=prf.output_len()], "a prefix of the same stream");
        assert!(prf_plus(prf, b"key", &[b"seed"], 0).unwrap().is_empty());
    }
}

#[test]
fn ike_sa_keys_match_an_independent_derivation() {
    for record in vector_file() {
        let shared = secret(&record, "shared");
        let inputs = KeyInputs {
            ni: &record.bytes("ni"),
            nr: &record.bytes("nr"),
            shared: &shared,
            spi_i: spi(&record.bytes("spi_i")),
            spi_r: spi(&record.bytes("spi_r")),
        };
        assert_sa_keys(&record, "", &derive_sa_keys(&suite(&record, ""), &inputs));
    }
}

#[test]
fn rfc8784_3_keys_with_a_ppk_match_an_independent_derivation_and_the_others_stay() {
    for record in vector_file() {
        let name = |key: &str| secret(&record, key);
        let plain = SaKeys {
            sk_d: name("sk_d"),
            sk_ai: name("sk_ai"),
            sk_ar: name("sk_ar"),
            sk_ei: name("sk_ei"),
            sk_er: name("sk_er"),
            sk_pi: name("sk_pi"),
            sk_pr: name("sk_pr"),
        };
        let mixed = mix_ppk(prf_named(record.text("prf")), &name("ppk"), &plain);
        for (key, expected) in
            [(&mixed.sk_d, "ppk_sk_d"), (&mixed.sk_pi, "ppk_sk_pi"), (&mixed.sk_pr, "ppk_sk_pr")]
        {
            assert_eq!(key.expose(), record.bytes(expected), "{expected}");
        }
        for (key, same) in
            [(&mixed.sk_ai, &plain.sk_ai), (&mixed.sk_ar, &plain.sk_ar), (&mixed.sk_ei, &plain.sk_ei)]
        {
            assert_eq!(key.expose(), same.expose());
        }
        assert_eq!(mixed.sk_er.expose(), plain.sk_er.expose());
    }
}

#[test]
fn rekeyed_ike_sa_keys_match_an_independent_derivation() {
    for record in vector_file() {
        let shared = secret(&record, "new_shared");
        let inputs = KeyInputs {
            ni: &record.bytes("new_ni"),
            nr: &record.bytes("new_nr"),
            shared: &shared,
            spi_i: spi(&record.bytes("new_spi_i")),
            spi_r: spi(&record.bytes("new_spi_r")),
        };
        let old_prf = prf_named(record.text("prf"));
        let new = suite(&record, "new_");
        let keys = derive_rekeyed_sa_keys(old_prf, &secret(&record, "sk_d"), &new, &inputs);
        assert_sa_keys(&record, "new_", &keys);
    }
}

fn assert_child_keys(record: &Record, prefix: &str, keys: &ChildKeys) {
    let check = |keys: &EspKeys, side: &str| {
        assert_eq!(keys.encryption.expose(), record.bytes(&format!("{prefix}_encryption_{side}")));
        assert_eq!(keys.integrity.expose(), record.bytes(&format!("{prefix}_integrity_{side}")));
    };
    check(&keys.initiator, "i");
    check(&keys.responder, "r");
}

#[test]
fn child_keys_match_an_independent_derivation_with_and_without_pfs() {
    for record in vector_file() {
        let bits = if record.text("child_encr").ends_with("256") { KeyBits::B256 } else { KeyBits::B128 };
        let transform = match integrity_named(record.text("child_integ")) {
            Some(integrity) => EspTransform::AesCbc(bits, integrity),
            None => EspTransform::AesGcm16(bits),
        };
        let prf = prf_named(record.text("prf"));
        let sk_d = secret(&record, "sk_d");
        let (ni, nr) = (record.bytes("ni"), record.bytes("nr"));
        assert_child_keys(&record, "first", &derive_child_keys(prf, &sk_d, None, &ni, &nr, transform));
        let pfs = secret(&record, "pfs_shared");
        assert_child_keys(&record, "pfs", &derive_child_keys(prf, &sk_d, Some(&pfs), &ni, &nr, transform));
    }
}

#[test]
fn auth_matches_an_independent_computation_and_nothing_else_verifies() {
    for record in vector_file() {
        let prf = prf_named(record.text("prf"));
        let (psk, sk_p) = (secret(&record, "psk"), secret(&record, "sk_pi"));
        let (message, nonce, id_body) =
            (record.bytes("message"), record.bytes("nr"), record.bytes("id_body"));
        let signed = SignedOctets {
            message: &message,
            nonce: &nonce,
            id_body: &id_body,
            sk_p: &sk_p,
            intermediate: &[],
        };
        let auth = record.bytes("auth");
        assert_eq!(auth_psk(prf, &psk, &signed), auth);
        assert!(verify_psk(prf, &psk, &signed, &auth));

        for bit in 0..auth.len() * 8 {
            let mut forged = auth.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify_psk(prf, &psk, &signed, &forged), "bit {bit} of AUTH flipped");
        }
        assert!(!verify_psk(prf, &psk, &signed, &auth[..auth.len() - 1]), "cut short");
        assert!(!verify_psk(prf, &psk, &signed, &[]), "empty");
        assert!(!verify_psk(prf, &psk, &signed, &[auth.clone(), vec![0]].concat()), "too long");
        assert!(!verify_psk(prf, &Secret::from(&b"other"[..]), &signed, &auth), "another key");
        let other_id = SignedOctets { id_body: &id_body[..7], ..signed };
        assert!(!verify_psk(prf, &psk, &other_id, &auth), "another identity");
        let other_message = SignedOctets { message: &message[1..], ..signed };
        assert!(!verify_psk(prf, &psk, &other_message, &auth), "another first message");
    }
}

#[test]
fn nat_detection_hashes_match_an_independent_computation() {
    for record in vector_file() {
        let ip: IpAddr = record.text("address").parse().unwrap();
        let address = SocketAddr::new(ip, record.text("port").parse().unwrap());
        let (spi_i, spi_r) = (spi(&record.bytes("spi_i")), spi(&record.bytes("spi_r")));
        assert_eq!(nat_detection_hash(spi_i, spi_r, address).to_vec(), record.bytes("nat_detection"));
        let moved = SocketAddr::new(ip, address.port() + 1);
        assert_ne!(nat_detection_hash(spi_i, spi_r, address), nat_detection_hash(spi_i, spi_r, moved));
    }
}

#[test]
fn a_cookie_is_good_for_its_initiator_nonce_and_spi_only_and_for_one_rotation() {
    let mut rng = SeededRng(8);
    let mut secrets = CookieSecrets::new(&mut rng);
    let here: IpAddr = "192.0.2.1".parse().unwrap();
    let there: IpAddr = "192.0.2.2".parse().unwrap();
    let cookie = secrets.make(&[1; 32], here, IkeSpi(5));
    assert!((1..=64).contains(&cookie.len()), "RFC 7296 §2.6");
    assert!(secrets.accepts(&cookie, &[1; 32], here, IkeSpi(5)));
    assert!(!secrets.accepts(&cookie, &[2; 32], here, IkeSpi(5)), "another nonce");
    assert!(!secrets.accepts(&cookie, &[1; 32], there, IkeSpi(5)), "another address");
    assert!(!secrets.accepts(&cookie, &[1; 32], here, IkeSpi(6)), "another SPI");
    for bit in 0..cookie.len() * 8 {
        let mut mangled = cookie.clone();
        mangled[bit / 8] ^= 1 << (bit % 8);
        assert!(!secrets.accepts(&mangled, &[1; 32], here, IkeSpi(5)), "bit {bit}");
    }
    for length in 0..cookie.len() {
        assert!(!secrets.accepts(&cookie[..length], &[1; 32], here, IkeSpi(5)), "{length} octets");
    }
    secrets.rotate(&mut rng);
    assert!(secrets.accepts(&cookie, &[1; 32], here, IkeSpi(5)), "given out just before the rotation");
    secrets.rotate(&mut rng);
    assert!(!secrets.accepts(&cookie, &[1; 32], here, IkeSpi(5)), "too old");
    for _ in 0..254 {
        secrets.rotate(&mut rng);
    }
    assert!(!secrets.accepts(&cookie, &[1; 32], here, IkeSpi(5)), "its version number came round again");
}

#[test]
fn suites_print_as_status_shows_them() {
    let gcm = Suite {
        cipher: IkeCipher::AesGcm16(KeyBits::B256),
        prf: Prf::HmacSha2_384,
        integrity: None,
        group: DhGroup::ECP_384,
    };
    assert_eq!(gcm.to_string(), "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384");
    let cbc = Suite {
        cipher: IkeCipher::AesCbc(KeyBits::B128),
        prf: Prf::HmacSha2_256,
        integrity: Some(Integrity::HmacSha2_256_128),
        group: DhGroup::MODP_2048,
    };
    assert_eq!(cbc.to_string(), "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048");
}

#[test]
fn every_algorithm_survives_the_way_to_its_transform_and_back() {
    for cipher in IkeCipher::ALL {
        assert_eq!(IkeCipher::from_transform(&cipher.transform()), Some(cipher));
    }
    for prf in Prf::ALL {
        assert_eq!(Prf::from_transform(&prf.transform()), Some(prf));
    }
    for integrity in IntegId::SUPPORTED {
        assert_eq!(IntegId::from(integrity).algorithm(), Some(integrity));
    }
}

#[test]
fn a_transform_that_we_cannot_run_is_no_algorithm() {
    let cipher = |id, bits| IkeCipher::from_transform(&Transform::encryption(id, bits));
    assert_eq!(cipher(EncrId::AES_CBC, None), None, "AES without a key length");
    assert_eq!(cipher(EncrId::AES_CBC, Some(192)), None);
    assert_eq!(cipher(EncrId::AES_GCM_16, Some(0)), None);
    assert_eq!(cipher(EncrId::AES_GCM_12, Some(256)), None);
    assert_eq!(cipher(EncrId::TRIPLE_DES, None), None);
    let mut twice = Transform::encryption(EncrId::AES_CBC, Some(256));
    twice.attributes.push(twice.attributes[0].clone());
    assert_eq!(IkeCipher::from_transform(&twice), None, "two key lengths");
    assert_eq!(Prf::from_transform(&Transform::prf(PrfId::PRF_AES128_XCBC)), None);
    let mut odd = Transform::prf(PrfId::PRF_HMAC_SHA2_256);
    odd.attributes.clone_from(&twice.attributes);
    assert_eq!(Prf::from_transform(&odd), None, "an attribute where none belongs");
    assert_eq!(IntegId(4711).algorithm(), None);
}
