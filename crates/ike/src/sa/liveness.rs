//! The clock of an established IKE SA: repetitions, liveness, keepalives, lifetimes, wants.
//!
//! Death comes only from a protected request that stays unanswered (RFC 7296 §2.4); anything authenticated
//! that is heard, ESP included, puts the question off. Hints in the clear lead to a question at most.

use model::Instant;

use super::child::{Child, ChildStanding};
use super::established::{Established, Request, Standing};
use super::{Ctx, Ending, Event};
use crate::config::Startup;
use crate::output::{CloseReason, Output, Transmit};
use crate::timer::Timer;
use crate::window::{MESSAGE_ID_REKEY, Tick};

impl Established {
    /// Lets time pass.
    pub(crate) fn tick(&mut self, ctx: &mut Ctx, events: &mut Vec<Event>) {
        match self.requests.tick(ctx.now, &ctx.config.retransmit, Some(self.last_heard)) {
            Tick::Wait => {}
            Tick::Repeat { n } => self.ask_again(ctx, n),
            Tick::Exhausted => {
                let Some(request) = self.requests.take() else { return };
                let ending = match (&request, self.standing) {
                    (Request::DeleteIke(reason), _) => Ending::ByUs(*reason),
                    (_, Standing::Superseded { .. }) => Ending::ByUs(CloseReason::Replaced),
                    _ => Ending::Unreachable(request.stage()),
                };
                self.forget(ctx, request);
                return events.push(Event::Gone(ending));
            }
        }
        self.partial_request.tick(ctx.now);
        self.partial_response.tick(ctx.now);
        if self.pending_until().is_some_and(|until| until <= ctx.now) {
            self.drop_pending(ctx);
        }
        self.age(ctx);
        self.age_children(ctx);
        self.keep_alive(ctx);
        self.pump(ctx);
    }

    fn age(&mut self, ctx: &mut Ctx) {
        if self.expires <= ctx.now && self.close.is_none() {
            self.close = Some(CloseReason::Expired);
            self.retire_all(ctx);
        }
        if let Standing::Superseded { until } = self.standing
            && until <= ctx.now
        {
            self.close.get_or_insert(CloseReason::Replaced);
        }
        if self.requests.next_id().max(self.responses.expected()) >= MESSAGE_ID_REKEY {
            self.rekey_at = self.rekey_at.min(ctx.now);
        }
        if self.standing == Standing::Home && self.last_heard + ctx.config.liveness.idle <= ctx.now {
            self.ask = true;
        }
    }

    fn age_children(&mut self, ctx: &mut Ctx) {
        let mut retired = Vec::new();
        for child in &mut self.children {
            let expired = child.expires <= ctx.now;
            match child.standing {
                ChildStanding::Gone { retire_at } if retire_at <= ctx.now => retired.push(child.id),
                // Case 24: its successor is there; whether the peer's DELETE still comes does not matter.
                ChildStanding::Replaced { .. } if expired => retired.push(child.id),
                ChildStanding::Replaced { until } if until <= ctx.now => {
                    child.standing = ChildStanding::Doomed;
                }
                ChildStanding::Live if expired => {
                    child.standing = ChildStanding::Doomed;
                    self.child_at = ctx.now;
                }
                _ => {}
            }
        }
        for id in retired {
            self.retire(ctx, id);
        }
    }

    fn keepalive_at(&self, ctx: &Ctx) -> Option<Instant> {
        let home = self.standing == Standing::Home && self.path.nat_local;
        home.then(|| self.last_sent + ctx.config.liveness.nat_keepalive)
    }

    //= RFC 3948 §2.3: one octet 0xFF, without the non-ESP marker, and nobody answers it.
    fn keep_alive(&mut self, ctx: &mut Ctx) {
        if self.keepalive_at(ctx).is_some_and(|at| at <= ctx.now) {
            self.last_sent = ctx.now;
            let (local, remote) = (self.path.local, self.path.remote);
            let keepalive = Transmit { local, remote, non_esp_marker: false, payload: vec![0xff] };
            ctx.outputs.push_back(Output::Send(keepalive));
        }
    }

