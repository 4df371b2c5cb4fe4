//! IKE_SA_INIT as initiator: the request is out, and every answer is a stranger's.
//!
//! Nothing here is authenticated, so nothing here ends the attempt at once: an error is remembered and
//! reported when its grace or the attempt's time is over (RFC 7296 §2.21.1), a bad answer is dropped and the
//! key pair stays for a better one (§2.4). COOKIE and INVALID_KE_PAYLOAD make the request go out in another
//! form, a bounded number of times, the cookie kept (§2.6, §2.6.1, §1.2).

use model::{IkeSpi, Instant};

use super::Ctx;
use super::authenticating::{Agreed, Authenticating};
use super::nat::{self, Path};
use crate::auth::signature;
use crate::config::Config;
use crate::crypto::{self, IntermediateAuth, KeyInputs, KeyPair, Protection, Sender};
use crate::error::{DropReason, Failure, PpkProblem, Stage};
use crate::fragment::Flight;
use crate::message::{self, Parts, wanted_group};
use crate::negotiate;
use crate::output::Notice;
use crate::window::{RequestWindow, Tick};
use crate::wire::{self, DhGroup, ExchangeType, Flags, Header, KeyExchange, Notify, NotifyType, Payload};

/// Times the request may go out in another form (cookie or group); more is an endless loop.
pub(crate) const MAX_ROUNDS: u8 = 6;
/// Longest cookie (RFC 7296 §2.6).
const MAX_COOKIE: usize = 64;

/// An attempt of ours in IKE_SA_INIT.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Initiator {
    pub(crate) spi: IkeSpi,
    pub(crate) path: Path,
    pub(crate) started: Instant,
    turn: u64,
    nonce: Vec<u8>,
    keypair: KeyPair,
    /// NAT detection; drawn once, for a claimed NAT's hash is random and must stay the same (RFC 7296 §2.6).
    detection: [Payload; 2],
    cookie: Option<Vec<u8>>,
    rounds: u8,
    window: RequestWindow<()>,
    refused: Option<(Instant, Failure)>,
}

/// What a well-formed answer says.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Return this cookie.
    Cookie(Vec<u8>),
    /// Use this group.
    Group(DhGroup),
    /// An error, from whomever.
    Refusal(Failure),
    /// Keys agreed; the peer is yet unknown.
    Agreed(Box<Agreed>),
}

impl Initiator {
    /// Starts an attempt: draws SPI, nonce and key pair and sends the request.
    pub(crate) fn start(ctx: &mut Ctx) -> Result<Self, Failure> {
        let groups = negotiate::ike_groups(&ctx.config.ike_proposals);
        let group = *groups.first().ok_or(Failure::Unusable("no supported group for the IKE SA"))?;
        let keypair = KeyPair::generate(group, &mut *ctx.rng)
            .map_err(|_| Failure::Unusable("the first group for the IKE SA"))?;
        let path = Path::new(ctx.config.local, (ctx.config.remote, ctx.config.remote_port).into());
        let spi = ctx.ike_spi();
        let mut attempt = Self {
            spi,
            path,
            detection: nat::detection(ctx, spi, IkeSpi::ZERO, path.local, path.remote),
            started: ctx.now,
            turn: ctx.turn,
            nonce: ctx.nonce(),
            keypair,
            cookie: None,
            rounds: 0,
            window: RequestWindow::new(0),
            refused: None,
        };
        attempt.send(ctx);
        Ok(attempt)
    }

