//! IKE_SA_INIT, IKE_INTERMEDIATE and IKE_AUTH as responder.
//!
//! The first request is a stranger's: it gets a stateless answer (COOKIE, INVALID_KE_PAYLOAD, an error) or a
//! half-open IKE SA, of which there are few and only for a while. Each different request has a half-open SA
//! of its own, so that a forged one cannot stand in the way of the true one. Until AUTH is verified only
//! IKE_AUTH (and IKE_INTERMEDIATE, where it was agreed on) is looked at (CVE-2014-2338, CVE-2019-12312). RFC 7296 §1.2, §2.6, §2.15, §2.21.

use std::net::SocketAddr;

use model::{IkeSpi, Instant, Secret};

use super::Ctx;
use super::authenticating::Agreed;
use super::child::{self, NewChild};
use super::established::{Asked, Established};
use super::nat::{self, Path};
use crate::auth::ppk::{self, Judged};
use crate::auth::{Claim, signature};
use crate::crypto::{
    self, IntermediateAuth, KeyInputs, KeyPair, Protection, Sender, Verified, VerifiedFragment,
};
use crate::error::{DropReason, Failure, Stage};
use crate::fragment::{Complete, Flight, Opened, Reassembly, Sizes};
use crate::message::{self, Parts};
use crate::negotiate;
use crate::output::Notice;
use crate::status::Role;
use crate::window::{Answered, Position, ResponseWindow};
use crate::wire::{
    self, ExchangeType, Flags, Header, KeyExchange, NotifyType, Payload, SecurityAssociation, encode_payloads,
};

/// A half-open IKE SA: IKE_SA_INIT is answered.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct HalfOpen {
    pub(crate) agreed: Agreed,
    pub(crate) expires: Instant,
    /// Where the request came from.
    pub(crate) from: SocketAddr,
    reassembly: Reassembly,
    responses: ResponseWindow,
    /// What protected the last IKE_INTERMEDIATE exchange (ours, the peer's): its repeats come under it.
    previous: Option<(Protection, Protection)>,
}

/// A judged request.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The last one again; `recut`: in smaller fragments.
    Repeat { recut: bool },
    /// The next one, or a part of it.
    Next(Opened),
}

/// What becomes of a first request.
#[derive(Debug)]
pub(crate) enum Opening {
    /// Keys agreed, answered.
    HalfOpen(Box<HalfOpen>),
    /// Answered without keeping anything.
    Stateless,
    /// Not answered.
    Dropped(DropReason),
}

/// How IKE_AUTH ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The peer is who it must be.
    Established {
        sa: Box<Established>,
        /// It says that it holds no other IKE SA with us.
        initial_contact: bool,
    },
    /// It is not; the answer is kept for a repeat.
    Refused { last: Option<Answered>, failure: Failure },
}

/// A first request as it came.
#[derive(Clone, Copy)]
pub(crate) struct First<'a> {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) header: Header,
    pub(crate) datagram: &'a [u8],
}

impl First<'_> {
    /// Answers without keeping anything; the responder SPI stays zero (RFC 7296 §2.6, §3.1).
    fn reply(&self, ctx: &mut Ctx, payload: Payload) -> Opening {
        let header = Header::new(
            self.header.spi_i,
            IkeSpi::ZERO,
            ExchangeType::IKE_SA_INIT,
            Flags::new(false, true),
            0,
        );
        ctx.send(self.local, self.remote, wire::encode(&header, &[payload]));
        Opening::Stateless
    }
}

