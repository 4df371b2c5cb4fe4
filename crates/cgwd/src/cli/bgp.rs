//! The text of `cgwd bgp`.

use std::fmt::Write as _;

use super::render::span;
use crate::api::{BgpReport, BgpSession};

/// Received prefixes shown of one session; `--json` has them all.
const SHOWN_MAX: usize = 40;

/// One block for each session.
pub(super) fn render(report: &BgpReport) -> String {
    if report.sessions.is_empty() {
        return "no connection speaks BGP here (routing = \"static\", or bgp.mode = \"external\")\n"
            .to_owned();
    }
    let mut text = String::new();
    for session in &report.sessions {
        block(&mut text, session);
    }
    text
}

fn block(text: &mut String, it: &BgpSession) {
    let bgp = &it.session;
    let since = bgp.uptime_seconds.map_or_else(String::new, |seconds| format!(" for {}", span(seconds)));
    let _ = writeln!(
        text,
        "{}/{} ({}): {}{since}, {} AS {} with {} AS {}",
        it.connection, it.tunnel, it.interface, bgp.state, it.local, it.local_asn, bgp.peer, bgp.asn
    );
    if let Some(why) = &bgp.waiting_for {
        let _ = writeln!(text, "  {why}");
    }
    // A session that ended by a NOTIFICATION is told by that.
    let notified =
        |at: f64| it.last_notification.as_ref().is_some_and(|seen| (seen.seconds_ago - at).abs() < 1.0);
    if let Some(end) = it.last_end.as_ref().filter(|end| !notified(end.seconds_ago)) {
        let _ = writeln!(text, "  the last session ended {} ago: {}", span(end.seconds_ago), end.why);
    }
    if let (Some(router), Some(hold)) = (it.router_id, it.hold_seconds) {
        let complete = if it.synchronised { "" } else { ", more to come" };
        let _ = writeln!(
            text,
            "  router {router}, hold time {hold} s; {} received{complete}, {} taken, {} announced",
            bgp.received, bgp.accepted, bgp.advertised
        );
    }
    if let Some(last) = &it.last_notification {
        let _ = writeln!(text, "  {} ago {}", span(last.seconds_ago), last.text);
    }
    for warning in &it.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    let width = it.received.iter().take(SHOWN_MAX).map(|route| route.prefix.len()).max().unwrap_or(0);
    for route in it.received.iter().take(SHOWN_MAX) {
        let mark = if route.used { '>' } else { ' ' };
        let med = route.med.map_or_else(|| "-".to_owned(), |med| med.to_string());
        let _ = writeln!(
            text,
            "  in {mark} {:width$}  path {}  MED {med}  {}",
            route.prefix, route.as_path, route.why
        );
    }
    let more = it.received.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        let _ = writeln!(text, "  in   and {more} more (--json has them all)");
    }
    if !it.advertised.is_empty() {
        let _ = writeln!(text, "  out  {}", it.advertised.join(", "));
    }
    if !it.withheld.is_empty() {
        let _ = writeln!(text, "  out  withheld, beyond AWS's limit: {}", it.withheld.join(", "));
    }
}
