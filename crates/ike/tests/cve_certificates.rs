//! Attacks on the certificate code of other IKE daemons, carried out on ours.
//!
//! Each test is named after the CVE; the table is in `docs/ike-conformance.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
#[path = "support/script.rs"]
mod script;
mod support;

use ike::certificate::{
    CertificateProblem, Certificates, Facts, Hash, MAX_CERTIFICATE, MAX_CERTIFICATES, PublicKey, Scheme,
};
use ike::wire::{
    AuthMethod, Authentication, CertEncoding, Certificate, ExchangeType, IdType, Identification, NotifyType,
    Payload,
};
use ike::{Config, Failure, Identity};
use pki::{Issued, Kind, Pki, authority, by_certificates, certificates};
use proptest::prelude::*;
use rcgen::{KeyPair, SigningKey};
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use script::{Script, Target, half_open_with, notified};
use support::{Side, config};

fn x509(der: &[u8]) -> Payload {
    encoded(CertEncoding::X509_SIGNATURE, der)
}

fn encoded(encoding: CertEncoding, data: &[u8]) -> Payload {
    Payload::Cert(Certificate { encoding, data: data.to_vec() })
}

/// A waiting endpoint by certificates, and the peer that it expects.
struct Scene {
    pki: Pki,
    peer: Issued,
    ours: Certificates,
}

impl Scene {
    fn new() -> Self {
        let pki = Pki::new();
        let peer = pki.leaf("a.example", Kind::P256, |_| {});
        let ours = pki.certificates(&pki.leaf("b.example", Kind::P256, |_| {}));
        Self { pki, peer, ours }
    }

    fn identity(&self) -> Identification {
        Identification::new(IdType::ID_DER_ASN1_DN, Facts::read(&self.peer.der).unwrap().subject_der)
    }

    fn config(&self) -> Config {
        let mut config = config(Side::B);
        by_certificates(&mut config, &self.ours, Identity::DerDn(self.identity().data));
        config
    }

    fn auth(&self, script: &Script) -> Payload {
        let octets = script.signed_octets(&self.identity());
        let signature = KeyPair::from_pem(&self.peer.key).unwrap().sign(&octets).unwrap();
        let data = Scheme::Ecdsa(Hash::Sha256).write(&signature);
        Payload::Auth(Authentication { method: AuthMethod::DIGITAL_SIGNATURE, data })
    }

    fn intermediate(&self) -> Vec<u8> {
        pem_rfc7468::decode_vec(self.pki.intermediate.pem.trim().as_bytes()).unwrap().1
    }

    /// What it says to these payloads in place of the right ones; it must hold nothing afterwards.
    fn refused(&self, proof: impl Fn(&Script) -> Vec<Payload>) -> Failure {
        let (mut target, mut script) = half_open_with(1, self.config());
        let payloads = script.auth_payloads_with(self.identity(), proof(&script));
        let answer = script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(notified(&answer), [NotifyType::AUTHENTICATION_FAILED]);
        assert_eq!(answer.len(), 1, "nothing of ours is shown: {answer:?}");
        assert_eq!(target.holds(), (0, 0));
        (*target.failures().first().unwrap()).clone()
    }

    fn taken(&self, proof: impl Fn(&Script) -> Vec<Payload>) -> Target {
        let (mut target, mut script) = half_open_with(1, self.config());
        let payloads = script.auth_payloads_with(self.identity(), proof(&script));
        script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        assert_eq!(target.holds(), (1, 1), "{:?}", target.notices);
        target
    }
}

fn problem(failure: &Failure) -> &CertificateProblem {
    match failure {
        Failure::Certificate(problem) => problem,
        other => panic!("not about a certificate: {other:?}"),
    }
}

/// A public RSA key of the fixed set, and a signature of it.
fn rsa_signature(pem: &str, encoding: &'static dyn RsaEncoding, message: &[u8]) -> (PublicKey, Vec<u8>) {
    let (_, der) = pem_rfc7468::decode_vec(pem.trim().as_bytes()).unwrap();
    let key = RsaKeyPair::from_der(&der).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &ring::rand::SystemRandom::new(), message, &mut signature).unwrap();
    (PublicKey::Rsa(key.public().as_ref().to_vec(), 2048), signature)
}

