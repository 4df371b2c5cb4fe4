//! The fixed header that opens every message (RFC 7296 §3.1).

use model::IkeSpi;

use super::codec::{Reader, Writer};
use super::error::Error;
use super::iana::{ExchangeType, PayloadType};

/// Octets of the IKE header.
pub const HEADER_LEN: usize = 28;

/// The version octet of IKEv2: major 2, minor 0.
pub const VERSION_2: u8 = 0x20;

/// The header's flag octet; undefined bits are cleared on receipt (RFC 7296 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags(u8);

impl Flags {
    const RESPONSE: u8 = 0x20;
    const VERSION: u8 = 0x10;
    const INITIATOR: u8 = 0x08;

    /// `initiator`: the sender is the original initiator of this IKE SA; `response`: this answers the
    /// request with the same message ID.
    pub const fn new(initiator: bool, response: bool) -> Self {
        let mut bits = 0;
        if initiator {
            bits |= Self::INITIATOR;
        }
        if response {
            bits |= Self::RESPONSE;
        }
        Self(bits)
    }

    /// Whether the sender is the original initiator of the IKE SA.
    pub const fn initiator(self) -> bool {
        self.0 & Self::INITIATOR != 0
    }

    /// Whether this message is a response.
    pub const fn response(self) -> bool {
        self.0 & Self::RESPONSE != 0
    }

    /// Whether the sender could speak a higher major version.
    pub const fn higher_version(self) -> bool {
        self.0 & Self::VERSION != 0
    }

    /// From the octet on the wire, undefined bits dropped.
    pub const fn from_octet(octet: u8) -> Self {
        Self(octet & (Self::RESPONSE | Self::VERSION | Self::INITIATOR))
    }

    /// The octet to send. RFC 7296 §3.1: the version bit is sent cleared.
    pub const fn octet(self) -> u8 {
        self.0 & (Self::RESPONSE | Self::INITIATOR)
    }
}

/// The IKE header without its Length, which [`parse_header`] checks and encoding fills in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The original initiator's SPI.
    pub spi_i: IkeSpi,
    /// The original responder's SPI; zero in the first request.
    pub spi_r: IkeSpi,
    /// Type of the first payload. Encoding fills it in and ignores what stands here.
    pub next_payload: PayloadType,
    /// Version octet: major in the high nibble. [`VERSION_2`] for what we send.
    pub version: u8,
    /// What kind of exchange this belongs to.
    pub exchange: ExchangeType,
    /// Direction flags.
    pub flags: Flags,
    /// Message ID, counted per direction (RFC 7296 §2.2).
    pub message_id: u32,
}

impl Header {
    /// A header of our own, version 2.0, first payload to be filled in by encoding.
    pub const fn new(
        spi_i: IkeSpi,
        spi_r: IkeSpi,
        exchange: ExchangeType,
        flags: Flags,
        message_id: u32,
    ) -> Self {
        Self {
            spi_i,
            spi_r,
            next_payload: PayloadType::NONE,
            version: VERSION_2,
            exchange,
            flags,
            message_id,
        }
    }

    /// Major version, 0-15. The minor one is ignored (RFC 7296 §2.5).
    pub const fn major_version(&self) -> u8 {
        self.version >> 4
    }

    /// Appends the 28 octets; `first` is the type of the first payload, Length is left for back-patching.
    pub(super) fn write(&self, out: &mut Writer, first: PayloadType) {
        out.bytes(&self.spi_i.to_bytes());
        out.bytes(&self.spi_r.to_bytes());
        out.u8(first.0);
        out.u8(self.version);
        out.u8(self.exchange.0);
        out.u8(self.flags.octet());
        out.u32(self.message_id);
        out.u32(0);
    }
}

/// Reads the header of a datagram (any major version: IKEv1's header has the same shape).
///
/// # Errors
/// Fewer than 28 octets, or a Length field that is not the datagram's length.
pub fn parse_header(datagram: &[u8]) -> Result<Header, Error> {
    let short = Error::ShortHeader { length: datagram.len() };
    let mut reader = Reader::new(datagram);
    let spi_i = IkeSpi::from_bytes(reader.array().ok_or(short)?);
    let spi_r = IkeSpi::from_bytes(reader.array().ok_or(short)?);
    let [next, version, exchange, flags] = reader.array().ok_or(short)?;
    let message_id = reader.u32().ok_or(short)?;
    let declared = reader.u32().ok_or(short)?;
    if usize::try_from(declared) != Ok(datagram.len()) {
        return Err(Error::LengthMismatch { declared, received: datagram.len() });
    }
    Ok(Header {
        spi_i,
        spi_r,
        next_payload: PayloadType(next),
        version,
        exchange: ExchangeType(exchange),
        flags: Flags::from_octet(flags),
        message_id,
    })
}
