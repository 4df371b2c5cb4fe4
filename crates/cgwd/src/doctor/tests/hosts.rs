//! What the machine and the file tell, with and without a daemon.

use super::support::{first, found, healthy, never_started, quiet, toml};
use crate::api::Stage;
use crate::doctor::Severity;
use crate::doctor::facts::{Configuration, KernelRoute, Listener, Problem, capability};

#[test]
fn before_the_first_start_only_the_daemon_is_missing() {
    let facts = never_started();
    first(&facts, "HOST-NO-DAEMON");
    assert_eq!(super::support::told(&crate::doctor::examine(&facts)), ["HOST-NO-DAEMON"]);
}

#[test]
fn a_file_that_cannot_be_run_explains_the_missing_daemon() {
    let mut facts = never_started();
    facts.configuration = Configuration::Broken {
        path: "cgwd.toml".into(),
        problems: vec![Problem {
            code: "CFG-BGP-ASN".to_owned(),
            place: Some((7, 1)),
            what: "local_asn and remote_asn are equal".to_owned(),
            remedy: "correct one".to_owned(),
        }],
    };
    let finding = first(&facts, "CONFIG-INVALID");
    assert!(finding.cause.starts_with("cgwd.toml:7:1: local_asn"), "{}", finding.cause);
    assert_eq!(found(&facts, "HOST-NO-DAEMON").because_of.as_deref(), Some("CONFIG-INVALID"));

    facts.configuration = Configuration::Absent { path: "/etc/cgwd/cgwd.toml".into() };
    first(&facts, "CONFIG-ABSENT");
    assert_eq!(found(&facts, "HOST-NO-DAEMON").because_of.as_deref(), Some("CONFIG-ABSENT"));
}

#[test]
fn symptom_27_equal_as_numbers_never_start() {
    let text = toml("bgp", "").replace("remote_asn = 64512", "remote_asn = 65000");
    assert!(config::parse(&text, "x").is_err());
    assert!(crate::doctor::known::find("CONFIG-INVALID").unwrap().symptoms.contains(&27));
}

#[test]
fn keys_that_others_can_read_are_a_warning_and_advice_is_not() {
    let mut facts = healthy("static");
    let Configuration::Loaded { warnings, .. } = &mut facts.configuration else { unreachable!() };
    let warning = |code: &str| Problem {
        code: code.to_owned(),
        place: None,
        what: "something".to_owned(),
        remedy: "run `chmod 600 cgwd.toml`".to_owned(),
    };
    warnings.push(warning("CFG-WEAK"));
    quiet(&facts);
    let Configuration::Loaded { warnings, .. } = &mut facts.configuration else { unreachable!() };
    warnings.push(warning("CFG-MODE"));
    assert!(first(&facts, "CONFIG-MODE").remedy.starts_with("run `chmod 600"));
}

#[test]
fn a_key_file_that_is_missing_is_told_only_while_the_daemon_does_not_run() {
    let missing = ("198.51.100.1".parse().unwrap(), "cannot read the pre-shared key".to_owned());
    let mut facts = never_started();
    facts.keys_missing.push(missing.clone());
    assert_eq!(first(&facts, "CONFIG-KEY").tunnel.as_deref(), Some("tunnel1"));
    let mut facts = healthy("static");
    facts.keys_missing.push(missing);
    quiet(&facts);
}

#[test]
fn a_missing_device_is_told_unless_the_daemon_has_its_interfaces() {
    let mut facts = never_started();
    facts.host_mut().tun = Some(Err("No such file or directory".to_owned()));
    first(&facts, "HOST-NO-TUN");
    let mut facts = healthy("static");
    facts.host_mut().tun = Some(Err("Permission denied".to_owned()));
    quiet(&facts);
}

#[test]
fn symptom_01_another_ike_daemon_on_our_ports_comes_first() {
    let listener = |local: &str, ours: bool| Listener {
        local: local.parse().unwrap(),
        program: Some("charon (process 42)".to_owned()),
        ours,
    };
    let mut facts = never_started();
    facts.host_mut().listeners.push(listener("0.0.0.0:500", false));
    assert!(first(&facts, "HOST-PORT-TAKEN").cause.contains("charon"));
    let mut facts = healthy("static");
    facts.host_mut().listeners = vec![listener("192.0.2.1:500", true), listener("127.0.0.1:4500", false)];
    quiet(&facts);
    let mut facts = healthy("static").failing(0, Stage::Down, "HOST-NOT-READY", "open UDP socket: in use");
    facts.host_mut().listeners = vec![listener("192.0.2.1:500", false)];
    first(&facts, "HOST-PORT-TAKEN");
    assert_eq!(found(&facts, "HOST-NOT-READY").because_of.as_deref(), Some("HOST-PORT-TAKEN"));
}

