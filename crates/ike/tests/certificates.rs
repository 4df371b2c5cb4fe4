//! Two endpoints that authenticate by certificates: every kind of key, every reason to refuse.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/pki.rs"]
mod pki;
mod support;

use std::sync::Arc;
use std::time::Duration;

use ike::certificate::{
    CertificateProblem, Certificates, Credential, DistinguishedName, Facts, Padding, Trust,
    UnusableCertificate,
};
use ike::{Config, Credentials, Failure, Identity, Input, Notice};
use model::Secret;
use pki::{Kind, NOW, Pki, authority, by_certificates, certificates};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    date_time_ymd,
};
use support::{Pair, Side, config};

/// Both configurations; A and B show these.
fn configs(a: &Certificates, b: &Certificates) -> (Config, Config) {
    let (mut first, mut second) = (config(Side::A), config(Side::B));
    by_certificates(&mut first, a, b.credential.subject());
    by_certificates(&mut second, b, a.credential.subject());
    (first, second)
}

fn good(pki: &Pki) -> (Certificates, Certificates) {
    let leaf = |name| pki.certificates(&pki.leaf(name, Kind::P256, |_| {}));
    (leaf("a.example"), leaf("b.example"))
}

/// What A, which trusts as `a` does, says of B when B, as responder and as initiator, shows `b`. B takes A.
fn refusals(a: &Certificates, b: &Certificates) -> Vec<Failure> {
    let mut found = Vec::new();
    let elsewhere = Pki::new();
    let mut shown = elsewhere.certificates(&elsewhere.leaf("a.example", Kind::P256, |_| {}));
    let b = &Certificates { trust: Arc::clone(&shown.trust), ..b.clone() };
    shown.trust = Arc::clone(&a.trust);
    let a = &shown;
    for b_initiates in [false, true] {
        let (mut first, mut second) = configs(a, b);
        if b_initiates {
            std::mem::swap(&mut first.startup, &mut second.startup);
        }
        let mut pair = Pair::new(first, second);
        pair.run(Duration::from_millis(400));
        assert_eq!(pair.a.endpoint.status().child_sas, 0, "nothing is established");
        assert!(pair.a.children.is_empty());
        if b_initiates {
            let told = pair.b.failures();
            assert!(matches!(told.first(), Some(Failure::CertificateRefused)), "B is told: {told:?}");
        }
        found.push((*pair.a.failures().first().expect("A says why")).clone());
    }
    found
}

fn problem(failure: &Failure) -> &CertificateProblem {
    match failure {
        Failure::Certificate(problem) => problem,
        other => panic!("not about a certificate: {other:?}"),
    }
}

/// A leaf that is wrong in one way, the reason for which it must be refused, and words of the remedy.
fn assert_refused(
    change: impl Fn(&mut CertificateParams) + Copy,
    fits: impl Fn(&CertificateProblem) -> bool,
    words: &str,
) {
    let pki = Pki::new();
    let (a, _) = good(&pki);
    let b = pki.certificates(&pki.leaf("b.example", Kind::P256, change));
    for failure in refusals(&a, &b) {
        assert!(fits(problem(&failure)), "{failure:?}");
        assert!(failure.to_string().contains(words), "{failure}");
    }
}

#[test]
fn every_kind_of_key_proves_itself_to_every_other() {
    let pki = Pki::new();
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        let other = Kind::ALL[(index + 1) % Kind::ALL.len()];
        for padding in [Padding::Pkcs1, Padding::Pss] {
            let mut a = pki.certificates(&pki.leaf("a.example", kind, |_| {}));
            a.padding = padding;
            let b = pki.certificates(&pki.leaf("b.example", other, |_| {}));
            let (first, second) = configs(&a, &b);
            let mut pair = Pair::new(first, second);
            pair.deliver_all();
            pair.assert_one_tunnel();
            let shown = pair.a.notices.iter().find_map(|notice| match notice {
                Notice::PeerCertificate(shown) => Some(shown),
                _ => None,
            });
            let shown = shown.unwrap();
            assert_eq!(shown.subject.to_string(), "C=US, O=Example, CN=b.example");
            assert_eq!(shown.validity.not_after, 1_830_297_600, "2028-01-01");
        }
    }
}

