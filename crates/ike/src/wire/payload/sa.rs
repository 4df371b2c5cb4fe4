//! Security Association payload: proposals, transforms, attributes (RFC 7296 §3.3).

use super::super::codec::{Reader, Writer};
use super::super::error::Error;
use super::super::iana::{
    AttributeType, DhGroup, EncrId, EsnId, IntegId, PayloadType, PrfId, ProtocolId, TransformType,
};
use super::super::{MAX_ATTRIBUTES, MAX_PROPOSALS, MAX_TRANSFORMS};
use super::take_all;

/// Value of "Last Substruc" when another proposal follows (§3.3.1).
const MORE_PROPOSALS: u8 = 2;
/// Value of "Last Substruc" when another transform follows (§3.3.2).
const MORE_TRANSFORMS: u8 = 3;
/// Format bit of an attribute: set for type/value, clear for type/length/value (§3.3.5).
const TYPE_VALUE: u16 = 0x8000;

/// An offer (one or more proposals) or a choice (exactly one).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityAssociation {
    /// In order of preference; at least one.
    pub proposals: Vec<Proposal>,
}

/// One combination of transforms to choose from (§3.3.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// 1 for the first of an offer, then counting up; a choice repeats the number it took.
    pub number: u8,
    /// What the SA is for.
    pub protocol: ProtocolId,
    /// The sender's SPI: empty in IKE_SA_INIT, 8 octets when rekeying IKE, 4 for ESP.
    pub spi: Vec<u8>,
    /// Alternatives, several per type; at least one.
    pub transforms: Vec<Transform>,
}

/// One algorithm (§3.3.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transform {
    /// Which of the registries `id` belongs to.
    pub kind: TransformType,
    /// The algorithm.
    pub id: u16,
    /// Parameters. A transform with an attribute we do not know is not acceptable (§3.3.6).
    pub attributes: Vec<Attribute>,
}

/// One transform attribute (§3.3.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// Its type, without the format bit.
    pub kind: AttributeType,
    /// Its value.
    pub value: AttributeValue,
}

/// The two formats of §3.3.5.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttributeValue {
    /// Type/value, 16 bits.
    Short(u16),
    /// Type/length/value.
    Long(Vec<u8>),
}

impl Transform {
    /// A transform without attributes.
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self { kind, id, attributes: Vec::new() }
    }

    /// An encryption algorithm; `key_bits` where the algorithm has a variable key length (§3.3.5).
    pub fn encryption(id: EncrId, key_bits: Option<u16>) -> Self {
        let attributes = key_bits
            .map(|bits| Attribute { kind: AttributeType::KEY_LENGTH, value: AttributeValue::Short(bits) })
            .into_iter()
            .collect();
        Self { kind: TransformType::ENCR, id: id.0, attributes }
    }

    /// A pseudo-random function.
    pub const fn prf(id: PrfId) -> Self {
        Self::new(TransformType::PRF, id.0)
    }

    /// An integrity algorithm.
    pub const fn integrity(id: IntegId) -> Self {
        Self::new(TransformType::INTEG, id.0)
    }

    /// A key exchange method.
    pub const fn group(group: DhGroup) -> Self {
        Self::new(TransformType::DH, group.0)
    }

    /// Extended sequence numbers, on or off.
    pub const fn esn(esn: bool) -> Self {
        Self::new(TransformType::ESN, if esn { EsnId::ESN.0 } else { EsnId::NO_ESN.0 })
    }

    /// The Key Length attribute in bits, if there is exactly one, in its defined format.
    pub fn key_bits(&self) -> Option<u16> {
        match self.attributes.as_slice() {
            [Attribute { kind: AttributeType::KEY_LENGTH, value: AttributeValue::Short(bits) }] => {
                Some(*bits)
            }
            _ => None,
        }
    }
}

impl SecurityAssociation {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut proposals = Vec::new();
        loop {
            if proposals.len() == MAX_PROPOSALS {
                return Err(Error::TooMany(PayloadType::SA));
            }
            let (proposal, more) = Proposal::read(reader)?;
            proposals.push(proposal);
            match (more, reader.is_empty()) {
                (true, false) => {}
                (false, true) => return Ok(Self { proposals }),
                _ => return Err(Error::BadCount(PayloadType::SA)),
            }
        }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        let last = self.proposals.len().saturating_sub(1);
        for (index, proposal) in self.proposals.iter().enumerate() {
            proposal.write(index < last, out);
        }
    }
}

