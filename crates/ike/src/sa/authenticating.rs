//! IKE_INTERMEDIATE and IKE_AUTH as initiator: keys are agreed (and with each additional key exchange anew), both sides prove who they are, and the first child is made.
//!
//! The peer's answer counts only under SK; what comes in the clear is a hint. An SA is established only
//! when the peer's identity is the configured one *and* its AUTH verifies. RFC 7296 §1.2, §2.15, §2.21.2.

use model::{IkeSpi, Instant, Secret};

use super::Ctx;
use super::child::ChildOffer;
use super::established::Established;
use super::nat::Path;
use crate::auth::Claim;
use crate::auth::ppk::{self, Judged};
use crate::auth::psk::Transcript;
use crate::certificate::Hashes;
use crate::config::Config;
use crate::crypto::{
    self, IntermediateAuth, KeyInputs, KeyPair, Protection, SaKeys, Sender, Suite, Verified, VerifiedFragment,
};
use crate::error::{DropReason, Failure, Stage};
use crate::fragment::{Complete, Flight, Opened, Reassembly, Sizes};
use crate::message::{self, Parts};
use crate::negotiate;
use crate::status::Role;
use crate::window::{RequestWindow, Tick};
use crate::wire::{
    self, DhGroup, ExchangeType, Flags, Header, KeyExchange, NotifyType, Payload, encode_payloads,
};

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
    /// Additional key exchanges, one IKE_INTERMEDIATE each (RFC 9370 §2.2.2)...
    pub(crate) additional: Vec<DhGroup>,
    /// ...how many of them are done...
    pub(crate) done: usize,
    /// ...and what AUTH says of them (RFC 9242 §3.3.2).
    pub(crate) intermediate: Vec<u8>,
    pub(crate) intermediate_auth: IntermediateAuth,
    pub(crate) path: Path,
    /// Both sides take fragments (RFC 7383 §2.3).
    pub(crate) fragmentation: bool,
    /// The hashes that the peer can verify signatures with (RFC 7427 §4).
    pub(crate) hashes: Option<Hashes>,
    /// Both sides said USE_PPK (RFC 8784 §3)...
    pub(crate) use_ppk: bool,
    /// ...and IKE_AUTH mixed the PPK into `keys`.
    pub(crate) ppk: bool,
    pub(crate) started: Instant,
    /// The input that began it, see [`Ctx::turn`].
    pub(crate) turn: u64,
}

impl Agreed {
    /// How large our datagrams may be; `None`: no fragments.
    pub(crate) fn sizes(&self, config: &Config) -> Option<Sizes> {
        Sizes::new(config, &self.path).filter(|_| self.fragmentation)
    }

    /// What AUTH is computed over: with our own keys, or those that have a PPK in them.
    pub(crate) fn transcript<'a>(&'a self, keys: &'a SaKeys) -> Transcript<'a> {
        Transcript {
            prf: self.suite.prf,
            keys,
            request: &self.request,
            response: &self.response,
            ni: &self.ni,
            nr: &self.nr,
            intermediate: &self.intermediate,
        }
    }

    /// The next additional key exchange.
    pub(crate) fn next_method(&self) -> Option<DhGroup> {
        self.additional.get(self.done).copied()
    }

    /// The message ID of IKE_AUTH: each IKE_INTERMEDIATE takes one before it.
    pub(crate) fn auth_id(&self) -> u32 {
        u32::try_from(self.additional.len()).unwrap_or(0).saturating_add(1)
    }