#[test]
fn an_address_a_name_or_a_mailbox_in_the_certificate_serves_as_identity() {
    let pki = Pki::new();
    let (a, b) = good(&pki);
    let identities = [
        Identity::Ipv4(support::B_IP.parse().unwrap()),
        Identity::Fqdn("b.example".to_owned()),
        Identity::Email("ike@b.example".to_owned()),
    ];
    for identity in identities {
        let (mut first, mut second) = configs(&a, &b);
        (first.remote_identity, second.local_identity) = (identity.clone(), identity.clone());
        assert!(b.credential.check_identity(&identity).is_ok());
        let mut pair = Pair::new(first, second);
        pair.deliver_all();
        pair.assert_one_tunnel();
    }
    let elsewhere = Identity::Ipv4([203, 0, 113, 9].into());
    assert!(matches!(b.credential.check_identity(&elsewhere), Err(UnusableCertificate::Identity { .. })));
}

#[test]
fn a_name_that_the_certificate_does_not_say_is_refused() {
    let pki = Pki::new();
    let (a, b) = good(&pki);
    for identity in [
        Identity::Fqdn("c.example".to_owned()),
        Identity::Fqdn("b.example.".to_owned()),
        Identity::Ipv4([203, 0, 113, 9].into()),
        Identity::Email("other@b.example".to_owned()),
        Identity::KeyId(b"b.example".to_vec()),
        Identity::DerDn(DistinguishedName::parse("CN=b.example").unwrap().to_der()),
        Identity::DerDn(Vec::new()),
    ] {
        // B claims it, and A would even take it.
        let (mut first, mut second) = configs(&a, &b);
        (first.remote_identity, second.local_identity) = (identity.clone(), identity);
        let mut pair = Pair::new(first, second);
        pair.run(Duration::from_millis(400));
        let failures = pair.a.failures();
        assert!(matches!(problem(failures[0]), CertificateProblem::WrongName { .. }), "{failures:?}");
        assert!(failures[0].to_string().contains("alternative names"));
    }
}

#[test]
fn a_proven_identity_that_is_not_the_configured_one_is_refused_by_both_names() {
    let pki = Pki::new();
    let (a, _) = good(&pki);
    let c = pki.certificates(&pki.leaf("c.example", Kind::P256, |_| {}));
    let (mut first, second) = configs(&a, &c);
    let wanted = DistinguishedName::parse("C=US, O=Example, CN=b.example").unwrap();
    first.remote_identity = Identity::DerDn(wanted.to_der());
    let mut pair = Pair::new(first, second);
    pair.run(Duration::from_millis(400));
    let failures = pair.a.failures();
    assert!(matches!(failures[0], Failure::PeerIdentityMismatch { .. }), "{failures:?}");
    let text = failures[0].to_string();
    assert!(text.contains("CN=c.example") && text.contains("CN=b.example"), "{text}");
    assert_eq!(pair.a.endpoint.status().child_sas, 0);
}

#[test]
fn a_distinguished_name_counts_by_its_attributes_in_either_order_of_writing() {
    let pki = Pki::new();
    let (a, b) = good(&pki);
    for text in
        ["C=US,O=Example,CN=b.example", "CN=b.example, O=Example, C=US", "/C=US/O=Example/CN=b.example"]
    {
        let (mut first, second) = configs(&a, &b);
        first.remote_identity = Identity::DerDn(DistinguishedName::parse(text).unwrap().to_der());
        let mut pair = Pair::new(first, second);
        pair.deliver_all();
        pair.assert_one_tunnel();
    }
}

#[test]
fn expired_and_not_yet_valid_are_refused_with_the_date() {
    let past = |params: &mut CertificateParams| params.not_after = date_time_ymd(2026, 12, 31);
    assert_refused(past, |problem| matches!(problem, CertificateProblem::Expired { .. }), "2026-12-31");
    let future = |params: &mut CertificateParams| params.not_before = date_time_ymd(2027, 3, 1);
    assert_refused(future, |problem| matches!(problem, CertificateProblem::NotYetValid { .. }), "2027-03-01");
}

#[test]
fn an_expired_root_is_refused_too() {
    let root = authority("Root", None, |params| params.not_after = date_time_ymd(2026, 12, 31));
    let intermediate = authority("Intermediate", Some(&root), |_| {});
    let pki = Pki { root, intermediate };
    let (a, b) = good(&pki);
    for failure in refusals(&a, &b) {
        assert!(matches!(problem(&failure), CertificateProblem::Expired { .. }), "{failure:?}");
    }
}

#[test]
fn a_critical_extension_that_nobody_knows_is_refused() {
    let odd = |params: &mut CertificateParams| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
    };
    assert_refused(
        odd,
        |problem| matches!(problem, CertificateProblem::CriticalExtension { .. }),
        "critical",
    );
}

