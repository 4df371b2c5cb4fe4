//! Our private key: read from PKCS #8, PKCS #1 or SEC 1, held by ring, never shown.

use std::fmt;

use model::Secret;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaEncoding, RsaKeyPair};
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef};
use x509_cert::der::{AnyRef, Decode as _, Reader as _};
use x509_cert::spki::AlgorithmIdentifierRef;

use super::error::{CertificateProblem, UnusableCertificate};
use super::pem::KeyForm;
use super::public::{P256, P384, PublicKey};
use super::scheme::{Hash, Hashes, Padding, Scheme};
use crate::wire::AuthMethod;

/// A key that can sign. ring wipes nothing that it holds: it lives as long as the process, which is not dumpable.
pub(super) enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ec(Curve, Box<EcKey>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Curve {
    P256,
    P384,
}

/// The same key for both forms of a signature, and for the hash that is not the curve's own.
pub(super) struct EcKey {
    asn1: EcdsaKeyPair,
    fixed: EcdsaKeyPair,
}

/// How AUTH is to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// Method 14.
    Digital(Scheme),
    /// Method 9 or 10 (RFC 4754).
    Fixed(AuthMethod),
}

impl SigningKey {
    /// Reads a key.
    pub(super) fn read(form: KeyForm, octets: &Secret) -> Result<Self, UnusableCertificate> {
        let octets = octets.expose();
        match form {
            KeyForm::Pkcs1 => rsa(octets),
            KeyForm::Sec1 => ec(octets, None),
            KeyForm::Pkcs8 => match pkcs8(octets) {
                Some((RSA, _, inner)) => rsa(inner),
                Some((EC, curve, inner)) => ec(inner, curve),
                Some((other, _, _)) => {
                    Err(UnusableCertificate::Key(format!("a private key of type {other}")))
                }
                // DER without a label may be any of the three.
                None => rsa(octets).or_else(|_| ec(octets, None)),
            },
        }
    }

    /// Whether it is the private half of `public`.
    pub(super) fn fits(&self, public: &PublicKey) -> bool {
        match self {
            Self::Rsa(key) => key.public_key().as_ref() == public.octets(),
            Self::Ec(_, key) => key.asn1.public_key().as_ref() == public.octets(),
        }
    }

    /// How to sign for a peer that announced `peer` (`None`: nothing).
    pub(super) fn choose(&self, padding: Padding, peer: Option<Hashes>) -> Result<Proof, CertificateProblem> {
        let order: &[Hash] = match self {
            Self::Rsa(key) if key.public().modulus_len() > 384 => &[Hash::Sha384, Hash::Sha512, Hash::Sha256],
            Self::Rsa(_) => &[Hash::Sha256, Hash::Sha384, Hash::Sha512],
            // ring signs with the hash of the curve only.
            Self::Ec(Curve::P256, _) => &[Hash::Sha256],
            Self::Ec(Curve::P384, _) => &[Hash::Sha384],
        };
        let common = peer.and_then(|peer| order.iter().copied().find(|hash| peer.has(*hash)));
        match (self, common) {
            (Self::Rsa(_), Some(hash)) if padding == Padding::Pss => Ok(Proof::Digital(Scheme::Pss(hash))),
            (Self::Rsa(_), Some(hash)) => Ok(Proof::Digital(Scheme::Pkcs1(hash))),
            (Self::Ec(..), Some(hash)) => Ok(Proof::Digital(Scheme::Ecdsa(hash))),
            //= RFC 7427 §4: without a common hash the methods of RFC 7296 and RFC 4754 remain. That of RSA is SHA-1.
            (Self::Rsa(_), None) => Err(CertificateProblem::NoCommonHash),
            (Self::Ec(Curve::P256, _), None) => Ok(Proof::Fixed(AuthMethod::ECDSA_256)),
            (Self::Ec(Curve::P384, _), None) => Ok(Proof::Fixed(AuthMethod::ECDSA_384)),
        }
    }

    /// Signs. RSA-4096 takes a few milliseconds, the rest far less.
    pub(super) fn sign(&self, proof: Proof, message: &[u8]) -> Result<Vec<u8>, CertificateProblem> {
        let random = SystemRandom::new();
        let failed = |_| CertificateProblem::Signing;
        match (self, proof) {
            (Self::Rsa(key), Proof::Digital(Scheme::Pkcs1(hash))) => {
                rsa_sign(key, pkcs1(hash), &random, message).map_err(failed)
            }
            (Self::Rsa(key), Proof::Digital(Scheme::Pss(hash))) => {
                rsa_sign(key, pss(hash), &random, message).map_err(failed)
            }
            (Self::Ec(_, key), Proof::Digital(Scheme::Ecdsa(_))) => {
                key.asn1.sign(&random, message).map(|made| made.as_ref().to_vec()).map_err(failed)
            }
            (Self::Ec(_, key), Proof::Fixed(_)) => {
                key.fixed.sign(&random, message).map(|made| made.as_ref().to_vec()).map_err(failed)
            }
            _ => Err(CertificateProblem::Signing),
        }
    }
}

