//! What arrives at the control loop from sockets and worker threads, through one bounded queue.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

/// Things waiting for the control loop; beyond it they are dropped and counted.
pub(super) const INBOX_MAX: usize = 1024;

/// Names a line of the supervisor; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineId(pub(super) u64);

/// One thing that arrived.
#[derive(Debug)]
pub(super) enum Incoming {
    /// An IKE message, its non-ESP marker removed.
    Ike {
        /// Our address and port.
        local: SocketAddr,
        /// The sender.
        remote: SocketAddr,
        /// The message.
        message: Vec<u8>,
    },
    /// An ESP packet in UDP that the tunnel's own socket did not get.
    Esp {
        /// Our address and port.
        local: SocketAddr,
        /// The sender.
        remote: SocketAddr,
        /// The UDP payload.
        datagram: Vec<u8>,
    },
    /// A worker thread says something.
    Plane {
        /// Whose.
        line: LineId,
        /// What.
        event: dataplane::Event,
    },
    /// A BGP connection says something.
    Bgp {
        /// Whose.
        line: LineId,
        /// What.
        event: super::bgp::Event,
    },
    /// A hook complains.
    Hook {
        /// About what.
        complaint: crate::hooks::Complaint,
    },
}

/// A sink for the events of one line's worker threads.
pub(super) fn plane_events(
    line: LineId,
    inbox: mpsc::Sender<Incoming>,
    dropped: Arc<AtomicU64>,
) -> Arc<dyn Fn(dataplane::Event) + Send + Sync> {
    Arc::new(move |event| {
        // A worker must never wait for the control loop.
        if inbox.try_send(Incoming::Plane { line, event }).is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    })
}
