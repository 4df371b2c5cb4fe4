//! The payloads of RFC 7296 §3.3-§3.16 as values; each file reads and writes one body.
//!
//! A body is what follows the generic payload header (§3.2). Reading takes exactly the whole body or fails.

mod delete;
mod encrypted;
mod id;
mod notify;
mod opaque;
mod sa;
mod ts;

use model::TrafficSelector;

pub use delete::Delete;
pub(super) use encrypted::read_numbers;
pub use encrypted::{Encrypted, EncryptedFragment};
pub use id::Identification;
pub use notify::Notify;
pub use opaque::{Authentication, Certificate, CertificateRequest, KeyExchange};
pub use sa::{Attribute, AttributeValue, Proposal, SecurityAssociation, Transform};

use super::codec::{Reader, Writer};
use super::error::Error;
use super::iana::PayloadType;

/// Shortest and longest nonce (RFC 7296 §3.9), in octets.
const NONCE_LEN: std::ops::RangeInclusive<usize> = 16..=256;

/// One payload of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Security Association (§3.3).
    Sa(SecurityAssociation),
    /// Key Exchange (§3.4).
    Ke(KeyExchange),
    /// Identification of the initiator (§3.5).
    IdI(Identification),
    /// Identification of the responder (§3.5).
    IdR(Identification),
    /// Certificate (§3.6).
    Cert(Certificate),
    /// Certificate Request (§3.7).
    CertReq(CertificateRequest),
    /// Authentication (§3.8).
    Auth(Authentication),
    /// Nonce of 16 to 256 octets (§3.9).
    Nonce(Vec<u8>),
    /// Notify (§3.10).
    Notify(Notify),
    /// Delete (§3.11).
    Delete(Delete),
    /// Vendor ID (§3.12).
    Vendor(Vec<u8>),
    /// Traffic selectors of the initiator's side (§3.13); selectors of unknown type are left out.
    TsI(Vec<TrafficSelector>),
    /// Traffic selectors of the responder's side (§3.13); selectors of unknown type are left out.
    TsR(Vec<TrafficSelector>),
    /// Encrypted and Authenticated (§3.14), still closed.
    Encrypted(Encrypted),
    /// Encrypted and Authenticated Fragment (RFC 7383 §2.5), still closed.
    EncryptedFragment(EncryptedFragment),
    /// Configuration (§3.15), unread: we neither ask for nor hand out addresses (§2.19 lets us ignore it).
    Configuration(Vec<u8>),
    /// EAP (§3.16), unread: we do not offer EAP.
    Eap(Vec<u8>),
    /// A type we do not know. `critical` decides between UNSUPPORTED_CRITICAL_PAYLOAD and skipping (§2.5).
    Unknown {
        /// The type number.
        kind: PayloadType,
        /// The critical bit as received.
        critical: bool,
        /// The body.
        data: Vec<u8>,
    },
}

impl Payload {
    /// The number that the preceding Next Payload field carries.
    pub const fn kind(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::SA,
            Self::Ke(_) => PayloadType::KE,
            Self::IdI(_) => PayloadType::IDI,
            Self::IdR(_) => PayloadType::IDR,
            Self::Cert(_) => PayloadType::CERT,
            Self::CertReq(_) => PayloadType::CERTREQ,
            Self::Auth(_) => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::Vendor(_) => PayloadType::VENDOR,
            Self::TsI(_) => PayloadType::TSI,
            Self::TsR(_) => PayloadType::TSR,
            Self::Encrypted(_) => PayloadType::SK,
            Self::EncryptedFragment(_) => PayloadType::SKF,
            Self::Configuration(_) => PayloadType::CP,
            Self::Eap(_) => PayloadType::EAP,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Whether the critical bit is sent: only what we relay of unknown types carries it (§2.5: the bit MUST
    /// NOT be set for the types of RFC 7296).
    pub(super) const fn critical(&self) -> bool {
        matches!(self, Self::Unknown { critical: true, .. })
    }

    /// For the encrypted payloads, the type of the first payload inside: their Next Payload field names it.
    pub(super) const fn first_inside(&self) -> Option<PayloadType> {
        match self {
            Self::Encrypted(encrypted) => Some(encrypted.first),
            Self::EncryptedFragment(fragment) => Some(fragment.first),
            _ => None,
        }
    }

    /// Reads one body; `next` is the Next Payload field of its generic header.
    pub(super) fn read(
        kind: PayloadType,
        critical: bool,
        next: PayloadType,
        body: &[u8],
    ) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        // The critical bit is ignored for the types we know (RFC 7296 §2.5).
        let payload = match kind {
            PayloadType::SA => Self::Sa(SecurityAssociation::read(&mut reader)?),
            PayloadType::KE => Self::Ke(KeyExchange::read(&mut reader)?),
            PayloadType::IDI => Self::IdI(Identification::read(kind, &mut reader)?),
            PayloadType::IDR => Self::IdR(Identification::read(kind, &mut reader)?),
            PayloadType::CERT => Self::Cert(Certificate::read(&mut reader)?),
            PayloadType::CERTREQ => Self::CertReq(CertificateRequest::read(&mut reader)?),
            PayloadType::AUTH => Self::Auth(Authentication::read(&mut reader)?),
            PayloadType::NONCE => {
                let nonce = take_all(&mut reader);
                if !NONCE_LEN.contains(&nonce.len()) {
                    return Err(Error::BadValue(kind));
                }
                Self::Nonce(nonce)
            }
            PayloadType::NOTIFY => Self::Notify(Notify::read(&mut reader)?),
            PayloadType::DELETE => Self::Delete(Delete::read(&mut reader)?),
            PayloadType::VENDOR => Self::Vendor(take_all(&mut reader)),
            PayloadType::TSI => Self::TsI(ts::read(kind, &mut reader)?),
            PayloadType::TSR => Self::TsR(ts::read(kind, &mut reader)?),
            PayloadType::SK => Self::Encrypted(Encrypted { first: next, data: take_all(&mut reader) }),
            PayloadType::SKF => Self::EncryptedFragment(EncryptedFragment::read(next, &mut reader)?),
            PayloadType::CP => Self::Configuration(take_all(&mut reader)),
            PayloadType::EAP => Self::Eap(take_all(&mut reader)),
            _ => Self::Unknown { kind, critical, data: take_all(&mut reader) },
        };
        if reader.is_empty() { Ok(payload) } else { Err(Error::Trailing(kind)) }
    }

    /// Appends the body.
    pub(super) fn write(&self, out: &mut Writer) {
        match self {
            Self::Sa(sa) => sa.write(out),
            Self::Ke(ke) => ke.write(out),
            Self::IdI(id) | Self::IdR(id) => id.write(out),
            Self::Cert(cert) => cert.write(out),
            Self::CertReq(request) => request.write(out),
            Self::Auth(auth) => auth.write(out),
            Self::Notify(notify) => notify.write(out),
            Self::Delete(delete) => delete.write(out),
            Self::TsI(selectors) | Self::TsR(selectors) => ts::write(selectors, out),
            Self::Encrypted(encrypted) => out.bytes(&encrypted.data),
            Self::EncryptedFragment(fragment) => fragment.write(out),
            Self::Nonce(data)
            | Self::Vendor(data)
            | Self::Configuration(data)
            | Self::Eap(data)
            | Self::Unknown { data, .. } => out.bytes(data),
        }
    }
}

/// Everything that is left of a body.
fn take_all(reader: &mut Reader<'_>) -> Vec<u8> {
    let length = reader.len();
    reader.take(length).unwrap_or_default().to_vec()
}
