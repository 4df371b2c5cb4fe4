//! AWS's own description beside ours.

use serde_json::json;

use super::support::{OUTSIDE, first, found, healthy, never_started, quiet, toml};
use crate::api::Stage;
use crate::doctor::{Facts, Severity};

fn failing(code: &str) -> Facts {
    healthy("static").failing(0, Stage::Down, code, "x")
}

/// Changes an option of tunnel 1.
fn option(facts: Facts, key: &str, value: serde_json::Value) -> Facts {
    facts.described(|connection| connection["Options"]["TunnelOptions"][0][key] = value)
}

#[test]
fn a_description_that_fits_says_nothing_above_info() {
    quiet(&healthy("static").described(|_| {}));
    quiet(&healthy("bgp").described(|_| {}));
}

#[test]
fn symptom_01_another_address_of_ours_or_of_aws_is_the_root_of_the_silence() {
    let facts = failing("IKE-NO-ANSWER").described(|connection| {
        let xml =
            connection["CustomerGatewayConfiguration"].as_str().unwrap().replace("192.0.2.1<", "192.0.2.9<");
        connection["CustomerGatewayConfiguration"] = json!(xml);
    });
    assert!(first(&facts, "AWS-CUSTOMER-GATEWAY").cause.contains("192.0.2.9"));
    assert_eq!(found(&facts, "IKE-NO-ANSWER").because_of.as_deref(), Some("AWS-CUSTOMER-GATEWAY"));
    let facts = option(failing("IKE-NO-ANSWER"), "OutsideIpAddress", json!("198.51.100.77"));
    first(&facts, "AWS-OUTSIDE-DIFFERS");
}

#[test]
fn symptoms_03_and_04_the_exact_difference_in_phase_1_is_told() {
    for (key, value, word) in [
        ("Phase1EncryptionAlgorithms", json!([{ "Value": "AES128" }]), "AES128"),
        ("Phase1IntegrityAlgorithms", json!([{ "Value": "SHA1" }]), "SHA1"),
        ("Phase1DHGroupNumbers", json!([{ "Value": 2 }]), "DH groups: AWS allows 2,"),
    ] {
        let facts = option(failing("IKE-NO-PROPOSAL"), key, value);
        assert!(first(&facts, "AWS-IKE-ALGORITHMS").cause.contains(word), "{key}");
        assert_eq!(found(&facts, "IKE-NO-PROPOSAL").because_of.as_deref(), Some("AWS-IKE-ALGORITHMS"));
    }
    let facts = option(healthy("static"), "Phase1DHGroupNumbers", json!([{ "Value": 2 }, { "Value": 20 }]));
    quiet(&facts);
}

#[test]
fn symptom_05_keys_are_compared_and_never_shown() {
    let facts = option(failing("IKE-AUTH-FAILED"), "PreSharedKey", json!("another_One.1"));
    let finding = first(&facts, "AWS-PSK-DIFFERS");
    assert!(finding.cause.contains("15 characters here, 13 at AWS"), "{}", finding.cause);
    assert_eq!(found(&facts, "IKE-AUTH-FAILED").because_of.as_deref(), Some("AWS-PSK-DIFFERS"));
    let text = format!("{:?}", crate::doctor::examine(&facts)) + &format!("{facts:?}");
    assert!(!text.contains("another_One") && !text.contains("lab_Psk"), "a key was shown");
    let swapped = failing("IKE-AUTH-FAILED").described(|connection| {
        connection["Options"]["TunnelOptions"][0]["PreSharedKey"] = json!("lab_Psk.Tunnel2");
        connection["Options"]["TunnelOptions"][1]["PreSharedKey"] = json!("lab_Psk.Tunnel1");
    });
    assert!(first(&swapped, "AWS-PSK-DIFFERS").cause.contains("AWS's key of tunnel2"));
    let up = option(healthy("static"), "PreSharedKey", json!("another_One.1"));
    assert_eq!(first(&up, "AWS-PSK-DIFFERS").severity, Severity::Warning);
}

