//! The states of IKE SAs, one file each, and what they share.
//!
//! A state is a struct that owns exactly what it knows. Each has `check(&self, ..)`, which cannot change
//! anything, and handlers for what passed the check, which cannot fail. Nothing here knows the other IKE SAs
//! of the endpoint: what concerns them leaves as an [`Event`].

pub(crate) mod authenticating;
pub(crate) mod candidates;
pub(crate) mod child;
pub(crate) mod closing;
pub(crate) mod create_child;
pub(crate) mod established;
pub(crate) mod followup;
pub(crate) mod initiator;
pub(crate) mod liveness;
pub(crate) mod nat;
pub(crate) mod rekey;
pub(crate) mod responder;
pub(crate) mod state;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use model::{IkeSpi, Instant, SecureRng, Spi};

use crate::config::{Config, Lifetime};
use crate::crypto::CookieSecrets;
use crate::error::{Failure, Stage};
use crate::expose::ExposedKeys;
use crate::fragment::Flight;
use crate::output::{ChildId, CloseReason, Notice, Output, Transmit};
use established::Established;
use nat::Path;

/// Octets of our nonces: at least 16, and half the key of the longest PRF (RFC 7296 §2.10).
pub(crate) const NONCE_LEN: usize = 32;

/// A cookie is honoured for one to two of these (RFC 7296 §2.6).
const COOKIE_LIFETIME: Duration = Duration::from_secs(60);

/// What strangers cause is reported once in this time.
const STRANGER_INTERVAL: Duration = Duration::from_secs(1);

/// What every state may use: configuration, randomness, the clock, the queue of effects.
pub(crate) struct Ctx {
    pub(crate) config: Config,
    pub(crate) rng: Box<dyn SecureRng>,
    pub(crate) now: Instant,
    /// Counts inputs: orders what happens within one instant.
    pub(crate) turn: u64,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) cookies: CookieSecrets,
    cookies_since: Instant,
    pub(crate) last_failure: Option<(Instant, Failure)>,
    stranger_noticed: Option<Instant>,
    pub(crate) retransmits: u64,
    /// Cookies that strangers were asked for.
    pub(crate) cookies_demanded: u64,
    /// Keys of IKE SAs, while somebody wants to see them.
    pub(crate) exposed: Option<VecDeque<ExposedKeys>>,
    /// We hold no IKE SA with the peer, nor is one under way that the peer began.
    pub(crate) alone: bool,
    /// The child that carries outbound traffic.
    pub(crate) active: Option<ChildId>,
    /// Inbound SPIs in use.
    pub(crate) spis_in: BTreeSet<Spi>,
    next_child: u64,
}

impl Ctx {
    pub(crate) fn new(config: Config, mut rng: Box<dyn SecureRng>, now: Instant) -> Self {
        let cookies = CookieSecrets::new(&mut *rng);
        Self {
            config,
            rng,
            now,
            turn: 0,
            outputs: VecDeque::new(),
            cookies,
            cookies_since: now,
            last_failure: None,
            stranger_noticed: None,
            retransmits: 0,
            cookies_demanded: 0,
            exposed: None,
            alone: true,
            active: None,
            spis_in: BTreeSet::new(),
            next_child: 0,
        }
    }

    /// See [`crate::Endpoint::fork`].
    #[cfg(feature = "fork")]
    pub(crate) fn fork(&self, rng: Box<dyn SecureRng>) -> Self {
        Self {
            config: self.config.clone(),
            rng,
            now: self.now,
            turn: self.turn,
            // Effects not taken yet stay with the original.
            outputs: VecDeque::new(),
            cookies: self.cookies.clone(),
            cookies_since: self.cookies_since,
            last_failure: self.last_failure.clone(),
            stranger_noticed: self.stranger_noticed,
            retransmits: self.retransmits,
            cookies_demanded: self.cookies_demanded,
            exposed: None,
            alone: self.alone,
            active: self.active,
            spis_in: self.spis_in.clone(),
            next_child: self.next_child,
        }
    }

    /// Draws a new cookie secret when the current one is old.
    pub(crate) fn rotate_cookies(&mut self) {
        if self.now - self.cookies_since >= COOKIE_LIFETIME {
            self.cookies_since = self.now;
            self.cookies.rotate(&mut *self.rng);
        }
    }

    /// Queues a datagram.
    pub(crate) fn send(&mut self, local: SocketAddr, remote: SocketAddr, payload: Vec<u8>) {
        let non_esp_marker = local.port() == self.config.local_nat_t_port;
        self.outputs.push_back(Output::Send(Transmit { local, remote, non_esp_marker, payload }));
    }

