//! Stage IKE: phase 1, as far as the daemon's last error and the configuration tell.

use std::net::IpAddr;

use config::{Identity, KeySource, Startup};

use super::facts::Line;
use super::known::{Known, daemon};
use super::{Finding, Severity, Stage};
use crate::api;
use crate::catalog::Code;

pub(super) const CODES: &[&Known] = &[
    &NO_ANSWER,
    &AUTH_NO_ANSWER,
    &NO_PROPOSAL,
    &GROUP,
    &AUTH_FAILED,
    &PSK_SWAPPED,
    &LOCAL_ID,
    &PSK_TWICE,
    &ID_MISMATCH,
    &VERSION,
    &PPK,
    &CERT_REFUSED,
    &CERT_EXPIRED,
    &CERT_NOT_YET,
    &CERT_REVOKED,
    &CERT_UNTRUSTED,
    &CERT_NAME,
    &CERT_EXTENSION,
    &CERT_WEAK,
    &CERT_INVALID,
    &CERT_SOON,
    &PEER_ERROR,
    &PROTOCOL,
    &LIVENESS,
    &PEER_DELETED,
    &CONNECTING,
    &WEAK,
    &BOTH,
];

/// Without an error of its own a tunnel has this long to connect.
const CONNECT_SECONDS: f64 = 20.0;

pub(super) const NO_ANSWER: Known =
    daemon(Code::IkeNoAnswer, Stage::Ike, &[1, 31], "The tunnel does not come up; status shows stage down.");
pub(super) const AUTH_NO_ANSWER: Known =
    daemon(Code::IkeAuthNoAnswer, Stage::Ike, &[2], "The tunnel does not come up; AWS logs a time-out.");
pub(super) const NO_PROPOSAL: Known =
    daemon(Code::IkeNoProposal, Stage::Ike, &[3], "The tunnel does not come up; NO_PROPOSAL_CHOSEN.");
pub(super) const AUTH_FAILED: Known =
    daemon(Code::IkeAuthFailed, Stage::Ike, &[5, 6], "The tunnel does not come up; AUTHENTICATION_FAILED.");
pub(super) const PSK_SWAPPED: Known =
    daemon(Code::IkeAuthPskSwapped, Stage::Ike, &[5], "Both tunnels fail with AUTHENTICATION_FAILED.");
pub(super) const ID_MISMATCH: Known = daemon(
    Code::IkeIdMismatch,
    Stage::Ike,
    &[5, 6],
    "The tunnel does not come up although the key is right.",
);
pub(super) const VERSION: Known = daemon(
    Code::IkeVersion,
    Stage::Ike,
    &[8],
    "The tunnel does not come up; INVALID_MAJOR_VERSION, or silence.",
);
const NOT_UP: &str = "The tunnel does not come up; AUTHENTICATION_FAILED.";
pub(super) const PPK: Known = daemon(Code::IkePpkMismatch, Stage::Ike, &[], NOT_UP);
pub(super) const CERT_REFUSED: Known = daemon(Code::IkeCertRefused, Stage::Ike, &[6], NOT_UP);
pub(super) const CERT_EXPIRED: Known = daemon(Code::IkeCertExpired, Stage::Ike, &[6], NOT_UP);
pub(super) const CERT_NOT_YET: Known = daemon(Code::IkeCertNotYetValid, Stage::Ike, &[6], NOT_UP);
pub(super) const CERT_REVOKED: Known = daemon(Code::IkeCertRevoked, Stage::Ike, &[6], NOT_UP);
pub(super) const CERT_UNTRUSTED: Known = daemon(Code::IkeCertUntrusted, Stage::Ike, &[6], NOT_UP);
pub(super) const CERT_NAME: Known = daemon(Code::IkeCertName, Stage::Ike, &[6], NOT_UP);
pub(super) const CERT_EXTENSION: Known = daemon(Code::IkeCertExtension, Stage::Ike, &[6], NOT_UP);
pub(super) const CERT_WEAK: Known = daemon(Code::IkeCertWeak, Stage::Ike, &[6], NOT_UP);
pub(super) const CERT_INVALID: Known = daemon(Code::IkeCertInvalid, Stage::Ike, &[6], NOT_UP);
pub(super) const CERT_SOON: Known = daemon(
    Code::CertExpiresSoon,
    Stage::Ike,
    &[6],
    "Nothing yet; one day the tunnel does not come up again after it went down.",
);
pub(super) const PEER_ERROR: Known =
    daemon(Code::IkePeerError, Stage::Ike, &[], "The tunnel does not come up.");
