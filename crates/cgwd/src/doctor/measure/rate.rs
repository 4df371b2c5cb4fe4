//! How much the tunnels carry now, from the interfaces' counters (`/proc/net/dev`, proc(5)).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::doctor::facts::Facts;

/// A first look; too short to be exact.
const GLANCE: Duration = Duration::from_millis(20);
/// A second one, only where the first saw much.
const LOOK: Duration = Duration::from_millis(500);
/// Bits a second that are worth a second look.
const MUCH: u64 = 600_000_000;

/// Bits a second, the larger of both directions, of the tunnels that carry much.
pub(super) fn measure(facts: &Facts) -> BTreeMap<IpAddr, u64> {
    let first = rates(facts, GLANCE);
    if first.values().all(|rate| *rate < MUCH) {
        return BTreeMap::new();
    }
    rates(facts, LOOK)
}

fn rates(facts: &Facts, time: Duration) -> BTreeMap<IpAddr, u64> {
    let (before, began) = (counters(), Instant::now());
    std::thread::sleep(time);
    let (after, took) = (counters(), began.elapsed());
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = |interface: &str| {
        let (old, new) = (before.get(interface)?, after.get(interface)?);
        let octets = new.0.saturating_sub(old.0).max(new.1.saturating_sub(old.1));
        Some(octets.saturating_mul(8_000) / millis)
    };
    let lines = facts.lines();
    let tunnels = lines.iter().filter_map(|line| line.status);
    tunnels.filter_map(|(_, tunnel)| Some((tunnel.outside_ip, rate(&tunnel.interface)?))).collect()
}

fn counters() -> BTreeMap<String, (u64, u64)> {
    read(&std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default())
}

/// Octets received and sent by each interface.
fn read(text: &str) -> BTreeMap<String, (u64, u64)> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let mut fields = rest.split_whitespace();
        let received = fields.next()?.parse().ok()?;
        Some((name.trim().to_owned(), (received, fields.nth(7)?.parse().ok()?)))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_octets_of_both_directions_are_read() {
        let text = "Inter-|   Receive                      |  Transmit\n face |bytes    packets errs drop fifo frame \
                    compressed multicast|bytes packets\n  cgw0: 100 2 0 0 0 0 0 0 4000 5 0 0 0 0 0 0\n";
        assert_eq!(read(text).get("cgw0"), Some(&(100, 4000)));
        assert_eq!(read("garbage: x"), BTreeMap::new());
    }
}