#[test]
fn symptom_06_a_tunnel_without_a_key_is_told_when_it_fails_and_not_with_secrets_manager() {
    let facts = option(failing("IKE-AUTH-FAILED"), "PreSharedKey", json!(null));
    first(&facts, "AWS-NO-KEY");
    quiet(&option(healthy("static"), "PreSharedKey", json!(null)));
    let facts = failing("IKE-AUTH-FAILED").described(|connection| {
        connection["PreSharedKeyArn"] = json!("arn:aws:secretsmanager:x");
        connection["Options"]["TunnelOptions"][0]["PreSharedKey"] = json!(null);
    });
    first(&facts, "IKE-AUTH-FAILED");
}

#[test]
fn symptom_08_ikev1_only_is_told() {
    let facts = option(failing("IKE-NO-ANSWER"), "IkeVersions", json!([{ "Value": "ikev1" }]));
    let remedy = first(&facts, "AWS-IKEV1-ONLY").remedy;
    let flags = format!("--vpn-connection-id vpn-1 --vpn-tunnel-outside-ip-address {} ", OUTSIDE[0]);
    assert!(remedy.contains(&flags), "ready to be copied: {remedy}");
    quiet(&option(healthy("static"), "IkeVersions", json!([{ "Value": "ikev1" }, { "Value": "ikev2" }])));
}

#[test]
fn symptom_09_the_exact_difference_in_phase_2_is_told() {
    let facts = option(
        healthy("static").failing(0, Stage::Ike, "IPSEC-NO-PROPOSAL", "x"),
        "Phase2EncryptionAlgorithms",
        json!([{ "Value": "AES128" }]),
    );
    first(&facts, "AWS-ESP-ALGORITHMS");
    // Beside an AEAD cipher integrity is not negotiated.
    quiet(&option(healthy("static"), "Phase2IntegrityAlgorithms", json!([{ "Value": "SHA1" }])));
}

#[test]
fn symptom_10_narrowed_network_cidrs_are_told() {
    let facts = healthy("static")
        .failing(0, Stage::Ike, "IPSEC-TS-UNACCEPTABLE", "x")
        .described(|connection| connection["Options"]["RemoteIpv4NetworkCidr"] = json!("10.0.0.0/8"));
    assert!(first(&facts, "AWS-NETWORK-CIDR").cause.contains("172.31.0.0/16"));
    let facts = healthy("static")
        .described(|connection| connection["Options"]["LocalIpv4NetworkCidr"] = json!("10.10.0.0/16"));
    quiet(&facts);
}

#[test]
fn symptom_11_a_group_that_the_first_rekey_will_meet_is_told_before() {
    let facts = option(healthy("static"), "Phase2DHGroupNumbers", json!([{ "Value": 2 }]));
    assert_eq!(first(&facts, "AWS-PFS-GROUPS").severity, Severity::Warning);
}

#[test]
fn symptom_16_another_inside_network_is_told() {
    let facts = healthy("static").failing(0, Stage::Ipsec, "TUN-PROBE-LOST", "x");
    let facts = option(facts, "TunnelInsideCidr", json!("169.254.77.0/30"));
    first(&facts, "AWS-INSIDE-CIDR");
    // AWS writes some of them unaligned.
    quiet(&option(healthy("static"), "TunnelInsideCidr", json!("169.254.10.1/30")));
}

#[test]
fn symptoms_17_and_20_a_missing_static_route_is_told_with_the_command() {
    let facts = healthy("static").described(|connection| connection["Routes"] = json!([]));
    let finding = first(&facts, "AWS-STATIC-ROUTE-MISSING");
    assert!(finding.remedy.contains("--vpn-connection-id vpn-1 --destination-cidr-block 10.10.0.0/16"));
    let wider = json!([{ "DestinationCidrBlock": "10.0.0.0/8", "State": "available" }]);
    quiet(&healthy("static").described(|connection| connection["Routes"] = wider));
    let gone = json!([{ "DestinationCidrBlock": "10.10.0.0/16", "State": "deleted" }]);
    first(&healthy("static").described(|connection| connection["Routes"] = gone), "AWS-STATIC-ROUTE-MISSING");
    let transit = |connection: &mut serde_json::Value| {
        connection["Routes"] = json!([]);
        connection["TransitGatewayId"] = json!("tgw-1");
    };
    quiet(&healthy("static").described(transit));
}

