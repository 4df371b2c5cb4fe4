//! The *Generic* text download, in all its wordings since 2013, and with what editors do to it.
//!
//! A line is `label : value`; which tunnel and which section it belongs to follows from the headings above it.
//! Labels are compared by their words, so tabs, runs of spaces and capitals do not matter.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::draft::{At, Context, Draft, DraftBgp, DraftRouting, DraftTunnel, Phase};
use super::source::Source;
use super::xml::dpd_timeout;

/// Tunnels in one text at most.
const MAX_TUNNELS: usize = 64;

/// Where in a tunnel's part a line stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Ike,
    Ipsec,
    Outside,
    Inside,
    Routing,
}

/// Whether the text looks like this format.
pub(super) fn recognise(lower: &str) -> bool {
    // Other vendors' downloads have the headings too, but as comments above commands.
    let labelled = |line: &str| {
        split(line.trim().trim_start_matches(BULLETS)).is_some_and(|(label, _)| {
            is_aws(&label)
                || matches!(label.as_str(), "pre-shared key" | "preshared key" | "customer gateway")
        })
    };
    lower.contains("ipsec tunnel #") && lower.lines().any(labelled)
}

/// What stands in front of a line of a list, or of a commented line.
const BULLETS: [char; 10] = ['-', '–', '—', '•', '*', '!', '#', ' ', '\t', '\u{a0}'];

/// Reads the text. Most often one connection; two texts pasted after each other are two.
pub(super) fn documents(source: &Source, cx: &mut Context<'_>) -> Vec<Draft> {
    let mut reader = Reader { source, drafts: Vec::new(), section: Section::None, dpd: (None, None) };
    let mut start = 0;
    for line in source.text().split_inclusive('\n') {
        reader.line(start, line, cx);
        start += line.len();
    }
    reader.finish_tunnel();
    reader.drafts
}

struct Reader<'s> {
    source: &'s Source,
    drafts: Vec<Draft>,
    section: Section,
    /// DPD interval and retries of the tunnel being read.
    dpd: (Option<u64>, Option<u64>),
}