pub(super) const PROTOCOL: Known = daemon(Code::IkeProtocol, Stage::Ike, &[], "The tunnel does not come up.");
pub(super) const LIVENESS: Known =
    daemon(Code::IkeLivenessLost, Stage::Ike, &[34], "A tunnel that was up is down, with no goodbye.");
pub(super) const PEER_DELETED: Known =
    daemon(Code::PeerDeleted, Stage::Ike, &[13, 31], "A tunnel that was up is down; AWS said goodbye.");
pub(super) const WEAK: Known =
    daemon(Code::WeakAlgorithm, Stage::Ike, &[], "Nothing; an auditor would object.");

pub(super) const GROUP: Known = Known {
    code: "IKE-DH-GROUP",
    stage: Stage::Ike,
    severity: Severity::Error,
    symptoms: &[4],
    title: "INVALID_KE_PAYLOAD: AWS insists on a Diffie-Hellman group that is not offered",
    symptom: "The tunnel does not come up; INVALID_KE_PAYLOAD.",
    cause: "AWS names the group that it wants, and normally the next attempt takes it without anybody noticing. Here the configuration does not allow that group.",
    remedy: "Add the group to dh_groups of the tunnel's phase 1, or allow one of ours in the tunnel options at AWS (Phase1DHGroupNumbers).",
    aws_log: Some("AWS tunnel received: No Proposal Match Found by AWS"),
};

pub(super) const LOCAL_ID: Known = Known {
    code: "IKE-LOCAL-ID",
    stage: Stage::Ike,
    severity: Severity::Warning,
    symptoms: &[5],
    title: "Our identity is not the customer gateway's public address",
    symptom: "AUTHENTICATION_FAILED although the key is right, mostly behind NAT.",
    cause: "AWS looks the key up by the identity, and expects the IP address of the customer gateway resource.",
    remedy: "Drop local_id from the configuration (its default is that address), or set it to the public address.",
    aws_log: Some("AWS tunnel detected a pre-shared key mismatch with cgw"),
};

pub(super) const PSK_TWICE: Known = Known {
    code: "IKE-PSK-TWICE",
    stage: Stage::Ike,
    severity: Severity::Warning,
    symptoms: &[5],
    title: "Both tunnels have the same pre-shared key in the configuration",
    symptom: "One tunnel comes up, the other one fails with AUTHENTICATION_FAILED.",
    cause: "AWS makes a key of its own for each tunnel unless somebody chose them; one of the two was probably copied into both places.",
    remedy: "Import AWS's file again, or copy each tunnel's key to the tunnel with the same outside address.",
    aws_log: Some("AWS tunnel detected a pre-shared key mismatch with cgw"),
};

pub(super) const CONNECTING: Known = Known {
    code: "IKE-CONNECTING",
    stage: Stage::Ike,
    severity: Severity::Info,
    symptoms: &[],
    title: "The tunnel is being connected",
    symptom: "The daemon was started, or the tunnel was reset, a moment ago.",
    cause: "No attempt has failed yet.",
    remedy: "Wait a few seconds and look again.",
    aws_log: None,
};

pub(super) const BOTH: Known = Known {
    code: "IKE-AWS-BEGAN",
    stage: Stage::Ike,
    severity: Severity::Info,
    symptoms: &[7],
    title: "AWS opened the IKE SA, although we open one too",
    symptom: "Nothing: of two SAs opened at once one stays.",
    cause: "The startup action at AWS is `start`, and ours is `initiate`; whoever is first wins.",
    remedy: "Nothing.",
    aws_log: None,
};

