//! The screen of the live view: a head, a body that takes the form that fits, a foot with the keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::detail;
use super::glyphs::{Light, Look, Spark};
use super::view::{Page, Seen, View};
use crate::api::{Event, Redundancy, Stage};
use crate::catalog::{self, Severity};
use crate::cli::render::{milliseconds, octets, span};

/// Below this width lights lose their names, and only one sparkline fits beside another's value.
const NARROW: usize = 64;
/// Lines that events get at least, their heading included, before tunnels are shown in full.
const EVENTS_LINES_MIN: usize = 4;

/// Columns for whom an event concerns.
const WHOM: usize = 10;

/// How much of each tunnel is shown on the page of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// One line.
    Line,
    /// With the error or the quality of the path.
    Short,
    /// Everything.
    Full,
}

/// Draws everything.
pub(super) fn screen(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let row = |y: u16, height: u16| Rect { x: area.x, y: area.y + y, width: area.width, height };
    if area.height == 0 {
        return;
    }
    frame.render_widget(head(view, usize::from(area.width)), row(0, 1));
    if area.height > 2 {
        let body = row(1, area.height - 2);
        match view.page {
            Page::Help { .. } => frame.render_widget(help(view.look), body),
            _ if view.status().is_none() => frame.render_widget(nothing(view), body),
            Page::One => detail::draw(frame, view, body),
            Page::All => all(frame, view, body),
        }
    }
    if area.height > 1 {
        frame.render_widget(foot(view, usize::from(area.width)), row(area.height - 1, 1));
    }
}

/// Left, and right where there is room.
fn both_ends(mut left: Vec<Span<'static>>, right: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let used = Line::from(left.clone()).width();
    let needed = Line::from(right.clone()).width();
    if used + needed < width {
        left.push(Span::raw(" ".repeat(width - used - needed)));
        left.extend(right);
    }
    Line::from(left)
}

fn head(view: &View, width: usize) -> Line<'static> {
    let look = view.look;
    let silent = span(view.silent.as_secs_f64());
    let mut right = Vec::new();
    let left = match (&view.trouble, view.status()) {
        (Some(_), _) => {
            let for_how_long = if view.status().is_some() { format!(" for {silent}") } else { String::new() };
            let text = format!("not reachable{for_how_long}, trying again");
            vec![
                Span::raw(" "),
                Light::Failing.span(look),
                Span::styled(format!(" cgwd: {text}"), look.bad()),
            ]
        }
        (None, None) => vec![Span::styled(" cgwd: connecting", look.fair())],
        (None, Some(status)) => {
            let (light, style, text) = match status.redundancy {
                Redundancy::Full => (Light::Lit, look.good(), "all tunnels are up"),
                Redundancy::Degraded => (Light::InProgress, look.fair(), "degraded: not all tunnels are up"),
                Redundancy::None => (Light::Failing, look.bad(), "down"),
            };
            right.push(Span::styled(
                format!("cgwd {}, running for {} ", status.version, span(status.uptime_seconds)),
                look.quiet(),
            ));
            vec![
                Span::raw(" "),
                light.span(look),
                Span::styled(format!(" {text}"), style.patch(look.strong())),
            ]
        }
    };
    if view.paused() {
        right = vec![Span::styled(format!("PAUSED for {silent} "), look.fair().patch(look.strong()))];
    }
    both_ends(left, right, width)
}

fn foot(view: &View, width: usize) -> Line<'static> {
    let look = view.look;
    let keys: &[(&str, &str)] = match view.page {
        Page::Help { .. } => &[("any key", "back")],
        Page::One => &[("q", "quit"), ("esc", "all"), ("j/k", "next"), ("p", "pause"), ("?", "help")],
        Page::All => &[("q", "quit"), ("enter", "details"), ("j/k", "select"), ("p", "pause"), ("?", "help")],
    };
    let mut spans = vec![Span::raw(" ")];
    for (key, text) in keys {
        spans.push(Span::styled((*key).to_owned(), look.strong()));
        spans.push(Span::styled(format!(" {text}  "), look.quiet()));
    }
    let right = match view.status() {
        Some(_) if view.page == Page::All => {
            vec![Span::styled(format!("{} traffic to AWS leaves here ", look.egress()), look.quiet())]
        }
        _ => Vec::new(),
    };
    both_ends(spans, right, width)
}

