//! How AUTH is signed: the exact algorithm identifiers of RFC 7427 appendix A that we know, and no other.
//!
//! Parameters are never parsed. An identifier is one of these octet strings or it is refused, which leaves nothing
//! to overflow or to be missing (CVE-2018-6459, CVE-2021-41990).

/// A hash of RFC 7427 §4 that we announce and accept; SHA-1 is not one (RFC 8247 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hash {
    /// SHA2-256, number 2.
    Sha256,
    /// SHA2-384, number 3.
    Sha384,
    /// SHA2-512, number 4.
    Sha512,
}

impl Hash {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its number in IANA's "IKEv2 Hash Algorithms".
    pub const fn number(self) -> u16 {
        match self {
            Self::Sha256 => 2,
            Self::Sha384 => 3,
            Self::Sha512 => 4,
        }
    }

    const fn bit(self) -> u8 {
        1 << self.number()
    }
}

/// A set of hashes: what a SIGNATURE_HASH_ALGORITHMS notification announces.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Hashes(u8);

impl Hashes {
    /// Reads the notification (RFC 7427 §4); what we do not know is left out.
    pub fn read(data: &[u8]) -> Self {
        let numbers = data
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0_u16, |sum, octet| (sum << 8) | u16::from(*octet)));
        let known = numbers.filter_map(|number| Hash::ALL.into_iter().find(|hash| hash.number() == number));
        Self(known.fold(0, |set, hash| set | hash.bit()))
    }

    /// What we announce.
    pub fn announcement() -> Vec<u8> {
        Hash::ALL.iter().flat_map(|hash| hash.number().to_be_bytes()).collect()
    }

    /// Whether `hash` is among them.
    pub const fn has(self, hash: Hash) -> bool {
        self.0 & hash.bit() != 0
    }
}

/// How an RSA key of ours signs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Padding {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2): every peer that knows RFC 7427 verifies it.
    #[default]
    Pkcs1,
    /// RSASSA-PSS (RFC 8017 §8.1), for peers that ask for it.
    Pss,
}

/// A signature algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1(Hash),
    /// RSASSA-PSS with MGF1 over the same hash and a salt of its length.
    Pss(Hash),
    /// ECDSA, the signature in DER.
    Ecdsa(Hash),
}

/// Identifiers that are accepted; the first for a scheme is the one that we send. RFC 7427 appendix A.1 (PKCS #1,
/// parameters NULL; absent ones are tolerated), A.3 (ECDSA, parameters absent), A.4 (PSS; RFC 4055 §2.1 allows the
/// NULL of its hashes to be left out).
const IDENTIFIERS: [(Scheme, &[u8]); 15] = [
    (Scheme::Pkcs1(Hash::Sha256), b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"),
    (Scheme::Pkcs1(Hash::Sha384), b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00"),
    (Scheme::Pkcs1(Hash::Sha512), b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00"),
    (Scheme::Pkcs1(Hash::Sha256), b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"),
    (Scheme::Pkcs1(Hash::Sha384), b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"),
    (Scheme::Pkcs1(Hash::Sha512), b"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"),
    (Scheme::Ecdsa(Hash::Sha256), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"),
    (Scheme::Ecdsa(Hash::Sha384), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"),
    (Scheme::Ecdsa(Hash::Sha512), b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04"),
    (
        Scheme::Pss(Hash::Sha256),
        b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\
          \x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\
          \x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20",
    ),
    (
        Scheme::Pss(Hash::Sha384),
        b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\
          \x65\x03\x04\x02\x02\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\
          \x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30",
    ),
    (
        Scheme::Pss(Hash::Sha512),
        b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\
          \x65\x03\x04\x02\x03\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\
          \x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa2\x03\x02\x01\x40",
    ),
    (
        Scheme::Pss(Hash::Sha256),
        b"\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x30\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\
          \x65\x03\x04\x02\x01\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\
          \x86\x48\x01\x65\x03\x04\x02\x01\xa2\x03\x02\x01\x20",
    ),
    (
        Scheme::Pss(Hash::Sha384),
        b"\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x30\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\
          \x65\x03\x04\x02\x02\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\
          \x86\x48\x01\x65\x03\x04\x02\x02\xa2\x03\x02\x01\x30",
    ),
    (
        Scheme::Pss(Hash::Sha512),
        b"\x30\x3d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x30\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\
          \x65\x03\x04\x02\x03\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\x09\x60\
          \x86\x48\x01\x65\x03\x04\x02\x03\xa2\x03\x02\x01\x40",
    ),
];

impl Scheme {
    /// Takes AUTH data of method 14 apart: one octet of length, the identifier, the signature (RFC 7427 §3).
    pub fn read(data: &[u8]) -> Option<(Self, &[u8])> {
        let (length, rest) = data.split_first()?;
        let (identifier, signature) = rest.split_at_checked(usize::from(*length))?;
        let (scheme, _) = IDENTIFIERS.iter().find(|(_, known)| *known == identifier)?;
        Some((*scheme, signature))
    }

    /// AUTH data of method 14.
    pub fn write(self, signature: &[u8]) -> Vec<u8> {
        let identifier =
            IDENTIFIERS.iter().find(|(scheme, _)| *scheme == self).map_or(&[][..], |(_, known)| known);
        let mut out = vec![u8::try_from(identifier.len()).unwrap_or(u8::MAX)];
        out.extend_from_slice(identifier);
        out.extend_from_slice(signature);
        out
    }
}
