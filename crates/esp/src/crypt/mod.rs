//! Encryption and integrity of one direction, chosen when the SA is built. It knows the layout of a packet but
//! neither windows nor counters, and it hands out no octet of a packet whose ICV is wrong. RFC 4106, RFC 3602, RFC 4868.

mod aead;
mod cbc_hmac;
mod gcm;

use model::{EspKeys, EspSuite, EspTransform, Spi};

pub use aead::AeadProvider;
use cbc_hmac::{CbcOpener, CbcSealer};
use gcm::Gcm;

/// Key material that does not fit the suite. Our caller's fault, or a key derivation that disagrees.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{transform} needs {expected} octets of {what} key, {got} were given")]
pub struct KeyError {
    /// The transform the keys were meant for.
    pub transform: EspTransform,
    /// "encryption" or "integrity".
    pub what: &'static str,
    /// Octets that the transform needs.
    pub expected: usize,
    /// Octets given.
    pub got: usize,
}

/// A packet's sequence number, and whether its upper half is authenticated too (RFC 4303 §2.2.1).
#[derive(Clone, Copy)]
pub(crate) struct Sequence {
    pub(crate) value: u64,
    pub(crate) esn: bool,
}

impl Sequence {
    pub(crate) const fn high(self) -> [u8; 4] {
        ((self.value >> 32) as u32).to_be_bytes()
    }

    pub(crate) const fn low(self) -> [u8; 4] {
        (self.value as u32).to_be_bytes()
    }
}

/// Seals whole ESP packets in place.
pub(crate) enum Sealer {
    Gcm(Box<Gcm>),
    Cbc(Box<CbcSealer>),
}

/// Verifies and opens whole ESP packets in place.
pub(crate) enum Opener {
    Gcm(Box<Gcm>),
    Cbc(Box<CbcOpener>),
}

fn check_lengths(transform: EspTransform, keys: &EspKeys) -> Result<(), KeyError> {
    for (what, expected, got) in [
        ("encryption", transform.encryption_key_len(), keys.encryption.len()),
        ("integrity", transform.integrity_key_len(), keys.integrity.len()),
    ] {
        if expected != got {
            return Err(KeyError { transform, what, expected, got });
        }
    }
    Ok(())
}

impl Sealer {
    pub(crate) fn new(provider: AeadProvider, suite: EspSuite, keys: &EspKeys) -> Result<Self, KeyError> {
        check_lengths(suite.transform, keys)?;
        Ok(match suite.transform {
            EspTransform::AesGcm16(bits) => Self::Gcm(Box::new(Gcm::new(provider, bits, keys)?)),
            EspTransform::AesCbc(bits, integrity) => {
                Self::Cbc(Box::new(CbcSealer::new(bits, integrity, keys)?))
            }
        })
    }

    /// `packet` is exactly one ESP packet with the plaintext and its trailer in place; SPI, sequence number, IV
    /// and ICV are written here. `None`, with the packet in an undefined state, when it is too short.
    #[inline]
    pub(crate) fn seal(&self, spi: Spi, sequence: Sequence, packet: &mut [u8]) -> Option<()> {
        match self {
            Self::Gcm(gcm) => gcm.seal(spi, sequence, packet),
            Self::Cbc(cbc) => cbc.seal(spi, sequence, packet),
        }
    }
}

impl Opener {
    pub(crate) fn new(provider: AeadProvider, suite: EspSuite, keys: &EspKeys) -> Result<Self, KeyError> {
        check_lengths(suite.transform, keys)?;
        Ok(match suite.transform {
            EspTransform::AesGcm16(bits) => Self::Gcm(Box::new(Gcm::new(provider, bits, keys)?)),
            EspTransform::AesCbc(bits, integrity) => {
                Self::Cbc(Box::new(CbcOpener::new(bits, integrity, keys)?))
            }
        })
    }

    /// The decrypted octets, trailer included; `None` when the ICV does not match or the packet is too short.
    #[inline]
    pub(crate) fn open<'p>(&self, sequence: Sequence, packet: &'p mut [u8]) -> Option<&'p mut [u8]> {
        match self {
            Self::Gcm(gcm) => gcm.open(sequence, packet),
            Self::Cbc(cbc) => cbc.open(sequence, packet),
        }
    }
}