/// Last errors that are told as they come.
const TOLD: [&Known; 19] = [
    &PPK,
    &CERT_REFUSED,
    &CERT_EXPIRED,
    &CERT_NOT_YET,
    &CERT_REVOKED,
    &CERT_UNTRUSTED,
    &CERT_NAME,
    &CERT_EXTENSION,
    &CERT_WEAK,
    &CERT_INVALID,
    &AUTH_NO_ANSWER,
    &PSK_SWAPPED,
    &ID_MISMATCH,
    &VERSION,
    &PEER_ERROR,
    &PROTOCOL,
    &LIVENESS,
    &PEER_DELETED,
    &NO_ANSWER,
];

pub(super) fn examine(lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    for line in lines {
        if line.stage() == Some(api::Stage::Down) {
            down(line, lines, findings);
        }
        established(line, findings);
        expiring(line, findings);
    }
    same_key(lines, findings);
}

fn down(line: &Line<'_>, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    let Some((code, text)) = line.failing() else {
        connecting(line, findings);
        return;
    };
    if code == NO_PROPOSAL.code {
        let known = if text.contains("INVALID_KE_PAYLOAD") { &GROUP } else { &NO_PROPOSAL };
        let mut finding = known.found().at(&line.label).seen(text);
        if let Some((_, tunnel)) = line.config {
            let ike = &tunnel.ike;
            finding = finding.seen(format!(
                "offered here: {} | {} | DH {}",
                list(&ike.encryption),
                list(&ike.integrity),
                list(&ike.dh_groups)
            ));
        }
        findings.push(finding);
    } else if code == AUTH_FAILED.code {
        findings.push(AUTH_FAILED.found().at(&line.label).seen(text));
        identity(line, findings);
    } else if let Some(known) = TOLD.iter().find(|known| known.code == code) {
        let mut finding = known.found().at(&line.label).seen(text);
        if known.code == NO_ANSWER.code {
            finding = silence(line, lines, finding);
        }
        if known.code == PEER_DELETED.code
            && line.config.is_some_and(|(_, tunnel)| tunnel.startup == Startup::Respond)
        {
            let advice = "Set startup = \"initiate\" for the tunnel: it waits for AWS, and AWS waits for us unless \
                          its startup action is `start`";
            finding = finding.rated(Severity::Error).first_do(advice);
        }
        findings.push(finding);
    }
}

/// One endpoint that is silent beside one that answers says something else than two silent ones.
fn silence(line: &Line<'_>, lines: &[Line<'_>], finding: Finding) -> Finding {
    let others = lines.iter().filter(|other| other.outside != line.outside && other.status.is_some());
    let answered = others.clone().any(|other| other.stage().is_some_and(|stage| stage > api::Stage::Down));
    let silent = others.clone().count() > 0 && others.clone().all(|other| other.fails_with(&NO_ANSWER));
    let gateway: Option<IpAddr> = line.config.and_then(|(_, tunnel)| tunnel.known_gateway());
    if answered {
        finding.seen(format!(
            "{} is silent and another endpoint answers, so UDP 500 leaves this host: a firewall names only the other \
             endpoint's address, the endpoint is being replaced, or its address is wrong",
            line.outside
        ))
    } else if silent {
        let all: Vec<IpAddr> = lines.iter().map(|line| line.outside).collect();
        let mut finding = finding.seen(format!("no endpoint answers ({})", list(&all)));
        if let Some(gateway) = gateway {
            finding = finding
                .first_do(format!("AWS answers only {gateway}: make sure that this is our public address"));
        }
        finding
    } else {
        finding
    }
}