/// Takes a first request whose header is in order. `half_open` is how many half-open IKE SAs there are.
pub(crate) fn open(ctx: &mut Ctx, first: First<'_>, half_open: usize) -> Opening {
    let message = match wire::parse(first.datagram) {
        Ok(message) => message,
        Err(error) => return Opening::Dropped(DropReason::Malformed(error)),
    };
    let parts = Parts::new(message.payloads);
    if let Some(kind) = parts.critical {
        let refusal = message::notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, [kind.0]);
        return first.reply(ctx, refusal);
    }
    let (Some(sa), Some(ke), Some(ni)) = (&parts.sa, &parts.ke, &parts.nonce) else {
        return first.reply(ctx, message::notify(NotifyType::INVALID_SYNTAX, []));
    };
    if parts.repeated {
        return first.reply(ctx, message::notify(NotifyType::INVALID_SYNTAX, []));
    }
    ctx.rotate_cookies();
    //= RFC 7296 §2.6: under load an initiator must show that it receives what we send to its address.
    if half_open >= ctx.config.limits.cookie_threshold {
        let (address, spi) = (first.remote.ip(), first.header.spi_i);
        let shown = parts.notify(NotifyType::COOKIE);
        if !shown.is_some_and(|cookie| ctx.cookies.accepts(&cookie.data, ni, address, spi)) {
            let cookie = ctx.cookies.make(ni, address, spi);
            ctx.cookies_demanded += 1;
            return first.reply(ctx, message::notify(NotifyType::COOKIE, cookie));
        }
    }
    if half_open >= ctx.config.limits.half_open {
        return Opening::Dropped(DropReason::Limit);
    }
    let config = &ctx.config;
    //= RFC 9370 §2.2.1: no additional key exchanges with an initiator that has no IKE_INTERMEDIATE.
    let intermediate = parts.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some();
    let ours = config.ike_proposals.iter().filter(|ours| intermediate || ours.additional.is_empty());
    let ours: Vec<_> = ours.cloned().collect();
    let chosen = negotiate::choose_ike(config.selection, &ours, sa, Some(ke.group));
    let Some(choice) = chosen else {
        let offered = negotiate::describe(sa);
        ctx.stranger_failed(Failure::NoProposalChosen { stage: Stage::SaInit, offered, by_peer: false });
        return first.reply(ctx, message::notify(NotifyType::NO_PROPOSAL_CHOSEN, []));
    };
    if choice.suite.group != ke.group {
        let wanted = choice.suite.group.0.to_be_bytes();
        return first.reply(ctx, message::notify(NotifyType::INVALID_KE_PAYLOAD, wanted));
    }
    agree(ctx, first, choice, Contents { parts: &parts, ke, ni })
        .unwrap_or_else(|| first.reply(ctx, message::notify(NotifyType::INVALID_SYNTAX, [])))
}

/// What a first request must contain.
#[derive(Clone, Copy)]
struct Contents<'a> {
    parts: &'a Parts,
    ke: &'a KeyExchange,
    ni: &'a [u8],
}

/// Agrees on keys and answers; `None` when the peer's public value is not one.
fn agree(
    ctx: &mut Ctx,
    first: First<'_>,
    choice: negotiate::IkeChoice,
    contents: Contents<'_>,
) -> Option<Opening> {
    let Contents { parts, ke, ni } = contents;
    let suite = choice.suite;
    // Before anything is spent on a stranger.
    crypto::check_public(suite.group, &ke.data).ok()?;
    let keypair = KeyPair::generate(suite.group, &mut *ctx.rng).ok()?;
    let shared = keypair.agree(&ke.data).ok()?;
    let (spi_i, spi_r) = (first.header.spi_i, ctx.ike_spi());
    let nr = ctx.nonce();
    let keys = crypto::derive_sa_keys(&suite, &KeyInputs { ni, nr: &nr, shared: &shared, spi_i, spi_r });
    let (seal, open) = (
        Protection::new(&suite, &keys, Sender::Responder).ok()?,
        Protection::new(&suite, &keys, Sender::Initiator).ok()?,
    );
    let mut path = Path::new(first.local, first.remote);
    path.detect(&ctx.config, parts, spi_i, IkeSpi::ZERO);
    let mut payloads = vec![
        Payload::Sa(SecurityAssociation { proposals: vec![choice.accepted] }),
        Payload::Ke(KeyExchange { group: suite.group, data: keypair.public().to_vec() }),
        Payload::Nonce(nr.clone()),
    ];
    if path.supported {
        payloads.extend(nat::detection(ctx, spi_i, spi_r, first.local, first.remote));
    }
    //= RFC 7383 §2.3: confirmed to an initiator that announced it.
    let fragmentation = ctx.config.fragment_size.is_some()
        && parts.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
    if fragmentation {
        payloads.push(message::notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, []));
    }
    payloads.extend(certificates_wanted(ctx));
    if !choice.additional.is_empty() {
        payloads.push(message::notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, []));
    }
    //= RFC 8784 §3: said to an initiator that said it. One that did not is refused in IKE_AUTH, when the PPK is required:
    // there it has proven who it is.
    let use_ppk = ctx.config.ppk.is_some() && parts.notify(NotifyType::USE_PPK).is_some();
    payloads.extend(use_ppk.then(|| message::notify(NotifyType::USE_PPK, [])));
    let header = Header::new(spi_i, spi_r, ExchangeType::IKE_SA_INIT, Flags::new(false, true), 0);
    let response = wire::encode(&header, &payloads);
    ctx.notice(Notice::HandshakeReceived { remote: first.remote });
    ctx.send(first.local, first.remote, response.clone());
    let request = first.datagram.to_vec();
    let (ni, started, turn, hashes) = (ni.to_vec(), ctx.now, ctx.turn, parts.hashes());
    let agreed = Agreed {
        spi_i,
        spi_r,
        suite,
        keys,
        seal,
        open,
        request,
        response,
        ni,
        nr,
        additional: choice.additional,
        done: 0,
        intermediate: Vec::new(),
        intermediate_auth: IntermediateAuth::new(),
        path,
        fragmentation,
        hashes,
        use_ppk,
        ppk: false,
        started,
        turn,
    };
    let expires = ctx.now + ctx.config.limits.half_open_timeout;
    let reassembly = Reassembly::new(fragmentation);
    let (from, responses) = (first.remote, ResponseWindow::new(1));
    Some(Opening::HalfOpen(Box::new(HalfOpen {
        agreed,
        expires,
        from,
        reassembly,
        responses,
        previous: None,
    })))
}

