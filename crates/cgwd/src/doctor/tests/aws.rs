//! AWS's own description beside ours.

use serde_json::json;

use super::support::{first, found, healthy, never_started, quiet, toml};
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
    first(&facts, "AWS-IKEV1-ONLY");
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
