//! A peer's chain, from its CERT payloads to a trusted CA, at a given time.
//!
//! Whoever gets this far has shown nothing yet: the number and size of what is looked at are bounded here, the work
//! of building paths by webpki (signatures and steps). Nothing is kept and nothing is fetched.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{
    EndEntityCert, Error, ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter,
    RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
    ring as algorithms,
};

use super::error::CertificateProblem;
use super::facts::Facts;
use super::trust::Trust;
use crate::wire::{self, CertEncoding};

/// CERT payloads of one message that are looked at, the peer's own included; more are refused.
pub const MAX_CERTIFICATES: usize = 8;
/// Longest certificate, octets of DER.
pub const MAX_CERTIFICATE: usize = 16 << 10;

/// Signatures in certificates: SHA-2 only, RSA from 2048 bits (RFC 8247 §3.2).
static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 13] = [
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    algorithms::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    algorithms::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// What a certificate with an extended key usage must allow, one of these.
//= RFC 4945 §5.1.3.12: id-kp-ipsecIKE or anyExtendedKeyUsage. CAs that know only TLS issue for that, AWS's among
// them, and every peer accepts it.
const PURPOSES: [&[u8]; 5] = [
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x11], // id-kp-ipsecIKE
    &[0x55, 0x1d, 0x25, 0x00],                         // anyExtendedKeyUsage
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01], // id-kp-serverAuth
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02], // id-kp-clientAuth
    &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x08, 0x02, 0x02], // iKEIntermediate, of old gateways
];

struct Purpose;

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut empty = true;
        for purpose in purposes {
            let purpose = purpose?;
            empty = false;
            if PURPOSES.iter().any(|known| purpose == KeyPurposeId::new(known)) {
                return Ok(());
            }
        }
        // webpki says what was missing; here that is fixed, and the caller names it.
        if empty { Ok(()) } else { Err(Error::EmptyEkuExtension) }
    }
}

/// The certificates among CERT payloads, the peer's own first (RFC 7296 §3.6).
fn collect(payloads: &[wire::Certificate]) -> Result<Vec<CertificateDer<'_>>, CertificateProblem> {
    let fetched = [CertEncoding::HASH_AND_URL_X509, CertEncoding::HASH_AND_URL_BUNDLE];
    //= RFC 7296 §3.6: hash and URL only where HTTP_CERT_LOOKUP_SUPPORTED was sent, which we never do.
    if payloads.iter().any(|payload| fetched.contains(&payload.encoding)) {
        return Err(CertificateProblem::HashAndUrl);
    }
    let too_long = |payload: &&wire::Certificate| payload.data.len() > MAX_CERTIFICATE;
    if payloads.len() > MAX_CERTIFICATES || payloads.iter().any(|payload| too_long(&payload)) {
        return Err(CertificateProblem::TooMany);
    }
    let ours = payloads.iter().filter(|payload| payload.encoding == CertEncoding::X509_SIGNATURE);
    let found: Vec<_> = ours.map(|payload| CertificateDer::from(payload.data.as_slice())).collect();
    if found.is_empty() { Err(CertificateProblem::Missing) } else { Ok(found) }
}