/// What says in IKE_SA_INIT that we authenticate by certificates: hashes (RFC 7427 §4), and whom we trust.
fn certificates_wanted(ctx: &Ctx) -> Vec<Payload> {
    let certificates = ctx.config.credentials.certificates();
    certificates.map_or_else(Vec::new, |ours| vec![signature::announcement(), signature::request(ours)])
}

impl HalfOpen {
    /// Judges a request; changes nothing.
    pub(crate) fn check(&self, header: &Header, datagram: &[u8]) -> Result<Heard, DropReason> {
        if header.flags.response() || !header.flags.initiator() || header.spi_i != self.agreed.spi_i {
            return Err(DropReason::Flags);
        }
        let expected = match self.agreed.next_method() {
            Some(_) => ExchangeType::IKE_INTERMEDIATE,
            None => ExchangeType::IKE_AUTH,
        };
        match self.responses.position(header.message_id, datagram) {
            Position::Repeat(_) => Ok(Heard::Repeat { recut: false }),
            //= RFC 7383 §2.6.1: of a request cut anew, fragment 1 alone asks for the answer once more.
            Position::Recent if self.agreed.fragmentation => {
                let (_, open) = self.previous.as_ref().ok_or(DropReason::MessageId)?;
                let fragment = open.open_fragment(datagram).map_err(|_| DropReason::MessageId)?;
                if fragment.number == 1 {
                    Ok(Heard::Repeat { recut: true })
                } else {
                    Err(DropReason::MessageId)
                }
            }
            _ if header.exchange != expected => Err(DropReason::Unexpected),
            Position::Recent | Position::Outside => Err(DropReason::MessageId),
            Position::Fresh => self.reassembly.open(&self.agreed.open, datagram).map(Heard::Next),
        }
    }

    /// How large the datagrams of an answer may be. It leaves from where the request came in, with the marker of
    /// the NAT-T port perhaps, which the path of IKE_SA_INIT had not.
    fn sizes(&self, ctx: &Ctx, asked: &Asked<'_>) -> Option<Sizes> {
        let path = Path::new(asked.local, asked.remote);
        let sizes = Sizes::new(&ctx.config, &path).filter(|_| self.agreed.fragmentation);
        sizes.map(|sizes| sizes.within(asked.largest))
    }

    /// Answers a repeated IKE_INTERMEDIATE as before.
    pub(crate) fn answer_again(&mut self, ctx: &mut Ctx, asked: &Asked<'_>, recut: bool) {
        let sizes = self.sizes(ctx, asked);
        let Some((seal, _)) = &mut self.previous else { return };
        if let Some(flight) = self.responses.repeat(recut, seal, sizes, &mut *ctx.rng) {
            ctx.send_flight(asked.local, asked.remote, &flight);
        }
    }

