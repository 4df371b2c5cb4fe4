//! Diffie-Hellman modulo a safe prime: groups 2, 5, 14-18 (RFC 7296 Appendix B, RFC 3526).
//!
//! The exponentiation runs in constant time for its exponent length, which is fixed per group. The generator
//! is 2 everywhere, and generates the subgroup of prime order (p-1)/2, so a value other than 0, 1, p-1 has that
//! order and no private bit but one can leak (RFC 6989 §2.1).

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U640, U1024, U1536, U2048, U3072, U4096, U6144, U8192, Uint};
use model::{Secret, SecureRng};
use zeroize::{Zeroize, Zeroizing};

use super::{BadPublicValue, primes};
use crate::wire::DhGroup;

/// Octets of the longest private exponent, group 18's.
const EXPONENT_MAX: usize = 80;

/// One group's prime and the length of its private exponents.
#[derive(Clone, Copy)]
struct Modp {
    group: DhGroup,
    prime: &'static str,
    /// Bits of a private exponent, the highest one set: at least twice the group's strength by the upper
    /// estimate of RFC 3526 §8 (group 18: 310 bits).
    exponent_bits: u32,
}

fn lookup(group: DhGroup) -> Option<Modp> {
    let (prime, exponent_bits) = match group {
        DhGroup::MODP_1024 => (primes::MODP_1024, 256),
        DhGroup::MODP_1536 => (primes::MODP_1536, 256),
        DhGroup::MODP_2048 => (primes::MODP_2048, 320),
        DhGroup::MODP_3072 => (primes::MODP_3072, 448),
        DhGroup::MODP_4096 => (primes::MODP_4096, 512),
        DhGroup::MODP_6144 => (primes::MODP_6144, 576),
        DhGroup::MODP_8192 => (primes::MODP_8192, 640),
        _ => return None,
    };
    Some(Modp { group, prime, exponent_bits })
}

/// A peer's value, if it may be used.
fn parse<const LIMBS: usize>(
    group: DhGroup,
    prime: &str,
    value: &[u8],
) -> Result<Uint<LIMBS>, BadPublicValue> {
    // The length comes first: `from_be_slice` is for exactly this many octets.
    let expected = Uint::<LIMBS>::BYTES;
    if value.len() != expected {
        return Err(BadPublicValue::Length { group, expected, received: value.len() });
    }
    let value = Uint::from_be_slice(value);
    let prime = Odd::<Uint<LIMBS>>::from_be_hex(prime);
    //= RFC 6989 §2.1: 1 < y < p-1.
    if value <= Uint::ONE || value >= prime.wrapping_sub(&Uint::ONE) {
        return Err(BadPublicValue::Value(group));
    }
    Ok(value)
}

/// What [`Private::agree`] asks of a peer's value, without a private key and without arithmetic.
pub(super) fn check(group: DhGroup, peer: &[u8]) -> Result<(), BadPublicValue> {
    let Some(Modp { prime, .. }) = lookup(group) else { return Err(BadPublicValue::Value(group)) };
    match group {
        DhGroup::MODP_1024 => parse::<{ U1024::LIMBS }>(group, prime, peer).map(drop),
        DhGroup::MODP_1536 => parse::<{ U1536::LIMBS }>(group, prime, peer).map(drop),
        DhGroup::MODP_2048 => parse::<{ U2048::LIMBS }>(group, prime, peer).map(drop),
        DhGroup::MODP_3072 => parse::<{ U3072::LIMBS }>(group, prime, peer).map(drop),
        DhGroup::MODP_4096 => parse::<{ U4096::LIMBS }>(group, prime, peer).map(drop),
        DhGroup::MODP_6144 => parse::<{ U6144::LIMBS }>(group, prime, peer).map(drop),
        DhGroup::MODP_8192 => parse::<{ U8192::LIMBS }>(group, prime, peer).map(drop),
        other => Err(BadPublicValue::Value(other)),
    }
}

/// A private exponent with the group it belongs to.
#[cfg_attr(feature = "fork", derive(Clone))]
pub(super) struct Private {
    modp: Modp,
    /// Big endian, as long as [`EXPONENT_MAX`], zeros in front.
    exponent: Zeroizing<[u8; EXPONENT_MAX]>,
}

impl Private {
    /// Draws an exponent; `None` when the group is not MODP.
    pub(super) fn generate(group: DhGroup, rng: &mut dyn SecureRng) -> Option<Self> {
        let modp = lookup(group)?;
        let mut exponent = Zeroizing::new([0; EXPONENT_MAX]);
        let octets = usize::try_from(modp.exponent_bits / 8).ok()?;
        let drawn = exponent.get_mut(EXPONENT_MAX.checked_sub(octets)?..)?;
        rng.fill(drawn);
        if let Some(highest) = drawn.first_mut() {
            *highest |= 0x80;
        }
        Some(Self { modp, exponent })
    }

    /// g^x mod p, as long as the modulus (RFC 7296 §3.4).
    pub(super) fn public(&self) -> Vec<u8> {
        self.dispatch(None).map(|secret| secret.expose().to_vec()).unwrap_or_default()
    }

    /// y^x mod p, as long as the modulus (RFC 7296 §2.14).
    pub(super) fn agree(&self, peer: &[u8]) -> Result<Secret, BadPublicValue> {
        self.dispatch(Some(peer))
    }

    /// Raises the generator (`None`) or a peer's value to the private exponent, in integers of the right size.
    fn dispatch(&self, base: Option<&[u8]>) -> Result<Secret, BadPublicValue> {
        match self.modp.group {
            DhGroup::MODP_1024 => self.power::<{ U1024::LIMBS }>(base),
            DhGroup::MODP_1536 => self.power::<{ U1536::LIMBS }>(base),
            DhGroup::MODP_2048 => self.power::<{ U2048::LIMBS }>(base),
            DhGroup::MODP_3072 => self.power::<{ U3072::LIMBS }>(base),
            DhGroup::MODP_4096 => self.power::<{ U4096::LIMBS }>(base),
            DhGroup::MODP_6144 => self.power::<{ U6144::LIMBS }>(base),
            DhGroup::MODP_8192 => self.power::<{ U8192::LIMBS }>(base),
            other => Err(BadPublicValue::Value(other)),
        }
    }

    fn power<const LIMBS: usize>(&self, base: Option<&[u8]>) -> Result<Secret, BadPublicValue> {
        let Modp { group, prime, exponent_bits } = self.modp;
        let base = match base {
            None => Uint::from_u8(2),
            Some(value) => parse::<LIMBS>(group, prime, value)?,
        };
        let prime = Odd::<Uint<LIMBS>>::from_be_hex(prime);
        let params = FixedMontyParams::new_vartime(prime);
        let exponent = Zeroizing::new(U640::from_be_slice(self.exponent.as_slice()));
        let mut power = FixedMontyForm::new(&base, &params).pow_bounded_exp(&exponent, exponent_bits);
        let result = Zeroizing::new(power.retrieve());
        power.as_montgomery_mut().zeroize();
        let mut octets = result.to_be_bytes();
        let secret = Secret::from(octets.as_slice());
        octets.as_mut_slice().zeroize();
        Ok(secret)
    }
}
