//! Distinguished names: from text, from DER, to DER, and when two are the same.
//!
//! Two names are equal when their attributes are, in order, whatever kind of string holds them: one CA writes
//! PrintableString where another writes UTF8String. What people write may stand in either order (OpenSSL's, which
//! is that of the encoding, or RFC 4514's, which is the reverse).

use std::fmt;

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _, Tag, Tagged as _};
use x509_cert::name::RdnSequence;

/// Attributes in one name, at most.
const MAX_ATTRIBUTES: usize = 32;
/// Longest name, octets of DER.
const MAX_NAME: usize = 2048;

/// Short names, object identifiers, and the string that we write (RFC 5280 appendix A).
const ATTRIBUTES: [(&str, ObjectIdentifier, u8); 15] = [
    ("CN", ObjectIdentifier::new_unwrap("2.5.4.3"), UTF8),
    ("SN", ObjectIdentifier::new_unwrap("2.5.4.4"), UTF8),
    ("serialNumber", ObjectIdentifier::new_unwrap("2.5.4.5"), PRINTABLE),
    ("C", ObjectIdentifier::new_unwrap("2.5.4.6"), PRINTABLE),
    ("L", ObjectIdentifier::new_unwrap("2.5.4.7"), UTF8),
    ("ST", ObjectIdentifier::new_unwrap("2.5.4.8"), UTF8),
    ("STREET", ObjectIdentifier::new_unwrap("2.5.4.9"), UTF8),
    ("O", ObjectIdentifier::new_unwrap("2.5.4.10"), UTF8),
    ("OU", ObjectIdentifier::new_unwrap("2.5.4.11"), UTF8),
    ("T", ObjectIdentifier::new_unwrap("2.5.4.12"), UTF8),
    ("GN", ObjectIdentifier::new_unwrap("2.5.4.42"), UTF8),
    ("dnQualifier", ObjectIdentifier::new_unwrap("2.5.4.46"), PRINTABLE),
    ("DC", ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25"), IA5),
    ("UID", ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1"), UTF8),
    ("E", ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1"), IA5),
];
/// Other spellings.
const ALIASES: [(&str, &str); 3] = [("S", "ST"), ("emailAddress", "E"), ("email", "E")];

const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;

/// One value: text, or what is no text that we read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Value {
    Text(String),
    /// The whole element, DER.
    Other(Vec<u8>),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Attribute {
    kind: ObjectIdentifier,
    value: Value,
}

/// A distinguished name (RFC 5280 §4.1.2.4): sets of attributes in order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DistinguishedName(Vec<Vec<Attribute>>);

/// Why a text is no distinguished name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidName {
    /// A part without `=`, or without a value.
    #[error("`{0}` is not NAME=VALUE")]
    Part(String),
    /// An attribute that is not known.
    #[error(
        "`{0}` is no attribute of a name; known are C, ST, L, O, OU, CN, DC, UID, E, or an object identifier"
    )]
    Attribute(String),
    /// Too long, or empty.
    #[error("the name is empty or too long")]
    Length,
}

