//! The order of findings, the screen, and what is promised about every code.

use super::support::{healthy, never_started, told};
use crate::api::Stage;
use crate::doctor::{examine, render};

#[test]
fn a_root_cause_comes_first_and_what_follows_from_it_right_behind() {
    let facts = healthy("static")
        .failing(0, Stage::Down, "IKE-AUTH-FAILED", "AUTHENTICATION_FAILED")
        .failing(1, Stage::Ike, "IPSEC-TS-UNACCEPTABLE", "TS_UNACCEPTABLE");
    assert_eq!(
        told(&examine(&facts)),
        ["IKE-AUTH-FAILED", "REDUNDANCY-NONE < IKE-AUTH-FAILED", "IPSEC-TS-UNACCEPTABLE"]
    );
}

#[test]
fn an_error_comes_before_a_warning_of_a_lower_stage() {
    let mut facts = healthy("static").failing(0, Stage::Down, "IKE-VERSION", "x");
    facts.host_mut().forwarding_v4 = Some(false);
    assert_eq!(
        told(&examine(&facts)),
        ["IKE-VERSION", "REDUNDANCY-LOST < IKE-VERSION", "HOST-FORWARDING-OFF"]
    );
}

#[test]
fn two_connections_name_their_tunnels_in_full() {
    let mut facts = healthy("static").failing(0, Stage::Down, "IKE-VERSION", "x");
    let mut other = facts.running_mut().status.connections[0].clone();
    other.id = "vpn-2".to_owned();
    for tunnel in &mut other.tunnels {
        tunnel.outside_ip = "198.51.100.200".parse().unwrap();
        tunnel.stage = Stage::Up;
        tunnel.last_error = None;
    }
    facts.running_mut().status.connections.push(other);
    let report = examine(&facts);
    assert_eq!(report.findings[0].tunnel.as_deref(), Some("vpn-1/tunnel1"));
}

#[test]
fn the_screen_shows_the_first_cause_at_the_top_and_the_ladder() {
    let facts = healthy("static").failing(0, Stage::Down, "IKE-AUTH-FAILED", "AUTHENTICATION_FAILED");
    let screen = render::screen(&examine(&facts), &facts, false);
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines[0], "1 cause of trouble.");
    assert!(lines[2].starts_with("✗ tunnel1  IKE-AUTH-FAILED: "), "{screen}");
    assert!(
        screen.contains("REDUNDANCY-LOST") && screen.contains("(because of IKE-AUTH-FAILED)"),
        "{screen}"
    );
    assert!(
        screen.contains("AWS log \"AWS tunnel detected a pre-shared key mismatch with cgw\""),
        "{screen}"
    );
    for rung in ["✓ host", "✓ underlay", "✗ ike ", "✓ ipsec", "! redundancy", "- aws"] {
        assert!(lines.iter().any(|line| line.starts_with(rung)), "{rung}\n{screen}");
    }
    assert!(
        lines.iter().filter(|line| !line.starts_with('✗')).all(|line| line.chars().count() <= 110),
        "{screen}"
    );
}

#[test]
fn a_healthy_screen_says_so_and_a_machine_without_a_daemon_shows_what_was_not_reached() {
    let facts = healthy("static");
    let screen = render::screen(&examine(&facts), &facts, false);
    assert!(screen.starts_with("Healthy: nothing to do.\n"), "{screen}");
    assert!(screen.contains("✓ tunnel      tunnel1 answers in 1.2 ms"), "{screen}");
    let facts = never_started();
    let screen = render::screen(&examine(&facts), &facts, false);
    assert!(screen.contains("- ike         the daemon does not run"), "{screen}");
    assert!(screen.contains("✗ host        HOST-NO-DAEMON"), "{screen}");
}

#[test]
fn colours_are_only_there_when_asked_for() {
    let facts = healthy("static");
    assert!(!render::screen(&examine(&facts), &facts, false).contains('\x1b'));
    assert!(render::screen(&examine(&facts), &facts, true).contains('\x1b'));
}

#[test]
fn the_json_has_the_promised_fields() {
    let facts = healthy("static").failing(0, Stage::Down, "IKE-VERSION", "x");
    let json = serde_json::to_value(examine(&facts)).unwrap();
    assert_eq!(json["schema"], 1);
    let mut keys: Vec<&str> = json["findings"][0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["aws_log", "because_of", "cause", "code", "remedy", "severity", "stage", "title", "tunnel"]
    );
    assert_eq!(json["findings"][0]["stage"], "ike");
    assert_eq!(json["findings"][0]["severity"], "error");
}
