//! ML-KEM-512, -768 and -1024 as key exchange methods 35 to 37 (FIPS 203; draft-ietf-ipsecme-ikev2-mlkem).
//!
//! Not symmetric: the initiator sends an encapsulation key, the responder a ciphertext made with it. The randomness
//! is the caller's, so that a simulation replays; FIPS 203 asks for 32 fresh octets to encapsulate and 64 to
//! generate, and that is what is drawn.

use ml_kem::{
    B32, Ciphertext, Decapsulate, DecapsulationKey512, DecapsulationKey768, DecapsulationKey1024,
    EncapsulationKey512, EncapsulationKey768, EncapsulationKey1024, Key, KeyExport, MlKem512, MlKem768,
    MlKem1024, Seed,
};
use model::{Secret, SecureRng};
use zeroize::Zeroize;

use super::BadPublicValue;
use crate::wire::DhGroup;

/// An initiator's decapsulation key; wipes itself.
#[cfg_attr(feature = "fork", derive(Clone))]
pub(super) enum Private {
    K512(Box<DecapsulationKey512>),
    K768(Box<DecapsulationKey768>),
    K1024(Box<DecapsulationKey1024>),
}

/// The exact error of a value that is not as long as it must be.
fn length(group: DhGroup, expected: usize, received: usize) -> BadPublicValue {
    BadPublicValue::Length { group, expected, received }
}

impl Private {
    /// `None` when the method is not one of these.
    pub(super) fn generate(group: DhGroup, rng: &mut dyn SecureRng) -> Option<Self> {
        if !super::is_kem(group) {
            return None;
        }
        let mut seed = Seed::default();
        rng.fill(&mut seed);
        let key = match group {
            DhGroup::ML_KEM_512 => Self::K512(Box::new(DecapsulationKey512::from_seed(seed))),
            DhGroup::ML_KEM_768 => Self::K768(Box::new(DecapsulationKey768::from_seed(seed))),
            _ => Self::K1024(Box::new(DecapsulationKey1024::from_seed(seed))),
        };
        seed.zeroize();
        Some(key)
    }

    /// The encapsulation key, encoded (FIPS 203 §7.1).
    pub(super) fn public(&self) -> Vec<u8> {
        match self {
            Self::K512(key) => key.encapsulation_key().to_bytes().to_vec(),
            Self::K768(key) => key.encapsulation_key().to_bytes().to_vec(),
            Self::K1024(key) => key.encapsulation_key().to_bytes().to_vec(),
        }
    }

    /// The secret in the responder's ciphertext. Any ciphertext of the right length gives one (implicit rejection,
    /// FIPS 203 §6.3): a wrong one leads to other keys, and the next message does not verify.
    pub(super) fn agree(&self, group: DhGroup, ciphertext: &[u8]) -> Result<Secret, BadPublicValue> {
        let wrong = |expected| length(group, expected, ciphertext.len());
        let mut shared = match self {
            Self::K512(key) => {
                let ciphertext = Ciphertext::<MlKem512>::try_from(ciphertext).map_err(|_| wrong(768))?;
                key.decapsulate(&ciphertext)
            }
            Self::K768(key) => {
                let ciphertext = Ciphertext::<MlKem768>::try_from(ciphertext).map_err(|_| wrong(1088))?;
                key.decapsulate(&ciphertext)
            }
            Self::K1024(key) => {
                let ciphertext = Ciphertext::<MlKem1024>::try_from(ciphertext).map_err(|_| wrong(1568))?;
                key.decapsulate(&ciphertext)
            }
        };
        let secret = Secret::from(shared.as_slice());
        shared.zeroize();
        Ok(secret)
    }
}

/// The responder's half: ciphertext and secret for an initiator's encapsulation key (FIPS 203 §7.2).
pub(super) fn encapsulate(
    group: DhGroup,
    key: &[u8],
    rng: &mut dyn SecureRng,
) -> Result<(Vec<u8>, Secret), BadPublicValue> {
    let mut m = B32::default();
    rng.fill(&mut m);
    let (ciphertext, mut shared) = match group {
        DhGroup::ML_KEM_512 => {
            let (ciphertext, shared) = key_512(key)?.encapsulate_deterministic(&m);
            (ciphertext.to_vec(), shared)
        }
        DhGroup::ML_KEM_768 => {
            let (ciphertext, shared) = key_768(key)?.encapsulate_deterministic(&m);
            (ciphertext.to_vec(), shared)
        }
        _ => {
            let (ciphertext, shared) = key_1024(key)?.encapsulate_deterministic(&m);
            (ciphertext.to_vec(), shared)
        }
    };
    let secret = Secret::from(shared.as_slice());
    shared.zeroize();
    m.zeroize();
    Ok((ciphertext, secret))
}

//= FIPS 203 §7.2: an encapsulation key of another length, or with a coefficient that is not reduced, is refused.
/// Whether an initiator's encapsulation key may be used.
pub(super) fn check(group: DhGroup, key: &[u8]) -> Result<(), BadPublicValue> {
    match group {
        DhGroup::ML_KEM_512 => key_512(key).map(drop),
        DhGroup::ML_KEM_768 => key_768(key).map(drop),
        _ => key_1024(key).map(drop),
    }
}

fn key_512(key: &[u8]) -> Result<EncapsulationKey512, BadPublicValue> {
    let group = DhGroup::ML_KEM_512;
    let key = Key::<EncapsulationKey512>::try_from(key).map_err(|_| length(group, 800, key.len()))?;
    EncapsulationKey512::new(&key).map_err(|_| BadPublicValue::Value(group))
}

fn key_768(key: &[u8]) -> Result<EncapsulationKey768, BadPublicValue> {
    let group = DhGroup::ML_KEM_768;
    let key = Key::<EncapsulationKey768>::try_from(key).map_err(|_| length(group, 1184, key.len()))?;
    EncapsulationKey768::new(&key).map_err(|_| BadPublicValue::Value(group))
}

fn key_1024(key: &[u8]) -> Result<EncapsulationKey1024, BadPublicValue> {
    let group = DhGroup::ML_KEM_1024;
    let key = Key::<EncapsulationKey1024>::try_from(key).map_err(|_| length(group, 1568, key.len()))?;
    EncapsulationKey1024::new(&key).map_err(|_| BadPublicValue::Value(group))
}
