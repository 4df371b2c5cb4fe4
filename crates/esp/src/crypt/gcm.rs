//! AES-GCM with a 16-octet ICV. RFC 4106.

use model::{EspKeys, EspTransform, KeyBits, Spi};

use super::aead::{Aead, AeadProvider};
use super::{KeyError, Sequence};
use crate::ESP_HEADER_LEN;

const SALT_LEN: usize = 4;
const IV_LEN: usize = 8;
const TAG_LEN: usize = 16;

/// One direction's key and salt.
pub(crate) struct Gcm {
    key: Aead,
    salt: [u8; SALT_LEN],
}

impl Gcm {
    pub(super) fn new(provider: AeadProvider, bits: KeyBits, keys: &EspKeys) -> Result<Self, KeyError> {
        let transform = EspTransform::AesGcm16(bits);
        let refused = || KeyError {
            transform,
            what: "encryption",
            expected: transform.encryption_key_len(),
            got: keys.encryption.len(),
        };
        //= RFC 4106 §8.1
        //# KEYMAT is the AES key followed by four octets of salt.
        let (key, salt) = keys.encryption.expose().split_last_chunk::<SALT_LEN>().ok_or_else(refused)?;
        let key = Aead::new(provider, bits, key).ok_or_else(refused)?;
        Ok(Self { key, salt: *salt })
    }

    #[inline]
    pub(super) fn seal(&self, spi: Spi, sequence: Sequence, packet: &mut [u8]) -> Option<()> {
        let (header, rest) = packet.split_first_chunk_mut::<ESP_HEADER_LEN>()?;
        let (iv, rest) = rest.split_first_chunk_mut::<IV_LEN>()?;
        let (body, icv) = rest.split_last_chunk_mut::<TAG_LEN>()?;
        let spi = spi.get().to_be_bytes();
        *header = join(spi, sequence.low());
        //= RFC 4106 §3.1
        //# The IV must never repeat under one key. The 64-bit packet counter does not, and needs no randomness.
        *iv = sequence.value.to_be_bytes();
        let nonce = self.nonce(*iv);
        if sequence.esn {
            self.key.seal(nonce, &extended_aad(spi, sequence), body, icv)
        } else {
            self.key.seal(nonce, header, body, icv)
        }
    }

    #[inline]
    pub(super) fn open<'p>(&self, sequence: Sequence, packet: &'p mut [u8]) -> Option<&'p mut [u8]> {
        let (header, rest) = packet.split_first_chunk_mut::<ESP_HEADER_LEN>()?;
        let (iv, body) = rest.split_first_chunk_mut::<IV_LEN>()?;
        let nonce = self.nonce(*iv);
        if sequence.esn {
            let [a, b, c, d, ..] = *header;
            self.key.open(nonce, &extended_aad([a, b, c, d], sequence), body)
        } else {
            self.key.open(nonce, header, body)
        }
    }

    fn nonce(&self, iv: [u8; IV_LEN]) -> [u8; 12] {
        let [s0, s1, s2, s3] = self.salt;
        let [a, b, c, d, e, f, g, h] = iv;
        [s0, s1, s2, s3, a, b, c, d, e, f, g, h]
    }
}

const fn join(a: [u8; 4], b: [u8; 4]) -> [u8; 8] {
    let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a, b);
    [a0, a1, a2, a3, b0, b1, b2, b3]
}

//= RFC 4106 §5
//# With extended sequence numbers the AAD is SPI and all 64 bits, twelve octets in wire order.
fn extended_aad(spi: [u8; 4], sequence: Sequence) -> [u8; 12] {
    let [s0, s1, s2, s3] = spi;
    let [a, b, c, d, e, f, g, h] = sequence.value.to_be_bytes();
    [s0, s1, s2, s3, a, b, c, d, e, f, g, h]
}
