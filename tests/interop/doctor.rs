//! Real peers produce the symptoms that people report; `cgwd doctor` names each first, and nothing on a healthy pair.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::aws_file::{Connection, Tunnel};
use lab::endpoint::{Allowed, Encryption, Hash};
use lab::process::{Process, Spawn};
use lab::strongswan::{Settings, StrongSwan};
use lab::topology::{LAN, Side, VPC_HOST};
use lab::traffic::{self, Pinger, binary};
use lab::wait;
use serde_json::{Value, json};

use crate::rig::Rig;
use crate::world::{BACK, NAMED, UP, World};

/// What `cgwd doctor --json` says, and its exit status.
struct Said {
    status: i32,
    findings: Vec<Value>,
}

impl Said {
    fn first(&self) -> &str {
        self.findings.first().and_then(|finding| finding["code"].as_str()).unwrap_or("nothing")
    }

    fn get(&self, code: &str) -> Option<&Value> {
        self.findings.iter().find(|finding| finding["code"] == code)
    }

    fn codes(&self) -> Vec<String> {
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("-").to_owned();
        self.findings
            .iter()
            .map(|f| format!("{} {} {}", text(f, "severity"), text(f, "tunnel"), text(f, "code")))
            .collect()
    }

    /// Nothing worse than worth knowing.
    fn healthy(&self) -> Result<()> {
        let worse: Vec<&Value> =
            self.findings.iter().filter(|finding| finding["severity"] != "info").collect();
        ensure!(worse.is_empty() && self.status == 0, "status {}: {worse:?}", self.status);
        Ok(())
    }
}

fn doctor(world: &World<'_>, arguments: &[&str]) -> Result<Said> {
    let config = world.gateway.config().display().to_string();
    let mut all = vec!["doctor", "--json", "--config", &config];
    all.extend(arguments);
    let output = world.gateway.cli(&all)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text)
        .with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    ensure!(report["schema"] == 1, "{report}");
    let findings = report["findings"].as_array().cloned().context("no findings")?;
    for finding in &findings {
        check_shape(finding)?;
    }
    Ok(Said { status: output.status.code().unwrap_or(-1), findings })
}

/// The fields that scripts rely on, and no other.
fn check_shape(finding: &Value) -> Result<()> {
    let mut keys: Vec<&str> = finding.as_object().context("no object")?.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected =
        ["aws_log", "because_of", "cause", "code", "remedy", "severity", "stage", "title", "tunnel"];
    ensure!(keys == expected, "{keys:?}");
    for key in ["code", "stage", "severity", "title", "cause", "remedy"] {
        ensure!(finding[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {finding}");
    }
    Ok(())
}

/// Asks until this code is named first, and prints what a user would read.
fn named_first(world: &World<'_>, code: &str, arguments: &[&str]) -> Result<Said> {
    let mut last = String::new();
    let (said, _) = wait::for_value(NAMED, &format!("{code} first"), || {
        let said = doctor(world, arguments).ok()?;
        last = format!("{:?}", said.codes());
        (said.first() == code && said.status == 1).then_some(said)
    })
    .with_context(|| last.clone())?;
    ensure!(said.status == 1, "findings are exit status 1, got {}: {:?}", said.status, said.codes());
    let first = &said.findings[0];
    ensure!(first["because_of"].is_null(), "{first}");
    println!("{code}: {}", first["cause"].as_str().unwrap_or_default());
    Ok(said)
}

fn faulty<'r>(rig: &'r Rig, connection: &Connection, fault: Settings) -> Result<World<'r>> {
    let mut world = World::prepare(&rig.topology, connection, [fault, Settings::aws(Side::Two)])?;
    world.gateway.start()?;
    Ok(world)
}

/// Writes what AWS would say of the connection, changed by `change`; returns the path.
fn aws_file(world: &World<'_>, connection: &Connection, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut description = connection.describe_json();
    change(&mut description["VpnConnections"][0]);
    let path = world.lab.scratch().join("aws.json");
    std::fs::write(&path, description.to_string())?;
    Ok(path.display().to_string())
}

