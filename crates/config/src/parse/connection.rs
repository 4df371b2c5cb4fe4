//! `[[connection]]` and `[connection.bgp]`.

use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;

use super::check::Placed;
use super::reader::{At, Reader};
use super::{section, tunnel};
use crate::schema;
use crate::{Accept, Bgp, BgpMode, Connection, Diagnostic, Peer, Routing};

/// Hold time AWS proposes (its downloads print it).
const DEFAULT_HOLD: Duration = Duration::from_secs(30);
/// RFC 4271 §4.2: zero, or at least three seconds; zero would leave a dead session up for ever.
const MIN_HOLD: Duration = Duration::from_secs(3);
/// The wire has 16 bits for it.
const MAX_HOLD: Duration = Duration::from_secs(65_535);
/// Prefixes a virtual private gateway takes from us.
const DEFAULT_MAX_ADVERTISED: u32 = 100;
/// Prefixes a transit gateway sends at most.
/// Above AWS's 5,000: a router may echo our own prefixes besides, which count until they are thrown away.
const DEFAULT_MAX_ACCEPTED: u32 = 10_000;
/// Longest connection identifier.
const MAX_ID: usize = 64;

/// How the connection says that it is routed, before its details were read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Static,
    Bgp,
}

/// Reads one connection; `None` when too much is missing to compare it with others.
pub(super) fn connection(reader: &mut Reader<'_, '_>, tunnels_before: &mut usize) -> Option<Placed> {
    let id = identifier(reader, "id", MAX_ID);
    reader.require("id");
    let peer = reader.choice("peer", &[("aws", Peer::Aws), ("other", Peer::Other)]).unwrap_or(Peer::Aws);
    let kind = reader.choice("routing", &[("static", Kind::Static), ("bgp", Kind::Bgp)]);
    reader.require("routing");
    let allow_default_route = reader.boolean("allow_default_route").unwrap_or(false);
    let lan = reader.prefixes("lan").unwrap_or_default();
    let vpc = reader.prefixes("vpc");
    if !allow_default_route {
        refuse_default_route(reader, vpc.as_deref().unwrap_or_default());
    }
    let bgp = bgp(reader, kind, &lan, vpc.as_deref());
    if kind == Some(Kind::Static) {
        static_needs_vpc(reader, vpc.as_deref());
    }

    let tables = reader.tables("tunnel", &schema::TUNNEL);
    if tables.is_empty() && !reader.has("tunnel") {
        reader.missing("tunnel", "add a [[connection.tunnel]] for each of the two tunnels that AWS gives");
    }
    let mut tunnels = Vec::new();
    for (index, (table, span)) in tables.into_iter().enumerate() {
        let id = id.as_ref().map_or("", |at| at.value.as_str());
        let defaults = tunnel::Defaults { peer, id, index, interface: *tunnels_before };
        *tunnels_before += 1;
        let mut inner = Reader::new(&schema::TUNNEL, table, span, reader.report());
        tunnels.extend(tunnel::tunnel(&mut inner, &defaults));
    }

    let nets = |list: &[At<IpNet>]| list.iter().map(|at| at.value).collect::<Vec<_>>();
    let vpc = vpc.unwrap_or_default();
    let routing = match kind? {
        Kind::Static => Routing::Static { vpc: nets(&vpc) },
        Kind::Bgp => Routing::Bgp(bgp?),
    };
    let (id, id_span) = id.map(|at| (at.value, at.span))?;
    let connection =
        Connection { id, peer, routing, lan: nets(&lan), allow_default_route, tunnels: Vec::new() };
    Some(Placed { connection, header: reader.span(), id_span, lan, vpc, tunnels })
}

/// A name that can stand in a command line and in a label of a metric.
pub(super) fn identifier(reader: &mut Reader<'_, '_>, key: &'static str, max: usize) -> Option<At<String>> {
    let text = reader.string(key)?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.value.is_empty() || text.value.len() > max || !text.value.chars().all(good) {
        let remedy = format!("use 1 to {max} letters, digits, `.`, `_` or `-`");
        reader.bad(text.span, format!("`{key}` is no usable name"), remedy);
        return None;
    }
    Some(At { value: text.value.to_owned(), span: text.span })
}

fn is_default(net: IpNet) -> bool {
    net.prefix_len() == 0
}

fn refuse_default_route(reader: &mut Reader<'_, '_>, vpc: &[At<IpNet>]) {
    for at in vpc.iter().filter(|at| is_default(at.value)) {
        let finding = Diagnostic::error(
            "CFG-DEFAULT-ROUTE",
            format!("{} would send everything into the tunnels", at.value),
            "list the VPC's prefixes, or set `allow_default_route = true` if all traffic is meant",
        );
        let cause = "a default route can cut this machine off, you included; it needs a word of its own";
        reader.push(finding.at(at.span.clone(), "a default route").because(cause));
    }
}

