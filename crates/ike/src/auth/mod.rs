//! Who the peer is: identities and the AUTH payload.
//!
//! Turns configured identities into ID payloads and back and compares them exactly (RFC 7296 §3.5: type and
//! octets; a distinguished name by its attributes). The methods are below: the pre-shared key, and signatures.

pub(crate) mod ppk;
pub(crate) mod psk;
pub(crate) mod signature;

use crate::certificate::{CertificateProblem, DistinguishedName, Hashes};
use crate::config::{Credentials, Identity};
use crate::error::Failure;
use crate::message::Parts;
use crate::output::Notice;
use crate::sa::Ctx;
use crate::status::Role;
use crate::wire::{Authentication, IdType, Identification, Payload};
use psk::Transcript;

/// How the peer is to be proven, and by what.
pub(crate) struct Claim<'a> {
    /// Whose AUTH it is.
    pub(crate) whose: Role,
    /// Who the peer says it is.
    pub(crate) id: &'a Identification,
    /// Its AUTH payload.
    pub(crate) auth: &'a Authentication,
}

/// What we show: ID, certificates where we have them, AUTH. `peer` is what the peer can verify.
pub(crate) fn prove(
    ctx: &Ctx,
    transcript: &Transcript<'_>,
    whose: Role,
    peer: Option<Hashes>,
) -> Result<Vec<Payload>, Failure> {
    let id = identification(&ctx.config.local_identity);
    let named = |id| match whose {
        Role::Initiator => Payload::IdI(id),
        Role::Responder => Payload::IdR(id),
    };
    match &ctx.config.credentials {
        Credentials::Psk(key) => {
            let auth = transcript.sign(key, whose, &id);
            Ok(vec![named(id), Payload::Auth(auth)])
        }
        Credentials::Certificates(certificates) => {
            let auth = signature::sign(certificates, peer, &transcript.octets(whose, &id))?;
            let mut payloads = vec![named(id)];
            payloads.extend(signature::chain(certificates));
            // A responder has asked in IKE_SA_INIT.
            payloads.extend((whose == Role::Initiator).then(|| signature::request(certificates)));
            payloads.push(Payload::Auth(auth));
            Ok(payloads)
        }
    }
}

/// Whether the peer proves that it is who it must be. AUTH first: an identity that is not proven is nobody's.
pub(crate) fn authenticate(
    ctx: &Ctx,
    transcript: &Transcript<'_>,
    parts: &Parts,
    claim: &Claim<'_>,
) -> Result<Option<Notice>, Failure> {
    let got = identity(claim.id);
    let mut shown = None;
    match &ctx.config.credentials {
        Credentials::Psk(key) => {
            if !transcript.verify(key, claim.whose, claim.id, claim.auth) {
                return Err(Failure::AuthenticationFailed { by_peer: false });
            }
        }
        Credentials::Certificates(certificates) => {
            let octets = transcript.octets(claim.whose, claim.id);
            let now = certificates.clock.at(ctx.now);
            let facts = signature::verify(certificates, now, &parts.certificates, claim.auth, &octets)?;
            if !facts.says(&got) {
                let subject = facts.subject.to_string();
                return Err(CertificateProblem::WrongName { identity: got, subject }.into());
            }
            shown = Some(Notice::PeerCertificate(Box::new(signature::report(&facts))));
        }
    }
    if is_expected(&ctx.config.remote_identity, claim.id) {
        Ok(shown)
    } else {
        let expected = ctx.config.remote_identity.clone();
        Err(Failure::PeerIdentityMismatch { expected, got })
    }
}

/// The ID payload for an identity.
pub(crate) fn identification(identity: &Identity) -> Identification {
    let (kind, data) = match identity {
        Identity::Ipv4(address) => (IdType::ID_IPV4_ADDR, address.octets().to_vec()),
        Identity::Ipv6(address) => (IdType::ID_IPV6_ADDR, address.octets().to_vec()),
        Identity::Fqdn(name) => (IdType::ID_FQDN, name.clone().into_bytes()),
        Identity::Email(name) => (IdType::ID_RFC822_ADDR, name.clone().into_bytes()),
        Identity::KeyId(octets) => (IdType::ID_KEY_ID, octets.clone()),
        Identity::DerDn(octets) => (IdType::ID_DER_ASN1_DN, octets.clone()),
        Identity::Other(kind, octets) => (IdType(*kind), octets.clone()),
    };
    Identification::new(kind, data)
}

/// The identity in an ID payload, for reports.
pub(crate) fn identity(id: &Identification) -> Identity {
    let text = || String::from_utf8_lossy(&id.data).into_owned();
    match id.kind {
        IdType::ID_IPV4_ADDR => match <[u8; 4]>::try_from(id.data.as_slice()) {
            Ok(octets) => Identity::Ipv4(octets.into()),
            Err(_) => Identity::Other(id.kind.0, id.data.clone()),
        },
        IdType::ID_IPV6_ADDR => match <[u8; 16]>::try_from(id.data.as_slice()) {
            Ok(octets) => Identity::Ipv6(octets.into()),
            Err(_) => Identity::Other(id.kind.0, id.data.clone()),
        },
        IdType::ID_FQDN => Identity::Fqdn(text()),
        IdType::ID_RFC822_ADDR => Identity::Email(text()),
        IdType::ID_KEY_ID => Identity::KeyId(id.data.clone()),
        IdType::ID_DER_ASN1_DN => Identity::DerDn(id.data.clone()),
        other => Identity::Other(other.0, id.data.clone()),
    }
}

/// Whether the peer is who it must be. CVE-2013-6075: exact type, exact octets, exact length; of a distinguished
/// name the exact attributes, whatever kind of string holds them (RFC 5280 §7.1).
fn is_expected(expected: &Identity, got: &Identification) -> bool {
    match (expected, got.kind) {
        (Identity::DerDn(expected), IdType::ID_DER_ASN1_DN) if *expected != got.data => {
            let names = (DistinguishedName::from_der(expected), DistinguishedName::from_der(&got.data));
            matches!(names, (Some(expected), Some(got)) if expected.matches(&got))
        }
        _ => identification(expected) == *got,
    }
}
