//! One direction's cipher: the body of an encrypted payload, IV | ciphertext | ICV, in place.
//!
//! AES-GCM by RFC 5282 (the last four octets of SK_e are the salt, the 8-octet IV is a counter, the ICV has 16
//! octets), AES-CBC with HMAC by RFC 7296 §3.14 (random IV; the HMAC is over the message up to the ICV).

use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes::{Aes128, Aes256};
use model::{KeyBits, Secret, SecureRng};
use ring::aead;
use subtle::ConstantTimeEq;

use super::algorithm::{IkeCipher, Integrity, Suite};
use super::prf::integrity_icv;

/// AES-GCM: octets of salt, of the explicit IV, of the ICV (RFC 5282 §4, §7.1).
const SALT: usize = 4;
const GCM_IV: usize = 8;
const GCM_ICV: usize = 16;
/// AES-CBC: octets of a block, and of the IV (RFC 3602 §2).
const BLOCK: usize = 16;

/// Keys and state of one direction.
#[cfg_attr(feature = "fork", derive(Clone))]
pub(super) enum Cipher {
    /// AEAD.
    Gcm {
        /// The key, ready for use.
        key: Box<aead::LessSafeKey>,
        /// First four octets of every nonce.
        salt: [u8; SALT],
        /// IV of the next message. 2^64 messages are out of reach: message IDs have 32 bits.
        counter: u64,
    },
    /// Encrypt, then MAC.
    Cbc {
        /// The key's size.
        bits: KeyBits,
        /// SK_e.
        key: Secret,
        /// The MAC.
        integrity: Integrity,
        /// SK_a.
        integrity_key: Secret,
    },
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gcm { .. } => "AES-GCM",
            Self::Cbc { .. } => "AES-CBC",
        })
    }
}

