//! What the supervisor knows about one tunnel's health, and what it wants done about it.
//!
//! Notices of the negotiator, ESP arrivals and probe answers come in; the stage, the last error and a list of
//! [`Reaction`]s come out. It never sends, sleeps or reads a clock. It adds two rules to what IKE does by itself:
//! a tunnel whose inside address is silent is not used, and a peer whose IKE is silent too is negotiated with
//! anew without waiting for all of IKE's patience.

use std::collections::BTreeSet;
use std::time::Duration;

use ike::Notice;
use model::Instant;

use super::probe::{Change, Settings, Tracker};
use super::stage::{ESP_RECENT, Facts, Since, stage};
use super::weak::weaknesses;
use crate::api::Stage;
use crate::catalog::Code;
use crate::translate::failure::{self, Finding};

/// While the probes are lost, IKE is asked this often whether the peer lives.
const LIVENESS_EVERY: Duration = Duration::from_secs(5);
/// A fresh tunnel that does not answer the probes is suspicious from here on.
const FRESH_PATIENCE: Duration = Duration::from_secs(3);
/// After this long without an ESP packet while IKE answers, ESP counts as blocked.
const BLOCKED_AFTER: Duration = Duration::from_secs(8);
/// Probes lost and IKE silent for this long: negotiate anew.
const RESET_AFTER: Duration = Duration::from_secs(8);
/// ESP blocked for this long while IKE answers: the peer may have lost the SA by a fault of its own, so negotiate anew.
const RENEW_AFTER: Duration = Duration::from_secs(25);
/// Where that did not help, a firewall is the likelier cause: the next try is this much later, then twice as much.
const RENEW_AGAIN: Duration = Duration::from_secs(60);
/// The longest time between two such tries.
const RENEW_AGAIN_MAX: Duration = Duration::from_secs(960);
/// What was heard counts as heard within the silence only when it is this much younger than its beginning.
const HEARD_MARGIN: Duration = Duration::from_secs(1);

/// A failure that stays the same is said again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(600);

/// What went wrong last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its code and text.
    pub finding: Finding,
    /// When.
    pub at: Instant,
}

/// What the supervisor shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Send a probe with this sequence number.
    Probe(u16),
    /// Ask the negotiator for a liveness check.
    CheckLiveness,
    /// Tell the negotiator to begin anew.
    Reset,
    /// Put it into the timeline.
    Event(Finding, Option<Duration>),
    /// The stage changed.
    StageChanged {
        /// The stage before.
        from: Stage,
        /// The stage now.
        to: Stage,
    },
}

/// What only others know at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outside {
    /// An IKE SA is established.
    pub ike: bool,
    /// When an authenticated message or ESP packet was last heard, as the negotiator says.
    pub ike_heard: Option<Instant>,
    /// For a BGP connection: whether the session is established.
    pub bgp_established: Option<bool>,
}

/// The health of one tunnel.
#[derive(Debug)]
pub struct Health {
    tracker: Tracker,
    /// There is an inside address to probe. Without one a child SA is all that can be known.
    probing: bool,
    since: Since,
    child_since: Option<Instant>,
    esp_heard: Option<Instant>,
    last_error: Option<Problem>,
    /// The failure that was said last, and when; forgotten when the tunnel comes up.
    said: Option<(Code, Instant)>,
    /// Weak choices of AWS's that were warned about; as many as the configuration has combinations.
    warned: BTreeSet<String>,
    /// What failures with this code really mean, as long as IKE is not established.
    diagnosis: Option<(Code, Finding)>,
    liveness_asked: Option<Instant>,
    /// The probe's silence was explained to people already.
    explained: bool,
    /// Until when no SA is given up for being silent, and how long that wait was.
    renewed: Option<(Instant, Duration)>,
    /// The tunnel ended by an orderly goodbye, which is no flap.
    goodbye: bool,
    /// When traffic was last known to pass.
    last_good: Option<Instant>,
}