#[test]
fn a_capability_that_the_daemon_lacks_is_told() {
    let mut facts = healthy("static").failing(0, Stage::Down, "HOST-NOT-READY", "Operation not permitted");
    facts.running_mut().capabilities = Some(!(1 << capability::NET_ADMIN));
    assert!(first(&facts, "HOST-NO-CAPABILITY").cause.contains("CAP_NET_ADMIN"));
    // Protocol 50 needs another one, and is not used here.
    let mut facts = healthy("static");
    facts.running_mut().capabilities = Some(!(1 << capability::NET_RAW));
    quiet(&facts);
}

#[test]
fn symptom_16_another_interface_with_the_inside_network_is_told() {
    let mut facts = healthy("static");
    facts.host_mut().addresses.push(("eth9".to_owned(), "169.254.10.2/30".parse().unwrap()));
    assert!(first(&facts, "HOST-ADDRESS-CLASH").cause.contains("eth9"));
    // A whole 169.254.0.0/16 is more general than the tunnel's /30.
    let mut facts = healthy("static");
    facts.host_mut().addresses.push(("eth9".to_owned(), "169.254.99.7/16".parse().unwrap()));
    quiet(&facts);
}

#[test]
fn symptom_01_a_local_address_that_is_not_there_is_told() {
    let text = toml("static", "").replacen("psk =", "bind = \"10.0.0.5\"\npsk =", 1);
    first(&never_started().with_config(&text), "HOST-BIND-ABSENT");
}

#[test]
fn forwarding_is_told_when_the_daemon_leaves_it_alone() {
    let mut facts = healthy("static");
    facts.host_mut().forwarding_v4 = Some(false);
    assert!(first(&facts, "HOST-FORWARDING-OFF").remedy.contains("sysctl -w net.ipv4.ip_forward=1"));
    // The daemon will turn it on.
    let mut facts = never_started();
    facts.host_mut().forwarding_v4 = Some(false);
    first(&facts, "HOST-NO-DAEMON");
    let report = toml("static", "[host]\nip_forward = \"report\"\n");
    let facts = facts.with_config(&report);
    found(&facts, "HOST-FORWARDING-OFF");
    // IPv6 is not used inside.
    let mut facts = healthy("static");
    facts.host_mut().forwarding_v6 = Some(false);
    quiet(&facts);
}

#[test]
fn symptom_18_the_larger_of_both_reverse_path_values_counts() {
    for (all, own, strict) in
        [(0, 1, true), (1, 1, true), (1, 0, true), (1, 2, false), (2, 1, false), (0, 0, false)]
    {
        let mut facts = healthy("static");
        facts.host_mut().reverse_path_all = Some(all);
        facts.host_mut().reverse_path.insert("cgw0".to_owned(), own);
        if strict {
            assert_eq!(first(&facts, "HOST-RP-FILTER").tunnel.as_deref(), Some("tunnel1"), "{all} {own}");
        } else {
            quiet(&facts);
        }
    }
}

#[test]
fn networkd_is_worth_knowing_until_it_deleted_a_route() {
    let mut facts = healthy("static");
    facts.host_mut().networkd_removes_routes = true;
    quiet(&facts);
    let facts = facts.event(0, "ROUTE-REPAIRED", "172.31.0.0/16 was gone", 60);
    assert_eq!(first(&facts, "HOST-NETWORKD").severity, Severity::Warning);
}

#[test]
fn a_daemon_in_another_namespace_is_no_alarm() {
    let mut facts = healthy("static");
    facts.host = None;
    facts.running_mut().elsewhere = Some(42);
    quiet(&facts);
    assert!(found(&facts, "HOST-ELSEWHERE").remedy.contains("/proc/42/ns/net"));
}

#[test]
fn symptom_01_the_way_below_is_told_before_the_silence() {
    let silent = || healthy("static").failing(0, Stage::Down, "IKE-NO-ANSWER", "silence");
    let outside = "198.51.100.1".parse().unwrap();
    let mut facts = silent();
    facts.host_mut().underlay.insert(outside, Err("Network is unreachable".to_owned()));
    first(&facts, "UND-NO-ROUTE");
    assert_eq!(found(&facts, "IKE-NO-ANSWER").because_of.as_deref(), Some("UND-NO-ROUTE"));

    let mut facts = silent();
    facts.host_mut().underlay.get_mut(&outside).unwrap().as_mut().unwrap().interface = "cgw1".to_owned();
    first(&facts, "UND-LOOP");

    let mut facts = silent();
    facts.host_mut().underlay.get_mut(&outside).unwrap().as_mut().unwrap().local = true;
    first(&facts, "UND-OUTSIDE-IS-OURS");
}

