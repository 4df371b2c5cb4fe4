//! INFORMATIONAL: deletion of child SAs and of the IKE SA, by either side and by both at once.
//!
//! RFC 7296 §1.4, §1.4.1, §2.25, §3.11. Handlers find children by SPI each time: a DELETE may name one that
//! the same message already removed (CVE-2023-38712).

use model::Spi;

use super::child::ChildStanding;
use super::established::{Established, Request};
use super::{Ctx, Ending, Event};
use crate::error::{Failure, Stage};
use crate::message::Parts;
use crate::output::{CloseReason, Notice};
use crate::wire::{Delete, NotifyType, Payload, ProtocolId};

impl Established {
    /// Sends the DELETE of this IKE SA.
    pub(crate) fn start_close(&mut self, ctx: &mut Ctx, reason: CloseReason) {
        let delete = Payload::Delete(Delete { protocol: ProtocolId::IKE, spis: Vec::new() });
        self.request(ctx, &[delete], Request::DeleteIke(reason));
    }

    /// Sends one DELETE for all children that we want to be rid of; `false` when there is none.
    pub(crate) fn start_child_deletes(&mut self, ctx: &mut Ctx) -> bool {
        let mut spis = std::mem::take(&mut self.orphans);
        for child in &mut self.children {
            if child.standing == ChildStanding::Doomed {
                child.standing = ChildStanding::Deleting;
                spis.push(child.spi_in);
            }
        }
        if spis.is_empty() {
            return false;
        }
        let octets = spis.iter().map(|spi| spi.get().to_be_bytes().to_vec()).collect();
        let delete = Payload::Delete(Delete { protocol: ProtocolId::ESP, spis: octets });
        self.request(ctx, &[delete], Request::DeleteChildren(spis));
        true
    }

    /// The peer has answered our DELETE of children.
    pub(crate) fn on_children_deleted(&mut self, ctx: &mut Ctx, spis: &[Spi]) {
        for spi in spis {
            match self.children.iter().find(|child| child.spi_in == *spi).map(|child| child.id) {
                Some(id) => self.bury(ctx, id),
                None => ctx.free_spi(*spi),
            }
        }
    }

    /// A child both sides have deleted: its inbound SA stays a while for packets under way.
    fn bury(&mut self, ctx: &mut Ctx, id: crate::ChildId) {
        let retire_at = ctx.now + ctx.config.retire_delay;
        if let Some(child) = self.child_mut(id)
            && !matches!(child.standing, ChildStanding::Gone { .. })
        {
            child.standing = ChildStanding::Gone { retire_at };
        }
    }

    /// Acts on a request and gives the payloads of its answer.
    pub(crate) fn on_informational(
        &mut self,
        ctx: &mut Ctx,
        parts: &Parts,
        events: &mut Vec<Event>,
    ) -> Vec<Payload> {
        let mut ours = Vec::new();
        let mut close = false;
        for delete in &parts.deletes {
            match delete.protocol {
                ProtocolId::IKE => close = true,
                ProtocolId::ESP => {
                    for spi in &delete.spis {
                        ours.extend(self.on_child_delete(ctx, spi));
                    }
                }
                _ => {}
            }
        }
        let fatal = [NotifyType::AUTHENTICATION_FAILED, NotifyType::INVALID_SYNTAX];
        if let Some(error) = fatal.into_iter().find_map(|kind| parts.notify(kind)) {
            //= RFC 7296 §2.21.2, §2.21.3: both end the IKE SA without a DELETE.
            ctx.failed(Failure::from_notify(error, Stage::Auth, ""));
            events.push(Event::Gone(Ending::ByUs(CloseReason::Violation)));
        } else if close {
            events.push(Event::Gone(Ending::ByPeer));
        }
        if ours.is_empty() || close {
            return Vec::new();
        }
        vec![Payload::Delete(Delete { protocol: ProtocolId::ESP, spis: ours })]
    }

    /// One SPI of a DELETE: the peer's inbound, our outbound. Gives our inbound SPI for the answer.
    fn on_child_delete(&mut self, ctx: &mut Ctx, spi: &[u8]) -> Option<Vec<u8>> {
        let spi_out = <[u8; 4]>::try_from(spi).ok().map(u32::from_be_bytes).and_then(Spi::new)?;
        let Some(child) = self.children.iter().find(|child| child.spi_out == spi_out) else {
            if let Some(Request::CreateChild(exchange)) = self.requests.outstanding_mut() {
                exchange.remember_deleted(spi_out);
            }
            return None;
        };
        let (id, spi_in) = (child.id, child.spi_in);
        match child.standing {
            //= RFC 7296 §1.4.1: when both sides delete it at once, the answers do not name it.
            ChildStanding::Deleting => {
                self.bury(ctx, id);
                return None;
            }
            ChildStanding::Gone { .. } => return None,
            ChildStanding::Live | ChildStanding::Replaced { .. } | ChildStanding::Doomed => {}
        }
        let replaced = !child.is_live();
        self.bury(ctx, id);
        if !replaced && !self.has_usable_child() {
            // Nothing succeeds it: outbound has no SA any more, so there is nothing to wait for.
            ctx.notice(Notice::PeerDeletedChild { child: id });
            self.after_child_loss(ctx);
            self.retire(ctx, id);
        }
        Some(spi_in.get().to_be_bytes().to_vec())
    }

    /// When the missing child is created: at once, unless children come and go.
    fn after_child_loss(&mut self, ctx: &mut Ctx) {
        let youngest = self.children.iter().map(|child| child.established).max();
        let stable = youngest.is_none_or(|at| ctx.now - at >= ctx.config.reconnect.max);
        self.child_at = if stable { ctx.now } else { ctx.now + ctx.config.reconnect.max };
    }
}