    /// Acts on a protected IKE_INTERMEDIATE request, and answers it: new keys from here on.
    pub(crate) fn intermediate(
        mut self: Box<Self>,
        ctx: &mut Ctx,
        asked: &Asked<'_>,
        verified: Option<Verified>,
    ) -> Result<Box<Self>, Box<Outcome>> {
        let sizes = self.sizes(ctx, asked);
        let judged = self.respond(ctx, verified);
        let (payload, shared, request) = match judged {
            Ok(answer) => answer,
            Err((refusal, failure)) => {
                let last = refuse(ctx, self.agreed, asked, refusal);
                return Err(Box::new(Outcome::Refused { last, failure }));
            }
        };
        let agreed = &mut self.agreed;
        let (exchange, id) = (ExchangeType::IKE_INTERMEDIATE, asked.header.message_id);
        let header = Header::new(agreed.spi_i, agreed.spi_r, exchange, Flags::new(false, true), id);
        let response =
            crypto::intermediate_octets(&header, &[], &encode_payloads(std::slice::from_ref(&payload)));
        let flight = Flight::seal(&mut agreed.seal, &header, &[payload], sizes, &mut *ctx.rng);
        self.previous = agreed.advance(Role::Responder, &shared, &request, &response);
        ctx.send_flight(asked.local, asked.remote, &flight);
        self.responses.answered(asked.datagram.to_vec(), flight);
        self.reassembly.clear();
        self.expires = ctx.now + ctx.config.limits.half_open_timeout;
        Ok(self)
    }

    /// Our half of the key exchange, the secret, and what AUTH covers of the request.
    fn respond(
        &self,
        ctx: &mut Ctx,
        verified: Option<Verified>,
    ) -> Result<(Payload, Secret, Vec<u8>), (Payload, Failure)> {
        let stage = Stage::Intermediate;
        let invalid = |what| {
            let refusal = message::notify(NotifyType::INVALID_SYNTAX, []);
            (refusal, Failure::ProtocolViolation { stage, what })
        };
        let verified = verified.ok_or_else(|| invalid("malformed payloads"))?;
        let request = verified.intermediate_octets();
        let parts = Parts::new(verified.outer.into_iter().chain(verified.payloads));
        if let Some(kind) = parts.critical {
            let refusal = message::notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, [kind.0]);
            return Err((refusal, Failure::UnsupportedCritical(kind)));
        }
        let method = self.agreed.next_method();
        let ke = parts.ke.as_ref().filter(|ke| Some(ke.group) == method && !parts.repeated);
        let ke = ke.ok_or_else(|| invalid("the key exchange is missing or of another method"))?;
        let (data, shared) = crypto::respond(ke.group, &ke.data, &mut *ctx.rng)
            .map_err(|_| invalid("the public value is not one of the method"))?;
        Ok((Payload::Ke(KeyExchange { group: ke.group, data }), shared, request))
    }

    /// Stores a part of the request; gives the whole when it is complete.
    pub(crate) fn add(&mut self, ctx: &Ctx, fragment: VerifiedFragment, datagram: &[u8]) -> Option<Complete> {
        self.reassembly.add(ctx.now, fragment, datagram)
    }

    /// Acts on a protected IKE_AUTH request and answers it.
    pub(crate) fn conclude(self, ctx: &mut Ctx, asked: &Asked<'_>, verified: Option<Verified>) -> Outcome {
        let parts = verified.map(|verified| Parts::new(verified.outer.into_iter().chain(verified.payloads)));
        let judged = match &parts {
            None => Err((NotifyType::INVALID_SYNTAX, violation("malformed payloads"))),
            Some(parts) => self.authenticate(ctx, parts),
        };
        let mut agreed = self.agreed;
        // The address that IKE_AUTH came from is the first authenticated one (RFC 7296 §2.23).
        (agreed.path.local, agreed.path.remote) = (asked.local, asked.remote);
        let (parts, judged, mut payloads) = match (judged, parts) {
            (Ok((judged, proof)), Some(parts)) => (parts, judged, proof),
            (Err((kind, failure)), parts) => {
                let critical = parts.and_then(|parts| parts.critical);
                let data = critical.map(|kind| vec![kind.0]).unwrap_or_default();
                let last = refuse(ctx, agreed, asked, message::notify(kind, data));
                return Outcome::Refused { last, failure };
            }
            (Ok(_), None) => {
                return Outcome::Refused { last: None, failure: violation("malformed payloads") };
            }
        };
        judged.shown.into_iter().for_each(|notice| ctx.notice(notice));
        agreed.take(judged.mixed);
        let (ni, nr) = (agreed.ni.clone(), agreed.nr.clone());
        let mut sa = Established::first(ctx, Role::Responder, agreed);
        payloads.extend(first_child(ctx, &mut sa, &parts, &ni, &nr));
        sa.answer(ctx, asked, &payloads);
        let initial_contact = parts.notify(NotifyType::INITIAL_CONTACT).is_some();
        Outcome::Established { sa: Box::new(sa), initial_contact }
    }

    /// The peer's proof, and our own; made before anything is established.
    fn authenticate(
        &self,
        ctx: &Ctx,
        parts: &Parts,
    ) -> Result<(Judged, Vec<Payload>), (NotifyType, Failure)> {
        if let Some(kind) = parts.critical {
            return Err((NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, Failure::UnsupportedCritical(kind)));
        }
        let (Some(id), Some(auth)) = (&parts.id_i, &parts.auth) else {
            // No AUTH asks for EAP (RFC 7296 §2.16), which we do not do.
            let kind = if parts.id_i.is_some() {
                NotifyType::AUTHENTICATION_FAILED
            } else {
                NotifyType::INVALID_SYNTAX
            };
            return Err((kind, violation("IDi or AUTH is missing")));
        };
        if parts.repeated {
            return Err((NotifyType::INVALID_SYNTAX, violation("a payload stands twice")));
        }
        let claim = Claim { whose: Role::Initiator, id, auth };
        let judged = ppk::judge_initiator(ctx, &self.agreed, parts, &claim);
        let both = judged.and_then(|judged| {
            let proof = ppk::prove_as_responder(ctx, &self.agreed, judged.mixed.as_ref())?;
            Ok((judged, proof))
        });
        both.map_err(|failure| (NotifyType::AUTHENTICATION_FAILED, failure))
    }

    /// What [`crate::Endpoint::state_digest`] sees.
    pub(crate) fn digest(&self, out: &mut Vec<u64>) {
        out.extend([self.agreed.spi_i.0, self.agreed.spi_r.0, self.expires.as_nanos()]);
        out.push(self.agreed.done as u64);
        self.reassembly.digest(out);
    }
}

