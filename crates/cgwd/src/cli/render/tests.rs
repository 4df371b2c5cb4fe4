use super::*;
use crate::api::{Connection, LastError, Probe, fixtures};

fn tunnel(name: &str, stage: Stage) -> Tunnel {
    Tunnel {
        inside_ip: Some("169.254.10.2".parse().unwrap()),
        stage,
        since_seconds: 75.0,
        egress: stage == Stage::Up,
        probe: Some(Probe { rtt_ms: Some(1.24), loss_ratio: 0.05, sent: 20, received: 19 }),
        ..fixtures::tunnel(name)
    }
}

fn screen(tunnels: Vec<Tunnel>, redundancy: Redundancy) -> String {
    status(
        &Status {
            schema: 1,
            version: "0.1.0".to_owned(),
            uptime_seconds: 3_700.0,
            redundancy,
            connections: vec![Connection {
                id: "vpn-0a1b".to_owned(),
                routing: "static".to_owned(),
                tunnels,
            }],
        },
        false,
    )
}

#[test]
fn a_configured_tunnel_that_is_down_stands_on_the_screen_with_its_error_and_remedy() {
    let mut down = tunnel("tunnel2", Stage::Down);
    down.probe = None;
    down.last_error = Some(LastError {
        code: "IKE-AUTH-FAILED".to_owned(),
        text: "AUTHENTICATION_FAILED".to_owned(),
        remedy: "Copy the key again.".to_owned(),
        seconds_ago: 4.0,
    });
    let text = screen(vec![tunnel("tunnel1", Stage::Up), down], Redundancy::Degraded);
    let expected = "\
cgwd 0.1.0, running for 1h 01m: degraded: not all tunnels are up

vpn-0a1b (static)
→ tunnel1  up       1m 15s  198.51.100.1  cgw0  RTT   1.2 ms  loss   5 %
    inside  169.254.10.2, MTU 1438
  tunnel2  down     1m 15s  198.51.100.1  cgw0  RTT        -  loss   - %
    inside  169.254.10.2, MTU 1438
    error   IKE-AUTH-FAILED (4.0s ago): AUTHENTICATION_FAILED
    remedy  Copy the key again.

→ traffic to AWS leaves here
";
    assert_eq!(text, expected);
}

#[test]
fn an_old_error_of_a_tunnel_that_is_up_is_history() {
    let mut up = tunnel("tunnel1", Stage::Up);
    up.last_error = Some(LastError {
        code: "PEER-DELETED".to_owned(),
        text: "AWS deleted the IKE SA".to_owned(),
        remedy: "Nothing.".to_owned(),
        seconds_ago: 4_000.0,
    });
    let text = screen(vec![up], Redundancy::Full);
    assert!(text.contains("    last    PEER-DELETED (1h 06m ago): AWS deleted the IKE SA\n"), "{text}");
    assert!(!text.contains("remedy"), "{text}");
}

#[test]
fn times_and_sizes_read_as_people_say_them() {
    assert_eq!(span(3.21), "3.2s");
    assert_eq!(span(59.9), "59s");
    assert_eq!(span(65.0), "1m 05s");
    assert_eq!(span(86_400.0 * 3.5), "3d 12h");
    assert_eq!(octets(999), "999 B");
    assert_eq!(octets(1_500_000), "1.5 MB");
    assert_eq!(milliseconds(0.32), "0.3 ms");
    assert_eq!(milliseconds(65_000.0), "1m 05s");
}

#[test]
fn an_event_is_one_line_with_how_long_it_took() {
    let mut text = String::new();
    let shown = Event {
        id: 1,
        time: "2026-08-01T12:00:00.000Z".to_owned(),
        tunnel: Some("tunnel1".to_owned()),
        connection: Some("vpn-1".to_owned()),
        code: "IKE-UP".to_owned(),
        text: "IKE SA established".to_owned(),
        took_ms: Some(38.2),
    };
    event(&mut text, &shown);
    assert_eq!(
        text,
        "2026-08-01T12:00:00.000Z  tunnel1     IKE-UP                  IKE SA established (38 ms)\n"
    );
}
