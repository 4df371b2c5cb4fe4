//! Identification payloads (RFC 7296 §3.5).

use std::fmt;

use super::super::codec::{Reader, Writer};
use super::super::error::Error;
use super::super::iana::{IdType, PayloadType};
use super::take_all;

/// Who a peer says it is. Two are equal when type and data are: exactly, octet by octet.
#[derive(Clone)]
pub struct Identification {
    /// How to read `data`.
    pub kind: IdType,
    /// The identity; 4 octets for ID_IPV4_ADDR, 16 for ID_IPV6_ADDR.
    pub data: Vec<u8>,
    /// As received. They say nothing, but AUTH is computed over them (RFC 7296 §2.15: RestOfInitIDPayload).
    reserved: [u8; 3],
}

impl Identification {
    /// An identity to send.
    pub const fn new(kind: IdType, data: Vec<u8>) -> Self {
        Self { kind, data, reserved: [0; 3] }
    }

    /// The payload without its generic header, as sent or received: RestOfInitIDPayload or
    /// RestOfRespIDPayload of RFC 7296 §2.15.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(4 + self.data.len());
        self.write(&mut out);
        out.finish()
    }

    pub(super) fn read(payload: PayloadType, reader: &mut Reader<'_>) -> Result<Self, Error> {
        let kind = IdType(reader.u8().ok_or(Error::Truncated(payload))?);
        let reserved = reader.array().ok_or(Error::Truncated(payload))?;
        let data = take_all(reader);
        let fits = match kind {
            IdType::ID_IPV4_ADDR => data.len() == 4,
            IdType::ID_IPV6_ADDR => data.len() == 16,
            _ => true,
        };
        if fits { Ok(Self { kind, data, reserved }) } else { Err(Error::BadValue(payload)) }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u8(self.kind.0);
        out.bytes(&self.reserved);
        out.bytes(&self.data);
    }
}

impl PartialEq for Identification {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.data == other.data
    }
}

impl Eq for Identification {}

impl fmt::Debug for Identification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.kind, self.data.escape_ascii())
    }
}