#[test]
fn symptom_05_a_wrong_key_is_named_first_and_the_rest_folded_under_it() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { psk: "not_The.right1".to_owned(), ..Settings::aws(Side::One) };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    let said = named_first(&world, "IKE-AUTH-FAILED", &[])?;
    ensure!(said.findings[0]["tunnel"] == "tunnel1");
    ensure!(
        said.findings[0]["aws_log"].as_str().is_some_and(|line| line.contains("pre-shared key mismatch"))
    );
    world.gateway.wait_stage(Side::Two, "up", BACK)?;
    let said = named_first(&world, "IKE-AUTH-FAILED", &[])?;
    let lost = said.get("REDUNDANCY-LOST").context("no consequence")?;
    ensure!(lost["because_of"] == "IKE-AUTH-FAILED", "{lost}");
    // AWS's own description tells that the key differs, and nobody's key.
    let other = Connection::lab();
    let file = aws_file(&world, &other, |connection| {
        connection["Options"]["TunnelOptions"][0]["PreSharedKey"] = json!("not_The.right1");
    })?;
    let said = named_first(&world, "AWS-PSK-DIFFERS", &["--aws-json", &file])?;
    let text = format!("{:?}", said.findings);
    ensure!(!text.contains("not_The") && !text.contains("lab_Psk"), "a key was shown");
    let human = world.gateway.cli(&["doctor", "--aws-json", &file])?;
    let text = String::from_utf8_lossy(&human.stdout).into_owned();
    println!("{text}");
    ensure!(text.contains("✗ ike") && text.contains("remedy") && !text.contains("lab_Psk"), "{text}");
    Ok(())
}

#[test]
fn symptom_05_swapped_keys_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let swapped = |side: Side| Settings { psk: side.other().psk().to_owned(), ..Settings::aws(side) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(swapped))?;
    world.gateway.start()?;
    let said = named_first(&world, "IKE-AUTH-PSK-SWAPPED", &[])?;
    ensure!(said.get("REDUNDANCY-NONE").is_some_and(|none| none["because_of"] == "IKE-AUTH-PSK-SWAPPED"));
    Ok(())
}

#[test]
fn symptom_05_identities_that_do_not_fit_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let outside = format!("outside = \"{}\"", Side::One.outside());
    let id = format!("{outside}\nremote_id = \"198.51.100.99\"");
    world.gateway.edit(&outside, &id)?;
    world.gateway.start()?;
    named_first(&world, "IKE-ID-MISMATCH", &[])?;
    world.gateway.stop();
    world.gateway.edit(&id, &format!("{outside}\nlocal_id = \"gateway.example\""))?;
    world.gateway.start()?;
    let said = named_first(&world, "IKE-AUTH-FAILED", &[])?;
    ensure!(said.get("IKE-LOCAL-ID").is_some(), "{:?}", said.codes());
    Ok(())
}

#[test]
fn symptom_03_no_common_phase_1_algorithms_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { ike_proposals: "aes192-sha256-modp3072".to_owned(), ..Settings::aws(Side::One) };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    named_first(&world, "IKE-NO-PROPOSAL", &[])?;
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["Options"]["TunnelOptions"][0]["Phase1DHGroupNumbers"] = json!([{ "Value": 24 }]);
    })?;
    named_first(&world, "AWS-IKE-ALGORITHMS", &["--aws-json", &file]).map(drop)
}

#[test]
fn symptom_09_no_common_phase_2_algorithms_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { esp_proposals: "aes192-sha256".to_owned(), ..Settings::aws(Side::One) };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    named_first(&world, "IPSEC-NO-PROPOSAL", &[]).map(drop)
}

#[test]
fn symptom_10_selectors_without_anything_in_common_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings {
        local_ts: "fd99::/64".to_owned(),
        remote_ts: "fd98::/64".to_owned(),
        ..Settings::aws(Side::One)
    };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    named_first(&world, "IPSEC-TS-UNACCEPTABLE", &[])?;
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["Options"]["LocalIpv4NetworkCidr"] = json!("192.168.0.0/16");
    })?;
    named_first(&world, "AWS-NETWORK-CIDR", &["--aws-json", &file]).map(drop)
}

