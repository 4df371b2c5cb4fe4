//! `CustomerGatewayConfiguration`, AWS's XML: alone, in a Terraform output, or in the answer of the API.
//!
//! No DTD is ever read. The order of tunnels means nothing there, so they are told apart by outside address.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use roxmltree::{Document, Node, ParsingOptions};
use zeroize::Zeroizing;

use super::draft::{At, Context, DOWNLOAD_AGAIN, Draft, DraftBgp, DraftRouting, DraftTunnel};
use super::source::Source;

/// Nodes in one document at most; AWS's have about 200.
const MAX_NODES: u32 = 20_000;
/// Documents in one input at most.
const MAX_DOCUMENTS: usize = 1_000;

/// Every `vpn_connection` document in `source`.
pub(super) fn documents(source: &Source, cx: &mut Context<'_>) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for piece in pieces(source).into_iter().take(MAX_DOCUMENTS) {
        drafts.extend(document(&piece, cx));
    }
    drafts
}

/// Cuts the documents out of what surrounds them: XML declarations, `<<EOT`, quotes.
fn pieces(source: &Source) -> Vec<Source> {
    let escaped =
        |s: &Source| s.text().contains("\\n") || s.text().contains("\\\"") || s.text().contains("\\u003c");
    // One layer is what `terraform output` prints; the second is what some exporters add.
    let mut source = source.clone();
    for _ in 0..2 {
        if escaped(&source) {
            source = source.unescape();
        }
    }
    let text = source.text();
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.find(OPEN)).map(|at| from + at) {
        let rest = text.get(start..).unwrap_or_default();
        let end = match rest.find(CLOSE) {
            Some(at) => start + at + CLOSE.len(),
            None => text.len(),
        };
        found.push(source.slice(start..end));
        from = end;
    }
    found
}

/// How a document begins.
pub(super) const OPEN: &str = "<vpn_connection";
const CLOSE: &str = "</vpn_connection>";

fn document(source: &Source, cx: &mut Context<'_>) -> Option<Draft> {
    let text = source.text();
    if !text.trim_end().ends_with(CLOSE) {
        let span = source.outer(text.len()..text.len());
        cx.error(span, "IMP-CUT", "the XML ends before </vpn_connection>", DOWNLOAD_AGAIN);
        return None;
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    match Document::parse_with_options(text, options) {
        Ok(document) => Some(connection(source, document.root_element(), cx)),
        Err(error) => {
            let at = offset(text, error.pos());
            let what = format!("not well-formed XML: {}", plain(&error));
            cx.error(source.outer(at..at + 1), "IMP-XML", what, DOWNLOAD_AGAIN);
            None
        }
    }
}

fn plain(error: &roxmltree::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at ") {
        Some((what, _)) => what.to_owned(),
        None => text,
    }
}

fn offset(text: &str, pos: roxmltree::TextPos) -> usize {
    let row = usize::try_from(pos.row).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(pos.col).unwrap_or(1).saturating_sub(1);
    let line_start = text.split_inclusive('\n').take(row).map(str::len).sum::<usize>();
    let line = text.get(line_start..).unwrap_or_default();
    line_start + line.char_indices().nth(column).map_or(0, |(index, _)| index)
}

fn connection(source: &Source, root: Node<'_, '_>, cx: &mut Context<'_>) -> Draft {
    let mut draft = Draft::new(source.outer(0..OPEN.len()));
    draft.sort = true;
    draft.id = root.attribute_node("id").filter(|a| !a.value().is_empty()).map(|attribute| At {
        value: attribute.value().to_owned(),
        span: source.outer(attribute.range_value()),
    });
    // The element is there but empty for a transit gateway.
    draft.transit = child(root, "vpn_gateway_id").is_some_and(|n| content(n).trim().is_empty());
    let attributes = child(root, "vpn_connection_attributes").map(content).unwrap_or_default();
    draft.accelerated = attributes.contains("Accelerat");
    draft.tunnels =
        root.children().filter(|n| n.has_tag_name("ipsec_tunnel")).map(|n| tunnel(source, n, cx)).collect();
    let says_static = attributes.contains("NoBGP");
    let bgp = draft.tunnels.iter().find_map(|t| t.bgp.clone());
    draft.routing = match bgp {
        Some(bgp) if !says_static => DraftRouting::Bgp(bgp),
        _ => DraftRouting::Static,
    };
    draft
}

