//! Values against each other: what is fine alone and wrong together.

use std::ops::Range;

use ipnet::IpNet;

use super::inside::ADD_INSIDE;
use super::reader::At;
use super::tunnel::PlacedTunnel;
use crate::{BgpMode, Connection, Diagnostic, Peer, Report, Routing};

/// Tunnels of one AWS connection.
const AWS_TUNNELS: usize = 2;

/// A connection and where its parts stand; its tunnels are still apart.
pub(super) struct Placed {
    pub(super) connection: Connection,
    pub(super) header: Range<usize>,
    pub(super) id_span: Range<usize>,
    pub(super) lan: Vec<At<IpNet>>,
    pub(super) vpc: Vec<At<IpNet>>,
    pub(super) tunnels: Vec<PlacedTunnel>,
}

impl Placed {
    /// The value, its places forgotten.
    pub(super) fn into_inner(self) -> Connection {
        let tunnels = self.tunnels.into_iter().map(|placed| placed.tunnel).collect();
        Connection { tunnels, ..self.connection }
    }
}

/// Holds the connections against each other.
pub(super) fn whole(connections: &[Placed], report: &mut Report) {
    duplicates(
        connections.iter().map(|c| (c.connection.id.as_str(), c.id_span.clone())),
        "CFG-DUPLICATE",
        |id| format!("two connections are called `{id}`"),
        "give each its own `id`",
        report,
    );
    let tunnels: Vec<&PlacedTunnel> = connections.iter().flat_map(|c| &c.tunnels).collect();
    duplicates(
        tunnels.iter().map(|t| (t.tunnel.outside, t.outside.clone())),
        "CFG-DUPLICATE",
        |address| format!("two tunnels have the outside address {address}"),
        "each AWS endpoint is one tunnel: copy the second tunnel's address from the download",
        report,
    );
    duplicates(
        tunnels.iter().map(|t| (t.tunnel.interface.as_str(), t.interface.clone())),
        "CFG-DUPLICATE",
        |name| format!("two tunnels have the interface {name}"),
        "set `interface` to a name of its own in one of them",
        report,
    );
    inside_links(&tunnels, report);
    for connection in connections {
        one_connection(connection, &tunnels, report);
    }
}

/// Reports every repetition of a value with its first place.
fn duplicates<T: PartialEq + Copy>(
    items: impl Iterator<Item = (T, Range<usize>)>,
    code: &'static str,
    what: impl Fn(T) -> String,
    remedy: &str,
    report: &mut Report,
) {
    let mut seen: Vec<(T, Range<usize>)> = Vec::new();
    for (value, span) in items {
        match seen.iter().find(|(other, _)| *other == value) {
            Some((_, first)) => {
                let finding = Diagnostic::error(code, what(value), remedy);
                report.push(finding.at(span, "again here").and_at(first.clone(), "first here"));
            }
            None => seen.push((value, span)),
        }
    }
}

fn inside_links(tunnels: &[&PlacedTunnel], report: &mut Report) {
    let links: Vec<(IpNet, Range<usize>)> = tunnels
        .iter()
        .flat_map(|t| t.tunnel.inside.iter().zip(&t.inside))
        .map(|(link, span)| (link.ours.trunc(), span.clone()))
        .collect();
    for (index, (net, span)) in links.iter().enumerate() {
        let earlier = links.iter().take(index).find(|(other, _)| other.contains(net) || net.contains(other));
        let Some((other, first)) = earlier else { continue };
        let finding = Diagnostic::error(
            "CFG-INSIDE",
            format!("two tunnels share the inside link {}", if other.contains(net) { other } else { net }),
            "change the inside CIDR of one tunnel at AWS (modify-vpn-tunnel-options, TunnelInsideCidr) and import again",
        );
        let cause = "this machine could not tell which tunnel the AWS inside address belongs to; \
                     AWS lets transit gateways reuse links, a customer gateway cannot";
        report
            .push(finding.at(span.clone(), "again here").and_at(first.clone(), "first here").because(cause));
    }
}

fn one_connection(placed: &Placed, all: &[&PlacedTunnel], report: &mut Report) {
    duplicates(
        placed.tunnels.iter().map(|t| (t.tunnel.name.as_str(), t.name.clone())),
        "CFG-DUPLICATE",
        |name| format!("two tunnels of the connection are called `{name}`"),
        "give each its own `name`",
        report,
    );
    tunnel_count(placed, report);
    for tunnel in placed.tunnels.iter().filter(|t| t.tunnel.inside.is_empty()) {
        missing_inside(placed, tunnel, report);
    }
    for vpc in &placed.vpc {
        swallowed_outside(vpc, all, report);
        own_prefix(vpc, placed, report);
        no_inside_for(vpc, placed, report);
    }
    if let Routing::Bgp(bgp) = &placed.connection.routing
        && bgp.advertise.is_empty()
        && bgp.mode == BgpMode::Internal
    {
        let warning = Diagnostic::warning(
            "CFG-NO-LAN",
            "nothing is announced to AWS",
            "add `lan = [\"10.10.0.0/16\"]` with the networks on this side",
        );
        let cause = "`lan` and `advertise` are empty, so the VPC has no way back to this side";
        report.push(warning.at(placed.header.clone(), "").because(cause));
    }
}