fn help(look: Look) -> Paragraph<'static> {
    let key = |keys: &str, text: &str| {
        Line::from(vec![Span::styled(format!("   {keys:<16}"), look.strong()), Span::raw(text.to_owned())])
    };
    let sign = |light: Light, text: &str| {
        Line::from(vec![Span::raw("   "), light.span(look), Span::raw(format!("  {text}"))])
    };
    Paragraph::new(vec![
        Line::from(Span::styled(" Keys", look.strong())),
        key("up/down, k/j", "select a tunnel"),
        key("enter", "everything about it; esc goes back"),
        key("pgup/pgdn", "scroll"),
        key("p, space", "stop the picture, and go on"),
        key("a", "ASCII or Unicode"),
        key("q, ctrl-c", "quit"),
        Line::from(Span::styled(" Lights", look.strong())),
        sign(Light::Lit, "this stage works"),
        sign(Light::InProgress, "in progress"),
        sign(Light::Failing, "this stage fails; cgwd doctor says why"),
        sign(Light::Off, "waits for the stage before it"),
        Line::from(Span::styled(
            " Graphs: the last seconds, the newest at the right, × where no answer came",
            look.quiet(),
        )),
    ])
}

/// There was no answer yet.
fn nothing(view: &View) -> Paragraph<'static> {
    let text = view.trouble.clone().unwrap_or_default();
    Paragraph::new(vec![Line::default(), Line::from(format!(" {text}"))]).wrap(Wrap { trim: false })
}

fn all(frame: &mut Frame<'_>, view: &View, area: Rect) {
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let tunnels = view.tunnels();
    let fits = |form: &Form| {
        let lines: usize = tunnels_lines(view, &tunnels, *form, width).0.len();
        lines + if *form > Form::Line { EVENTS_LINES_MIN } else { 0 } <= height
    };
    let form = [Form::Full, Form::Short].into_iter().find(fits).unwrap_or(Form::Line);
    let (mut lines, selected) = tunnels_lines(view, &tunnels, form, width);
    // What is selected stays in sight.
    if lines.len() > height {
        let skip = (selected + 2).saturating_sub(height).max(view.scroll.min(lines.len() - height));
        lines.drain(..skip.min(lines.len() - height));
    }
    let room = height.saturating_sub(lines.len());
    if room > 2 {
        lines.push(Line::from(Span::styled(" Events", view.look.strong())));
        let newest = view.events.iter().rev().skip(view.scroll).take(room - 1);
        lines.extend(newest.map(|event| event_line(event, view.look, width)));
    }
    frame.render_widget(Paragraph::new(lines).style(body_style(view)), area);
}

/// What is old is dim.
pub(super) fn body_style(view: &View) -> Style {
    if view.trouble.is_some() { view.look.quiet() } else { Style::new() }
}

/// The lines of all tunnels, and in which of them the selected one begins.
fn tunnels_lines(view: &View, tunnels: &[Seen<'_>], form: Form, width: usize) -> (Vec<Line<'static>>, usize) {
    let look = view.look;
    let (mut lines, mut selected, mut before) = (Vec::new(), 0, None);
    let names = tunnels.iter().map(|seen| seen.tunnel.name.chars().count()).max().unwrap_or(0).min(24);
    for (index, seen) in tunnels.iter().enumerate() {
        if before != Some(&seen.connection.id) {
            before = Some(&seen.connection.id);
            let kind = if seen.connection.routing == "bgp" { "BGP" } else { "static routes" };
            lines.push(Line::from(vec![
                Span::styled(format!(" {}", seen.connection.id), look.strong()),
                Span::styled(format!("  {kind}"), look.quiet()),
            ]));
        }
        if index == view.selected {
            selected = lines.len();
        }
        lines.push(title(seen, index == view.selected, names, look, width));
        if form > Form::Line {
            lines.extend(error_line(seen, look, width).or_else(|| Some(quality(seen, look, width))));
        }
        if form == Form::Full {
            if error_line(seen, look, width).is_some() {
                lines.push(quality(seen, look, width));
            }
            lines.push(throughput(seen, look, width));
            lines.extend(ages(seen, look));
            lines.extend(bgp_line(seen, look));
        }
    }
    (lines, selected)
}

/// The lights with their names, or alone.
pub(super) fn lights(seen: &Seen<'_>, look: Look, named: bool) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for (name, light) in Light::of(seen.tunnel, seen.connection.routing == "bgp") {
        spans.push(light.span(look));
        if named {
            spans.push(Span::raw(format!(" {name} ")));
        }
    }
    spans
}

