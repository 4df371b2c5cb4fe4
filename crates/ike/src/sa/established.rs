//! An authenticated IKE SA: its keys, windows, path, children and wants.
//!
//! Takes protected messages apart and hands each to the file that knows its exchange; sends one request at a
//! time, the most urgent of what is wanted. Knows nothing of other IKE SAs of the endpoint: what concerns
//! them leaves as an [`Event`]. RFC 7296 §1.3-§1.5, §2.2-§2.4.

use std::net::SocketAddr;

use model::{IkeSpi, Instant, Secret, Spi};

use super::authenticating::Agreed;
use super::child::Child;
use super::create_child::ChildExchange;
use super::followup::Pending;
use super::nat::Path;
use super::rekey::IkeExchange;
use super::{Ctx, Ending, Event};
use crate::config::Config;
use crate::crypto::{self, ChildKeys, Protection, Suite, Verified, VerifiedFragment};
use crate::error::{DropReason, Failure, Stage};
use crate::fragment::{Complete, Flight, Opened, Reassembly, Sizes};
use crate::message::{self, Parts};
use crate::negotiate::{EspChoice, ike_text};
use crate::output::{CloseReason, Notice, Output};
use crate::status::Role;
use crate::window::{Position, RequestWindow, ResponseWindow};
use crate::wire::{self, DhGroup, ExchangeType, Flags, Header, NotifyType, Payload};

/// An established IKE SA.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Established {
    pub(crate) spi_i: IkeSpi,
    pub(crate) spi_r: IkeSpi,
    /// Who started the exchange that made *this* IKE SA.
    pub(crate) role: Role,
    pub(crate) suite: Suite,
    /// The additional key exchanges that made it (RFC 9370).
    pub(crate) additional: Vec<DhGroup>,
    pub(crate) sk_d: Secret,
    seal: Protection,
    open: Protection,
    pub(crate) path: Path,
    /// A PPK is in its keys (RFC 8784).
    pub(crate) ppk: bool,
    pub(crate) requests: RequestWindow<Request>,
    pub(crate) responses: ResponseWindow,
    pub(crate) standing: Standing,
    pub(crate) children: Vec<Child>,
    /// Inbound SPIs of children that the peer may hold and we never installed; deleted with the next DELETE.
    pub(crate) orphans: Vec<Spi>,
    /// Why we want to delete it.
    pub(crate) close: Option<CloseReason>,
    pub(crate) established: Instant,
    /// The input that established it, see [`Ctx::turn`].
    pub(crate) turn: u64,
    pub(crate) rekey_at: Instant,
    pub(crate) expires: Instant,
    pub(crate) rekeys: u64,
    pub(crate) last_heard: Instant,
    pub(crate) last_sent: Instant,
    /// Ask whether the peer is alive.
    pub(crate) ask: bool,
    pub(crate) hint_at: Instant,
    /// A missing child is not created before this.
    pub(crate) child_at: Instant,
    pub(crate) child_failures: u32,
    /// The peer told that it lost the child: we create the next one even if we otherwise wait.
    pub(crate) child_wanted: bool,
    pub(crate) contact: Option<Contact>,
    /// The peer's requests and its answers, as far as they come in fragments.
    pub(crate) partial_request: Reassembly,
    /// See [`Self::partial_request`].
    pub(crate) partial_response: Reassembly,
    /// What the peer's IKE_FOLLOWUP_KE is to finish (RFC 9370 §2.2.4).
    pub(crate) pending: Option<Box<Pending>>,
}

/// Where an IKE SA stands among those of its endpoint; see `docs/ike-states.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// The one that counts.
    Home,
    /// Made by the peer's rekey of `of` while ours is under way; not yet decided.
    Tentative { of: IkeSpi },
    /// Replaced, or lost a collision. The peer deletes it, and we do at `until`.
    Superseded { until: Instant },
}

/// What a request of ours is about.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) enum Request {
    Liveness,
    DeleteIke(CloseReason),
    /// Inbound SPIs of the children.
    DeleteChildren(Vec<Spi>),
    CreateChild(Box<ChildExchange>),
    RekeyIke(Box<IkeExchange>),
}

