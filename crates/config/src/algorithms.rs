//! The algorithms of AWS's tunnel options, in AWS's spelling, and which of them we want.
//!
//! The lists are those of the EC2 API (`Phase1EncryptionAlgorithms` and its siblings). Ranking matters because
//! AWS takes the lowest value that both sides allow, whatever our order: what is not wanted must not be offered.

use std::fmt;

/// Encryption in phase 1 or 2, as `Phase1EncryptionAlgorithms` spells it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EncryptionAlgorithm {
    /// AES-CBC with a 128-bit key (RFC 3602).
    Aes128,
    /// AES-CBC with a 256-bit key (RFC 3602).
    Aes256,
    /// AES-GCM with a 128-bit key and a 16-octet ICV (RFC 4106, RFC 5282).
    Aes128Gcm16,
    /// AES-GCM with a 256-bit key and a 16-octet ICV (RFC 4106, RFC 5282).
    Aes256Gcm16,
}

impl EncryptionAlgorithm {
    /// Best first: authenticated encryption before CBC, then the longer key.
    pub const ALL: [Self; 4] = [Self::Aes256Gcm16, Self::Aes128Gcm16, Self::Aes256, Self::Aes128];

    /// AWS's spelling, also used in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "AES128",
            Self::Aes256 => "AES256",
            Self::Aes128Gcm16 => "AES128-GCM-16",
            Self::Aes256Gcm16 => "AES256-GCM-16",
        }
    }

    /// Whether the cipher authenticates by itself, so that no integrity algorithm is negotiated beside it.
    pub const fn is_aead(self) -> bool {
        matches!(self, Self::Aes128Gcm16 | Self::Aes256Gcm16)
    }

    /// Looks a name up, without regard to case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for EncryptionAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Hash for integrity, and in IKEv2 for the PRF too, as `Phase1IntegrityAlgorithms` spells it.
///
/// With a GCM cipher phase 1 uses it for the PRF only, and phase 2 not at all (RFC 5282 §8, RFC 4106).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IntegrityAlgorithm {
    /// HMAC-SHA-1 (RFC 2404): weak, never offered unless asked for.
    Sha1,
    /// HMAC-SHA-256 (RFC 4868).
    Sha2_256,
    /// HMAC-SHA-384 (RFC 4868).
    Sha2_384,
    /// HMAC-SHA-512 (RFC 4868).
    Sha2_512,
}

impl IntegrityAlgorithm {
    /// Best first. SHA2-384 leads: it is the partner of AES-256 and group 20, and costs less MTU than SHA2-512.
    pub const ALL: [Self; 4] = [Self::Sha2_384, Self::Sha2_512, Self::Sha2_256, Self::Sha1];

    /// AWS's spelling, also used in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha2_256 => "SHA2-256",
            Self::Sha2_384 => "SHA2-384",
            Self::Sha2_512 => "SHA2-512",
        }
    }

    /// Whether RFC 8247 §2.3 advises against it.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Sha1)
    }

    /// Looks a name up, without regard to case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for IntegrityAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Diffie-Hellman group by its IANA number; only groups that can be run exist as values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DhGroup(u16);

impl DhGroup {
    /// Best first: the elliptic curves (20 before 21: same CNSA rank, a fraction of the time), then MODP by size.
    /// 31 (x25519) is ours for peers other than AWS.
    pub const ALL: [Self; 11] = [
        Self(20),
        Self(21),
        Self(31),
        Self(19),
        Self(18),
        Self(17),
        Self(16),
        Self(15),
        Self(14),
        Self(5),
        Self(2),
    ];

    /// The group with IANA number `number`, when it can be run.
    pub fn new(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.0 == number)
    }

    /// IANA's number of the group.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether RFC 8247 §2.4 advises against it (MODP below 2048 bits).
    pub const fn is_weak(self) -> bool {
        self.0 <= 5
    }

    /// The group's name in IANA's registry, as people search for it.
    pub const fn name(self) -> &'static str {
        match self.0 {
            2 => "MODP-1024",
            5 => "MODP-1536",
            14 => "MODP-2048",
            15 => "MODP-3072",
            16 => "MODP-4096",
            17 => "MODP-6144",
            18 => "MODP-8192",
            19 => "ECP-256",
            20 => "ECP-384",
            21 => "ECP-521",
            31 => "x25519",
            _ => "unknown",
        }
    }
}

/// A key encapsulation that may follow the first key exchange (RFC 9370, draft-ietf-ipsecme-ikev2-mlkem).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kem {
    /// FIPS 203, category 3.
    MlKem768,
    /// FIPS 203, category 5.
    MlKem1024,
    /// FIPS 203, category 1.
    MlKem512,
}

impl Kem {
    /// The one to choose first in front.
    pub const ALL: [Self; 3] = [Self::MlKem768, Self::MlKem1024, Self::MlKem512];

    /// Its spelling in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlKem512 => "ML-KEM-512",
            Self::MlKem768 => "ML-KEM-768",
            Self::MlKem1024 => "ML-KEM-1024",
        }
    }

    /// IANA's number of the key exchange method.
    pub const fn number(self) -> u16 {
        match self {
            Self::MlKem512 => 35,
            Self::MlKem768 => 36,
            Self::MlKem1024 => 37,
        }
    }

    /// Looks a name up, without regard to case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kem| kem.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Kem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for DhGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
