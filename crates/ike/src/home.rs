//! Which IKE SA counts, where children belong, and which child carries outbound traffic.
//!
//! The one place that sees all IKE SAs of the endpoint: outcome of rekeys and their collisions (RFC 7296
//! §2.8.2: children move only to the winner), IKE SAs that both sides initiated at once, INITIAL_CONTACT
//! (§2.4), the end of an IKE SA.

use std::time::Duration;

use model::IkeSpi;

use crate::endpoint::{Endpoint, MAX_CONCLUDED};
use crate::output::{ChildId, CloseReason, Notice, Output};
use crate::sa::child::Child;
use crate::sa::established::{Established, Standing};
use crate::sa::state::Sa;
use crate::sa::{Ending, Event};
use crate::status::Role;

/// A second IKE SA that the peer should delete is left to it for this time.
const DUPLICATE_GRACE: Duration = Duration::from_secs(3);
/// Established IKE SAs: one at home, and those a rekey or a restart leaves for a while. Beyond, the oldest go.
const MAX_ESTABLISHED: usize = 8;

impl Endpoint {
    /// The IKE SA that counts.
    pub(crate) fn home(&self) -> Option<&Established> {
        self.established().find(|sa| sa.standing == Standing::Home)
    }

    /// The IKE SA that counts.
    pub(crate) fn home_mut(&mut self) -> Option<&mut Established> {
        self.established_mut().find(|sa| sa.standing == Standing::Home)
    }

    pub(crate) fn established_by(&mut self, spi: IkeSpi) -> Option<&mut Established> {
        match self.sas.get_mut(&spi) {
            Some(Sa::Established(sa)) => Some(sa),
            _ => None,
        }
    }

    /// Deals with what an established IKE SA reports.
    pub(crate) fn on_event(&mut self, spi: IkeSpi, event: Event) {
        match event {
            Event::Gone(ending) => self.remove(spi, ending),
            Event::RekeyedByPeer { new, undecided } => {
                let successor = new.spi_local();
                self.hold(Sa::Established(new));
                if !undecided {
                    self.move_home(spi, successor);
                }
            }
            Event::RekeyedByUs { new, rival } => {
                let successor = new.spi_local();
                self.hold(Sa::Established(new));
                // A rival that is gone already has lost, whatever the nonces say.
                let rival = rival.filter(|(rival, _)| self.established_by(*rival).is_some());
                let until = self.ctx.linger();
                if let Some((rival, lost)) = rival {
                    self.ctx.notice(Notice::Collision { ike: true, won: !lost });
                    if lost {
                        self.supersede(successor, until, true);
                        return self.move_home(spi, rival);
                    }
                    self.supersede(rival, until, false);
                }
                self.move_home(spi, successor);
                if let Some(old) = self.established_by(spi) {
                    old.close.get_or_insert(CloseReason::Replaced);
                }
            }
            Event::Moved { local, remote } => {
                for sa in self.sas.values_mut() {
                    if let Sa::Established(sa) = sa {
                        sa.relocate(&mut self.ctx, local, remote);
                    }
                }
            }
            Event::RekeyLeftToPeer { rival } => self.move_home(spi, rival),
        }
    }

    /// Takes an IKE SA out of the race; `delete` when its deletion is ours to begin.
    fn supersede(&mut self, spi: IkeSpi, until: model::Instant, delete: bool) {
        if let Some(sa) = self.established_by(spi) {
            sa.standing = Standing::Superseded { until };
            if delete {
                sa.close.get_or_insert(CloseReason::Replaced);
            }
        }
    }

    /// Moves children and standing from an IKE SA to its successor, if that still exists.
    fn move_home(&mut self, from: IkeSpi, to: IkeSpi) {
        if self.established_by(to).is_none() {
            return;
        }
        let until = self.ctx.linger();
        let Some(old) = self.established_by(from) else { return };
        let standing = std::mem::replace(&mut old.standing, Standing::Superseded { until });
        let children = std::mem::take(&mut old.children);
        let orphans = std::mem::take(&mut old.orphans);
        let close = old.close;
        self.settle_in(to, standing, children, orphans, close);
    }

    fn settle_in(
        &mut self,
        spi: IkeSpi,
        standing: Standing,
        children: Vec<Child>,
        orphans: Vec<model::Spi>,
        close: Option<CloseReason>,
    ) {
        let now = self.ctx.now;
        let Some(new) = self.established_by(spi) else { return };
        new.standing = standing;
        new.children.extend(children);
        new.orphans.extend(orphans);
        new.close = new.close.or(close);
        new.last_heard = new.last_heard.max(now);
        let (spi_i, spi_r) = (new.spi_i, new.spi_r);
        let (by_us, proposal) = (new.role == Role::Initiator, new.proposal());
        self.ctx.notice(Notice::IkeRekeyed { spi_i, spi_r, by_us, proposal });
    }

