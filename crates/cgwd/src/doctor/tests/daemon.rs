//! What the daemon's status and events tell: stages IKE to redundancy.

use super::support::{first, found, healthy, quiet, toml};
use crate::api::Stage;
use crate::doctor::Severity;
use crate::doctor::measure::Talk;

/// Number of the symptom, the tunnel's stage, the daemon's error and text, and the code that comes first.
const SYMPTOMS: &[(u8, Stage, &str, &str, &str)] = &[
    (1, Stage::Down, "IKE-NO-ANSWER", "no answer to IKE_SA_INIT", "IKE-NO-ANSWER"),
    (1, Stage::Down, "IKE-SEND-FAILED", "cannot send: Network is unreachable", "IKE-SEND-FAILED"),
    (2, Stage::Down, "IKE-AUTH-NO-ANSWER", "no answer to IKE_AUTH", "IKE-AUTH-NO-ANSWER"),
    (3, Stage::Down, "IKE-NO-PROPOSAL", "NO_PROPOSAL_CHOSEN in IKE_SA_INIT", "IKE-NO-PROPOSAL"),
    (
        4,
        Stage::Down,
        "IKE-NO-PROPOSAL",
        "INVALID_KE_PAYLOAD in IKE_SA_INIT: the peer wants MODP_1024",
        "IKE-DH-GROUP",
    ),
    (5, Stage::Down, "IKE-AUTH-FAILED", "AUTHENTICATION_FAILED", "IKE-AUTH-FAILED"),
    (5, Stage::Down, "IKE-AUTH-PSK-SWAPPED", "AUTHENTICATION_FAILED: swapped", "IKE-AUTH-PSK-SWAPPED"),
    (6, Stage::Down, "IKE-ID-MISMATCH", "the peer calls itself CN=aws", "IKE-ID-MISMATCH"),
    (8, Stage::Down, "IKE-VERSION", "INVALID_MAJOR_VERSION", "IKE-VERSION"),
    (9, Stage::Ike, "IPSEC-NO-PROPOSAL", "NO_PROPOSAL_CHOSEN in IKE_AUTH", "IPSEC-NO-PROPOSAL"),
    (9, Stage::Ike, "IPSEC-FAILED", "the peer answers FAILED_CP_REQUIRED", "IPSEC-FAILED"),
    (10, Stage::Ike, "IPSEC-TS-UNACCEPTABLE", "TS_UNACCEPTABLE", "IPSEC-TS-UNACCEPTABLE"),
    (11, Stage::Ike, "IPSEC-NO-PROPOSAL", "NO_PROPOSAL_CHOSEN in CREATE_CHILD_SA", "IPSEC-REKEY-FAILED"),
    (13, Stage::Down, "PEER-DELETED", "AWS deleted the IKE SA", "PEER-DELETED"),
    (14, Stage::Ike, "IPSEC-FAILED", "the peer answers SINGLE_PAIR_REQUIRED", "IPSEC-SINGLE-PAIR"),
    (16, Stage::Ipsec, "IPSEC-ESP-BLOCKED", "ESP packets sent 120, received 0", "IPSEC-ESP-BLOCKED"),
    (16, Stage::Tunnel, "TUN-PROBE-LOST", "ESP arrives, no echo", "TUN-PROBE-LOST"),
    (31, Stage::Down, "IKE-NO-ANSWER", "no answer to IKE_SA_INIT", "IKE-NO-ANSWER"),
    (34, Stage::Down, "IKE-LIVENESS-LOST", "AWS does not answer INFORMATIONAL", "IKE-LIVENESS-LOST"),
];

#[test]
fn every_error_of_the_daemon_comes_first_with_its_tunnel_and_the_lost_redundancy_follows() {
    for (number, stage, code, text, expected) in SYMPTOMS {
        let facts = healthy("static").event(0, "IPSEC-UP", "", 1_000).failing(0, *stage, code, text);
        let finding = first(&facts, expected);
        assert_eq!(finding.tunnel.as_deref(), Some("tunnel1"), "symptom {number}");
        assert!(finding.cause.contains(text), "symptom {number}: {}", finding.cause);
        assert!(!finding.remedy.is_empty());
        let lost = found(&facts, "REDUNDANCY-LOST");
        if finding.severity == Severity::Error {
            assert_eq!(lost.because_of.as_deref(), Some(*expected), "symptom {number}");
        }
        let known = crate::doctor::known::find(expected).unwrap();
        assert!(known.symptoms.contains(number), "{expected} does not name symptom {number}");
    }
}

#[test]
fn a_healthy_pair_says_nothing_above_info() {
    quiet(&healthy("static"));
    quiet(&healthy("bgp"));
}

