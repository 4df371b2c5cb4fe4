//! What a session has to tell, in words for the timeline.

use bgp::{Notice, NotificationSeen};

use crate::catalog::Code;
use crate::translate::failure::Finding;

/// A notice that is worth an event.
pub(super) fn finding(notice: &Notice) -> Option<Finding> {
    let (code, text) = match notice {
        Notice::Established { router_id, hold, took, .. } => (
            Code::BgpUp,
            format!(
                "BGP established with {router_id}, hold time {} s, after {:.1} s",
                hold.as_secs(),
                took.as_secs_f64()
            ),
        ),
        Notice::Down { why, lasted } => {
            (Code::BgpDown, format!("BGP ended after {} s: {why}", lasted.as_secs()))
        }
        Notice::Notification(seen) => (Code::BgpNotification, notification(seen)),
        Notice::EndOfRib { family, prefixes } => {
            (Code::BgpSynchronised, format!("AWS has announced all its {family} routes, {prefixes} prefixes"))
        }
        Notice::ManyPrefixesIn { received, limit } => {
            (Code::BgpPrefixes, format!("AWS announces {received} prefixes, the limit here is {limit}"))
        }
        Notice::PrefixesWithheld { withheld, limit } => (
            Code::BgpPrefixes,
            format!(
                "{} prefixes are not announced: AWS takes {limit} at most; aggregate them",
                withheld.len()
            ),
        ),
        Notice::TreatedAsWithdraw { why, prefixes } => (
            Code::BgpMalformed,
            format!("a malformed UPDATE ({why}) withdrew {prefixes} prefixes (RFC 7606)"),
        ),
        other => {
            tracing::debug!("BGP: {other:?}");
            return None;
        }
    };
    Some(Finding { code, text })
}

/// Who said what, what it means, how AWS's log puts it, and what to do.
pub(super) fn notification(seen: &NotificationSeen) -> String {
    let who = if seen.by_peer { "AWS sent" } else { "we sent" };
    let words = seen.explanation;
    let mut text = format!("{who} NOTIFICATION {}/{}: {}", seen.code, seen.subcode, words.text);
    if let Some(said) = seen.communication.as_deref().filter(|said| !said.is_empty()) {
        text.push_str(&format!(" (\"{said}\")"));
    }
    if let Some(line) = words.aws_log {
        text.push_str(&format!("; AWS's BGP log has \"{line}\""));
    }
    if !words.remedy.is_empty() {
        text.push_str(&format!(". {}", words.remedy));
    }
    text
}
