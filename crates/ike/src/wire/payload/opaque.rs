//! Payloads that are a small head and octets for somebody else: KE, CERT, CERTREQ, AUTH (RFC 7296 §3.4,
//! §3.6-§3.8).

use super::super::codec::{Reader, Writer};
use super::super::error::Error;
use super::super::iana::{AuthMethod, CertEncoding, DhGroup, PayloadType};
use super::take_all;

/// A public value (§3.4). Its length is checked by [`crate::crypto::KeyPair::agree`], before any arithmetic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyExchange {
    /// The method.
    pub group: DhGroup,
    /// The public value.
    pub data: Vec<u8>,
}

/// A certificate (§3.6), unread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// How to read `data`.
    pub encoding: CertEncoding,
    /// The certificate.
    pub data: Vec<u8>,
}

/// A request for certificates (§3.7), unread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateRequest {
    /// What is asked for.
    pub encoding: CertEncoding,
    /// Hashes of acceptable authorities.
    pub data: Vec<u8>,
}

/// Proof of identity (§3.8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authentication {
    /// How `data` was made.
    pub method: AuthMethod,
    /// The signature or MAC.
    pub data: Vec<u8>,
}

impl KeyExchange {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let truncated = Error::Truncated(PayloadType::KE);
        let group = DhGroup(reader.u16().ok_or(truncated)?);
        let _reserved = reader.u16().ok_or(truncated)?;
        Ok(Self { group, data: take_all(reader) })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u16(self.group.0);
        out.u16(0);
        out.bytes(&self.data);
    }
}

impl Certificate {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let encoding = CertEncoding(reader.u8().ok_or(Error::Truncated(PayloadType::CERT))?);
        Ok(Self { encoding, data: take_all(reader) })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u8(self.encoding.0);
        out.bytes(&self.data);
    }
}

impl CertificateRequest {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let encoding = CertEncoding(reader.u8().ok_or(Error::Truncated(PayloadType::CERTREQ))?);
        Ok(Self { encoding, data: take_all(reader) })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u8(self.encoding.0);
        out.bytes(&self.data);
    }
}

impl Authentication {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let truncated = Error::Truncated(PayloadType::AUTH);
        let method = AuthMethod(reader.u8().ok_or(truncated)?);
        let _reserved: [u8; 3] = reader.array().ok_or(truncated)?;
        Ok(Self { method, data: take_all(reader) })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u8(self.method.0);
        out.bytes(&[0; 3]);
        out.bytes(&self.data);
    }
}
