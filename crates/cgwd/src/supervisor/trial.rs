//! Trials: short conversations with a peer that refuses us, which end before anything is established for use.
//!
//! Three questions, each asked at most once a minute and only after a failure that it can explain: would another
//! tunnel's key be accepted, would any algorithms at all be accepted, does the peer speak IKEv1. A trial installs
//! nothing, and its answers change texts only.

use std::net::SocketAddr;
use std::time::Duration;

use ike::wire::parse_header;
use ike::{Command, Endpoint, IkeState, Input, Notice, Output, Startup, Transmit};
use model::{Instant, SecureRng};

use super::sockets::Sockets;
use crate::catalog::Code;
use crate::diagnose::{ikev1, offer};
use crate::translate::failure::Finding;

/// A question is not asked again before this time.
const PAUSE: Duration = Duration::from_secs(60);
/// A trial ends at the latest after this time.
const PATIENCE: Duration = Duration::from_secs(8);
/// The IKEv1 question is repeated after this time, and given up after twice that.
const REPEAT: Duration = Duration::from_secs(2);

/// What a trial found out: a failure with this code means this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) of: Code,
    pub(super) finding: Finding,
}

/// The trials of one line.
#[derive(Default)]
pub(super) struct Trials {
    key: Option<KeyTrial>,
    offer: Option<OfferTrial>,
    version: Option<VersionTrial>,
    key_asked: Option<Instant>,
    version_asked: Option<Instant>,
}

struct KeyTrial {
    endpoint: Endpoint,
    of: String,
    proven: bool,
    until: Instant,
}

struct OfferTrial {
    endpoint: Endpoint,
    until: Instant,
}

struct VersionTrial {
    cookie: [u8; 8],
    local: SocketAddr,
    remote: SocketAddr,
    /// The failure that made us ask.
    of: Code,
    repeat_at: Instant,
    repeated: bool,
    accepted: bool,
    /// What IKEv2 with every algorithm gave: `None` while it is not known.
    ikev2_refused: Option<bool>,
}

impl Trials {
    /// Whether another tunnel's key may be tried now.
    pub(super) fn may_try_key(&self, now: Instant) -> bool {
        self.key.is_none() && self.key_asked.is_none_or(|asked| now - asked >= PAUSE)
    }

    /// Tries the key of the tunnel `of`.
    pub(super) fn try_key(
        &mut self,
        config: ike::Config,
        of: String,
        sockets: &Sockets,
        now: Instant,
    ) -> Option<Verdict> {
        self.key_asked = Some(now);
        let endpoint = begin(config, now);
        self.key = Some(KeyTrial { endpoint, of, proven: false, until: now + PATIENCE });
        self.drive_key(sockets, now)
    }

    /// Asks why phase 1 fails with the code `of`: other algorithms, or another version?
    pub(super) fn ask_version(&mut self, mut config: ike::Config, of: Code, sockets: &Sockets, now: Instant) {
        if self.version.is_some() || self.version_asked.is_some_and(|asked| now - asked < PAUSE) {
            return;
        }
        self.version_asked = Some(now);
        let mut cookie = [0; 8];
        net::OsRng.fill(&mut cookie);
        let version = VersionTrial {
            cookie,
            local: config.local,
            remote: (config.remote, config.remote_port).into(),
            of,
            repeat_at: now + REPEAT,
            repeated: false,
            accepted: false,
            // A peer that does not answer IKEv2 at all was asked enough.
            ikev2_refused: (of == Code::IkeNoAnswer).then_some(true),
        };
        version.send(sockets);
        if version.ikev2_refused.is_none() {
            config.ike_proposals = offer::everything();
            let endpoint = begin(config, now);
            self.offer = Some(OfferTrial { endpoint, until: now + PATIENCE });
        }
        self.version = Some(version);
        // The first datagram cannot settle anything.
        let _ = self.drive_offer(sockets, now);
    }

    /// Takes a datagram that answers a trial. `None` when it is for somebody else.
    pub(super) fn datagram(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        message: &[u8],
        sockets: &Sockets,
        now: Instant,
    ) -> Option<Option<Verdict>> {
        if let Some(version) = &mut self.version
            && let Some(answer) = ikev1::answer(version.cookie, message)
        {
            version.accepted |= answer == ikev1::Answer::Accepted;
            return Some(self.settle_version());
        }
        let header = parse_header(message).ok()?;
        if !header.flags.response() {
            return None;
        }
        let ours =
            |endpoint: &Endpoint| endpoint.status().ike.is_some_and(|status| status.spi_i == header.spi_i);
        let input = Input::Datagram { local, remote, payload: message };
        if let Some(trial) = self.key.as_mut().filter(|trial| ours(&trial.endpoint)) {
            trial.endpoint.handle_input(now, input);
            return Some(self.drive_key(sockets, now));
        }
        if let Some(trial) = self.offer.as_mut().filter(|trial| ours(&trial.endpoint)) {
            trial.endpoint.handle_input(now, input);
            return Some(self.drive_offer(sockets, now));
        }
        None
    }

