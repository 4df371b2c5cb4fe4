//! Child SAs: what is offered, what is agreed, what is kept of one, and its installation.
//!
//! Keys leave with [`Output::Install`] and are not kept. RFC 7296 §1.2 and §1.3 (exchanges), §2.9 (traffic
//! selectors), §2.17 (keys). Collisions are in [`super::create_child`].

use model::{EspSuite, Instant, Spi, TrafficSelector};

use super::Ctx;
use super::established::Established;
use crate::config::Config;
use crate::crypto::ChildKeys;
use crate::error::{Failure, Stage};
use crate::message::Parts;
use crate::negotiate::{self, EspChoice};
use crate::output::{ChildId, ChildSa, Notice, Output};
use crate::wire::{DhGroup, Payload, SecurityAssociation};

/// Child SAs of one IKE SA, retiring ones included. At the limit the oldest retiring one goes early; only when
/// there is none a further child is refused with NO_ADDITIONAL_SAS. Below what the data plane holds (8), for
/// two IKE SAs may stand side by side for a while.
pub(crate) const MAX_CHILDREN: usize = 6;

/// What is kept of an installed child.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) id: ChildId,
    pub(crate) spi_in: Spi,
    pub(crate) spi_out: Spi,
    pub(crate) suite: EspSuite,
    pub(crate) group: Option<DhGroup>,
    /// Its additional key exchanges (RFC 9370).
    pub(crate) additional: Vec<DhGroup>,
    pub(crate) established: Instant,
    pub(crate) rekey_at: Instant,
    pub(crate) expires: Instant,
    pub(crate) rekeys: u64,
    pub(crate) standing: ChildStanding,
    /// The peer is known to hold it: it got our answer. Until then it cannot be rekeyed, for the peer would not
    /// find it (RFC 7296 §2.25.1) and both would drop what they have.
    pub(crate) confirmed: bool,
}

/// Where a child stands; see `docs/ike-states.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChildStanding {
    /// Both sides hold it and nothing replaces it.
    Live,
    /// Its successor exists; the peer deletes it, and we do at `until`.
    Replaced { until: Instant },
    /// We delete it as soon as the window is free.
    Doomed,
    /// Our DELETE is under way.
    Deleting,
    /// Deleted; removed at `retire_at`.
    Gone { retire_at: Instant },
}

impl Child {
    /// Whether both sides hold it, so that traffic may use it.
    pub(crate) const fn is_usable(&self) -> bool {
        matches!(self.standing, ChildStanding::Live | ChildStanding::Replaced { .. })
    }

    /// Whether its deletion by us is under way or about to be.
    pub(crate) const fn is_closing(&self) -> bool {
        matches!(self.standing, ChildStanding::Doomed | ChildStanding::Deleting)
    }

    /// Whether it is the one that counts.
    pub(crate) fn is_live(&self) -> bool {
        self.standing == ChildStanding::Live
    }

    /// What [`crate::Endpoint::state_digest`] sees.
    pub(crate) fn digest(&self, out: &mut Vec<u64>) {
        let (standing, at) = match self.standing {
            ChildStanding::Live => (0, 0),
            ChildStanding::Replaced { until } => (1, until.as_nanos()),
            ChildStanding::Doomed => (2, 0),
            ChildStanding::Deleting => (3, 0),
            ChildStanding::Gone { retire_at } => (4, retire_at.as_nanos()),
        };
        out.extend([self.id.0, self.spi_in.get().into(), self.spi_out.get().into(), standing, at]);
        out.extend([self.rekey_at.as_nanos(), self.expires.as_nanos(), self.rekeys]);
        out.push(u64::from(self.confirmed));
    }
}

/// A child offered by us: its inbound SPI is reserved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildOffer {
    pub(crate) spi_in: Spi,
    /// CREATE_CHILD_SA offers groups, IKE_AUTH does not.
    pub(crate) with_groups: bool,
}

/// What both sides agreed on for a child.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct ChildTerms {
    pub(crate) choice: EspChoice,
    pub(crate) ts_local: Vec<TrafficSelector>,
    pub(crate) ts_remote: Vec<TrafficSelector>,
}