impl Request {
    pub(crate) const fn stage(&self) -> Stage {
        match self {
            Self::Liveness | Self::DeleteIke(_) | Self::DeleteChildren(_) => Stage::Informational,
            Self::CreateChild(_) => Stage::Child,
            Self::RekeyIke(_) => Stage::IkeRekey,
        }
    }

    fn exchange(&self) -> ExchangeType {
        match self {
            Self::Liveness | Self::DeleteIke(_) | Self::DeleteChildren(_) => ExchangeType::INFORMATIONAL,
            Self::CreateChild(exchange) if exchange.follows_up() => ExchangeType::IKE_FOLLOWUP_KE,
            Self::RekeyIke(exchange) if exchange.follows_up() => ExchangeType::IKE_FOLLOWUP_KE,
            Self::CreateChild(_) | Self::RekeyIke(_) => ExchangeType::CREATE_CHILD_SA,
        }
    }
}

/// What is remembered of IKE_SA_INIT, to decide between two IKE SAs that both sides initiated at once.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    pub(crate) lowest_nonce: Vec<u8>,
    /// The input that began it, see [`Ctx::turn`].
    pub(crate) turn: u64,
    /// The peer's IKE_SA_INIT request, octet by octet; empty when it was ours.
    pub(crate) request: Vec<u8>,
}

/// The making of an IKE SA.
pub(crate) struct Birth {
    pub(crate) spi_i: IkeSpi,
    pub(crate) spi_r: IkeSpi,
    pub(crate) role: Role,
    pub(crate) suite: Suite,
    pub(crate) additional: Vec<DhGroup>,
    pub(crate) sk_d: Secret,
    pub(crate) seal: Protection,
    pub(crate) open: Protection,
    pub(crate) path: Path,
    pub(crate) standing: Standing,
    pub(crate) rekeys: u64,
    /// Message IDs of our next and the peer's next request.
    pub(crate) next: (u32, u32),
    pub(crate) contact: Option<Contact>,
    /// Both sides take fragments (RFC 7383 §2.3); a rekeyed IKE SA inherits it.
    pub(crate) fragmentation: bool,
    /// A PPK is in its keys; a rekeyed IKE SA inherits it (RFC 8784 §3).
    pub(crate) ppk: bool,
}

/// A judged message.
#[derive(Debug)]
pub(crate) enum Checked {
    /// A request that was answered already; `recut`: in smaller fragments now.
    Repeat {
        recut: bool,
    },
    /// A part of a message.
    Fragment(Box<VerifiedFragment>),
    Request(Box<Verified>),
    /// Authentic, and malformed inside.
    BadRequest,
    Response(Box<Verified>),
    BadResponse,
    /// An error in the clear, from whomever.
    Hint,
}

/// A request under treatment: what its answer needs.
pub(crate) struct Asked<'a> {
    pub(crate) header: Header,
    pub(crate) datagram: &'a [u8],
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Octets of the largest datagram of a request that came in fragments.
    pub(crate) largest: Option<usize>,
}

impl<'a> Asked<'a> {
    /// The same request, known by its first fragment's datagram where it came in fragments.
    pub(crate) fn with<'b>(&'b self, complete: Option<&'b Complete>) -> Asked<'b>
    where
        'a: 'b,
    {
        let datagram = complete.map_or(self.datagram, |complete| &complete.first);
        Asked { datagram, largest: complete.map(|complete| complete.largest), ..*self }
    }
}