    /// An unauthenticated hint that something is wrong: ask, but not too often (RFC 7296 §2.4, §2.21.4).
    pub(crate) fn hint(&mut self, ctx: &Ctx) {
        if self.standing == Standing::Home && self.hint_at + ctx.config.liveness.hint_interval <= ctx.now {
            self.hint_at = ctx.now;
            self.ask = true;
        }
    }

    /// Fresh ESP from the peer counts as a sign of life (RFC 7296 §2.4).
    pub(crate) fn heard_esp(&mut self, ctx: &Ctx) {
        self.last_heard = ctx.now;
        self.ask = false;
    }

    /// Sends the most urgent of what is wanted, if the window is free.
    pub(crate) fn pump(&mut self, ctx: &mut Ctx) {
        if self.requests.free().is_none() {
            return;
        }
        if let Some(reason) = self.close {
            return self.start_close(ctx, reason);
        }
        // Children stay as they are while the peer finishes its rekey of the IKE SA (RFC 7296 §2.25.2).
        if !self.is_ike_pending() && self.start_child_deletes(ctx) || self.standing != Standing::Home {
            return;
        }
        if self.pending.is_none() && self.start_wanted(ctx) {
            return;
        }
        // Also amid the peer's rekey: it may have died there, or moved behind its NAT.
        if self.ask {
            self.request(ctx, &[], Request::Liveness);
            self.ask = false;
        }
    }

    /// Starts the most urgent exchange that makes an SA; `false` when none is due.
    fn start_wanted(&mut self, ctx: &mut Ctx) -> bool {
        if self.rekey_at <= ctx.now {
            self.start_ike_rekey(ctx);
            return true;
        }
        let due = |child: &&Child| child.is_live() && child.confirmed && child.rekey_at <= ctx.now;
        if let Some(id) = self.children.iter().find(due).map(|child| child.id) {
            self.start_child(ctx, Some(id));
            return true;
        }
        if self.wants_child(ctx).is_some_and(|at| at <= ctx.now) {
            self.start_child(ctx, None);
            return true;
        }
        false
    }

    /// When a missing child is to be created. The waiting side leaves that to the peer.
    fn wants_child(&self, ctx: &Ctx) -> Option<Instant> {
        let ours = ctx.config.startup == Startup::Initiate || self.child_wanted;
        (ours && !self.has_usable_child()).then_some(self.child_at)
    }

    /// The next instant at which time matters.
    pub(crate) fn due(&self, ctx: &Ctx) -> Option<(Instant, Timer)> {
        let mut due: Vec<(Instant, Timer)> = Vec::new();
        due.extend(self.requests.due().map(|at| (at, Timer::Retransmit)));
        let partial = [self.partial_request.due(), self.partial_response.due()];
        due.extend(self.pending_until().map(|at| (at, Timer::Linger)));
        due.extend(partial.into_iter().flatten().map(|at| (at, Timer::Reassembly)));
        due.extend(self.keepalive_at(ctx).map(|at| (at, Timer::Keepalive)));
        if self.close.is_none() {
            due.push((self.expires, Timer::Expire));
            if let Standing::Superseded { until } = self.standing {
                due.push((until, Timer::Linger));
            }
        }
        let home = self.standing == Standing::Home && self.close.is_none() && self.requests.free().is_some();
        let wants = home && self.pending.is_none();
        for child in &self.children {
            match child.standing {
                ChildStanding::Gone { retire_at } => due.push((retire_at, Timer::Retire)),
                ChildStanding::Replaced { until } => due.push((until.min(child.expires), Timer::Linger)),
                ChildStanding::Live => {
                    due.push((child.expires, Timer::Expire));
                    due.extend((wants && child.confirmed).then_some((child.rekey_at, Timer::Rekey)));
                }
                ChildStanding::Doomed | ChildStanding::Deleting => {}
            }
        }
        if home {
            due.push((self.last_heard + ctx.config.liveness.idle, Timer::Liveness));
        }
        if wants {
            due.push((self.rekey_at, Timer::Rekey));
            due.extend(self.wants_child(ctx).map(|at| (at, Timer::Retry)));
        }
        due.into_iter().min()
    }
}
