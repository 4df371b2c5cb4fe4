//! CREATE_CHILD_SA for child SAs: new ones and rekeys, from both sides, and when both do it at once.
//!
//! RFC 7296 §1.3.1, §1.3.3, §2.8, §2.8.1 (collisions), §2.25.1 (TEMPORARY_FAILURE, CHILD_SA_NOT_FOUND). The
//! responder installs inbound before it answers and leaves outbound traffic on the old child until the peer
//! proves the new one (§2.8).

use std::time::Duration;

use model::{Secret, Spi};

use super::Ctx;
use super::child::{self, ChildOffer, ChildStanding, ChildTerms, NewChild};
use super::established::{Established, Request, Standing};
use super::followup::{Further, Purpose, Step};
use crate::crypto::{self, KeyPair};
use crate::error::{Failure, Stage};
use crate::message::{self, Parts, wanted_group};
use crate::negotiate;
use crate::output::{ChildId, CloseReason, Notice};
use crate::status::Role;
use crate::wire::{DhGroup, KeyExchange, Notify, NotifyType, Payload, ProtocolId};

/// Times one exchange may be repeated with another group.
pub(crate) const MAX_GROUP_ROUNDS: u8 = 2;
/// SPIs remembered of DELETEs that overtake the answer telling them.
const MAX_EARLY_DELETES: usize = 4;
/// After this many refusals in a row the IKE SA is given up: a new one brings a child without a key
/// exchange of its own, which helps against a mismatch of groups.
const MAX_CHILD_FAILURES: u32 = 3;
/// A refused rekey is tried again after this time; nothing else is lost before the hard limit.
const REFUSED_RETRY: Duration = Duration::from_secs(10);
/// A rekey or creation that met TEMPORARY_FAILURE is repeated after this time and a random part of the next.
const TEMPORARY_RETRY: Duration = Duration::from_secs(1);
/// See [`TEMPORARY_RETRY`].
const TEMPORARY_JITTER: Duration = Duration::from_secs(2);

/// Our request under way.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct ChildExchange {
    pub(crate) offer: ChildOffer,
    /// The child to be replaced; `None`: an additional one.
    pub(crate) rekeys: Option<ChildId>,
    nonce: Vec<u8>,
    keypair: Option<KeyPair>,
    rounds: u8,
    /// The peer's exchange for the same purpose, which we answered meanwhile.
    rival: Option<Rival>,
    /// Outbound SPIs the peer deleted that we did not know yet.
    deleted_early: Vec<Spi>,
    /// Agreed on, while further key exchanges are done (RFC 9370).
    further: Option<Box<Following>>,
}

/// A child that further key exchanges are to complete.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
struct Following {
    further: Further,
    terms: ChildTerms,
    nr: Vec<u8>,
}

/// A child that the peer's exchange has made.
pub(crate) struct Made {
    pub(crate) terms: ChildTerms,
    pub(crate) spi_in: Spi,
    pub(crate) replaces: Option<ChildId>,
    /// Secrets of its key exchanges, in their order.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) ni: Vec<u8>,
    pub(crate) nr: Vec<u8>,
}

/// The other exchange of a collision.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
struct Rival {
    lowest_nonce: Vec<u8>,
    /// `None` while its further key exchanges are not done.
    child: Option<ChildId>,
}

impl ChildExchange {
    /// Whether IKE_FOLLOWUP_KE is the request under way.
    pub(crate) const fn follows_up(&self) -> bool {
        self.further.is_some()
    }

    /// Remembers a DELETE for a child that our answer will tell us of (case 46).
    pub(crate) fn remember_deleted(&mut self, spi_out: Spi) {
        if self.deleted_early.len() < MAX_EARLY_DELETES {
            self.deleted_early.push(spi_out);
        }
    }
}

/// When to repeat what met TEMPORARY_FAILURE (RFC 7296 §2.25).
pub(crate) fn temporary_retry(ctx: &mut Ctx) -> model::Instant {
    ctx.now + TEMPORARY_RETRY + ctx.random(TEMPORARY_JITTER)
}

