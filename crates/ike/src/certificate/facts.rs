//! What a certificate says: names, dates, key, usages. Reading it proves nothing.

use std::net::IpAddr;

use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{DateTime, Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};

use super::name::DistinguishedName;
use super::public::PublicKey;
use crate::config::Identity;

/// Alternative names looked at in one certificate.
const MAX_NAMES: usize = 64;

/// Signatures that nobody should trust any more.
const WEAK_SIGNATURES: [(ObjectIdentifier, &str); 4] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.2"), "signed with MD2"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), "signed with MD5"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), "signed with SHA-1"),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), "signed with SHA-1"),
];

/// From when to when something is valid, seconds since 1970, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// The first second.
    pub not_before: u64,
    /// The last one.
    pub not_after: u64,
}

/// Seconds since 1970 as `2026-11-24 12:00 UTC`.
pub fn date(unix_seconds: u64) -> String {
    match DateTime::from_unix_duration(std::time::Duration::from_secs(unix_seconds)) {
        Ok(at) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02} UTC",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minutes()
        ),
        Err(_) => format!("second {unix_seconds} since 1970"),
    }
}

/// A certificate, read.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whose it is.
    pub subject: DistinguishedName,
    /// The subject as it stands there, DER.
    pub subject_der: Vec<u8>,
    /// Who signed it, by name.
    pub issuer: DistinguishedName,
    /// When it is valid.
    pub validity: Validity,
    /// The key; or what kind it is, when we do not use that.
    pub key: Result<PublicKey, String>,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
    /// Whether it is a CA's (RFC 5280 §4.2.1.9).
    pub is_ca: bool,
    usage: Option<KeyUsage>,
    names: Vec<GeneralName>,
    signature: ObjectIdentifier,
}

impl Facts {
    /// Reads a certificate from DER; `None` when it is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let tbs = certificate.tbs_certificate();
        let name = |name: &x509_cert::name::Name| {
            let der = name.to_der().ok()?;
            Some((DistinguishedName::from_der(&der)?, der))
        };
        let (subject, subject_der) = name(tbs.subject())?;
        let (issuer, _) = name(tbs.issuer())?;
        let spki = tbs.subject_public_key_info();
        let constraints = tbs.get_extension::<BasicConstraints>().ok()?;
        let names = tbs.get_extension::<SubjectAltName>().ok()?;
        Some(Self {
            subject,
            subject_der,
            issuer,
            validity: Validity {
                not_before: tbs.validity().not_before.to_unix_duration().as_secs(),
                not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
            },
            key: PublicKey::from_spki(spki),
            spki: spki.to_der().ok()?,
            is_ca: constraints.is_some_and(|(_, constraints)| constraints.ca),
            usage: tbs.get_extension::<KeyUsage>().ok()?.map(|(_, usage)| usage),
            names: names.map(|(_, names)| names.0).unwrap_or_default().into_iter().take(MAX_NAMES).collect(),
            signature: certificate.signature_algorithm().oid,
        })
    }

    /// Whether it says that its owner is `identity`.
    //= RFC 4945 §3.1: an address, host name or mail address must be an alternative name of that type, octet by
    // octet (no wildcard, no fallback to the common name), a distinguished name the subject. A key ID never fits.
    pub fn says(&self, identity: &Identity) -> bool {
        let any = |fits: &dyn Fn(&GeneralName) -> bool| self.names.iter().any(fits);
        match identity {
            Identity::Ipv4(address) => any(&|name| is_address(name, IpAddr::V4(*address))),
            Identity::Ipv6(address) => any(&|name| is_address(name, IpAddr::V6(*address))),
            Identity::Fqdn(wanted) => any(
                &|name| matches!(name, GeneralName::DnsName(dns) if dns.as_str().eq_ignore_ascii_case(wanted)),
            ),
            Identity::Email(wanted) => any(
                &|name| matches!(name, GeneralName::Rfc822Name(mail) if same_mailbox(mail.as_str(), wanted)),
            ),
            Identity::DerDn(der) => {
                !self.subject.is_empty()
                    && DistinguishedName::from_der(der).is_some_and(|name| name == self.subject)
            }
            Identity::KeyId(_) | Identity::Other(..) => false,
        }
    }

    /// What about it is too weak, if anything; a self-signed certificate's signature is never relied on.
    pub fn weakness(&self) -> Option<String> {
        if let Err(what) = &self.key {
            return Some(what.clone());
        }
        let weak = WEAK_SIGNATURES.iter().find(|(oid, _)| *oid == self.signature);
        weak.filter(|_| !self.is_self_issued()).map(|(_, what)| (*what).to_owned())
    }

    /// Whether subject and issuer are the same: a root, which nobody needs to be sent.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    //= RFC 4945 §5.1.3.2: a certificate with a key usage must be made for signatures.
    pub(super) fn may_sign(&self) -> bool {
        self.usage.as_ref().is_none_or(|usage| usage.digital_signature() || usage.non_repudiation())
    }

    //= RFC 5280 §6.1.4 (n): what signs certificates must be made for that.
    pub(super) fn may_sign_certificates(&self) -> bool {
        self.usage.as_ref().is_none_or(KeyUsage::key_cert_sign)
    }
}

fn is_address(name: &GeneralName, address: IpAddr) -> bool {
    let GeneralName::IpAddress(octets) = name else { return false };
    match address {
        IpAddr::V4(v4) => octets.as_bytes() == v4.octets(),
        IpAddr::V6(v6) => octets.as_bytes() == v6.octets(),
    }
}

/// The host part does not depend on case (RFC 5280 §7.5).
fn same_mailbox(a: &str, b: &str) -> bool {
    match (a.rsplit_once('@'), b.rsplit_once('@')) {
        (Some((local, host)), Some((other, there))) => local == other && host.eq_ignore_ascii_case(there),
        _ => false,
    }
}