#[test]
fn a_certificate_for_another_use_is_refused() {
    let usage = |problem: &CertificateProblem| matches!(problem, CertificateProblem::Usage { .. });
    assert_refused(
        |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
        usage,
        "digitalSignature",
    );
    let mail = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection]
    };
    assert_refused(mail, usage, "neither IKE nor TLS");
}

#[test]
fn a_certificate_for_ike_for_tls_or_for_everything_is_taken() {
    let pki = Pki::new();
    let (a, _) = good(&pki);
    let ike = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]);
    let all = [
        ike,
        ExtendedKeyUsagePurpose::Any,
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    for purpose in all {
        let b =
            pki.leaf("b.example", Kind::P256, |params| params.extended_key_usages = vec![purpose.clone()]);
        let (first, second) = configs(&a, &pki.certificates(&b));
        let mut pair = Pair::new(first, second);
        pair.deliver_all();
        pair.assert_one_tunnel();
    }
}

#[test]
fn another_ca_even_one_of_the_same_name_is_refused() {
    let pki = Pki::new();
    let (a, _) = good(&pki);
    let strangers = Pki::new();
    let b = strangers.certificates(&strangers.leaf("b.example", Kind::P256, |_| {}));
    for failure in refusals(&a, &b) {
        let found = problem(&failure);
        let fits =
            matches!(found, CertificateProblem::BadSignature { .. } | CertificateProblem::Untrusted { .. });
        assert!(fits, "{failure:?}");
    }
    let root = authority("Elsewhere", None, |_| {});
    let intermediate = authority("Elsewhere 2", Some(&root), |_| {});
    let elsewhere = Pki { root, intermediate };
    let b = elsewhere.certificates(&elsewhere.leaf("b.example", Kind::P256, |_| {}));
    for failure in refusals(&a, &b) {
        assert!(matches!(problem(&failure), CertificateProblem::Untrusted { .. }), "{failure:?}");
        assert!(failure.to_string().contains("`ca`"), "{failure}");
    }
}

#[test]
fn a_chain_without_its_intermediate_is_refused_unless_we_hold_it() {
    let pki = Pki::new();
    let (a, _) = good(&pki);
    let leaf = pki.leaf("b.example", Kind::P256, |_| {});
    let bare = certificates(&leaf.pem, &leaf.key, &pki.root.pem, &[]);
    for failure in refusals(&a, &bare) {
        assert!(matches!(problem(&failure), CertificateProblem::Untrusted { .. }), "{failure:?}");
    }
    // An intermediate may be trusted by itself: it then ends the path.
    let mut a = a;
    a.trust = Arc::new(Trust::read(pki.intermediate.pem.as_bytes(), &[]).unwrap());
    let (first, second) = configs(&a, &bare);
    let mut pair = Pair::new(first, second);
    pair.deliver_all();
    pair.assert_one_tunnel();
}

#[test]
fn a_revoked_certificate_or_intermediate_is_refused() {
    let pki = Pki::new();
    let (mut a, b) = good(&pki);
    let trust = |lists: &[Vec<u8>]| Arc::new(Trust::read(pki.root.pem.as_bytes(), lists).unwrap());
    for lists in
        [vec![pki.intermediate.list(&[7])], vec![pki.intermediate.list(&[]), pki.root.list(&[1_000])]]
    {
        a.trust = trust(&lists);
        for failure in refusals(&a, &b) {
            assert!(matches!(problem(&failure), CertificateProblem::Revoked { .. }), "{failure:?}");
            assert!(failure.to_string().contains("revoked"), "{failure}");
        }
    }
    // A list of the root alone says nothing about the leaf.
    a.trust = trust(&[pki.root.list(&[])]);
    for failure in refusals(&a, &b) {
        assert!(matches!(problem(&failure), CertificateProblem::RevocationUnknown { .. }), "{failure:?}");
    }
    // Lists that revoke others let it pass.
    a.trust = trust(&[pki.intermediate.list(&[8, 9]), pki.root.list(&[8])]);
    let (first, second) = configs(&a, &b);
    let mut pair = Pair::new(first, second);
    pair.deliver_all();
    pair.assert_one_tunnel();
}

#[test]
fn a_list_that_another_ca_signed_is_refused() {
    let (pki, other) = (Pki::new(), Pki::new());
    let (mut a, b) = good(&pki);
    a.trust = Arc::new(Trust::read(pki.root.pem.as_bytes(), &[other.intermediate.list(&[])]).unwrap());
    for failure in refusals(&a, &b) {
        assert!(matches!(problem(&failure), CertificateProblem::BadRevocationList { .. }), "{failure:?}");
    }
}

