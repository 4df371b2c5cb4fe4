//! Certificates that end: warned of weeks ahead, and again as the day comes near.

use std::collections::BTreeMap;

use ike::Credentials;
use ike::certificate::PeerCertificate;

use crate::api;
use crate::catalog::Code;
use crate::translate::certificates::{DAY, End, ends, when};
use crate::translate::failure::Finding;

/// Days before the end at which ours is warned of; the last one is the end itself.
const OURS: [u64; 5] = [30, 14, 7, 1, 0];
/// The same for the peer's: AWS renews its own by itself, and does so late.
const THEIRS: [u64; 3] = [7, 1, 0];

/// What was said about whose end.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    peer: Option<PeerCertificate>,
    /// Warnings given, by what they were about.
    said: BTreeMap<End, usize>,
}

impl Expiry {
    /// The peer proved itself by this certificate.
    pub(super) fn shown(&mut self, certificate: &PeerCertificate) {
        self.peer = Some(certificate.clone());
    }

    /// What is to be warned of at `now`, seconds since 1970: each step once.
    pub(super) fn due(&mut self, credentials: &Credentials, now: u64) -> Vec<Finding> {
        let Some(certificates) = credentials.certificates() else { return Vec::new() };
        let ours = ends(certificates).into_iter().map(|end| (end, &OURS[..]));
        let theirs = self.peer.as_ref().map(|peer| {
            let what = format!("the peer's certificate \"{}\"", peer.subject);
            (End { what, at: peer.validity.not_after }, &THEIRS[..])
        });
        let all: Vec<_> = ours.chain(theirs).collect();
        self.said.retain(|end, _| all.iter().any(|(known, _)| known == end));
        let mut findings = Vec::new();
        for (end, steps) in all {
            let left = end.at.saturating_sub(now);
            let passed = steps.iter().filter(|days| left <= **days * DAY).count();
            let before = self.said.insert(end.clone(), passed).unwrap_or(0);
            if passed > before {
                findings.push(Finding { code: Code::CertExpiresSoon, text: when(&end, now) });
            }
        }
        findings
    }

    /// For `status`.
    pub(super) fn status(&self, credentials: &Credentials, now: u64) -> Option<api::Certificate> {
        let certificates = credentials.certificates()?;
        let ours = certificates.credential.facts().first()?;
        let first = ends(certificates).into_iter().map(|end| end.at).min()?;
        let left = |at: u64| {
            let (now, at) = (i64::try_from(now).unwrap_or(i64::MAX), i64::try_from(at).unwrap_or(i64::MAX));
            at.saturating_sub(now)
        };
        Some(api::Certificate {
            subject: ours.subject.to_string(),
            expires_in_seconds: left(ours.validity.not_after),
            first_end_in_seconds: left(first),
            peer_subject: self.peer.as_ref().map(|peer| peer.subject.to_string()),
            peer_expires_in_seconds: self.peer.as_ref().map(|peer| left(peer.validity.not_after)),
        })
    }
}
