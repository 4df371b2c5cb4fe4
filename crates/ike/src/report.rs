//! The snapshot for `status --json`, read off the states.

use crate::endpoint::{Endpoint, Mode};
use crate::negotiate::{esp_text, ike_text};
use crate::sa::child::{Child, ChildStanding};
use crate::sa::established::{Established, Request, Standing};
use crate::sa::nat::Path;
use crate::sa::state::Sa;
use crate::status::{ChildState, ChildStatus, IkeState, IkeStatus, Phase, Role, Status};

impl Endpoint {
    /// A snapshot for `status --json`.
    pub fn status(&self) -> Status {
        let home = self.home().or_else(|| self.established().next());
        let attempt = || self.sas.values().find_map(attempt_status);
        let child = self.established().find_map(|sa| {
            let active = sa.children.iter().find(|child| self.ctx.active == Some(child.id))?;
            Some(child_status(sa, active))
        });
        Status {
            phase: self.phase(),
            ike: home.map(ike_status).or_else(attempt),
            child,
            ike_sas: self.sas.len(),
            child_sas: self.established().map(|sa| sa.children.len()).sum(),
            last_failure: self.ctx.last_failure.clone(),
            attempts: self.reconnect.attempts,
            failed_attempts: self.reconnect.failures.into(),
            retransmits: self.ctx.retransmits,
            cookies_demanded: self.ctx.cookies_demanded,
            drops: self.drops,
        }
    }

    fn phase(&self) -> Phase {
        if self.mode == Mode::Closed {
            return Phase::Closed;
        }
        if let Some(home) = self.home() {
            return if home.has_usable_child() { Phase::Established } else { Phase::IkeOnly };
        }
        if self.sas.values().any(|sa| !matches!(sa, Sa::Established(_))) {
            return Phase::Connecting;
        }
        self.reconnect.at().map_or(Phase::Listening, |until| Phase::Waiting { until })
    }
}

fn attempt_status(sa: &Sa) -> Option<IkeStatus> {
    let (state, path, spi_i, spi_r, role, proposal) = match sa {
        Sa::Initiator(sa) => {
            (IkeState::Init, sa.path, sa.spi, model::IkeSpi::ZERO, Role::Initiator, String::new())
        }
        Sa::Authenticating(sa) => {
            let agreed = sa.first()?;
            let proposal = ike_text(&agreed.suite, &agreed.additional);
            (IkeState::Auth, agreed.path, agreed.spi_i, agreed.spi_r, Role::Initiator, proposal)
        }
        Sa::HalfOpen(sa) => {
            let agreed = &sa.agreed;
            let proposal = ike_text(&agreed.suite, &agreed.additional);
            (IkeState::Auth, agreed.path, agreed.spi_i, agreed.spi_r, Role::Responder, proposal)
        }
        Sa::Established(_) => return None,
    };
    let Path { local, remote, nat_local, nat_remote, .. } = path;
    Some(IkeStatus {
        state,
        spi_i,
        spi_r,
        role,
        proposal,
        ppk: false,
        established: None,
        rekey_due: None,
        expires: None,
        rekeys: 0,
        local,
        remote,
        nat_local,
        nat_remote,
        last_heard: None,
    })
}

fn ike_status(sa: &Established) -> IkeStatus {
    let state = match sa.requests.outstanding() {
        Some(Request::DeleteIke(_)) => IkeState::Closing,
        Some(Request::RekeyIke(_)) => IkeState::Rekeying,
        _ if sa.close.is_some() || sa.standing != Standing::Home => IkeState::Closing,
        _ => IkeState::Established,
    };
    let Path { local, remote, nat_local, nat_remote, .. } = sa.path;
    IkeStatus {
        state,
        spi_i: sa.spi_i,
        spi_r: sa.spi_r,
        role: sa.role,
        proposal: sa.proposal(),
        ppk: sa.ppk,
        established: Some(sa.established),
        rekey_due: Some(sa.rekey_at),
        expires: Some(sa.expires),
        rekeys: sa.rekeys,
        local,
        remote,
        nat_local,
        nat_remote,
        last_heard: Some(sa.last_heard),
    }
}

fn child_status(sa: &Established, child: &Child) -> ChildStatus {
    let rekeying = matches!(
        sa.requests.outstanding(),
        Some(Request::CreateChild(exchange)) if exchange.rekeys == Some(child.id)
    );
    let state = match child.standing {
        ChildStanding::Live if rekeying => ChildState::Rekeying,
        ChildStanding::Live => ChildState::Installed,
        ChildStanding::Replaced { .. } => ChildState::Rekeying,
        ChildStanding::Doomed | ChildStanding::Deleting | ChildStanding::Gone { .. } => ChildState::Retiring,
    };
    ChildStatus {
        id: child.id,
        state,
        spi_in: child.spi_in,
        spi_out: child.spi_out,
        proposal: esp_text(&child.suite, child.group, &child.additional),
        encapsulation: sa.path.encapsulation(),
        established: child.established,
        rekey_due: child.rekey_at,
        expires: child.expires,
        rekeys: child.rekeys,
    }
}