#[test]
fn symptom_11_a_group_that_only_the_rekey_meets_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let fault = Settings { esp_proposals: "aes256gcm16-ecp521".to_owned(), ..Settings::aws(Side::One) };
    let world = faulty(&rig, &Connection::lab(), fault)?;
    world.gateway.wait_all_up(BACK)?;
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["Options"]["TunnelOptions"][0]["Phase2DHGroupNumbers"] = json!([{ "Value": 21 }]);
    })?;
    named_first(&world, "AWS-PFS-GROUPS", &["--aws-json", &file])?;
    world.gateway.cli(&["rekey", "child", "tunnel1"])?;
    named_first(&world, "IPSEC-REKEY-FAILED", &[]).map(drop)
}

#[test]
fn symptom_02_a_blocked_udp_4500_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let outside = Side::One.outside();
    rig.topology.internet_drops(&[format!("ip daddr {outside} udp dport 4500")])?;
    let world = faulty(&rig, &Connection::lab(), Settings::aws(Side::One))?;
    named_first(&world, "IKE-AUTH-NO-ANSWER", &[])?;
    rig.topology.mend()
}

#[test]
fn symptom_01_a_blocked_udp_500_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    rig.topology.internet_drops(&[format!("ip daddr {} udp dport 500", Side::One.outside())])?;
    let world = faulty(&rig, &Connection::lab(), Settings::aws(Side::One))?;
    let said = named_first(&world, "IKE-NO-ANSWER", &[])?;
    let cause = said.findings[0]["cause"].as_str().unwrap_or_default().to_owned();
    ensure!(cause.contains("another endpoint answers"), "{cause}");
    let file = aws_file(&world, &Connection::lab(), |connection| {
        let xml = connection["CustomerGatewayConfiguration"].as_str().unwrap_or_default().to_owned();
        connection["CustomerGatewayConfiguration"] = json!(xml.replace("192.0.2.1<", "192.0.2.77<"));
    })?;
    named_first(&world, "AWS-CUSTOMER-GATEWAY", &["--aws-json", &file])?;
    rig.topology.mend()
}

#[test]
fn symptom_16_blocked_esp_beside_a_living_ike_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    // IKE has four zero octets behind the UDP header on port 4500 (RFC 3948 §2.2), ESP its SPI.
    rig.topology
        .internet_drops(&[format!("ip daddr {} udp dport 4500 @th,64,32 != 0", Side::One.outside())])?;
    let world = faulty(&rig, &Connection::lab(), Settings::aws(Side::One))?;
    named_first(&world, "IPSEC-ESP-BLOCKED", &[])?;
    rig.topology.mend()
}

#[test]
fn symptom_08_a_peer_that_speaks_ikev1_only_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let old = world.ikev1_only_peer()?;
    world.gateway.start()?;
    named_first(&world, "IKE-VERSION", &[])?;
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["Options"]["TunnelOptions"][0]["IkeVersions"] = json!([{ "Value": "ikev1" }]);
    })?;
    named_first(&world, "AWS-IKEV1-ONLY", &["--aws-json", &file])?;
    drop(old);
    Ok(())
}

#[test]
fn symptoms_31_and_34_a_dead_endpoint_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::up(&rig.topology)?;
    world.aws[0].kill();
    let (first, _) = wait::for_value(NAMED, "the dead endpoint to be named", || {
        let said = doctor(&world, &[]).ok()?;
        let names = ["TUN-PROBE-LOST", "IKE-LIVENESS-LOST", "IKE-NO-ANSWER"];
        names.contains(&said.first()).then(|| said.first().to_owned())
    })?;
    println!("named first as {first}");
    let said = named_first(&world, "IKE-NO-ANSWER", &[])?;
    let lost = said.get("REDUNDANCY-LOST").context("no consequence")?;
    ensure!(lost["because_of"] == "IKE-NO-ANSWER", "{lost}");
    let file = aws_file(&world, &Connection::lab(), |connection| {
        connection["VgwTelemetry"] = json!([{ "OutsideIpAddress": Side::One.outside(), "Status": "UP",
            "StatusMessage": "IPSEC IS UP", "LastStatusChange": "2026-08-01T12:00:00Z" }]);
    })?;
    // Symptom 21: AWS has not noticed yet.
    let said = doctor(&world, &["--aws-json", &file])?;
    ensure!(
        said.get("AWS-TELEMETRY-UP").is_some_and(|up| up["because_of"] == "IKE-NO-ANSWER"),
        "{:?}",
        said.codes()
    );
    Ok(())
}