#[test]
fn cve_2013_2944_2018_16151_2018_16152_2018_17540_a_bad_signature_is_never_a_good_one() {
    let pem = include_str!("vectors/keys/rsa2048.pem");
    let message = b"what was agreed on";
    for (scheme, encoding) in [
        (Scheme::Pkcs1(Hash::Sha256), &RSA_PKCS1_SHA256 as &'static dyn RsaEncoding),
        (Scheme::Pss(Hash::Sha256), &RSA_PSS_SHA256),
    ] {
        let (key, good) = rsa_signature(pem, encoding, message);
        assert!(key.verify(scheme, message, &good));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verify(scheme, message, &bad), "{scheme:?}, bit {bit}");
        }
        for bad in [
            vec![],
            good[..good.len() - 1].to_vec(),
            [good.clone(), vec![0]].concat(),
            [vec![0], good.clone()].concat(),
        ] {
            assert!(!key.verify(scheme, message, &bad), "{scheme:?}, {} octets", bad.len());
        }
        for other in [
            Scheme::Pkcs1(Hash::Sha384),
            Scheme::Pkcs1(Hash::Sha512),
            Scheme::Pss(Hash::Sha384),
            Scheme::Ecdsa(Hash::Sha256),
        ] {
            assert!(!key.verify(other, message, &good), "made by {scheme:?}, taken for {other:?}");
        }
        assert!(!key.verify(scheme, b"something else", &good));
    }
    // And through the whole endpoint: every octet of AUTH altered, no octet at all, somebody else's signature.
    let scene = Scene::new();
    scene.taken(|script| vec![x509(&scene.peer.der), x509(&scene.intermediate()), scene.auth(script)]);
    let length = |payload: &Payload| if let Payload::Auth(auth) = payload { auth.data.len() } else { 0 };
    for octet in 0..70 {
        let failure = scene.refused(|script| {
            let mut auth = scene.auth(script);
            let last = length(&auth) - 1;
            if let Payload::Auth(auth) = &mut auth {
                auth.data[octet.min(last)] ^= 1;
            }
            vec![x509(&scene.peer.der), x509(&scene.intermediate()), auth]
        });
        let found = problem(&failure);
        let fits =
            matches!(found, CertificateProblem::WrongKey { .. } | CertificateProblem::Algorithm { .. });
        assert!(fits, "octet {octet}: {failure:?}");
    }
    for method in [
        AuthMethod::RSA_SIGNATURE,
        AuthMethod::SHARED_KEY,
        AuthMethod::NULL,
        AuthMethod::ECDSA_256,
        AuthMethod::ECDSA_384,
        AuthMethod::ECDSA_521,
        AuthMethod(0),
        AuthMethod(255),
    ] {
        for data in [vec![], vec![0; 64], vec![0xff; 256]] {
            scene.refused(|_| {
                let auth = Payload::Auth(Authentication { method, data: data.clone() });
                vec![x509(&scene.peer.der), x509(&scene.intermediate()), auth]
            });
        }
    }
}

/// A public key that no CA should certify.
struct SmallKey(Vec<u8>);

impl rcgen::PublicKeyData for SmallKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

#[test]
fn cve_2018_17540_2026_50722_2026_50721_small_keys_and_odd_keys_are_refused_before_they_verify() {
    let (_, small) =
        pem_rfc7468::decode_vec(include_bytes!("vectors/keys/rsa1024-public.pem").trim_ascii()).unwrap();
    assert_eq!(PublicKey::from_spki_der(&small), Err("an RSA key of 1024 bits".to_owned()));
    // A certificate for it, properly issued, is weak; so is one that says SHA-1.
    let scene = Scene::new();
    let weak = scene.pki.leaf_for("a.example", &SmallKey(small[22..].to_vec()));
    let failure =
        scene.refused(|script| vec![x509(&weak.der), x509(&scene.intermediate()), scene.auth(script)]);
    assert!(matches!(problem(&failure), CertificateProblem::Weak { .. }), "{failure:?}");
    assert!(failure.to_string().contains("RSA key of 1024 bits"), "{failure}");
    // By an RSA CA; sha256WithRSAEncryption becomes sha1WithRSAEncryption in both places.
    let mut ca = authority("RSA", None, |_| {});
    ca.key = Kind::Rsa2048.pair();
    let pki = Pki { root: authority("Root", None, |_| {}), intermediate: ca };
    let mut der = pki.leaf("a.example", Kind::P256, |_| {}).der;
    let sha256 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b";
    while let Some(at) = der.windows(9).position(|window| window == sha256) {
        der[at + 8] = 5;
    }
    let failure = scene.refused(|script| vec![x509(&der), x509(&scene.intermediate()), scene.auth(script)]);
    assert!(failure.to_string().contains("signed with SHA-1"), "{failure}");
    // Points that are none, and no key at all.
    for octets in [&[][..], &[0x30, 0], &[4; 65], &small[..20]] {
        assert!(PublicKey::from_spki_der(octets).is_err());
    }
    for point in [vec![4; 65], vec![0; 65], vec![0xff; 65]] {
        assert!(!PublicKey::P256(point.clone()).verify(
            Scheme::Ecdsa(Hash::Sha256),
            b"",
            &[0x30, 6, 2, 1, 1, 2, 1, 1]
        ));
        assert!(!PublicKey::P256(point).verify_fixed(b"", &[0; 64]));
    }
    for key in [vec![], vec![0x30, 0], vec![0x30, 6, 2, 1, 0, 2, 1, 3]] {
        assert!(!PublicKey::Rsa(key, 2048).verify(Scheme::Pkcs1(Hash::Sha256), b"", &[0; 256]));
    }
}