/// A child ready to be installed.
#[derive(Debug)]
#[cfg_attr(feature = "fork", derive(Clone))]
pub(crate) struct NewChild {
    pub(crate) spi_in: Spi,
    pub(crate) terms: ChildTerms,
    pub(crate) keys: ChildKeys,
    /// We started the exchange that made it.
    pub(crate) by_us: bool,
    pub(crate) activate: bool,
    pub(crate) replaces: Option<ChildId>,
    pub(crate) rekeys: u64,
}

impl ChildOffer {
    /// The SA payload.
    pub(crate) fn sa(&self, config: &Config) -> SecurityAssociation {
        negotiate::esp_offer(&config.esp_proposals, self.spi_in, self.with_groups)
    }

    /// SA and traffic selectors, as initiator of the exchange.
    pub(crate) fn payloads(&self, config: &Config) -> [Payload; 3] {
        [
            Payload::Sa(self.sa(config)),
            Payload::TsI(config.ts_local.clone()),
            Payload::TsR(config.ts_remote.clone()),
        ]
    }

    /// What the responder agreed to.
    pub(crate) fn terms(&self, config: &Config, parts: &Parts) -> Result<ChildTerms, Failure> {
        if let Some(error) = parts.error() {
            return Err(self.refusal(config, error));
        }
        let violation = |what| Failure::ProtocolViolation { stage: Stage::Child, what };
        let (Some(sa), Some(ts_i), Some(ts_r)) = (&parts.sa, &parts.ts_i, &parts.ts_r) else {
            return Err(violation("SA or traffic selectors are missing"));
        };
        let choice = negotiate::confirm_esp(&config.esp_proposals, sa, self.with_groups)
            .ok_or(violation("the chosen algorithms were not offered"))?;
        //= RFC 7296 §2.9: the answer is a subset of what was offered.
        if !negotiate::within(ts_i, &config.ts_local) || !negotiate::within(ts_r, &config.ts_remote) {
            return Err(violation("the chosen traffic selectors were not offered"));
        }
        Ok(ChildTerms { choice, ts_local: bounded(ts_i), ts_remote: bounded(ts_r) })
    }

    /// The failure behind an error notification about this offer.
    pub(crate) fn refusal(&self, config: &Config, error: &crate::wire::Notify) -> Failure {
        let selectors = || {
            let local = negotiate::describe_selectors(&config.ts_local);
            format!("{local} to {}", negotiate::describe_selectors(&config.ts_remote))
        };
        let offered = match error.kind {
            crate::wire::NotifyType::TS_UNACCEPTABLE => selectors(),
            _ => negotiate::describe(&self.sa(config)),
        };
        Failure::from_notify(error, Stage::Child, &offered)
    }

    /// The first child, from the IKE_AUTH response (RFC 7296 §2.17: the nonces are those of IKE_SA_INIT).
    pub(crate) fn conclude_first(
        self,
        ctx: &Ctx,
        sa: &Established,
        parts: &Parts,
        ni: &[u8],
        nr: &[u8],
    ) -> Result<NewChild, Failure> {
        let terms = self.terms(&ctx.config, parts)?;
        let keys = sa.child_keys(&terms.choice, &[], ni, nr);
        let spi_in = self.spi_in;
        Ok(NewChild { spi_in, terms, keys, by_us: true, activate: true, replaces: None, rekeys: 0 })
    }
}

/// What we agree to of the peer's offer, or the failure and the notification that says so.
pub(crate) fn accept(config: &Config, parts: &Parts, with_groups: bool) -> Result<ChildTerms, Failure> {
    let violation =
        Failure::ProtocolViolation { stage: Stage::Child, what: "SA or traffic selectors are missing" };
    let (Some(sa), Some(ts_i), Some(ts_r)) = (&parts.sa, &parts.ts_i, &parts.ts_r) else {
        return Err(violation);
    };
    let guessed = parts.ke.as_ref().map(|ke| ke.group);
    let ours = &config.esp_proposals;
    let choice =
        negotiate::choose_esp(config.selection, ours, sa, with_groups, guessed).ok_or_else(|| {
            let offered = negotiate::describe(sa);
            Failure::NoProposalChosen { stage: Stage::Child, offered, by_peer: false }
        })?;
    let ts_remote = negotiate::narrow(ts_i, &config.ts_remote);
    let ts_local = negotiate::narrow(ts_r, &config.ts_local);
    if ts_local.is_empty() || ts_remote.is_empty() {
        let (i, r) = (negotiate::describe_selectors(ts_i), negotiate::describe_selectors(ts_r));
        return Err(Failure::TsUnacceptable { offered: format!("{i} to {r}"), by_peer: false });
    }
    Ok(ChildTerms { choice, ts_local, ts_remote })
}

