//! A peer's public key, and the one place where signatures are verified.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{AnyRef, Decode as _, Reader as _};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::scheme::{Hash, Scheme};

/// Fewest bits of an RSA key (RFC 8247 §3.2.1); ring verifies up to 8192.
pub(super) const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// A public key that can verify.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublicKey {
    /// RSA: RSAPublicKey in DER, and the bits of its modulus.
    Rsa(Vec<u8>, usize),
    /// A point on P-256, uncompressed.
    P256(Vec<u8>),
    /// A point on P-384, uncompressed.
    P384(Vec<u8>),
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// What kind of key it is instead, in words.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, String> {
        let spki = SubjectPublicKeyInfoOwned::from_der(der).map_err(|_| "an unreadable key".to_owned())?;
        Self::from_spki(&spki)
    }

    pub(super) fn from_spki(spki: &SubjectPublicKeyInfoOwned) -> Result<Self, String> {
        let unreadable = || "an unreadable key".to_owned();
        let octets = spki.subject_public_key.as_bytes().ok_or_else(unreadable)?.to_vec();
        if spki.algorithm.oid == RSA {
            let bits = modulus_bits(&octets).ok_or_else(unreadable)?;
            return if RSA_BITS.contains(&bits) {
                Ok(Self::Rsa(octets, bits))
            } else {
                Err(format!("an RSA key of {bits} bits"))
            };
        }
        if spki.algorithm.oid == RSA_PSS {
            return Err("a key for RSASSA-PSS only (id-RSASSA-PSS)".to_owned());
        }
        if spki.algorithm.oid != EC {
            return Err(format!("a key of type {}", spki.algorithm.oid));
        }
        let curve =
            spki.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        // Compressed points are not accepted (RFC 5480 §2.2 lets us).
        match (curve, octets.first(), octets.len()) {
            (Some(P256), Some(4), 65) => Ok(Self::P256(octets)),
            (Some(P384), Some(4), 97) => Ok(Self::P384(octets)),
            (Some(P256 | P384), _, _) => Err(unreadable()),
            (Some(other), _, _) => Err(format!("a key on curve {other}")),
            (None, _, _) => Err("a key on a curve without name".to_owned()),
        }
    }

    /// In words: `RSA-2048`, `P-256`.
    pub fn describe(&self) -> String {
        match self {
            Self::Rsa(_, bits) => format!("RSA-{bits}"),
            Self::P256(_) => "P-256".to_owned(),
            Self::P384(_) => "P-384".to_owned(),
        }
    }

    /// Whether `signature` over `message` was made by the owner of this key. Every doubt is a no.
    #[must_use = "a signature that was not looked at proves nothing"]
    pub fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match (self, scheme) {
            (Self::Rsa(..), Scheme::Pkcs1(Hash::Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Self::Rsa(..), Scheme::Pkcs1(Hash::Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Self::Rsa(..), Scheme::Pkcs1(Hash::Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Self::Rsa(..), Scheme::Pss(Hash::Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
            (Self::Rsa(..), Scheme::Pss(Hash::Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
            (Self::Rsa(..), Scheme::Pss(Hash::Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
            (Self::P256(_), Scheme::Ecdsa(Hash::Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
            (Self::P256(_), Scheme::Ecdsa(Hash::Sha384)) => &signature::ECDSA_P256_SHA384_ASN1,
            (Self::P384(_), Scheme::Ecdsa(Hash::Sha256)) => &signature::ECDSA_P384_SHA256_ASN1,
            (Self::P384(_), Scheme::Ecdsa(Hash::Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, self.octets()).verify(message, signature).is_ok()
    }

    /// [`PublicKey::verify`] for AUTH methods 9 and 10 (RFC 4754 §3): the curve fixes the hash, and the signature is
    /// both numbers one after the other.
    #[must_use = "a signature that was not looked at proves nothing"]
    pub fn verify_fixed(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self {
            Self::Rsa(..) => return false,
            Self::P256(_) => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384(_) => &signature::ECDSA_P384_SHA384_FIXED,
        };
        UnparsedPublicKey::new(algorithm, self.octets()).verify(message, signature).is_ok()
    }

    pub(super) fn octets(&self) -> &[u8] {
        match self {
            Self::Rsa(octets, _) | Self::P256(octets) | Self::P384(octets) => octets,
        }
    }
}

fn modulus_bits(key: &[u8]) -> Option<usize> {
    let any = AnyRef::from_der(key).ok()?;
    let modulus = any.sequence(|reader| {
        let modulus: UintRef<'_> = reader.decode()?;
        let _exponent: UintRef<'_> = reader.decode()?;
        Ok::<_, x509_cert::der::Error>(modulus.as_bytes().to_vec())
    });
    let modulus = modulus.ok()?;
    let first = modulus.first()?;
    Some(modulus.len() * 8 - first.leading_zeros() as usize)
}