#[test]
fn an_error_of_the_past_says_nothing_while_the_tunnel_is_up() {
    for (_, _, code, text, _) in SYMPTOMS {
        let facts = healthy("static").failing(0, Stage::Up, code, text);
        quiet(&facts);
    }
}

#[test]
fn symptom_01_one_silent_endpoint_and_two_say_different_things() {
    let one = healthy("static").failing(0, Stage::Down, "IKE-NO-ANSWER", "silence");
    assert!(first(&one, "IKE-NO-ANSWER").cause.contains("another endpoint answers"));
    let both = one.failing(1, Stage::Down, "IKE-NO-ANSWER", "silence");
    let finding = first(&both, "IKE-NO-ANSWER");
    assert!(finding.remedy.contains("192.0.2.1"), "{}", finding.remedy);
    assert!(finding.cause.contains("198.51.100.1") && finding.cause.contains("203.0.113.1"));
    let none = found(&both, "REDUNDANCY-NONE");
    assert_eq!(none.because_of.as_deref(), Some("IKE-NO-ANSWER"));
}

#[test]
fn symptom_05_the_local_causes_of_a_refused_key_are_told() {
    let text = toml("static", "").replacen("psk =", "local_id = \"gw.example\"\npsk =", 1);
    let facts = healthy("static").failing(0, Stage::Down, "IKE-AUTH-FAILED", "x").with_config(&text);
    let finding = found(&facts, "IKE-LOCAL-ID");
    assert_eq!(finding.because_of.as_deref(), Some("IKE-AUTH-FAILED"));

    let mut facts = healthy("static").failing(0, Stage::Down, "IKE-AUTH-FAILED", "x");
    let key = facts.keys.get(&"203.0.113.1".parse().unwrap()).unwrap().clone();
    facts.keys.insert("198.51.100.1".parse().unwrap(), key);
    let finding = found(&facts, "IKE-PSK-TWICE");
    assert!(finding.cause.contains("tunnel2") && !finding.cause.contains("lab_Psk"));
}

#[test]
fn symptom_07_aws_beginning_is_worth_knowing_only() {
    let mut facts = healthy("static");
    facts.tunnel_mut(0).ike.as_mut().unwrap().role = "responder".to_owned();
    assert_eq!(found(&facts, "IKE-AWS-BEGAN").severity, Severity::Info);
    quiet(&facts);
}

#[test]
fn symptom_11_a_refused_rekey_warns_while_the_old_keys_still_work() {
    let refused =
        || healthy("static").event(0, "IPSEC-NO-PROPOSAL", "NO_PROPOSAL_CHOSEN in CREATE_CHILD_SA", 30);
    assert_eq!(first(&refused(), "IPSEC-REKEY-FAILED").severity, Severity::Warning);
    quiet(&refused().event(0, "IPSEC-REKEYED", "rekeyed by us", 10));
}

#[test]
fn symptom_13_and_30_goodbyes_again_and_again_are_told() {
    let mut facts = healthy("static");
    for age in [2_000, 1_500] {
        facts = facts.event(0, "PEER-DELETED", "AWS deleted the IKE SA", age);
    }
    quiet(&facts);
    let facts = facts.event(0, "PEER-DELETED", "AWS deleted the IKE SA", 300);
    assert!(first(&facts, "TUN-DELETED-OFTEN").cause.contains("3 times"));
}

#[test]
fn symptom_15_replays_count_against_what_arrives() {
    let with = |replays: u64, received: u64| {
        let mut facts = healthy("static");
        let child = facts.tunnel_mut(0).child.as_mut().unwrap();
        child.drops.replay = replays;
        child.rx_packets = received;
        facts
    };
    first(&with(200, 10_000), "IPSEC-REPLAY");
    quiet(&with(3, 100));
    quiet(&with(200, 100_000_000));
}

#[test]
fn symptom_16_fresh_sas_have_time_to_answer() {
    let waiting = |seconds: f64| {
        let mut facts = healthy("static");
        let tunnel = facts.tunnel_mut(0);
        tunnel.stage = Stage::Ipsec;
        tunnel.since_seconds = seconds;
        facts
    };
    quiet(&waiting(2.0));
    assert_eq!(first(&waiting(30.0), "TUN-WAITING").severity, Severity::Error);
}

