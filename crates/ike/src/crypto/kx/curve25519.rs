//! Diffie-Hellman on Curve25519: group 31 (RFC 8031, RFC 7748).

use model::{Secret, SecureRng};
use subtle::ConstantTimeEq;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

use super::BadPublicValue;
use crate::wire::DhGroup;

/// Octets of a private key, a public value and a shared secret.
const LEN: usize = 32;

/// A private key; clamped when used (RFC 7748 §5).
pub(super) struct Private(Zeroizing<[u8; LEN]>);

impl Private {
    pub(super) fn generate(rng: &mut dyn SecureRng) -> Self {
        let mut key = Zeroizing::new([0; LEN]);
        rng.fill(key.as_mut_slice());
        Self(key)
    }

    pub(super) fn public(&self) -> Vec<u8> {
        x25519(*self.0, X25519_BASEPOINT_BYTES).to_vec()
    }

    pub(super) fn agree(&self, peer: &[u8]) -> Result<Secret, BadPublicValue> {
        let group = DhGroup::CURVE25519;
        let peer = <[u8; LEN]>::try_from(peer).map_err(|_| BadPublicValue::Length {
            group,
            expected: LEN,
            received: peer.len(),
        })?;
        let shared = Zeroizing::new(x25519(*self.0, peer));
        //= RFC 8031 §3.2, RFC 7748 §6.1: an all-zero secret comes from a point of small order; refuse it.
        if shared.ct_eq(&[0; LEN]).into() {
            return Err(BadPublicValue::Value(group));
        }
        Ok(Secret::from(shared.as_slice()))
    }
}
