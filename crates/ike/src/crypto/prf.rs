//! HMAC as PRF and as integrity, and the prf+ expansion (RFC 7296 §2.13, RFC 2104, RFC 4868).

use model::Secret;
use ring::hmac;
use zeroize::Zeroize;

use super::algorithm::{Integrity, Prf};

/// More key material was asked of prf+ than its one-octet counter can give (RFC 7296 §2.13: 255 blocks).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("prf+ ends after 255 blocks; that many octets of key material do not exist")]
pub struct KeyMaterialExhausted;

impl Prf {
    const fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha2_256 => hmac::HMAC_SHA256,
            Self::HmacSha2_384 => hmac::HMAC_SHA384,
            Self::HmacSha2_512 => hmac::HMAC_SHA512,
        }
    }

    /// prf(key, parts concatenated): [`Prf::output_len`] octets.
    pub fn compute(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let mut context = hmac::Context::with_key(&hmac::Key::new(self.algorithm(), key));
        for part in parts {
            context.update(part);
        }
        Secret::from(context.sign().as_ref())
    }
}

/// Truncated HMAC of the parts, as an integrity algorithm appends it (RFC 4868 §2.1).
pub(super) fn integrity_icv(integrity: Integrity, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let algorithm = match integrity {
        Integrity::HmacSha1_96 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Integrity::HmacSha2_256_128 => hmac::HMAC_SHA256,
        Integrity::HmacSha2_384_192 => hmac::HMAC_SHA384,
        Integrity::HmacSha2_512_256 => hmac::HMAC_SHA512,
    };
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in parts {
        context.update(part);
    }
    let mut icv = context.sign().as_ref().to_vec();
    icv.truncate(integrity.icv_len());
    icv
}

/// prf+ (RFC 7296 §2.13): `length` octets of T1 | T2 | ..., Tn = prf(key, Tn-1 | seed | n).
///
/// # Errors
/// When `length` needs more than 255 blocks.
pub fn prf_plus(prf: Prf, key: &[u8], seed: &[&[u8]], length: usize) -> Result<Secret, KeyMaterialExhausted> {
    let blocks = u8::try_from(length.div_ceil(prf.output_len())).map_err(|_| KeyMaterialExhausted)?;
    // Reserved in full beforehand: growing would leave copies of keys in freed memory.
    let mut out = Vec::with_capacity(usize::from(blocks) * prf.output_len());
    let mut previous = Secret::new(Vec::new());
    for counter in 1..=blocks {
        let mut parts = vec![previous.expose()];
        parts.extend_from_slice(seed);
        let counter = [counter];
        parts.push(&counter);
        let block = prf.compute(key, &parts);
        out.extend_from_slice(block.expose());
        previous = block;
    }
    if let Some(surplus) = out.get_mut(length..) {
        surplus.zeroize();
    }
    out.truncate(length);
    Ok(Secret::new(out))
}