    /// Takes a freshly authenticated IKE SA in, and resolves what it finds (invariant 8).
    pub(crate) fn welcome(&mut self, mut new: Box<Established>, initial_contact: bool) {
        let spi = new.spi_local();
        let request = new.contact.as_mut().map(|contact| std::mem::take(&mut contact.request));
        if let Some(request) = request.filter(|request| !request.is_empty()) {
            self.concluded.truncate(MAX_CONCLUDED - 1);
            self.concluded.push_front(request);
        }
        let began = new.contact.as_ref().map_or(self.ctx.turn, |contact| contact.turn);
        self.hold(Sa::Established(new));
        self.reconnect.stop();
        // An attempt of which the peer has seen nothing authenticated is pointless now.
        self.sas.retain(|_, sa| !matches!(sa, Sa::Initiator(_)));
        let others: Vec<_> =
            self.established().map(Established::spi_local).filter(|other| *other != spi).collect();
        for other in others {
            let Some(sa) = self.established_by(other) else { continue };
            let crossed = sa.contact.is_some() && sa.turn > began;
            //= RFC 7296 §2.4: what the peer held before its first message, it holds no more.
            if initial_contact && !crossed {
                self.remove(other, Ending::ByUs(CloseReason::Replaced));
            } else if sa.standing == Standing::Home {
                self.resolve(other, spi, crossed);
            }
        }
        self.limit_established(spi);
    }

    /// Two IKE SAs at home: the lowest nonce loses if they crossed, otherwise the older one.
    fn resolve(&mut self, older: IkeSpi, newer: IkeSpi, crossed: bool) {
        let nonce = |sa: &Established| sa.contact.as_ref().map(|contact| contact.lowest_nonce.clone());
        let first = self.established_by(older).and_then(|sa| nonce(sa));
        let second = self.established_by(newer).and_then(|sa| nonce(sa));
        let loser = if crossed && first > second { newer } else { older };
        let until = self.ctx.now + DUPLICATE_GRACE;
        // Like a rekey collision: its creator deletes it, we only if that does not happen.
        let ours = crossed && self.established_by(loser).is_some_and(|sa| sa.role == Role::Initiator);
        self.ctx.notice(Notice::DuplicateIke { spi: loser });
        self.supersede(loser, until, ours);
        // Some peers drop one of the two on their own: find out whether the one that stays is still held there.
        if let Some(winner) = self.established_by(if loser == older { newer } else { older }) {
            winner.ask = true;
        }
    }

    fn limit_established(&mut self, keep: IkeSpi) {
        while self.established().count() > MAX_ESTABLISHED {
            let mut candidates: Vec<_> = self
                .established()
                .filter(|sa| sa.spi_local() != keep && sa.standing != Standing::Home)
                .map(|sa| (sa.established, sa.spi_local()))
                .collect();
            candidates.sort();
            let Some((_, spi)) = candidates.first() else { return };
            self.remove(*spi, Ending::ByUs(CloseReason::Replaced));
        }
    }

    /// Clears an IKE SA away.
    fn remove(&mut self, spi: IkeSpi, ending: Ending) {
        let Some(Sa::Established(mut sa)) = self.sas.remove(&spi) else { return };
        if let Some(request) = sa.requests.take() {
            sa.forget(&mut self.ctx, request);
        }
        sa.drop_pending(&mut self.ctx);
        let tentative = self
            .established()
            .find(|other| other.standing == Standing::Tentative { of: spi })
            .map(Established::spi_local);
        let children = std::mem::take(&mut sa.children);
        let orphans = std::mem::take(&mut sa.orphans);
        let (standing, close, lived) = (sa.standing, sa.close, self.ctx.now - sa.established);
        let rekeys = sa.rekeys;
        self.bury(spi, sa.responses.into_last());
        if let Some(rival) = tentative {
            // The peer's rekey of it succeeded, whatever became of ours: that one is home now.
            self.settle_in(rival, standing, children, orphans, close);
            if let Some(rival) = self.established_by(rival)
                && matches!(ending, Ending::Unreachable(_))
            {
                rival.ask = true;
            }
            return;
        }
        for child in children {
            self.ctx.free_spi(child.spi_in);
            self.ctx.outputs.push_back(Output::Retire { child: child.id });
        }
        for orphan in orphans {
            self.ctx.free_spi(orphan);
        }
        if standing != Standing::Home {
            return;
        }
        self.ctx.notice(match (ending, close) {
            // We wanted it gone: that the peer's DELETE crossed ours does not matter.
            (Ending::ByPeer, Some(reason)) | (Ending::ByUs(reason), _) => Notice::IkeClosed { reason },
            (Ending::ByPeer, None) => Notice::PeerDeletedIke,
            (Ending::Unreachable(stage), _) => Notice::PeerUnreachable { stage },
        });
        let lived = if rekeys > 0 { Duration::MAX } else { lived };
        if self.home().is_none() {
            self.lost_home(lived);
        }
    }

    /// The peer uses this child: outbound traffic may follow (RFC 7296 §2.8), unless it is undecided.
    pub(crate) fn prove(&mut self, id: ChildId) {
        let current = self.ctx.active.filter(|active| *active != id);
        let replaced = current.is_some_and(|active| {
            !self
                .established()
                .any(|sa| sa.standing == Standing::Home && sa.child(active).is_some_and(Child::is_live))
        });
        if replaced {
            self.activate(id);
        }
    }

    fn activate(&mut self, id: ChildId) {
        self.ctx.active = Some(id);
        self.ctx.outputs.push_back(Output::Activate { child: id });
    }

    /// Keeps outbound traffic on a child that both sides hold: one at home if there is one.
    pub(crate) fn choose_active(&mut self) {
        let mut best: Option<(bool, bool, bool, ChildId)> = None;
        for sa in self.established() {
            let home = sa.standing == Standing::Home;
            for child in sa.children.iter().filter(|child| child.is_usable()) {
                let current = self.ctx.active == Some(child.id);
                best = best.max(Some((home, current, child.is_live(), child.id)));
            }
        }
        match best {
            None => self.ctx.active = None,
            Some((_, true, _, _)) => {}
            Some((_, false, _, id)) => self.activate(id),
        }
    }
}
