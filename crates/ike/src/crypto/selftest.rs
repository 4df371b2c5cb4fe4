//! Proof at start-up that everything we offer can be run.
//!
//! A peer that picks an algorithm which the library then lacks has crashed other daemons (CVE-2018-10811,
//! CVE-2016-3071); ours refuses to start instead.

use model::{IkeSpi, Secret, SecureRng};

use super::algorithm::{IkeCipher, Prf, Suite};
use super::keys::{KeyInputs, SaKeys, derive_sa_keys};
use super::kx::KeyPair;
use super::protection::{Protection, Sender};
use crate::wire::{DhGroup, ExchangeType, Flags, Header, IntegId, Payload};

/// First octets of HMAC("Jefe", "what do ya want for nothing?") per PRF (RFC 2202 §3, RFC 4231 §4.3).
const HMAC_ANSWERS: [(Prf, [u8; 4]); 4] = [
    (Prf::HmacSha1, [0xef, 0xfc, 0xdf, 0x6a]),
    (Prf::HmacSha2_256, [0x5b, 0xdc, 0xc1, 0x46]),
    (Prf::HmacSha2_384, [0xaf, 0x45, 0xd2, 0xe3]),
    (Prf::HmacSha2_512, [0x16, 0x4b, 0x7a, 0x7b]),
];

/// An algorithm that is offered and cannot be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cryptographic self-test failed at {0}: this build or this machine cannot run it; do not use it")]
pub struct SelfTestFailure(
    /// The algorithm's name.
    pub String,
);

/// Runs every PRF, every cipher with every integrity algorithm, and the given `groups`: [`super::GROUPS`], or
/// those that are configured (all take 0.2 s when optimised, of which group 18 has half).
///
/// # Errors
/// The first algorithm that does not do what it must.
pub fn self_test(groups: &[DhGroup], rng: &mut dyn SecureRng) -> Result<(), SelfTestFailure> {
    for (prf, answer) in HMAC_ANSWERS {
        let output = prf.compute(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        if !output.expose().starts_with(&answer) || output.len() != prf.output_len() {
            return Err(SelfTestFailure(prf.to_string()));
        }
    }
    for cipher in IkeCipher::ALL {
        let integrities = if cipher.is_aead() { vec![None] } else { IntegId::SUPPORTED.map(Some).to_vec() };
        for integrity in integrities {
            let suite = Suite { cipher, prf: Prf::HmacSha2_256, integrity, group: DhGroup::CURVE25519 };
            check_suite(&suite, rng).ok_or_else(|| SelfTestFailure(suite.to_string()))?;
        }
    }
    for &group in groups {
        check_group(group, rng).ok_or_else(|| SelfTestFailure(group.to_string()))?;
    }
    Ok(())
}

/// Seals as the initiator, opens as the responder, and must not open after one flipped bit.
fn check_suite(suite: &Suite, rng: &mut dyn SecureRng) -> Option<()> {
    let keys = some_keys(suite);
    let header = Header::new(IkeSpi(1), IkeSpi(2), ExchangeType::INFORMATIONAL, Flags::new(true, false), 0);
    let payloads = vec![Payload::Vendor(b"self-test".to_vec())];
    let mut datagram = Protection::new(suite, &keys, Sender::Initiator).ok()?.seal(&header, &payloads, rng);
    let opener = Protection::new(suite, &keys, Sender::Initiator).ok()?;
    let opened = opener.open(&datagram).ok()?.payloads == payloads;
    *datagram.last_mut()? ^= 1;
    (opened && opener.open(&datagram).is_err()).then_some(())
}

fn some_keys(suite: &Suite) -> SaKeys {
    let shared = Secret::from(&[7; 32][..]);
    let inputs =
        KeyInputs { ni: &[1; 32], nr: &[2; 32], shared: &shared, spi_i: IkeSpi(1), spi_r: IkeSpi(2) };
    derive_sa_keys(suite, &inputs)
}

/// Both halves must come to one secret.
fn check_group(group: DhGroup, rng: &mut dyn SecureRng) -> Option<()> {
    let ours = KeyPair::generate(group, rng).ok()?;
    if super::kx::is_kem(group) {
        let (ciphertext, secret) = super::kx::respond(group, ours.public(), rng).ok()?;
        return (ours.agree(&ciphertext).ok()?.expose() == secret.expose()).then_some(());
    }
    let theirs = KeyPair::generate(group, rng).ok()?;
    let (our_public, their_public) = (ours.public().to_vec(), theirs.public().to_vec());
    let one = ours.agree(&their_public).ok()?;
    let other = theirs.agree(&our_public).ok()?;
    (one.expose() == other.expose() && our_public != their_public).then_some(())
}