impl Reader<'_> {
    fn line(&mut self, start: usize, line: &str, cx: &mut Context<'_>) {
        let text = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let text = text.trim_start_matches(BULLETS);
        if text.is_empty() || text.starts_with('=') {
            return;
        }
        let at = start + line.find(text).unwrap_or(0);
        let words = words(text);
        if words.starts_with("ipsec tunnel #") {
            self.new_tunnel(at..at + text.len(), cx);
            return;
        }
        if words.starts_with("additional notes") {
            self.finish_tunnel();
            self.section = Section::None;
            return;
        }
        if self.heading(&words) {
            return;
        }
        if let Some((label, value)) = split(text) {
            let range = at + value.start..at + value.end;
            self.field(&label, range, cx);
        }
    }

    /// The connection being read; the first begins at `place`.
    fn draft(&mut self, place: Range<usize>) -> &mut Draft {
        let last = self.drafts.len().saturating_sub(1);
        if self.drafts.is_empty() {
            self.drafts.push(Draft::new(place));
        }
        &mut self.drafts[last]
    }

    fn tunnel(&mut self) -> Option<&mut DraftTunnel> {
        self.drafts.last_mut()?.tunnels.last_mut()
    }

    fn new_tunnel(&mut self, range: Range<usize>, cx: &mut Context<'_>) {
        self.finish_tunnel();
        self.section = Section::None;
        let place = self.source.outer(range);
        let draft = self.draft(place.clone());
        if draft.tunnels.len() >= MAX_TUNNELS {
            cx.error(place, "IMP-TUNNELS", "too many tunnels", "import one download at a time");
            return;
        }
        draft.tunnels.push(DraftTunnel { place, ..DraftTunnel::default() });
    }

    fn finish_tunnel(&mut self) {
        let (interval, retries) = std::mem::take(&mut self.dpd);
        if let Some(tunnel) = self.tunnel()
            && let Some(timeout) = dpd_timeout(interval, retries)
        {
            tunnel.options.dpd_timeout = Some(timeout);
        }
    }

    /// `1: Internet Key Exchange Configuration` and its like (the `#` is gone by now).
    fn heading(&mut self, words: &str) -> bool {
        let numbered =
            words.split_once(": ").filter(|(n, _)| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()));
        let title = numbered.map_or(words, |(_, title)| title);
        let section = match title {
            t if numbered.is_some() && t.starts_with("internet key exchange") => Section::Ike,
            t if numbered.is_some() && t.starts_with("ipsec") => Section::Ipsec,
            t if numbered.is_some() && t.starts_with("tunnel interface") => Section::None,
            t if numbered.is_some() && t.starts_with("static rout") => Section::Routing,
            t if t.starts_with("outside ip address") => Section::Outside,
            t if t.starts_with("inside ip address") => Section::Inside,
            t if numbered.is_some() && (t.starts_with("border gateway") || t.starts_with("bgp")) => {
                if let Some(tunnel) = self.tunnel() {
                    tunnel.bgp.get_or_insert_default();
                }
                if let Some(draft) = self.drafts.last_mut()
                    && matches!(draft.routing, DraftRouting::Static)
                {
                    draft.routing = DraftRouting::Bgp(DraftBgp::default());
                }
                Section::Routing
            }
            _ => return false,
        };
        self.section = section;
        true
    }

    fn field(&mut self, label: &str, range: Range<usize>, cx: &mut Context<'_>) {
        let source = self.source;
        let value = source.text().get(range.clone()).unwrap_or_default();
        match label {
            "your vpn connection id" => {
                // A second identifier after tunnels begins a second connection.
                if self.drafts.last().is_some_and(|d| !d.tunnels.is_empty()) {
                    self.finish_tunnel();
                    self.drafts.push(Draft::new(source.outer(range.clone())));
                }
                let span = source.outer(range);
                let id = At { value: value.to_owned(), span: span.clone() };
                self.draft(span).id = (!value.is_empty()).then_some(id);
            }
            "your virtual private gateway id" | "your vpn gateway id" => {
                // Printed but empty for a transit gateway.
                let transit = value.is_empty();
                self.draft(source.outer(range)).transit = transit;
            }
            "your transit gateway id" => self.draft(source.outer(range)).transit = true,
            _ => self.tunnel_field(label, range, cx),
        }
    }

    fn tunnel_field(&mut self, label: &str, range: Range<usize>, cx: &mut Context<'_>) {
        let source = self.source;
        let section = self.section;
        let value = source.text().get(range.clone()).unwrap_or_default();
        if matches!(label, "dpd interval" | "dpd retries") {
            let number = leading_number(source, range, "a DPD value", cx);
            let slot = if label == "dpd interval" { &mut self.dpd.0 } else { &mut self.dpd.1 };
            *slot = number;
            return;
        }
        let Some(tunnel) = self.tunnel() else { return };
        match (section, label) {
            (_, "ike version") => tunnel.says_ikev1 = value.eq_ignore_ascii_case("ikev1"),
            (_, "pre-shared key" | "preshared key") => tunnel.key = key(source, range),
            (Section::Ike, "lifetime") => lifetime(&mut tunnel.options.phase1, source, range, cx),
            (Section::Ipsec, "lifetime") => lifetime(&mut tunnel.options.phase2, source, range, cx),
            (Section::Outside, "customer gateway") => {
                tunnel.customer_gateway =
                    cx.parse::<IpAddr>(source, range, "the customer gateway's outside address");
            }
            (Section::Outside, _) if is_aws(label) => {
                tunnel.outside = cx.parse::<IpAddr>(source, range, "AWS's outside address");
            }
            (Section::Inside, "customer gateway") => {
                tunnel.inside.extend(host(source, range, "the customer gateway's inside address", cx));
            }
            (Section::Inside, _) if is_aws(label) => {
                let at = host(source, range, "AWS's inside address", cx);
                tunnel.aws_inside.extend(at.map(|at| At { value: at.value.addr(), span: at.span }));
            }
            (Section::Routing, "customer gateway asn") => {
                let asn = cx.parse(source, range, "the customer gateway's AS number");
                tunnel.bgp.get_or_insert_default().local_asn = asn;
            }
            (Section::Routing, "neighbor hold time") => {
                let hold = leading_number(source, range, "the hold time", cx);
                tunnel.bgp.get_or_insert_default().hold_time = hold;
            }
            (Section::Routing, _) if label.strip_suffix(" asn").is_some_and(is_aws) => {
                let asn = cx.parse(source, range, "AWS's AS number");
                tunnel.bgp.get_or_insert_default().remote_asn = asn;
            }
            _ => return,
        }
        self.copy_bgp();
    }

    /// The connection's AS numbers are those of its first tunnel that has them.
    fn copy_bgp(&mut self) {
        let Some(draft) = self.drafts.last_mut() else { return };
        if let Some(bgp) = draft.tunnels.iter().find_map(|t| t.bgp.clone()) {
            draft.routing = DraftRouting::Bgp(bgp);
        }
    }
}

