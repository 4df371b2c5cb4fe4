//! What the handle and the two workers share: the published outbound SA, the limits, the counters, the way up.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use esp::{OutboundSa, Selectors};
use model::{Instant, Spi};
use net::poll::Waker;

use crate::counters::Cells;
use crate::device::Link;
use crate::heartbeat::Heartbeat;
use crate::tap;
use crate::{Event, OffloadStates, ProbeAddresses, TunnelConfig};

/// What carries ESP packets to the peer.
pub(crate) type Wire = Arc<dyn Link>;

/// The sending half of a child, as the workers see it. Replaced as a whole when the path changes; the SA itself,
/// with its counter, stays the same.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    pub(crate) id: u64,
    pub(crate) spi_in: Spi,
    pub(crate) sa: Arc<OutboundSa>,
    pub(crate) selectors: Arc<Selectors>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) wire: Wire,
    /// The end of the counter was announced.
    pub(crate) announced: Arc<AtomicBool>,
}

/// Sizes that both workers read once a batch, in octets.
#[derive(Debug)]
pub(crate) struct Limits {
    /// MTU of the TUN interface.
    pub(crate) interface: AtomicU16,
    /// Outer path MTU in force: the configured one, or less when the kernel learnt so.
    pub(crate) path: AtomicU16,
    /// Largest inner packet that fits the path with the active child's overhead.
    pub(crate) inner: AtomicU16,
}

impl Limits {
    /// Largest inner packet that is sent unfragmented.
    pub(crate) fn inner(&self) -> usize {
        usize::from(self.inner.load(Relaxed))
    }

    /// What the MSS is derived from.
    pub(crate) fn clamp(&self) -> u16 {
        self.inner.load(Relaxed).min(self.interface.load(Relaxed))
    }
}

pub(crate) type Events = Arc<dyn Fn(Event) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) config: TunnelConfig,
    pub(crate) outbound: ArcSwapOption<Outbound>,
    pub(crate) limits: Limits,
    pub(crate) cells: Cells,
    /// Where `cgwd capture` listens.
    pub(crate) tap: tap::Socket,
    /// Nanoseconds of [`Instant`]; zero is "never".
    pub(crate) last_rx: AtomicU64,
    pub(crate) last_tx: AtomicU64,
    pub(crate) offload: Mutex<OffloadStates>,
    pub(crate) stop: AtomicBool,
    pub(crate) wake_outbound: Waker,
    pub(crate) wake_inbound: Waker,
    pub(crate) heart_outbound: Heartbeat,
    pub(crate) heart_inbound: Heartbeat,
    events: Events,
}

impl Shared {
    pub(crate) fn new(config: TunnelConfig, events: Events) -> std::io::Result<Self> {
        let limits = Limits {
            interface: AtomicU16::new(config.mtu),
            path: AtomicU16::new(config.path_mtu),
            inner: AtomicU16::new(config.mtu),
        };
        Ok(Self {
            config,
            outbound: ArcSwapOption::empty(),
            limits,
            cells: Cells::default(),
            tap: tap::Socket::default(),
            last_rx: AtomicU64::new(0),
            last_tx: AtomicU64::new(0),
            offload: Mutex::new(OffloadStates::default()),
            stop: AtomicBool::new(false),
            wake_outbound: Waker::new()?,
            wake_inbound: Waker::new()?,
            heart_outbound: Heartbeat::default(),
            heart_inbound: Heartbeat::default(),
            events,
        })
    }

    pub(crate) fn emit(&self, event: Event) {
        (self.events)(event);
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub(crate) fn offload(&self) -> MutexGuard<'_, OffloadStates> {
        self.offload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the child that outbound traffic uses from the next batch on.
    pub(crate) fn publish(&self, outbound: Option<Arc<Outbound>>) {
        if let Some(outbound) = &outbound {
            self.set_inner_limit(outbound);
        }
        self.outbound.store(outbound);
    }

    /// Recomputes the inner limit from the path MTU and the child's overhead.
    pub(crate) fn set_inner_limit(&self, outbound: &Outbound) {
        let wire = &outbound.wire;
        let inner = esp::inner_mtu(
            self.limits.path.load(Relaxed),
            wire.is_ipv6(),
            wire.encapsulation(),
            outbound.sa.suite().transform,
        );
        self.limits.inner.store(inner, Relaxed);
    }

    /// Looks at what the kernel knows of the path; tells when it changed.
    pub(crate) fn refresh_path_mtu(&self, outbound: &Outbound) {
        let configured = self.config.path_mtu;
        let learnt = outbound.wire.path_mtu().unwrap_or(configured).min(configured);
        if self.limits.path.swap(learnt, Relaxed) != learnt {
            self.set_inner_limit(outbound);
            self.emit(Event::PathMtu { mtu: learnt });
        }
    }

    pub(crate) const fn probe(&self) -> Option<ProbeAddresses> {
        self.config.probe
    }
}

pub(crate) const fn instant(nanos: u64) -> Option<Instant> {
    if nanos == 0 { None } else { Some(Instant::from_nanos(nanos)) }
}