#[test]
fn constraints_of_the_cas_above_hold() {
    let root = authority("Root", None, |_| {});
    // No CA may stand below this one.
    let narrow =
        authority("Narrow", Some(&root), |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below = authority("Below", Some(&narrow), |_| {});
    let chain = [&below.pem, &narrow.pem].map(String::as_str).concat();
    let pki = Pki { root, intermediate: below };
    let leaf = pki.leaf("b.example", Kind::P256, |_| {});
    let b = certificates(&format!("{}{chain}", leaf.pem), &leaf.key, &pki.root.pem, &[]);
    let a_leaf = pki.leaf("a.example", Kind::P256, |_| {});
    let a = certificates(&format!("{}{chain}", a_leaf.pem), &a_leaf.key, &pki.root.pem, &[]);
    for failure in refusals(&a, &b) {
        assert!(failure.to_string().contains("may not have CAs below it"), "{failure}");
    }
    // This one may issue for .internal only.
    let root = authority("Root", None, |_| {});
    let intermediate = authority("Internal", Some(&root), |params| {
        let only = rcgen::GeneralSubtree::DnsName("internal".to_owned());
        params.name_constraints =
            Some(rcgen::NameConstraints { permitted_subtrees: vec![only], excluded_subtrees: vec![] });
    });
    let pki = Pki { root, intermediate };
    let (a, b) = good(&pki);
    for failure in refusals(&a, &b) {
        assert!(failure.to_string().contains("may not issue for that name"), "{failure}");
    }
}

#[test]
fn the_key_must_be_the_certificates() {
    let pki = Pki::new();
    let (a, b) = good(&pki);
    let thief = pki.leaf("b.example", Kind::P256, |_| {});
    let other = pki.leaf("b.example", Kind::P256, |_| {});
    let read = Credential::read(thief.pem.as_bytes(), &Secret::from(other.key.as_bytes()));
    assert!(matches!(read, Err(UnusableCertificate::Mismatch { .. })), "our own loader says so at once");
    assert!(a.credential.same(&a.credential) && !a.credential.same(&b.credential));
}

#[test]
fn a_peer_with_a_pre_shared_key_is_told_to_use_certificates() {
    let pki = Pki::new();
    let (a, b) = good(&pki);
    let (first, mut second) = configs(&a, &b);
    second.credentials = Credentials::Psk(Secret::from(&b"correct horse battery staple"[..]));
    let mut pair = Pair::new(first, second);
    pair.run(Duration::from_millis(400));
    // B judges A first: a signature is no MAC.
    assert!(matches!(pair.b.failures()[0], Failure::AuthenticationFailed { by_peer: false }));
    assert!(matches!(pair.a.failures()[0], Failure::CertificateRefused));
    // The other way round A judges first.
    let (mut first, mut second) = configs(&a, &b);
    second.credentials = Credentials::Psk(Secret::from(&b"correct horse battery staple"[..]));
    std::mem::swap(&mut first.startup, &mut second.startup);
    let mut pair = Pair::new(first, second);
    pair.run(Duration::from_millis(400));
    assert!(
        matches!(problem(pair.a.failures()[0]), CertificateProblem::Method(_)),
        "{:?}",
        pair.a.failures()
    );
}

#[test]
fn an_sa_outlives_its_certificate_and_the_next_authentication_does_not() {
    let pki = Pki::new();
    let (a, b) = good(&pki);
    let (first, second) = configs(&a, &b);
    let mut pair = Pair::new(first, second);
    pair.deliver_all();
    pair.assert_one_tunnel();
    // Two years later, and both clocks know it.
    for side in [Side::A, Side::B] {
        pair.input(side, Input::WallClock { unix_seconds: NOW + 2 * 365 * 86_400 });
    }
    pair.command(Side::A, ike::Command::RekeyIke);
    pair.run(Duration::from_secs(1));
    pair.assert_one_tunnel();
    pair.command(Side::A, ike::Command::Reset);
    pair.run(Duration::from_millis(400));
    let told = pair.b.failures();
    assert!(matches!(problem(told[0]), CertificateProblem::Expired { .. }), "{told:?}");
    // A clock that was wrong and is set right mends it.
    for side in [Side::A, Side::B] {
        pair.input(side, Input::WallClock { unix_seconds: NOW });
    }
    pair.run(Duration::from_secs(20));
    pair.assert_one_tunnel();
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let pki = Pki::new();
    let leaf = pki.leaf("a.example", Kind::P256, |_| {});
    let read = |chain: &str, key: &str| {
        Credential::read(chain.as_bytes(), &Secret::from(key.as_bytes())).unwrap_err()
    };
    assert!(matches!(read("", &leaf.key), UnusableCertificate::Nothing("certificate")));
    assert!(matches!(read(&leaf.pem, ""), UnusableCertificate::Nothing("private key")));
    assert!(matches!(read(&pki.root.pem, &leaf.key), UnusableCertificate::Role { .. }));
    let encrypted = leaf.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert!(matches!(read(&leaf.pem, &encrypted), UnusableCertificate::Encrypted));
    assert!(read(&leaf.pem, &encrypted).to_string().contains("openssl pkey"));
    let cut = leaf.pem.replacen('M', "!", 1);
    assert!(matches!(read(&cut, &leaf.key), UnusableCertificate::Malformed { .. }));
    assert!(matches!(Trust::read(leaf.pem.as_bytes(), &[]), Err(UnusableCertificate::Role { .. })));
    assert!(matches!(Trust::read(b"", &[]), Err(UnusableCertificate::Nothing(_))));
    let list = Trust::read(pki.root.pem.as_bytes(), &[b"nothing".to_vec()]);
    assert!(matches!(list, Err(UnusableCertificate::Nothing("revocation list"))));
}

#[test]
fn a_private_key_never_shows_in_debug_or_in_an_error() {
    let pki = Pki::new();
    let leaf = pki.leaf("a.example", Kind::Rsa2048, |_| {});
    let ours = pki.certificates(&leaf);
    let (first, _) = configs(&ours, &ours);
    let shown = format!("{first:?}");
    let (_, der) = pem_rfc7468::decode_vec(leaf.key.trim().as_bytes()).unwrap();
    // Any eight octets of the private exponent, as Debug would print them.
    let secret = &der[400..408];
    assert!(!shown.contains(&format!("{secret:?}").replace(['[', ']'], "")), "octets of the key are shown");
    assert!(shown.contains("RSA-2048 private key"), "{shown}");
    for line in leaf.key.lines().filter(|line| !line.starts_with('-')) {
        assert!(!shown.contains(line));
    }
}

#[test]
fn names_are_read_written_and_read_again() {
    for text in [
        "C=US, ST=WA, L=Seattle, O=Amazon.com, OU=AWS, CN=vpn-0a1b2c3d4e5f60718.endpoint-0",
        "DC=example, DC=org, UID=gw, E=a@b.example",
        "O=Tom\\, Dick \\+ Harry, CN=gré\\\\",
        "CN=multi+serialNumber=5",
        "1.3.6.1.4.1.99999.7=x, CN=y",
    ] {
        let name = DistinguishedName::parse(text).unwrap();
        assert_eq!(DistinguishedName::from_der(&name.to_der()).unwrap(), name, "{text}");
        assert_eq!(DistinguishedName::parse(&name.to_string()).unwrap(), name, "{text}");
    }
    for text in ["", "CN", "CN=", "nonsense=x", "gw.example.com"] {
        assert!(DistinguishedName::parse(text).is_err(), "{text}");
    }
    let pki = Pki::new();
    let facts = Facts::read(&pki.leaf("a.example", Kind::P384, |_| {}).der).unwrap();
    // rcgen writes the country as UTF8String, we as PrintableString: the name is the same.
    assert_eq!(facts.subject, DistinguishedName::parse("C=US, O=Example, CN=a.example").unwrap());
    assert_ne!(facts.subject.to_der(), facts.subject_der);
}

/// For `docs/adr/0008-certificates.md`.
#[test]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn time_of_a_handshake_by_kind_of_key() {
    const ROUNDS: u32 = 20;
    let pki = Pki::new();
    let plain = {
        let start = std::time::Instant::now();
        for _ in 0..ROUNDS {
            let mut pair = Pair::plain();
            pair.deliver_all();
            pair.assert_one_tunnel();
        }
        start.elapsed() / ROUNDS
    };
    println!("pre-shared key: {plain:?} a handshake");
    for kind in Kind::ALL {
        let a = pki.certificates(&pki.leaf("a.example", kind, |_| {}));
        let b = pki.certificates(&pki.leaf("b.example", kind, |_| {}));
        let start = std::time::Instant::now();
        for _ in 0..ROUNDS {
            let (first, second) = configs(&a, &b);
            let mut pair = Pair::new(first, second);
            pair.deliver_all();
            pair.assert_one_tunnel();
        }
        println!("{kind:?}: {:?} a handshake, both sides", start.elapsed() / ROUNDS);
    }
}