impl DistinguishedName {
    /// Reads DER; `None` when it is not a name, or larger than is sane.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        if der.len() > MAX_NAME {
            return None;
        }
        Self::from_rdns(&RdnSequence::from_der(der).ok()?)
    }

    /// Takes over what was read.
    pub(super) fn from_rdns(rdns: &RdnSequence) -> Option<Self> {
        let mut sets = Vec::new();
        for rdn in rdns.iter() {
            let mut set = Vec::new();
            for attribute in rdn.iter() {
                let content = attribute.value.value();
                let value = match attribute.value.tag() {
                    Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
                        Value::Text(std::str::from_utf8(content).ok()?.to_owned())
                    }
                    _ => Value::Other(attribute.value.to_der().ok()?),
                };
                set.push(Attribute { kind: attribute.oid, value });
            }
            set.sort();
            sets.push(set);
        }
        (sets.iter().map(Vec::len).sum::<usize>() <= MAX_ATTRIBUTES).then_some(Self(sets))
    }

    /// Reads text: `C=US, O=Example, CN=gw.example`; `\` before a character takes it as it is.
    ///
    /// # Errors
    /// The first part that is not understood.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let mut sets = Vec::new();
        for rdn in split(text, |c| matches!(c, ',' | '/')) {
            let mut set = Vec::new();
            for part in split(&rdn, |c| c == '+') {
                let (kind, value) =
                    part.split_once('=').ok_or_else(|| InvalidName::Part(part.trim().to_owned()))?;
                let value = unescape(value.trim().trim_matches('"'));
                if value.is_empty() {
                    return Err(InvalidName::Part(part.trim().to_owned()));
                }
                set.push(Attribute { kind: attribute(kind.trim())?, value: Value::Text(value) });
            }
            set.sort();
            sets.push(set);
        }
        let count: usize = sets.iter().map(Vec::len).sum();
        let name = Self(sets);
        if count == 0 || count > MAX_ATTRIBUTES || name.to_der().len() > MAX_NAME {
            return Err(InvalidName::Length);
        }
        Ok(name)
    }

    /// Whether both name the same, the other perhaps written in the reverse order.
    pub fn matches(&self, other: &Self) -> bool {
        self == other || (self.0.len() == other.0.len() && self.0.iter().eq(other.0.iter().rev()))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// DER, in the order in which it stands.
    pub fn to_der(&self) -> Vec<u8> {
        let sets = self.0.iter().map(|set| {
            let mut attributes: Vec<_> = set.iter().map(encode).collect();
            // DER sorts the members of a SET OF.
            attributes.sort();
            wrap(0x31, &attributes.concat())
        });
        wrap(0x30, &sets.collect::<Vec<_>>().concat())
    }
}

fn encode(attribute: &Attribute) -> Vec<u8> {
    let kind = attribute.kind.to_der().unwrap_or_default();
    let value = match &attribute.value {
        Value::Text(text) => {
            let known = ATTRIBUTES.iter().find(|(_, oid, _)| *oid == attribute.kind);
            let tag = if text.is_ascii() { known.map_or(UTF8, |(_, _, tag)| *tag) } else { UTF8 };
            wrap(tag, text.as_bytes())
        }
        Value::Other(element) => element.clone(),
    };
    wrap(0x30, &[kind, value].concat())
}

/// One DER element, up to 65,535 octets.
fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let mut out = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend_from_slice(content);
    out
}

/// Parts between separators that are neither escaped nor quoted; empty ones are left out.
fn split(text: &str, separator: impl Fn(char) -> bool) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut escaped, mut quoted) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted && separator(c) => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn unescape(text: &str) -> String {
    let mut escaped = false;
    text.chars()
        .filter(|c| {
            let drop = *c == '\\' && !escaped;
            escaped = drop;
            !drop
        })
        .collect()
}

fn attribute(name: &str) -> Result<ObjectIdentifier, InvalidName> {
    let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|(_, known)| *known);
    let name = alias.unwrap_or(name);
    let known = ATTRIBUTES.iter().find(|(short, _, _)| short.eq_ignore_ascii_case(name));
    match known {
        Some((_, oid, _)) => Ok(*oid),
        None => ObjectIdentifier::new(name).map_err(|_| InvalidName::Attribute(name.to_owned())),
    }
}

/// As OpenSSL prints it, in the order of the encoding; control characters escaped: it ends in logs.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, set) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            for (index, attribute) in set.iter().enumerate() {
                if index > 0 {
                    f.write_str("+")?;
                }
                match ATTRIBUTES.iter().find(|(_, oid, _)| *oid == attribute.kind) {
                    Some((short, _, _)) => write!(f, "{short}=")?,
                    None => write!(f, "{}=", attribute.kind)?,
                }
                match &attribute.value {
                    Value::Text(text) => show(f, text)?,
                    Value::Other(element) => {
                        f.write_str("#")?;
                        element.iter().try_for_each(|octet| write!(f, "{octet:02x}"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A value that [`DistinguishedName::parse`] reads back.
fn show(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            ',' | '+' | '/' | '\\' | '"' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "{}", c.escape_default())?,
            c => write!(f, "{c}")?,
        }
    }
    Ok(())
}

impl fmt::Debug for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
