//! CREATE_CHILD_SA for the IKE SA itself: its rekey from both sides, and when both do it at once.
//!
//! RFC 7296 §1.3.2, §2.8, §2.8.2 (collisions; children move to the winner only), §2.18 (keys), §2.25.2. Makes
//! the new IKE SA; where children go and which IKE SA counts is the endpoint's to decide, from the
//! [`Event`]s.

use model::{IkeSpi, Secret};

use super::create_child::{MAX_GROUP_ROUNDS, refused_retry, temporary_retry};
use super::established::{Birth, Established, Request, Standing};
use super::followup::{Further, Purpose, Step};
use super::{Ctx, Event};
use crate::crypto::{self, KeyInputs, KeyPair, Protection, Sender, Suite};
use crate::error::{Failure, Stage};
use crate::message::{self, Parts, wanted_group};
use crate::negotiate::{self, IkeChoice};
use crate::output::Notice;
use crate::status::Role;
use crate::wire::{DhGroup, KeyExchange, Notify, NotifyType, Payload, ProtocolId, SecurityAssociation};

/// Our request under way.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct IkeExchange {
    spi: IkeSpi,
    nonce: Vec<u8>,
    keypair: KeyPair,
    rounds: u8,
    /// The peer's rekey of the same IKE SA, which we answered meanwhile.
    rival: Option<Rival>,
    /// Agreed on, while further key exchanges are done (RFC 9370).
    further: Option<Box<Following>>,
}

impl IkeExchange {
    /// Whether IKE_FOLLOWUP_KE is the request under way.
    pub(crate) const fn follows_up(&self) -> bool {
        self.further.is_some()
    }
}

/// An IKE SA that further key exchanges are to complete.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
struct Following {
    further: Further,
    terms: Terms,
}

/// What the answer to our request agreed on.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
struct Terms {
    suite: Suite,
    additional: Vec<DhGroup>,
    spi_r: IkeSpi,
    nr: Vec<u8>,
}

/// An IKE SA that the peer's exchange has made.
pub(crate) struct Made {
    pub(crate) suite: Suite,
    pub(crate) additional: Vec<DhGroup>,
    pub(crate) spi_i: IkeSpi,
    pub(crate) spi_r: IkeSpi,
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
    /// Our SPI of the IKE SA it made.
    spi: IkeSpi,
}

/// The exchange that makes a new IKE SA, seen from our side.
struct Exchanged<'a> {
    role: Role,
    suite: Suite,
    additional: &'a [DhGroup],
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    ni: &'a [u8],
    nr: &'a [u8],
    secrets: &'a [Secret],
}

/// Whether a CREATE_CHILD_SA request is about the IKE SA.
pub(crate) fn is_ike_rekey(parts: &Parts) -> bool {
    parts.sa.as_ref().is_some_and(|sa| sa.proposals.iter().any(|p| p.protocol == ProtocolId::IKE))
}

impl Established {
    /// Sends CREATE_CHILD_SA for a rekey of this IKE SA.
    pub(crate) fn start_ike_rekey(&mut self, ctx: &mut Ctx) {
        let groups = negotiate::ike_groups(&ctx.config.ike_proposals);
        let known = Some(self.suite.group).filter(|group| groups.contains(group));
        match known.or(groups.first().copied()) {
            Some(group) => self.send_ike_rekey(ctx, group, 0, None),
            None => self.rekey_at = self.expires,
        }
    }

    fn send_ike_rekey(&mut self, ctx: &mut Ctx, group: DhGroup, rounds: u8, rival: Option<Rival>) {
        let Ok(keypair) = KeyPair::generate(group, &mut *ctx.rng) else {
            self.rekey_at = self.expires;
            return;
        };
        let exchange =
            IkeExchange { spi: ctx.ike_spi(), nonce: ctx.nonce(), keypair, rounds, rival, further: None };
        let payloads = [
            Payload::Sa(negotiate::ike_offer(&ctx.config.ike_proposals, Some(exchange.spi))),
            Payload::Nonce(exchange.nonce.clone()),
            Payload::Ke(KeyExchange { group, data: exchange.keypair.public().to_vec() }),
        ];
        self.request(ctx, &payloads, Request::RekeyIke(Box::new(exchange)));
    }