#[test]
fn symptom_01_a_public_address_that_aws_does_not_expect_is_told() {
    let with = |address: &str| {
        let mut facts = healthy("static").failing(0, Stage::Down, "IKE-NO-ANSWER", "silence");
        facts.host_mut().addresses[0].1 = format!("{address}/24").parse().unwrap();
        for underlay in facts.host_mut().underlay.values_mut() {
            underlay.as_mut().unwrap().source = Some(address.parse().unwrap());
        }
        facts
    };
    assert_eq!(found(&with("198.18.7.7"), "UND-ADDRESS").severity, Severity::Warning);
    assert_eq!(found(&with("10.0.0.5"), "UND-NAT").severity, Severity::Info);
}

#[test]
fn symptom_19_a_way_that_is_too_narrow_is_told() {
    let mut facts = healthy("static");
    for underlay in facts.host_mut().underlay.values_mut() {
        underlay.as_mut().unwrap().mtu = 1400;
    }
    assert!(first(&facts, "UND-MTU").remedy.contains("path_mtu = 1400"));
    for n in 0..2 {
        facts.tunnel_mut(n).mtu = 1338;
    }
    quiet(&facts);
}

#[test]
fn symptom_33_a_regular_pace_behind_a_nat_is_told() {
    let mut facts = healthy("static");
    facts.host_mut().addresses[0].1 = "10.0.0.5/24".parse().unwrap();
    for underlay in facts.host_mut().underlay.values_mut() {
        underlay.as_mut().unwrap().source = Some("10.0.0.5".parse().unwrap());
    }
    quiet(&facts);
    for age in [1_900, 1_300, 700] {
        facts = facts.event(0, "TUNNEL-DOWN", "down", age);
    }
    assert!(first(&facts, "UND-NAT-TIMEOUT").cause.contains("every 600 s"));
}

#[test]
fn routes_that_do_not_lead_into_the_tunnel_are_told() {
    let mut facts = healthy("static");
    facts.host_mut().routes.clear();
    first(&facts, "ROUTE-MISSING");

    let mut facts = healthy("static");
    facts.host_mut().routes.push(KernelRoute {
        destination: "172.31.0.0/16".parse().unwrap(),
        table: 254,
        protocol: 3,
        metric: 1,
        interfaces: vec!["wan0".to_owned()],
    });
    facts.host_mut().lookups[0].interface = Ok("wan0".to_owned());
    first(&facts, "ROUTE-FOREIGN");

    let mut facts = healthy("static");
    facts.host_mut().lookups[0].interface = Err("Network is unreachable".to_owned());
    first(&facts, "ROUTE-NOT-USED");

    let mut facts = healthy("static");
    facts.host_mut().routes[0].table = 100;
    facts.running_mut().routes.routes[0].table = 100;
    first(&facts, "ROUTE-TABLE-UNUSED");
    facts.host_mut().tables.push(100);
    quiet(&facts);
}

#[test]
fn a_refused_reload_is_told_until_the_next_good_one() {
    let facts = healthy("static").event(0, "CONFIG-REJECTED", "cgwd.toml:3: unknown key", 60);
    assert!(first(&facts, "CONFIG-REJECTED").cause.contains("unknown key"));
    quiet(&facts.event(0, "CONFIG-RELOADED", "", 30));
}

#[test]
fn symptom_01_a_gateway_that_aws_knows_by_a_private_address_is_told() {
    let text =
        toml("static", "").replace("customer_gateway = \"192.0.2.1\"", "customer_gateway = \"192.168.7.2\"");
    let facts = healthy("static").failing(0, Stage::Down, "IKE-NO-ANSWER", "silence").with_config(&text);
    let finding = first(&facts, "UND-GATEWAY-PRIVATE");
    assert!(finding.cause.contains("192.168.7.2") && finding.remedy.contains("checkip"));
    assert_eq!(found(&facts, "IKE-NO-ANSWER").because_of.as_deref(), Some("UND-GATEWAY-PRIVATE"));
    // A connection over Direct Connect has private addresses on both sides.
    quiet(&healthy("static").with_config(&text));
}

#[test]
fn symptom_33_a_providers_shared_address_is_worth_knowing() {
    let behind = |source: &str| {
        let mut facts = healthy("static");
        let host = facts.host_mut();
        host.addresses.retain(|(interface, _)| interface != "wan0");
        for found in host.underlay.values_mut().flatten() {
            found.source = Some(source.parse().unwrap());
        }
        facts
    };
    found(&behind("100.64.3.2"), "UND-CGNAT");
    quiet(&behind("100.64.3.2"));
    found(&behind("192.168.1.2"), "UND-NAT");
}
