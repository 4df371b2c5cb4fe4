//! The ESP algorithms that AWS Site-to-Site VPN offers in phase 2, and their sizes.

use std::fmt;

/// AES key size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyBits {
    /// 128 bits.
    B128,
    /// 256 bits.
    B256,
}

impl KeyBits {
    /// Key length in octets.
    pub const fn octets(self) -> usize {
        match self {
            Self::B128 => 16,
            Self::B256 => 32,
        }
    }

    /// Key length in bits, as the Key Length attribute carries it (RFC 7296 §3.3.5).
    pub const fn bits(self) -> u16 {
        match self {
            Self::B128 => 128,
            Self::B256 => 256,
        }
    }
}

/// HMAC integrity for the CBC transforms (RFC 2404, RFC 4868).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EspIntegrity {
    /// AUTH_HMAC_SHA1_96.
    HmacSha1_96,
    /// AUTH_HMAC_SHA2_256_128.
    HmacSha2_256_128,
    /// AUTH_HMAC_SHA2_384_192.
    HmacSha2_384_192,
    /// AUTH_HMAC_SHA2_512_256.
    HmacSha2_512_256,
}

impl EspIntegrity {
    /// Key length in octets (the hash's full output, RFC 4868 §2.1.1).
    pub const fn key_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 20,
            Self::HmacSha2_256_128 => 32,
            Self::HmacSha2_384_192 => 48,
            Self::HmacSha2_512_256 => 64,
        }
    }

    /// Length of the truncated ICV in octets.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            Self::HmacSha2_256_128 => 16,
            Self::HmacSha2_384_192 => 24,
            Self::HmacSha2_512_256 => 32,
        }
    }

    /// The name in IANA's registry, without the `AUTH_` prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1_96 => "HMAC_SHA1_96",
            Self::HmacSha2_256_128 => "HMAC_SHA2_256_128",
            Self::HmacSha2_384_192 => "HMAC_SHA2_384_192",
            Self::HmacSha2_512_256 => "HMAC_SHA2_512_256",
        }
    }
}

/// How ESP protects a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EspTransform {
    /// AES-GCM with a 16-octet ICV (RFC 4106).
    AesGcm16(KeyBits),
    /// AES-CBC with an HMAC (RFC 3602).
    AesCbc(KeyBits, EspIntegrity),
}

impl EspTransform {
    /// Octets taken from KEYMAT for encryption: the key, and for GCM the salt.
    pub const fn encryption_key_len(self) -> usize {
        match self {
            Self::AesGcm16(bits) => bits.octets() + 4,
            Self::AesCbc(bits, _) => bits.octets(),
        }
    }

    /// Octets taken from KEYMAT for integrity; zero for AEAD.
    pub const fn integrity_key_len(self) -> usize {
        match self {
            Self::AesGcm16(_) => 0,
            Self::AesCbc(_, integrity) => integrity.key_len(),
        }
    }

    /// Length of the IV carried in each packet.
    pub const fn iv_len(self) -> usize {
        match self {
            Self::AesGcm16(_) => 8,
            Self::AesCbc(..) => 16,
        }
    }

    /// Length of the ICV carried in each packet.
    pub const fn icv_len(self) -> usize {
        match self {
            Self::AesGcm16(_) => 16,
            Self::AesCbc(_, integrity) => integrity.icv_len(),
        }
    }

    /// The encrypted part is a multiple of this many octets (RFC 4303 §2.4).
    pub const fn alignment(self) -> usize {
        match self {
            Self::AesGcm16(_) => 4,
            Self::AesCbc(..) => 16,
        }
    }
}

impl fmt::Display for EspTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AesGcm16(bits) => write!(f, "AES_GCM_16_{}", bits.bits()),
            Self::AesCbc(bits, integrity) => write!(f, "AES_CBC_{}/{}", bits.bits(), integrity.name()),
        }
    }
}

/// What one child SA negotiated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EspSuite {
    /// Encryption and integrity.
    pub transform: EspTransform,
    /// 64-bit extended sequence numbers (RFC 4303 §2.2.1).
    pub esn: bool,
}

/// What carries ESP between the outside addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Encapsulation {
    /// UDP port 4500 (RFC 3948).
    Udp,
    /// IP protocol 50.
    Esp,
}

impl Encapsulation {
    /// The word used in `status --json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Esp => "esp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sizes_follow_the_registry() {
        let gcm = EspTransform::AesGcm16(KeyBits::B256);
        assert_eq!(gcm.to_string(), "AES_GCM_16_256");
        assert_eq!((gcm.encryption_key_len(), gcm.integrity_key_len()), (36, 0));
        let cbc = EspTransform::AesCbc(KeyBits::B128, EspIntegrity::HmacSha2_384_192);
        assert_eq!(cbc.to_string(), "AES_CBC_128/HMAC_SHA2_384_192");
        assert_eq!((cbc.encryption_key_len(), cbc.integrity_key_len(), cbc.icv_len()), (16, 48, 24));
    }
}
