//! IKE_FOLLOWUP_KE: the further key exchanges of a CREATE_CHILD_SA exchange, from both sides (RFC 9370 §2.2.4).
//!
//! Nothing is installed before the last of them. As initiator an exchange carries its [`Further`] along and stays
//! our one request under way; as responder an IKE SA holds at most one [`Pending`]. A collision is decided by the
//! nonces of CREATE_CHILD_SA: whoever lost just stops, and the other side's half-made SA times out.

use model::{IkeSpi, Instant, Secret, Spi};

use super::child::ChildTerms;
use super::create_child::{Made, rekey_notify};
use super::established::{Established, Request, Standing};
use super::{Ctx, Event};
use crate::crypto::{self, KeyPair, Suite};
use crate::error::{Failure, Stage};
use crate::message::{self, Parts};
use crate::output::ChildId;
use crate::wire::{DhGroup, KeyExchange, NotifyType, Payload};

/// Octets of the data that tie a follow-up to its exchange.
const LINK_LEN: usize = 8;

/// As initiator: the key exchanges that are still to be done, and the secrets of those that are.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Further {
    keypair: KeyPair,
    left: Vec<DhGroup>,
    link: Vec<u8>,
    pub(crate) secrets: Vec<Secret>,
}

impl Further {
    /// Begins with what the answer to CREATE_CHILD_SA says.
    pub(crate) fn begin(
        ctx: &mut Ctx,
        methods: &[DhGroup],
        first: Vec<Secret>,
        parts: &Parts,
        stage: Stage,
    ) -> Result<Self, Failure> {
        let what = "ADDITIONAL_KEY_EXCHANGE is missing";
        let link = parts.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE);
        let link = link.ok_or(Failure::ProtocolViolation { stage, what })?.data.clone();
        let unusable = Failure::Unusable("an additional key exchange");
        let (method, left) = methods.split_first().ok_or(unusable.clone())?;
        let keypair = KeyPair::generate(*method, &mut *ctx.rng).map_err(|_| unusable)?;
        Ok(Self { keypair, left: left.to_vec(), link, secrets: first })
    }

    /// The next IKE_FOLLOWUP_KE request.
    pub(crate) fn payloads(&self) -> [Payload; 2] {
        let (group, data) = (self.keypair.group(), self.keypair.public().to_vec());
        [
            Payload::Ke(KeyExchange { group, data }),
            message::notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, self.link.clone()),
        ]
    }

    /// Takes an answer; the next step, or nothing when that was the last one: then `secrets` are complete.
    pub(crate) fn next(mut self, ctx: &mut Ctx, parts: &Parts, stage: Stage) -> Result<Step, Failure> {
        let violation = |what| Failure::ProtocolViolation { stage, what };
        let ke = parts.ke.as_ref().filter(|ke| ke.group == self.keypair.group());
        let ke = ke.ok_or(violation("the key exchange is missing or of another method"))?;
        let secret = self.keypair.agree(&ke.data);
        self.secrets.push(secret.map_err(|_| violation("the public value is not one of the method"))?);
        if self.left.is_empty() {
            return Ok(Step::Done(self.secrets));
        }
        let left = std::mem::take(&mut self.left);
        Self::begin(ctx, &left, self.secrets, parts, stage).map(Step::More)
    }
}

/// What follows an answer to IKE_FOLLOWUP_KE.
pub(crate) enum Step {
    /// One more.
    More(Further),
    /// The secrets of all key exchanges, in their order.
    Done(Vec<Secret>),
}

/// As responder: an SA that is made when its last key exchange is done.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct Pending {
    link: Vec<u8>,
    left: Vec<DhGroup>,
    secrets: Vec<Secret>,
    ni: Vec<u8>,
    nr: Vec<u8>,
    purpose: Purpose,
    until: Instant,
}

/// What a [`Pending`] exchange is to make.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) enum Purpose {
    Child { terms: ChildTerms, spi_in: Spi, replaces: Option<ChildId> },
    Ike { suite: Suite, additional: Vec<DhGroup>, spi_i: IkeSpi, spi_r: IkeSpi },
}

impl Purpose {
    fn methods(&self) -> &[DhGroup] {
        match self {
            Self::Child { terms, .. } => &terms.choice.additional,
            Self::Ike { additional, .. } => additional,
        }
    }
}

