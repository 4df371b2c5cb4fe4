//! Listening to the tunnels for a moment: do packets that want an answer get one?
//!
//! The counters alone cannot tell: a stream of datagrams that nobody answers (syslog, SNMP traps) looks like a missing
//! way back. A TCP handshake or an echo request that stays alone does not.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use net::netlink::Netlink;
use net::packet::PacketSocket;

use super::Talk;
use super::message;
use crate::api::Stage;
use crate::doctor::facts::Facts;
use crate::doctor::routing;

/// How long to listen.
const LISTEN: Duration = Duration::from_millis(3500);
/// An answer has this long.
const ANSWER: Duration = Duration::from_millis(1000);
/// Talks beyond these say nothing new.
const TALKS_MAX: usize = 64;
/// Enough of a packet for its headers.
const SNAP: usize = 128;

/// What one talk has shown.
struct Watched {
    first: Instant,
    answered: bool,
}

/// The talks without an answer, by connection; only connections whose counters look like it are listened to.
pub(super) fn listen(facts: &Facts) -> BTreeMap<String, Vec<Talk>> {
    let Some(running) = facts.running() else { return BTreeMap::new() };
    let suspects = running.status.connections.iter().filter(|one| routing::looks_one_way(one).is_some());
    let mut heard = BTreeMap::new();
    for connection in suspects {
        let interfaces: Vec<&str> = connection
            .tunnels
            .iter()
            .filter(|tunnel| tunnel.stage >= Stage::Ipsec)
            .map(|tunnel| tunnel.interface.as_str())
            .collect();
        if let Some(talks) = connection_talks(&interfaces) {
            heard.insert(connection.id.clone(), talks);
        }
    }
    heard
}

fn connection_talks(interfaces: &[&str]) -> Option<Vec<Talk>> {
    let mut netlink = Netlink::open().ok()?;
    let sockets: Vec<PacketSocket> = interfaces
        .iter()
        .take(net::poll::MAX_WATCHED)
        .map(|name| PacketSocket::open(netlink.link(name).ok()?.index).ok())
        .collect::<Option<_>>()?;
    let mut talks: BTreeMap<Talk, Watched> = BTreeMap::new();
    let end = Instant::now() + LISTEN;
    let mut buffer = [0; SNAP];
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let watched: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        net::poll::wait(&watched, Some(left)).ok()?;
        for socket in &sockets {
            // A flood must not keep the loop from its end.
            for _ in 0..256 {
                let Ok((packet, sent)) = socket.receive(&mut buffer) else { break };
                if let Some(seen) = message::seen(packet) {
                    note(&mut talks, &seen, sent);
                }
            }
        }
    }
    let old = |watched: &Watched| watched.first + ANSWER < end;
    Some(
        talks
            .into_iter()
            .filter(|(_, watched)| !watched.answered && old(watched))
            .map(|(talk, _)| talk)
            .collect(),
    )
}

fn note(talks: &mut BTreeMap<Talk, Watched>, seen: &message::Seen, sent: bool) {
    if !sent {
        // Whatever comes back from there is an answer.
        let answered = talks.iter_mut().filter(|(talk, _)| talk.to == seen.from && talk.from == seen.to);
        answered.for_each(|(_, watched)| watched.answered = true);
        return;
    }
    let Some(port) = seen.wants else { return };
    let talk = Talk { from: seen.from, to: seen.to, port };
    if talks.len() < TALKS_MAX {
        talks.entry(talk).or_insert(Watched { first: Instant::now(), answered: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_on_any_tunnel_counts_and_only_what_wants_one_is_watched() {
        let (from, to) = ("10.10.0.2".parse().unwrap(), "172.31.0.10".parse().unwrap());
        let mut talks = BTreeMap::new();
        note(&mut talks, &message::Seen { from, to, wants: None }, true);
        assert!(talks.is_empty(), "a datagram wants nothing");
        note(&mut talks, &message::Seen { from, to, wants: Some(Some(443)) }, true);
        note(&mut talks, &message::Seen { from, to, wants: Some(None) }, true);
        assert!(talks.values().all(|watched| !watched.answered) && talks.len() == 2);
        note(&mut talks, &message::Seen { from: to, to: from, wants: None }, false);
        assert!(talks.values().all(|watched| watched.answered));
    }
}
