//! Certificates: ours and its key, whom we trust, and the judgement of a peer's chain.
//!
//! Chains are verified by `rustls-webpki` over `ring`; `x509-cert` only reads names, dates and usages. Wall time is
//! an argument ([`WallClock`]), files are octets that the shell has read, and nothing is ever fetched: neither a
//! certificate by URL nor a revocation list (CVE-2022-40617). RFC 5280, RFC 4945, RFC 7427.

mod chain;
mod credential;
mod error;
mod facts;
mod key;
mod name;
mod pem;
mod public;
mod scheme;
mod trust;

use std::sync::Arc;

pub use chain::{MAX_CERTIFICATE, MAX_CERTIFICATES, judge};
pub use credential::Credential;
pub use error::{CertificateProblem, UnusableCertificate};
pub use facts::{Facts, Validity, date};
pub(crate) use key::Proof;
pub use name::{DistinguishedName, InvalidName};
pub use public::PublicKey;
pub use scheme::{Hash, Hashes, Padding, Scheme};
pub use trust::Trust;

use model::Instant;

/// Wall time, as the shell last told it: the seconds since 1970 at one instant of the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WallClock {
    /// The instant.
    pub at: Instant,
    /// Seconds since 1970-01-01T00:00:00Z then.
    pub unix_seconds: u64,
}

impl WallClock {
    /// Seconds since 1970 at `now`.
    pub fn at(&self, now: Instant) -> u64 {
        self.unix_seconds.saturating_add((now - self.at).as_secs())
    }
}

/// What a peer that authenticates by certificates is judged by, and what we show it.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// Our chain and key.
    pub credential: Arc<Credential>,
    /// Whom we trust.
    pub trust: Arc<Trust>,
    /// How an RSA key of ours signs.
    pub padding: Padding,
    /// What time it is; [`crate::Input::WallClock`] corrects it.
    pub clock: WallClock,
}

/// The certificate that an authenticated peer showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerCertificate {
    /// Its subject.
    pub subject: DistinguishedName,
    /// From when to when it is valid.
    pub validity: Validity,
}
