//! Notify payload (RFC 7296 §3.10).

use super::super::codec::{Reader, Writer};
use super::super::error::Error;
use super::super::iana::{NotifyType, PayloadType, ProtocolId};
use super::take_all;

/// An error or a status report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notify {
    /// Protocol of the SA that `spi` names; NONE (0) when there is no SPI.
    pub protocol: ProtocolId,
    /// The SA concerned; empty for the IKE SA itself and for most types.
    pub spi: Vec<u8>,
    /// What is reported.
    pub kind: NotifyType,
    /// Data, as `kind` defines it.
    pub data: Vec<u8>,
}

impl Notify {
    /// A notification about no SA in particular.
    pub const fn new(kind: NotifyType, data: Vec<u8>) -> Self {
        Self { protocol: ProtocolId::NONE, spi: Vec::new(), kind, data }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let truncated = Error::Truncated(PayloadType::NOTIFY);
        let [protocol, spi_size] = reader.array().ok_or(truncated)?;
        let kind = NotifyType(reader.u16().ok_or(truncated)?);
        let spi = reader.take(usize::from(spi_size)).ok_or(Error::BadLength(PayloadType::NOTIFY))?.to_vec();
        Ok(Self { protocol: ProtocolId(protocol), spi, kind, data: take_all(reader) })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u8(self.protocol.0);
        out.u8(u8::try_from(self.spi.len()).unwrap_or(u8::MAX));
        out.u16(self.kind.0);
        out.bytes(&self.spi);
        out.bytes(&self.data);
    }
}
