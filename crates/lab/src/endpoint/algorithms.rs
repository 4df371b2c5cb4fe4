//! The algorithm lists of AWS's tunnel options, and the proposals they amount to.

use clap::ValueEnum;
use ike::crypto::{IkeCipher, Integrity, Prf};
use ike::wire::DhGroup;
use ike::{EspCipher, EspProposal, IkeProposal};
use model::KeyBits;

/// A value of `Phase1EncryptionAlgorithms` or `Phase2EncryptionAlgorithms`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Encryption {
    /// AES-CBC with 128 bits.
    #[value(name = "AES128")]
    Aes128,
    /// AES-CBC with 256 bits.
    #[value(name = "AES256")]
    Aes256,
    /// AES-GCM-16 with 128 bits.
    #[value(name = "AES128-GCM-16")]
    Aes128Gcm16,
    /// AES-GCM-16 with 256 bits.
    #[value(name = "AES256-GCM-16")]
    Aes256Gcm16,
}

impl Encryption {
    /// All four, AWS's default.
    pub const ALL: [Self; 4] = [Self::Aes128, Self::Aes256, Self::Aes128Gcm16, Self::Aes256Gcm16];

    /// Whether it brings its own integrity.
    pub const fn is_aead(self) -> bool {
        matches!(self, Self::Aes128Gcm16 | Self::Aes256Gcm16)
    }

    const fn bits(self) -> KeyBits {
        match self {
            Self::Aes128 | Self::Aes128Gcm16 => KeyBits::B128,
            Self::Aes256 | Self::Aes256Gcm16 => KeyBits::B256,
        }
    }

    const fn ike(self) -> IkeCipher {
        if self.is_aead() { IkeCipher::AesGcm16(self.bits()) } else { IkeCipher::AesCbc(self.bits()) }
    }

    const fn esp(self) -> EspCipher {
        if self.is_aead() { EspCipher::AesGcm16(self.bits()) } else { EspCipher::AesCbc(self.bits()) }
    }

    /// strongSwan's word for it.
    pub const fn swanctl(self) -> &'static str {
        match self {
            Self::Aes128 => "aes128",
            Self::Aes256 => "aes256",
            Self::Aes128Gcm16 => "aes128gcm16",
            Self::Aes256Gcm16 => "aes256gcm16",
        }
    }

    /// AWS's word for it.
    pub const fn aws(self) -> &'static str {
        match self {
            Self::Aes128 => "AES128",
            Self::Aes256 => "AES256",
            Self::Aes128Gcm16 => "AES128-GCM-16",
            Self::Aes256Gcm16 => "AES256-GCM-16",
        }
    }
}

/// A value of `Phase1IntegrityAlgorithms` or `Phase2IntegrityAlgorithms`; in IKEv2 it names the PRF too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Hash {
    /// SHA-1.
    #[value(name = "SHA1")]
    Sha1,
    /// SHA2-256.
    #[value(name = "SHA2-256")]
    Sha2_256,
    /// SHA2-384.
    #[value(name = "SHA2-384")]
    Sha2_384,
    /// SHA2-512.
    #[value(name = "SHA2-512")]
    Sha2_512,
}

impl Hash {
    /// All four, AWS's default.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha2_256, Self::Sha2_384, Self::Sha2_512];

    const fn prf(self) -> Prf {
        match self {
            Self::Sha1 => Prf::HmacSha1,
            Self::Sha2_256 => Prf::HmacSha2_256,
            Self::Sha2_384 => Prf::HmacSha2_384,
            Self::Sha2_512 => Prf::HmacSha2_512,
        }
    }

    const fn integrity(self) -> Integrity {
        match self {
            Self::Sha1 => Integrity::HmacSha1_96,
            Self::Sha2_256 => Integrity::HmacSha2_256_128,
            Self::Sha2_384 => Integrity::HmacSha2_384_192,
            Self::Sha2_512 => Integrity::HmacSha2_512_256,
        }
    }