impl Established {
    /// An IKE SA as just authenticated by IKE_AUTH; as responder that is yet to be answered.
    pub(crate) fn first(ctx: &mut Ctx, role: Role, agreed: Agreed) -> Self {
        if role == Role::Responder {
            // Not before: a stranger's half-open attempts are nobody's business.
            ctx.expose((agreed.spi_i, agreed.spi_r), agreed.suite, &agreed.keys);
        }
        let lowest_nonce = agreed.ni.clone().min(agreed.nr.clone());
        let (next, request) = match role {
            Role::Initiator => ((agreed.auth_id().saturating_add(1), 0), Vec::new()),
            Role::Responder => ((0, agreed.auth_id()), agreed.request),
        };
        let birth = Birth {
            spi_i: agreed.spi_i,
            spi_r: agreed.spi_r,
            role,
            suite: agreed.suite,
            additional: agreed.additional,
            sk_d: agreed.keys.sk_d.clone(),
            seal: agreed.seal,
            open: agreed.open,
            path: agreed.path,
            standing: Standing::Home,
            rekeys: 0,
            next,
            contact: Some(Contact { lowest_nonce, turn: agreed.turn, request }),
            fragmentation: agreed.fragmentation,
            ppk: agreed.ppk,
        };
        let sa = Self::born(ctx, birth);
        let took = ctx.now - agreed.started;
        let proposal = sa.proposal();
        let (spi_i, spi_r, ppk) = (sa.spi_i, sa.spi_r, sa.ppk);
        ctx.notice(Notice::IkeEstablished { spi_i, spi_r, role, proposal, ppk, took });
        sa
    }

    /// A new IKE SA without children.
    pub(crate) fn born(ctx: &mut Ctx, birth: Birth) -> Self {
        let (rekey_at, expires) = ctx.schedule(ctx.config.ike_lifetime);
        Self {
            spi_i: birth.spi_i,
            spi_r: birth.spi_r,
            role: birth.role,
            suite: birth.suite,
            additional: birth.additional,
            sk_d: birth.sk_d,
            seal: birth.seal,
            open: birth.open,
            path: birth.path,
            ppk: birth.ppk,
            requests: RequestWindow::new(birth.next.0),
            responses: ResponseWindow::new(birth.next.1),
            standing: birth.standing,
            children: Vec::new(),
            orphans: Vec::new(),
            close: None,
            established: ctx.now,
            turn: ctx.turn,
            rekey_at,
            expires,
            rekeys: birth.rekeys,
            last_heard: ctx.now,
            last_sent: ctx.now,
            ask: false,
            hint_at: Instant::ZERO,
            child_at: ctx.now,
            child_failures: 0,
            child_wanted: false,
            contact: birth.contact,
            partial_request: Reassembly::new(birth.fragmentation),
            partial_response: Reassembly::new(birth.fragmentation),
            pending: None,
        }
    }

    /// Our SPI: the key under which the endpoint holds it.
    pub(crate) const fn spi_local(&self) -> IkeSpi {
        match self.role {
            Role::Initiator => self.spi_i,
            Role::Responder => self.spi_r,
        }
    }

    /// Its algorithms, as in `status --json`.
    pub(crate) fn proposal(&self) -> String {
        ike_text(&self.suite, &self.additional)
    }

    /// Keys of a child (RFC 7296 §2.17). `ni` and `nr` are those of the exchange that makes it, `shared` the
    /// secrets of its key exchanges.
    pub(crate) fn child_keys(
        &self,
        choice: &EspChoice,
        shared: &[Secret],
        ni: &[u8],
        nr: &[u8],
    ) -> ChildKeys {
        let transform = choice.suite.transform;
        crypto::derive_multiple_child_keys(self.suite.prf, &self.sk_d, shared, (ni, nr), transform)
    }

    /// Judges a datagram; changes nothing. Its major version is 2 and its SPI ours.
    pub(crate) fn check(&self, header: &Header, datagram: &[u8]) -> Result<Checked, DropReason> {
        if header.flags.initiator() == (self.role == Role::Initiator)
            || (header.spi_i, header.spi_r) != (self.spi_i, self.spi_r)
        {
            return Err(DropReason::Flags);
        }
        if header.flags.response() {
            return self.check_response(header, datagram);
        }
        match self.responses.position(header.message_id, datagram) {
            Position::Repeat(_) => return Ok(Checked::Repeat { recut: false }),
            //= RFC 7383 §2.6.1: of a request cut anew, fragment 1 alone asks for the answer once more.
            Position::Recent if self.fragmentation() => {
                let fragment = self.open.open_fragment(datagram).map_err(|_| DropReason::MessageId)?;
                let first = fragment.number == 1;
                return if first { Ok(Checked::Repeat { recut: true }) } else { Err(DropReason::MessageId) };
            }
            Position::Recent | Position::Outside => return Err(DropReason::MessageId),
            Position::Fresh => {}
        }
        Ok(match self.partial_request.open(&self.open, datagram)? {
            Opened::Whole(verified) => Checked::Request(verified),
            Opened::Malformed => Checked::BadRequest,
            Opened::Fragment(fragment) => Checked::Fragment(fragment),
        })
    }

