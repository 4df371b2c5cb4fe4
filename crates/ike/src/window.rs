//! Message IDs and repetitions: one request of ours outstanding, one request of the peer at a time.
//!
//! Keeps the bytes that must be identical when sent again and says where a message ID stands; decides
//! nothing about contents. RFC 7296 §2.1 (only the requester repeats; a repeated request gets the identical
//! answer), §2.2 (IDs count from zero in each direction), §2.3 (window size, here always 1).

use model::{Instant, SecureRng};

use crate::config::Retransmit;
use crate::crypto::Protection;
use crate::fragment::{Flight, SHRINK_AFTER, Sizes};

/// Message IDs never wrap (RFC 7296 §2.2); an IKE SA that gets this far is rekeyed.
pub(crate) const MESSAGE_ID_REKEY: u32 = 0x8000_0000;

/// A peer that is heard but does not answer gets this many times the usual repetitions.
const ALIVE_FACTOR: u32 = 3;

/// Our requests.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct RequestWindow<T> {
    next: u32,
    outstanding: Option<Outstanding<T>>,
}

/// A request of ours that has no answer yet.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Outstanding<T> {
    /// Its message ID.
    pub(crate) id: u32,
    /// The message, sent again unchanged unless it has to be cut smaller.
    pub(crate) flight: Flight,
    /// What it is about.
    pub(crate) task: T,
    repeated: u32,
    /// The last transmission.
    at: Instant,
    due: Instant,
}

/// What the clock asks of an outstanding request.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Tick {
    /// Nothing yet.
    Wait,
    /// Send the request again, for the `n`-th time.
    Repeat { n: u32 },
    /// Every repetition went unanswered.
    Exhausted,
}

impl<T> RequestWindow<T> {
    /// A window whose first request gets the ID `next`.
    pub(crate) const fn new(next: u32) -> Self {
        Self { next, outstanding: None }
    }

    /// The ID of the next request, if one may be sent now.
    pub(crate) fn free(&self) -> Option<u32> {
        self.outstanding.is_none().then_some(self.next)
    }

    /// The ID the next request will have, free or not.
    pub(crate) const fn next_id(&self) -> u32 {
        self.next
    }

    /// Records that `flight` with the ID of [`RequestWindow::free`] goes out now.
    pub(crate) fn sent(&mut self, now: Instant, schedule: &Retransmit, flight: Flight, task: T) {
        let id = self.next;
        self.next = self.next.saturating_add(1);
        self.outstanding =
            Some(Outstanding { id, flight, task, repeated: 0, at: now, due: now + schedule.wait(0) });
    }

    /// Whether `id` is the answer we wait for.
    pub(crate) fn answers(&self, id: u32) -> bool {
        self.outstanding.as_ref().is_some_and(|outstanding| outstanding.id == id)
    }

    /// The request under way.
    pub(crate) fn outstanding(&self) -> Option<&T> {
        self.outstanding.as_ref().map(|outstanding| &outstanding.task)
    }

    /// The request under way.
    pub(crate) fn outstanding_mut(&mut self) -> Option<&mut T> {
        self.outstanding.as_mut().map(|outstanding| &mut outstanding.task)
    }

    /// Ends the wait: the answer came, or it no longer matters.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.outstanding.take().map(|outstanding| outstanding.task)
    }

    /// When the clock matters next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|outstanding| outstanding.due)
    }

    /// Lets time pass. A peer that was `heard` since the last transmission is not dead: its answer was lost, and
    /// it gets more repetitions, though not without end.
    pub(crate) fn tick(&mut self, now: Instant, schedule: &Retransmit, heard: Option<Instant>) -> Tick {
        let Some(outstanding) = &mut self.outstanding else { return Tick::Wait };
        if now < outstanding.due {
            return Tick::Wait;
        }
        let alive = heard.is_some_and(|heard| heard > outstanding.at);
        let tries = if alive { schedule.tries.saturating_mul(ALIVE_FACTOR) } else { schedule.tries };
        if outstanding.repeated >= tries {
            return Tick::Exhausted;
        }
        outstanding.repeated += 1;
        outstanding.at = now;
        outstanding.due = now + schedule.wait(outstanding.repeated);
        Tick::Repeat { n: outstanding.repeated }
    }

    /// The outstanding request as it was sent last.
    pub(crate) fn flight(&self) -> Option<&Flight> {
        self.outstanding.as_ref().map(|outstanding| &outstanding.flight)
    }

    /// The outstanding request as it goes out for the `n`-th time: cut smaller when it went unanswered twice
    /// (RFC 7383 §2.5.2).
    pub(crate) fn repeat(
        &mut self,
        n: u32,
        seal: &mut Protection,
        sizes: Option<Sizes>,
        rng: &mut dyn SecureRng,
    ) -> Option<Flight> {
        let outstanding = self.outstanding.as_mut()?;
        if n >= SHRINK_AFTER {
            outstanding.flight.shrink(seal, sizes, rng);
        }
        Some(outstanding.flight.clone())
    }
}

/// The peer's requests.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct ResponseWindow {
    expected: u32,
    last: Option<Answered>,
}

/// The last request we answered, kept to answer it again.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// The request, octet by octet; of a fragmented one fragment 1.
    pub(crate) request: Vec<u8>,
    /// The answer, octet by octet.
    pub(crate) response: Flight,
    id: u32,
    repeated: u32,
}

