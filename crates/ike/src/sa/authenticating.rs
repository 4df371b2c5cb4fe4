//! IKE_AUTH as initiator: keys are agreed, both sides prove who they are, and the first child is made.
//!
//! The peer's answer counts only under SK; what comes in the clear is a hint. An SA is established only
//! when the peer's identity is the configured one *and* its AUTH verifies. RFC 7296 §1.2, §2.15, §2.21.2.

use model::{IkeSpi, Instant};

use super::Ctx;
use super::child::ChildOffer;
use super::established::Established;
use super::nat::Path;
use crate::auth::psk::Transcript;
use crate::auth::{self, Claim};
use crate::certificate::Hashes;
use crate::config::Config;
use crate::crypto::{Protection, SaKeys, Suite, Verified, VerifiedFragment};
use crate::error::{DropReason, Failure, Stage};
use crate::fragment::{Complete, Flight, Opened, Reassembly, Sizes};
use crate::message::{self, Parts};
use crate::negotiate;
use crate::output::Notice;
use crate::status::Role;
use crate::window::{RequestWindow, Tick};
use crate::wire::{self, ExchangeType, Flags, Header, NotifyType};

/// What IKE_SA_INIT agreed on, whichever side started.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Agreed {
    pub(crate) spi_i: IkeSpi,
    pub(crate) spi_r: IkeSpi,
    pub(crate) suite: Suite,
    pub(crate) keys: SaKeys,
    /// Protects what we send.
    pub(crate) seal: Protection,
    /// Opens what the peer sends.
    pub(crate) open: Protection,
    /// The IKE_SA_INIT request, octet by octet.
    pub(crate) request: Vec<u8>,
    /// The IKE_SA_INIT response, octet by octet.
    pub(crate) response: Vec<u8>,
    pub(crate) ni: Vec<u8>,
    pub(crate) nr: Vec<u8>,
    pub(crate) path: Path,
    /// Both sides take fragments (RFC 7383 §2.3).
    pub(crate) fragmentation: bool,
    /// The hashes that the peer can verify signatures with (RFC 7427 §4).
    pub(crate) hashes: Option<Hashes>,
    pub(crate) started: Instant,
    /// The input that began it, see [`Ctx::turn`].
    pub(crate) turn: u64,
}

impl Agreed {
    /// How large our datagrams may be; `None`: no fragments.
    pub(crate) fn sizes(&self, config: &Config) -> Option<Sizes> {
        Sizes::new(config, &self.path).filter(|_| self.fragmentation)
    }

    /// What AUTH is computed over.
    pub(crate) fn transcript(&self) -> Transcript<'_> {
        Transcript {
            prf: self.suite.prf,
            keys: &self.keys,
            request: &self.request,
            response: &self.response,
            ni: &self.ni,
            nr: &self.nr,
        }
    }
}

/// An attempt of ours in IKE_AUTH.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Authenticating {
    pub(crate) agreed: Agreed,
    offer: ChildOffer,
    window: RequestWindow<()>,
    reassembly: Reassembly,
    refused: Option<(Instant, Failure)>,
}

/// A judged answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Protected by the keys agreed on.
    Protected(Box<Verified>),
    /// Protected, but malformed inside.
    Malformed,
    /// A part of a protected answer, and the datagram it came in.
    Fragment(Box<VerifiedFragment>, Vec<u8>),
    /// An error in the clear, from whomever.
    Refusal(Failure),
}

/// How IKE_AUTH ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The peer is who it must be.
    Established(Box<Established>),
    /// It is not, or it refused us.
    Failed(Failure),
}