#[test]
fn symptom_32_a_goodbye_on_both_tunnels_is_named_as_one_thing() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::up(&rig.topology)?;
    for aws in &mut world.aws {
        aws.terminate()?;
        aws.kill();
    }
    named_first(&world, "AWS-REPROVISIONS", &[]).map(drop)
}

#[test]
fn symptom_31_two_sides_that_wait_for_each_other_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let outside = format!("outside = \"{}\"", Side::One.outside());
    world.gateway.edit(&outside, &format!("{outside}\nstartup = \"respond\""))?;
    world.gateway.start()?;
    let file = aws_file(&world, &Connection::lab(), |_| {})?;
    named_first(&world, "AWS-NOBODY-BEGINS", &["--aws-json", &file])?;
    named_first(&world, "IKE-CONNECTING", &[]).map(drop)
}

#[test]
fn a_gateway_that_does_not_forward_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let config = std::fs::read_to_string(world.gateway.config())?;
    std::fs::write(world.gateway.config(), format!("{config}\n[host]\nip_forward = \"report\"\n"))?;
    rig.topology.gw.sysctl(&[("net/ipv4/ip_forward", "0")])?;
    world.gateway.start()?;
    world.gateway.wait_all_up(UP)?;
    named_first(&world, "HOST-FORWARDING-OFF", &[])?;
    rig.topology.gw.sysctl(&[("net/ipv4/ip_forward", "1")])?;
    doctor(&world, &[])?.healthy()
}

#[test]
fn symptom_18_a_strict_reverse_path_filter_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    rig.topology.gw.sysctl(&[("net/ipv4/conf/all/rp_filter", "1")])?;
    // The interface's own value is loose, and the larger one counts.
    doctor(&world, &[])?.healthy()?;
    rig.topology.gw.sysctl(&[("net/ipv4/conf/cgw0/rp_filter", "1")])?;
    named_first(&world, "HOST-RP-FILTER", &[]).map(drop)
}

#[test]
fn routes_and_rules_that_lead_elsewhere_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let gw = &rig.topology.gw;
    gw.ip("route add 172.31.0.0/16 via 192.0.2.254 metric 1")?;
    named_first(&world, "ROUTE-FOREIGN", &[])?;
    gw.ip("route del 172.31.0.0/16 via 192.0.2.254 metric 1")?;
    gw.ip("route add default via 192.0.2.254 table 77")?;
    gw.ip("rule add to 172.31.0.0/16 lookup 77 priority 50")?;
    named_first(&world, "ROUTE-NOT-USED", &[])?;
    gw.ip("rule del to 172.31.0.0/16 lookup 77 priority 50")?;
    // A route deleted by somebody is set again before anybody can ask.
    gw.ip("route flush proto 186")?;
    let mended =
        wait::until(BACK, "the route to be back", || doctor(&world, &[]).is_ok_and(|said| said.status == 0));
    mended.map(drop)
}

#[test]
fn symptoms_01_and_16_faults_of_the_host_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let gw = &rig.topology.gw;
    // Symptom 16: another interface in the tunnel's inside network.
    gw.ip("addr add 169.254.10.2/30 dev wan0")?;
    named_first(&world, "HOST-ADDRESS-CLASH", &[])?;
    gw.ip("addr del 169.254.10.2/30 dev wan0")?;
    // Symptom 1: no way to the outside address.
    gw.ip("route del default via 192.0.2.254")?;
    let said = named_first(&world, "UND-NO-ROUTE", &[])?;
    ensure!(said.findings.iter().filter(|finding| finding["code"] == "UND-NO-ROUTE").count() == 2);
    gw.ip("route add default via 192.0.2.254")?;
    wait::until(NAMED, "both tunnels to return", || doctor(&world, &[]).is_ok_and(|said| said.status == 0))
        .map(drop)
}