impl Health {
    /// Down, with nothing wrong yet. Without `settings` there is nothing to probe.
    pub fn new(settings: Option<Settings>, now: Instant) -> Self {
        Self {
            tracker: Tracker::new(settings.unwrap_or_default()),
            probing: settings.is_some(),
            since: Since::new(now),
            child_since: None,
            esp_heard: None,
            last_error: None,
            said: None,
            warned: BTreeSet::new(),
            diagnosis: None,
            liveness_asked: None,
            explained: false,
            renewed: None,
            goodbye: false,
            last_good: None,
        }
    }

    /// How far the tunnel has come.
    pub fn stage(&self) -> Stage {
        self.since.stage()
    }

    /// Time since the stage changed.
    pub fn stage_age(&self, now: Instant) -> Duration {
        self.since.age(now)
    }

    /// The probes.
    pub fn probes(&self) -> &Tracker {
        &self.tracker
    }

    /// What went wrong last.
    pub fn last_error(&self) -> Option<&Problem> {
        self.last_error.as_ref()
    }

    /// Whether the peer said goodbye in order before the tunnel went down.
    pub fn said_goodbye(&self) -> bool {
        self.goodbye
    }

    /// When traffic was last known to pass.
    pub fn last_good(&self) -> Option<Instant> {
        self.last_good
    }

    /// Why the tunnel cannot carry traffic, in a few words; empty when it can.
    pub fn down_reason(&self) -> String {
        if self.stage() == Stage::Up {
            return String::new();
        }
        let lacks = match self.stage() {
            Stage::Down => "no IKE SA",
            Stage::Ike => "no child SA",
            Stage::Ipsec | Stage::Tunnel => "its inside address does not answer",
            Stage::Bgp => "BGP is not established",
            Stage::Up => "",
        };
        match &self.last_error {
            Some(problem) => format!("{lacks}, {}", problem.finding.code),
            None => lacks.to_owned(),
        }
    }

    /// When [`Health::poll`] wants to be called next.
    pub fn deadline(&self) -> Option<Instant> {
        self.tracker.deadline()
    }

    /// Outbound traffic can flow through a child, another one perhaps.
    pub fn carrying(&mut self, now: Instant) {
        if self.child_since.is_none() {
            self.child_since = Some(now);
            self.esp_heard = None;
            self.explained = false;
            self.goodbye = false;
            self.liveness_asked = None;
            self.said = None;
        }
        if self.probing {
            self.tracker.start(now);
        }
    }

    /// No child is left.
    pub fn idle(&mut self, now: Instant) {
        if self.stage() == Stage::Up {
            self.last_good = Some(now);
        }
        self.child_since = None;
        self.tracker.stop();
    }

    /// An authenticated ESP packet arrived.
    pub fn esp_received(&mut self, now: Instant) {
        self.esp_heard = Some(now);
    }

    /// The inside address answered.
    pub fn probe_answered(&mut self, sequence: u16, at: Instant) -> Vec<Reaction> {
        self.esp_heard = Some(at);
        let change = self.tracker.answered(sequence, at);
        if self.tracker.answering() {
            self.last_good = Some(at);
        }
        change.map(|change| self.probe_changed(change, at)).into_iter().collect()
    }

    /// Somebody here ends the tunnel; that is no flap either.
    pub fn ended_on_purpose(&mut self) {
        self.goodbye = true;
    }

    /// The negotiator reported something.
    pub fn noticed(&mut self, notice: &Notice, now: Instant) -> Vec<Reaction> {
        match notice {
            Notice::PeerDeletedIke | Notice::PeerDeletedChild { .. } => self.goodbye = true,
            Notice::IkeEstablished { .. } => self.diagnosis = None,
            _ => {}
        }
        let Some((finding, took)) = failure::event(notice) else { return Vec::new() };
        match notice {
            Notice::Failed(_) => self.problem(finding, now),
            // Phase 1 comes up again and again while phase 2 is refused; that is no news.
            Notice::IkeEstablished { .. } if self.said.is_some_and(|(code, _)| is_phase_2(code)) => {
                Vec::new()
            }
            _ => {
                let mut reactions = vec![self.report(finding, took, now)];
                reactions.extend(self.weak_warning(notice));
                reactions
            }
        }
    }