    /// Queues all datagrams of a message.
    pub(crate) fn send_flight(&mut self, local: SocketAddr, remote: SocketAddr, flight: &Flight) {
        for datagram in flight.datagrams() {
            self.send(local, remote, datagram.clone());
        }
    }

    /// Queues something to log.
    pub(crate) fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    /// Reports a failure and remembers it for `status`.
    pub(crate) fn failed(&mut self, failure: Failure) {
        let failure = match failure {
            Failure::AuthenticationFailed { by_peer: true }
                if self.config.credentials.certificates().is_some() =>
            {
                Failure::CertificateRefused
            }
            failure => failure,
        };
        self.last_failure = Some((self.now, failure.clone()));
        self.notice(Notice::Failed(failure));
    }

    /// Sends a request once more.
    pub(crate) fn repeat(&mut self, stage: Stage, n: u32, path: &Path, flight: &Flight) {
        self.retransmits += 1;
        self.notice(Notice::Retransmit { stage, n });
        self.send_flight(path.local, path.remote, flight);
    }

    /// Reports a failure that anybody may have caused: now and then only.
    pub(crate) fn stranger_failed(&mut self, failure: Failure) {
        let due = self.stranger_noticed.is_none_or(|last| self.now - last >= STRANGER_INTERVAL);
        if due {
            self.stranger_noticed = Some(self.now);
            self.failed(failure);
        }
    }

    /// A fresh nonce.
    pub(crate) fn nonce(&mut self) -> Vec<u8> {
        let mut nonce = vec![0; NONCE_LEN];
        self.rng.fill(&mut nonce);
        nonce
    }

    /// A fresh IKE SPI, never zero. 64 random bits need no look-up.
    pub(crate) fn ike_spi(&mut self) -> IkeSpi {
        loop {
            let spi = IkeSpi(self.rng.next_u64());
            if spi != IkeSpi::ZERO {
                return spi;
            }
        }
    }

    /// A fresh inbound SPI which no other child of this endpoint uses; free it with [`Ctx::free_spi`].
    pub(crate) fn child_spi(&mut self) -> Spi {
        loop {
            if let Some(spi) = Spi::new(self.rng.next_u32())
                && self.spis_in.insert(spi)
            {
                return spi;
            }
        }
    }

    /// Gives an inbound SPI back.
    pub(crate) fn free_spi(&mut self, spi: Spi) {
        self.spis_in.remove(&spi);
    }

    /// A name for a child.
    pub(crate) fn child_id(&mut self) -> ChildId {
        self.next_child += 1;
        ChildId(self.next_child)
    }

    /// A duration between zero and `max`.
    pub(crate) fn random(&mut self, max: Duration) -> Duration {
        let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.rng.up_to(nanos))
    }

    /// Until when something superfluous is left to the peer to delete: twice the time a request may take.
    pub(crate) fn linger(&self) -> Instant {
        self.now + self.config.retransmit.total().saturating_mul(2)
    }

    /// When an SA established now is rekeyed and when it ends.
    pub(crate) fn schedule(&mut self, lifetime: Lifetime) -> (Instant, Instant) {
        let jitter = self.random(lifetime.jitter);
        (self.now + lifetime.rekey_after.saturating_sub(jitter), self.now + lifetime.hard)
    }
}

/// What a state reports to the endpoint, which alone knows the other IKE SAs.
#[derive(Debug)]
pub(crate) enum Event {
    /// The IKE SA is over; the endpoint clears it away.
    Gone(Ending),
    /// The peer rekeyed this IKE SA: the new one takes the children now, or, while our own rekey is under
    /// way, waits for its outcome.
    RekeyedByPeer { new: Box<Established>, undecided: bool },
    /// Our rekey of this IKE SA succeeded. `rival` is the IKE SA of a simultaneous rekey by the peer and
    /// whether ours lost against it.
    RekeyedByUs { new: Box<Established>, rival: Option<(IkeSpi, bool)> },
    /// The peer behind its NAT has moved: that holds for all IKE SAs with it, the one it is about to take home
    /// included.
    Moved { local: SocketAddr, remote: SocketAddr },
    /// Our rekey of this IKE SA failed while the peer's succeeded.
    RekeyLeftToPeer { rival: IkeSpi },
}

/// How an IKE SA ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// The peer deleted it.
    ByPeer,
    /// We deleted it and the peer knows, or had time to.
    ByUs(CloseReason),
    /// The peer did not answer this.
    Unreachable(Stage),
}