#[test]
fn before_the_daemon_runs_the_host_and_the_file_are_looked_at() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let said = named_first(&world, "HOST-NO-DAEMON", &[])?;
    println!("{:?}", said.codes());
    // Symptom 1: another IKE daemon has the ports.
    let directory = rig.topology.scratch().join("strongswan-gw");
    let other = StrongSwan::start_in(&rig.topology.gw, directory, Settings::aws(Side::One))?;
    let said = named_first(&world, "HOST-PORT-TAKEN", &[])?;
    ensure!(
        said.findings[0]["cause"].as_str().is_some_and(|cause| cause.contains("charon")),
        "{:?}",
        said.codes()
    );
    drop(other);
    let config = std::fs::read_to_string(world.gateway.config())?;
    std::fs::write(world.gateway.config(), config.replace("routing = \"static\"", "routing = \"rip\""))?;
    let said = named_first(&world, "CONFIG-INVALID", &[])?;
    ensure!(said.get("HOST-NO-DAEMON").is_some_and(|down| down["because_of"] == "CONFIG-INVALID"));
    std::fs::remove_file(world.gateway.config())?;
    named_first(&world, "CONFIG-ABSENT", &[])?;
    let output = world.gateway.cli(&["doctor", "--aws-json", "/nonexistent"])?;
    ensure!(output.status.code() == Some(2), "could not look is exit status 2");
    Ok(())
}

#[test]
fn symptoms_17_and_20_packets_that_do_not_come_back_are_named_with_what_to_check_at_aws() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    // Nothing in the VPC answers: a security group, or no way back.
    lab.vpc.nft(&format!(
        "table inet shut {{\nchain in {{\ntype filter hook input priority 0\nip saddr {LAN} drop\n}}\n}}\n"
    ))?;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    world.gateway.start()?;
    world.gateway.wait_all_up(UP)?;
    doctor(&world, &[])?.healthy()?;
    let pinger = Pinger::start(lab, &lab.lan, VPC_HOST, Duration::from_millis(20))?;
    let said = named_first(&world, "VPC-NO-RETURN", &[])?;
    ensure!(
        said.findings[0]["remedy"].as_str().is_some_and(|remedy| remedy.contains("describe-security-groups"))
    );
    let file = aws_file(&world, &Connection::lab(), |connection| connection["Routes"] = json!([]))?;
    named_first(&world, "AWS-STATIC-ROUTE-MISSING", &["--aws-json", &file])?;
    lab.vpc.nft("delete table inet shut")?;
    traffic::wait_for_echo(&lab.lan, VPC_HOST, BACK)?;
    pinger.stop()?;
    doctor(&world, &[])?.healthy()
}

#[test]
fn symptom_19_a_way_that_is_too_narrow_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    rig.topology.gw.ip("link set wan0 mtu 1400")?;
    named_first(&world, "UND-MTU", &[]).map(drop)
}

#[test]
fn symptoms_22_and_29_a_session_that_nobody_answers_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    // Both SAs come up, the inside address answers, and nobody speaks BGP there.
    let mut world = World::prepare(&rig.topology, &Connection::lab_bgp(), Side::BOTH.map(Settings::aws))?;
    world.gateway.start()?;
    for side in Side::BOTH {
        world.gateway.wait_stage(side, "bgp", BACK)?;
    }
    let said = named_first(&world, "BGP-NOT-ESTABLISHED", &[])?;
    let console = said.get("BGP-CONSOLE-DOWN").context("the console is not explained")?;
    ensure!(console["because_of"] == "BGP-NOT-ESTABLISHED" && console["severity"] == "info", "{console}");
    let file = aws_file(&world, &Connection::lab_bgp(), |connection| {
        connection["Options"]["StaticRoutesOnly"] = json!(true);
    })?;
    let said = doctor(&world, &["--aws-json", &file])?;
    ensure!(said.get("AWS-ROUTING-TYPE").is_some(), "{:?}", said.codes());
    Ok(())
}

/// Sends every ESP packet for the gateway a second time: a packet socket does not hear what it sent itself. The
/// checksum is cleared (RFC 768: none), because on a virtual link it is not filled in yet.
const REPEATER: &str = "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('gw0', 0))
while True:
    frame, source = s.recvfrom(65535)
    frame = bytearray(frame)
    if source[2] == 4 and frame[12:14] == b'\\x08\\x00' and frame[23] == 17 and frame[34:36] == b'\\x11\\x94':
        frame[40:42] = b'\\x00\\x00'
        s.send(frame)
";

