//! `GET /v1/capture`: decrypted inner packets as a pcapng stream, from the data plane's tap to the client.
//!
//! The stream pulls: what the client does not read stays in the tap's bounded ring, and what finds no room there is
//! lost to the capture and counted, never to the traffic. When the client goes, the tap is closed.

pub(crate) mod pcapng;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use dataplane::Tap;
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

/// Octets of one piece of the answer, about.
const CHUNK_BYTES: usize = 256 << 10;

/// A tunnel as the capture shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// `cgw0`.
    pub name: String,
    /// The kernel's number of it.
    pub index: u32,
    /// `vpn-…/tunnel1`.
    pub description: String,
}

/// What the daemon and the stream share of one capture.
#[derive(Debug)]
pub struct Capture {
    /// Where the data plane puts packets.
    pub tap: Arc<Tap>,
    interfaces: Mutex<Vec<Interface>>,
    packets: AtomicU64,
}

impl Capture {
    /// A capture that has seen nothing yet, and the stream that reads it; it ends after `count` packets.
    pub fn new(count: Option<u64>) -> (Arc<Self>, Stream) {
        let (news, woken) = mpsc::channel(1);
        // A full channel says already what there is to say.
        let wake = move || {
            let _ = news.try_send(());
        };
        let capture = Arc::new(Self {
            tap: Arc::new(Tap::new(wake)),
            interfaces: Mutex::default(),
            packets: AtomicU64::new(0),
        });
        let stream = Stream {
            capture: Arc::clone(&capture),
            woken,
            left: count,
            opened: false,
            interfaces: Vec::new(),
            lost_written: 0,
            waiting: Default::default(),
        };
        (capture, stream)
    }

    /// The number of this tunnel in the capture, given at its first appearance.
    pub fn number(&self, interface: &Interface) -> u32 {
        let mut known = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        let position = known.iter().position(|other| other == interface).unwrap_or_else(|| {
            known.push(interface.clone());
            known.len() - 1
        });
        u32::try_from(position).unwrap_or(u32::MAX)
    }

    /// Packets handed to the client.
    pub fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    fn interfaces_from(&self, written: usize) -> Vec<Interface> {
        let known = self.interfaces.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(written..).unwrap_or_default().to_vec()
    }
}

/// The body of the answer.
#[derive(Debug)]
pub struct Stream {
    capture: Arc<Capture>,
    woken: mpsc::Receiver<()>,
    left: Option<u64>,
    opened: bool,
    /// Those written already.
    interfaces: Vec<Interface>,
    lost_written: u64,
    waiting: std::collections::VecDeque<dataplane::Tapped>,
}

impl Stream {
    /// What there is to write now; empty when there is nothing new.
    fn next_chunk(&mut self) -> Vec<u8> {
        let mut chunk = Vec::new();
        if !std::mem::replace(&mut self.opened, true) {
            chunk.extend(pcapng::section());
        }
        if self.waiting.is_empty() {
            self.waiting = self.capture.tap.take();
        }
        // After the packets were taken: an interface is known before its first packet comes.
        for interface in self.capture.interfaces_from(self.interfaces.len()) {
            chunk.extend(pcapng::interface(&interface.name, &interface.description));
            self.interfaces.push(interface);
        }
        while chunk.len() < CHUNK_BYTES && self.left != Some(0) {
            let Some(tapped) = self.waiting.pop_front() else { break };
            let interface =
                usize::try_from(tapped.tunnel).ok().and_then(|number| self.interfaces.get(number));
            chunk.extend(pcapng::packet(&tapped, interface.map_or(0, |interface| interface.index)));
            self.capture.packets.fetch_add(1, Relaxed);
            self.left = self.left.map(|left| left - 1);
        }
        let lost = self.capture.tap.dropped();
        if lost != self.lost_written && !self.interfaces.is_empty() {
            self.lost_written = lost;
            chunk.extend(pcapng::statistics(0, SystemTime::now(), lost));
        }
        chunk
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            let chunk = self.next_chunk();
            if !chunk.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(chunk.into()))));
            }
            if self.left == Some(0) {
                return Poll::Ready(None);
            }
            match self.woken.poll_recv(context) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.capture.tap.close();
    }
}