fn rsa_sign(
    key: &RsaKeyPair,
    encoding: &'static dyn RsaEncoding,
    random: &SystemRandom,
    message: &[u8],
) -> Result<Vec<u8>, ring::error::Unspecified> {
    let mut made = vec![0; key.public().modulus_len()];
    key.sign(encoding, random, message, &mut made)?;
    Ok(made)
}

fn pkcs1(hash: Hash) -> &'static dyn RsaEncoding {
    match hash {
        Hash::Sha256 => &signature::RSA_PKCS1_SHA256,
        Hash::Sha384 => &signature::RSA_PKCS1_SHA384,
        Hash::Sha512 => &signature::RSA_PKCS1_SHA512,
    }
}

fn pss(hash: Hash) -> &'static dyn RsaEncoding {
    match hash {
        Hash::Sha256 => &signature::RSA_PSS_SHA256,
        Hash::Sha384 => &signature::RSA_PSS_SHA384,
        Hash::Sha512 => &signature::RSA_PSS_SHA512,
    }
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// Algorithm, curve and inner key of a PrivateKeyInfo (RFC 5958 §2).
fn pkcs8(octets: &[u8]) -> Option<(ObjectIdentifier, Option<ObjectIdentifier>, &[u8])> {
    let any = AnyRef::from_der(octets).ok()?;
    any.sequence(|reader| {
        let _version: u8 = reader.decode()?;
        let algorithm: AlgorithmIdentifierRef<'_> = reader.decode()?;
        let key: &OctetStringRef = reader.decode()?;
        let curve = algorithm.parameters.and_then(|any| any.decode_as().ok());
        // Attributes and the public key follow.
        reader.drain(reader.remaining_len())?;
        Ok::<_, x509_cert::der::Error>((algorithm.oid, curve, key.as_bytes()))
    })
    .ok()
}

fn rsa(octets: &[u8]) -> Result<SigningKey, UnusableCertificate> {
    let key = RsaKeyPair::from_der(octets).map_err(|error| {
        // ring's words: "TooSmall", "TooLarge", "InconsistentComponents" and the like.
        UnusableCertificate::Key(format!("this RSA key ({error})"))
    })?;
    Ok(SigningKey::Rsa(Box::new(key)))
}

/// An ECPrivateKey (RFC 5915 §3); the curve stands in it, or around it in PKCS #8.
fn ec(octets: &[u8], around: Option<ObjectIdentifier>) -> Result<SigningKey, UnusableCertificate> {
    let malformed = UnusableCertificate::Malformed { what: "the private key" };
    let any = AnyRef::from_der(octets).map_err(|_| malformed.clone())?;
    let (scalar, inside) = any
        .sequence(|reader| {
            let _version: u8 = reader.decode()?;
            let scalar: &OctetStringRef = reader.decode()?;
            let mut curve = None;
            while !reader.is_finished() {
                let part = AnyRef::decode(reader)?;
                // [0] is the curve, [1] the public key, which is computed instead.
                curve = curve.or_else(|| ObjectIdentifier::from_der(part.value()).ok());
            }
            Ok::<_, x509_cert::der::Error>((scalar.as_bytes(), curve))
        })
        .map_err(|_| malformed.clone())?;
    let bad = |_| malformed.clone();
    match inside.or(around) {
        Some(P256) => {
            let key = p256::SecretKey::from_slice(scalar).map_err(|_| malformed.clone())?;
            let public = key.public_key().to_sec1_bytes();
            let asn1 =
                (&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &signature::ECDSA_P256_SHA256_FIXED_SIGNING);
            Ok(SigningKey::Ec(Curve::P256, Box::new(pair(asn1, scalar, &public).map_err(bad)?)))
        }
        Some(P384) => {
            let key = p384::SecretKey::from_slice(scalar).map_err(|_| malformed.clone())?;
            let public = key.public_key().to_sec1_bytes();
            let asn1 =
                (&signature::ECDSA_P384_SHA384_ASN1_SIGNING, &signature::ECDSA_P384_SHA384_FIXED_SIGNING);
            Ok(SigningKey::Ec(Curve::P384, Box::new(pair(asn1, scalar, &public).map_err(bad)?)))
        }
        Some(other) => Err(UnusableCertificate::Key(format!("a private key on curve {other}"))),
        None => Err(malformed),
    }
}

fn pair(
    (asn1, fixed): (&'static EcdsaSigningAlgorithm, &'static EcdsaSigningAlgorithm),
    private: &[u8],
    public: &[u8],
) -> Result<EcKey, ring::error::KeyRejected> {
    let random = SystemRandom::new();
    let make = |algorithm| EcdsaKeyPair::from_private_key_and_public_key(algorithm, private, public, &random);
    Ok(EcKey { asn1: make(asn1)?, fixed: make(fixed)? })
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(key) => write!(f, "RSA-{} private key", key.public().modulus_len() * 8),
            Self::Ec(curve, _) => write!(f, "{curve:?} private key"),
        }
    }
}