    /// Acts on the answer to our request.
    pub(crate) fn on_ike_rekeyed(
        &mut self,
        ctx: &mut Ctx,
        mut exchange: IkeExchange,
        parts: &Parts,
        events: &mut Vec<Event>,
    ) {
        if let Some(error) = parts.error() {
            return self.ike_rekey_refused(ctx, exchange, error, events);
        }
        let step = match exchange.further.take() {
            Some(following) => {
                let Following { further, terms } = *following;
                further.next(ctx, parts, Stage::IkeRekey).map(|step| (step, terms))
            }
            None => Self::conclude_ike_rekey(ctx, &exchange, parts),
        };
        let result = match step {
            Ok((Step::More(further), terms)) => {
                return self.follow_ike(ctx, exchange, Following { further, terms }, events);
            }
            Ok((Step::Done(secrets), terms)) => self.ike_agreed(ctx, &exchange, &terms, &secrets),
            Err(failure) => Err(failure),
        };
        match result {
            Ok((new, ours)) => {
                let rival = exchange.rival.map(|rival| (rival.spi, self.loses(&ours, &rival)));
                events.push(Event::RekeyedByUs { new: Box::new(new), rival });
            }
            Err(failure) => {
                // The peer holds an IKE SA that we cannot reach; it will time out there.
                ctx.failed(failure);
                self.rekey_at = refused_retry(ctx);
                self.leave_to(exchange.rival, events);
            }
        }
    }