#[test]
fn symptom_17_and_20_one_way_traffic_lists_what_to_check_at_aws() {
    let with = |out: u64, back: u64, routing: &str| {
        let mut facts = healthy(routing);
        for n in 0..2 {
            let child = facts.tunnel_mut(n).child.as_mut().unwrap();
            (child.tx_packets, child.rx_packets) = (60 + if n == 0 { out } else { 0 }, 60 + back);
        }
        facts
    };
    // The counters alone are no alarm: datagrams need no answer.
    quiet(&with(500, 0, "static"));
    let listened = |talks: &[Talk], back| {
        let mut facts = with(500, back, "static");
        facts.measured.unanswered.insert("vpn-1".to_owned(), talks.to_vec());
        facts
    };
    quiet(&listened(&[], 0));
    let talk =
        Talk { from: "10.10.0.2".parse().unwrap(), to: "172.31.0.9".parse().unwrap(), port: Some(443) };
    let finding = first(&listened(&[talk], 0), "VPC-NO-RETURN");
    assert!(finding.cause.contains("TCP from 10.10.0.2 to 172.31.0.9 port 443"), "{}", finding.cause);
    // What the doctor asked for itself does not hide it.
    first(&listened(&[talk], 20), "VPC-NO-RETURN");
    for step in [
        "create-vpn-connection-route",
        "enable-vgw-route-propagation",
        "describe-route-tables",
        "describe-security-groups",
        "describe-network-acls",
    ] {
        assert!(finding.remedy.contains(step), "{step}");
    }
    quiet(&with(5, 0, "static"));
    quiet(&with(500, 1, "static"));
    quiet(&with(500, 0, "bgp"));
}

#[test]
fn symptom_18_answers_on_the_other_tunnel_are_normal() {
    let mut facts = healthy("static");
    facts.tunnel_mut(0).child.as_mut().unwrap().rx_packets = 60;
    assert_eq!(found(&facts, "ROUTE-ASYMMETRIC").severity, Severity::Info);
    quiet(&facts);
}

#[test]
fn symptom_19_packets_that_may_not_be_fragmented_are_told() {
    let mut facts = healthy("static");
    facts.tunnel_mut(0).child.as_mut().unwrap().drops.mtu = 7;
    quiet(&facts);
    let text = toml("static", "").replacen("psk =", "clear_df = false\npsk =", 1);
    first(&facts.with_config(&text), "TUN-TOO-BIG");
}

fn stuck(waiting_for: &str) -> crate::doctor::Facts {
    let mut facts = healthy("bgp");
    let tunnel = facts.tunnel_mut(0);
    tunnel.stage = Stage::Bgp;
    tunnel.since_seconds = 40.0;
    let session = tunnel.bgp.as_mut().unwrap();
    session.state = "Active".to_owned();
    session.uptime_seconds = None;
    session.waiting_for = Some(waiting_for.to_owned());
    facts
}

#[test]
fn symptom_22_and_29_a_stuck_session_explains_the_console() {
    let facts = stuck("AWS refuses TCP 179");
    let finding = first(&facts, "BGP-NOT-ESTABLISHED");
    assert!(finding.cause.contains("Active") && finding.cause.contains("TCP 179"));
    assert_eq!(found(&facts, "BGP-CONSOLE-DOWN").because_of.as_deref(), Some("BGP-NOT-ESTABLISHED"));
    assert_eq!(found(&facts, "REDUNDANCY-LOST").because_of.as_deref(), Some("BGP-NOT-ESTABLISHED"));
}

#[test]
fn symptoms_23_24_and_25_a_notification_is_told_by_its_code() {
    for (number, text, code) in [
        (23, "AWS sent NOTIFICATION 2/2: bad peer AS", "BGP-BAD-AS"),
        (24, "AWS sent NOTIFICATION 6/1: maximum number of prefixes reached", "BGP-PREFIX-LIMIT"),
        (25, "we sent NOTIFICATION 4/0: hold timer expired", "BGP-HOLD-EXPIRED"),
        (22, "AWS sent NOTIFICATION 6/4: administrative reset", "BGP-DOWN"),
    ] {
        first(&stuck("").event(0, "BGP-NOTIFICATION", text, 5), code);
        first(&stuck(text), code);
        assert!(crate::doctor::known::find(code).unwrap().symptoms.contains(&number), "{code}");
    }
    // What ended an earlier session is no news once a later one was up.
    let facts =
        stuck("").event(0, "BGP-NOTIFICATION", "AWS sent NOTIFICATION 2/2: x", 90).event(0, "BGP-UP", "", 60);
    first(&facts, "BGP-NOT-ESTABLISHED");
}

#[test]
fn symptom_24_prefixes_near_the_limit_are_told() {
    let facts =
        healthy("bgp").event(0, "BGP-PREFIXES", "AWS announces 4500 prefixes, the limit here is 5000", 5);
    assert!(first(&facts, "BGP-PREFIXES").cause.contains("4500"));
}