/// Where a request's message ID stands.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Position<'a> {
    /// The next one: process it.
    Fresh,
    /// The very request that was answered last: send this again.
    Repeat(&'a Flight),
    /// The same message ID as the request that was answered last, in other octets: perhaps cut anew.
    Recent,
    /// Neither.
    Outside,
}

impl ResponseWindow {
    /// A window that expects `expected` first.
    pub(crate) const fn new(expected: u32) -> Self {
        Self { expected, last: None }
    }

    /// Judges a request, changing nothing. A repeat must be identical to the request it repeats: no octet of
    /// it is processed again, so it needs no second integrity check.
    pub(crate) fn position(&self, id: u32, datagram: &[u8]) -> Position<'_> {
        match &self.last {
            Some(last) if last.id == id && last.request == datagram => Position::Repeat(&last.response),
            Some(last) if last.id == id => Position::Recent,
            _ if id == self.expected && id < u32::MAX => Position::Fresh,
            _ => Position::Outside,
        }
    }

    /// The ID that is processed next.
    pub(crate) const fn expected(&self) -> u32 {
        self.expected
    }

    /// Records the answer to the request with the expected ID.
    pub(crate) fn answered(&mut self, request: Vec<u8>, response: Flight) {
        self.last = Some(Answered { request, response, id: self.expected, repeated: 0 });
        self.expected = self.expected.saturating_add(1);
    }

    /// The last answer once more; cut smaller when it was wanted again and again, or when the request was cut
    /// smaller (RFC 7383 §2.5.2).
    pub(crate) fn repeat(
        &mut self,
        recut: bool,
        seal: &mut Protection,
        sizes: Option<Sizes>,
        rng: &mut dyn SecureRng,
    ) -> Option<Flight> {
        let last = self.last.as_mut()?;
        last.repeated = last.repeated.saturating_add(1);
        if recut || last.repeated >= SHRINK_AFTER {
            last.response.shrink(seal, sizes, rng);
        }
        Some(last.response.clone())
    }

    /// What is left to say when the IKE SA is gone.
    pub(crate) fn into_last(self) -> Option<Answered> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_repeated_unchanged_and_given_up_in_bounded_time() {
        let schedule = Retransmit::default();
        let mut window = RequestWindow::new(7);
        let start = Instant::from_secs(100);
        window.sent(start, &schedule, Flight::whole(vec![1, 2, 3]), "task");
        assert_eq!(window.free(), None);
        assert!(window.answers(7) && !window.answers(8));
        let mut repeats = 0;
        loop {
            let due = window.due().unwrap();
            match window.tick(due, &schedule, None) {
                Tick::Repeat { n } => {
                    repeats += 1;
                    assert_eq!(n, repeats);
                    assert_eq!(window.flight().map(Flight::first), Some(&[1, 2, 3][..]));
                }
                Tick::Exhausted => {
                    assert_eq!(due - start, schedule.total());
                    break;
                }
                Tick::Wait => panic!("due but waiting"),
            }
        }
        assert_eq!(repeats, schedule.tries);
        assert_eq!(window.take(), Some("task"));
        assert_eq!(window.free(), Some(8));
    }

    #[test]
    fn a_peer_that_is_heard_gets_more_repetitions_but_not_without_end() {
        let schedule = Retransmit::default();
        let mut window = RequestWindow::new(0);
        window.sent(Instant::ZERO, &schedule, Flight::whole(vec![1]), ());
        let mut repeats = 0;
        loop {
            let due = window.due().unwrap();
            match window.tick(due, &schedule, Some(due)) {
                Tick::Repeat { .. } => repeats += 1,
                Tick::Exhausted => break,
                Tick::Wait => panic!("due but waiting"),
            }
        }
        assert_eq!(repeats, schedule.tries * ALIVE_FACTOR);
    }

    #[test]
    fn rfc7296_2_2_message_ids_never_wrap() {
        let mut window = ResponseWindow::new(u32::MAX - 1);
        assert_eq!(window.position(u32::MAX - 1, b"a"), Position::Fresh);
        window.answered(b"a".to_vec(), Flight::whole(b"A".to_vec()));
        // The last number of all is never used, and zero does not come again.
        assert_eq!(window.position(u32::MAX, b"b"), Position::Outside);
        assert_eq!(window.position(0, b"b"), Position::Outside);
        assert_eq!(window.position(u32::MAX - 1, b"a"), Position::Repeat(&Flight::whole(b"A".to_vec())));
    }

    #[test]
    fn only_the_last_request_is_answered_again_and_only_if_identical() {
        let mut window = ResponseWindow::new(0);
        assert_eq!(window.position(0, b"a"), Position::Fresh);
        assert_eq!(window.position(1, b"a"), Position::Outside);
        window.answered(b"a".to_vec(), Flight::whole(b"A".to_vec()));
        assert_eq!(window.position(0, b"a"), Position::Repeat(&Flight::whole(b"A".to_vec())));
        assert_eq!(window.position(0, b"b"), Position::Recent);
        assert_eq!(window.position(1, b"b"), Position::Fresh);
        window.answered(b"b".to_vec(), Flight::whole(b"B".to_vec()));
        assert_eq!(window.position(0, b"a"), Position::Outside);
    }
}
