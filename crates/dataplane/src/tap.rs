//! Copies of inner packets for `cgwd capture`, through a bounded ring that never holds a worker up.
//!
//! While nobody captures, a worker pays one relaxed load a batch. While somebody does, it copies each packet once;
//! what the reader does not take in time is dropped from the copy and counted, never from the traffic.

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
    dropped: AtomicU64,
    closed: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Tapped>,
    bytes: usize,
}

impl Tap {
    /// An empty one. `wake` is called from a worker thread when the first packet comes into an empty queue; it must
    /// be quick.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            queue: Mutex::default(),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            wake: Box::new(wake),
        }
    }

    /// Everything captured since the last time, in the order of arrival.
    pub fn take(&self) -> VecDeque<Tapped> {
        let mut queue = self.queue();
        queue.bytes = 0;
        std::mem::take(&mut queue.packets)
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
        let tapped = Tapped { tunnel, direction, at: SystemTime::now(), packet: packet.to_vec() };
        let mut queue = self.queue();
        if queue.packets.len() >= TAP_PACKETS_MAX || queue.bytes + packet.len() > TAP_BYTES_MAX {
            drop(queue);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let first = queue.packets.is_empty();
        queue.bytes += packet.len();
        queue.packets.push_back(tapped);
        drop(queue);
        if first {
            (self.wake)();
        }
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.queue().packets.len();
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