/// Judges the chain in CERT payloads at `now`, seconds since 1970; gives what the peer's own certificate says.
///
/// # Errors
/// Why it proves nothing.
pub fn judge(trust: &Trust, payloads: &[wire::Certificate], now: u64) -> Result<Facts, CertificateProblem> {
    let certificates = collect(payloads)?;
    let (own, others) = certificates.split_first().ok_or(CertificateProblem::Missing)?;
    let malformed = |what| CertificateProblem::Malformed { subject: "the peer".to_owned(), what };
    let facts = Facts::read(own).ok_or_else(|| malformed("not an X.509 certificate"))?;
    let subject = facts.subject.to_string();
    if let Some(what) = facts.weakness() {
        return Err(CertificateProblem::Weak { subject, what });
    }
    let parsed = EndEntityCert::try_from(own).map_err(|error| explain(&error, &subject))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let build = |revocation: Option<RevocationOptions<'_>>| {
        parsed.verify_for_usage(&ALGORITHMS, &trust.anchors, others, time, Purpose, revocation, None)
    };
    let lists: Vec<_> = trust.lists.iter().collect();
    // Every list counts for every certificate that it speaks about, and the one that we are shown must be
    // spoken about. A list that is out of date still revokes: that it is old is reported, not punished.
    let options = |depth, unknown| {
        RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            let builder = builder.with_depth(depth).with_status_policy(unknown);
            builder.with_expiration_policy(ExpirationPolicy::Ignore).build()
        })
    };
    let whole = options(RevocationCheckDepth::Chain, UnknownStatusPolicy::Allow);
    let path = build(whole)
        .map_err(|error| weak_link(others, &subject).unwrap_or_else(|| explain(&error, &subject)))?;
    if !lists.is_empty() {
        let own = options(RevocationCheckDepth::EndEntity, UnknownStatusPolicy::Deny);
        build(own).map_err(|error| explain(&error, &subject))?;
    }
    if !facts.may_sign() {
        let what = "its key usage has no digitalSignature";
        return Err(CertificateProblem::Usage { subject, what });
    }
    for link in path.intermediate_certificates() {
        if !Facts::read(&link.der()).is_some_and(|facts| facts.may_sign_certificates()) {
            let what = "an intermediate's key usage has no keyCertSign";
            return Err(CertificateProblem::Usage { subject, what });
        }
    }
    let root = trust.authority(path.anchor()).map(|facts| facts.validity);
    match root {
        Some(root) if root.not_after < now => {
            Err(CertificateProblem::Expired { subject, not_after: root.not_after })
        }
        Some(root) if now < root.not_before => {
            Err(CertificateProblem::NotYetValid { subject, not_before: root.not_before })
        }
        _ => Ok(facts),
    }
}

/// An intermediate that no path can use because it is weak: the better explanation of a path that is missing.
fn weak_link(others: &[CertificateDer<'_>], subject: &str) -> Option<CertificateProblem> {
    let weak = others.iter().filter_map(|der| Facts::read(der)).find_map(|facts| facts.weakness())?;
    Some(CertificateProblem::Weak { subject: subject.to_owned(), what: format!("an intermediate is {weak}") })
}

fn explain(error: &Error, subject: &str) -> CertificateProblem {
    let subject = subject.to_owned();
    let usage = |subject, what| CertificateProblem::Usage { subject, what };
    match error {
        Error::CertExpired { not_after, .. } => {
            CertificateProblem::Expired { subject, not_after: not_after.as_secs() }
        }
        Error::CertNotValidYet { not_before, .. } => {
            CertificateProblem::NotYetValid { subject, not_before: not_before.as_secs() }
        }
        Error::CertRevoked => CertificateProblem::Revoked { subject },
        Error::UnknownRevocationStatus => CertificateProblem::RevocationUnknown { subject },
        Error::UnknownIssuer => CertificateProblem::Untrusted { subject },
        Error::InvalidSignatureForPublicKey | Error::SignatureAlgorithmMismatch => {
            CertificateProblem::BadSignature { subject }
        }
        Error::UnsupportedCriticalExtension => CertificateProblem::CriticalExtension { subject },
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertificateProblem::Weak {
            subject,
            what: "its signature algorithm is not one of SHA-2".to_owned(),
        },
        Error::CaUsedAsEndEntity => usage(subject, "it is a CA's own certificate"),
        Error::EndEntityUsedAsCa => usage(subject, "an intermediate is no CA"),
        Error::EmptyEkuExtension | Error::RequiredEkuNotFoundContext(_) => {
            usage(subject, "its extended key usage allows neither IKE nor TLS")
        }
        Error::PathLenConstraintViolated => usage(subject, "a CA above it may not have CAs below it"),
        Error::NameConstraintViolation => usage(subject, "a CA above it may not issue for that name"),
        Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner
        | Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
        | Error::UnsupportedIndirectCrl
        | Error::UnsupportedDeltaCrl
        | Error::UnsupportedCrlIssuingDistributionPoint => CertificateProblem::BadRevocationList { subject },
        Error::MaximumSignatureChecksExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => CertificateProblem::TooMany,
        _ => CertificateProblem::Malformed { subject, what: "not as RFC 5280 wants it" },
    }
}