/// Every identifier that is accepted, from what we write and the two tolerated forms.
fn accepted() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for hash in Hash::ALL {
        for scheme in [Scheme::Pkcs1(hash), Scheme::Pss(hash), Scheme::Ecdsa(hash)] {
            let whole = scheme.write(&[]);
            all.push(whole[1..].to_vec());
        }
    }
    all
}

#[test]
fn cve_2018_6459_2021_41990_algorithm_identifiers_are_exact_or_refused() {
    let known = accepted();
    for identifier in &known {
        let data = |identifier: &[u8]| {
            [&[u8::try_from(identifier.len()).unwrap()][..], identifier, b"signature"].concat()
        };
        assert!(Scheme::read(&data(identifier)).is_some_and(|(_, signature)| signature == b"signature"));
        for bit in 0..identifier.len() * 8 {
            let mut other = identifier.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let taken = Scheme::read(&data(&other)).is_some();
            assert_eq!(taken, known.contains(&other), "{identifier:02x?}, bit {bit}");
        }
        for cut in 0..identifier.len() {
            assert!(Scheme::read(&data(&identifier[..cut])).is_none(), "{identifier:02x?} cut at {cut}");
        }
        // Its length octet lies.
        for length in 0..=255_u8 {
            let mut lie = data(identifier);
            lie[0] = length;
            assert_eq!(Scheme::read(&lie).is_some(), usize::from(length) == identifier.len());
        }
    }
    // PSS without parameters (CVE-2018-6459), and salts of other lengths up to absurd ones (CVE-2021-41990).
    let pss = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
    for rest in [&b""[..], b"\x05\x00", b"\x30\x00"] {
        let body = [&pss[..], rest].concat();
        let identifier = [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat();
        let data = [&[u8::try_from(identifier.len()).unwrap()][..], &identifier, b"signature"].concat();
        assert!(Scheme::read(&data).is_none(), "{identifier:02x?}");
    }
    let good = Scheme::Pss(Hash::Sha256).write(&[]);
    for salt in (0..=255_u8).filter(|salt| *salt != 32) {
        let mut other = good.clone();
        *other.last_mut().unwrap() = salt;
        assert!(Scheme::read(&other).is_none(), "salt of {salt}");
    }
}

#[test]
fn cve_2021_41991_certificates_are_bounded_in_number_and_size_and_none_is_kept() {
    let scene = Scene::new();
    let too_many = |script: &Script| {
        let mut proof = vec![x509(&scene.peer.der)];
        proof.extend(vec![x509(&scene.intermediate()); MAX_CERTIFICATES]);
        proof.push(scene.auth(script));
        proof
    };
    assert_eq!(problem(&scene.refused(too_many)), &CertificateProblem::TooMany);
    let too_long = |script: &Script| vec![x509(&vec![0x30; MAX_CERTIFICATE + 1]), scene.auth(script)];
    assert_eq!(problem(&scene.refused(too_long)), &CertificateProblem::TooMany);
    let nothing = |script: &Script| vec![scene.auth(script)];
    assert_eq!(problem(&scene.refused(nothing)), &CertificateProblem::Missing);
    // A different certificate each time: what is held afterwards is the same each time.
    let (mut target, _) = half_open_with(1, scene.config());
    for round in 0..200_u64 {
        let mut script = Script::initiator(1_000 + round);
        let answers = target.hear(&script.first(&script.first_payloads()));
        script.hear_first(&answers[0]);
        let mut der = scene.peer.der.clone();
        let middle = der.len() / 2;
        der[middle] = round.to_le_bytes()[0];
        let payloads = script.auth_payloads_with(scene.identity(), vec![x509(&der), scene.auth(&script)]);
        script.exchange(&mut target, ExchangeType::IKE_AUTH, &payloads);
        let status = target.endpoint.status();
        assert!(status.ike_sas <= 1 && status.child_sas == 0, "round {round}: {status:?}");
    }
}

#[test]
fn cve_2021_41991_a_maze_of_intermediates_ends() {
    // All of the same name, each signed by the one before: many paths and no end.
    let root = authority("Maze", None, |_| {});
    let mut above = authority("Maze", Some(&root), |_| {});
    let mut ders = Vec::new();
    for _ in 0..MAX_CERTIFICATES - 1 {
        above = authority("Maze", Some(&above), |_| {});
        ders.push(pem_rfc7468::decode_vec(above.pem.trim().as_bytes()).unwrap().1);
    }
    let scene = Scene::new();
    let maze = Pki { root, intermediate: above };
    let leaf = maze.leaf("a.example", Kind::P256, |_| {});
    let failure = scene.refused(|script| {
        let mut proof = vec![x509(&leaf.der)];
        proof.extend(ders.iter().map(|der| x509(der)));
        proof.push(scene.auth(script));
        proof
    });
    let fits = matches!(
        problem(&failure),
        CertificateProblem::Untrusted { .. }
            | CertificateProblem::TooMany
            | CertificateProblem::BadSignature { .. }
    );
    assert!(fits, "{failure:?}");
}

#[test]
fn cve_2022_40617_nothing_is_fetched_hash_and_url_is_refused() {
    let scene = Scene::new();
    let url = b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13http://192.0.2.66/a";
    for encoding in [CertEncoding::HASH_AND_URL_X509, CertEncoding::HASH_AND_URL_BUNDLE] {
        let failure = scene.refused(|script| vec![encoded(encoding, url), scene.auth(script)]);
        assert_eq!(problem(&failure), &CertificateProblem::HashAndUrl);
        let failure = scene.refused(|script| {
            vec![
                x509(&scene.peer.der),
                encoded(encoding, url),
                x509(&scene.intermediate()),
                scene.auth(script),
            ]
        });
        assert_eq!(problem(&failure), &CertificateProblem::HashAndUrl);
    }
    // We never say that we would.
    let (target, _) = half_open_with(1, scene.config());
    let announcement = NotifyType::HTTP_CERT_LOOKUP_SUPPORTED.0.to_be_bytes();
    let sent = target.last();
    assert!(!sent.windows(2).any(|window| window == announcement), "HTTP_CERT_LOOKUP_SUPPORTED is announced");
    // Lists and OCSP answers that a peer sends are not looked at, and URLs in its certificate mean nothing.
    let linked = scene.pki.leaf("a.example", Kind::P256, |params| {
        let uris = vec!["http://192.0.2.66/list.crl".to_owned()];
        params.crl_distribution_points = vec![rcgen::CrlDistributionPoint { uris }];
    });
    let linked = Scene { peer: linked, ours: scene.ours.clone(), pki: scene.pki };
    linked.taken(|script| {
        let other = [CertEncoding::CRL, CertEncoding::OCSP_CONTENT].map(|encoding| encoded(encoding, url));
        let mut proof = vec![x509(&linked.peer.der), x509(&linked.intermediate())];
        proof.extend(other);
        proof.push(linked.auth(script));
        proof
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Also CVE-2026-14957: an odd key in a certificate is an error, not an assertion.
    #[test]
    fn any_octets_in_place_of_certificate_and_signature_are_refused_without_a_panic(
        certificate in proptest::collection::vec(any::<u8>(), 0..400),
        method in prop_oneof![Just(14_u8), Just(9), Just(10), Just(1), any::<u8>()],
        signature in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        thread_local! {
            static SCENE: Scene = Scene::new();
        }
        SCENE.with(|scene| {
            scene.refused(|_| {
                let auth = Authentication { method: AuthMethod(method), data: signature.clone() };
                vec![x509(&certificate), Payload::Auth(auth)]
            })
        });
    }

    #[test]
    fn a_certificate_with_any_octets_changed_is_refused_without_a_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..=255), 1..4),
    ) {
        thread_local! {
            static SCENE: Scene = Scene::new();
        }
        SCENE.with(|scene| {
            scene.refused(|script| {
                let mut der = scene.peer.der.clone();
                for (index, change) in &changes {
                    let at = index.index(der.len());
                    der[at] ^= change;
                }
                // Changes of the same octet may cancel out.
                if der == scene.peer.der {
                    der[0] ^= 1;
                }
                vec![x509(&der), x509(&scene.intermediate()), scene.auth(script)]
            })
        });
    }
}

#[test]
fn an_rsa_key_is_described_by_its_size() {
    let pki = Pki::new();
    let leaf = pki.leaf("a.example", Kind::Rsa2048, |_| {});
    let ours = certificates(&leaf.pem, &leaf.key, &pki.root.pem, &[]);
    assert_eq!(ours.credential.facts()[0].key.as_ref().unwrap().describe(), "RSA-2048");
}