/// When to repeat what was refused.
pub(crate) fn refused_retry(ctx: &mut Ctx) -> model::Instant {
    ctx.now + REFUSED_RETRY + ctx.random(TEMPORARY_JITTER)
}

impl Established {
    /// Sends CREATE_CHILD_SA for a rekey of `rekeys`, or for a new child.
    pub(crate) fn start_child(&mut self, ctx: &mut Ctx, rekeys: Option<ChildId>) {
        let groups = negotiate::esp_groups(&ctx.config.esp_proposals);
        let known = rekeys.and_then(|id| self.child(id)).and_then(|child| child.group);
        let group = known.filter(|group| groups.contains(group)).or(groups.first().copied());
        let offer = ChildOffer { spi_in: ctx.child_spi(), with_groups: true };
        let exchange = ChildExchange {
            offer,
            rekeys,
            nonce: Vec::new(),
            keypair: None,
            rounds: 0,
            rival: None,
            deleted_early: Vec::new(),
            further: None,
        };
        self.send_child(ctx, exchange, group);
    }

    fn send_child(&mut self, ctx: &mut Ctx, mut exchange: ChildExchange, group: Option<DhGroup>) {
        exchange.nonce = ctx.nonce();
        exchange.keypair = group.and_then(|group| KeyPair::generate(group, &mut *ctx.rng).ok());
        let mut payloads = Vec::new();
        if let Some(old) = exchange.rekeys.and_then(|id| self.child(id)) {
            //= RFC 7296 §1.3.3: the SPI is the one that the sender expects in packets to itself.
            let spi = old.spi_in.get().to_be_bytes().to_vec();
            payloads.push(rekey_notify(NotifyType::REKEY_SA, spi));
        }
        let [sa, ts_i, ts_r] = exchange.offer.payloads(&ctx.config);
        payloads.extend([sa, Payload::Nonce(exchange.nonce.clone())]);
        if let Some(keypair) = &exchange.keypair {
            let (group, data) = (keypair.group(), keypair.public().to_vec());
            payloads.push(Payload::Ke(KeyExchange { group, data }));
        }
        payloads.extend([ts_i, ts_r]);
        self.request(ctx, &payloads, Request::CreateChild(Box::new(exchange)));
    }

    /// Acts on the answer to our request.
    pub(crate) fn on_child_created(&mut self, ctx: &mut Ctx, mut exchange: ChildExchange, parts: &Parts) {
        if let Some(error) = parts.error() {
            if let Some(group) = self.another_group(ctx, &exchange, error) {
                exchange.rounds += 1;
                ctx.notice(Notice::GroupRequested { group: group.0 });
                return self.send_child(ctx, exchange, Some(group));
            }
            ctx.free_spi(exchange.offer.spi_in);
            return self.child_refused(ctx, &exchange, error);
        }
        if let Some(following) = exchange.further.take() {
            return self.child_followed(ctx, exchange, *following, parts);
        }
        match Self::conclude_child(ctx, &mut exchange, parts) {
            Ok((terms, shared, nr)) if terms.choice.additional.is_empty() => {
                let secrets: Vec<_> = shared.into_iter().collect();
                self.child_agreed(ctx, exchange, terms, &secrets, &nr);
            }
            Ok((terms, shared, nr)) => {
                let methods = terms.choice.additional.clone();
                let secrets = shared.into_iter().collect();
                match Further::begin(ctx, &methods, secrets, parts, Stage::Child) {
                    Ok(further) => self.follow_child(ctx, exchange, Following { further, terms, nr }),
                    Err(failure) => self.follow_failed(ctx, &exchange, failure),
                }
            }
            Err(failure) => {
                // The peer holds a child that we cannot use.
                self.delay_child(ctx, &exchange, None);
                self.offer_failed(ctx, exchange.offer.spi_in, true, failure);
            }
        }
    }