impl Cipher {
    /// `None` when the suite is no valid combination, or the keys are not of its sizes.
    pub(super) fn new(suite: &Suite, key: &Secret, integrity_key: &Secret) -> Option<Self> {
        if key.len() != suite.cipher.key_len() {
            return None;
        }
        match (suite.cipher, suite.integrity) {
            (IkeCipher::AesGcm16(bits), None) => {
                let (key, salt) = key.expose().split_last_chunk::<SALT>()?;
                let algorithm = match bits {
                    KeyBits::B128 => &aead::AES_128_GCM,
                    KeyBits::B256 => &aead::AES_256_GCM,
                };
                let key = Box::new(aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).ok()?));
                Some(Self::Gcm { key, salt: *salt, counter: 0 })
            }
            (IkeCipher::AesCbc(bits), Some(integrity)) if integrity_key.len() == integrity.key_len() => {
                let integrity_key = integrity_key.clone();
                Some(Self::Cbc { bits, key: key.clone(), integrity, integrity_key })
            }
            _ => None,
        }
    }

    /// Room for a sealed body: IV and ICV zero, between them the plaintext, its padding and Pad Length.
    ///
    /// The padding is the shortest that aligns: none for GCM (RFC 5282 §3), up to the block for CBC. Its
    /// octets are zero; any content is allowed (RFC 7296 §3.14).
    pub(super) fn frame(&self, plaintext: &[u8]) -> Vec<u8> {
        let padding = match self {
            Self::Gcm { .. } => 0,
            Self::Cbc { .. } => (BLOCK - (plaintext.len() + 1) % BLOCK) % BLOCK,
        };
        let (iv, icv) = self.overhead();
        let mut body = Vec::with_capacity(iv + plaintext.len() + padding + 1 + icv);
        body.resize(iv, 0);
        body.extend_from_slice(plaintext);
        body.resize(body.len() + padding, 0);
        body.push(u8::try_from(padding).unwrap_or_default());
        body.resize(body.len() + icv, 0);
        body
    }

    /// Octets of what [`Self::frame`] makes of `plaintext` octets.
    pub(super) const fn framed_len(&self, plaintext: usize) -> usize {
        let (iv, icv) = self.overhead();
        let padding = match self {
            Self::Gcm { .. } => 0,
            Self::Cbc { .. } => (BLOCK - (plaintext + 1) % BLOCK) % BLOCK,
        };
        iv + plaintext + padding + 1 + icv
    }

    /// Octets of plaintext that a body of at most `body` octets holds.
    pub(super) const fn room(&self, body: usize) -> usize {
        let (iv, icv) = self.overhead();
        let ciphertext = body.saturating_sub(iv + icv);
        match self {
            Self::Gcm { .. } => ciphertext.saturating_sub(1),
            Self::Cbc { .. } => (ciphertext - ciphertext % BLOCK).saturating_sub(1),
        }
    }

    /// Octets of IV and of ICV.
    const fn overhead(&self) -> (usize, usize) {
        match self {
            Self::Gcm { .. } => (GCM_IV, GCM_ICV),
            Self::Cbc { integrity, .. } => (BLOCK, integrity.icv_len()),
        }
    }

    /// Whether a body of `length` octets can hold IV, Pad Length and ICV, in whole blocks.
    pub(super) fn fits(&self, length: usize) -> bool {
        let (iv, icv) = self.overhead();
        length.checked_sub(iv + icv).is_some_and(|ciphertext| match self {
            Self::Gcm { .. } => ciphertext > 0,
            Self::Cbc { .. } => ciphertext > 0 && ciphertext % BLOCK == 0,
        })
    }

    /// Encrypts what [`Self::frame`] made, in place; `associated` is the message before it. `None` when the
    /// body was not framed for this cipher.
    pub(super) fn seal(&mut self, associated: &[u8], body: &mut [u8], rng: &mut dyn SecureRng) -> Option<()> {
        let (iv_len, icv_len) = self.overhead();
        let (iv, rest) = body.split_at_mut_checked(iv_len)?;
        let (data, icv) = rest.split_at_mut_checked(rest.len().checked_sub(icv_len)?)?;
        match self {
            Self::Gcm { key, salt, counter } => {
                iv.copy_from_slice(&counter.to_be_bytes());
                *counter = counter.checked_add(1)?;
                let nonce = nonce(salt, iv)?;
                let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from(associated), data).ok()?;
                icv.copy_from_slice(tag.as_ref());
            }
            Self::Cbc { bits, key, integrity, integrity_key } => {
                // A predictable CBC IV is CVE-2022-46397; it comes from the generator, every time anew.
                rng.fill(iv);
                let length = data.len();
                match bits {
                    KeyBits::B128 => cbc::Encryptor::<Aes128>::new_from_slices(key.expose(), iv)
                        .ok()?
                        .encrypt_padded::<NoPadding>(data, length)
                        .ok()?,
                    KeyBits::B256 => cbc::Encryptor::<Aes256>::new_from_slices(key.expose(), iv)
                        .ok()?
                        .encrypt_padded::<NoPadding>(data, length)
                        .ok()?,
                };
                icv.copy_from_slice(&integrity_icv(
                    *integrity,
                    integrity_key.expose(),
                    &[associated, iv, data],
                ));
            }
        }
        Some(())
    }

    /// Checks the ICV, then decrypts. `None` when the check fails; nothing is decrypted then.
    pub(super) fn open(&self, associated: &[u8], body: &[u8]) -> Option<Vec<u8>> {
        let (iv_len, icv_len) = self.overhead();
        let (iv, rest) = body.split_at_checked(iv_len)?;
        let (data, icv) = rest.split_at_checked(rest.len().checked_sub(icv_len)?)?;
        match self {
            Self::Gcm { key, salt, .. } => {
                let mut plain = rest.to_vec();
                let nonce = nonce(salt, iv)?;
                key.open_in_place(nonce, aead::Aad::from(associated), &mut plain).ok()?;
                plain.truncate(data.len());
                Some(plain)
            }
            Self::Cbc { bits, key, integrity, integrity_key } => {
                let expected = integrity_icv(*integrity, integrity_key.expose(), &[associated, iv, data]);
                if !bool::from(expected.ct_eq(icv)) {
                    return None;
                }
                let mut plain = data.to_vec();
                match bits {
                    KeyBits::B128 => cbc::Decryptor::<Aes128>::new_from_slices(key.expose(), iv)
                        .ok()?
                        .decrypt_padded::<NoPadding>(&mut plain)
                        .ok()?,
                    KeyBits::B256 => cbc::Decryptor::<Aes256>::new_from_slices(key.expose(), iv)
                        .ok()?
                        .decrypt_padded::<NoPadding>(&mut plain)
                        .ok()?,
                };
                Some(plain)
            }
        }
    }
}

/// Salt, then explicit IV (RFC 5282 §4).
fn nonce(salt: &[u8; SALT], iv: &[u8]) -> Option<aead::Nonce> {
    let mut nonce = [0; SALT + GCM_IV];
    let (front, back) = nonce.split_at_mut_checked(SALT)?;
    front.copy_from_slice(salt);
    back.copy_from_slice(iv.get(..GCM_IV)?);
    Some(aead::Nonce::assume_unique_for_key(nonce))
}

#[cfg(test)]
#[path = "cipher/wycheproof.rs"]
mod wycheproof_vectors;