    /// strongSwan's word for the integrity algorithm; with `prf` in front, for the PRF.
    pub const fn swanctl(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha2_256 => "sha256",
            Self::Sha2_384 => "sha384",
            Self::Sha2_512 => "sha512",
        }
    }

    /// AWS's word for it.
    pub const fn aws(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha2_256 => "SHA2-256",
            Self::Sha2_384 => "SHA2-384",
            Self::Sha2_512 => "SHA2-512",
        }
    }
}

/// What a tunnel's options allow in one phase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allowed {
    /// Encryption algorithms.
    pub encryption: Vec<Encryption>,
    /// Integrity algorithms, not used as such with GCM.
    pub integrity: Vec<Hash>,
    /// Diffie-Hellman groups by their IANA numbers.
    pub groups: Vec<u16>,
}

impl Allowed {
    /// AWS's default in phase 1. Of its groups 22-24 are left out: RFC 8247 §2.4 says MUST NOT or SHOULD NOT.
    pub fn phase1() -> Self {
        Self {
            encryption: Encryption::ALL.to_vec(),
            integrity: Hash::ALL.to_vec(),
            groups: [2].into_iter().chain(14..=21).collect(),
        }
    }

    /// AWS's default in phase 2, without groups 5 (no stronger than 2 is worth) and 22-24.
    pub fn phase2() -> Self {
        Self::phase1()
    }

    fn split(&self) -> [Vec<Encryption>; 2] {
        [false, true].map(|aead| self.encryption.iter().copied().filter(|e| e.is_aead() == aead).collect())
    }

    /// One proposal for the CBC ciphers, one for the AEAD ones (RFC 5282 §8: they do not mix).
    pub fn ike_proposals(&self) -> Vec<IkeProposal> {
        let groups: Vec<DhGroup> = self.groups.iter().copied().map(DhGroup).collect();
        let prf: Vec<Prf> = self.integrity.iter().map(|hash| hash.prf()).collect();
        let kinds = self.split().into_iter().filter(|ciphers| !ciphers.is_empty());
        kinds
            .map(|ciphers| IkeProposal {
                integrity: self.integrity_for(&ciphers),
                encryption: ciphers.into_iter().map(Encryption::ike).collect(),
                prf: prf.clone(),
                groups: groups.clone(),
                additional: Vec::new(),
            })
            .collect()
    }

    /// As [`Self::ike_proposals`], for the child SA; AWS has no extended sequence numbers.
    pub fn esp_proposals(&self) -> Vec<EspProposal> {
        let groups: Vec<DhGroup> = self.groups.iter().copied().map(DhGroup).collect();
        let kinds = self.split().into_iter().filter(|ciphers| !ciphers.is_empty());
        kinds
            .map(|ciphers| EspProposal {
                integrity: self.integrity_for(&ciphers),
                encryption: ciphers.into_iter().map(Encryption::esp).collect(),
                groups: groups.clone(),
                additional: Vec::new(),
                esn: vec![false],
            })
            .collect()
    }

    fn integrity_for(&self, ciphers: &[Encryption]) -> Vec<Integrity> {
        if ciphers.iter().any(|cipher| cipher.is_aead()) {
            return Vec::new();
        }
        self.integrity.iter().map(|hash| hash.integrity()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_allows_everything_in_one_proposal_per_kind_of_cipher() {
        let [cbc, gcm] = Allowed::phase1().ike_proposals().try_into().unwrap();
        assert_eq!(
            (cbc.encryption.len(), cbc.integrity.len(), cbc.prf.len(), cbc.groups.len()),
            (2, 4, 4, 9)
        );
        assert_eq!((gcm.encryption.len(), gcm.integrity.len(), gcm.prf.len()), (2, 0, 4));
    }

    #[test]
    fn one_cipher_makes_one_proposal() {
        let only = Allowed {
            encryption: vec![Encryption::Aes256Gcm16],
            integrity: vec![Hash::Sha2_384],
            groups: vec![20],
        };
        assert_eq!(only.ike_proposals().len(), 1);
        assert_eq!(only.esp_proposals()[0].groups, vec![DhGroup::ECP_384]);
    }
}
