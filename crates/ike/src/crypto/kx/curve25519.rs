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
#[cfg_attr(feature = "fork", derive(Clone))]
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
        let peer = parse(peer)?;
        let shared = Zeroizing::new(x25519(*self.0, peer));
        //= RFC 8031 §3.2, RFC 7748 §6.1: an all-zero secret comes from a point of small order; refuse it.
        if shared.ct_eq(&[0; LEN]).into() {
            return Err(BadPublicValue::Value(DhGroup::CURVE25519));
        }
        Ok(Secret::from(shared.as_slice()))
    }
}

fn parse(peer: &[u8]) -> Result<[u8; LEN], BadPublicValue> {
    <[u8; LEN]>::try_from(peer).map_err(|_| BadPublicValue::Length {
        group: DhGroup::CURVE25519,
        expected: LEN,
        received: peer.len(),
    })
}

/// What [`Private::agree`] asks of a peer's value, without a private key: no value of small order, whose secret
/// is zero for every key. [`Private::agree`] does not rely on this list.
pub(super) fn check(peer: &[u8]) -> Result<(), BadPublicValue> {
    let mut value = parse(peer)?;
    // The highest bit is ignored (RFC 7748 §5).
    if let Some(last) = value.last_mut() {
        *last &= 0x7f;
    }
    if SMALL_ORDER.contains(&value) { Err(BadPublicValue::Value(DhGroup::CURVE25519)) } else { Ok(()) }
}

/// The encodings below 2^255 of all u coordinates of order 1, 2, 4 and 8: 0 and 1, two of order 8, p-1, p, p+1.
const SMALL_ORDER: [[u8; LEN]; 7] = [
    [0; LEN],
    near_zero(1),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    near_p(0xec),
    near_p(0xed),
    near_p(0xee),
];

const fn near_zero(low: u8) -> [u8; LEN] {
    let mut value = [0; LEN];
    value[0] = low;
    value
}

const fn near_p(low: u8) -> [u8; LEN] {
    let mut value = [0xff; LEN];
    value[0] = low;
    value[LEN - 1] = 0x7f;
    value
}