    /// An IKE_INTERMEDIATE exchange is done: new keys with the secret it brought. Gives the protections that
    /// were in use up to now; `None` changes nothing.
    ///
    /// `request` and `response` are what AUTH covers of the two messages.
    pub(crate) fn advance(
        &mut self,
        role: Role,
        shared: &Secret,
        request: &[u8],
        response: &[u8],
    ) -> Option<(Protection, Protection)> {
        let prf = self.suite.prf;
        let sk_p = (&self.keys.sk_pi, &self.keys.sk_pr);
        let auth = self.intermediate_auth.with(prf, sk_p, request, response);
        let (spi_i, spi_r) = (self.spi_i, self.spi_r);
        let inputs = KeyInputs { ni: &self.ni, nr: &self.nr, shared, spi_i, spi_r };
        //= RFC 9370 §2.2.2: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), the formula of a rekey.
        let keys = crypto::derive_rekeyed_sa_keys(prf, &self.keys.sk_d, &self.suite, &inputs);
        let (ours, theirs) = match role {
            Role::Initiator => (Sender::Initiator, Sender::Responder),
            Role::Responder => (Sender::Responder, Sender::Initiator),
        };
        let seal = Protection::new(&self.suite, &keys, ours).ok()?;
        let open = Protection::new(&self.suite, &keys, theirs).ok()?;
        self.done += 1;
        self.keys = keys;
        self.intermediate = auth.octets(self.auth_id());
        self.intermediate_auth = auth;
        Some((std::mem::replace(&mut self.seal, seal), std::mem::replace(&mut self.open, open)))
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
    step: Step,
    refused: Option<(Instant, Failure)>,
}

/// Which request is out.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
enum Step {
    /// IKE_INTERMEDIATE: our half of an additional key exchange, and what AUTH will cover of the request.
    Key { keypair: KeyPair, request: Vec<u8> },
    /// IKE_AUTH.
    Auth,
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
    /// The next request is out.
    Continues(Box<Authenticating>),
}

impl Authenticating {
    /// Sends the first request: IKE_INTERMEDIATE when there are additional key exchanges, IKE_AUTH otherwise.
    pub(crate) fn start(ctx: &mut Ctx, mut agreed: Agreed) -> Self {
        agreed.path.float(&ctx.config);
        ctx.expose((agreed.spi_i, agreed.spi_r), agreed.suite, &agreed.keys);
        let offer = ChildOffer { spi_in: ctx.child_spi(), with_groups: false };
        let reassembly = Reassembly::new(agreed.fragmentation);
        let window = RequestWindow::new(1);
        let mut sa = Self { agreed, offer, window, reassembly, step: Step::Auth, refused: None };
        sa.proceed(ctx);
        sa
    }

    /// Sends the next request.
    fn proceed(&mut self, ctx: &mut Ctx) {
        match self.agreed.next_method() {
            Some(method) => self.send_key(ctx, method),
            None => self.send_auth(ctx),
        }
    }

    fn send_key(&mut self, ctx: &mut Ctx, method: DhGroup) {
        let Ok(keypair) = KeyPair::generate(method, &mut *ctx.rng) else {
            return self.refuse(ctx, Failure::Unusable("an additional key exchange"));
        };
        let data = keypair.public().to_vec();
        let payloads = [Payload::Ke(KeyExchange { group: method, data })];
        let header = self.send(ctx, ExchangeType::IKE_INTERMEDIATE, &payloads);
        let request = crypto::intermediate_octets(&header, &[], &encode_payloads(&payloads));
        self.step = Step::Key { keypair, request };
    }

    fn send_auth(&mut self, ctx: &mut Ctx) {
        let mut payloads = match ppk::prove_as_initiator(ctx, &self.agreed) {
            Ok(payloads) => payloads,
            // Nothing is sent, and the attempt ends with the next tick.
            Err(failure) => {
                self.refused = Some((ctx.now, failure));
                return;
            }
        };
        //= RFC 7296 §2.4: only one who holds no other IKE SA with the peer says so. One that the peer has begun
        // counts: told otherwise, it would drop what crosses ours.
        if ctx.alone {
            payloads.push(message::notify(NotifyType::INITIAL_CONTACT, []));
        }
        payloads.extend(self.offer.payloads(&ctx.config));
        self.step = Step::Auth;
        self.send(ctx, ExchangeType::IKE_AUTH, &payloads);
    }

    fn send(&mut self, ctx: &mut Ctx, exchange: ExchangeType, payloads: &[Payload]) -> Header {
        let agreed = &mut self.agreed;
        let flags = Flags::new(true, false);
        let header = Header::new(agreed.spi_i, agreed.spi_r, exchange, flags, self.window.next_id());
        let sizes = agreed.sizes(&ctx.config);
        let flight = Flight::seal(&mut agreed.seal, &header, payloads, sizes, &mut *ctx.rng);
        ctx.send_flight(agreed.path.local, agreed.path.remote, &flight);
        self.window.sent(ctx.now, &ctx.config.retransmit, flight, ());
        header
    }

    const fn stage(&self) -> Stage {
        match self.step {
            Step::Key { .. } => Stage::Intermediate,
            Step::Auth => Stage::Auth,
        }
    }

