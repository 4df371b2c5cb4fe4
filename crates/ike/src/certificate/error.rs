//! Why a certificate is refused: a peer's when it is shown, ours when it is read.

use super::facts::date;
use crate::config::Identity;
use crate::wire::AuthMethod;

/// Why a peer's certificate, or what it signed, proves nothing. Each text says what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertificateProblem {
    /// No CERT payload came.
    #[error(
        "the peer sent no certificate; make it send its certificate and the intermediates up to the trusted CA"
    )]
    Missing,
    /// A certificate is to be fetched from a URL (RFC 7296 §3.6): never done.
    #[error(
        "the peer sent a URL instead of its certificate; turn hash-and-URL off there: nothing is fetched here"
    )]
    HashAndUrl,
    /// More or larger CERT payloads than [`super::MAX_CERTIFICATES`] or [`super::MAX_CERTIFICATE`] allow.
    #[error("the peer sent more or larger certificates than are looked at; make it send its chain only")]
    TooMany,
    /// Not a certificate.
    #[error("the certificate of {subject} cannot be read ({what}); issue it again")]
    Malformed {
        /// Whose, as far as it could be read.
        subject: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Its time is over.
    #[error("the chain of {subject} holds a certificate that expired on {}; renew it, or set this machine's clock", date(*.not_after))]
    Expired {
        /// Whose.
        subject: String,
        /// Seconds since 1970.
        not_after: u64,
    },
    /// Its time has not come.
    #[error("the chain of {subject} holds a certificate that is not valid before {}; set this machine's clock, or wait", date(*.not_before))]
    NotYetValid {
        /// Whose.
        subject: String,
        /// Seconds since 1970.
        not_before: u64,
    },
    /// The configured list revokes it, or an intermediate above it.
    #[error(
        "the certificate of {subject}, or one above it, is revoked by the configured CRL; give the peer a new one"
    )]
    Revoked {
        /// Whose.
        subject: String,
    },
    /// Lists are configured and none speaks about it.
    #[error("no configured CRL speaks for the issuer of {subject}; add that CA's list to `crl`")]
    RevocationUnknown {
        /// Whose.
        subject: String,
    },
    /// A configured list cannot be used.
    #[error(
        "the CRL that speaks about {subject} is not signed as it must be, or is of a kind that is not understood; get it again from its CA"
    )]
    BadRevocationList {
        /// Whose.
        subject: String,
    },
    /// No path to a trusted CA.
    #[error(
        "the certificate of {subject} does not lead to a trusted CA; add its CA to `ca`, or make the peer send the intermediates"
    )]
    Untrusted {
        /// Whose.
        subject: String,
    },
    /// A signature in the chain is wrong.
    #[error(
        "a signature in the chain of {subject} is wrong; somebody altered it, or another CA of the same name issued it"
    )]
    BadSignature {
        /// Whose.
        subject: String,
    },
    /// A critical extension that is not understood (RFC 5280 §4.2: it must be refused).
    #[error("the chain of {subject} has a critical extension that is not understood; issue it without")]
    CriticalExtension {
        /// Whose.
        subject: String,
    },
    /// Too weak to prove anything.
    #[error(
        "the chain of {subject} is weak: {what}; issue it again with RSA 2048 or more, P-256 or P-384, and SHA-256 or better"
    )]
    Weak {
        /// Whose.
        subject: String,
        /// What is weak.
        what: String,
    },
    /// The certificate may not be used for this.
    #[error(
        "the chain of {subject} is not made for this ({what}); issue it for digital signatures, for IKE or for TLS"
    )]
    Usage {
        /// Whose.
        subject: String,
        /// The rule that it breaks.
        what: &'static str,
    },
    /// The identity that the peer claims is not in its certificate (RFC 4945 §3.1).
    #[error(
        "the peer calls itself {identity}, which its certificate does not say (subject {subject}); make its identity its subject or one of its alternative names"
    )]
    WrongName {
        /// What it claims.
        identity: Identity,
        /// What its certificate says.
        subject: String,
    },
    /// AUTH was not made with the certificate's key.
    #[error("the peer's signature does not fit its certificate ({subject}); its private key is another one")]
    WrongKey {
        /// Whose.
        subject: String,
    },
    /// A signature algorithm outside the exact list of RFC 7427 appendix A that we accept.
    #[error(
        "the peer signed in a way that is not accepted here ({what}); use RSA or ECDSA with SHA-256, SHA-384 or SHA-512 (RFC 7427)"
    )]
    Algorithm {
        /// Which.
        what: String,
    },
    /// Another method than a signature.
    #[error("the peer authenticates by {0}, a certificate is expected; configure the same on both sides")]
    Method(AuthMethod),
    /// The peer knows no hash that our key can sign with (RFC 7427 §4).
    #[error(
        "the peer announces no signature with SHA-2 (RFC 7427), without which our RSA key cannot prove itself; turn signature authentication on there, or use an ECDSA key here"
    )]
    NoCommonHash,
    /// Our own key refused to sign.
    #[error("our private key could not sign; check the key with `cgwd check`")]
    Signing,
}

/// Why a certificate, key, CA or CRL of ours cannot be used. Never shows a key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnusableCertificate {
    /// Nothing of the kind in the file.
    #[error("no {0} in it; PEM (`-----BEGIN …`) or DER is understood")]
    Nothing(&'static str),
    /// It cannot be read.
    #[error("{what} cannot be read; write it anew as PEM")]
    Malformed {
        /// What.
        what: &'static str,
    },
    /// The key is protected by a passphrase.
    #[error(
        "the private key is encrypted; decrypt it (`openssl pkey -in KEY -out PLAIN`, mode 0600), or keep it in an encrypted systemd credential"
    )]
    Encrypted,
    /// Another kind or size of key.
    #[error("{0} is not supported; use RSA with 2048 to 4096 bits, P-256 or P-384")]
    Key(String),
    /// Key and certificate do not belong together.
    #[error(
        "the private key does not belong to the certificate of {subject}; name the key that the certificate was requested with"
    )]
    Mismatch {
        /// Whose certificate.
        subject: String,
    },
    /// A CA's certificate where ours should be, or the reverse.
    #[error("the certificate of {subject} is {what}")]
    Role {
        /// Whose.
        subject: String,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// The identity that is configured is not in the certificate: every peer would refuse it.
    #[error(
        "the certificate of {subject} does not say that we are {identity}; leave `local_id` out to use the subject, or take one of its alternative names"
    )]
    Identity {
        /// Whose.
        subject: String,
        /// What is configured.
        identity: Identity,
    },
    /// More than is looked at.
    #[error("more than {0} in one file; keep what is needed")]
    TooMany(usize),
}
