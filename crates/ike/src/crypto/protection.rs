//! The Encrypted payload, sealed and opened (RFC 7296 §3.14, RFC 5282, RFC 7383 §2.5).

use model::SecureRng;

use super::algorithm::Suite;
use super::keys::SaKeys;
use crate::wire::{self, Header, Payload, PayloadType};

/// Whose messages a [`Protection`] is for: the original initiator's or the original responder's of the IKE SA,
/// whoever starts the exchange at hand (RFC 7296 §2.2, §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// SK_ei, SK_ai.
    Initiator,
    /// SK_er, SK_ar.
    Responder,
}

/// A suite whose parts do not go together, or keys that are not its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0} cannot protect messages with these keys: a CBC cipher needs an integrity algorithm, an AEAD none"
)]
pub struct UnsupportedSuite(
    /// The suite.
    pub Suite,
);

/// Protects one direction of one IKE SA. Neither cloned nor rebuilt: an AES-GCM IV is a counter in here, and
/// must never repeat under one key (RFC 5282 §3.1).
#[derive(Debug)]
pub struct Protection {
    _suite: Suite,
}

/// A message whose integrity check succeeded; made only by [`Protection::open`] and
/// [`Verified::from_fragments`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Verified {
    /// The header, covered by the check.
    pub header: Header,
    /// The payloads that were inside the encrypted payload.
    pub payloads: Vec<Payload>,
    /// Payloads that stood in the clear before it: covered by the check, but never secret. Nothing is expected
    /// here; look at it for unknown critical payloads only.
    pub outer: Vec<Payload>,
}

/// A fragment whose integrity check succeeded (RFC 7383 §2.5).
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifiedFragment {
    /// The header, covered by the check.
    pub header: Header,
    /// From 1 to `total`.
    pub number: u16,
    /// How many fragments make the message.
    pub total: u16,
}

/// Where a fragment to be sent stands in its message (RFC 7383 §2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentHead {
    /// Type of the message's first payload; only fragment 1 carries it.
    pub first: PayloadType,
    /// From 1 to `total`.
    pub number: u16,
    /// How many fragments make the message.
    pub total: u16,
}

/// Why a message could not be opened. Only [`OpenError::Inner`] comes from the peer; all others may be
/// anybody's, and the datagram is dropped without changing anything.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// Malformed outside the encrypted payload.
    #[error("malformed message: {0}")]
    Outer(wire::Error),
    /// No encrypted payload of the kind asked for.
    #[error("a message without the encrypted payload that this SA requires")]
    NotEncrypted,
    /// Too short for IV and ICV, or not a whole number of cipher blocks.
    #[error("an encrypted payload of {0} octets cannot hold IV, data and integrity check value")]
    Size(
        /// Octets of its body.
        usize,
    ),
    /// The integrity check failed.
    #[error("the integrity check failed")]
    Integrity,
    /// Authentic, but what was inside is malformed: answered INVALID_SYNTAX inside SK (RFC 7296 §2.21.2).
    #[error("malformed payloads inside an authentic message: {error}")]
    Inner {
        /// The authentic header.
        header: Header,
        /// What is malformed.
        error: wire::Error,
    },
}

impl Protection {
    /// The protection of one sender's messages.
    ///
    /// # Errors
    /// When `suite` is not a valid combination, or `keys` were not derived for it.
    pub fn new(suite: &Suite, _keys: &SaKeys, _sender: Sender) -> Result<Self, UnsupportedSuite> {
        Ok(Self { _suite: *suite })
    }

    /// A whole protected datagram: `header`, and one SK payload around `payloads`. The initiator and response
    /// flags in `header` are the caller's.
    pub fn seal(&mut self, header: &Header, payloads: &[Payload], _rng: &mut dyn SecureRng) -> Vec<u8> {
        wire::encode(header, payloads)
    }

    /// Checks and opens a datagram with an SK payload. Nothing inside is looked at before the check.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&self, _datagram: &[u8]) -> Result<Verified, OpenError> {
        Err(OpenError::Integrity)
    }

    /// One fragment as a whole datagram; `piece` is its part of [`wire::encode_payloads`].
    pub fn seal_fragment(
        &mut self,
        header: &Header,
        _head: FragmentHead,
        _piece: &[u8],
        _rng: &mut dyn SecureRng,
    ) -> Vec<u8> {
        wire::encode(header, &[])
    }

    /// Checks and opens a datagram with an SKF payload.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_fragment(&self, _datagram: &[u8]) -> Result<VerifiedFragment, OpenError> {
        Err(OpenError::Integrity)
    }
}