    //= RFC 7296 §2.8.2: the lowest of the four nonces loses.
    fn loses(&self, ours: &[u8], rival: &Rival) -> bool {
        match ours.cmp(&rival.lowest_nonce) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => self.role == Role::Responder,
        }
    }

    /// Sends the next IKE_FOLLOWUP_KE, unless the exchange has lost a collision by now.
    fn follow_ike(
        &mut self,
        ctx: &mut Ctx,
        mut exchange: IkeExchange,
        following: Following,
        events: &mut Vec<Event>,
    ) {
        let ours = exchange.nonce.clone().min(following.terms.nr.clone());
        if let Some(rival) = &exchange.rival {
            //= RFC 9370 §2.2.4: who has lost sends no further key exchange; the half-made SA is just forgotten.
            if self.loses(&ours, rival) {
                ctx.notice(Notice::Collision { ike: true, won: false });
                return self.leave_to(exchange.rival, events);
            }
            // What the peer has begun is not to be finished.
            self.drop_pending(ctx);
        }
        let payloads = following.further.payloads();
        exchange.further = Some(Box::new(following));
        self.request(ctx, &payloads, Request::RekeyIke(Box::new(exchange)));
    }

    fn leave_to(&mut self, rival: Option<Rival>, events: &mut Vec<Event>) {
        if let Some(rival) = rival {
            events.push(Event::RekeyLeftToPeer { rival: rival.spi });
        }
    }

    fn ike_rekey_refused(
        &mut self,
        ctx: &mut Ctx,
        exchange: IkeExchange,
        error: &Notify,
        events: &mut Vec<Event>,
    ) {
        let wanted = wanted_group(error).filter(|_| error.kind == NotifyType::INVALID_KE_PAYLOAD);
        if let Some(group) = wanted
            && exchange.rounds < MAX_GROUP_ROUNDS
            && negotiate::ike_groups(&ctx.config.ike_proposals).contains(&group)
        {
            ctx.notice(Notice::GroupRequested { group: group.0 });
            return self.send_ike_rekey(ctx, group, exchange.rounds + 1, exchange.rival);
        }
        if exchange.rival.is_some() {
            self.rekey_at = temporary_retry(ctx);
            return self.leave_to(exchange.rival, events);
        }
        if matches!(error.kind, NotifyType::TEMPORARY_FAILURE | NotifyType::STATE_NOT_FOUND) {
            self.rekey_at = temporary_retry(ctx);
            return;
        }
        self.rekey_at = refused_retry(ctx);
        let offered = negotiate::describe(&negotiate::ike_offer(&ctx.config.ike_proposals, None));
        ctx.failed(Failure::from_notify(error, Stage::IkeRekey, &offered));
    }

    /// What the answer to CREATE_CHILD_SA agrees on, and what follows it.
    fn conclude_ike_rekey(
        ctx: &mut Ctx,
        exchange: &IkeExchange,
        parts: &Parts,
    ) -> Result<(Step, Terms), Failure> {
        let violation = |what| Failure::ProtocolViolation { stage: Stage::IkeRekey, what };
        let (Some(sa), Some(ke), Some(nr)) = (&parts.sa, &parts.ke, &parts.nonce) else {
            return Err(violation("SA, KE or nonce is missing"));
        };
        let choice = negotiate::confirm_ike(&ctx.config.ike_proposals, sa)
            .ok_or(violation("the chosen algorithms were not offered"))?;
        let spi_r = choice.spi.filter(|spi| *spi != IkeSpi::ZERO).ok_or(violation("no responder SPI"))?;
        if ke.group != choice.suite.group || ke.group != exchange.keypair.group() {
            return Err(violation("the key exchange does not fit the chosen group"));
        }
        let shared = exchange
            .keypair
            .agree(&ke.data)
            .map_err(|_| violation("the public value is not one of the group"))?;
        let additional = choice.additional;
        let step = if additional.is_empty() {
            Step::Done(vec![shared])
        } else {
            Step::More(Further::begin(ctx, &additional, vec![shared], parts, Stage::IkeRekey)?)
        };
        Ok((step, Terms { suite: choice.suite, additional, spi_r, nr: nr.clone() }))
    }

    /// The new IKE SA and the lower nonce of our exchange.
    fn ike_agreed(
        &self,
        ctx: &mut Ctx,
        exchange: &IkeExchange,
        terms: &Terms,
        secrets: &[Secret],
    ) -> Result<(Self, Vec<u8>), Failure> {
        let exchanged = Exchanged {
            role: Role::Initiator,
            suite: terms.suite,
            additional: &terms.additional,
            spi_i: exchange.spi,
            spi_r: terms.spi_r,
            ni: &exchange.nonce,
            nr: &terms.nr,
            secrets,
        };
        let (stage, what) = (Stage::IkeRekey, "the chosen algorithms do not go together");
        let new = self.successor(ctx, &exchanged, Standing::Home);
        let new = new.ok_or(Failure::ProtocolViolation { stage, what })?;
        Ok((new, exchange.nonce.clone().min(terms.nr.clone())))
    }

    /// Answers the peer's rekey of this IKE SA. `None`: INVALID_SYNTAX.
    pub(crate) fn on_ike_rekey(
        &mut self,
        ctx: &mut Ctx,
        parts: &Parts,
        events: &mut Vec<Event>,
    ) -> Option<Vec<Payload>> {
        let refuse = |kind| Some(vec![message::notify(kind, [])]);
        //= RFC 7296 §2.25.2: not while it is being closed, nor while a child is created, rekeyed or closed.
        let busy = match self.requests.outstanding() {
            Some(Request::CreateChild(_) | Request::DeleteChildren(_) | Request::DeleteIke(_)) => true,
            Some(Request::RekeyIke(exchange)) => exchange.rival.is_some(),
            Some(Request::Liveness) | None => false,
        };
        if busy || self.close.is_some() || self.standing != Standing::Home {
            return refuse(NotifyType::TEMPORARY_FAILURE);
        }
        let (sa, ke, ni) = (parts.sa.as_ref()?, parts.ke.as_ref()?, parts.nonce.as_ref()?);
        let config = &ctx.config;
        let chosen = negotiate::choose_ike(config.selection, &config.ike_proposals, sa, Some(ke.group));
        let Some(IkeChoice { suite, additional, spi, mut accepted }) = chosen else {
            let offered = negotiate::describe(sa);
            ctx.failed(Failure::NoProposalChosen { stage: Stage::IkeRekey, offered, by_peer: false });
            return refuse(NotifyType::NO_PROPOSAL_CHOSEN);
        };
        let spi_i = spi.filter(|spi| *spi != IkeSpi::ZERO)?;
        if suite.group != ke.group {
            let wanted = suite.group.0.to_be_bytes();
            return Some(vec![message::notify(NotifyType::INVALID_KE_PAYLOAD, wanted)]);
        }
        let (data, shared) = crypto::respond(suite.group, &ke.data, &mut *ctx.rng).ok()?;
        let (spi_r, nr) = (ctx.ike_spi(), ctx.nonce());
        accepted.spi = spi_r.to_bytes().to_vec();
        let mut payloads = vec![
            Payload::Sa(SecurityAssociation { proposals: vec![accepted] }),
            Payload::Nonce(nr.clone()),
            Payload::Ke(KeyExchange { group: suite.group, data }),
        ];
        let lowest_nonce = ni.clone().min(nr.clone());
        if additional.is_empty() {
            let (ni, secrets) = (ni.clone(), vec![shared]);
            self.ike_made(ctx, Made { suite, additional, spi_i, spi_r, secrets, ni, nr }, events)?;
        } else {
            let purpose = Purpose::Ike { suite, additional, spi_i, spi_r };
            payloads.push(self.begin_pending(ctx, purpose, vec![shared], (ni, &nr)));
        }
        if let Some(Request::RekeyIke(exchange)) = self.requests.outstanding_mut() {
            exchange.rival = Some(Rival { lowest_nonce, spi: spi_r });
        }
        Some(payloads)
    }

    /// The peer's rekey is complete; `None`: its algorithms do not go together.
    pub(crate) fn ike_made(&mut self, ctx: &mut Ctx, made: Made, events: &mut Vec<Event>) -> Option<()> {
        let exchanged = Exchanged {
            role: Role::Responder,
            suite: made.suite,
            additional: &made.additional,
            spi_i: made.spi_i,
            spi_r: made.spi_r,
            ni: &made.ni,
            nr: &made.nr,
            secrets: &made.secrets,
        };
        let undecided = matches!(self.requests.outstanding(), Some(Request::RekeyIke(_)));
        let standing = if undecided { Standing::Tentative { of: self.spi_local() } } else { Standing::Home };
        let new = self.successor(ctx, &exchanged, standing)?;
        events.push(Event::RekeyedByPeer { new: Box::new(new), undecided });
        Some(())
    }

    /// An IKE SA with keys from this one (RFC 7296 §2.18: old SK_d with the *old* PRF).
    fn successor(&self, ctx: &mut Ctx, exchanged: &Exchanged<'_>, standing: Standing) -> Option<Self> {
        let Exchanged { role, suite, additional, spi_i, spi_r, ni, nr, secrets } = *exchanged;
        let (shared, more) = secrets.split_first()?;
        let inputs = KeyInputs { ni, nr, shared, spi_i, spi_r };
        let keys = crypto::derive_multiple_sa_keys((self.suite.prf, &self.sk_d), &suite, &inputs, more);
        ctx.expose((spi_i, spi_r), suite, &keys);
        let (ours, theirs) = match role {
            Role::Initiator => (Sender::Initiator, Sender::Responder),
            Role::Responder => (Sender::Responder, Sender::Initiator),
        };
        let birth = Birth {
            spi_i,
            spi_r,
            role,
            suite,
            additional: additional.to_vec(),
            sk_d: keys.sk_d.clone(),
            seal: Protection::new(&suite, &keys, ours).ok()?,
            open: Protection::new(&suite, &keys, theirs).ok()?,
            path: self.path,
            standing,
            rekeys: self.rekeys + 1,
            //= RFC 7296 §2.2: message IDs of the new IKE SA begin at zero, in both directions.
            next: (0, 0),
            contact: None,
            fragmentation: self.fragmentation(),
            //= RFC 8784 §3: not mixed in again; it came with SK_d.
            ppk: self.ppk,
        };
        let mut new = Self::born(ctx, birth);
        new.close = self.close;
        new.child_at = self.child_at;
        new.child_failures = self.child_failures;
        new.child_wanted = self.child_wanted;
        Some(new)
    }
}