    /// A warning about a weak choice of AWS's; once for each choice. It is no error: the tunnel works.
    fn weak_warning(&mut self, notice: &Notice) -> Option<Reaction> {
        let (Notice::IkeEstablished { proposal, .. }
        | Notice::IkeRekeyed { proposal, .. }
        | Notice::ChildEstablished { proposal, .. }
        | Notice::ChildRekeyed { proposal, .. }) = notice
        else {
            return None;
        };
        let weak = weaknesses(proposal);
        if weak.is_empty() || !self.warned.insert(proposal.clone()) {
            return None;
        }
        let text = format!("AWS chose {proposal}, which has {}", weak.join(" and "));
        Some(Reaction::Event(Finding { code: Code::WeakAlgorithm, text }, None))
    }

    /// Something went wrong. The same complaint every few seconds would bury the story, so it is said once.
    pub fn problem(&mut self, mut finding: Finding, now: Instant) -> Vec<Reaction> {
        if let Some((_, meaning)) = self.diagnosis.as_ref().filter(|(of, _)| *of == finding.code) {
            finding = meaning.clone();
        }
        let code = finding.code;
        let reaction = self.report(finding, None, now);
        if self.said.is_some_and(|(said, at)| said == code && now - at < SAY_AGAIN) {
            return Vec::new();
        }
        self.said = Some((code, now));
        vec![reaction]
    }

    /// Something happened to the BGP session. A session that ends with its tunnel is a consequence: the tunnel's
    /// own error stays the last one.
    pub fn bgp_said(&mut self, finding: Finding, now: Instant) -> Reaction {
        if self.stage() >= Stage::Bgp {
            self.report(finding, None, now)
        } else {
            Reaction::Event(finding, None)
        }
    }

    /// It was found out what failures with the code `of` mean.
    pub fn diagnosed(&mut self, of: Code, finding: Finding, now: Instant) -> Vec<Reaction> {
        self.diagnosis = Some((of, finding.clone()));
        self.said = Some((finding.code, now));
        vec![self.report(finding, None, now)]
    }

    /// Does what is due, and takes over what others know.
    pub fn poll(&mut self, outside: Outside, now: Instant) -> Vec<Reaction> {
        let mut reactions = Vec::new();
        let (change, probe) = self.tracker.poll(now);
        if let Some(change) = change {
            reactions.push(self.probe_changed(change, now));
        }
        reactions.extend(probe.map(Reaction::Probe));
        if let Some((unanswered, silent)) = self.tracker.silence(now) {
            self.examine_silence(outside, unanswered, silent, now, &mut reactions);
        } else {
            self.explained = false;
        }
        let facts = Facts {
            ike: outside.ike,
            child: self.child_since.is_some(),
            esp_received: self.esp_heard.is_some_and(|heard| now - heard < ESP_RECENT),
            answering: self.tracker.answering() || !self.probing,
            bgp_established: outside.bgp_established,
        };
        if let Some((from, lasted)) = self.since.update(stage(facts), now) {
            let to = self.since.stage();
            if (from, to) == (Stage::Up, Stage::Bgp) {
                // The path was good until the session ended.
                self.last_good = Some(now);
            }
            reactions.extend(up_or_down(from, to, lasted));
            reactions.push(Reaction::StageChanged { from, to });
        }
        reactions
    }

