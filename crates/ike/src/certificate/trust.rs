//! Whom we trust: CA certificates and revocation lists, read from files that the operator put there.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;

use super::error::UnusableCertificate;
use super::facts::Facts;
use super::pem;

/// CAs trusted by one tunnel, at most.
const MAX_ANCHORS: usize = 32;
/// Revocation lists of one tunnel, at most.
const MAX_LISTS: usize = 32;

/// CA certificates and revocation lists.
#[derive(Debug)]
pub struct Trust {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// In the order of `anchors`.
    authorities: Vec<Facts>,
    pub(super) lists: Vec<CertRevocationList<'static>>,
    next_updates: Vec<(String, u64)>,
    /// Over all files; to see whether one changed.
    fingerprint: Vec<u8>,
}

impl Trust {
    /// Reads CA certificates from one file and revocation lists from any number of them, PEM or DER.
    ///
    /// # Errors
    /// When a file holds none, one that is no CA's, or one with a key that proves nothing.
    pub fn read(authorities: &[u8], lists: &[Vec<u8>]) -> Result<Self, UnusableCertificate> {
        let mut all = Context::new(&SHA256);
        all.update(authorities);
        lists.iter().for_each(|list| all.update(list));
        let mut trust = Self {
            anchors: Vec::new(),
            authorities: Vec::new(),
            lists: Vec::new(),
            next_updates: Vec::new(),
            fingerprint: all.finish().as_ref().to_vec(),
        };
        for der in pem::read(authorities, "CERTIFICATE", "certificate")? {
            trust.add(&der)?;
        }
        for list in lists {
            for der in pem::read(list, "X509 CRL", "revocation list")? {
                trust.add_list(&der)?;
            }
        }
        Ok(trust)
    }

    fn add(&mut self, der: &[u8]) -> Result<(), UnusableCertificate> {
        let malformed = UnusableCertificate::Malformed { what: "a CA certificate" };
        let facts = Facts::read(der).ok_or_else(|| malformed.clone())?;
        let subject = facts.subject.to_string();
        if !facts.is_ca {
            let what = "not a CA's; name the CA's certificate in `ca`";
            return Err(UnusableCertificate::Role { subject, what });
        }
        if let Err(what) = &facts.key {
            return Err(UnusableCertificate::Key(format!("{what} (CA {subject})")));
        }
        if self.anchors.len() >= MAX_ANCHORS {
            return Err(UnusableCertificate::TooMany(MAX_ANCHORS));
        }
        let der = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| malformed)?;
        self.anchors.push(anchor.to_owned());
        self.authorities.push(facts);
        Ok(())
    }

    fn add_list(&mut self, der: &[u8]) -> Result<(), UnusableCertificate> {
        let malformed = UnusableCertificate::Malformed { what: "a revocation list" };
        let list = OwnedCertRevocationList::from_der(der).map_err(|_| malformed.clone())?;
        if self.lists.len() >= MAX_LISTS {
            return Err(UnusableCertificate::TooMany(MAX_LISTS));
        }
        self.lists.push(list.into());
        let read: CertificateList = CertificateList::from_der(der).map_err(|_| malformed)?;
        if let Some(next) = read.tbs_cert_list.next_update {
            let issuer = super::name::DistinguishedName::from_rdns(read.tbs_cert_list.issuer.as_ref());
            let issuer = issuer.map(|name| name.to_string()).unwrap_or_default();
            self.next_updates.push((issuer, next.to_unix_duration().as_secs()));
        }
        Ok(())
    }

    /// Whether both were read from the same octets.
    pub fn same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// The CAs, in the order of the file.
    pub fn authorities(&self) -> &[Facts] {
        &self.authorities
    }

    /// By when each revocation list should be replaced: its issuer, seconds since 1970.
    pub fn next_updates(&self) -> &[(String, u64)] {
        &self.next_updates
    }

    /// The facts of an anchor.
    pub(super) fn authority(&self, anchor: &TrustAnchor<'_>) -> Option<&Facts> {
        let index = self.anchors.iter().position(|known| known == anchor)?;
        self.authorities.get(index)
    }

    //= RFC 7296 §3.7: the SHA-1 hashes of the SubjectPublicKeyInfo of each CA. They protect nothing.
    pub(crate) fn request(&self) -> Vec<u8> {
        let hashes = self.authorities.iter().map(|facts| digest(&SHA1_FOR_LEGACY_USE_ONLY, &facts.spki));
        hashes.flat_map(|hash| hash.as_ref().to_vec()).collect()
    }
}
