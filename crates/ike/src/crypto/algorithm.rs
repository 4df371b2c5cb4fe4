//! The algorithms we can run, and their numbers and names on the wire.

use std::fmt;

use model::KeyBits;

use crate::wire::{DhGroup, EncrId, IntegId, PrfId, Transform, TransformType};

/// Integrity for the CBC ciphers of IKE: the same transforms as for ESP, with the same key and ICV sizes
/// (RFC 2404, RFC 4868; RFC 7296 §3.3.2 transform type 3).
pub use model::EspIntegrity as Integrity;

/// How the encrypted payload is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IkeCipher {
    /// AES-GCM with a 16-octet ICV (RFC 5282); integrity included.
    AesGcm16(KeyBits),
    /// AES-CBC (RFC 3602); needs an [`Integrity`].
    AesCbc(KeyBits),
}

impl IkeCipher {
    /// All we can run.
    pub const ALL: [Self; 4] = [
        Self::AesGcm16(KeyBits::B256),
        Self::AesGcm16(KeyBits::B128),
        Self::AesCbc(KeyBits::B256),
        Self::AesCbc(KeyBits::B128),
    ];

    /// Whether the cipher brings its own integrity, so that no integrity transform is negotiated
    /// (RFC 5282 §8).
    pub const fn is_aead(self) -> bool {
        matches!(self, Self::AesGcm16(_))
    }

    /// Octets of SK_e: the key, and for GCM four octets of salt (RFC 5282 §7.1).
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesGcm16(bits) => bits.octets() + 4,
            Self::AesCbc(bits) => bits.octets(),
        }
    }

    /// The transform that offers this cipher, Key Length attribute included.
    pub fn transform(self) -> Transform {
        match self {
            Self::AesGcm16(bits) => Transform::encryption(EncrId::AES_GCM_16, Some(bits.bits())),
            Self::AesCbc(bits) => Transform::encryption(EncrId::AES_CBC, Some(bits.bits())),
        }
    }

    /// The cipher that a transform names; `None` for what we cannot run, a missing or odd key length, or an
    /// attribute we do not know (RFC 7296 §3.3.6).
    pub fn from_transform(transform: &Transform) -> Option<Self> {
        if transform.kind != TransformType::ENCR {
            return None;
        }
        let bits = match transform.key_bits()? {
            128 => KeyBits::B128,
            256 => KeyBits::B256,
            _ => return None,
        };
        match EncrId(transform.id) {
            EncrId::AES_GCM_16 => Some(Self::AesGcm16(bits)),
            EncrId::AES_CBC => Some(Self::AesCbc(bits)),
            _ => None,
        }
    }
}

impl fmt::Display for IkeCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AesGcm16(bits) => write!(f, "AES_GCM_16_{}", bits.bits()),
            Self::AesCbc(bits) => write!(f, "AES_CBC_{}", bits.bits()),
        }
    }
}

/// Pseudo-random functions (RFC 7296 §2.13, RFC 4868).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Prf {
    /// PRF_HMAC_SHA1.
    HmacSha1,
    /// PRF_HMAC_SHA2_256.
    HmacSha2_256,
    /// PRF_HMAC_SHA2_384.
    HmacSha2_384,
    /// PRF_HMAC_SHA2_512.
    HmacSha2_512,
}

impl Prf {
    /// All we can run, strongest first.
    pub const ALL: [Self; 4] = [Self::HmacSha2_512, Self::HmacSha2_384, Self::HmacSha2_256, Self::HmacSha1];

    /// Octets of output, and of the preferred key (RFC 7296 §2.13).
    pub const fn output_len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha2_256 => 32,
            Self::HmacSha2_384 => 48,
            Self::HmacSha2_512 => 64,
        }
    }

    /// Its number.
    pub const fn id(self) -> PrfId {
        match self {
            Self::HmacSha1 => PrfId::PRF_HMAC_SHA1,
            Self::HmacSha2_256 => PrfId::PRF_HMAC_SHA2_256,
            Self::HmacSha2_384 => PrfId::PRF_HMAC_SHA2_384,
            Self::HmacSha2_512 => PrfId::PRF_HMAC_SHA2_512,
        }
    }

    /// The transform that offers this PRF.
    pub const fn transform(self) -> Transform {
        Transform::prf(self.id())
    }

    /// The PRF with this number, if we can run it.
    pub fn from_id(id: PrfId) -> Option<Self> {
        Self::ALL.into_iter().find(|prf| prf.id() == id)
    }

    /// The PRF that a transform names.
    pub fn from_transform(transform: &Transform) -> Option<Self> {
        let plain = transform.kind == TransformType::PRF && transform.attributes.is_empty();
        Self::from_id(PrfId(transform.id)).filter(|_| plain)
    }
}

impl fmt::Display for Prf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id())
    }
}

impl From<Integrity> for IntegId {
    fn from(integrity: Integrity) -> Self {
        match integrity {
            Integrity::HmacSha1_96 => Self::HMAC_SHA1_96,
            Integrity::HmacSha2_256_128 => Self::HMAC_SHA2_256_128,
            Integrity::HmacSha2_384_192 => Self::HMAC_SHA2_384_192,
            Integrity::HmacSha2_512_256 => Self::HMAC_SHA2_512_256,
        }
    }
}

impl IntegId {
    /// All integrity algorithms we can run, strongest first.
    pub const SUPPORTED: [Integrity; 4] = [
        Integrity::HmacSha2_512_256,
        Integrity::HmacSha2_384_192,
        Integrity::HmacSha2_256_128,
        Integrity::HmacSha1_96,
    ];

    /// The algorithm with this number, if we can run it.
    pub fn algorithm(self) -> Option<Integrity> {
        Self::SUPPORTED.into_iter().find(|integrity| Self::from(*integrity) == self)
    }
}

/// What one IKE SA negotiated. `integrity` is `None` exactly for AEAD ciphers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Suite {
    /// Encryption of the SK payload.
    pub cipher: IkeCipher,
    /// PRF for keys and AUTH.
    pub prf: Prf,
    /// Integrity of the SK payload, for ciphers that have none.
    pub integrity: Option<Integrity>,
    /// Key exchange method.
    pub group: DhGroup,
}

/// As `status --json` shows it: `AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384`.
impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cipher)?;
        if let Some(integrity) = self.integrity {
            write!(f, "/{}", integrity.name())?;
        }
        write!(f, "/{}/{}", self.prf, self.group)
    }
}