impl Authenticating {
    /// Sends IKE_AUTH.
    pub(crate) fn start(ctx: &mut Ctx, mut agreed: Agreed) -> Self {
        agreed.path.float(&ctx.config);
        ctx.expose((agreed.spi_i, agreed.spi_r), agreed.suite, &agreed.keys);
        let offer = ChildOffer { spi_in: ctx.child_spi(), with_groups: false };
        let proof = auth::prove(ctx, &agreed.transcript(), Role::Initiator, agreed.hashes);
        let mut payloads = match proof {
            Ok(payloads) => payloads,
            // Nothing is sent, and the attempt ends with the next tick.
            Err(failure) => {
                let refused = Some((ctx.now, failure));
                let (window, reassembly) = (RequestWindow::new(1), Reassembly::new(agreed.fragmentation));
                return Self { agreed, offer, window, reassembly, refused };
            }
        };
        //= RFC 7296 §2.4: only one who holds no other IKE SA with the peer says so. One that the peer has begun
        // counts: told otherwise, it would drop what crosses ours.
        if ctx.alone {
            payloads.push(message::notify(NotifyType::INITIAL_CONTACT, []));
        }
        payloads.extend(offer.payloads(&ctx.config));
        let header =
            Header::new(agreed.spi_i, agreed.spi_r, ExchangeType::IKE_AUTH, Flags::new(true, false), 1);
        let sizes = agreed.sizes(&ctx.config);
        let flight = Flight::seal(&mut agreed.seal, &header, &payloads, sizes, &mut *ctx.rng);
        ctx.send_flight(agreed.path.local, agreed.path.remote, &flight);
        let mut window = RequestWindow::new(1);
        window.sent(ctx.now, &ctx.config.retransmit, flight, ());
        let reassembly = Reassembly::new(agreed.fragmentation);
        Self { agreed, offer, window, reassembly, refused: None }
    }

    /// Judges an answer; changes nothing.
    pub(crate) fn check(&self, header: &Header, datagram: &[u8]) -> Result<Answer, DropReason> {
        if !header.flags.response() || header.flags.initiator() || header.spi_r != self.agreed.spi_r {
            return Err(DropReason::Flags);
        }
        if header.exchange != ExchangeType::IKE_AUTH {
            return Err(DropReason::Unexpected);
        }
        if !self.window.answers(header.message_id) {
            return Err(DropReason::MessageId);
        }
        match self.reassembly.open(&self.agreed.open, datagram) {
            Ok(Opened::Whole(verified)) => Ok(Answer::Protected(verified)),
            Ok(Opened::Malformed) => Ok(Answer::Malformed),
            Ok(Opened::Fragment(fragment)) => Ok(Answer::Fragment(fragment, datagram.to_vec())),
            Err(DropReason::Unprotected) => {
                let message = wire::parse(datagram).map_err(DropReason::Malformed)?;
                let parts = Parts::new(message.payloads);
                let error = parts.error().ok_or(DropReason::Unprotected)?;
                Ok(Answer::Refusal(Failure::from_notify(error, Stage::Auth, "")))
            }
            Err(reason) => Err(reason),
        }
    }

    /// Remembers an unauthenticated error; the first one counts.
    pub(crate) fn refuse(&mut self, ctx: &Ctx, failure: Failure) {
        let deadline = ctx.now + ctx.config.limits.hint_grace;
        self.refused.get_or_insert((deadline, failure));
    }

    /// Stores a part of the answer; gives the whole when it is complete.
    pub(crate) fn add(&mut self, ctx: &Ctx, fragment: VerifiedFragment, datagram: &[u8]) -> Option<Complete> {
        self.reassembly.add(ctx.now, fragment, datagram)
    }

    /// Gives the child's SPI back when the attempt ends.
    pub(crate) fn abandon(&self, ctx: &mut Ctx) {
        ctx.free_spi(self.offer.spi_in);
    }