    fn examine_silence(
        &mut self,
        outside: Outside,
        unanswered: u64,
        silent: Duration,
        now: Instant,
        reactions: &mut Vec<Reaction>,
    ) {
        if silent < FRESH_PATIENCE {
            return;
        }
        // With several SAs in a row the silence may be older than the child; IKE was heard when it came up.
        let began = (self.child_since.unwrap_or(now)).max(before(now, silent));
        let ike_answers = outside.ike_heard.is_some_and(|heard| heard > began + HEARD_MARGIN);
        let heard_age = outside.ike_heard.map_or(silent, |heard| now - heard);
        if self.liveness_asked.is_none_or(|asked| now - asked >= LIVENESS_EVERY) {
            self.liveness_asked = Some(now);
            reactions.push(Reaction::CheckLiveness);
        }
        if heard_age >= RESET_AFTER && silent >= RESET_AFTER {
            let text = format!(
                "neither the inside address nor IKE answers for {} s; connecting anew",
                heard_age.as_secs()
            );
            reactions.push(self.report(Finding { code: Code::IkeLivenessLost, text }, Some(heard_age), now));
            reactions.push(Reaction::Reset);
            return;
        }
        let arrived = self.esp_heard.is_some_and(|heard| heard > began + HEARD_MARGIN);
        if ike_answers && !arrived && now - began >= RENEW_AFTER && self.may_renew(now) {
            let text = format!(
                "no ESP packet received for {} s, while IKE is answered; negotiating anew, in case AWS has lost the SA",
                silent.as_secs()
            );
            reactions.push(self.report(Finding { code: Code::IpsecEspBlocked, text }, None, now));
            reactions.push(Reaction::Reset);
            return;
        }
        if self.explained || silent < BLOCKED_AFTER || !ike_answers {
            return;
        }
        self.explained = true;
        let finding = if arrived {
            Finding {
                code: Code::TunProbeLost,
                text: format!(
                    "ESP packets arrive, but {unanswered} echo requests to AWS's inside address are unanswered"
                ),
            }
        } else {
            Finding {
                code: Code::IpsecEspBlocked,
                text: format!(
                    "ESP packets sent {unanswered}, received 0 in {} s, while IKE is answered",
                    silent.as_secs()
                ),
            }
        };
        reactions.push(self.report(finding, None, now));
    }

    /// Whether it is time to give up an SA for its silence; if so, the next time is further off.
    fn may_renew(&mut self, now: Instant) -> bool {
        let (at, wait) = self.renewed.unwrap_or((now, RENEW_AGAIN / 2));
        if now < at {
            return false;
        }
        let wait = (wait * 2).min(RENEW_AGAIN_MAX);
        self.renewed = Some((now + wait, wait));
        true
    }

    fn probe_changed(&mut self, change: Change, now: Instant) -> Reaction {
        let (finding, took) = match change {
            Change::Answers { rtt, after } => {
                self.renewed = None;
                let text = format!("AWS's inside address answers, RTT {:.1} ms", rtt.as_secs_f64() * 1e3);
                (Finding { code: Code::TunAnswers, text }, after)
            }
            Change::Lost { silent } => {
                let text = format!(
                    "AWS's inside address has not answered for {:.1} s; the tunnel is not used",
                    silent.as_secs_f64()
                );
                (Finding { code: Code::TunProbeLost, text }, silent)
            }
        };
        self.report(finding, Some(took), now)
    }

    fn report(&mut self, finding: Finding, took: Option<Duration>, now: Instant) -> Reaction {
        if finding.code.entry().severity != crate::catalog::Severity::Info {
            self.last_error = Some(Problem { finding: finding.clone(), at: now });
        }
        Reaction::Event(finding, took)
    }
}

fn up_or_down(from: Stage, to: Stage, lasted: Duration) -> Option<Reaction> {
    let (code, text) = match (from, to) {
        (_, Stage::Up) => (Code::TunnelUp, format!("up, traffic can pass (was at stage {})", from.name())),
        (Stage::Up, _) => {
            let up = lasted.as_secs();
            (Code::TunnelDown, format!("down: fell back to stage {} after {up} s up", to.name()))
        }
        _ => return None,
    };
    Some(Reaction::Event(Finding { code, text }, Some(lasted)))
}

fn is_phase_2(code: Code) -> bool {
    matches!(code, Code::IpsecNoProposal | Code::IpsecTsUnacceptable | Code::IpsecFailed)
}

fn before(now: Instant, age: Duration) -> Instant {
    Instant::from_nanos(now.as_nanos().saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
