//! Copies of inner packets for `cgwd capture`, through a bounded ring that never holds a worker up.
//!
//! While nobody captures, a worker pays one relaxed load a batch. While somebody does, it copies each packet once, into
//! room that was set aside before: a worker allocates nothing. What the reader does not take in time is dropped from the
//! copy and counted, never from the traffic.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Octets of packets waiting for the reader at most.
pub const TAP_BYTES_MAX: usize = 8 << 20;
/// Packets waiting for the reader at most.
pub const TAP_PACKETS_MAX: usize = 16_384;

/// Which way a captured packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapDirection {
    /// From the peer to us.
    Inbound,
    /// From us to the peer.
    Outbound,
}

/// A captured inner packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tapped {
    /// The number given with [`crate::Tunnel::tap`].
    pub tunnel: u32,
    /// Which way.
    pub direction: TapDirection,
    /// When.
    pub at: SystemTime,
    /// The packet from its IP header on, whole.
    pub packet: Vec<u8>,
}

/// Where captured packets wait for their reader; several tunnels may share one.
pub struct Tap {
    queue: Mutex<Queue>,
    /// The room that the reader emptied last, and takes the place of the next that it empties.
    spare: Mutex<Option<Queue>>,
    dropped: AtomicU64,
    closed: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// A packet whose octets lie in [`Queue::octets`].
struct Entry {
    tunnel: u32,
    direction: TapDirection,
    at: SystemTime,
    len: usize,
}

/// Packets and their octets, in one order. Never grows: memory that no packet ever reached is not even mapped.
struct Queue {
    entries: Vec<Entry>,
    octets: Vec<u8>,
}

impl Queue {
    fn new() -> Self {
        Self { entries: Vec::with_capacity(TAP_PACKETS_MAX), octets: Vec::with_capacity(TAP_BYTES_MAX) }
    }

    /// The packets, each on its own now; what is left is empty and has its room still.
    fn unpack(&mut self) -> VecDeque<Tapped> {
        let mut octets = self.octets.as_slice();
        let mut packets = VecDeque::with_capacity(self.entries.len());
        for Entry { tunnel, direction, at, len } in self.entries.drain(..) {
            let (packet, rest) = octets.split_at_checked(len).unwrap_or_default();
            octets = rest;
            packets.push_back(Tapped { tunnel, direction, at, packet: packet.to_vec() });
        }
        self.octets.clear();
        packets
    }
}

impl Tap {
    /// An empty one. `wake` is called from a worker thread when the first packet comes into an empty queue; it must
    /// be quick.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            queue: Mutex::new(Queue::new()),
            spare: Mutex::default(),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            wake: Box::new(wake),
        }
    }

    /// Everything captured since the last time, in the order of arrival. The workers wait for two pointers to change
    /// places, not for the packets to be copied.
    pub fn take(&self) -> VecDeque<Tapped> {
        if self.queue().entries.is_empty() {
            return VecDeque::new();
        }
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut full = spare.take().unwrap_or_else(Queue::new);
        std::mem::swap(&mut *self.queue(), &mut full);
        let packets = full.unpack();
        *spare = Some(full);
        packets
    }

    /// Packets that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// From now on nothing is copied any more.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
        drop(self.take());
    }

    /// Whether [`Tap::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, tunnel: u32, direction: TapDirection, packet: &[u8]) {
        if self.is_closed() {
            return;
        }
        let at = SystemTime::now();
        let mut queue = self.queue();
        if queue.entries.len() >= TAP_PACKETS_MAX || queue.octets.len() + packet.len() > TAP_BYTES_MAX {
            drop(queue);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let first = queue.entries.is_empty();
        queue.octets.extend_from_slice(packet);
        queue.entries.push(Entry { tunnel, direction, at, len: packet.len() });
        drop(queue);
        if first {
            (self.wake)();
        }
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.queue().entries.len();
        f.debug_struct("Tap")
            .field("waiting", &waiting)
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// One tunnel's way into a [`Tap`], as a worker holds it during a batch.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    tap: Arc<Tap>,
    tunnel: u32,
}

impl Port {
    pub(crate) fn inbound(&self, packet: &[u8]) {
        self.tap.push(self.tunnel, TapDirection::Inbound, packet);
    }

    pub(crate) fn outbound(&self, packet: &[u8]) {
        self.tap.push(self.tunnel, TapDirection::Outbound, packet);
    }
}

/// Where a tunnel's workers look for a tap.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    on: AtomicBool,
    port: Mutex<Option<Port>>,
}

impl Socket {
    /// What to copy to, asked once a batch.
    pub(crate) fn port(&self) -> Option<Port> {
        if !self.on.load(Relaxed) {
            return None;
        }
        self.lock().clone()
    }

    pub(crate) fn plug(&self, tap: Option<(Arc<Tap>, u32)>) {
        let on = tap.is_some();
        *self.lock() = tap.map(|(tap, tunnel)| Port { tap, tunnel });
        self.on.store(on, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Port>> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_copied_until_a_tap_is_plugged_in_and_after_it_is_closed() {
        let woken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&woken);
        let tap = Arc::new(Tap::new(move || {
            counter.fetch_add(1, Relaxed);
        }));
        let socket = Socket::default();
        assert!(socket.port().is_none());
        socket.plug(Some((Arc::clone(&tap), 7)));
        let port = socket.port().expect("plugged in");
        port.inbound(b"one");
        port.outbound(b"two");
        let taken = tap.take();
        let seen: Vec<_> = taken.iter().map(|t| (t.tunnel, t.direction, t.packet.as_slice())).collect();
        assert_eq!(seen, [(7, TapDirection::Inbound, &b"one"[..]), (7, TapDirection::Outbound, &b"two"[..])]);
        assert_eq!(woken.load(Relaxed), 1, "woken once for what waits together");
        tap.close();
        port.inbound(b"three");
        assert!(tap.take().is_empty());
        socket.plug(None);
        assert!(socket.port().is_none());
    }

    #[test]
    fn a_reader_that_sleeps_costs_packets_of_the_copy_and_they_are_counted() {
        let tap = Arc::new(Tap::new(|| {}));
        let port = Port { tap: Arc::clone(&tap), tunnel: 0 };
        for _ in 0..TAP_PACKETS_MAX + 5 {
            port.inbound(&[0; 20]);
        }
        assert_eq!((tap.take().len(), tap.dropped()), (TAP_PACKETS_MAX, 5));
        for _ in 0..TAP_BYTES_MAX / 60_000 + 3 {
            port.inbound(&[0; 60_000]);
        }
        assert!(tap.take().len() * 60_000 <= TAP_BYTES_MAX);
        assert!(tap.dropped() > 5);
    }
}