impl Established {
    /// Keeps an exchange whose further key exchanges are to follow; gives the notification that says so.
    pub(crate) fn begin_pending(
        &mut self,
        ctx: &mut Ctx,
        purpose: Purpose,
        secrets: Vec<Secret>,
        (ni, nr): (&[u8], &[u8]),
    ) -> Payload {
        let mut link = vec![0; LINK_LEN];
        ctx.rng.fill(&mut link);
        let left = purpose.methods().to_vec();
        let notify = message::notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, link.clone());
        let (ni, nr, until) = (ni.to_vec(), nr.to_vec(), ctx.linger());
        self.drop_pending(ctx);
        self.pending = Some(Box::new(Pending { link, left, secrets, ni, nr, purpose, until }));
        notify
    }

    /// Forgets what the peer has not finished.
    pub(crate) fn drop_pending(&mut self, ctx: &mut Ctx) {
        if let Some(pending) = self.pending.take()
            && let Purpose::Child { spi_in, .. } = pending.purpose
        {
            ctx.free_spi(spi_in);
        }
    }

    /// When the peer must have gone on.
    pub(crate) fn pending_until(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.until)
    }

    /// Whether the peer is about to replace this IKE SA.
    pub(crate) fn is_ike_pending(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| matches!(pending.purpose, Purpose::Ike { .. }))
    }

    /// Answers IKE_FOLLOWUP_KE. `None`: INVALID_SYNTAX.
    pub(crate) fn on_followup(
        &mut self,
        ctx: &mut Ctx,
        parts: &Parts,
        events: &mut Vec<Event>,
    ) -> Option<Vec<Payload>> {
        let link = &parts.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE)?.data;
        //= RFC 9370 §2.2.4: a follow-up of an exchange that is not, or no longer, known: STATE_NOT_FOUND.
        if self.pending.as_ref().is_none_or(|pending| pending.link != *link) {
            return Some(vec![message::notify(NotifyType::STATE_NOT_FOUND, [])]);
        }
        if let Some(refusal) = self.cannot_follow() {
            self.drop_pending(ctx);
            return Some(vec![refusal]);
        }
        let until = ctx.linger();
        let pending = self.pending.as_mut()?;
        let method = *pending.left.first()?;
        let ke = parts.ke.as_ref().filter(|ke| ke.group == method)?;
        let (data, secret) = crypto::respond(method, &ke.data, &mut *ctx.rng).ok()?;
        pending.secrets.push(secret);
        pending.left.remove(0);
        pending.until = until;
        let mut payloads = vec![Payload::Ke(KeyExchange { group: method, data })];
        if pending.left.is_empty() {
            let pending = *self.pending.take()?;
            self.complete(ctx, pending, events)?;
        } else {
            payloads.push(message::notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, link.clone()));
        }
        Some(payloads)
    }

    /// Why a pending exchange cannot go on: what was true when it began may have changed (RFC 7296 §2.25).
    fn cannot_follow(&mut self) -> Option<Payload> {
        let closing = matches!(self.requests.outstanding(), Some(Request::DeleteIke(_)));
        if closing || self.close.is_some() || self.standing != Standing::Home {
            return Some(message::notify(NotifyType::TEMPORARY_FAILURE, []));
        }
        let Purpose::Child { replaces: Some(old), terms, .. } = &self.pending.as_ref()?.purpose else {
            return None;
        };
        match self.child(*old) {
            Some(child) if child.is_live() => None,
            Some(child) if child.is_usable() || child.is_closing() => {
                Some(message::notify(NotifyType::TEMPORARY_FAILURE, []))
            }
            _ => Some(rekey_notify(
                NotifyType::CHILD_SA_NOT_FOUND,
                terms.choice.spi.get().to_be_bytes().to_vec(),
            )),
        }
    }

    fn complete(&mut self, ctx: &mut Ctx, pending: Pending, events: &mut Vec<Event>) -> Option<()> {
        let Pending { secrets, ni, nr, purpose, .. } = pending;
        match purpose {
            Purpose::Child { terms, spi_in, replaces } => {
                self.make_room(ctx);
                self.child_made(ctx, Made { terms, spi_in, replaces, secrets, ni, nr });
                Some(())
            }
            Purpose::Ike { suite, additional, spi_i, spi_r } => {
                let made = super::rekey::Made { suite, additional, spi_i, spi_r, secrets, ni, nr };
                self.ike_made(ctx, made, events)
            }
        }
    }
}
