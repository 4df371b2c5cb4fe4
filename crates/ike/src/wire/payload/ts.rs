//! Traffic Selector payloads (RFC 7296 §3.13).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::TrafficSelector;

use super::super::MAX_SELECTORS;
use super::super::codec::{Reader, Writer};
use super::super::error::Error;
use super::super::iana::PayloadType;

/// TS_IPV4_ADDR_RANGE and TS_IPV6_ADDR_RANGE (§3.13.1).
const IPV4_RANGE: u8 = 7;
const IPV6_RANGE: u8 = 8;
/// Octets of a selector's own head: type, protocol, length.
const HEAD: usize = 4;

pub(super) fn read(kind: PayloadType, reader: &mut Reader<'_>) -> Result<Vec<TrafficSelector>, Error> {
    let truncated = Error::Truncated(kind);
    let count = usize::from(reader.u8().ok_or(truncated)?);
    let _reserved: [u8; 3] = reader.array().ok_or(truncated)?;
    if count == 0 {
        return Err(Error::BadCount(kind));
    }
    if count > MAX_SELECTORS {
        return Err(Error::TooMany(kind));
    }
    let mut selectors = Vec::new();
    for _ in 0..count {
        if reader.is_empty() {
            return Err(Error::BadCount(kind));
        }
        selectors.extend(read_one(kind, reader)?);
    }
    if reader.is_empty() { Ok(selectors) } else { Err(Error::BadCount(kind)) }
}

/// One selector; `None` for a type we do not know: leaving it out is narrowing (§2.9), and when nothing is
/// left the negotiation ends in TS_UNACCEPTABLE.
fn read_one(kind: PayloadType, reader: &mut Reader<'_>) -> Result<Option<TrafficSelector>, Error> {
    let truncated = Error::Truncated(kind);
    let [ts_type, protocol] = reader.array().ok_or(truncated)?;
    let length = usize::from(reader.u16().ok_or(truncated)?);
    let inner = length.checked_sub(HEAD).ok_or(Error::BadLength(kind))?;
    let mut body = reader.sub(inner).ok_or(Error::BadLength(kind))?;
    let bad_length = Error::BadLength(kind);
    if ts_type != IPV4_RANGE && ts_type != IPV6_RANGE {
        return Ok(None);
    }
    let ports = (body.u16().ok_or(bad_length)?, body.u16().ok_or(bad_length)?);
    let (start, end): (IpAddr, IpAddr) = if ts_type == IPV4_RANGE {
        let [start, end]: [[u8; 4]; 2] = [body.array().ok_or(bad_length)?, body.array().ok_or(bad_length)?];
        (Ipv4Addr::from(start).into(), Ipv4Addr::from(end).into())
    } else {
        let [start, end]: [[u8; 16]; 2] = [body.array().ok_or(bad_length)?, body.array().ok_or(bad_length)?];
        (Ipv6Addr::from(start).into(), Ipv6Addr::from(end).into())
    };
    if !body.is_empty() {
        return Err(bad_length);
    }
    TrafficSelector::new(protocol, ports, start, end).map(Some).map_err(|_| Error::BadValue(kind))
}

pub(super) fn write(selectors: &[TrafficSelector], out: &mut Writer) {
    out.u8(u8::try_from(selectors.len()).unwrap_or(u8::MAX));
    out.bytes(&[0; 3]);
    for selector in selectors {
        let mark = out.mark(2);
        out.u8(if selector.start().is_ipv4() { IPV4_RANGE } else { IPV6_RANGE });
        out.u8(selector.protocol());
        out.u16(0);
        let (start_port, end_port) = selector.ports();
        out.u16(start_port);
        out.u16(end_port);
        for address in [selector.start(), selector.end()] {
            match address {
                IpAddr::V4(address) => out.bytes(&address.octets()),
                IpAddr::V6(address) => out.bytes(&address.octets()),
            }
        }
        out.patch_u16(&mark);
    }
}
