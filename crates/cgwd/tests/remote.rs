//! The commands that ask a daemon, against a fake one: what they print and how they exit.
#![allow(clippy::unwrap_used)]

mod fake;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cgwd::api::Stage;
use cgwd::control::Action;
use fake::{Fake, World, cgwd, event, status};
use serde_json::Value;

fn fake(first: Stage, second: Stage) -> Fake {
    Fake::start(World { status: Some(status(first, second)), ..World::default() })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_exit_status_of_status_tells_how_things_stand() {
    for (first, second, expected) in
        [(Stage::Up, Stage::Up, 0), (Stage::Up, Stage::Down, 1), (Stage::Bgp, Stage::Down, 2)]
    {
        let fake = fake(first, second);
        assert_eq!(fake.cgwd(&["status"]).status.code(), Some(expected));
        assert_eq!(fake.cgwd(&["status", "--json"]).status.code(), Some(expected));
    }
}

#[test]
fn without_a_daemon_status_exits_3_and_says_what_to_look_at() {
    let directory = tempfile::tempdir().unwrap();
    let output = cgwd(&directory.path().join("nobody"), &["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let complaint = text(&output.stderr);
    assert!(complaint.contains("nobody") && complaint.contains("systemctl status cgwd"), "{complaint}");
}

#[test]
fn status_shows_every_configured_tunnel_and_what_to_do_about_the_one_that_is_down() {
    let screen = text(&fake(Stage::Up, Stage::Down).cgwd(&["status"]).stdout);
    for part in ["tunnel1", "tunnel2", "198.51.100.1", "203.0.113.1", "IKE-NO-ANSWER", "Allow UDP 500."] {
        assert!(screen.contains(part), "{part} is missing:\n{screen}");
    }
    assert!(!screen.contains('\x1b'), "no colours into a pipe");
}

#[test]
fn the_json_of_status_has_every_field_of_the_contract() {
    let output = fake(Stage::Up, Stage::Down).cgwd(&["status", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let has = |value: &Value, fields: &[&str]| {
        for field in fields {
            assert!(value.get(field).is_some(), "{field} is missing in {value}");
        }
    };
    has(&json, &["schema", "version", "uptime_seconds", "redundancy", "connections"]);
    assert_eq!(json["schema"], 1);
    assert_eq!(json["redundancy"], "degraded");
    let connection = &json["connections"][0];
    has(connection, &["id", "routing", "tunnels"]);
    let tunnel_fields = [
        "name",
        "outside_ip",
        "interface",
        "inside_ip",
        "mtu",
        "stage",
        "since_seconds",
        "egress",
        "drained",
        "ike",
        "child",
        "probe",
        "bgp",
        "last_error",
    ];
    let (up, down) = (&connection["tunnels"][0], &connection["tunnels"][1]);
    has(up, &tunnel_fields);
    has(down, &tunnel_fields);
    has(
        &up["ike"],
        &["state", "spi_i", "spi_r", "role", "proposal", "established_seconds", "rekey_in_seconds", "rekeys"],
    );
    has(
        &up["child"],
        &[
            "state",
            "spi_in",
            "spi_out",
            "proposal",
            "encapsulation",
            "rekey_in_seconds",
            "rekeys",
            "rx_packets",
            "rx_bytes",
            "tx_packets",
            "tx_bytes",
            "drops",
        ],
    );
    has(&up["child"]["drops"], &["auth", "replay", "no_sa", "malformed", "mtu", "queue"]);
    has(&up["probe"], &["rtt_ms", "loss_ratio"]);
    has(&down["last_error"], &["code", "text", "seconds_ago"]);
    for object in ["ike", "child", "probe", "bgp"] {
        assert!(down[object].is_null(), "{object} does not exist yet");
    }
    assert_eq!((&up["stage"], &down["stage"]), (&Value::from("up"), &Value::from("down")));
}

#[test]
fn wait_returns_when_the_tunnels_are_up_and_not_before() {
    let fake = fake(Stage::Up, Stage::Down);
    assert_eq!(fake.cgwd(&["wait", "--for", "any", "--timeout", "5s"]).status.code(), Some(0));
    let output = fake.cgwd(&["wait", "--for", "all", "--timeout", "300ms"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("vpn-0a1b/tunnel2 is at stage down, IKE-NO-ANSWER"), "{complaint}");
    let socket = fake.socket();
    let waiting = std::thread::spawn(move || cgwd(&socket, &["wait", "--timeout", "30s"]));
    fake.world.lock().unwrap().status = Some(status(Stage::Up, Stage::Up));
    assert_eq!(waiting.join().unwrap().status.code(), Some(0));
}

#[test]
fn wait_is_patient_with_a_daemon_that_is_not_there_yet() {
    let directory = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let output = cgwd(&directory.path().join("later"), &["wait", "--timeout", "400ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(began.elapsed() >= Duration::from_millis(400));
}

#[test]
fn events_are_one_json_object_a_line() {
    let fake = fake(Stage::Up, Stage::Up);
    fake.add_event(event(1, "IKE-UP"));
    fake.add_event(event(2, "TUNNEL-UP"));
    let output = text(&fake.cgwd(&["events", "--json"]).stdout);
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for field in ["time", "tunnel", "code", "text", "took_ms"] {
        assert!(lines[0].get(field).is_some(), "{field} is missing");
    }
    assert_eq!(lines[1]["code"], "TUNNEL-UP");
    assert!(text(&fake.cgwd(&["events"]).stdout).contains("TUNNEL-UP"));
}

#[test]
fn following_events_prints_new_ones_as_they_come() {
    let fake = fake(Stage::Up, Stage::Up);
    fake.add_event(event(1, "IKE-UP"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_cgwd"))
        .args(["events", "--follow", "--json", "--socket"])
        .arg(fake.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("IKE-UP"));
    fake.add_event(event(2, "PEER-DELETED"));
    assert!(lines.next().unwrap().unwrap().contains("PEER-DELETED"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn each_operator_command_reaches_its_action() {
    let fake = fake(Stage::Up, Stage::Up);
    for (arguments, action) in [
        (&["reset", "tunnel1"][..], Action::Reset),
        (&["rekey", "ike", "tunnel1"], Action::RekeyIke),
        (&["rekey", "child", "vpn-0a1b/tunnel1"], Action::RekeyChild),
        (&["drain", "tunnel1"], Action::Drain),
        (&["undrain", "tunnel1"], Action::Undrain),
    ] {
        let output = fake.cgwd(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let (tunnel, acted) = fake.world.lock().unwrap().acted.pop().unwrap();
        assert_eq!((tunnel.as_str(), acted), (*arguments.last().unwrap(), action));
    }
    let output = fake.cgwd(&["reset", "tunnel 9"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no tunnel is called `tunnel 9`"));
}

#[test]
fn a_refused_reload_exits_2_with_the_files_error() {
    let output = fake(Stage::Up, Stage::Up).cgwd(&["reload"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cgwd.toml:3: unknown key"));
}

#[test]
fn reload_can_bring_a_file_that_the_daemon_cannot_read() {
    let fake = fake(Stage::Up, Stage::Up);
    let generic = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/generic-static.txt");
    let path = fake.directory.path().join("cgwd.toml");
    let file = path.to_str().unwrap();
    let imported =
        fake.cgwd(&["import", "--lan", "10.10.0.0/16", "--vpc", "10.20.0.0/16", "-o", file, generic]);
    assert_eq!(imported.status.code(), Some(0), "{}", text(&imported.stderr));
    let output = fake.cgwd(&["reload", "--config", file]);
    let size = std::fs::metadata(&path).unwrap().len();
    assert_eq!(text(&output.stdout), format!("{file} of {size} octets\n"));
    // What is wrong with it is for the daemon to say, which also keeps it as an event.
    std::fs::write(&path, "nonsense = 1\n").unwrap();
    let output = fake.cgwd(&["reload", "--config", file]);
    assert_eq!(text(&output.stdout), format!("{file} of 13 octets\n"));
}

#[test]
fn the_socket_can_be_named_by_the_environment() {
    let fake = fake(Stage::Up, Stage::Up);
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgwd"));
    let output = command.env("CGWD_SOCKET", fake.socket()).arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_second_daemon_on_the_same_socket_is_refused_and_a_dead_ones_file_is_replaced() {
    use cgwd::control::server::{BindError, Server};
    use std::os::unix::fs::PermissionsExt;
    let fake = fake(Stage::Up, Stage::Up);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert!(matches!(Server::bind(&fake.socket()), Err(BindError::InUse(_))));
        let stale = fake.directory.path().join("stale");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let server = Server::bind(&stale).unwrap();
        let mode = std::fs::metadata(&stale).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        drop(server);
        assert!(!stale.exists());
    });
}

#[test]
fn an_offload_that_failed_is_a_zero_with_its_reason() {
    let page = cgwd::metrics::render(&cgwd::metrics::Snapshot::of(status(Stage::Up, Stage::Down)));
    assert!(page.contains("offload=\"udp_gso\",state=\"failed (errno 5)\"} 0\n"), "{page}");
}

#[test]
fn metrics_have_a_series_for_a_tunnel_that_is_down() {
    let page = cgwd::metrics::render(&cgwd::metrics::Snapshot::of(status(Stage::Up, Stage::Down)));
    assert!(page.contains(
        "cgwd_tunnel_up{connection=\"vpn-0a1b\",tunnel=\"tunnel2\",outside_ip=\"203.0.113.1\"} 0\n"
    ));
    assert!(page.ends_with("# EOF\n"));
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}