    /// Sends the next IKE_FOLLOWUP_KE, unless the exchange has lost a collision or its purpose by now.
    fn follow_child(&mut self, ctx: &mut Ctx, mut exchange: ChildExchange, following: Following) {
        let spi_in = exchange.offer.spi_in;
        let gone = exchange.rekeys.is_some_and(|old| self.child(old).is_none());
        if self.close.is_some() || gone || exchange.deleted_early.contains(&following.terms.choice.spi) {
            return ctx.free_spi(spi_in);
        }
        let rival = exchange.rival.as_ref().filter(|rival| self.still_there(rival));
        if let Some(rival) = rival {
            //= RFC 9370 §2.2.4: who has lost sends no further key exchange; the half-made SA is just forgotten.
            if self.has_lost(&exchange, rival, &following.nr) {
                ctx.notice(Notice::Collision { ike: false, won: false });
                return ctx.free_spi(spi_in);
            }
            if rival.child.is_none() {
                ctx.notice(Notice::Collision { ike: false, won: true });
                exchange.rival = None;
                self.drop_pending(ctx);
            }
        }
        let payloads = following.further.payloads();
        exchange.further = Some(Box::new(following));
        self.request(ctx, &payloads, Request::CreateChild(Box::new(exchange)));
    }

    /// Acts on the answer to IKE_FOLLOWUP_KE.
    fn child_followed(
        &mut self,
        ctx: &mut Ctx,
        exchange: ChildExchange,
        following: Following,
        parts: &Parts,
    ) {
        let Following { further, terms, nr } = following;
        match further.next(ctx, parts, Stage::Child) {
            Ok(Step::More(further)) => self.follow_child(ctx, exchange, Following { further, terms, nr }),
            Ok(Step::Done(secrets)) => self.child_agreed(ctx, exchange, terms, &secrets, &nr),
            Err(failure) => self.follow_failed(ctx, &exchange, failure),
        }
    }

    /// The peer's follow-up is unusable. At the worst it holds a child that we delete unseen.
    fn follow_failed(&mut self, ctx: &mut Ctx, exchange: &ChildExchange, failure: Failure) {
        self.delay_child(ctx, exchange, None);
        self.offer_failed(ctx, exchange.offer.spi_in, true, failure);
    }

    /// Whether the other exchange of a collision has made something, or still may.
    fn still_there(&self, rival: &Rival) -> bool {
        match rival.child {
            Some(id) => self.child(id).is_some_and(super::child::Child::is_usable),
            None => self.pending.is_some(),
        }
    }