fn tunnel(source: &Source, node: Node<'_, '_>, cx: &mut Context<'_>) -> DraftTunnel {
    let range = node.range();
    let mut draft = DraftTunnel {
        place: source.outer(range.start..(range.start + "<ipsec_tunnel>".len()).min(range.end)),
        ..DraftTunnel::default()
    };
    if let Some(ours) = child(node, "customer_gateway") {
        draft.customer_gateway = address(source, ours, "tunnel_outside_address", cx);
        draft.inside = inside(source, ours, cx).into_iter().map(|(at, _)| at).collect();
        draft.bgp = child(ours, "bgp").map(|bgp| DraftBgp {
            local_asn: number(source, bgp, "asn", "our AS number", cx),
            hold_time: number::<u64>(source, bgp, "hold_time", "the hold time", cx).map(|at| at.value),
            remote_asn: None,
        });
    }
    if let Some(aws) = child(node, "vpn_gateway") {
        draft.outside = address(source, aws, "tunnel_outside_address", cx);
        draft.aws_inside = inside(source, aws, cx)
            .into_iter()
            .map(|(at, address)| At { value: address, span: at.span })
            .collect();
        if let Some(bgp) = child(aws, "bgp") {
            let remote = number(source, bgp, "asn", "AWS's AS number", cx);
            draft.bgp.get_or_insert_default().remote_asn = remote;
        }
    }
    if let Some(ike) = child(node, "ike") {
        draft.key = child(ike, "pre_shared_key").and_then(|n| key(source, n));
        draft.options.phase1.lifetime =
            number(source, ike, "lifetime", "the phase 1 lifetime", cx).map(|at| at.value);
    }
    if let Some(ipsec) = child(node, "ipsec") {
        draft.options.phase2.lifetime =
            number(source, ipsec, "lifetime", "the phase 2 lifetime", cx).map(|at| at.value);
        if let Some(dpd) = child(ipsec, "dead_peer_detection") {
            let interval = number::<u64>(source, dpd, "interval", "the DPD interval", cx);
            let retries = number::<u64>(source, dpd, "retries", "the DPD retries", cx);
            draft.options.dpd_timeout = dpd_timeout(interval.map(|at| at.value), retries.map(|at| at.value));
        }
    }
    draft
}

/// AWS's 40 seconds are an interval of 10 and three retries after the first try.
pub(super) fn dpd_timeout(interval: Option<u64>, retries: Option<u64>) -> Option<u64> {
    interval?.checked_mul(retries?.checked_add(1)?)
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|n| n.has_tag_name(name))
}

fn content<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or_default()
}

/// Where the text of an element stands, without the space around it.
fn text_range(node: Node<'_, '_>, text: &str) -> Range<usize> {
    let range = node.first_child().filter(Node::is_text).map_or(node.range(), |n| n.range());
    let inner = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (inner.len() - inner.trim_start().len());
    start..start + inner.trim().len()
}

fn number<T: std::str::FromStr>(
    source: &Source,
    parent: Node<'_, '_>,
    name: &str,
    what: &str,
    cx: &mut Context<'_>,
) -> Option<At<T>> {
    let node = child(parent, name)?;
    cx.parse(source, text_range(node, source.text()), what)
}

/// The address in an element, in `ip_address` or, as IPv6 may be written, in any child.
fn address(source: &Source, parent: Node<'_, '_>, name: &str, cx: &mut Context<'_>) -> Option<At<IpAddr>> {
    let node = child(parent, name)?;
    let holder =
        node.children().find(|n| n.is_element() && n.tag_name().name().contains("ip")).unwrap_or(node);
    if content(holder).trim().is_empty() {
        return None;
    }
    cx.parse(source, text_range(holder, source.text()), "an outside address")
}

/// Inside addresses with their prefix length. No IPv6 file is public, so any element of the name will do.
fn inside(source: &Source, parent: Node<'_, '_>, cx: &mut Context<'_>) -> Vec<(At<IpNet>, IpAddr)> {
    let mut found = Vec::new();
    let holders =
        parent.children().filter(|n| n.is_element() && n.tag_name().name().starts_with("tunnel_inside"));
    for holder in holders {
        let length = child(holder, "network_cidr").and_then(|n| content(n).trim().parse::<u8>().ok());
        let addresses = holder.children().filter(|n| {
            let name = n.tag_name().name();
            n.is_element() && name.contains("ip") && name.contains("address")
        });
        for node in addresses {
            let range = text_range(node, source.text());
            let Some(at) = cx.parse::<IpAddr>(source, range, "an inside address") else { continue };
            let default = if at.value.is_ipv4() { 30 } else { 126 };
            let length = length.filter(|l| at.value.is_ipv6() == (*l > 32)).unwrap_or(default);
            if let Ok(net) = IpNet::new(at.value, length) {
                found.push((At { value: net, span: at.span }, at.value));
            }
        }
    }
    found
}

fn key(source: &Source, node: Node<'_, '_>) -> Option<At<Zeroizing<String>>> {
    // An empty element is how a key in Secrets Manager would look; nobody has published such a file.
    let text = content(node).trim();
    let span = source.outer(text_range(node, source.text()));
    (!text.is_empty()).then(|| At { value: Zeroizing::new(text.to_owned()), span })
}