#[test]
fn symptom_26_a_session_without_prefixes_is_told() {
    let with = |received, accepted| {
        let mut facts = healthy("bgp");
        let session = facts.tunnel_mut(0).bgp.as_mut().unwrap();
        (session.received, session.accepted) = (received, accepted);
        facts
    };
    first(&with(0, 0), "BGP-NO-PREFIXES");
    first(&with(3, 0), "BGP-ALL-FILTERED");
    let mut fresh = with(0, 0);
    fresh.tunnel_mut(0).bgp.as_mut().unwrap().uptime_seconds = Some(2.0);
    quiet(&fresh);
}

#[test]
fn symptom_30_a_tunnel_without_inside_addresses_has_nothing_to_keep_it_busy() {
    let text = toml("static", "").replace("inside = \"169.254.10.2/30\"\n", "");
    first(&healthy("static").with_config(&text), "TUN-NO-PROBE");
}

#[test]
fn symptom_32_both_tunnels_ended_together_is_one_cause() {
    let mut facts = healthy("static");
    for n in 0..2 {
        facts = facts.failing(n, Stage::Down, "IKE-NO-ANSWER", "silence").event(
            n,
            "PEER-DELETED",
            "AWS deleted the IKE SA",
            60 + n as u64,
        );
    }
    first(&facts, "AWS-REPROVISIONS");
    for code in ["IKE-NO-ANSWER", "REDUNDANCY-NONE"] {
        assert_eq!(found(&facts, code).because_of.as_deref(), Some("AWS-REPROVISIONS"), "{code}");
    }
    // Back again, it is history; and a changed key is more than a replacement.
    quiet(&healthy("static").event(0, "PEER-DELETED", "", 60).event(1, "PEER-DELETED", "", 61));
    let changed =
        facts.failing(0, Stage::Down, "IKE-AUTH-FAILED", "x").failing(1, Stage::Down, "IKE-AUTH-FAILED", "x");
    first(&changed, "IKE-AUTH-FAILED");
}

#[test]
fn symptom_34_losses_are_told_when_there_are_enough_probes() {
    let with = |sent, loss_ratio| {
        let mut facts = healthy("static");
        let probe = facts.tunnel_mut(0).probe.as_mut().unwrap();
        (probe.sent, probe.loss_ratio) = (sent, loss_ratio);
        facts
    };
    assert!(first(&with(60, 0.2), "TUN-LOSS").cause.contains("20 %"));
    quiet(&with(60, 0.02));
    quiet(&with(5, 0.5));
}

#[test]
fn symptom_35_one_tunnel_is_no_redundancy() {
    let mut facts = healthy("static");
    facts.running_mut().status.connections[0].tunnels.truncate(1);
    let text = toml("static", "");
    let end = text.rfind("[[connection.tunnel]]").unwrap();
    first(&facts.with_config(&text[..end]), "REDUNDANCY-SINGLE");
}

#[test]
fn flapping_is_told_and_an_operators_resets_are_not() {
    let downs = |resets: usize| {
        let mut facts = healthy("static");
        for age in [3_000, 2_300, 1_100, 400] {
            facts = facts.event(0, "TUNNEL-DOWN", "down", age);
        }
        for _ in 0..resets {
            facts = facts.event(0, "TUNNEL-RESET", "reset", 10);
        }
        facts
    };
    first(&downs(0), "TUN-FLAPPING");
    quiet(&downs(4));
}

#[test]
fn a_fresh_start_is_no_alarm_and_a_long_one_is() {
    let connecting = |seconds: f64| {
        let mut facts = healthy("static").failing(0, Stage::Down, "", "");
        let tunnel = facts.tunnel_mut(0);
        tunnel.last_error = None;
        tunnel.since_seconds = seconds;
        facts
    };
    quiet(&connecting(3.0));
    first(&connecting(60.0), "IKE-CONNECTING");
    let text = toml("static", "").replacen("psk =", "startup = \"respond\"\npsk =", 1);
    assert_eq!(first(&connecting(60.0).with_config(&text), "IKE-CONNECTING").severity, Severity::Error);
}

#[test]
fn weak_algorithms_are_told() {
    let mut facts = healthy("static");
    facts.tunnel_mut(0).ike.as_mut().unwrap().proposal = "AES_CBC_128/HMAC_SHA1_96/MODP_1024".to_owned();
    assert!(first(&facts, "IKE-WEAK-ALGORITHM").cause.contains("MODP_1024"));
}

#[test]
fn a_drained_tunnel_is_worth_knowing_only() {
    let mut facts = healthy("static");
    facts.tunnel_mut(1).drained = true;
    assert_eq!(found(&facts, "TUNNEL-DRAINED").severity, Severity::Info);
    quiet(&facts);
}
