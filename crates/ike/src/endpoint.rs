//! One configured peer: the outside of the negotiator.
//!
//! Takes inputs and time, hands out effects. What an input means is decided in `receive` (datagrams), `home`
//! (which IKE SA and which child count) and `connect` (when to try again). Never reads a clock, never fails.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::{IkeSpi, Instant, SecureRng, Spi};

use crate::certificate::WallClock;
use crate::config::{Config, Credentials, Startup};
use crate::connect::Reconnect;
use crate::error::DropReason;
use crate::expose::ExposedKeys;
use crate::input::{Command, Input};
use crate::output::{CloseReason, Notice, Output};
use crate::sa::established::{Established, Standing};
use crate::sa::state::Sa;
use crate::sa::{Ctx, Event};
use crate::status::Drops;
use crate::timer::Timer;
use crate::window::Answered;

/// IKE SAs that are gone and still answer a repeated request.
const MAX_TOMBSTONES: usize = 16;
/// First requests remembered so that a replay is recognised.
pub(crate) const MAX_CONCLUDED: usize = 16;
/// One [`Notice::Dropped`] for each kind of reason in this time.
pub(crate) const DROP_NOTICE_INTERVAL: Duration = Duration::from_secs(1);

/// Everything IKE about one configured peer: attempts, established IKE SAs, rekeys, children.
///
/// Drive it like this: after every `handle_` call, take all of [`Endpoint::poll_output`] and execute it in
/// order, then ask [`Endpoint::poll_timeout`] when to come back. Creating one with `Startup::Initiate` makes
/// its first attempt due at once: call [`Endpoint::handle_timeout`].
pub struct Endpoint {
    pub(crate) ctx: Ctx,
    /// By our SPI.
    pub(crate) sas: BTreeMap<IkeSpi, Sa>,
    pub(crate) tombstones: VecDeque<Tombstone>,
    /// First requests whose IKE SA was authenticated, octet by octet: the latest [`MAX_CONCLUDED`].
    pub(crate) concluded: VecDeque<Vec<u8>>,
    pub(crate) reconnect: Reconnect,
    pub(crate) mode: Mode,
    pub(crate) drops: Drops,
    pub(crate) drop_noticed: [Option<Instant>; DropReason::KINDS],
}

/// Whether the endpoint is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Open,
    /// Deleting everything.
    Closing,
    /// Silent.
    Closed,
}

/// The last words of an IKE SA that is gone.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Tombstone {
    pub(crate) spi: IkeSpi,
    pub(crate) last: Answered,
    until: Instant,
}

impl Endpoint {
    /// An endpoint without any SA.
    pub fn new(config: Config, rng: Box<dyn SecureRng>, now: Instant) -> Self {
        let reconnect = Reconnect::new(config.startup, now);
        Self {
            ctx: Ctx::new(config, rng, now),
            sas: BTreeMap::new(),
            tombstones: VecDeque::new(),
            concluded: VecDeque::new(),
            reconnect,
            mode: Mode::Open,
            drops: Drops::default(),
            drop_noticed: [None; DropReason::KINDS],
        }
    }

    /// From now on the keys of IKE SAs are kept for [`Endpoint::take_exposed`]; for analysis, and only where somebody
    /// has asked for it in so many words.
    pub fn expose_keys(&mut self) {
        self.ctx.exposed.get_or_insert_default();
    }

    /// The oldest exposed keys that were not taken yet.
    pub fn take_exposed(&mut self) -> Option<ExposedKeys> {
        self.ctx.exposed.as_mut()?.pop_front()
    }

    /// The configuration it was made with; `local` follows [`Input::LocalChanged`].
    pub fn config(&self) -> &Config {
        &self.ctx.config
    }

