//! Signatures over AUTH: method 14 (RFC 7427), and 9 and 10 (RFC 4754) for peers that do not know it.
//!
//! Method 1 is SHA-1 with every peer that is left, and neither made nor accepted (RFC 8247 §3.2).

use crate::certificate::Proof;
use crate::certificate::{CertificateProblem, Certificates, Facts, Hashes, PeerCertificate, Scheme, judge};
use crate::wire::{
    AuthMethod, Authentication, CertEncoding, Certificate, CertificateRequest, NotifyType, Payload,
};

/// What IKE_SA_INIT carries in either direction when we authenticate by certificates (RFC 7427 §4).
pub(crate) fn announcement() -> Payload {
    crate::message::notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, Hashes::announcement())
}

/// CERTREQ: the CAs that we trust (RFC 7296 §3.7).
pub(crate) fn request(certificates: &Certificates) -> Payload {
    let data = certificates.trust.request();
    Payload::CertReq(CertificateRequest { encoding: CertEncoding::X509_SIGNATURE, data })
}

/// CERT payloads, our own first (RFC 7296 §3.6).
pub(crate) fn chain(certificates: &Certificates) -> impl Iterator<Item = Payload> {
    certificates
        .credential
        .chain()
        .iter()
        .map(|der| Payload::Cert(Certificate { encoding: CertEncoding::X509_SIGNATURE, data: der.clone() }))
}

/// AUTH over `octets` for a peer that announced `peer`.
pub(crate) fn sign(
    certificates: &Certificates,
    peer: Option<Hashes>,
    octets: &[u8],
) -> Result<Authentication, CertificateProblem> {
    let credential = &certificates.credential;
    let proof = credential.choose(certificates.padding, peer)?;
    let signature = credential.sign(proof, octets)?;
    Ok(match proof {
        Proof::Digital(scheme) => {
            Authentication { method: AuthMethod::DIGITAL_SIGNATURE, data: scheme.write(&signature) }
        }
        Proof::Fixed(method) => Authentication { method, data: signature },
    })
}

/// Whether the chain leads to a CA that we trust and its key made `auth` over `octets`.
pub(crate) fn verify(
    certificates: &Certificates,
    now: u64,
    payloads: &[Certificate],
    auth: &Authentication,
    octets: &[u8],
) -> Result<Facts, CertificateProblem> {
    let known = [AuthMethod::DIGITAL_SIGNATURE, AuthMethod::ECDSA_256, AuthMethod::ECDSA_384];
    if auth.method == AuthMethod::RSA_SIGNATURE {
        let what = "RSA with SHA-1, authentication method 1".to_owned();
        return Err(CertificateProblem::Algorithm { what });
    }
    if !known.contains(&auth.method) {
        return Err(CertificateProblem::Method(auth.method));
    }
    let facts = judge(&certificates.trust, payloads, now)?;
    let subject = || facts.subject.to_string();
    let key = facts
        .key
        .as_ref()
        .map_err(|what| CertificateProblem::Weak { subject: subject(), what: what.clone() })?;
    let good = match auth.method {
        AuthMethod::DIGITAL_SIGNATURE => {
            let (scheme, signature) =
                Scheme::read(&auth.data).ok_or_else(|| CertificateProblem::Algorithm {
                    what: "an algorithm identifier that is not on the list".to_owned(),
                })?;
            key.verify(scheme, octets, signature)
        }
        //= RFC 4754 §3: each method names one curve.
        AuthMethod::ECDSA_256 => key.describe() == "P-256" && key.verify_fixed(octets, &auth.data),
        _ => key.describe() == "P-384" && key.verify_fixed(octets, &auth.data),
    };
    if good { Ok(facts) } else { Err(CertificateProblem::WrongKey { subject: subject() }) }
}

/// What is reported of a peer's certificate.
pub(crate) fn report(facts: &Facts) -> PeerCertificate {
    PeerCertificate { subject: facts.subject.clone(), validity: facts.validity }
}
