//! Whole messages: the chain of payloads behind the header (RFC 7296 §3.2).

use super::MAX_PAYLOADS;
use super::codec::{Reader, Writer};
use super::error::Error;
use super::header::{HEADER_LEN, Header, parse_header};
use super::iana::PayloadType;
use super::payload::{Payload, read_numbers};

/// Octets of the generic payload header.
const GENERIC_LEN: usize = 4;
/// The critical bit in the generic payload header.
const CRITICAL: u8 = 0x80;
/// Offset of the Length field in the IKE header.
const LENGTH_FIELD: usize = 24;

/// A message with its payloads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The fixed header.
    pub header: Header,
    /// All payloads in their order.
    pub payloads: Vec<Payload>,
}

/// Payloads encoded without a header, for encryption or for fragments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// Type of the first payload; NONE when there is none.
    pub first: PayloadType,
    /// The chain of payloads.
    pub bytes: Vec<u8>,
}

/// A protected message taken apart without believing any of it: what the integrity check needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed<'a> {
    /// The fixed header.
    pub header: Header,
    /// Payloads in the clear before the encrypted one; covered by the integrity check.
    pub outer: Vec<Payload>,
    /// Type of the first payload inside.
    pub first: PayloadType,
    /// Fragment Number and Total Fragments when the payload is SKF.
    pub fragment: Option<(u16, u16)>,
    /// From the header up to the IV: the associated data of RFC 5282 §5.1 and RFC 7383 §2.5.
    pub associated: &'a [u8],
    /// IV, ciphertext, ICV: the rest of the datagram.
    pub body: &'a [u8],
}

/// One payload of a chain, its body unread.
struct Link<'a> {
    kind: PayloadType,
    critical: bool,
    next: PayloadType,
    body: &'a [u8],
}

/// Walks a chain; each step is one payload, until the chain and the octets have ended together.
struct Chain<'a> {
    next: PayloadType,
    reader: Reader<'a>,
    seen: usize,
}

impl<'a> Chain<'a> {
    const fn new(first: PayloadType, bytes: &'a [u8]) -> Self {
        Self { next: first, reader: Reader::new(bytes), seen: 0 }
    }

    fn step(&mut self) -> Result<Option<Link<'a>>, Error> {
        let kind = self.next;
        if kind == PayloadType::NONE {
            return if self.reader.is_empty() { Ok(None) } else { Err(Error::Trailing(PayloadType::NONE)) };
        }
        if self.seen == MAX_PAYLOADS {
            return Err(Error::TooMany(PayloadType::NONE));
        }
        self.seen += 1;
        let [next, critical] = self.reader.array().ok_or(Error::Truncated(kind))?;
        let length = usize::from(self.reader.u16().ok_or(Error::Truncated(kind))?);
        let inner = length.checked_sub(GENERIC_LEN).ok_or(Error::BadLength(kind))?;
        let body = self.reader.take(inner).ok_or(Error::BadLength(kind))?;
        let next = PayloadType(next);
        let encrypted = kind == PayloadType::SK || kind == PayloadType::SKF;
        if encrypted {
            // §3.14: it is the last payload, and its Next Payload names the first one inside.
            if !self.reader.is_empty() {
                return Err(Error::MisplacedEncrypted);
            }
            self.next = PayloadType::NONE;
        } else {
            self.next = next;
        }
        Ok(Some(Link { kind, critical: critical & CRITICAL != 0, next, body }))
    }
}

/// Reads a datagram as a message; encrypted payloads stay closed.
///
/// # Errors
/// Anything malformed, and any major version but 2.
pub fn parse(datagram: &[u8]) -> Result<Message, Error> {
    let (header, rest) = open_header(datagram)?;
    let payloads = read_chain(header.next_payload, rest)?;
    Ok(Message { header, payloads })
}

/// Reads a chain of payloads that stands inside an encrypted payload.
///
/// # Errors
/// Anything malformed, and an encrypted payload: they do not nest.
pub fn parse_payloads(first: PayloadType, bytes: &[u8]) -> Result<Vec<Payload>, Error> {
    let payloads = read_chain(first, bytes)?;
    if payloads.iter().any(|payload| payload.first_inside().is_some()) {
        return Err(Error::MisplacedEncrypted);
    }
    Ok(payloads)
}

/// Takes a protected message apart for decryption. `None` when it has no SK or SKF payload.
///
/// # Errors
/// Anything malformed outside the encrypted payload, and any major version but 2.
pub fn split_encrypted(datagram: &[u8]) -> Result<Option<Sealed<'_>>, Error> {
    let (header, rest) = open_header(datagram)?;
    let mut chain = Chain::new(header.next_payload, rest);
    let mut outer = Vec::new();
    while let Some(link) = chain.step()? {
        let mut body = Reader::new(link.body);
        let fragment = match link.kind {
            PayloadType::SK => None,
            PayloadType::SKF => Some(read_numbers(&mut body)?),
            _ => {
                outer.push(Payload::read(link.kind, link.critical, link.next, link.body)?);
                continue;
            }
        };
        let body = body.rest();
        let associated = datagram.split_at_checked(datagram.len() - body.len()).map_or(datagram, |(a, _)| a);
        return Ok(Some(Sealed { header, outer, first: link.next, fragment, associated, body }));
    }
    Ok(None)
}

/// Encodes a message: fills in Next Payload and Length, whatever `header.next_payload` says.
pub fn encode(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    let mut out = Writer::with_capacity(512);
    header.write(&mut out, payloads.first().map_or(PayloadType::NONE, Payload::kind));
    write_chain(payloads, &mut out);
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out.put(LENGTH_FIELD, &length.to_be_bytes());
    out.finish()
}

/// Encodes payloads alone, as they stand inside an encrypted payload.
pub fn encode_payloads(payloads: &[Payload]) -> Encoded {
    let mut out = Writer::with_capacity(512);
    write_chain(payloads, &mut out);
    Encoded { first: payloads.first().map_or(PayloadType::NONE, Payload::kind), bytes: out.finish() }
}

fn open_header(datagram: &[u8]) -> Result<(Header, &[u8]), Error> {
    let header = parse_header(datagram)?;
    if header.major_version() != 2 {
        return Err(Error::MajorVersion(header.major_version()));
    }
    let rest = datagram.get(HEADER_LEN..).ok_or(Error::ShortHeader { length: datagram.len() })?;
    Ok((header, rest))
}

fn read_chain(first: PayloadType, bytes: &[u8]) -> Result<Vec<Payload>, Error> {
    let mut chain = Chain::new(first, bytes);
    let mut payloads = Vec::new();
    while let Some(link) = chain.step()? {
        payloads.push(Payload::read(link.kind, link.critical, link.next, link.body)?);
    }
    Ok(payloads)
}

fn write_chain(payloads: &[Payload], out: &mut Writer) {
    for (index, payload) in payloads.iter().enumerate() {
        let following = payloads.get(index + 1).map_or(PayloadType::NONE, Payload::kind);
        let mark = out.mark(2);
        out.u8(payload.first_inside().unwrap_or(following).0);
        out.u8(if payload.critical() { CRITICAL } else { 0 });
        out.u16(0);
        payload.write(out);
        out.patch_u16(&mark);
    }
}
