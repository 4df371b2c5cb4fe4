//! How other threads reach the endpoint's one loop: a bounded list and an event descriptor that wakes it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use dataplane::Event;
use ike::Command;
use net::poll::Waker;

use super::bgp::Report;

/// Wishes that wait for the loop; a further one is dropped, like a datagram that no buffer takes.
const MAX_WISHES: usize = 1024;

/// What other threads want of the loop.
pub(super) enum Wish {
    /// The data plane saw something.
    Plane(Event),
    /// A BGP connection did something.
    Bgp(Report),
    /// The operator wants something of IKE.
    Command(Command),
    /// The operator wants this MED announced, as before maintenance.
    Med(Option<u32>),
    /// Print where everything stands.
    Status,
    /// End in order; the second time, at once.
    Quit,
}

/// Filled by any thread, emptied by the loop.
pub(super) struct Mailbox {
    wishes: Mutex<VecDeque<Wish>>,
    waker: Waker,
}

impl Mailbox {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { wishes: Mutex::new(VecDeque::new()), waker: Waker::new()? })
    }

    /// Leaves a wish and wakes the loop.
    pub(super) fn post(&self, wish: Wish) {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        if wishes.len() < MAX_WISHES {
            wishes.push_back(wish);
        }
        drop(wishes);
        self.waker.wake();
    }

    /// Takes everything that was left.
    pub(super) fn take(&self) -> VecDeque<Wish> {
        self.waker.clear();
        std::mem::take(&mut *self.wishes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}
