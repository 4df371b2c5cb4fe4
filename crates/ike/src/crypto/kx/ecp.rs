//! Diffie-Hellman on the NIST curves: groups 19, 20, 21 (RFC 5903).
//!
//! `ring` has P-256 and P-384, but draws private keys from the operating system only; a simulation that must
//! replay needs every key pair to come from the generator it is given. Hence the curves of one family of
//! pure Rust crates, P-521 (which `ring` lacks) included.

use elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, PublicKey, SecretKey, ecdh::diffie_hellman,
};
use model::{Secret, SecureRng};
use p256::elliptic_curve;
use zeroize::Zeroizing;

use super::BadPublicValue;
use crate::wire::DhGroup;

/// First octet of an uncompressed point (SEC 1 §2.3.3); IKE leaves it out (RFC 5903 §7).
const UNCOMPRESSED: u8 = 4;

/// Draws a private key: uniform in 1..n by rejection. `excess_bits` are those of the first octet that the
/// field does not use (7 for P-521).
pub(super) fn generate<C>(excess_bits: u32, rng: &mut dyn SecureRng) -> SecretKey<C>
where
    C: CurveArithmetic,
{
    let mut attempt: u8 = 0;
    loop {
        let mut octets = Zeroizing::new(FieldBytes::<C>::default());
        rng.fill(octets.as_mut_slice());
        // Uniform stays uniform under XOR with a constant, and a generator stuck at one value still gets out.
        if let Some(last) = octets.last_mut() {
            *last ^= attempt;
        }
        if let Some(first) = octets.first_mut() {
            *first = (*first ^ attempt) & 0xff_u8.unbounded_shr(excess_bits);
        }
        match SecretKey::from_bytes(&octets) {
            Ok(key) => return key,
            Err(_) => attempt = attempt.wrapping_add(1),
        }
    }
}

/// x | y, each as long as the field (RFC 5903 §7).
pub(super) fn public<C>(key: &SecretKey<C>) -> Vec<u8>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let point = key.public_key().as_affine().to_sec1_point(false);
    point.as_bytes().get(1..).unwrap_or_default().to_vec()
}

/// A peer's point, if it may be used: length, field range, curve equation and infinity (RFC 6989 §2.3).
fn parse<C>(group: DhGroup, peer: &[u8]) -> Result<PublicKey<C>, BadPublicValue>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let expected = 2 * FieldBytes::<C>::default().len();
    if peer.len() != expected {
        return Err(BadPublicValue::Length { group, expected, received: peer.len() });
    }
    let mut sec1 = Vec::with_capacity(expected + 1);
    sec1.push(UNCOMPRESSED);
    sec1.extend_from_slice(peer);
    PublicKey::<C>::from_sec1_bytes(&sec1).map_err(|_| BadPublicValue::Value(group))
}

/// What [`agree`] asks of a peer's value, without a private key.
pub(super) fn check<C>(group: DhGroup, peer: &[u8]) -> Result<(), BadPublicValue>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    parse::<C>(group, peer).map(drop)
}

/// The x coordinate of the common point (RFC 5903 §7); the peer's value is checked before any multiplication.
pub(super) fn agree<C>(group: DhGroup, key: &SecretKey<C>, peer: &[u8]) -> Result<Secret, BadPublicValue>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let peer = parse::<C>(group, peer)?;
    let shared = diffie_hellman(key.to_nonzero_scalar(), peer.as_affine());
    Ok(Secret::from(shared.raw_secret_bytes().as_slice()))
}