    /// Judges an answer; changes nothing.
    pub(crate) fn check(&self, header: &Header, datagram: &[u8]) -> Result<Answer, DropReason> {
        if !header.flags.response() || header.flags.initiator() || header.spi_r != self.agreed.spi_r {
            return Err(DropReason::Flags);
        }
        let expected = match self.step {
            Step::Key { .. } => ExchangeType::IKE_INTERMEDIATE,
            Step::Auth => ExchangeType::IKE_AUTH,
        };
        if header.exchange != expected {
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
                Ok(Answer::Refusal(Failure::from_notify(error, self.stage(), "")))
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
    pub(crate) fn conclude(mut self, ctx: &mut Ctx, verified: Option<Verified>) -> Outcome {
        let spi_in = self.offer.spi_in;
        let Some(verified) = verified else {
            ctx.free_spi(spi_in);
            let what = "malformed payloads";
            return Outcome::Failed(Failure::ProtocolViolation { stage: self.stage(), what });
        };
        if matches!(self.step, Step::Key { .. }) {
            return self.conclude_key(ctx, verified);
        }
        let parts = Parts::new(verified.outer.into_iter().chain(verified.payloads));
        let judged = match self.authenticate(ctx, &parts) {
            Ok(judged) => judged,
            Err(failure) => {
                if parts.auth.is_some() {
                    // The peer believes the SA established: tell it, once, without waiting for an answer.
                    self.farewell(ctx);
                }
                ctx.free_spi(spi_in);
                return Outcome::Failed(failure);
            }
        };
        judged.shown.into_iter().for_each(|notice| ctx.notice(notice));
        self.agreed.take(judged.mixed);
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

    /// Acts on the answer to IKE_INTERMEDIATE: new keys, and the next request under them.
    fn conclude_key(mut self, ctx: &mut Ctx, verified: Verified) -> Outcome {
        let response = verified.intermediate_octets();
        let parts = Parts::new(verified.outer.into_iter().chain(verified.payloads));
        if let Err(failure) = self.take_key(&parts, &response) {
            ctx.free_spi(self.offer.spi_in);
            return Outcome::Failed(failure);
        }
        let agreed = &self.agreed;
        ctx.expose((agreed.spi_i, agreed.spi_r), agreed.suite, &agreed.keys);
        self.window.take();
        self.reassembly.clear();
        self.proceed(ctx);
        Outcome::Continues(Box::new(self))
    }

    fn take_key(&mut self, parts: &Parts, response: &[u8]) -> Result<(), Failure> {
        let stage = Stage::Intermediate;
        let violation = |what| Failure::ProtocolViolation { stage, what };
        if let Some(kind) = parts.critical {
            return Err(Failure::UnsupportedCritical(kind));
        }
        if let Some(error) = parts.error() {
            return Err(Failure::from_notify(error, stage, ""));
        }
        let Step::Key { keypair, request } = &self.step else { return Ok(()) };
        let ke = parts.ke.as_ref().filter(|ke| ke.group == keypair.group() && !parts.repeated);
        let ke = ke.ok_or(violation("the key exchange is missing or of another method"))?;
        let shared = keypair.agree(&ke.data);
        let shared = shared.map_err(|_| violation("the public value is not one of the method"))?;
        let advanced = self.agreed.advance(Role::Initiator, &shared, request, response);
        advanced.map(drop).ok_or(violation("the chosen algorithms do not go together"))
    }

    fn authenticate(&self, ctx: &Ctx, parts: &Parts) -> Result<Judged, Failure> {
        if let Some(kind) = parts.critical {
            return Err(Failure::UnsupportedCritical(kind));
        }
        let (Some(id), Some(auth)) = (&parts.id_r, &parts.auth) else {
            let offered = negotiate::describe(&self.offer.sa(&ctx.config));
            return Err(match parts.error() {
                Some(error) => {
                    let failure = Failure::from_notify(error, Stage::Auth, &offered);
                    ppk::refused(ctx, &self.agreed, failure)
                }
                None => Failure::ProtocolViolation { stage: Stage::Auth, what: "IDr or AUTH is missing" },
            });
        };
        if parts.repeated {
            let what = "a payload stands twice";
            return Err(Failure::ProtocolViolation { stage: Stage::Auth, what });
        }
        ppk::judge_responder(ctx, &self.agreed, parts, &Claim { whose: Role::Responder, id, auth })
    }

    //= RFC 7296 §2.21.2: an initiator that finds the responder's AUTH wrong says so in an INFORMATIONAL.
    fn farewell(mut self, ctx: &mut Ctx) {
        let agreed = &mut self.agreed;
        let header = Header::new(
            agreed.spi_i,
            agreed.spi_r,
            ExchangeType::INFORMATIONAL,
            Flags::new(true, false),
            self.window.next_id(),
        );
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
                let (stage, sizes) = (self.stage(), self.agreed.sizes(&ctx.config));
                if let Some(flight) = self.window.repeat(n, &mut self.agreed.seal, sizes, &mut *ctx.rng) {
                    ctx.repeat(stage, n, &self.agreed.path, &flight);
                }
                None
            }
            Tick::Exhausted => {
                let refused = self.refused.take().map(|(_, failure)| failure);
                Some(refused.unwrap_or(Failure::NoAnswer { stage: self.stage() }))
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
        out.push(self.agreed.done as u64);
        self.reassembly.digest(out);
    }
}
