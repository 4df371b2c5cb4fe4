//! Encrypted and Authenticated payload and its fragment form, still closed (RFC 7296 §3.14, RFC 7383 §2.5).

use super::super::codec::{Reader, Writer};
use super::super::error::Error;
use super::super::iana::PayloadType;
use super::take_all;

/// The body of an SK payload. Only [`crate::crypto::Protection`] opens it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encrypted {
    /// Type of the first payload inside; not to be believed before the integrity check.
    pub first: PayloadType,
    /// IV, ciphertext and ICV.
    pub data: Vec<u8>,
}

/// The body of an SKF payload. Only [`crate::crypto::Protection`] opens it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EncryptedFragment {
    /// Type of the first payload inside, in fragment 1; NONE in the others.
    pub first: PayloadType,
    /// This fragment's number, from 1 to `total`.
    pub number: u16,
    /// How many fragments make the message.
    pub total: u16,
    /// IV, ciphertext and ICV.
    pub data: Vec<u8>,
}

impl EncryptedFragment {
    pub(super) fn read(first: PayloadType, reader: &mut Reader<'_>) -> Result<Self, Error> {
        let (number, total) = read_numbers(reader)?;
        Ok(Self { first, number, total, data: take_all(reader) })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u16(self.number);
        out.u16(self.total);
        out.bytes(&self.data);
    }
}

/// Fragment Number and Total Fragments: neither is zero and the first is not above the second (RFC 7383 §2.5).
pub(in super::super) fn read_numbers(reader: &mut Reader<'_>) -> Result<(u16, u16), Error> {
    let truncated = Error::Truncated(PayloadType::SKF);
    let number = reader.u16().ok_or(truncated)?;
    let total = reader.u16().ok_or(truncated)?;
    if number == 0 || number > total {
        return Err(Error::BadValue(PayloadType::SKF));
    }
    Ok((number, total))
}
