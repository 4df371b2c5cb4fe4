//! CERT and AUTH payloads of a stranger, from octets: nothing in them panics, and nothing made up is ever trusted.
#![allow(unreachable_pub, clippy::panic)]

use std::sync::OnceLock;

use ike::certificate::{DistinguishedName, Facts, PublicKey, Scheme, Trust, judge};
use ike::wire::{CertEncoding, Certificate};

static TRUST: OnceLock<Trust> = OnceLock::new();

/// Inside the time of the seeds' certificates.
const NOW: u64 = 1_800_000_000;

/// Plays one input.
pub fn run(data: &[u8]) {
    let trust = TRUST.get_or_init(|| {
        let root = include_bytes!("../vectors/sim/root.pem");
        Trust::read(root, &[]).expect("the root of the simulation")
    });
    // One octet of encoding, two of length, then a certificate; the rest is AUTH.
    let mut payloads = Vec::new();
    let mut rest = data;
    while let [encoding, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (certificate, after) = tail.split_at(length);
        payloads.push(Certificate { encoding: CertEncoding(*encoding), data: certificate.to_vec() });
        rest = after;
        if payloads.len() > 12 {
            break;
        }
    }
    if let Ok(facts) = judge(trust, &payloads, NOW) {
        // Only what the root signed gets here: the seeds.
        let text = facts.subject.to_string();
        assert!(text.ends_with("a.example") || text.ends_with("b.example"), "{text}");
        if let (Ok(key), Some((scheme, signature))) = (&facts.key, Scheme::read(rest)) {
            assert!(!key.verify(scheme, b"never signed", signature));
        }
    }
    if let Some(facts) = Facts::read(data) {
        let _ = (facts.subject.to_string(), facts.weakness());
    }
    if let Some(name) = DistinguishedName::from_der(data) {
        assert_eq!(DistinguishedName::from_der(&name.to_der()).as_ref(), Some(&name));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(name) = DistinguishedName::parse(text)
    {
        let _ = DistinguishedName::from_der(&name.to_der());
    }
    let _ = PublicKey::from_spki_der(data);
    let _ = Trust::read(data, &[data.to_vec()]);
}