/// `up 3h 10m`, or the stage that it stands at, with its marks.
pub(super) fn standing(seen: &Seen<'_>, look: Look) -> Vec<Span<'static>> {
    let tunnel = seen.tunnel;
    let word = if tunnel.stage == Stage::Up { "up" } else { tunnel.stage.name() };
    let mut spans =
        vec![Span::styled(format!(" {word} {}", span(tunnel.since_seconds)), look.stage(tunnel.stage))];
    if tunnel.egress {
        spans.push(Span::styled(format!(" {} egress", look.egress()), look.line().patch(look.strong())));
    }
    if tunnel.drained {
        spans.push(Span::styled(" drained", look.fair()));
    }
    spans
}

fn title(seen: &Seen<'_>, selected: bool, names: usize, look: Look, width: usize) -> Line<'static> {
    let mark = if selected { look.selected() } else { " " };
    let style = if selected { look.strong() } else { Style::new() };
    let mut left = vec![Span::styled(format!("{mark} {:<names$} ", seen.tunnel.name), style)];
    left.extend(lights(seen, look, width >= NARROW));
    left.extend(standing(seen, look));
    let right = vec![Span::styled(format!("{} ", seen.tunnel.outside_ip), look.quiet())];
    both_ends(left, right, width)
}

/// What is wrong, while it is.
fn error_line(seen: &Seen<'_>, look: Look, width: usize) -> Option<Line<'static>> {
    let error = seen.tunnel.last_error.as_ref().filter(|_| seen.tunnel.stage != Stage::Up)?;
    let text = format!("   {} ({} ago): {}", error.code, span(error.seconds_ago), error.text);
    Some(Line::from(Span::styled(cut(&text, width, look), look.bad())))
}

/// A label, a value and a sparkline in `width` columns.
fn gauge(label: &str, value: &str, spark: Spark<'_>, width: usize, look: Look) -> Vec<Span<'static>> {
    let text = format!("{label:<5}{value:>10} ");
    let room = width.saturating_sub(text.chars().count());
    let mut spans =
        vec![Span::styled(format!("{label:<5}"), look.quiet()), Span::raw(format!("{value:>10} "))];
    spans.extend(spark.line(room, look));
    spans
}

/// Two gauges side by side.
fn pair(
    left: (&str, &str, Spark<'_>),
    right: (&str, &str, Spark<'_>),
    look: Look,
    width: usize,
) -> Line<'static> {
    let half = width.saturating_sub(6) / 2;
    let mut spans = vec![Span::raw("   ")];
    spans.extend(gauge(left.0, left.1, left.2, half, look));
    spans.push(Span::raw("  "));
    spans.extend(gauge(right.0, right.1, right.2, half, look));
    Line::from(spans)
}

/// What the history says of a tunnel, as text and samples.
pub(super) struct Measured {
    pub(super) rtt: (String, Vec<Option<f64>>),
    pub(super) loss: (String, Vec<Option<f64>>),
    pub(super) rx: (String, Vec<Option<f64>>),
    pub(super) tx: (String, Vec<Option<f64>>),
}

impl Measured {
    pub(super) fn of(seen: &Seen<'_>) -> Self {
        let nothing = || "-".to_owned();
        let rtt = seen.history.map(|past| past.rtt_ms.clone()).unwrap_or_default();
        let loss = seen.history.map(|past| past.loss_ratio.clone()).unwrap_or_default();
        let rate = |rates: Option<&Vec<f64>>| {
            let samples: Vec<Option<f64>> = rates.into_iter().flatten().copied().map(Some).collect();
            let last = samples.last().copied().flatten();
            (last.map_or_else(nothing, |last| format!("{}/s", octets(last as u64))), samples)
        };
        let last = |samples: &[Option<f64>]| samples.last().copied().flatten();
        Self {
            rtt: (last(&rtt).map_or_else(nothing, milliseconds), rtt),
            loss: (last(&loss).map_or_else(nothing, |ratio| format!("{:.0} %", ratio * 100.0)), loss),
            rx: rate(seen.history.map(|past| &past.rx_bytes_per_second)),
            tx: rate(seen.history.map(|past| &past.tx_bytes_per_second)),
        }
    }

    /// A millisecond fills the graph at least.
    pub(super) fn rtt_spark(&self) -> Spark<'_> {
        Spark { samples: &self.rtt.1, least: 1.0 }
    }

    /// A fifth of loss fills the graph at least: pfSense's alarm.
    pub(super) fn loss_spark(&self) -> Spark<'_> {
        Spark { samples: &self.loss.1, least: 0.2 }
    }

    pub(super) fn rx_spark(&self) -> Spark<'_> {
        Spark { samples: &self.rx.1, least: 1_000.0 }
    }

    pub(super) fn tx_spark(&self) -> Spark<'_> {
        Spark { samples: &self.tx.1, least: 1_000.0 }
    }
}

fn quality(seen: &Seen<'_>, look: Look, width: usize) -> Line<'static> {
    let measured = Measured::of(seen);
    pair(
        ("RTT", &measured.rtt.0, measured.rtt_spark()),
        ("loss", &measured.loss.0, measured.loss_spark()),
        look,
        width,
    )
}

fn throughput(seen: &Seen<'_>, look: Look, width: usize) -> Line<'static> {
    let measured = Measured::of(seen);
    pair(
        ("in", &measured.rx.0, measured.rx_spark()),
        ("out", &measured.tx.0, measured.tx_spark()),
        look,
        width,
    )
}

/// How old the SAs are, and when they are replaced.
fn ages(seen: &Seen<'_>, look: Look) -> Option<Line<'static>> {
    let age =
        |name: &str, age: f64, rekey: f64| format!("{name} {} old, rekey in {}", span(age), span(rekey));
    let ike = seen.tunnel.ike.as_ref().filter(|ike| !ike.proposal.is_empty());
    let ike = ike.map(|ike| age("IKE", ike.established_seconds, ike.rekey_in_seconds));
    let child = seen.tunnel.child.as_ref();
    let child = child.map(|child| age("IPsec", child.established_seconds, child.rekey_in_seconds));
    let parts: Vec<String> = [ike, child].into_iter().flatten().collect();
    let text = format!("   {}", parts.join(&format!(" {} ", look.dot())));
    (!parts.is_empty()).then(|| Line::from(Span::styled(text, look.quiet())))
}

fn bgp_line(seen: &Seen<'_>, look: Look) -> Option<Line<'static>> {
    let bgp = seen.tunnel.bgp.as_ref()?;
    let how_long = bgp.uptime_seconds.map_or_else(String::new, |up| format!(" for {}", span(up)));
    let text = format!(
        "   BGP {}{how_long}: {} prefixes in, {} used, {} out",
        bgp.state, bgp.received, bgp.accepted, bgp.advertised
    );
    Some(Line::from(Span::styled(text, look.quiet())))
}

/// One event on one line.
pub(super) fn event_line(event: &Event, look: Look, width: usize) -> Line<'static> {
    // RFC 3339: the time of day stands at a fixed place.
    let time = event.time.get(11..19).unwrap_or(&event.time);
    let whom = cut(event.tunnel.as_deref().or(event.connection.as_deref()).unwrap_or("-"), WHOM, look);
    let style = match catalog::find(&event.code).map(|code| code.entry().severity) {
        Some(Severity::Error) => look.bad(),
        Some(Severity::Warning) => look.fair(),
        _ => Style::new(),
    };
    let took = event.took_ms.map_or_else(String::new, |took| format!(" ({})", milliseconds(took)));
    let start = format!("   {time}  {whom:<WHOM$}  ");
    let code = format!("{:<16}", event.code);
    let room = width.saturating_sub(start.chars().count() + code.chars().count() + 2);
    Line::from(vec![
        Span::styled(start, look.quiet()),
        Span::styled(code, style),
        Span::raw(format!("  {}", cut(&format!("{}{took}", event.text), room, look))),
    ])
}

/// What does not fit ends with a sign that it does not.
fn cut(text: &str, width: usize, look: Look) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let sign = look.ellipsis();
    let kept: String = text.chars().take(width.saturating_sub(sign.chars().count())).collect();
    format!("{kept}{sign}")
}