    /// Takes one input. Never fails, never panics, on any octets.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.advance(now);
        match input {
            Input::Datagram { local, remote, payload } => self.on_datagram(local, remote, payload),
            Input::Command(command) => self.on_command(command),
            Input::EspReceived { spi_in } => self.on_esp(spi_in),
            Input::SequenceNearlyExhausted { spi_in } => {
                for child in self.established_mut().flat_map(|sa| &mut sa.children) {
                    if child.spi_in == spi_in {
                        child.rekey_at = now;
                    }
                }
            }
            Input::WallClock { unix_seconds } => {
                let at = self.ctx.now;
                if let Credentials::Certificates(certificates) = &mut self.ctx.config.credentials {
                    certificates.clock = WallClock { at, unix_seconds };
                }
            }
            Input::LocalChanged { local } => {
                self.ctx.config.local = local;
                for sa in self.established_mut() {
                    sa.path.local.set_ip(local.ip());
                }
                self.on_command(Command::Reset);
            }
        }
        self.settle();
    }

    /// Does everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        let spis: Vec<_> = self.sas.keys().copied().collect();
        for spi in spis {
            self.tick(spi);
        }
        self.settle();
    }

    /// The next effect, in the order in which effects must happen.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.ctx.outputs.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] must be called next, and why. Never without one while there is
    /// something left to wait for; may lie in the past.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let sas = self.sas.values().filter_map(|sa| sa.due(&self.ctx));
        sas.chain(self.connect_due()).min()
    }

    /// A fingerprint of everything that decides about future behaviour, counters of drops left out: a datagram
    /// that must change nothing leaves it as it was. For tests.
    #[doc(hidden)]
    pub fn state_digest(&self) -> u64 {
        let mut words = vec![self.mode as u64];
        for sa in self.sas.values() {
            sa.digest(&mut words);
        }
        words.extend(self.tombstones.iter().map(|tombstone| tombstone.spi.0));
        self.reconnect.digest(&mut words);
        words.extend([self.ctx.active.map_or(0, |id| id.0), self.ctx.spis_in.len() as u64]);
        // FNV-1a, 64 bits.
        words.iter().flat_map(|word| word.to_be_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// A second endpoint in exactly this state, which draws from `rng` from now on: for a checker that follows
    /// every continuation of a state. A program must never have this: two copies of one IKE SA would use one
    /// AES-GCM IV twice (RFC 5282 §3.1). Hence the feature, which only the checker's build turns on.
    #[cfg(feature = "fork")]
    pub fn fork(&self, rng: Box<dyn SecureRng>) -> Self {
        Self {
            ctx: self.ctx.fork(rng),
            sas: self.sas.clone(),
            tombstones: self.tombstones.clone(),
            concluded: self.concluded.clone(),
            reconnect: self.reconnect.clone(),
            mode: self.mode,
            drops: self.drops,
            drop_noticed: self.drop_noticed,
        }
    }

    /// Everything that decides about future behaviour, in words: two endpoints that say the same and draw from
    /// the same randomness behave alike for ever. Keys are left out: SPIs and nonces name them.
    ///
    /// # Errors
    /// When `out` fails.
    #[cfg(feature = "fork")]
    pub fn describe(&self, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
        write!(out, "{:?} {:?} {:?} {:?}", self.sas, self.tombstones, self.concluded, self.reconnect)?;
        let Ctx { active, spis_in, alone, .. } = &self.ctx;
        write!(out, "{:?} {active:?} {spis_in:?} {alone}", self.mode)
    }

    fn advance(&mut self, now: Instant) {
        self.ctx.now = self.ctx.now.max(now);
        self.ctx.turn += 1;
        let now = self.ctx.now;
        self.tombstones.retain(|tombstone| tombstone.until > now);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Initiate => {
                self.mode = Mode::Open;
                self.reconnect.now(self.ctx.now);
            }
            Command::RekeyIke => {
                let now = self.ctx.now;
                if let Some(home) = self.home_mut() {
                    home.rekey_at = now;
                }
            }
            Command::RekeyChild => {
                let now = self.ctx.now;
                for child in self.home_mut().into_iter().flat_map(|home| &mut home.children) {
                    child.rekey_at = now;
                }
            }
            Command::CheckLiveness => {
                if let Some(home) = self.home_mut() {
                    home.ask = true;
                }
            }
            Command::Reset if self.mode == Mode::Open => {
                self.drop_all();
                if self.ctx.config.startup == Startup::Initiate {
                    self.reconnect.now(self.ctx.now);
                }
            }
            Command::Reset => {}
            Command::Close => {
                if self.mode == Mode::Open {
                    self.mode = Mode::Closing;
                }
                self.drop_all();
                self.reconnect.stop();
            }
        }
    }

    /// Ends everything: attempts silently, established IKE SAs with a DELETE.
    fn drop_all(&mut self) {
        let now = self.ctx.now;
        for sa in self.sas.values_mut() {
            if let Sa::Authenticating(sa) = sa {
                sa.abandon(&mut self.ctx);
            }
        }
        self.sas.retain(|_, sa| matches!(sa, Sa::Established(_)));
        for sa in self.sas.values_mut() {
            if let Sa::Established(sa) = sa {
                if sa.standing == Standing::Home {
                    self.ctx.notice(Notice::IkeClosed { reason: CloseReason::Command });
                }
                sa.retire_all(&mut self.ctx);
                sa.close = Some(CloseReason::Command);
                sa.standing = Standing::Superseded { until: now };
            }
        }
    }

    fn on_esp(&mut self, spi_in: Spi) {
        let mut user = None;
        for sa in self.sas.values_mut() {
            if let Sa::Established(sa) = sa
                && let Some(child) = sa.children.iter_mut().find(|child| child.spi_in == spi_in)
            {
                child.confirmed = true;
                user = Some(child.id).filter(|_| child.is_live() && sa.standing == Standing::Home);
                sa.heard_esp(&self.ctx);
            }
        }
        if let Some(child) = user {
            self.prove(child);
        }
    }

    /// Brings everything into order after an input.
    fn settle(&mut self) {
        let spis: Vec<_> = self.sas.keys().copied().collect();
        for spi in spis {
            self.with_established(spi, |sa, ctx, _| sa.pump(ctx));
        }
        self.choose_active();
        self.connect();
        if self.mode == Mode::Closing && self.sas.is_empty() {
            self.mode = Mode::Closed;
            self.tombstones.clear();
            self.ctx.notice(Notice::Closed);
        }
    }

    /// Holds an IKE SA under its SPI.
    pub(crate) fn hold(&mut self, sa: Sa) {
        self.sas.insert(sa.spi(), sa);
    }

    /// Keeps the last words of an IKE SA.
    pub(crate) fn bury(&mut self, spi: IkeSpi, last: Option<Answered>) {
        let until = self.ctx.linger();
        let Some(last) = last else { return };
        if self.tombstones.len() >= MAX_TOMBSTONES {
            self.tombstones.pop_front();
        }
        self.tombstones.push_back(Tombstone { spi, last, until });
    }

    /// Runs `act` on an established IKE SA, then deals with what it reports.
    pub(crate) fn with_established(
        &mut self,
        spi: IkeSpi,
        act: impl FnOnce(&mut Established, &mut Ctx, &mut Vec<Event>),
    ) {
        let mut events = Vec::new();
        if let Some(Sa::Established(sa)) = self.sas.get_mut(&spi) {
            act(sa, &mut self.ctx, &mut events);
        }
        for event in events {
            self.on_event(spi, event);
        }
    }

    fn tick(&mut self, spi: IkeSpi) {
        let failure = match self.sas.get_mut(&spi) {
            Some(Sa::Initiator(sa)) => sa.tick(&mut self.ctx),
            Some(Sa::Authenticating(sa)) => sa.tick(&mut self.ctx),
            Some(Sa::HalfOpen(sa)) => {
                if sa.expires <= self.ctx.now {
                    self.sas.remove(&spi);
                }
                return;
            }
            Some(Sa::Established(_)) => {
                return self.with_established(spi, |sa, ctx, events| sa.tick(ctx, events));
            }
            None => return,
        };
        if let Some(failure) = failure {
            self.sas.remove(&spi);
            self.attempt_failed(failure);
        }
    }

    pub(crate) fn established(&self) -> impl Iterator<Item = &Established> {
        self.sas.values().filter_map(|sa| if let Sa::Established(sa) = sa { Some(&**sa) } else { None })
    }

    pub(crate) fn established_mut(&mut self) -> impl Iterator<Item = &mut Established> {
        self.sas
            .values_mut()
            .filter_map(|sa| if let Sa::Established(sa) = sa { Some(&mut **sa) } else { None })
    }
}