fn violation(what: &'static str) -> Failure {
    Failure::ProtocolViolation { stage: Stage::Auth, what }
}

/// Seals and sends the refusal of IKE_AUTH or IKE_INTERMEDIATE; gives what a repeat is answered with.
fn refuse(ctx: &mut Ctx, mut agreed: Agreed, asked: &Asked<'_>, refusal: Payload) -> Option<Answered> {
    let flags = Flags::new(false, true);
    let (exchange, id) = (asked.header.exchange, asked.header.message_id);
    let header = Header::new(agreed.spi_i, agreed.spi_r, exchange, flags, id);
    let datagram = agreed.seal.seal(&header, &[refusal], &mut *ctx.rng);
    ctx.send(asked.local, asked.remote, datagram.clone());
    let mut window = ResponseWindow::new(id);
    window.answered(asked.datagram.to_vec(), Flight::whole(datagram));
    window.into_last()
}

/// The child that comes with IKE_AUTH, or why there is none: that leaves the IKE SA alive (RFC 7296 §1.2,
/// §2.21.2). No SA payload at all is a childless start (RFC 6023).
fn first_child(ctx: &mut Ctx, sa: &mut Established, parts: &Parts, ni: &[u8], nr: &[u8]) -> Vec<Payload> {
    if parts.sa.is_none() && parts.ts_i.is_none() && parts.ts_r.is_none() {
        return Vec::new();
    }
    match child::accept(&ctx.config, parts, false) {
        Ok(terms) => {
            let spi_in = ctx.child_spi();
            let keys = sa.child_keys(&terms.choice, &[], ni, nr);
            let payloads = child::answer(&terms, spi_in);
            let new =
                NewChild { spi_in, terms, keys, by_us: false, activate: true, replaces: None, rekeys: 0 };
            let id = sa.install(ctx, new);
            // Without our answer the peer has no IKE SA either: there is nothing to wait for.
            sa.child_mut(id).into_iter().for_each(|child| child.confirmed = true);
            payloads.to_vec()
        }
        Err(failure) => {
            let kind = failure.notify().unwrap_or(NotifyType::NO_PROPOSAL_CHOSEN);
            ctx.failed(failure);
            sa.child_at = ctx.now + ctx.config.reconnect.max;
            vec![message::notify(kind, [])]
        }
    }
}