fn static_needs_vpc(reader: &mut Reader<'_, '_>, vpc: Option<&[At<IpNet>]>) {
    let remedy = "add `vpc = [\"10.0.0.0/16\"]` with the prefixes of the VPC; no AWS download says them";
    if vpc.is_none() && !reader.has("vpc") && !reader.is_misspelt("vpc") {
        reader.missing("vpc", remedy);
    } else if reader.is_empty_list("vpc") {
        let span = reader.span_of("vpc").unwrap_or(0..0);
        reader.bad(span, "a static connection with an empty `vpc` routes nothing", remedy);
    }
}

/// Reads `[connection.bgp]` and holds it against `routing`.
fn bgp(
    reader: &mut Reader<'_, '_>,
    kind: Option<Kind>,
    lan: &[At<IpNet>],
    vpc: Option<&[At<IpNet>]>,
) -> Option<Bgp> {
    match kind {
        Some(Kind::Bgp) if !reader.has("bgp") => {
            reader.missing(
                "bgp",
                "add [connection.bgp] with `local_asn` and `remote_asn`; the AWS download has both",
            );
            None
        }
        Some(Kind::Static) if reader.has("bgp") => {
            let span = reader.span_of("bgp").unwrap_or(0..0);
            let what = "[connection.bgp] stands in a static connection";
            reader.bad(span, what, "set `routing = \"bgp\"`, or remove the table");
            None
        }
        _ => section(reader, &schema::BGP, "bgp", |inner| bgp_table(inner, lan, vpc)).flatten(),
    }
}

fn bgp_table(reader: &mut Reader<'_, '_>, lan: &[At<IpNet>], vpc: Option<&[At<IpNet>]>) -> Option<Bgp> {
    let local = as_number(reader, "local_asn");
    let remote = as_number(reader, "remote_asn");
    let hold_time = reader.duration("hold_time", MIN_HOLD..=MAX_HOLD).map_or(DEFAULT_HOLD, |at| at.value);
    let modes = [("internal", BgpMode::Internal), ("external", BgpMode::External)];
    let mode = reader.choice("mode", &modes).unwrap_or(BgpMode::Internal);
    let own = reader.prefixes("advertise");
    let advertise: Vec<IpNet> = own.as_deref().unwrap_or(lan).iter().map(|at| at.value).collect();
    let mut count = |key, default| {
        reader.number(key, 1..=1_000_000).and_then(|at| u32::try_from(at.value).ok()).unwrap_or(default)
    };
    let max_advertised = count("max_advertised", DEFAULT_MAX_ADVERTISED);
    let max_accepted = count("max_accepted", DEFAULT_MAX_ACCEPTED);
    let multipath = reader.boolean("multipath").unwrap_or(false);
    if advertise.len() > usize::try_from(max_advertised).unwrap_or(usize::MAX) {
        let what = format!("{} prefixes are to be announced, {max_advertised} are allowed", advertise.len());
        let finding =
            Diagnostic::error("CFG-QUOTA", what, "aggregate them, or raise `max_advertised` to AWS's limit");
        let cause =
            "AWS closes the session above 100 prefixes (virtual private gateway) or 1,000 (transit gateway)";
        reader.push(finding.at(reader.span(), "").because(cause));
    }
    let accept = match vpc {
        Some([]) | None => Accept::Any,
        Some(list) => Accept::Within(list.iter().map(|at| at.value).collect()),
    };
    let (local, remote) = (local?, remote?);
    if local.value == remote.value {
        same_as_number(reader, local.span, remote.span);
        return None;
    }
    Some(Bgp {
        local_asn: local.value,
        remote_asn: remote.value,
        hold_time,
        mode,
        advertise,
        accept,
        max_advertised,
        max_accepted,
        multipath,
    })
}

fn same_as_number(reader: &mut Reader<'_, '_>, local: Range<usize>, remote: Range<usize>) {
    let finding = Diagnostic::error(
        "CFG-ASN",
        "both sides have the same AS number",
        "copy both from the AWS download; the customer gateway's is 65000 and AWS's 64512 unless changed",
    );
    let cause = "AWS speaks external BGP only, and drops routes whose path holds its own AS";
    reader.push(finding.at(remote, "AWS's").and_at(local, "ours").because(cause));
}

fn as_number(reader: &mut Reader<'_, '_>, key: &'static str) -> Option<At<u32>> {
    reader.require(key);
    let at = reader.number(key, 1..=4_294_967_294)?;
    let value = u32::try_from(at.value).ok()?;
    // RFC 6793 §9 (AS_TRANS) and RFC 7300 (last AS numbers).
    if matches!(value, 23_456 | 65_535) {
        reader.bad(at.span, format!("AS number {value} is reserved"), "use the number that AWS shows");
        return None;
    }
    Some(At { value, span: at.span })
}
