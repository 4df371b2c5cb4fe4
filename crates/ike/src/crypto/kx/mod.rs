//! Key exchange (RFC 7296 §2.12, §3.4): MODP, ECP and Curve25519; ML-KEM as an additional one (RFC 9370).
//!
//! Groups 1 and 22-24 are left out on purpose: RFC 8247 §2.4 says MUST NOT for 1 and 22, SHOULD NOT for 23
//! and 24 (small subgroups; RFC 6989 §2.2 would ask for a costly check). AWS offers them next to better ones,
//! so no connection needs them. Groups 2 and 5 are SHOULD NOT as well; they stay, last in the list, because 2 is
//! what AWS's downloads print and 5 is what AWS may be set to for perfect forward secrecy.

mod curve25519;
mod ecp;
mod mlkem;
mod modp;
mod primes;

use model::{Secret, SecureRng};

use crate::wire::DhGroup;

/// Bits of a P-521 field element's first octet that stay zero.
const P521_EXCESS_BITS: u32 = 7;

/// Groups we can run, the ones we would choose first in front.
pub const GROUPS: [DhGroup; 11] = [
    DhGroup::ECP_384,
    DhGroup::CURVE25519,
    DhGroup::ECP_256,
    DhGroup::ECP_521,
    DhGroup::MODP_3072,
    DhGroup::MODP_4096,
    DhGroup::MODP_6144,
    DhGroup::MODP_8192,
    DhGroup::MODP_2048,
    DhGroup::MODP_1536,
    DhGroup::MODP_1024,
];

/// Key encapsulation methods, for additional key exchanges only: IKE_SA_INIT cannot be fragmented, so the first
/// exchange stays a small classical one, and the hybrid is as strong as the stronger of the two (RFC 9370 §2).
pub const KEMS: [DhGroup; 3] = [DhGroup::ML_KEM_768, DhGroup::ML_KEM_1024, DhGroup::ML_KEM_512];

/// Whether [`KeyPair::generate`] knows the group, as a first key exchange.
pub fn is_supported(group: DhGroup) -> bool {
    GROUPS.contains(&group)
}

/// Whether the method is a key encapsulation: the responder answers with a ciphertext.
pub fn is_kem(method: DhGroup) -> bool {
    KEMS.contains(&method)
}

/// Whether the method can be an additional key exchange (RFC 9370).
pub fn is_supported_additional(method: DhGroup) -> bool {
    is_kem(method) || is_supported(method)
}

/// The responder's half of an exchange: what it answers to the initiator's Key Exchange Data, and the secret.
///
/// # Errors
/// As [`check_public`]: before anything is spent.
pub fn respond(
    group: DhGroup,
    peer: &[u8],
    rng: &mut dyn SecureRng,
) -> Result<(Vec<u8>, Secret), BadPublicValue> {
    if is_kem(group) {
        return mlkem::encapsulate(group, peer, rng);
    }
    check_public(group, peer)?;
    let pair = KeyPair::generate(group, rng).map_err(|_| BadPublicValue::Value(group))?;
    let shared = pair.agree(peer)?;
    Ok((pair.public, shared))
}

/// Whether [`KeyPair::agree`] would take this public value, for a fraction of a key pair's cost: a responder asks
/// this before it makes one, so that a stranger's useless value costs nothing to speak of.
///
/// # Errors
/// As [`KeyPair::agree`]; [`BadPublicValue::Value`] for a group that is not one of [`GROUPS`] or [`KEMS`].
pub fn check_public(group: DhGroup, peer: &[u8]) -> Result<(), BadPublicValue> {
    match group {
        DhGroup::ECP_256 => ecp::check::<p256::NistP256>(group, peer),
        DhGroup::ECP_384 => ecp::check::<p384::NistP384>(group, peer),
        DhGroup::ECP_521 => ecp::check::<p521::NistP521>(group, peer),
        DhGroup::CURVE25519 => curve25519::check(peer),
        _ if is_kem(group) => mlkem::check(group, peer),
        _ => modp::check(group, peer),
    }
}