    fn send(&mut self, ctx: &mut Ctx) {
        let mut payloads = Vec::new();
        //= RFC 7296 §2.6: the cookie comes first, all other payloads are unchanged.
        if let Some(cookie) = &self.cookie {
            payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE, cookie.clone())));
        }
        payloads.push(Payload::Sa(negotiate::ike_offer(&ctx.config.ike_proposals, None)));
        payloads.push(Payload::Ke(KeyExchange {
            group: self.keypair.group(),
            data: self.keypair.public().to_vec(),
        }));
        payloads.push(Payload::Nonce(self.nonce.clone()));
        payloads.extend(self.detection.clone());
        //= RFC 7383 §2.3: announced by the initiator, confirmed by the responder.
        if ctx.config.fragment_size.is_some() {
            payloads.push(message::notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, []));
        }
        //= RFC 7427 §4: both sides announce the hashes that they verify signatures with.
        payloads.extend(ctx.config.credentials.certificates().map(|_| signature::announcement()));
        //= RFC 9242 §3.1, RFC 9370 §2.2.1: additional key exchanges go into IKE_INTERMEDIATE.
        if ctx.config.ike_proposals.iter().any(|proposal| !proposal.additional.is_empty()) {
            payloads.push(message::notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, []));
        }
        //= RFC 8784 §3: whoever has a PPK says so, whether it is required or not.
        payloads.extend(ctx.config.ppk.as_ref().map(|_| message::notify(NotifyType::USE_PPK, [])));
        let header =
            Header::new(self.spi, IkeSpi::ZERO, ExchangeType::IKE_SA_INIT, Flags::new(true, false), 0);
        let datagram = wire::encode(&header, &payloads);
        self.window = RequestWindow::new(0);
        self.window.sent(ctx.now, &ctx.config.retransmit, Flight::whole(datagram.clone()), ());
        ctx.send(self.path.local, self.path.remote, datagram);
    }

    /// Judges an answer; changes nothing.
    pub(crate) fn check(
        &self,
        config: &Config,
        header: &Header,
        datagram: &[u8],
    ) -> Result<Answer, DropReason> {
        if !header.flags.response() || header.flags.initiator() {
            return Err(DropReason::Flags);
        }
        if header.exchange != ExchangeType::IKE_SA_INIT {
            return Err(DropReason::Unexpected);
        }
        if header.message_id != 0 {
            return Err(DropReason::MessageId);
        }
        let message = wire::parse(datagram).map_err(DropReason::Malformed)?;
        let parts = Parts::new(message.payloads);
        if let Some(cookie) = parts.notify(NotifyType::COOKIE) {
            let sane = (1..=MAX_COOKIE).contains(&cookie.data.len());
            return if sane { Ok(Answer::Cookie(cookie.data.clone())) } else { Err(DropReason::Unexpected) };
        }
        if let Some(error) = parts.error() {
            return Ok(self.judge_error(config, error));
        }
        if let Some(kind) = parts.critical {
            return Ok(Answer::Refusal(Failure::UnsupportedCritical(kind)));
        }
        self.judge_agreement(config, header, &parts, datagram)
    }

    fn judge_error(&self, config: &Config, error: &Notify) -> Answer {
        let ours = negotiate::ike_offer(&config.ike_proposals, None);
        if error.kind == NotifyType::INVALID_KE_PAYLOAD
            && let Some(wanted) = wanted_group(error)
        {
            let allowed = negotiate::ike_groups(&config.ike_proposals).contains(&wanted);
            if allowed && wanted != self.keypair.group() {
                return Answer::Group(wanted);
            }
            return Answer::Refusal(Failure::InvalidKe { stage: Stage::SaInit, wanted });
        }
        Answer::Refusal(Failure::from_notify(error, Stage::SaInit, &negotiate::describe(&ours)))
    }

    fn judge_agreement(
        &self,
        config: &Config,
        header: &Header,
        parts: &Parts,
        datagram: &[u8],
    ) -> Result<Answer, DropReason> {
        let violation = |what| Ok(Answer::Refusal(Failure::ProtocolViolation { stage: Stage::SaInit, what }));
        let (Some(sa), Some(ke), Some(nr)) = (&parts.sa, &parts.ke, &parts.nonce) else {
            return violation("SA, KE or nonce is missing");
        };
        if parts.repeated || header.spi_r == IkeSpi::ZERO {
            return violation("a payload stands twice, or the responder has no SPI");
        }
        //= RFC 7296 §2.7: the initiator checks that the answer is one of its offers.
        let Some(choice) = negotiate::confirm_ike(&config.ike_proposals, sa) else {
            return violation("the chosen algorithms were not offered");
        };
        if choice.suite.group != ke.group || ke.group != self.keypair.group() {
            // May answer an earlier form of our request: wait for the right one.
            return Err(DropReason::Unexpected);
        }
        let intermediate = parts.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some();
        if !choice.additional.is_empty() && !intermediate {
            return violation("additional key exchanges were chosen without IKE_INTERMEDIATE");
        }
        let use_ppk = config.ppk.is_some() && parts.notify(NotifyType::USE_PPK).is_some();
        if let Some(ppk) = config.ppk.as_ref().filter(|ppk| ppk.required && !use_ppk) {
            return Ok(Answer::Refusal(PpkProblem::NotSupported { id: ppk.name() }.into()));
        }
        let Ok(shared) = self.keypair.agree(&ke.data) else {
            return violation("the public value is not one of the group");
        };
        let inputs = KeyInputs { ni: &self.nonce, nr, shared: &shared, spi_i: self.spi, spi_r: header.spi_r };
        let keys = crypto::derive_sa_keys(&choice.suite, &inputs);
        let (Ok(seal), Ok(open)) = (
            Protection::new(&choice.suite, &keys, Sender::Initiator),
            Protection::new(&choice.suite, &keys, Sender::Responder),
        ) else {
            return violation("the chosen algorithms do not go together");
        };
        let mut path = self.path;
        path.detect(config, parts, header.spi_i, header.spi_r);
        let request = self.window.flight().map(|flight| flight.first().to_vec()).unwrap_or_default();
        let fragmentation = config.fragment_size.is_some()
            && parts.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
        Ok(Answer::Agreed(Box::new(Agreed {
            additional: choice.additional,
            done: 0,
            intermediate: Vec::new(),
            intermediate_auth: IntermediateAuth::new(),
            spi_i: self.spi,
            spi_r: header.spi_r,
            suite: choice.suite,
            keys,
            seal,
            open,
            request,
            response: datagram.to_vec(),
            ni: self.nonce.clone(),
            nr: nr.clone(),
            path,
            fragmentation,
            hashes: parts.hashes(),
            use_ppk,
            ppk: false,
            started: self.started,
            turn: self.turn,
        })))
    }

    /// Acts on an answer that asks for the request in another form, or refuses.
    pub(crate) fn apply(&mut self, ctx: &mut Ctx, answer: Answer) -> Option<Authenticating> {
        match answer {
            Answer::Agreed(agreed) => {
                let agreed = *agreed;
                ctx.notice(Notice::Nat { local: agreed.path.nat_local, remote: agreed.path.nat_remote });
                return Some(Authenticating::start(ctx, agreed));
            }
            Answer::Refusal(failure) => self.refuse(ctx, failure),
            Answer::Cookie(_) | Answer::Group(_) if self.rounds >= MAX_ROUNDS => {
                self.refuse(ctx, Failure::NegotiationLoop);
            }
            Answer::Cookie(cookie) => {
                self.rounds += 1;
                self.cookie = Some(cookie);
                ctx.notice(Notice::CookieRequested);
                self.send(ctx);
            }
            Answer::Group(group) => {
                self.rounds += 1;
                if let Ok(keypair) = KeyPair::generate(group, &mut *ctx.rng) {
                    self.keypair = keypair;
                    ctx.notice(Notice::GroupRequested { group: group.0 });
                    self.send(ctx);
                }
            }
        }
        None
    }

    /// Remembers an unauthenticated error; the first one counts.
    pub(crate) fn refuse(&mut self, ctx: &mut Ctx, failure: Failure) {
        if self.refused.is_some() {
            return;
        }
        let patience = if matches!(failure, Failure::Ppk(_)) {
            //= RFC 8784 §6: an answer without USE_PPK may be forged: the request is repeated as if none had come.
            // That also leaves a peer without our PPK alone for a while; people are told at once.
            ctx.stranger_failed(failure.clone());
            ctx.config.retransmit.total()
        } else {
            ctx.config.limits.hint_grace
        };
        self.refused = Some((ctx.now + patience, failure));
    }

    /// Lets time pass; `Some` ends the attempt.
    pub(crate) fn tick(&mut self, ctx: &mut Ctx) -> Option<Failure> {
        if let Some((deadline, failure)) = &self.refused
            && *deadline <= ctx.now
        {
            return Some(failure.clone());
        }
        match self.window.tick(ctx.now, &ctx.config.retransmit, None) {
            Tick::Wait => None,
            Tick::Repeat { n } => {
                if let Some(flight) = self.window.flight() {
                    ctx.repeat(Stage::SaInit, n, &self.path, flight);
                }
                None
            }
            Tick::Exhausted => {
                let refused = self.refused.take().map(|(_, failure)| failure);
                Some(refused.unwrap_or(Failure::NoAnswer { stage: Stage::SaInit }))
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
        out.extend([self.spi.0, u64::from(self.rounds), u64::from(self.refused.is_some())]);
        out.extend([u64::from(self.keypair.group().0), self.cookie.as_ref().map_or(0, Vec::len) as u64]);
        out.push(self.window.due().map_or(0, Instant::as_nanos));
    }
}