#[test]
fn symptoms_20_and_22_static_on_one_side_and_dynamic_on_the_other_is_told() {
    let facts =
        healthy("static").described(|connection| connection["Options"]["StaticRoutesOnly"] = json!(false));
    first(&facts, "AWS-ROUTING-TYPE");
}

#[test]
fn symptom_21_telemetry_that_lags_follows_from_the_tunnels_own_cause() {
    let facts = failing("IKE-NO-ANSWER").described(|_| {});
    assert_eq!(found(&facts, "AWS-TELEMETRY-UP").because_of.as_deref(), Some("IKE-NO-ANSWER"));
    assert_eq!(found(&facts, "AWS-TELEMETRY-UP").severity, Severity::Info);
}

#[test]
fn symptoms_23_and_27_other_as_numbers_are_the_root() {
    let mut facts = healthy("bgp").event(0, "BGP-NOTIFICATION", "AWS sent NOTIFICATION 2/2: bad peer AS", 5);
    let tunnel = facts.tunnel_mut(0);
    tunnel.stage = Stage::Bgp;
    tunnel.bgp.as_mut().unwrap().uptime_seconds = None;
    let facts = facts.described(|connection| {
        let xml = connection["CustomerGatewayConfiguration"].as_str().unwrap().replace("65000", "64512");
        connection["CustomerGatewayConfiguration"] = json!(xml);
    });
    assert!(first(&facts, "AWS-ASN-DIFFERS").cause.contains("AWS has 64512 for us"));
    assert_eq!(found(&facts, "BGP-BAD-AS").because_of.as_deref(), Some("AWS-ASN-DIFFERS"));
}

#[test]
fn symptom_24_the_quota_depends_on_the_gateway() {
    let nets: Vec<String> = (0..150).map(|n| format!("\"10.{n}.0.0/16\"")).collect();
    let text = toml("bgp", "").replacen(
        "[connection.bgp]\n",
        &format!("[connection.bgp]\nadvertise = [{}]\nmax_advertised = 1000\n", nets.join(", ")),
        1,
    );
    let facts = healthy("bgp").with_config(&text);
    let facts = facts.described(|_| {});
    first(&facts, "AWS-PREFIX-QUOTA");
    let facts = facts.described(|connection| connection["TransitGatewayId"] = json!("tgw-1"));
    quiet(&facts);
}

#[test]
fn symptoms_20_and_28_prefixes_that_aws_denies_are_told() {
    let facts = healthy("bgp").described(|connection| {
        connection["VgwTelemetry"][0]["AcceptedRouteCount"] = json!(0);
    });
    first(&facts, "AWS-NOTHING-ACCEPTED");
}

#[test]
fn symptom_29_a_tunnel_that_only_aws_counts_as_down_is_told() {
    let facts =
        healthy("static").described(|connection| connection["VgwTelemetry"][0]["Status"] = json!("DOWN"));
    assert_eq!(first(&facts, "AWS-TELEMETRY-DOWN").tunnel.as_deref(), Some("tunnel1"));
}

#[test]
fn symptom_31_two_sides_that_wait_and_one_that_does_are_told_apart() {
    let facts = option(healthy("static"), "StartupAction", json!("add"));
    assert_eq!(found(&facts, "AWS-STARTUP-ADD").severity, Severity::Info);
    quiet(&facts);
    let text = toml("static", "").replacen("psk =", "startup = \"respond\"\npsk =", 1);
    first(&facts.with_config(&text), "AWS-NOBODY-BEGINS");
}

#[test]
fn symptom_32_a_connection_that_is_being_modified_is_told() {
    let facts = healthy("static").described(|connection| connection["State"] = json!("modifying"));
    first(&facts, "AWS-STATE");
}

#[test]
fn acceleration_without_udp_encapsulation_is_told() {
    let text = toml("static", "").replacen("psk =", "encapsulation = \"auto\"\npsk =", 1);
    let facts = healthy("static").with_config(&text);
    let facts = facts.described(|connection| connection["Options"]["EnableAcceleration"] = json!(true));
    first(&facts, "AWS-ACCELERATED");
}