/// A key exchange method we cannot run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("key exchange method {0} is not supported")]
pub struct UnsupportedGroup(
    /// The method.
    pub DhGroup,
);

/// A peer's public value that must not be used (RFC 6989 §2, RFC 7296 §3.4, RFC 8031 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPublicValue {
    /// Not exactly as long as the group's values are.
    #[error("a public value of {received} octets where {group} has {expected}")]
    Length {
        /// The group.
        group: DhGroup,
        /// Octets of a value in this group.
        expected: usize,
        /// Octets received.
        received: usize,
    },
    /// 0, 1, p-1 or above, not on the curve, or of small order.
    #[error("a public value that RFC 6989 forbids in {0}")]
    Value(
        /// The group.
        DhGroup,
    ),
}

/// One side's ephemeral key pair, for one exchange; dropping it wipes it. [`KeyPair::agree`] leaves it usable: a
/// stranger's bad public value must not cost the initiator its key pair (RFC 7296 §2.4).
#[cfg_attr(feature = "fork", derive(Clone))]
pub struct KeyPair {
    group: DhGroup,
    public: Vec<u8>,
    private: Private,
}

/// The private half; each wipes itself when dropped.
#[cfg_attr(feature = "fork", derive(Clone))]
enum Private {
    Modp(modp::Private),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    P521(p521::SecretKey),
    Curve25519(curve25519::Private),
    MlKem(mlkem::Private),
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.group)
    }
}

impl KeyPair {
    /// Draws a private key and computes the public value: of a KEM, the initiator's.
    ///
    /// # Errors
    /// When the group is not one of [`GROUPS`] or [`KEMS`].
    pub fn generate(group: DhGroup, rng: &mut dyn SecureRng) -> Result<Self, UnsupportedGroup> {
        let private = match group {
            DhGroup::ECP_256 => Private::P256(ecp::generate(0, rng)),
            DhGroup::ECP_384 => Private::P384(ecp::generate(0, rng)),
            DhGroup::ECP_521 => Private::P521(ecp::generate(P521_EXCESS_BITS, rng)),
            DhGroup::CURVE25519 => Private::Curve25519(curve25519::Private::generate(rng)),
            _ if is_kem(group) => {
                Private::MlKem(mlkem::Private::generate(group, rng).ok_or(UnsupportedGroup(group))?)
            }
            _ => Private::Modp(modp::Private::generate(group, rng).ok_or(UnsupportedGroup(group))?),
        };
        let public = match &private {
            Private::Modp(key) => key.public(),
            Private::P256(key) => ecp::public(key),
            Private::P384(key) => ecp::public(key),
            Private::P521(key) => ecp::public(key),
            Private::Curve25519(key) => key.public(),
            Private::MlKem(key) => key.public(),
        };
        Ok(Self { group, public, private })
    }

    /// The group.
    pub const fn group(&self) -> DhGroup {
        self.group
    }

    /// The Key Exchange Data to send, already padded to the group's length.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// g^ir from the peer's Key Exchange Data, in the form that goes into SKEYSEED and KEYMAT: for MODP padded
    /// to the modulus (RFC 7296 §2.14), for ECP the x coordinate (RFC 5903 §7).
    ///
    /// # Errors
    /// When the value has the wrong length or may not be used. The pair stays good: an unauthenticated answer
    /// must not cost an attempt its key, and another answer may follow (RFC 7296 §2.4).
    pub fn agree(&self, peer: &[u8]) -> Result<Secret, BadPublicValue> {
        match &self.private {
            Private::Modp(key) => key.agree(peer),
            Private::P256(key) => ecp::agree(self.group, key, peer),
            Private::P384(key) => ecp::agree(self.group, key, peer),
            Private::P521(key) => ecp::agree(self.group, key, peer),
            Private::Curve25519(key) => key.agree(peer),
            Private::MlKem(key) => key.agree(self.group, peer),
        }
    }
}
