//! What the routes have to tell, in words for the timeline.

use std::collections::{BTreeMap, BTreeSet};

use routes::Change;

use super::Said;
use crate::catalog::Code;
use crate::translate::failure::Finding;

/// What to say about routes and rules of ours that somebody changed; one by one if they are not more than
/// `told_max`.
pub(super) fn repaired(changes: &[Change], rules: usize, told_max: usize) -> impl Iterator<Item = String> {
    let few = changes.len() <= told_max;
    let told = changes.iter().filter(move |_| few).map(|change| {
        let (Change::Add(route) | Change::Replace { new: route, .. } | Change::Delete(route)) = change;
        format!("our route {route} was changed by somebody; it is as it was again")
    });
    let counted = (!few).then(|| {
        format!("{} of our routes were changed by somebody; they are as they were again", changes.len())
    });
    let ruled = (rules > 0).then(|| {
        format!("{rules} of our policy rules were changed by somebody; they are as they were again")
    });
    told.chain(counted).chain(ruled)
}

/// Of the troubles that there are now (each with the connection it concerns), those that were not there the last
/// time, of which `told_max` are told one by one. `known` becomes what there is now.
pub(super) fn news(
    known: &mut BTreeSet<String>,
    code: Code,
    now: BTreeSet<(Option<String>, String)>,
    told_max: usize,
) -> Vec<Said> {
    let mut fresh: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    for (connection, text) in &now {
        if !known.contains(text) {
            fresh.entry(connection.clone()).or_default().push(text.clone());
        }
    }
    *known = now.into_iter().map(|(_, text)| text).collect();
    let mut said = Vec::new();
    for (connection, texts) in fresh {
        let more = texts.len().saturating_sub(told_max);
        let mut told: Vec<String> = texts.into_iter().take(told_max).collect();
        if more > 0 {
            told.push(format!("and {more} more like these; `cgwd routes` has them all"));
        }
        said.extend(told.into_iter().map(|text| (connection.clone(), Finding { code, text }, None)));
    }
    said
}

/// A changed egress: the tunnels before and after, and why.
pub(super) struct Move<'a> {
    pub(super) from: &'a BTreeSet<String>,
    pub(super) to: &'a BTreeSet<String>,
    pub(super) reason: &'a str,
    pub(super) when_down: config::WhenDown,
}

impl Move<'_> {
    pub(super) fn finding(&self) -> Finding {
        let join = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        let (from, to, reason) = (join(self.from), join(self.to), self.reason);
        let (code, text) = match (self.from.is_empty(), self.to.is_empty()) {
            (_, true) => {
                let fate = match self.when_down {
                    config::WhenDown::Withdraw => {
                        "meanwhile what is sent there follows this host's other routes, its default route \
                         among them"
                    }
                    config::WhenDown::Unreachable => "meanwhile senders are told unreachable",
                };
                let was = if from.is_empty() { String::new() } else { format!(" (was {from})") };
                (Code::EgressNone, format!("traffic has no egress any more{was}: {reason}; {fate}"))
            }
            (true, false) => (Code::EgressMoved, format!("traffic leaves by {to}: {reason}")),
            (false, false) => (Code::EgressMoved, format!("traffic moved from {from} to {to}: {reason}")),
        };
        Finding { code, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn troubles(texts: &[&str]) -> BTreeSet<(Option<String>, String)> {
        texts.iter().map(|text| (None, (*text).to_owned())).collect()
    }

    #[test]
    fn a_trouble_is_told_once_and_again_when_it_comes_again() {
        let mut known = BTreeSet::new();
        let mut told = |texts: &[&str]| -> Vec<String> {
            let said = news(&mut known, Code::RouteForeign, troubles(texts), 2);
            said.into_iter().map(|(_, finding, _)| finding.text).collect()
        };
        assert_eq!(told(&["a"]), ["a"]);
        assert_eq!(told(&["a", "b"]), ["b"]);
        assert_eq!(told(&["b"]), Vec::<String>::new());
        assert_eq!(told(&["a", "b"]), ["a"]);
        let many = told(&["c", "d", "e", "f"]);
        assert_eq!(many, ["c", "d", "and 2 more like these; `cgwd routes` has them all"]);
    }

    #[test]
    fn the_loss_of_every_tunnel_says_where_packets_go_meanwhile() {
        let (from, to) = (BTreeSet::from(["tunnel1".to_owned()]), BTreeSet::new());
        let text = |when_down| Move { from: &from, to: &to, reason: "why", when_down }.finding().text;
        assert!(text(config::WhenDown::Withdraw).contains("its default route among them"));
        assert_eq!(
            text(config::WhenDown::Unreachable),
            "traffic has no egress any more (was tunnel1): why; meanwhile senders are told unreachable"
        );
    }
}