#[test]
fn symptom_15_repeated_packets_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let _repeater = Process::spawn(&Spawn {
        namespace: &rig.topology.net,
        command: ["python3", "-c", REPEATER].map(str::to_owned).to_vec(),
        env: Vec::new(),
        log: rig.topology.scratch().join("repeater.log"),
        pipes: false,
    })?;
    let pinger = Pinger::start(world.lab, &world.lab.lan, VPC_HOST, Duration::from_millis(5))?;
    let said = named_first(&world, "IPSEC-REPLAY", &[])?;
    ensure!(said.findings[0]["severity"] == "warning");
    // Nothing was lost by it.
    ensure!(pinger.stop()?.lost() == 0);
    Ok(())
}

#[test]
fn symptom_34_losses_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    rig.topology.internet_drops(&[format!(
        "ip saddr {} udp sport 4500 @th,64,32 != 0 numgen inc mod 5 == 0",
        Side::One.outside()
    )])?;
    let named = wait::until(Duration::from_secs(60), "TUN-LOSS first", || {
        doctor(&world, &[]).is_ok_and(|said| said.first() == "TUN-LOSS" && said.status == 1)
    });
    named.with_context(|| format!("{:?}", doctor(&world, &[]).map(|said| said.codes()))).map(drop)
}

#[test]
fn symptom_35_a_single_tunnel_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    // An import refuses one tunnel; somebody who edits the file can still make one.
    let text = std::fs::read_to_string(world.gateway.config())?;
    let second = text.rfind("[[connection.tunnel]]").context("no second tunnel")?;
    std::fs::write(world.gateway.config(), &text[..second])?;
    world.gateway.start()?;
    world.gateway.wait_stage(Side::One, "up", UP)?;
    named_first(&world, "REDUNDANCY-SINGLE", &[]).map(drop)
}

#[test]
fn symptom_13_goodbyes_again_and_again_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    for time in 1..=3 {
        world.aws[0].terminate()?;
        wait::until(BACK, "the goodbye to be told", || {
            let events = world.gateway.events().unwrap_or_default();
            events.iter().filter(|event| event["code"] == "PEER-DELETED").count() >= time
        })?;
        world.gateway.wait_stage(Side::One, "up", BACK)?;
    }
    named_first(&world, "TUN-DELETED-OFTEN", &[]).map(drop)
}

#[test]
fn symptom_27_equal_as_numbers_are_named_before_anything_starts() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::prepare(&rig.topology, &Connection::lab_bgp(), Side::BOTH.map(Settings::aws))?;
    world.gateway.edit("remote_asn = 64512", "remote_asn = 65000")?;
    let said = named_first(&world, "CONFIG-INVALID", &[])?;
    ensure!(said.findings[0]["cause"].as_str().is_some_and(|cause| cause.contains("CFG-ASN")));
    Ok(())
}

#[test]
fn symptom_30_a_tunnel_that_nothing_keeps_busy_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let text = std::fs::read_to_string(world.gateway.config())?;
    let bare: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("inside = ")).collect();
    std::fs::write(world.gateway.config(), bare.join("\n"))?;
    world.gateway.start()?;
    world.gateway.wait_all_up(BACK)?;
    named_first(&world, "TUN-NO-PROBE", &[]).map(drop)
}

#[test]
fn symptom_04_another_group_at_the_first_try_is_nothing_to_complain_about() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let other =
        Settings { ike_proposals: "aes256gcm16-prfsha384-modp2048".to_owned(), ..Settings::aws(Side::One) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), [other, Settings::aws(Side::Two)])?;
    world.gateway.edit("dh_groups = [20]", "dh_groups = [20, 14]")?;
    world.start()?;
    let proposal = world.gateway.tunnel(Side::One)?["ike"]["proposal"].clone();
    ensure!(proposal.as_str().is_some_and(|proposal| proposal.contains("MODP_2048")), "{proposal}");
    doctor(&world, &[])?.healthy()
}

#[test]
fn symptom_12_both_sides_rekeying_at_once_is_nothing_to_complain_about() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    for _ in 0..3 {
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| world.aws[0].rekey_child());
            let ours = world.gateway.cli(&["rekey", "child", "tunnel1"]);
            // Either may be refused for the other's sake; what counts is how it ends.
            drop((theirs.join(), ours));
        });
    }
    world.wait_for_one_pair(Side::One)?;
    doctor(&world, &[])?.healthy()
}