/// AWS's side, by its names over the years.
fn is_aws(label: &str) -> bool {
    matches!(label, "virtual private gateway" | "vpn gateway" | "transit gateway" | "aws gateway")
}

/// Lower case, white space collapsed, typographic dashes made plain.
fn words(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| match c {
            '\u{2010}'..='\u{2014}' => '-',
            c if c.is_whitespace() => ' ',
            c => c.to_ascii_lowercase(),
        })
        .collect();
    plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Label and value: the value follows the first colon that has white space behind it, so addresses and keys are
/// safe; AWS's documentation has the colon twice. Quotes around the value go.
fn split(text: &str) -> Option<(String, Range<usize>)> {
    let ends_label = |(index, c): &(usize, char)| {
        *c == ':'
            && text
                .get(index + 1..)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    };
    let (colon, _) = text.char_indices().find(ends_label)?;
    let label = words(text.get(..colon)?);
    let rest = text.get(colon..)?;
    let skipped = rest.len() - rest.trim_start_matches(|c: char| c == ':' || c.is_whitespace()).len();
    let value = text.get(colon + skipped..)?;
    let quoted = value.trim_end().trim_matches(is_quote);
    let start = colon + skipped + value.find(quoted).unwrap_or(0);
    Some((label, start..start + quoted.len()))
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}')
}

/// The number in `28800 seconds`.
fn leading_number(source: &Source, range: Range<usize>, what: &str, cx: &mut Context<'_>) -> Option<u64> {
    let text = source.text().get(range.clone()).unwrap_or_default();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let range = if digits > 0 { range.start..range.start + digits } else { range };
    cx.parse(source, range, what).map(|at| at.value)
}

fn lifetime(phase: &mut Phase, source: &Source, range: Range<usize>, cx: &mut Context<'_>) {
    phase.lifetime = leading_number(source, range, "the lifetime", cx);
}

/// An inside address; the prefix length is left out in the oldest texts.
fn host(source: &Source, range: Range<usize>, what: &str, cx: &mut Context<'_>) -> Option<At<IpNet>> {
    let text = source.text().get(range.clone()).unwrap_or_default();
    if let Ok(address) = text.parse::<IpAddr>() {
        let length = if address.is_ipv4() { 30 } else { 126 };
        return IpNet::new(address, length).ok().map(|value| At { value, span: source.outer(range) });
    }
    cx.parse(source, range, what)
}

fn key(source: &Source, range: Range<usize>) -> Option<At<Zeroizing<String>>> {
    let text = source.text().get(range.clone()).unwrap_or_default();
    // Nobody has published a text of a key in Secrets Manager; these are what a withheld key can look like.
    let withheld =
        text.is_empty() || text.starts_with('<') || text.starts_with("arn:") || text.starts_with("***");
    (!withheld).then(|| At { value: Zeroizing::new(text.to_owned()), span: source.outer(range) })
}
