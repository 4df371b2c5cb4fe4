//! A kernel that counts calls, keeps what it is given, and fails on demand.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::Encapsulation;
use net::tun::{Gso, VNET_HEADER_LEN, VnetHeader};
use net::udp::{ReceiveBatch, Train};

use crate::device::{Device, Link};

/// A write to the TUN: header and packet.
pub(crate) type Written = (VnetHeader, Vec<u8>);

/// A TUN device: what it hands over, and what was written to it.
#[derive(Clone, Default)]
pub(crate) struct FakeTun(Arc<TunState>);

#[derive(Default)]
pub(crate) struct TunState {
    /// Packets with their header, read in turn for ever.
    script: Mutex<Vec<Vec<u8>>>,
    next: AtomicUsize,
    /// How many more may be read before the queue is empty.
    left: AtomicUsize,
    pub(crate) reads: AtomicU64,
    pub(crate) writes: AtomicU64,
    /// Errno for super-packets; zero takes them.
    pub(crate) refuse_super: AtomicI32,
    /// Keep what is written.
    keep: Mutex<Option<Vec<Written>>>,
}

impl FakeTun {
    pub(crate) fn new(script: Vec<Vec<u8>>) -> Self {
        let tun = Self::default();
        *tun.0.script.lock().unwrap() = script;
        tun
    }

    pub(crate) fn state(&self) -> &TunState {
        &self.0
    }

    /// Queues the next `count` packets of the script.
    pub(crate) fn queue(&self, count: usize) {
        self.0.left.store(count, Relaxed);
    }

    pub(crate) fn keep(&self) {
        *self.0.keep.lock().unwrap() = Some(Vec::new());
    }

    pub(crate) fn forget(&self) {
        *self.0.keep.lock().unwrap() = None;
    }

    pub(crate) fn written(&self) -> Vec<Written> {
        self.0.keep.lock().unwrap().replace(Vec::new()).unwrap()
    }
}

impl Device for FakeTun {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let state = &self.0;
        if state.left.load(Relaxed) == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.left.fetch_sub(1, Relaxed);
        state.reads.fetch_add(1, Relaxed);
        let script = state.script.lock().unwrap();
        let packet = &script[state.next.fetch_add(1, Relaxed) % script.len()];
        buffer[..packet.len()].copy_from_slice(packet);
        Ok(packet.len())
    }

    fn write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let vnet = VnetHeader::parse(&parts[0]).unwrap();
        let errno = self.0.refuse_super.load(Relaxed);
        if errno != 0 && vnet.gso != Gso::None {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.0.writes.fetch_add(1, Relaxed);
        if let Some(kept) = self.0.keep.lock().unwrap().as_mut() {
            assert_eq!(parts[0].len(), VNET_HEADER_LEN);
            kept.push((vnet, parts[1..].iter().flat_map(|part| part.to_vec()).collect()));
        }
        Ok(())
    }

    fn has_vnet_header(&self) -> bool {
        true
    }
}

/// A message of one receive: octets, and the length of its datagrams.
pub(crate) type Message = (Vec<u8>, usize);

/// A way to the peer.
#[derive(Debug)]
pub(crate) struct FakeLink {
    raw: bool,
    ipv6: bool,
    pub(crate) calls: AtomicU64,
    pub(crate) packets: AtomicU64,
    pub(crate) waits: AtomicU64,
    /// Errno for trains; zero takes them.
    pub(crate) refuse_cut: AtomicI32,
    /// Errnos of the next calls.
    pub(crate) fail: Mutex<VecDeque<i32>>,
    /// Keep what is sent.
    sent: Mutex<Option<Vec<Message>>>,
    /// What each receive gives.
    pub(crate) inbox: Mutex<VecDeque<Vec<Message>>>,
    pub(crate) mtu: AtomicUsize,
}

impl FakeLink {
    pub(crate) fn new(raw: bool, ipv6: bool) -> Arc<Self> {
        Arc::new(Self {
            raw,
            ipv6,
            calls: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            refuse_cut: AtomicI32::new(0),
            fail: Mutex::default(),
            sent: Mutex::default(),
            inbox: Mutex::default(),
            mtu: AtomicUsize::new(1500),
        })
    }

    pub(crate) fn keep(&self) {
        *self.sent.lock().unwrap() = Some(Vec::new());
    }

    pub(crate) fn forget(&self) {
        *self.sent.lock().unwrap() = None;
    }

    /// The trains that were sent, in order.
    pub(crate) fn sent(&self) -> Vec<Message> {
        self.sent.lock().unwrap().replace(Vec::new()).unwrap()
    }
}

impl Link for FakeLink {
    fn send_trains(&self, trains: &[Train<'_>]) -> io::Result<usize> {
        self.calls.fetch_add(1, Relaxed);
        if let Some(errno) = self.fail.lock().unwrap().pop_front() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let refuse = self.refuse_cut.load(Relaxed);
        let taken = trains.iter().take_while(|train| refuse == 0 || !train.is_cut()).count();
        if taken == 0 {
            return Err(io::Error::from_raw_os_error(refuse));
        }
        for train in &trains[..taken] {
            assert!(!(self.raw && train.is_cut()), "the kernel cannot cut up protocol 50");
            let segment = usize::from(train.segment).min(train.bytes.len());
            self.packets.fetch_add(train.bytes.chunks(segment).count() as u64, Relaxed);
            if let Some(sent) = self.sent.lock().unwrap().as_mut() {
                sent.push((train.bytes.to_vec(), segment));
            }
        }
        Ok(taken)
    }

    fn wait_writable(&self, _timeout: Duration) -> io::Result<()> {
        self.waits.fetch_add(1, Relaxed);
        Ok(())
    }

    fn receive_batch(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.clear();
        let messages = self.inbox.lock().unwrap().pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        for (octets, segment) in &messages {
            assert!(batch.put(octets, *segment, 0));
        }
        Ok(batch.len())
    }

    fn encapsulation(&self) -> Encapsulation {
        if self.raw { Encapsulation::Esp } else { Encapsulation::Udp }
    }

    fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    fn path_mtu(&self) -> Option<u16> {
        u16::try_from(self.mtu.load(Relaxed)).ok()
    }
}