/// SA and traffic selectors of our answer, as responder of the exchange.
pub(crate) fn answer(terms: &ChildTerms, spi_in: Spi) -> [Payload; 3] {
    let mut proposal = terms.choice.accepted.clone();
    proposal.spi = spi_in.get().to_be_bytes().to_vec();
    [
        Payload::Sa(SecurityAssociation { proposals: vec![proposal] }),
        Payload::TsI(terms.ts_remote.clone()),
        Payload::TsR(terms.ts_local.clone()),
    ]
}

fn bounded(selectors: &[TrafficSelector]) -> Vec<TrafficSelector> {
    selectors.iter().take(negotiate::MAX_NARROWED).copied().collect()
}

impl Established {
    /// Installs a child and keeps what is needed of it.
    pub(crate) fn install(&mut self, ctx: &mut Ctx, new: NewChild) -> ChildId {
        let id = ctx.child_id();
        let NewChild { spi_in, terms, keys, by_us, activate, replaces, rekeys } = new;
        let ChildTerms { choice, ts_local, ts_remote } = terms;
        let (keys_out, keys_in) =
            if by_us { (keys.initiator, keys.responder) } else { (keys.responder, keys.initiator) };
        let (mut rekey_at, expires) = ctx.schedule(ctx.config.child_lifetime);
        if let Some(early) = ctx.config.early_rekey.filter(|_| choice.group.is_none() && rekeys == 0) {
            let jitter = ctx.random(early.jitter);
            rekey_at = rekey_at.min(ctx.now + early.after + jitter);
        }
        self.children.push(Child {
            id,
            spi_in,
            spi_out: choice.spi,
            suite: choice.suite,
            group: choice.group,
            additional: choice.additional.clone(),
            established: ctx.now,
            rekey_at,
            expires,
            rekeys,
            standing: ChildStanding::Live,
            confirmed: by_us,
        });
        self.child_failures = 0;
        self.child_wanted = false;
        if activate {
            ctx.active = Some(id);
        }
        let (spi_out, proposal) = (choice.spi, choice.text());
        ctx.outputs.push_back(Output::Install(Box::new(ChildSa {
            id,
            spi_in,
            spi_out,
            suite: choice.suite,
            keys_in,
            keys_out,
            ts_local,
            ts_remote,
            local: self.path.local,
            remote: self.path.remote,
            encapsulation: self.path.encapsulation(),
            activate_outbound: activate,
            replaces,
            pfs_group: choice.group.map(|group| group.0),
        })));
        ctx.notice(match replaces {
            Some(old) => Notice::ChildRekeyed { old, new: id, spi_in, spi_out, by_us, proposal },
            None => Notice::ChildEstablished { child: id, spi_in, spi_out, proposal },
        });
        id
    }

    /// Makes room for one more child; `false` when every one held is still in use.
    pub(crate) fn make_room(&mut self, ctx: &mut Ctx) -> bool {
        while self.children.len() >= MAX_CHILDREN {
            let gone = |child: &&Child| matches!(child.standing, ChildStanding::Gone { .. });
            // Children are kept in the order of their installation.
            let Some(id) = self.children.iter().find(gone).map(|child| child.id) else { return false };
            self.retire(ctx, id);
        }
        true
    }

    /// Removes a child at once.
    pub(crate) fn retire(&mut self, ctx: &mut Ctx, id: ChildId) {
        if let Some(index) = self.children.iter().position(|child| child.id == id) {
            let child = self.children.remove(index);
            ctx.free_spi(child.spi_in);
            ctx.outputs.push_back(Output::Retire { child: id });
        }
    }

    /// Removes all children at once.
    pub(crate) fn retire_all(&mut self, ctx: &mut Ctx) {
        let ids: Vec<_> = self.children.iter().map(|child| child.id).collect();
        for id in ids {
            self.retire(ctx, id);
        }
    }

    pub(crate) fn child(&self, id: ChildId) -> Option<&Child> {
        self.children.iter().find(|child| child.id == id)
    }

    pub(crate) fn child_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// Whether a child is held by both sides.
    pub(crate) fn has_usable_child(&self) -> bool {
        self.children.iter().any(Child::is_usable)
    }
}
