//! The octets of IKEv2 messages: syntax only.
//!
//! Parses datagrams into values and encodes values into datagrams (RFC 7296 §3, RFC 7383 §2.5). It never
//! decides what a message means, never keeps state, never decrypts; an unknown number or payload type is
//! preserved, so that the layer above can answer it. Every length is checked against what encloses it,
//! nothing may be left over, and every list has a limit below, so that no datagram costs more than its size.
//! Reserved bits are ignored on receipt and sent as zero (RFC 7296 §2.5).

mod codec;
mod error;
mod header;
mod iana;
mod message;
mod payload;

pub use error::Error;
pub use header::{Flags, HEADER_LEN, Header, VERSION_2, parse_header};
pub use iana::{
    AttributeType, AuthMethod, CertEncoding, DhGroup, EncrId, EsnId, ExchangeType, IdType, IntegId,
    NotifyType, PayloadType, PrfId, ProtocolId, TransformType,
};
pub use message::{
    Encoded, Message, Sealed, encode, encode_payloads, parse, parse_payloads, split_encrypted,
};
pub use payload::{
    Attribute, AttributeValue, Authentication, Certificate, CertificateRequest, Delete, Encrypted,
    EncryptedFragment, Identification, KeyExchange, Notify, Payload, Proposal, SecurityAssociation,
    Transform,
};

/// Most payloads in one chain. Real messages have under twenty; certificates and vendor IDs add some.
pub const MAX_PAYLOADS: usize = 64;
/// Most proposals in one SA payload. Proposal numbers are octets; real offers have under ten.
pub const MAX_PROPOSALS: usize = 32;
/// Most transforms in one proposal.
pub const MAX_TRANSFORMS: usize = 96;
/// Most attributes of one transform. Key Length is the only one defined (RFC 7296 §3.3.5).
pub const MAX_ATTRIBUTES: usize = 4;
/// Most traffic selectors in one payload; the count field is one octet anyhow (RFC 7296 §3.13).
pub const MAX_SELECTORS: usize = 255;
/// Most SPIs in one Delete payload.
pub const MAX_DELETED_SPIS: usize = 256;
