//! A port-translating NAT in front of one node.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// First port it hands out.
const FIRST_PORT: u16 = 20_000;

/// Gives each inside address and port an outside port, and lets in what comes to such a port.
#[derive(Clone, Debug)]
pub struct Nat {
    inside: IpAddr,
    outside: IpAddr,
    mapped: BTreeMap<SocketAddr, u16>,
    next: u16,
}

impl Nat {
    /// A NAT that hides `inside` behind `outside`.
    pub const fn new(inside: IpAddr, outside: IpAddr) -> Self {
        Self { inside, outside, mapped: BTreeMap::new(), next: FIRST_PORT }
    }

    /// The address the world sees.
    pub const fn outside(&self) -> IpAddr {
        self.outside
    }

    /// Translates the source of a packet that leaves.
    pub fn leave(&mut self, from: SocketAddr) -> SocketAddr {
        if from.ip() != self.inside {
            return from;
        }
        let next = &mut self.next;
        let port = *self.mapped.entry(from).or_insert_with(|| {
            *next = next.checked_add(1).unwrap_or(FIRST_PORT);
            *next
        });
        SocketAddr::new(self.outside, port)
    }

    /// Translates the destination of a packet that comes; `None` when there is no such mapping.
    pub fn enter(&self, to: SocketAddr) -> Option<SocketAddr> {
        if to.ip() != self.outside {
            return Some(to);
        }
        self.mapped.iter().find(|(_, port)| **port == to.port()).map(|(inside, _)| *inside)
    }

    /// Forgets all mappings: the next packet out gets a new port.
    pub fn rebind(&mut self) {
        self.mapped.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_their_way_until_the_mapping_changes() {
        let inside: SocketAddr = "10.0.0.1:4500".parse().unwrap();
        let mut nat = Nat::new(inside.ip(), "192.0.2.1".parse().unwrap());
        let first = nat.leave(inside);
        assert_eq!(first.ip(), nat.outside());
        assert_eq!(nat.leave(inside), first);
        assert_eq!(nat.enter(first), Some(inside));
        nat.rebind();
        assert_eq!(nat.enter(first), None);
        let second = nat.leave(inside);
        assert_ne!(second, first);
        assert_eq!(nat.enter(second), Some(inside));
        let elsewhere = "203.0.113.5:500".parse().unwrap();
        assert_eq!(nat.enter(elsewhere), Some(elsewhere));
    }
}
