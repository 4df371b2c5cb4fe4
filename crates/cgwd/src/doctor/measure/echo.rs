//! Asking with echo requests of several sizes, and waiting for the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use net::icmp::IcmpSocket;

use super::message::{self, Said};

/// The largest message that is read.
const ROOM: usize = 2048;

/// Whom to ask, from where.
pub(super) struct Asker {
    socket: IcmpSocket,
    remote: IpAddr,
    identifier: u16,
    sequence: u16,
}

/// How often, and how long to wait for the answers each time.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) rounds: u32,
    pub(super) wait: Duration,
}

/// A small packet is asked for so often before nobody is thought to be there.
pub(super) const SMALL: Patience = Patience { rounds: 3, wait: Duration::from_millis(600) };
/// Each size of a search; sound packets are lost too.
pub(super) const SEARCH: Patience = Patience { rounds: 2, wait: Duration::from_millis(600) };

/// From one packet of a search to the next.
const GAP: Duration = Duration::from_millis(2);

impl Asker {
    /// `None` when this user may not, or the address or interface is not there.
    pub(super) fn new(local: IpAddr, interface: Option<&str>, remote: IpAddr) -> Result<Self, net::Error> {
        let socket = IcmpSocket::open(local, interface)?;
        // Several doctors at once, and several tunnels in one doctor, each hear all answers.
        let low = match remote {
            IpAddr::V4(v4) => u32::from(v4) as u16,
            IpAddr::V6(v6) => u128::from(v6) as u16,
        };
        let identifier = (std::process::id() as u16).rotate_left(5) ^ low ^ 0x5d0c;
        Ok(Self { socket, remote, identifier, sequence: 0 })
    }

    /// The sizes of IP packets that came back.
    pub(super) fn sizes(&mut self, sizes: &[u16], patience: Patience) -> BTreeSet<u16> {
        let mut came = BTreeSet::new();
        for _ in 0..patience.rounds {
            let mut sent = BTreeMap::new();
            for size in sizes.iter().filter(|size| !came.contains(*size)) {
                if let Some(sequence) = self.send(*size) {
                    sent.insert(sequence, *size);
                }
                // One at a time: what leaves in a burst leaves as one super-datagram, without Don't Fragment.
                if sizes.len() > 1 {
                    std::thread::sleep(GAP);
                }
            }
            let until = Instant::now() + patience.wait;
            while came.len() < sizes.len() && !sent.is_empty() {
                let Some((said, _)) = self.hear(until) else { break };
                if let Said::Reply(sequence) = said
                    && let Some(size) = sent.get(&sequence)
                {
                    came.insert(*size);
                }
            }
            if came.len() == sizes.len() {
                break;
            }
        }
        came
    }

    /// Whether a small packet comes back.
    pub(super) fn answers(&mut self) -> bool {
        !self.sizes(&[84], SMALL).is_empty()
    }

    /// Sends one request; its sequence number, or `None` when the kernel refuses (it is too large for the interface).
    pub(super) fn send(&mut self, size: u16) -> Option<u16> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = message::request(self.remote.is_ipv4(), self.identifier, self.sequence, size);
        self.socket.send_to(&message, self.remote).ok().map(|()| self.sequence)
    }

    /// With this TTL from now on.
    pub(super) fn ttl(&self, ttl: u8) {
        let _ = self.socket.set_ttl(ttl);
    }

    /// The next message about one of our requests, and who sent it; `None` when the time is over.
    pub(super) fn hear(&self, until: Instant) -> Option<(Said, IpAddr)> {
        let mut buffer = [0; ROOM];
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            let heard = self.socket.receive(&mut buffer);
            match heard {
                Ok((message, from)) => {
                    let said = message::read(self.remote.is_ipv4(), self.identifier, message);
                    // An answer comes from whom we asked; an error may come from any router.
                    let ours = said.filter(|said| !matches!(said, Said::Reply(_)) || from == self.remote);
                    if let Some(said) = ours {
                        return Some((said, from));
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    net::poll::wait(&[self.socket.as_fd()], Some(left)).ok()?;
                }
                // An error that belongs to an earlier packet.
                Err(_) => {}
            }
        }
    }

    /// The largest packet of at most `most` octets that comes back, when a small one does.
    pub(super) fn largest(&mut self, most: u16) -> Option<u16> {
        let least = if self.remote.is_ipv4() { 552 } else { 1280 };
        if !self.answers() {
            return None;
        }
        if self.sizes(&[most], SMALL).contains(&most) {
            return Some(most);
        }
        let steps: Vec<u16> = (least..most).step_by(32).collect();
        let mut came: Vec<u16> = self.sizes(&steps, SEARCH).into_iter().collect();
        let Some(coarse) = came.last().copied() else { return Some(84) };
        let steps: Vec<u16> = (coarse + 1..most.min(coarse + 32)).collect();
        came.extend(self.sizes(&steps, SEARCH));
        Some(self.alone(&came).unwrap_or(84))
    }

    /// The largest of these, smallest first, that comes back when it is sent by itself: on a busy machine several leave
    /// as one super-datagram all the same, without Don't Fragment, and pass where one alone does not.
    fn alone(&mut self, came: &[u16]) -> Option<u16> {
        if self.passes(*came.last()?) {
            return came.last().copied();
        }
        let (mut low, mut high) = (0, came.len() - 1);
        while low < high {
            let middle = usize::midpoint(low, high);
            if came.get(middle).is_some_and(|size| self.passes(*size)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        came.get(low.checked_sub(1)?).copied()
    }

    fn passes(&mut self, size: u16) -> bool {
        !self.sizes(&[size], SEARCH).is_empty()
    }
}
