//! What can be wrong with the octets of a message.

use super::iana::PayloadType;

/// Why a datagram or a payload chain is not a well-formed message; each is INVALID_SYNTAX to the peer
/// (RFC 7296 §2.21, §3.10.1) when it may be answered at all. No variant carries the peer's octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Fewer octets than an IKE header has.
    #[error("{length} octets are no IKE message: the header alone has 28")]
    ShortHeader {
        /// Octets received.
        length: usize,
    },
    /// The header's Length is not the datagram's length.
    #[error("the header says {declared} octets, the datagram has {received}")]
    LengthMismatch {
        /// The header's Length field.
        declared: u32,
        /// Octets received.
        received: usize,
    },
    /// Major version other than 2 where an IKEv2 message is needed.
    #[error("IKE major version {0}; only version 2 is spoken")]
    MajorVersion(
        /// The major version, 0-15.
        u8,
    ),
    /// The chain names a payload, and the message ends before it is complete.
    #[error("the message ends inside a {0} payload")]
    Truncated(
        /// The payload that is incomplete.
        PayloadType,
    ),
    /// A length field is smaller than its own header or larger than what encloses it.
    #[error("a length field in the {0} payload does not fit what encloses it")]
    BadLength(
        /// The payload concerned.
        PayloadType,
    ),
    /// Octets are left where the chain, or a counted list, has ended.
    #[error("octets are left after the last part of the {0} payload")]
    Trailing(
        /// The payload concerned; NONE for the message itself.
        PayloadType,
    ),
    /// A count, or a more/last marker, disagrees with what follows.
    #[error("the {0} payload announces another number of parts than it has")]
    BadCount(
        /// The payload concerned.
        PayloadType,
    ),
    /// A field holds a value that the RFC rules out.
    #[error("the {0} payload holds a value that RFC 7296 rules out")]
    BadValue(
        /// The payload concerned.
        PayloadType,
    ),
    /// More parts than one of the limits of [`crate::wire`] allows.
    #[error("the {0} payload has more parts than is sane")]
    TooMany(
        /// The payload concerned; NONE for the number of payloads in a message.
        PayloadType,
    ),
    /// An encrypted payload inside an encrypted payload, or one that is not last.
    #[error("an encrypted payload stands where none may")]
    MisplacedEncrypted,
}