    /// Whether both sides take fragments.
    pub(crate) const fn fragmentation(&self) -> bool {
        self.partial_request.negotiated
    }

    /// How large our datagrams may be; `None`: no fragments.
    fn sizes(&self, config: &Config) -> Option<Sizes> {
        Sizes::new(config, &self.path).filter(|_| self.fragmentation())
    }

    /// Stores a part of a message; gives the whole when it is complete.
    pub(crate) fn add(
        &mut self,
        ctx: &Ctx,
        asked: &Asked<'_>,
        fragment: VerifiedFragment,
    ) -> Option<Complete> {
        let partial = if asked.header.flags.response() {
            &mut self.partial_response
        } else {
            &mut self.partial_request
        };
        partial.add(ctx.now, fragment, asked.datagram)
    }

    /// Answers a repeated request as before.
    pub(crate) fn answer_again(&mut self, ctx: &mut Ctx, asked: &Asked<'_>, recut: bool) {
        let sizes = self.sizes(&ctx.config);
        if let Some(flight) = self.responses.repeat(recut, &mut self.seal, sizes, &mut *ctx.rng) {
            ctx.send_flight(asked.local, asked.remote, &flight);
        }
    }

    /// Our request under way once more, for the `n`-th time.
    pub(crate) fn ask_again(&mut self, ctx: &mut Ctx, n: u32) {
        let stage = self.requests.outstanding().map_or(Stage::Informational, Request::stage);
        let sizes = self.sizes(&ctx.config);
        self.last_sent = ctx.now;
        if let Some(flight) = self.requests.repeat(n, &mut self.seal, sizes, &mut *ctx.rng) {
            ctx.repeat(stage, n, &self.path, &flight);
        }
    }

    fn check_response(&self, header: &Header, datagram: &[u8]) -> Result<Checked, DropReason> {
        let expected = self.requests.outstanding().map(Request::exchange);
        if !self.requests.answers(header.message_id) {
            return Err(DropReason::MessageId);
        }
        match self.partial_response.open(&self.open, datagram) {
            Ok(Opened::Whole(_) | Opened::Fragment(_)) if expected != Some(header.exchange) => {
                Err(DropReason::Unexpected)
            }
            Ok(Opened::Whole(verified)) => Ok(Checked::Response(verified)),
            Ok(Opened::Fragment(fragment)) => Ok(Checked::Fragment(fragment)),
            Ok(Opened::Malformed) => Ok(Checked::BadResponse),
            Err(DropReason::Unprotected) => {
                let message = wire::parse(datagram).map_err(DropReason::Malformed)?;
                Parts::new(message.payloads).error().map(|_| Checked::Hint).ok_or(DropReason::Unprotected)
            }
            Err(reason) => Err(reason),
        }
    }

