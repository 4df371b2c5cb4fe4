//! Inside addresses: the /30 or /126 link between AWS and us (EC2 API, `TunnelInsideCidr`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::reader::{At, Reader};
use crate::{Diagnostic, Inside, Peer};

/// Third octet of the links that AWS keeps for itself: 169.254.0.0/30 to 169.254.5.0/30.
const LAST_RESERVED: u8 = 5;
/// AWS keeps this one too: it holds the addresses of its resolver (.253) and its metadata service (.254).
const RESERVED: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 252);

/// Whether AWS hands out no such link (`net` is its network address).
pub(crate) fn is_reserved(net: Ipv4Addr) -> bool {
    let [a, b, c, d] = net.octets();
    net == RESERVED || (a, b, d) == (169, 254, 0) && c <= LAST_RESERVED
}

/// What to do about a missing inside address.
pub(super) const ADD_INSIDE: &str = "add `inside = \"169.254.10.2/30\"`: \"Customer Gateway\" under \"Inside IP Addresses\" in the Generic download";

/// Reads `inside` and `inside_ipv6`, both of which may be missing; `None` when one is wrong.
pub(super) fn inside(reader: &mut Reader<'_, '_>, peer: Peer) -> Option<(Vec<Inside>, Vec<Range<usize>>)> {
    let missing = !reader.has("inside") && !reader.has("inside_ipv6");
    let mut links = Vec::new();
    let mut spans = Vec::new();
    for key in ["inside", "inside_ipv6"] {
        let Some(at) = host(reader, key, key == "inside") else { continue };
        match link(at.value, peer) {
            Ok(link) => {
                links.push(link);
                spans.push(at.span);
            }
            Err(Bad { what, cause, remedy }) => {
                reader.push(Diagnostic::error("CFG-INSIDE", what, remedy).at(at.span, "").because(cause));
            }
        }
    }
    (missing || !links.is_empty()).then_some((links, spans))
}

/// A host address with its prefix length, of the wanted family.
fn host(reader: &mut Reader<'_, '_>, key: &'static str, want_v4: bool) -> Option<At<IpNet>> {
    let text = reader.string(key)?;
    let length = if want_v4 { 30 } else { 126 };
    match text.value.parse::<IpNet>() {
        Ok(net) if matches!(net, IpNet::V4(_)) == want_v4 => Some(At { value: net, span: text.span }),
        Ok(_) => {
            let other = if want_v4 { "inside_ipv6" } else { "inside" };
            reader.bad(
                text.span,
                format!("`{key}` has the wrong address family"),
                format!("write it as `{other}`"),
            );
            None
        }
        Err(_) => {
            let remedy = match text.value.parse::<IpAddr>() {
                Ok(address) => format!("add the prefix length: \"{address}/{length}\""),
                Err(_) => format!("write our inside address with /{length}, as the AWS download has it"),
            };
            reader.bad(text.span, format!("`{key}` is no address with a prefix length"), remedy);
            None
        }
    }
}

/// Why an address is not ours on an inside link.
pub(crate) struct Bad {
    /// The sentence.
    pub(crate) what: String,
    /// The rule behind it.
    pub(crate) cause: &'static str,
    /// What to write.
    pub(crate) remedy: String,
}

/// The link on which we have the address `ours`.
pub(crate) fn link(ours: IpNet, peer: Peer) -> Result<Inside, Bad> {
    match ours {
        IpNet::V4(net) => v4(net, peer),
        IpNet::V6(net) => v6(net, peer),
    }
}

const V4_RULE: &str =
    "AWS links are /30 in 169.254.0.0/16; AWS has the first usable address, we have the second";
const V6_RULE: &str = "AWS links are /126 in fd00::/8; AWS has the first usable address, we have the second";
const OTHER_RULE: &str = "the link must hold exactly two hosts, so that the peer's address follows from ours";

fn v4(net: Ipv4Net, peer: Peer) -> Result<Inside, Bad> {
    let base = u32::from(net.network());
    let offset = u32::from(net.addr()) - base;
    let other = |n: u32| IpAddr::V4(Ipv4Addr::from(base + n));
    let ours = IpNet::V4(net);
    if peer == Peer::Other {
        return match (net.prefix_len(), offset) {
            (30, 1) => Ok(Inside { ours, aws: other(2) }),
            (30, 2) => Ok(Inside { ours, aws: other(1) }),
            (31, host) => Ok(Inside { ours, aws: other(1 - host) }),
            _ => Err(not_two_hosts(ours)),
        };
    }
    let bad = |what: String, remedy: String| Err(Bad { what, cause: V4_RULE, remedy });
    let second = format!("\"{}/30\"", other(2));
    match (net.prefix_len(), offset) {
        (length, _) if length != 30 => bad(
            format!("the inside link is a /{length}"),
            "copy the customer gateway's inside address from the download, with its /30".to_owned(),
        ),
        _ if !net.network().is_link_local() => bad(
            format!("{} is no inside address of AWS", net.addr()),
            "copy the customer gateway's address under \"Inside IP Addresses\" from the download".to_owned(),
        ),
        _ if is_reserved(net.network()) => Err(Bad {
            what: format!("{} is reserved by AWS", net.trunc()),
            cause: "AWS never assigns 169.254.0.0/30 to 169.254.5.0/30 and 169.254.169.252/30 to a tunnel",
            remedy: "copy the inside addresses from the download".to_owned(),
        }),
        (_, 0) => {
            bad(format!("{} is the network address of the link", net.addr()), format!("ours is {second}"))
        }
        (_, 1) => bad(format!("{} is AWS's inside address", net.addr()), format!("ours is {second}")),
        (_, 3) => {
            bad(format!("{} is the broadcast address of the link", net.addr()), format!("ours is {second}"))
        }
        _ => Ok(Inside { ours, aws: other(1) }),
    }
}

fn v6(net: Ipv6Net, peer: Peer) -> Result<Inside, Bad> {
    let base = u128::from(net.network());
    let offset = u128::from(net.addr()) - base;
    let other = |n: u128| IpAddr::V6(Ipv6Addr::from(base + n));
    let ours = IpNet::V6(net);
    if peer == Peer::Other {
        return match (net.prefix_len(), offset) {
            (126, 1) => Ok(Inside { ours, aws: other(2) }),
            (126, 2) => Ok(Inside { ours, aws: other(1) }),
            (127, host) => Ok(Inside { ours, aws: other(1 - host) }),
            _ => Err(not_two_hosts(ours)),
        };
    }
    let bad = |what: String, remedy: String| Err(Bad { what, cause: V6_RULE, remedy });
    match (net.prefix_len(), offset) {
        (length, _) if length != 126 => bad(
            format!("the inside IPv6 link is a /{length}"),
            "copy our address from the download, with /126".to_owned(),
        ),
        _ if net.network().octets().first() != Some(&0xfd) => bad(
            format!("{} is no inside address of AWS", net.addr()),
            "copy the customer gateway's inside IPv6 address from the download".to_owned(),
        ),
        (_, 2) => Ok(Inside { ours, aws: other(1) }),
        _ => bad(
            format!("{} is not our address of the link", net.addr()),
            format!("ours is \"{}/126\"", other(2)),
        ),
    }
}

fn not_two_hosts(net: IpNet) -> Bad {
    Bad {
        what: format!("{net} does not name a link of two"),
        cause: OTHER_RULE,
        remedy: "use a host address with /30 or /31 (/126 or /127 for IPv6)".to_owned(),
    }
}
