//! Delete payload (RFC 7296 §3.11).

use super::super::MAX_DELETED_SPIS;
use super::super::codec::{Reader, Writer};
use super::super::error::Error;
use super::super::iana::{PayloadType, ProtocolId};

/// SAs that the sender has deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delete {
    /// What kind of SA.
    pub protocol: ProtocolId,
    /// The sender's inbound SPIs, all of one length; none for the IKE SA itself.
    pub spis: Vec<Vec<u8>>,
}

impl Delete {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let truncated = Error::Truncated(PayloadType::DELETE);
        let [protocol, spi_size] = reader.array().ok_or(truncated)?;
        let protocol = ProtocolId(protocol);
        let count = usize::from(reader.u16().ok_or(truncated)?);
        let spi_size = usize::from(spi_size);
        // §3.11: the SPI size is 0 for IKE and 4 for AH and ESP.
        let sound = match protocol {
            ProtocolId::IKE => spi_size == 0,
            ProtocolId::AH | ProtocolId::ESP => spi_size == 4,
            _ => true,
        };
        if !sound {
            return Err(Error::BadValue(PayloadType::DELETE));
        }
        if count > MAX_DELETED_SPIS {
            return Err(Error::TooMany(PayloadType::DELETE));
        }
        // Without a size there is nothing to count, and a count alone must not make us allocate.
        if reader.len() != count * spi_size || (spi_size == 0 && count != 0) {
            return Err(Error::BadCount(PayloadType::DELETE));
        }
        let mut spis = Vec::with_capacity(count);
        while let Some(spi) = reader.take(spi_size).filter(|spi| !spi.is_empty()) {
            spis.push(spi.to_vec());
        }
        Ok(Self { protocol, spis })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        let spi_size = self.spis.first().map_or(
            match self.protocol {
                ProtocolId::AH | ProtocolId::ESP => 4,
                _ => 0,
            },
            Vec::len,
        );
        out.u8(self.protocol.0);
        out.u8(u8::try_from(spi_size).unwrap_or(u8::MAX));
        out.u16(u16::try_from(self.spis.len()).unwrap_or(u16::MAX));
        for spi in &self.spis {
            out.bytes(spi);
        }
    }
}