#[test]
fn differences_are_found_before_the_daemon_runs() {
    let facts = never_started().described(|connection| {
        connection["Options"]["TunnelOptions"][0]["PreSharedKey"] = json!("another_One.1");
    });
    found(&facts, "AWS-PSK-DIFFERS");
}

#[test]
fn the_wrong_file_is_no_alarm() {
    let facts = healthy("static").described(|connection| {
        connection["VpnConnectionId"] = json!("vpn-other");
        connection["Options"]["TunnelOptions"] = json!([]);
    });
    quiet(&facts);
    found(&facts, "AWS-NOT-DESCRIBED");
}

/// What `get-active-vpn-tunnel-status` answers; the algorithms are those of the healthy pair.
fn active(outside: Option<&str>, change: impl FnOnce(&mut serde_json::Value)) -> serde_json::Value {
    let mut status = json!({
        "Phase1EncryptionAlgorithm": "AES256-GCM-16", "Phase2EncryptionAlgorithm": "AES256-GCM-16",
        "Phase1IntegrityAlgorithm": "SHA2-384", "Phase2IntegrityAlgorithm": "n/a",
        "Phase1DHGroup": 20, "Phase2DHGroup": 20, "IkeVersion": "ikev2", "ProvisioningStatus": "available",
    });
    change(&mut status);
    match outside {
        Some(outside) => json!({ "VpnTunnelOutsideIpAddress": outside, "ActiveVpnTunnelStatus": status }),
        None => json!({ "ActiveVpnTunnelStatus": status }),
    }
}

/// AWS's answers beside a description that fits, or alone.
fn with_active(mut facts: Facts, answers: &[serde_json::Value]) -> Facts {
    if facts.aws.is_none() {
        facts = facts.described(|_| {});
    }
    let text = serde_json::Value::Array(answers.to_vec()).to_string();
    let read = crate::doctor::aws_json::Description::parse(&text).unwrap();
    if let Some(aws) = &mut facts.aws {
        aws.active = read.active;
    }
    facts
}

#[test]
fn symptom_29_what_aws_has_negotiated_is_put_beside_our_sas() {
    let gcm128 =
        |status: &mut serde_json::Value| status["Phase2EncryptionAlgorithm"] = json!("AES128-GCM-16");
    let group = |status: &mut serde_json::Value| status["Phase1DHGroup"] = json!(14);
    quiet(&with_active(healthy("static"), &[active(None, |_| {}), active(Some(OUTSIDE[1]), |_| {})]));
    let named =
        first(&with_active(healthy("static"), &[active(Some(OUTSIDE[1]), gcm128)]), "AWS-ACTIVE-DIFFERS");
    assert_eq!((named.tunnel.as_deref(), named.severity), (Some("tunnel2"), Severity::Warning));
    assert!(named.cause.contains("phase 2 is AES128-GCM-16 at AWS, AES_GCM_16_256 here"), "{}", named.cause);
    let cause =
        first(&with_active(healthy("static"), &[active(Some(OUTSIDE[0]), group)]), "AWS-ACTIVE-DIFFERS")
            .cause;
    assert!(cause.contains("the group of phase 1 is 14 at AWS, 20 here"), "{cause}");
    // AWS does not say of which tunnel its answer is: worth knowing only when it fits none.
    let facts = with_active(healthy("static"), &[active(None, gcm128)]);
    assert_eq!(found(&facts, "AWS-ACTIVE-DIFFERS").severity, Severity::Info);
    let down = failing("IKE-NO-ANSWER");
    let v1 = |status: &mut serde_json::Value| status["IkeVersion"] = json!("ikev1");
    let facts = with_active(down, &[active(Some(OUTSIDE[0]), v1)]);
    assert_eq!(found(&facts, "AWS-ACTIVE-IKEV1").tunnel.as_deref(), Some("tunnel1"));
    quiet(&with_active(healthy("static"), &[active(Some(OUTSIDE[0]), v1)]));
}

