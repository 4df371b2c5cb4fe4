//! AES-CBC with an HMAC over the ciphertext. RFC 3602, RFC 2404, RFC 4868.

use aes::cipher::{
    Array, Block, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit,
};
use aes::{Aes128Dec, Aes128Enc, Aes256Dec, Aes256Enc};
use model::{EspIntegrity, EspKeys, EspTransform, KeyBits, Spi};
use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{KeyError, Sequence};
use crate::ESP_HEADER_LEN;

const IV_LEN: usize = 16;
/// Separates the key of the IV generator from every other use of the encryption key.
const IV_KEY_LABEL: &[u8] = b"cgwd esp cbc iv generator";

struct Mac {
    key: hmac::Key,
    icv_len: usize,
}

enum Encryptor {
    B128(Aes128Enc),
    B256(Aes256Enc),
}

enum Decryptor {
    B128(Aes128Dec),
    B256(Aes256Dec),
}

pub(crate) struct CbcSealer {
    cipher: Encryptor,
    iv_cipher: Aes256Enc,
    mac: Mac,
}

pub(crate) struct CbcOpener {
    cipher: Decryptor,
    mac: Mac,
}

impl Mac {
    fn new(integrity: EspIntegrity, keys: &EspKeys) -> Self {
        let algorithm = match integrity {
            EspIntegrity::HmacSha1_96 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            EspIntegrity::HmacSha2_256_128 => hmac::HMAC_SHA256,
            EspIntegrity::HmacSha2_384_192 => hmac::HMAC_SHA384,
            EspIntegrity::HmacSha2_512_256 => hmac::HMAC_SHA512,
        };
        Self { key: hmac::Key::new(algorithm, keys.integrity.expose()), icv_len: integrity.icv_len() }
    }

    //= RFC 4303 §3.3.2.1 (2.2.1 for the order)
    //# The ICV covers the packet from the SPI to the next header; with extended sequence numbers the upper
    //# 32 bits follow as if they were appended, without being sent.
    fn tag(&self, sequence: Sequence, covered: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(covered);
        if sequence.esn {
            context.update(&sequence.high());
        }
        context.sign()
    }

    fn matches(&self, sequence: Sequence, covered: &[u8], icv: &[u8]) -> bool {
        let tag = self.tag(sequence, covered);
        tag.as_ref().get(..self.icv_len).is_some_and(|expected| expected.ct_eq(icv).into())
    }
}

fn key_error(bits: KeyBits, integrity: EspIntegrity, got: usize) -> KeyError {
    KeyError {
        transform: EspTransform::AesCbc(bits, integrity),
        what: "encryption",
        expected: bits.octets(),
        got,
    }
}

impl CbcSealer {
    pub(super) fn new(bits: KeyBits, integrity: EspIntegrity, keys: &EspKeys) -> Result<Self, KeyError> {
        let key = keys.encryption.expose();
        let refused = |_| key_error(bits, integrity, key.len());
        let cipher = match bits {
            KeyBits::B128 => Encryptor::B128(Aes128Enc::new_from_slice(key).map_err(refused)?),
            KeyBits::B256 => Encryptor::B256(Aes256Enc::new_from_slice(key).map_err(refused)?),
        };
        // A pseudo-random function of the SA's secret key, so the peer-visible IVs say nothing about it and no
        // second source of randomness is needed.
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), IV_KEY_LABEL);
        let mut iv_key = Zeroizing::new([0; 32]);
        iv_key.copy_from_slice(derived.as_ref());
        let iv_cipher = Aes256Enc::new(Array::cast_from_core(&iv_key));
        Ok(Self { cipher, iv_cipher, mac: Mac::new(integrity, keys) })
    }

    pub(super) fn seal(&self, spi: Spi, sequence: Sequence, packet: &mut [u8]) -> Option<()> {
        let covered_len = packet.len().checked_sub(self.mac.icv_len)?;
        let (covered, icv) = packet.split_at_mut_checked(covered_len)?;
        let (header, rest) = covered.split_first_chunk_mut::<ESP_HEADER_LEN>()?;
        let (iv, body) = rest.split_first_chunk_mut::<IV_LEN>()?;
        let (header_spi, header_sequence) = header.split_at_mut(4);
        header_spi.copy_from_slice(&spi.get().to_be_bytes());
        header_sequence.copy_from_slice(&sequence.low());
        *iv = self.iv(sequence);
        let (blocks, rest) = Block::<Aes128Enc>::slice_as_chunks_mut(body);
        if !rest.is_empty() {
            return None;
        }
        let iv = Array::cast_from_core(&*iv);
        match &self.cipher {
            Encryptor::B128(key) => cbc::Encryptor::inner_iv_init(key, iv).encrypt_blocks(blocks),
            Encryptor::B256(key) => cbc::Encryptor::inner_iv_init(key, iv).encrypt_blocks(blocks),
        }
        icv.copy_from_slice(self.mac.tag(sequence, covered).as_ref().get(..self.mac.icv_len)?);
        Some(())
    }

    //= RFC 3602 §3
    //# The IV must be random and unpredictable, and no counter. It is the packet counter, which never repeats,
    //# encrypted with a second key that only this SA has (NIST SP 800-38A appendix C, the first method).
    fn iv(&self, sequence: Sequence) -> [u8; IV_LEN] {
        let mut block = Block::<Aes256Enc>::from(u128::from(sequence.value).to_be_bytes());
        self.iv_cipher.encrypt_block(&mut block);
        block.into()
    }
}

impl CbcOpener {
    pub(super) fn new(bits: KeyBits, integrity: EspIntegrity, keys: &EspKeys) -> Result<Self, KeyError> {
        let key = keys.encryption.expose();
        let refused = |_| key_error(bits, integrity, key.len());
        let cipher = match bits {
            KeyBits::B128 => Decryptor::B128(Aes128Dec::new_from_slice(key).map_err(refused)?),
            KeyBits::B256 => Decryptor::B256(Aes256Dec::new_from_slice(key).map_err(refused)?),
        };
        Ok(Self { cipher, mac: Mac::new(integrity, keys) })
    }

    pub(super) fn open<'p>(&self, sequence: Sequence, packet: &'p mut [u8]) -> Option<&'p mut [u8]> {
        let covered_len = packet.len().checked_sub(self.mac.icv_len)?;
        let (covered, icv) = packet.split_at_mut_checked(covered_len)?;
        // Verify first: nothing of an unauthenticated packet reaches the cipher, so there is no padding oracle.
        if !self.mac.matches(sequence, covered, icv) {
            return None;
        }
        let (_, rest) = covered.split_first_chunk_mut::<ESP_HEADER_LEN>()?;
        let (iv, body) = rest.split_first_chunk_mut::<IV_LEN>()?;
        let (blocks, rest) = Block::<Aes128Dec>::slice_as_chunks_mut(body);
        if !rest.is_empty() {
            return None;
        }
        let iv = Array::cast_from_core(&*iv);
        match &self.cipher {
            Decryptor::B128(key) => cbc::Decryptor::inner_iv_init(key, iv).decrypt_blocks(blocks),
            Decryptor::B256(key) => cbc::Decryptor::inner_iv_init(key, iv).decrypt_blocks(blocks),
        }
        Some(body)
    }
}