    //= RFC 7296 §2.8.1: the SA made with the lowest of the four nonces is closed by its creator.
    fn has_lost(&self, exchange: &ChildExchange, rival: &Rival, nr: &[u8]) -> bool {
        match exchange.nonce.as_slice().min(nr).cmp(&rival.lowest_nonce) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => self.role == Role::Responder,
        }
    }

    fn another_group(&self, ctx: &Ctx, exchange: &ChildExchange, error: &Notify) -> Option<DhGroup> {
        let wanted = wanted_group(error).filter(|_| error.kind == NotifyType::INVALID_KE_PAYLOAD)?;
        let allowed = negotiate::esp_groups(&ctx.config.esp_proposals).contains(&wanted);
        let old_exists = exchange.rekeys.is_none_or(|id| self.child(id).is_some());
        (allowed && old_exists && exchange.rounds < MAX_GROUP_ROUNDS).then_some(wanted)
    }

    fn conclude_child(
        ctx: &Ctx,
        exchange: &mut ChildExchange,
        parts: &Parts,
    ) -> Result<(ChildTerms, Option<Secret>, Vec<u8>), Failure> {
        let violation = |what| Failure::ProtocolViolation { stage: Stage::Child, what };
        let terms = exchange.offer.terms(&ctx.config, parts)?;
        let nr = parts.nonce.clone().ok_or(violation("the nonce is missing"))?;
        let shared = match (terms.choice.group, &parts.ke, &exchange.keypair) {
            (None, _, _) => None,
            (Some(group), Some(ke), Some(keypair)) if ke.group == group && keypair.group() == group => Some(
                keypair.agree(&ke.data).map_err(|_| violation("the public value is not one of the group"))?,
            ),
            _ => return Err(violation("the key exchange does not fit the chosen group")),
        };
        Ok((terms, shared, nr))
    }

    /// Installs what was agreed, and decides a collision (RFC 7296 §2.8.1).
    fn child_agreed(
        &mut self,
        ctx: &mut Ctx,
        exchange: ChildExchange,
        terms: ChildTerms,
        secrets: &[Secret],
        nr: &[u8],
    ) {
        let spi_in = exchange.offer.spi_in;
        if self.close.is_some() {
            // It goes with the IKE SA, whose DELETE is next.
            return ctx.free_spi(spi_in);
        }
        if exchange.deleted_early.contains(&terms.choice.spi) {
            // Deleted by the peer before we knew it (case 46): it never was.
            ctx.free_spi(spi_in);
            return self.delay_child(ctx, &exchange, None);
        }
        let rival = exchange.rival.as_ref().filter(|rival| self.still_there(rival));
        let lost = rival.is_some_and(|rival| self.has_lost(&exchange, rival, nr));
        let (collided, rival) = (rival.is_some(), rival.and_then(|rival| rival.child));
        let keys = self.child_keys(&terms.choice, secrets, &exchange.nonce, nr);
        let old = exchange.rekeys.and_then(|id| self.child(id));
        let rekeys = old.map_or(0, |old| old.rekeys + 1);
        let replaces = exchange.rekeys;
        // What we asked for is installed even beyond the limit: at most one more.
        self.make_room(ctx);
        let activate = !lost && self.standing == Standing::Home;
        let new = NewChild { spi_in, terms, keys, by_us: true, activate, replaces, rekeys };
        let new = self.install(ctx, new);
        if collided {
            ctx.notice(Notice::Collision { ike: false, won: !lost });
        }
        let until = ctx.linger();
        if lost {
            self.stand(new, ChildStanding::Doomed);
        } else {
            // What the peer has begun for the same purpose is not to be finished.
            if collided {
                self.drop_pending(ctx);
            }
            if let Some(rival) = rival {
                self.stand(rival, ChildStanding::Replaced { until });
            }
            if let Some(old) = replaces {
                self.stand(old, ChildStanding::Doomed);
            }
        }
    }

    /// Changes the standing of a child, unless its deletion has begun.
    fn stand(&mut self, id: ChildId, standing: ChildStanding) {
        if let Some(child) = self.child_mut(id)
            && child.is_usable()
        {
            child.standing = standing;
        }
    }

    /// The peer refused; what next depends on why, and on what else happened meanwhile.
    fn child_refused(&mut self, ctx: &mut Ctx, exchange: &ChildExchange, error: &Notify) {
        let is_live = |id| self.child(id).is_some_and(super::child::Child::is_live);
        if exchange.rekeys.is_some_and(|old| !is_live(old)) {
            // Replaced or deleted meanwhile: the refusal is the expected end of a collision.
            return;
        }
        match error.kind {
            NotifyType::TEMPORARY_FAILURE | NotifyType::STATE_NOT_FOUND => {
                let retry = temporary_retry(ctx);
                self.delay_child(ctx, exchange, Some(retry));
            }
            NotifyType::CHILD_SA_NOT_FOUND => {
                //= RFC 7296 §2.25.1: drop the old child silently, and create a new one if there is none.
                if let Some(old) = exchange.rekeys {
                    self.retire(ctx, old);
                    self.child_at = ctx.now;
                    self.child_wanted = true;
                }
            }
            _ => {
                let failure = exchange.offer.refusal(&ctx.config, error);
                self.delay_child(ctx, exchange, None);
                self.note_child_failure(ctx, failure);
            }
        }
    }

    /// Puts the next try off: to `at`, or by the time a refusal costs.
    fn delay_child(&mut self, ctx: &mut Ctx, exchange: &ChildExchange, at: Option<model::Instant>) {
        match exchange.rekeys {
            Some(old) => {
                let retry = at.unwrap_or_else(|| refused_retry(ctx));
                let Some(old) = self.child_mut(old) else { return };
                // A refused early rekey has told what it was for; the next try is the one that must succeed.
                let tested = at.is_none() && ctx.config.early_rekey.is_some() && old.rekeys == 0;
                let lifetime = ctx.config.child_lifetime;
                let usual = old.established + lifetime.rekey_after.saturating_sub(lifetime.jitter);
                old.rekey_at = if tested { retry.max(usual) } else { retry };
            }
            None => self.child_at = at.unwrap_or(ctx.now + ctx.config.reconnect.max),
        }
    }

    /// A child that we offered did not come to be; the peer may hold it when `accepted`.
    pub(crate) fn offer_failed(&mut self, ctx: &mut Ctx, spi_in: Spi, accepted: bool, failure: Failure) {
        if accepted {
            self.orphans.push(spi_in);
        } else {
            ctx.free_spi(spi_in);
        }
        self.child_at = self.child_at.max(ctx.now + ctx.config.reconnect.max);
        self.note_child_failure(ctx, failure);
    }

    fn note_child_failure(&mut self, ctx: &mut Ctx, failure: Failure) {
        ctx.failed(failure);
        if !self.has_usable_child() {
            self.child_failures += 1;
            if self.child_failures >= MAX_CHILD_FAILURES {
                self.close.get_or_insert(CloseReason::NoChild);
            }
        }
    }

    /// Answers the peer's CREATE_CHILD_SA for a child. `None`: INVALID_SYNTAX.
    pub(crate) fn on_create_child(&mut self, ctx: &mut Ctx, parts: &Parts) -> Option<Vec<Payload>> {
        let refuse = |kind| Some(vec![message::notify(kind, [])]);
        //= RFC 7296 §2.25.2: not while the IKE SA is being rekeyed or closed.
        let busy = matches!(self.requests.outstanding(), Some(Request::RekeyIke(_) | Request::DeleteIke(_)));
        if busy || self.close.is_some() || self.standing != Standing::Home {
            return refuse(NotifyType::TEMPORARY_FAILURE);
        }
        let mut replaces = None;
        if let Some(rekey) = parts.notify(NotifyType::REKEY_SA) {
            match self.find_rekeyed(rekey) {
                Ok(id) => replaces = Some(id),
                Err(kind) => return Some(vec![rekey_notify(kind, rekey.spi.clone())]),
            }
        }
        if !self.make_room(ctx) {
            return refuse(NotifyType::NO_ADDITIONAL_SAS);
        }
        let ni = parts.nonce.as_ref()?;
        match child::accept(&ctx.config, parts, true) {
            Ok(terms) => self.answer_child(ctx, parts, terms, ni, replaces),
            Err(Failure::ProtocolViolation { .. }) => None,
            Err(failure) => {
                let kind = failure.notify().unwrap_or(NotifyType::NO_PROPOSAL_CHOSEN);
                ctx.failed(failure);
                refuse(kind)
            }
        }
    }

    /// The child that REKEY_SA names, if it may be rekeyed now.
    fn find_rekeyed(&self, rekey: &Notify) -> Result<ChildId, NotifyType> {
        // CVE-2023-38710: any protocol and any SPI size must do no harm.
        let spi = <[u8; 4]>::try_from(rekey.spi.as_slice()).ok().map(u32::from_be_bytes).and_then(Spi::new);
        // What we do not know may be what the answer to our own request will tell us of.
        let unknown = match self.requests.outstanding() {
            Some(Request::CreateChild(_)) => NotifyType::TEMPORARY_FAILURE,
            _ => NotifyType::CHILD_SA_NOT_FOUND,
        };
        let child = spi
            .filter(|_| rekey.protocol == ProtocolId::ESP)
            .and_then(|spi| self.children.iter().find(|child| child.spi_out == spi))
            .ok_or(unknown)?;
        match child.standing {
            ChildStanding::Live => Ok(child.id),
            ChildStanding::Gone { .. } => Err(NotifyType::CHILD_SA_NOT_FOUND),
            //= RFC 7296 §2.25.1: a child that is being closed, or has a successor, cannot be rekeyed.
            ChildStanding::Replaced { .. } | ChildStanding::Doomed | ChildStanding::Deleting => {
                Err(NotifyType::TEMPORARY_FAILURE)
            }
        }
    }

    fn answer_child(
        &mut self,
        ctx: &mut Ctx,
        parts: &Parts,
        terms: ChildTerms,
        ni: &[u8],
        replaces: Option<ChildId>,
    ) -> Option<Vec<Payload>> {
        let (mut secrets, mut ours) = (Vec::new(), None);
        if let Some(group) = terms.choice.group {
            let Some(ke) = parts.ke.as_ref().filter(|ke| ke.group == group) else {
                return Some(vec![message::notify(NotifyType::INVALID_KE_PAYLOAD, group.0.to_be_bytes())]);
            };
            let (data, secret) = crypto::respond(group, &ke.data, &mut *ctx.rng).ok()?;
            secrets.push(secret);
            ours = Some(Payload::Ke(KeyExchange { group, data }));
        }
        let nr = ctx.nonce();
        let spi_in = ctx.child_spi();
        let [sa, ts_i, ts_r] = child::answer(&terms, spi_in);
        let mut payloads = vec![sa, Payload::Nonce(nr.clone())];
        payloads.extend(ours);
        payloads.extend([ts_i, ts_r]);
        if terms.choice.additional.is_empty() {
            self.child_made(ctx, Made { terms, spi_in, replaces, secrets, ni: ni.to_vec(), nr });
            return Some(payloads);
        }
        self.meet_rival(replaces, ni.min(nr.as_slice()).to_vec(), None);
        let purpose = Purpose::Child { terms, spi_in, replaces };
        payloads.push(self.begin_pending(ctx, purpose, secrets, (ni, &nr)));
        Some(payloads)
    }

    /// Our own exchange for the same purpose, if one is under way, now has a rival.
    fn meet_rival(&mut self, replaces: Option<ChildId>, lowest_nonce: Vec<u8>, child: Option<ChildId>) {
        if let Some(Request::CreateChild(exchange)) = self.requests.outstanding_mut()
            && exchange.rekeys == replaces
        {
            exchange.rival = Some(Rival { lowest_nonce, child });
        }
    }

    /// Installs what the peer's exchange has made, before its last answer is sent.
    pub(crate) fn child_made(&mut self, ctx: &mut Ctx, made: Made) {
        let Made { terms, spi_in, replaces, secrets, ni, nr } = made;
        let keys = self.child_keys(&terms.choice, &secrets, &ni, &nr);
        let old = replaces.and_then(|id| self.child(id));
        let rekeys = old.map_or(0, |old| old.rekeys + 1);
        // A rekey waits for the peer's proof; a peer that makes a new child has lost or left the old one.
        let activate = replaces.is_none();
        let new = NewChild { spi_in, terms, keys, by_us: false, activate, replaces, rekeys };
        let superseded: Vec<_> = match replaces {
            Some(old) => vec![old],
            None => self.children.iter().filter(|child| child.is_live()).map(|child| child.id).collect(),
        };
        let new = self.install(ctx, new);
        let until = ctx.linger();
        for old in superseded {
            self.stand(old, ChildStanding::Replaced { until });
        }
        self.meet_rival(replaces, ni.min(nr), Some(new));
    }
}

pub(crate) fn rekey_notify(kind: NotifyType, spi: Vec<u8>) -> Payload {
    Payload::Notify(Notify { protocol: ProtocolId::ESP, spi, kind, data: Vec::new() })
}