    /// Acts on a checked request: processes it, answers it, remembers the answer.
    pub(crate) fn on_request(
        &mut self,
        ctx: &mut Ctx,
        asked: &Asked<'_>,
        verified: Option<Verified>,
        events: &mut Vec<Event>,
    ) {
        self.heard(ctx, asked.local, asked.remote, events);
        // With a window of one, a new request shows that our last answer arrived (RFC 7296 §2.3).
        for child in &mut self.children {
            child.confirmed = true;
        }
        let Some(verified) = verified else {
            return self.answer_invalid(ctx, asked, events);
        };
        let parts = Parts::new(verified.outer.into_iter().chain(verified.payloads));
        if let Some(kind) = parts.critical {
            //= RFC 7296 §2.5: the whole request is rejected, and the answer names the payload.
            let refusal = message::notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, [kind.0]);
            return self.answer(ctx, asked, &[refusal]);
        }
        let answer = match asked.header.exchange {
            ExchangeType::INFORMATIONAL => Some(self.on_informational(ctx, &parts, events)),
            ExchangeType::CREATE_CHILD_SA | ExchangeType::IKE_FOLLOWUP_KE if parts.repeated => None,
            ExchangeType::CREATE_CHILD_SA => {
                // A new exchange: what the peer had begun it has given up.
                self.drop_pending(ctx);
                if super::rekey::is_ike_rekey(&parts) {
                    self.on_ike_rekey(ctx, &parts, events)
                } else {
                    self.on_create_child(ctx, &parts)
                }
            }
            ExchangeType::IKE_FOLLOWUP_KE => self.on_followup(ctx, &parts, events),
            _ => None,
        };
        match answer {
            Some(payloads) => self.answer(ctx, asked, &payloads),
            None => self.answer_invalid(ctx, asked, events),
        }
    }

    //= RFC 7296 §2.21.3: INVALID_SYNTAX is fatal on both sides, without a DELETE.
    fn answer_invalid(&mut self, ctx: &mut Ctx, asked: &Asked<'_>, events: &mut Vec<Event>) {
        self.answer(ctx, asked, &[message::notify(NotifyType::INVALID_SYNTAX, [])]);
        let stage = Stage::Informational;
        ctx.failed(Failure::ProtocolViolation { stage, what: "an authentic request is malformed" });
        events.push(Event::Gone(Ending::ByUs(CloseReason::Violation)));
    }

    /// Seals and sends an answer and keeps it for a repeat.
    pub(crate) fn answer(&mut self, ctx: &mut Ctx, asked: &Asked<'_>, payloads: &[Payload]) {
        let flags = Flags::new(self.role == Role::Initiator, true);
        let header =
            Header::new(self.spi_i, self.spi_r, asked.header.exchange, flags, asked.header.message_id);
        let sizes = self.sizes(&ctx.config).map(|sizes| sizes.within(asked.largest));
        let flight = Flight::seal(&mut self.seal, &header, payloads, sizes, &mut *ctx.rng);
        self.last_sent = ctx.now;
        //= RFC 7296 §2.11: the answer goes to where the request came from.
        ctx.send_flight(asked.local, asked.remote, &flight);
        self.responses.answered(asked.datagram.to_vec(), flight);
        self.partial_request.clear();
    }

    /// Seals and sends a request. The window must be free.
    pub(crate) fn request(&mut self, ctx: &mut Ctx, payloads: &[Payload], request: Request) {
        let Some(id) = self.requests.free() else { return };
        let flags = Flags::new(self.role == Role::Initiator, false);
        let header = Header::new(self.spi_i, self.spi_r, request.exchange(), flags, id);
        let sizes = self.sizes(&ctx.config);
        let flight = Flight::seal(&mut self.seal, &header, payloads, sizes, &mut *ctx.rng);
        ctx.send_flight(self.path.local, self.path.remote, &flight);
        self.requests.sent(ctx.now, &ctx.config.retransmit, flight, request);
        self.last_sent = ctx.now;
        self.partial_response.clear();
    }

    /// Acts on a checked answer to our request; `None`: authentic, and malformed inside.
    pub(crate) fn on_response(
        &mut self,
        ctx: &mut Ctx,
        from: (SocketAddr, SocketAddr),
        verified: Option<Verified>,
        events: &mut Vec<Event>,
    ) {
        self.heard(ctx, from.0, from.1, events);
        let Some(request) = self.requests.take() else { return };
        let parts = verified.map(|verified| Parts::new(verified.outer.into_iter().chain(verified.payloads)));
        let parts = match parts {
            Some(parts) if parts.critical.is_none() && !parts.repeated => parts,
            bad => {
                let failure = match bad.and_then(|parts| parts.critical) {
                    Some(kind) => Failure::UnsupportedCritical(kind),
                    None => Failure::ProtocolViolation { stage: request.stage(), what: "malformed payloads" },
                };
                ctx.failed(failure);
                self.forget(ctx, request);
                return events.push(Event::Gone(Ending::ByUs(CloseReason::Violation)));
            }
        };
        if parts.notify(NotifyType::INVALID_SYNTAX).is_some() {
            ctx.failed(Failure::PeerNotify(NotifyType::INVALID_SYNTAX));
            self.forget(ctx, request);
            return events.push(Event::Gone(Ending::ByUs(CloseReason::Violation)));
        }
        match request {
            Request::Liveness => {}
            Request::DeleteIke(reason) => events.push(Event::Gone(Ending::ByUs(reason))),
            Request::DeleteChildren(spis) => self.on_children_deleted(ctx, &spis),
            Request::CreateChild(exchange) => self.on_child_created(ctx, *exchange, &parts),
            Request::RekeyIke(exchange) => self.on_ike_rekeyed(ctx, *exchange, &parts, events),
        }
    }

    /// Gives back what a request of ours held, when its answer will not come or cannot be used.
    pub(crate) fn forget(&mut self, ctx: &mut Ctx, request: Request) {
        if let Request::CreateChild(exchange) = request {
            ctx.free_spi(exchange.offer.spi_in);
        }
    }

    /// The peer is alive, and it is there: notes a move of a peer behind a NAT (RFC 7296 §2.23).
    fn heard(&mut self, ctx: &mut Ctx, local: SocketAddr, remote: SocketAddr, events: &mut Vec<Event>) {
        self.last_heard = ctx.now;
        self.ask = false;
        if self.relocate(ctx, local, remote) {
            ctx.notice(Notice::PathChanged { remote });
            events.push(Event::Moved { local, remote });
        }
    }

    /// Follows a peer behind a NAT to another address; `false` when there is nothing to follow.
    pub(crate) fn relocate(&mut self, ctx: &mut Ctx, local: SocketAddr, remote: SocketAddr) -> bool {
        if !self.path.may_move() || (self.path.local, self.path.remote) == (local, remote) {
            return false;
        }
        self.path.local = local;
        self.path.remote = remote;
        let encapsulation = self.path.encapsulation();
        for child in &self.children {
            ctx.outputs.push_back(Output::Path { child: child.id, local, remote, encapsulation });
        }
        true
    }

    /// What [`crate::Endpoint::state_digest`] sees.
    pub(crate) fn digest(&self, out: &mut Vec<u64>) {
        let (standing, at) = match self.standing {
            Standing::Home => (0, 0),
            Standing::Tentative { of } => (1, of.0),
            Standing::Superseded { until } => (2, until.as_nanos()),
        };
        out.extend([self.spi_i.0, self.spi_r.0, standing, at, self.rekeys, u64::from(self.ask)]);
        out.extend([u64::from(self.requests.next_id()), u64::from(self.responses.expected())]);
        out.push(self.requests.due().map_or(0, Instant::as_nanos));
        let times = [self.rekey_at, self.expires, self.last_heard, self.last_sent, self.child_at];
        out.extend(times.iter().map(|at| at.as_nanos()));
        out.extend([u64::from(self.close.is_some()), u64::from(self.child_wanted), self.hint_at.as_nanos()]);
        out.extend([u64::from(self.child_failures), u64::from(self.requests.outstanding().is_some())]);
        for address in [self.path.local, self.path.remote] {
            let ip = match address.ip() {
                std::net::IpAddr::V4(ip) => u128::from(ip.to_bits()),
                std::net::IpAddr::V6(ip) => ip.to_bits(),
            };
            out.extend([(ip >> 64) as u64, ip as u64, u64::from(address.port())]);
        }
        out.extend(self.orphans.iter().map(|spi| u64::from(spi.get())));
        for child in &self.children {
            child.digest(out);
        }
        out.push(self.pending_until().map_or(0, Instant::as_nanos));
        self.partial_request.digest(out);
        self.partial_response.digest(out);
    }
}