    /// When [`Trials::turn`] wants to be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timer = |endpoint: &Endpoint, until: Instant| {
            endpoint.poll_timeout().map_or(until, |(at, _)| at.min(until))
        };
        [
            self.key.as_ref().map(|trial| timer(&trial.endpoint, trial.until)),
            self.offer.as_ref().map(|trial| timer(&trial.endpoint, trial.until)),
            self.version.as_ref().map(|trial| trial.repeat_at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub(super) fn turn(&mut self, sockets: &Sockets, now: Instant) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        if let Some(trial) = &mut self.key {
            trial.endpoint.handle_timeout(now);
            verdicts.extend(self.drive_key(sockets, now));
        }
        if let Some(trial) = &mut self.offer {
            trial.endpoint.handle_timeout(now);
            verdicts.extend(self.drive_offer(sockets, now));
        }
        if let Some(version) = self.version.as_mut().filter(|version| version.repeat_at <= now) {
            if version.repeated {
                verdicts.extend(self.settle_version());
                self.version = None;
            } else {
                version.repeated = true;
                version.repeat_at = now + REPEAT;
                version.send(sockets);
            }
        }
        verdicts
    }

    fn drive_key(&mut self, sockets: &Sockets, now: Instant) -> Option<Verdict> {
        let trial = self.key.as_mut()?;
        let mut over = trial.until <= now;
        let mut verdict = None;
        while let Some(output) = trial.endpoint.poll_output() {
            match output {
                Output::Send(transmit) => send(sockets, &transmit),
                Output::Notice(Notice::IkeEstablished { .. }) if !trial.proven => {
                    trial.proven = true;
                    let text = format!(
                        "AUTHENTICATION_FAILED with this tunnel's pre-shared key, but AWS accepts the one of {}: \
                         the keys are swapped",
                        trial.of
                    );
                    let finding = Finding { code: Code::IkeAuthPskSwapped, text };
                    verdict = Some(Verdict { of: Code::IkeAuthFailed, finding });
                    trial.endpoint.handle_input(now, Input::Command(Command::Close));
                }
                Output::Notice(Notice::Closed | Notice::Failed(_)) => over = true,
                // Nothing of a trial carries traffic.
                _ => {}
            }
        }
        if over {
            self.key = None;
        }
        verdict
    }

    fn drive_offer(&mut self, sockets: &Sockets, now: Instant) -> Option<Verdict> {
        let trial = self.offer.as_mut()?;
        // IKE_SA_INIT was answered: what the peer chose is known, and more is not wanted.
        let chosen = trial.endpoint.status().ike.filter(|sa| sa.state != IkeState::Init);
        let mut refused = None;
        while let Some(output) = trial.endpoint.poll_output() {
            match output {
                Output::Send(transmit) if chosen.is_none() => send(sockets, &transmit),
                Output::Notice(Notice::Failed(ike::Failure::NoProposalChosen { .. })) => refused = Some(true),
                Output::Notice(Notice::Failed(_)) => refused = Some(false),
                _ => {}
            }
        }
        if let Some(chosen) = chosen {
            self.offer = None;
            self.version = None;
            let text = format!(
                "NO_PROPOSAL_CHOSEN: AWS allows none of the offered phase 1 algorithms; offered everything, it \
                 chooses {}",
                chosen.proposal
            );
            return Some(Verdict {
                of: Code::IkeNoProposal,
                finding: Finding { code: Code::IkeNoProposal, text },
            });
        }
        if refused.is_some() || trial.until <= now {
            self.offer = None;
            if let Some(version) = &mut self.version {
                version.ikev2_refused = Some(refused.unwrap_or(true));
            }
            return self.settle_version();
        }
        None
    }

    /// IKEv1 accepted and IKEv2 refused, whatever is offered: that is the version.
    fn settle_version(&mut self) -> Option<Verdict> {
        let version = self.version.as_ref()?;
        if !version.accepted || version.ikev2_refused != Some(true) {
            return None;
        }
        let text = match version.of {
            Code::IkeNoAnswer => "AWS answers IKEv1 and not IKEv2: the tunnel allows IKEv1 only".to_owned(),
            _ => "AWS refuses IKEv2 with NO_PROPOSAL_CHOSEN whatever is offered, and accepts IKEv1: the tunnel \
                  allows IKEv1 only"
                .to_owned(),
        };
        let verdict = Verdict { of: version.of, finding: Finding { code: Code::IkeVersion, text } };
        self.version = None;
        Some(verdict)
    }
}

impl VersionTrial {
    fn send(&self, sockets: &Sockets) {
        let payload = ikev1::request(self.cookie);
        send(sockets, &Transmit { local: self.local, remote: self.remote, non_esp_marker: false, payload });
    }
}

/// One attempt of ours, which never repeats itself after it failed.
fn begin(mut config: ike::Config, now: Instant) -> Endpoint {
    config.startup = Startup::Respond;
    let mut endpoint = Endpoint::new(config, Box::new(net::OsRng), now);
    endpoint.handle_input(now, Input::Command(Command::Initiate));
    endpoint.handle_timeout(now);
    endpoint
}

fn send(sockets: &Sockets, transmit: &Transmit) {
    if let Err(error) = sockets.send(transmit) {
        tracing::debug!("trial: cannot send to {}: {error}", transmit.remote);
    }
}