/// BGP needs inside addresses; a static connection runs without, only blinder.
fn missing_inside(placed: &Placed, tunnel: &PlacedTunnel, report: &mut Report) {
    let what = format!("{} has no inside address", tunnel.tunnel.name);
    let place = tunnel.header.clone();
    if matches!(placed.connection.routing, Routing::Bgp(_)) {
        let finding = Diagnostic::error("CFG-MISSING", what, ADD_INSIDE);
        report.push(finding.at(place, "in this table").because("BGP runs between the inside addresses"));
    } else {
        let warning = Diagnostic::warning("CFG-NO-INSIDE", what, ADD_INSIDE);
        let cause = "nothing can be probed through the tunnel: a dead one is noticed by IKE alone, after `dpd_timeout`";
        report.push(warning.at(place, "in this table").because(cause));
    }
}

fn tunnel_count(placed: &Placed, report: &mut Report) {
    if placed.connection.peer != Peer::Aws {
        return;
    }
    if placed.tunnels.len() == 1 && !report.has_errors() {
        let warning = Diagnostic::warning(
            "CFG-ONE-TUNNEL",
            format!("connection `{}` has one tunnel only: there is no failover", placed.connection.id),
            "add the second [[connection.tunnel]] from the AWS download, or import the download again",
        );
        let cause = "AWS takes one tunnel at a time down for maintenance, without asking";
        report.push(warning.at(placed.header.clone(), "").because(cause));
    }
    if let Some(extra) = placed.tunnels.get(AWS_TUNNELS) {
        let finding = Diagnostic::error(
            "CFG-TUNNELS",
            format!("connection `{}` has {} tunnels", placed.connection.id, placed.tunnels.len()),
            "start a new [[connection]] for the tunnels of another AWS connection",
        );
        let cause = "an AWS connection has two";
        report.push(finding.at(extra.outside.clone(), "one too many").because(cause));
    }
}

/// A route to the VPC that covers AWS's outside address would send the tunnel into itself.
fn swallowed_outside(vpc: &At<IpNet>, all: &[&PlacedTunnel], report: &mut Report) {
    if vpc.value.prefix_len() == 0 {
        // Asked for; the route manager keeps the way to the outside addresses apart.
        return;
    }
    for placed in all {
        if vpc.value.contains(&placed.tunnel.outside) {
            let finding = Diagnostic::error(
                "CFG-OUTSIDE",
                format!(
                    "{} holds {}, AWS's outside address of {}",
                    vpc.value, placed.tunnel.outside, placed.tunnel.name
                ),
                "list the prefixes of the VPC only",
            );
            let cause = "the encrypted packets would be routed into their own tunnel";
            let finding = finding.at(vpc.span.clone(), "").and_at(placed.outside.clone(), "this address");
            report.push(finding.because(cause));
            return;
        }
        for (link, span) in placed.tunnel.inside.iter().zip(&placed.inside) {
            if vpc.value.contains(&link.aws) {
                let finding = Diagnostic::error(
                    "CFG-INSIDE",
                    format!("{} holds the inside addresses of {}", vpc.value, placed.tunnel.name),
                    "list the prefixes of the VPC only; inside addresses are reached by themselves",
                );
                report.push(finding.at(vpc.span.clone(), "").and_at(span.clone(), "this link"));
                return;
            }
        }
    }
}

fn own_prefix(vpc: &At<IpNet>, placed: &Placed, report: &mut Report) {
    if let Some(lan) = placed.lan.iter().find(|lan| lan.value == vpc.value) {
        let finding = Diagnostic::error(
            "CFG-OVERLAP",
            format!("{} is both in `vpc` and in `lan`", vpc.value),
            "`lan` is what lies on our side, `vpc` what lies behind AWS: remove it from one of them",
        );
        let (first, second) = if lan.span.start < vpc.span.start { (lan, vpc) } else { (vpc, lan) };
        report.push(finding.at(second.span.clone(), "").and_at(first.span.clone(), ""));
    }
}

fn no_inside_for(vpc: &At<IpNet>, placed: &Placed, report: &mut Report) {
    let same_family = |ours: IpNet| matches!(ours, IpNet::V4(_)) == matches!(vpc.value, IpNet::V4(_));
    let nameless =
        placed.tunnels.iter().any(|t| t.tunnel.inside.is_empty()) && matches!(vpc.value, IpNet::V4(_));
    let carried =
        nameless || placed.tunnels.iter().any(|t| t.tunnel.inside.iter().any(|link| same_family(link.ours)));
    if carried || placed.tunnels.is_empty() {
        return;
    }
    let (family, key) = match vpc.value {
        IpNet::V4(_) => ("IPv4", "inside"),
        IpNet::V6(_) => ("IPv6", "inside_ipv6"),
    };
    let finding = Diagnostic::error(
        "CFG-FAMILY",
        format!("{} is {family}, and no tunnel of the connection carries {family}", vpc.value),
        format!("add `{key}` to its tunnels, or remove the prefix"),
    );
    let cause = "an AWS connection carries one family inside, chosen when it was made";
    report.push(finding.at(vpc.span.clone(), "").because(cause));
}