#[test]
fn weak_algorithms_that_aws_chose_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let weak = Allowed { encryption: vec![Encryption::Aes128], integrity: vec![Hash::Sha1], groups: vec![2] };
    let tunnel = |side| Tunnel { phase1: weak.clone(), phase2: weak.clone(), ..Tunnel::lab(side) };
    let connection = Connection { tunnels: Side::BOTH.map(tunnel).to_vec(), ..Connection::lab() };
    let mut world = World::prepare(&rig.topology, &connection, Side::BOTH.map(Settings::aws))?;
    world.start()?;
    named_first(&world, "IKE-WEAK-ALGORITHM", &[]).map(drop)
}

#[test]
fn symptom_07_both_sides_beginning_is_nothing_to_complain_about() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let starts = |side| Settings { initiates: true, ..Settings::aws(side) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(starts))?;
    world.start()?;
    doctor(&world, &[])?.healthy()
}

#[test]
fn a_healthy_static_pair_has_no_finding_above_info() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    doctor(&world, &[])?.healthy()?;
    // Without --config the running daemon's file is found.
    let output = world.gateway.cli(&["doctor"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && text.starts_with("Healthy"), "{text}");
    println!("{text}");
    // From another network namespace the machine says nothing, and that is no alarm.
    let mut outside = std::process::Command::new(binary("cgwd")?);
    let output = outside.arg("--socket").arg(world.gateway.socket()).args(["doctor", "--json"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && text.contains("HOST-ELSEWHERE"), "{text}");
    let connection = Connection::lab();
    let file = aws_file(&world, &connection, |connection| {
        let telemetry = |side: Side| {
            json!({ "OutsideIpAddress": side.outside(), "Status": "UP",
            "StatusMessage": "", "AcceptedRouteCount": 1, "LastStatusChange": "2026-08-01T12:00:00Z" })
        };
        connection["VgwTelemetry"] = Side::BOTH.into_iter().map(telemetry).collect();
    })?;
    doctor(&world, &["--aws-json", &file])?.healthy()?;
    let pinger = Pinger::lan_to_vpc(world.lab)?;
    std::thread::sleep(Duration::from_secs(3));
    pinger.stop()?;
    world.gateway.cli(&["rekey", "child", "tunnel1"])?;
    std::thread::sleep(Duration::from_secs(1));
    doctor(&world, &[])?.healthy()?;
    // What AWS's console would show while ours is up.
    let file = aws_file(&world, &connection, |connection| {
        connection["VgwTelemetry"] = json!([{ "OutsideIpAddress": Side::One.outside(), "Status": "DOWN" }]);
    })?;
    named_first(&world, "AWS-TELEMETRY-DOWN", &["--aws-json", &file]).map(drop)
}

/// BIRD on an endpoint's inside address: AWS's side of the session.
fn bird(world: &World<'_>, side: Side, asn: u32, expected: u32, channel: &str) -> Result<Process> {
    let directory = world.lab.scratch().join(format!("bird-{}", side.role()));
    std::fs::create_dir_all(&directory)?;
    let config = directory.join("bird.conf");
    let (aws, ours) = (side.inside().addr(), side.inside_ours());
    std::fs::write(
        &config,
        format!(
            "router id 192.0.2.{n};\nprotocol device {{ }}\nprotocol static {{ ipv4; route 172.31.0.0/16 blackhole; \
             }}\nprotocol bgp cgw {{\nlocal {aws} as {asn};\nneighbor {ours} as {expected};\nmultihop 2;\nhold time \
             9;\nconnect retry time 3;\nerror wait time 2,4;\nipv4 {{ {channel} }};\n}}\n",
            n = 200 + side.index()
        ),
    )?;
    let [config, socket] = [config, directory.join("bird.ctl")].map(|path| path.display().to_string());
    Process::spawn(&Spawn {
        namespace: world.lab.aws(side),
        command: ["bird", "-f", "-c", &config, "-s", &socket].map(str::to_owned).to_vec(),
        env: Vec::new(),
        log: directory.join("bird.log"),
        pipes: false,
    })
}

/// Both sessions with BIRD, alike; `None` when it is not installed.
fn with_bird<'r>(
    rig: &'r Rig,
    (asn, expected): (u32, u32),
    channel: &str,
) -> Result<Option<(World<'r>, Vec<Process>)>> {
    if rig.topology.gw.run(&["bird", "--version"]).is_err() {
        assert!(
            std::env::var_os("CGWD_REQUIRE_LAB").is_none(),
            "BIRD is not installed: apt-get install bird2"
        );
        println!("skipped: BIRD is not installed");
        return Ok(None);
    }
    let mut world = World::prepare(&rig.topology, &Connection::lab_bgp(), Side::BOTH.map(Settings::aws))?;
    world.gateway.start()?;
    for side in Side::BOTH {
        wait::until(BACK, "the inside address to answer", || {
            ["bgp", "up"].contains(&world.gateway.stage(side).as_str())
        })?;
    }
    let birds: Result<Vec<Process>> =
        Side::BOTH.into_iter().map(|side| bird(&world, side, asn, expected, channel)).collect();
    Ok(Some((world, birds?)))
}