    /// Acts on a protected answer. The SPI of a child that does not come to be is given back.
    pub(crate) fn conclude(self, ctx: &mut Ctx, verified: Option<Verified>) -> Outcome {
        let spi_in = self.offer.spi_in;
        let Some(verified) = verified else {
            ctx.free_spi(spi_in);
            let what = "malformed payloads";
            return Outcome::Failed(Failure::ProtocolViolation { stage: Stage::Auth, what });
        };
        let parts = Parts::new(verified.outer.into_iter().chain(verified.payloads));
        let shown = match self.authenticate(ctx, &parts) {
            Ok(shown) => shown,
            Err(failure) => {
                if parts.auth.is_some() {
                    // The peer believes the SA established: tell it, once, without waiting for an answer.
                    self.farewell(ctx);
                }
                ctx.free_spi(spi_in);
                return Outcome::Failed(failure);
            }
        };
        shown.into_iter().for_each(|notice| ctx.notice(notice));
        let Self { agreed, offer, .. } = self;
        let (ni, nr) = (agreed.ni.clone(), agreed.nr.clone());
        let mut sa = Established::first(ctx, Role::Initiator, agreed);
        match offer.conclude_first(ctx, &sa, &parts, &ni, &nr) {
            Ok(new) => {
                sa.install(ctx, new);
            }
            Err(failure) => sa.offer_failed(ctx, spi_in, parts.sa.is_some(), failure),
        }
        Outcome::Established(Box::new(sa))
    }

    fn authenticate(&self, ctx: &Ctx, parts: &Parts) -> Result<Option<Notice>, Failure> {
        if let Some(kind) = parts.critical {
            return Err(Failure::UnsupportedCritical(kind));
        }
        let (Some(id), Some(auth)) = (&parts.id_r, &parts.auth) else {
            let offered = negotiate::describe(&self.offer.sa(&ctx.config));
            return Err(match parts.error() {
                Some(error) => Failure::from_notify(error, Stage::Auth, &offered),
                None => Failure::ProtocolViolation { stage: Stage::Auth, what: "IDr or AUTH is missing" },
            });
        };
        if parts.repeated {
            let what = "a payload stands twice";
            return Err(Failure::ProtocolViolation { stage: Stage::Auth, what });
        }
        auth::authenticate(ctx, &self.agreed.transcript(), parts, &Claim { whose: Role::Responder, id, auth })
    }

    //= RFC 7296 §2.21.2: an initiator that finds the responder's AUTH wrong says so in an INFORMATIONAL.
    fn farewell(mut self, ctx: &mut Ctx) {
        let agreed = &mut self.agreed;
        let header =
            Header::new(agreed.spi_i, agreed.spi_r, ExchangeType::INFORMATIONAL, Flags::new(true, false), 2);
        let payloads = [message::notify(NotifyType::AUTHENTICATION_FAILED, [])];
        let datagram = agreed.seal.seal(&header, &payloads, &mut *ctx.rng);
        ctx.send(agreed.path.local, agreed.path.remote, datagram);
    }

    /// Lets time pass; `Some` ends the attempt.
    pub(crate) fn tick(&mut self, ctx: &mut Ctx) -> Option<Failure> {
        if let Some((deadline, failure)) = &self.refused
            && *deadline <= ctx.now
        {
            return Some(failure.clone());
        }
        self.reassembly.tick(ctx.now);
        match self.window.tick(ctx.now, &ctx.config.retransmit, None) {
            Tick::Wait => None,
            Tick::Repeat { n } => {
                let sizes = self.agreed.sizes(&ctx.config);
                if let Some(flight) = self.window.repeat(n, &mut self.agreed.seal, sizes, &mut *ctx.rng) {
                    ctx.repeat(Stage::Auth, n, &self.agreed.path, &flight);
                }
                None
            }
            Tick::Exhausted => {
                let refused = self.refused.take().map(|(_, failure)| failure);
                Some(refused.unwrap_or(Failure::NoAnswer { stage: Stage::Auth }))
            }
        }
    }

    /// The next instant at which time matters.
    pub(crate) fn due(&self) -> Option<(Instant, crate::Timer)> {
        let grace = self.refused.as_ref().map(|(at, _)| (*at, crate::Timer::Hint));
        let repeat = self.window.due().map(|at| (at, crate::Timer::Retransmit));
        [grace, repeat].into_iter().flatten().min()
    }

    /// What [`crate::Endpoint::state_digest`] sees.
    pub(crate) fn digest(&self, out: &mut Vec<u64>) {
        out.extend([self.agreed.spi_i.0, self.agreed.spi_r.0, u64::from(self.offer.spi_in.get())]);
        out.push(self.window.due().map_or(0, Instant::as_nanos));
        out.push(u64::from(self.refused.is_some()));
        self.reassembly.digest(out);
    }
}