fn identity(line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((_, tunnel)) = line.config else { return };
    if tunnel.psk().is_some() && tunnel.local_id != Identity::Address(tunnel.customer_gateway) {
        let seen = format!(
            "local_id is {}, the customer gateway {}",
            identity_text(&tunnel.local_id),
            tunnel.customer_gateway
        );
        findings.push(LOCAL_ID.found().at(&line.label).seen(seen).because(&AUTH_FAILED));
    }
}

fn identity_text(identity: &Identity) -> String {
    match identity {
        Identity::Address(address) => address.to_string(),
        Identity::Fqdn(name) | Identity::Email(name) | Identity::Name(name) => name.clone(),
        Identity::Subject => "the certificate's subject".to_owned(),
    }
}

fn connecting(line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((_, tunnel)) = line.status else { return };
    let seen = format!("down for {:.0} s", tunnel.since_seconds);
    let finding = CONNECTING.found().at(&line.label).seen(seen);
    let responds = line.config.is_some_and(|(_, config)| config.startup == Startup::Respond);
    findings.push(if tunnel.since_seconds < CONNECT_SECONDS {
        finding
    } else if responds {
        finding
            .rated(Severity::Error)
            .first_do("It waits for AWS to begin (startup = \"respond\"): set the startup action to `start` at AWS, or \"initiate\" here")
    } else {
        finding.rated(Severity::Warning).first_do("Look into `cgwd events` and the daemon's log")
    });
}

fn established(line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((_, tunnel)) = line.status else { return };
    let (Some(ike), true) = (&tunnel.ike, line.up()) else { return };
    let child = tunnel.child.as_ref().map_or("", |child| child.proposal.as_str());
    let chosen = format!("{} and {child}", ike.proposal);
    let weak: Vec<&str> =
        ["SHA1", "MODP_1024", "MODP_1536"].into_iter().filter(|name| chosen.contains(name)).collect();
    if !weak.is_empty() {
        let seen = format!("negotiated: {chosen}; weak: {}", weak.join(", "));
        findings.push(WEAK.found().at(&line.label).seen(seen));
    }
    let initiates = line.config.is_some_and(|(_, config)| config.startup == Startup::Initiate);
    if ike.role == "responder" && initiates {
        findings.push(BOTH.found().at(&line.label));
    }
}

/// Two tunnels of one connection with one key, while one of them is refused.
fn same_key(lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    for line in lines.iter().filter(|line| line.fails_with(&AUTH_FAILED)) {
        let Some(key) = line.key else { continue };
        let inline =
            line.config.is_some_and(|(_, tunnel)| matches!(tunnel.psk(), Some(KeySource::Inline(_))));
        let same = lines.iter().find(|other| {
            other.outside != line.outside
                && other.connection == line.connection
                && other.key.is_some_and(|theirs| theirs.expose() == key.expose())
        });
        if let Some(other) = same {
            let place = if inline { "in the file" } else { "in their key files" };
            let seen = format!("{} and {} have the same key {place}", line.label, other.label);
            findings.push(PSK_TWICE.found().at(&line.label).seen(seen).because(&AUTH_FAILED));
        }
    }
}

/// Ours is warned of a month ahead, the peer's a week: AWS renews its own late.
const SOON_DAYS: (i64, i64) = (30, 7);

fn expiring(line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some(certificate) = line.status.and_then(|(_, tunnel)| tunnel.certificate.as_ref()) else { return };
    let day = 86_400;
    let mut warn = |what: &str, left: i64| {
        let seen = match left {
            left if left < 0 => format!("{what} ended {} days ago", -left / day),
            left => format!("{what} ends in {} days", left / day),
        };
        findings.push(CERT_SOON.found().at(&line.label).seen(seen));
    };
    if certificate.first_end_in_seconds <= SOON_DAYS.0 * day {
        warn("a certificate, CA or revocation list of ours", certificate.first_end_in_seconds);
    }
    if let (Some(subject), Some(left)) = (&certificate.peer_subject, certificate.peer_expires_in_seconds)
        && left <= SOON_DAYS.1 * day
    {
        warn(&format!("the peer's certificate \"{subject}\""), left);
    }
}

pub(super) fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