#[test]
fn a_healthy_bgp_pair_has_no_finding_above_info_and_a_cut_session_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let channel = "import all; export all;";
    let Some((world, birds)) = with_bird(&rig, (64_512, 65_000), channel)? else { return Ok(()) };
    world.gateway.wait_all_up(NAMED)?;
    doctor(&world, &[])?.healthy()?;
    std::thread::sleep(Duration::from_secs(16));
    doctor(&world, &[])?.healthy()?;
    let file = aws_file(&world, &Connection::lab_bgp(), |_| {})?;
    doctor(&world, &["--aws-json", &file])?.healthy()?;
    // Symptom 25: nothing of the session comes through, the probes do.
    for side in Side::BOTH {
        rig.topology.aws(side).nft(
            "table inet shut {\nchain in {\ntype filter hook input priority 0\ntcp dport 179 drop\ntcp sport 179 \
             drop\n}\nchain out {\ntype filter hook output priority 0\ntcp dport 179 drop\ntcp sport 179 drop\n}\n}\n",
        )?;
    }
    named_first(&world, "BGP-HOLD-EXPIRED", &[])?;
    drop(birds);
    Ok(())
}

#[test]
fn symptom_23_another_as_number_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let channel = "import all; export all;";
    let Some((world, _birds)) = with_bird(&rig, (64_512, 65_001), channel)? else { return Ok(()) };
    named_first(&world, "BGP-BAD-AS", &[])?;
    let file = aws_file(&world, &Connection::lab_bgp(), |connection| {
        let xml = connection["CustomerGatewayConfiguration"].as_str().unwrap_or_default().to_owned();
        connection["CustomerGatewayConfiguration"] = json!(xml.replace("65000", "65001"));
    })?;
    named_first(&world, "AWS-ASN-DIFFERS", &["--aws-json", &file]).map(drop)
}

#[test]
fn symptom_24_more_prefixes_than_the_peer_takes_are_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let channel = "import all; export all; receive limit 0 action restart;";
    let Some((world, _birds)) = with_bird(&rig, (64_512, 65_000), channel)? else { return Ok(()) };
    named_first(&world, "BGP-PREFIX-LIMIT", &[]).map(drop)
}

#[test]
fn symptom_26_a_session_without_prefixes_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let channel = "import all; export none;";
    let Some((world, _birds)) = with_bird(&rig, (64_512, 65_000), channel)? else { return Ok(()) };
    named_first(&world, "BGP-NO-PREFIXES", &[])?;
    // Symptoms 20 and 28: AWS denies what we announce.
    let file = aws_file(&world, &Connection::lab_bgp(), |connection| {
        let telemetry = |side: Side| {
            json!({ "OutsideIpAddress": side.outside(), "Status": "UP",
            "AcceptedRouteCount": 0 })
        };
        connection["VgwTelemetry"] = Side::BOTH.into_iter().map(telemetry).collect();
    })?;
    let said = doctor(&world, &["--aws-json", &file])?;
    ensure!(said.get("AWS-NOTHING-ACCEPTED").is_some(), "{:?}", said.codes());
    Ok(())
}