/// Reads the common head of a proposal or transform: the more/last marker and what the length encloses.
fn substructure<'a>(reader: &mut Reader<'a>, more: u8) -> Result<(Reader<'a>, bool), Error> {
    let truncated = Error::Truncated(PayloadType::SA);
    let [marker, _reserved] = reader.array().ok_or(truncated)?;
    let length = usize::from(reader.u16().ok_or(truncated)?);
    let inner = length.checked_sub(4).ok_or(Error::BadLength(PayloadType::SA))?;
    let body = reader.sub(inner).ok_or(Error::BadLength(PayloadType::SA))?;
    match marker {
        0 => Ok((body, false)),
        marker if marker == more => Ok((body, true)),
        _ => Err(Error::BadValue(PayloadType::SA)),
    }
}

impl Proposal {
    fn read(reader: &mut Reader<'_>) -> Result<(Self, bool), Error> {
        let truncated = Error::Truncated(PayloadType::SA);
        let (mut body, more) = substructure(reader, MORE_PROPOSALS)?;
        let [number, protocol, spi_size, count] = body.array().ok_or(truncated)?;
        let spi = body.take(usize::from(spi_size)).ok_or(Error::BadLength(PayloadType::SA))?.to_vec();
        let count = usize::from(count);
        if count > MAX_TRANSFORMS {
            return Err(Error::TooMany(PayloadType::SA));
        }
        let mut transforms = Vec::new();
        loop {
            if transforms.len() == count {
                return Err(Error::BadCount(PayloadType::SA));
            }
            let (transform, more) = Transform::read(&mut body)?;
            transforms.push(transform);
            match (more, body.is_empty()) {
                (true, false) => {}
                (false, true) if transforms.len() == count => break,
                _ => return Err(Error::BadCount(PayloadType::SA)),
            }
        }
        Ok((Self { number, protocol: ProtocolId(protocol), spi, transforms }, more))
    }

    fn write(&self, more: bool, out: &mut Writer) {
        let mark = out.mark(2);
        out.u8(if more { MORE_PROPOSALS } else { 0 });
        out.u8(0);
        out.u16(0);
        out.u8(self.number);
        out.u8(self.protocol.0);
        out.u8(u8::try_from(self.spi.len()).unwrap_or(u8::MAX));
        out.u8(u8::try_from(self.transforms.len()).unwrap_or(u8::MAX));
        out.bytes(&self.spi);
        let last = self.transforms.len().saturating_sub(1);
        for (index, transform) in self.transforms.iter().enumerate() {
            transform.write(index < last, out);
        }
        out.patch_u16(&mark);
    }
}

impl Transform {
    fn read(reader: &mut Reader<'_>) -> Result<(Self, bool), Error> {
        let truncated = Error::Truncated(PayloadType::SA);
        let (mut body, more) = substructure(reader, MORE_TRANSFORMS)?;
        let [kind, _reserved] = body.array().ok_or(truncated)?;
        let id = body.u16().ok_or(truncated)?;
        let mut attributes = Vec::new();
        while !body.is_empty() {
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(Error::TooMany(PayloadType::SA));
            }
            attributes.push(Attribute::read(&mut body)?);
        }
        Ok((Self { kind: TransformType(kind), id, attributes }, more))
    }

    fn write(&self, more: bool, out: &mut Writer) {
        let mark = out.mark(2);
        out.u8(if more { MORE_TRANSFORMS } else { 0 });
        out.u8(0);
        out.u16(0);
        out.u8(self.kind.0);
        out.u8(0);
        out.u16(self.id);
        for attribute in &self.attributes {
            attribute.write(out);
        }
        out.patch_u16(&mark);
    }
}

impl Attribute {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let truncated = Error::Truncated(PayloadType::SA);
        let kind = reader.u16().ok_or(truncated)?;
        let value = reader.u16().ok_or(truncated)?;
        let value = if kind & TYPE_VALUE != 0 {
            AttributeValue::Short(value)
        } else {
            let mut long = reader.sub(usize::from(value)).ok_or(Error::BadLength(PayloadType::SA))?;
            AttributeValue::Long(take_all(&mut long))
        };
        Ok(Self { kind: AttributeType(kind & !TYPE_VALUE), value })
    }

    fn write(&self, out: &mut Writer) {
        match &self.value {
            AttributeValue::Short(value) => {
                out.u16(self.kind.0 | TYPE_VALUE);
                out.u16(*value);
            }
            AttributeValue::Long(value) => {
                out.u16(self.kind.0 & !TYPE_VALUE);
                out.u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
                out.bytes(value);
            }
        }
    }
}