#[test]
fn both_answers_are_read_from_one_file_whatever_their_shape() {
    let describe = json!({ "VpnConnections": [{ "VpnConnectionId": "vpn-1", "State": "available" }] });
    let status = active(Some(OUTSIDE[0]), |status| {
        status["ProvisioningStatus"] = json!("pending");
        status["ProvisioningStatusReason"] = json!("being replaced");
    });
    for text in [
        format!("{describe}\n{status}"),
        format!("[{describe},{status}]"),
        format!(
            "{{\"VpnConnections\":{},\"VpnTunnelOutsideIpAddress\":{},\"ActiveVpnTunnelStatus\":{}}}",
            describe["VpnConnections"], status["VpnTunnelOutsideIpAddress"], status["ActiveVpnTunnelStatus"]
        ),
    ] {
        let read = crate::doctor::aws_json::Description::parse(&text).unwrap();
        assert_eq!((read.connections.len(), read.active.len()), (1, 1), "{text}");
        assert_eq!(read.active[0].outside_ip_address, Some(OUTSIDE[0].parse().unwrap()));
        assert_eq!(read.active[0].phase1_dh_group, Some(20));
    }
    assert!(first(&with_active(healthy("static"), &[status]), "AWS-STATE").cause.contains("being replaced"));
}

#[test]
fn timers_and_windows_that_differ_are_worth_knowing() {
    for (key, value, code, words) in [
        (
            "Phase2LifetimeSeconds",
            json!(1800),
            "AWS-LIFETIME",
            "Phase2LifetimeSeconds is 1800 at AWS, 3600 here",
        ),
        (
            "RekeyMarginTimeSeconds",
            json!(600),
            "AWS-LIFETIME",
            "RekeyMarginTimeSeconds is 600 at AWS, 270 here",
        ),
        ("DpdTimeoutSeconds", json!(90), "AWS-DPD", "DpdTimeoutSeconds is 90 at AWS, 40 here"),
        ("DpdTimeoutAction", json!("none"), "AWS-DPD", "DpdTimeoutAction is none"),
        ("ReplayWindowSize", json!(64), "AWS-REPLAY-WINDOW", "ReplayWindowSize is 64 at AWS, 1024 here"),
    ] {
        let facts = option(healthy("static"), key, value);
        let finding = found(&facts, code);
        assert!(finding.cause.contains(words), "{}", finding.cause);
        quiet(&facts);
    }
    let facts = option(healthy("static"), "ReplayWindowSize", json!(1024));
    assert!(
        !crate::doctor::examine(&facts).findings.iter().any(|finding| finding.code == "AWS-REPLAY-WINDOW")
    );
}

#[test]
fn symptoms_17_and_35_a_detached_gateway_and_a_forgotten_tunnel_are_told() {
    let facts = healthy("static").described(|connection| {
        connection["GatewayAssociationState"] = json!("not-associated");
    });
    first(&facts, "AWS-GATEWAY-DETACHED");
    quiet(
        &healthy("static")
            .described(|connection| connection["GatewayAssociationState"] = json!("associated")),
    );
    let mut facts = healthy("static");
    facts.running_mut().status.connections[0].tunnels.truncate(1);
    let text = toml("static", "");
    let end = text.rfind("[[connection.tunnel]]").unwrap();
    let facts = facts.with_config(&text[..end]).described(|_| {});
    assert!(found(&facts, "AWS-TUNNEL-UNUSED").cause.contains(OUTSIDE[1]));
}

#[test]
fn symptom_06_a_clock_that_is_behind_awss_is_told() {
    let with = |change: &str| {
        healthy("static")
            .described(|connection| connection["VgwTelemetry"][0]["LastStatusChange"] = json!(change))
    };
    // It was looked at on 2026-08-01 at 12:00.
    assert!(first(&with("2026-08-01T13:00:00+00:00"), "HOST-CLOCK").cause.contains("3600 s in our future"));
    quiet(&with("2026-08-01T12:02:00.000Z"));
    quiet(&with("2026-07-01T13:00:00+00:00"));
    let mut facts = healthy("static");
    facts.now_ms = 1_000;
    first(&facts, "HOST-CLOCK");
}
