//! Does a packet as large as the tunnel promises come back through it?

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use net::netlink::Netlink;

use super::echo::{Asker, Patience};
use super::{Mtu, Outside};
use crate::api::Stage;
use crate::doctor::facts::{Facts, Line};

/// The first large packet: it may be lost, and teach the kernel why.
const SEARCH_ONCE: Patience = Patience { rounds: 1, wait: Duration::from_millis(700) };

/// The daemon looks at the path's MTU with each probe, once a second; a busy machine takes its time.
const FOLLOWS: Duration = Duration::from_millis(2500);

/// All tunnels whose inside address answers, at the same time.
pub(super) fn measure(facts: &Facts) -> BTreeMap<IpAddr, Mtu> {
    let lines = facts.lines();
    std::thread::scope(|scope| {
        let threads: Vec<_> = lines
            .iter()
            .filter(|line| matches!(line.stage(), Some(Stage::Bgp | Stage::Up)))
            .map(|line| (line.outside, scope.spawn(move || tunnel(facts, line))))
            .collect();
        threads
            .into_iter()
            .filter_map(|(outside, thread)| Some((outside, thread.join().ok().flatten()?)))
            .collect()
    })
}

/// `None` when nobody answers, or this user may not ask.
fn tunnel(facts: &Facts, line: &Line<'_>) -> Option<Mtu> {
    let (_, config) = line.config?;
    let (_, status) = line.status?;
    let inside = config.inside.first()?;
    let mut asker = Asker::new(inside.ours.addr(), Some(&status.interface), inside.aws).ok()?;
    let first = interface_mtu(&status.interface)?;
    if asker.sizes(&[first], SEARCH_ONCE).contains(&first) {
        return Some(Mtu { promised: first, passes: first, lowered_from: None, outside: Outside::Unknown });
    }
    // The first large packet may have taught the kernel the path's MTU, and the daemon follows it: the interface's
    // becomes smaller, and until then packets are fragmented before encryption.
    let now = interface_mtu(&status.interface)?;
    let passes = asker.largest(now)?;
    let mut now = interface_mtu(&status.interface)?.min(now);
    if now == first && passes == first {
        // Lost by chance, or fragmented since, and the daemon has not come to it yet.
        now = followed(&status.interface, first);
    }
    if now < first {
        let passes = passes.min(now);
        return Some(Mtu { promised: now, passes, lowered_from: Some(first), outside: Outside::Unknown });
    }
    if passes == first {
        return Some(Mtu { promised: first, passes, lowered_from: None, outside: Outside::Unknown });
    }
    let outside = outside(facts, line, config.path_mtu);
    Some(Mtu { promised: first, passes, lowered_from: None, outside })
}

/// The interface's MTU once it is smaller, or `first` when it stays what it was.
fn followed(name: &str, first: u16) -> u16 {
    let until = Instant::now() + FOLLOWS;
    loop {
        match interface_mtu(name) {
            Some(mtu) if mtu < first => return mtu,
            _ if Instant::now() >= until => return first,
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn interface_mtu(name: &str) -> Option<u16> {
    let link = Netlink::open().ok()?.link(name).ok()?;
    u16::try_from(link.mtu).ok()
}

/// The same below the tunnel.
fn outside(facts: &Facts, line: &Line<'_>, path_mtu: u16) -> Outside {
    let found = facts.host.as_ref().and_then(|host| host.underlay.get(&line.outside)?.as_ref().ok());
    let Some(source) = found.and_then(|found| found.source) else { return Outside::Unknown };
    let largest = Asker::new(source, None, line.outside).ok().and_then(|mut asker| asker.largest(path_mtu));
    match largest {
        None => Outside::Unknown,
        Some(size) if size >= path_mtu => Outside::Wide,
        Some(size) => Outside::Narrow(size),
    }
}
