//! Ours: the certificate, the intermediates that go with it, and the private key.

use model::Secret;
use ring::digest::{Context, SHA256};
use subtle::ConstantTimeEq as _;

use super::chain::{MAX_CERTIFICATE, MAX_CERTIFICATES};
use super::error::{CertificateProblem, UnusableCertificate};
use super::facts::Facts;
use super::key::{Proof, SigningKey};
use super::pem;
use super::scheme::{Hashes, Padding};
use crate::config::Identity;

/// Our chain and key.
#[derive(Debug)]
pub struct Credential {
    /// What is sent, DER, our own first; a root is left out.
    chain: Vec<Vec<u8>>,
    facts: Vec<Facts>,
    key: SigningKey,
    /// Over everything; to see whether a file changed.
    fingerprint: [u8; 32],
}

impl Credential {
    /// Reads a chain (our certificate first, then intermediates in any order) and its key, PEM or DER.
    ///
    /// # Errors
    /// What cannot be used: an unreadable file, a CA's certificate, an encrypted, weak or foreign key.
    pub fn read(certificate: &[u8], key: &Secret) -> Result<Self, UnusableCertificate> {
        let all = pem::read(certificate, "CERTIFICATE", "certificate")?;
        let (mut chain, mut facts) = (Vec::new(), Vec::new());
        for der in all {
            let malformed = UnusableCertificate::Malformed { what: "a certificate" };
            let read = Facts::read(&der).filter(|_| der.len() <= MAX_CERTIFICATE).ok_or(malformed)?;
            if chain.is_empty() || !read.is_self_issued() {
                chain.push(der);
                facts.push(read);
            }
        }
        if chain.len() > MAX_CERTIFICATES {
            return Err(UnusableCertificate::TooMany(MAX_CERTIFICATES));
        }
        let ours = facts.first().ok_or(UnusableCertificate::Nothing("certificate"))?;
        let subject = ours.subject.to_string();
        if ours.is_ca {
            let what = "a CA's; put our own certificate first in `certificate`";
            return Err(UnusableCertificate::Role { subject, what });
        }
        let public = ours.key.clone().map_err(UnusableCertificate::Key)?;
        let (form, octets) = pem::read_key(key.expose())?;
        let signing = SigningKey::read(form, &octets)?;
        if !signing.fits(&public) {
            return Err(UnusableCertificate::Mismatch { subject });
        }
        let mut all = Context::new(&SHA256);
        chain.iter().for_each(|der| all.update(der));
        all.update(octets.expose());
        let mut fingerprint = [0; 32];
        fingerprint.iter_mut().zip(all.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Ok(Self { chain, facts, key: signing, fingerprint })
    }

    /// Our certificate, then the intermediates.
    pub fn facts(&self) -> &[Facts] {
        &self.facts
    }

    /// The subject of our certificate as an identity, octet by octet as it stands there.
    pub fn subject(&self) -> Identity {
        Identity::DerDn(self.facts.first().map(|facts| facts.subject_der.clone()).unwrap_or_default())
    }

    /// Whether our certificate says that we are `identity`; a peer refuses us otherwise.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_identity(&self, identity: &Identity) -> Result<(), UnusableCertificate> {
        match self.facts.first() {
            Some(facts) if !facts.says(identity) => Err(UnusableCertificate::Identity {
                subject: facts.subject.to_string(),
                identity: identity.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether both hold the same chain and key.
    pub fn same(&self, other: &Self) -> bool {
        self.fingerprint.ct_eq(&other.fingerprint).into()
    }

    /// What is sent, DER, our own first.
    pub(crate) fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// How we will sign for a peer that announced `peer`.
    pub(crate) fn choose(&self, padding: Padding, peer: Option<Hashes>) -> Result<Proof, CertificateProblem> {
        self.key.choose(padding, peer)
    }

    /// Signs.
    pub(crate) fn sign(&self, proof: Proof, message: &[u8]) -> Result<Vec<u8>, CertificateProblem> {
        self.key.sign(proof, message)
    }
}
