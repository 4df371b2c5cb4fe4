//! The page of one tunnel: graphs, every fact of it, and its own events.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::draw::{Measured, body_style, event_line, lights, standing};
use super::glyphs::{Look, Spark};
use super::view::{Seen, View};
use crate::api::Stage;
use crate::cli::render::{octets, span};

/// Lines of a graph when there is room.
const GRAPH_LINES: usize = 3;
/// Columns before a graph.
const LABELS: usize = 18;
/// A screen of this height has room for tall graphs.
const TALL: u16 = 30;

/// Draws the selected tunnel.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let tunnels = view.tunnels();
    let Some(seen) = tunnels.get(view.selected) else { return };
    let (look, width) = (view.look, usize::from(area.width));
    let mut lines = vec![Line::from(vec![
        Span::styled(format!(" {}/{}", seen.connection.id, seen.tunnel.name), look.strong()),
        Span::styled(format!("  {} of {}", view.selected + 1, tunnels.len()), look.quiet()),
    ])];
    let mut line = vec![Span::raw("   ")];
    line.extend(lights(seen, look, true));
    line.extend(standing(seen, look));
    lines.push(Line::from(line));
    lines.extend(error(seen, look));
    let measured = Measured::of(seen);
    let rows = if area.height >= TALL { GRAPH_LINES } else { 1 };
    for (label, value, spark) in [
        ("RTT", &measured.rtt.0, measured.rtt_spark()),
        ("loss", &measured.loss.0, measured.loss_spark()),
        ("in", &measured.rx.0, measured.rx_spark()),
        ("out", &measured.tx.0, measured.tx_spark()),
    ] {
        lines.extend(graph(label, value, spark, (width, rows), look));
    }
    lines.extend(facts(seen, look));
    let mine = |event: &&crate::api::Event| {
        event.tunnel.as_ref() == Some(&seen.tunnel.name)
            && event.connection.as_ref().is_none_or(|id| *id == seen.connection.id)
    };
    lines.push(Line::from(Span::styled(" Events", look.strong())));
    lines.extend(view.events.iter().rev().filter(mine).map(|event| event_line(event, look, width)));
    let scroll = view.scroll.min(lines.len().saturating_sub(usize::from(area.height)));
    let lines: Vec<Line<'_>> = lines.into_iter().skip(scroll).collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).style(body_style(view)), area);
}

fn graph(
    label: &str,
    value: &str,
    spark: Spark<'_>,
    (width, rows): (usize, usize),
    look: Look,
) -> Vec<Line<'static>> {
    let room = width.saturating_sub(LABELS + 1);
    let drawn = spark.rows(room, rows, look);
    let last = drawn.len().saturating_sub(1);
    let line = |(index, bars): (usize, Vec<Span<'static>>)| {
        let mut spans = if index == last {
            vec![Span::styled(format!("   {label:<5}"), look.quiet()), Span::raw(format!("{value:>9} "))]
        } else {
            vec![Span::raw(" ".repeat(LABELS))]
        };
        spans.extend(bars);
        Line::from(spans)
    };
    drawn.into_iter().enumerate().map(line).collect()
}

fn error(seen: &Seen<'_>, look: Look) -> Vec<Line<'static>> {
    let Some(error) = &seen.tunnel.last_error else { return Vec::new() };
    let text = format!("{} ({} ago): {}", error.code, span(error.seconds_ago), error.text);
    if seen.tunnel.stage == Stage::Up {
        return vec![fact("last", format!("error {text}"), look)];
    }
    let mut lines = vec![Line::from(Span::styled(format!("   {text}"), look.bad()))];
    if !error.remedy.is_empty() {
        lines.push(Line::from(format!("   Remedy: {}", error.remedy)));
    }
    lines
}

fn fact(name: &str, text: String, look: Look) -> Line<'static> {
    Line::from(vec![Span::styled(format!("   {name:<9}"), look.quiet()), Span::raw(text)])
}

fn facts(seen: &Seen<'_>, look: Look) -> Vec<Line<'static>> {
    let tunnel = seen.tunnel;
    let inside = tunnel.inside_ip.map_or_else(|| "no inside address".to_owned(), |ip| ip.to_string());
    let mut lines = vec![fact(
        "address",
        format!("AWS {}, {} {inside}, MTU {}", tunnel.outside_ip, tunnel.interface, tunnel.mtu),
        look,
    )];
    if let Some(ike) = &tunnel.ike {
        if ike.proposal.is_empty() {
            lines.push(fact("IKE", format!("{}, {}", ike.state, ike.role), look));
        } else {
            let age =
                format!("{} old, rekey in {}", span(ike.established_seconds), span(ike.rekey_in_seconds));
            let text = format!("{}, {}, {age}, {} so far", ike.state, ike.role, ike.rekeys);
            lines.push(fact("IKE", text, look));
            let ppk = if ike.ppk { " with PPK" } else { "" };
            lines.push(fact("", format!("{}{ppk}, SPI {} {}", ike.proposal, ike.spi_i, ike.spi_r), look));
        }
    }
    if let Some(child) = &tunnel.child {
        let age =
            format!("{} old, rekey in {}", span(child.established_seconds), span(child.rekey_in_seconds));
        let how = if child.encapsulation == "udp" { "UDP 4500" } else { "protocol 50" };
        lines.push(fact("IPsec", format!("{}, {how}, {age}, {} so far", child.state, child.rekeys), look));
        lines.push(fact(
            "",
            format!("{}, SPI in {} out {}", child.proposal, child.spi_in, child.spi_out),
            look,
        ));
        lines.push(fact(
            "traffic",
            format!(
                "in {} packets, {}; out {} packets, {}",
                child.rx_packets,
                octets(child.rx_bytes),
                child.tx_packets,
                octets(child.tx_bytes)
            ),
            look,
        ));
        let drops = child.drops;
        lines.push(fact(
            "dropped",
            format!(
                "auth {}, replay {}, no SA {}, malformed {}, MTU {}, queue {}",
                drops.auth, drops.replay, drops.no_sa, drops.malformed, drops.mtu, drops.queue
            ),
            look,
        ));
    }
    if let Some(probe) = &tunnel.probe {
        lines.push(fact("probes", format!("{} sent, {} answered", probe.sent, probe.received), look));
    }
    if let Some(bgp) = &tunnel.bgp {
        let uptime = bgp.uptime_seconds.map_or_else(String::new, |up| format!(" for {}", span(up)));
        let prefixes =
            format!("{} received, {} used, {} advertised", bgp.received, bgp.accepted, bgp.advertised);
        lines.push(fact(
            "BGP",
            format!("{}{uptime} with {} AS {}, {prefixes}", bgp.state, bgp.peer, bgp.asn),
            look,
        ));
        lines.extend(bgp.waiting_for.as_ref().map(|why| fact("", why.clone(), look)));
    }
    lines
}
