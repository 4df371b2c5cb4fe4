use std::time::Duration;

use super::*;
use crate::{
    Accept, DhGroup, Encapsulation, Esn, Identity, KeySource, Peer, RekeyWindow, Routing, Startup, WhenDown,
};

fn example() -> Config {
    let text = include_str!("../../../../config/cgwd.example.toml");
    let loaded = parse(text, "cgwd.example.toml").unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.warnings.to_string(), "");
    loaded.config
}

fn minimal(more: &str) -> String {
    format!(
        "[[connection]]\nid = \"lab\"\nrouting = \"static\"\nvpc = [\"10.0.0.0/16\"]\n{more}\n\
         [[connection.tunnel]]\noutside = \"198.51.100.1\"\ncustomer_gateway = \"192.0.2.1\"\n\
         inside = \"169.254.10.2/30\"\npsk = \"lab_Psk.Tunnel1\"\n"
    )
}

#[test]
fn the_example_holds_what_it_says() {
    let config = example();
    let [bgp, fixed] = config.connections.as_slice() else { panic!() };
    let Routing::Bgp(session) = &bgp.routing else { panic!() };
    assert_eq!((session.local_asn, session.remote_asn), (65000, 64512));
    assert_eq!(session.accept, Accept::Within(vec!["10.0.0.0/16".parse().unwrap()]));
    assert_eq!(session.advertise, bgp.lan);
    assert!(matches!(&fixed.routing, Routing::Static { vpc } if vpc.len() == 2));
    let names: Vec<_> =
        config.tunnels().map(|(c, t)| format!("{}/{} {}", c.id, t.name, t.interface)).collect();
    assert_eq!(
        names,
        [
            "vpn-0a1b2c3d4e5f60718/tunnel1 cgw0",
            "vpn-0a1b2c3d4e5f60718/tunnel2 cgw1",
            "vpn-0f9e8d7c6b5a40312/tunnel1 cgw2",
            "vpn-0f9e8d7c6b5a40312/tunnel2 cgw3"
        ]
    );
    assert_eq!(fixed.tunnels[0].psk(), Some(&KeySource::File("/etc/cgwd/branch-tunnel1.psk".into())));
    assert_eq!(fixed.tunnels[1].psk(), Some(&KeySource::Credential("branch-tunnel2.psk".into())));
}

#[test]
fn a_key_that_can_be_guessed_is_warned_of_and_not_shown() {
    for (key, weak) in [("secret123", true), ("aaaaaaaaaaaaaaaaaaaaaaaa", true), ("x8K.q2_Zt7Rw4LmA", false)]
    {
        let loaded = parse(&minimal("").replace("lab_Psk.Tunnel1", key), "x").unwrap();
        assert_eq!(loaded.warnings.to_string().contains("CFG-WEAK-KEY"), weak, "{key}");
        assert!(!loaded.warnings.to_string().contains(key), "{}", loaded.warnings);
    }
}

#[test]
fn what_is_left_out_has_awss_defaults_and_strong_algorithms() {
    let config = parse(&minimal(""), "x").unwrap().config;
    assert_eq!((config.routes.table, config.routes.metric), (254, 100));
    assert_eq!(config.control.socket, std::path::Path::new("/run/cgwd/control.sock"));
    assert_eq!((config.metrics.listen, config.web.listen), (None, None));
    assert_eq!(config.host.ip_forward, IpForward::Enable);
    assert_eq!(config.log.level, LogLevel::Info);
    let connection = &config.connections[0];
    assert_eq!((connection.peer, connection.allow_default_route), (Peer::Aws, false));
    let tunnel = &connection.tunnels[0];
    assert_eq!((tunnel.name.as_str(), tunnel.interface.as_str(), tunnel.path_mtu), ("tunnel1", "cgw0", 1500));
    assert_eq!(tunnel.local_id, Identity::Address(tunnel.customer_gateway));
    assert_eq!(tunnel.remote_id, Identity::Address(tunnel.outside));
    assert_eq!((tunnel.startup, tunnel.encapsulation), (Startup::Initiate, Encapsulation::Udp));
    assert_eq!((tunnel.dpd_timeout.as_secs(), tunnel.rekey_margin.as_secs()), (40, 270));
    assert_eq!((tunnel.ike.lifetime.as_secs(), tunnel.esp.lifetime.as_secs()), (28_800, 3_600));
    assert_eq!((tunnel.esp.replay_window, tunnel.esp.esn), (1024, Esn::No));
    assert_eq!(tunnel.ike.dh_groups.iter().map(|g| g.number()).collect::<Vec<_>>(), [20, 19, 14]);
    assert!(!tunnel.ike.dh_groups.iter().copied().any(DhGroup::is_weak));
    assert!(tunnel.clear_df && tunnel.clamp_mss && tunnel.offload.tun);
    assert_eq!((tunnel.probe.interval, tunnel.probe.loss), (Duration::from_secs(1), 3));
}

#[test]
fn policy_rules_need_a_table_of_their_own_and_a_priority() {
    let routes = |text: &str| parse(&format!("{}\n[routes]\n{text}\n", minimal("")), "x");
    let good = routes(
        "table = 100\nrule_priority = 1000\nrule_from = [\"10.10.0.0/16\"]\nwhen_down = \"unreachable\"",
    );
    let good = good.unwrap().config.routes;
    assert_eq!((good.table, good.rule_priority, good.when_down), (100, Some(1000), WhenDown::Unreachable));
    assert_eq!(good.rule_from, ["10.10.0.0/16".parse().unwrap()]);
    for (text, words) in [
        ("rule_priority = 1000", "a rule to the main table changes nothing"),
        ("table = 100\nrule_from = [\"10.10.0.0/16\"]", "`rule_from` without `rule_priority` makes no rule"),
        ("table = 100\nrule_priority = 40000", "rule_priority"),
        ("when_down = \"drop\"", "unreachable"),
    ] {
        let report = routes(text).unwrap_err().render(false);
        assert!(report.contains(words), "{report}");
    }
}

#[test]
fn names_numbers_and_units_are_read_as_people_write_them() {
    let text = minimal("").replace(
        "psk = ",
        "local_id = \"gw.example.com\"\nremote_id = \"vpn@example.com\"\ndpd_timeout = \"1m\"\n\
         probe = { interval = \"500ms\" }\nike = { lifetime = \"8h\", dh_groups = [20, 20, 0x0e] }\npsk = ",
    );
    let config = parse(&text, "x").unwrap().config;
    let tunnel = &config.connections[0].tunnels[0];
    assert_eq!(tunnel.local_id, Identity::Fqdn("gw.example.com".into()));
    assert_eq!(tunnel.remote_id, Identity::Email("vpn@example.com".into()));
    assert_eq!((tunnel.dpd_timeout.as_secs(), tunnel.probe.interval.as_millis()), (60, 500));
    assert_eq!(tunnel.ike.lifetime.as_secs(), 28_800);
    assert_eq!(tunnel.ike.dh_groups.iter().map(|g| g.number()).collect::<Vec<_>>(), [20, 14]);
}

#[test]
fn another_peer_than_aws_has_its_own_limits() {
    let lab = |text: &str| {
        text.replace("lab_Psk.Tunnel1", "lab key!").replace("169.254.10.2/30", "192.168.99.1/30").replace(
            "psk = ",
            "ike = { lifetime = 60, dh_groups = [31] }\nesp = { lifetime = 20 }\ndpd_timeout = 2\npath_mtu = 9000\npsk = ",
        )
    };
    assert!(parse(&lab(&minimal("")), "x").is_err());
    let config = parse(&lab(&minimal("peer = \"other\"")), "x").unwrap().config;
    let tunnel = &config.connections[0].tunnels[0];
    assert_eq!(tunnel.inside[0].aws.to_string(), "192.168.99.2");
    assert_eq!((tunnel.esp.lifetime.as_secs(), tunnel.rekey_margin.as_secs()), (20, 10));
}

#[test]
fn a_default_route_needs_its_word() {
    let text = minimal("").replace("10.0.0.0/16", "0.0.0.0/0");
    assert!(parse(&text, "x").unwrap_err().to_string().contains("CFG-DEFAULT-ROUTE"));
    let text = minimal("allow_default_route = true").replace("10.0.0.0/16", "0.0.0.0/0");
    assert!(parse(&text, "x").unwrap().config.connections[0].allow_default_route);
}

#[test]
fn a_static_connection_runs_without_inside_addresses_and_bgp_does_not() {
    let text = minimal("").replace("inside = \"169.254.10.2/30\"\n", "");
    let loaded = parse(&text, "x").unwrap();
    assert!(loaded.config.connections[0].tunnels[0].inside.is_empty());
    let codes: Vec<_> = loaded.warnings.diagnostics().iter().map(|d| d.code).collect();
    assert_eq!(codes, ["CFG-ONE-TUNNEL", "CFG-NO-INSIDE"]);
}

#[test]
fn we_rekey_before_aws_does() {
    let secs = Duration::from_secs;
    for (lifetime, margin) in
        [(28_800, 270), (3_600, 270), (3_600, 60), (3_600, 1_800), (900, 60), (900, 450)]
    {
        let window = RekeyWindow::before_aws(secs(lifetime), secs(margin));
        let last = window.rekey_after + window.jitter;
        assert_eq!(window.hard, secs(lifetime));
        assert!(last <= secs(lifetime) * 3 / 4, "{lifetime} {margin}: {window:?}");
        assert!(window.rekey_after >= secs(lifetime) * 2 / 5, "{lifetime} {margin}: {window:?}");
        if margin * 4 <= lifetime {
            assert!(last <= secs(lifetime - 2 * margin), "{lifetime} {margin}: {window:?}");
        }
    }
    let child = RekeyWindow::before_aws(secs(3_600), secs(270));
    assert_eq!((child.rekey_after, child.jitter), (secs(2_160), secs(540)));
}

#[test]
fn a_tunnel_is_found_by_what_a_person_calls_it() {
    let config = example();
    for name in ["cgw3", "203.0.113.2", "vpn-0f9e8d7c6b5a40312/tunnel2"] {
        assert_eq!(config.find_tunnel(name).unwrap().1.interface, "cgw3", "{name}");
    }
    let text = config.find_tunnel("tunnel1").unwrap_err().to_string();
    assert!(text.contains("as in `vpn-0a1b2c3d4e5f60718/tunnel1`"), "{text}");
    assert!(config.find_tunnel("tunnel9").unwrap_err().to_string().contains("no tunnel is called `tunnel9`"));
}

#[test]
fn equal_files_are_equal_values_and_keys_never_print() {
    assert_eq!(example(), example());
    assert!(!format!("{:?}", example()).contains("lab_Psk"));
    let text =
        include_str!("../../../../config/cgwd.example.toml").replace("lab_Psk.Tunnel2", "lab_Psk.TunnelX");
    assert_ne!(parse(&text, "x").unwrap().config, example());
}

/// A tunnel by certificates, with further lines.
fn by_certificates(more: &str) -> Result<crate::Tunnel, crate::Report> {
    let text = format!(
        "[[connection]]\nid = \"vpn-0a1b2c3d4e5f60718\"\nrouting = \"static\"\nvpc = [\"10.0.0.0/16\"]\n\
         [[connection.tunnel]]\noutside = \"198.51.100.1\"\ninside = \"169.254.10.2/30\"\n{more}"
    );
    crate::parse(&text, "test").map(|loaded| loaded.config.connections[0].tunnels[0].clone())
}

const THREE: &str =
    "certificate = \"/etc/cgwd/gw.pem\"\nprivate_key = \"/etc/cgwd/gw.key\"\nca = \"/etc/cgwd/ca.pem\"\n";

#[test]
fn certificates_need_three_files_and_no_address_at_aws() {
    let tunnel = by_certificates(THREE).unwrap();
    let files = tunnel.certificates().unwrap();
    assert_eq!(files.private_key, crate::PrivateKey::File("/etc/cgwd/gw.key".into()));
    assert!(files.crl.is_empty() && tunnel.psk().is_none());
    assert_eq!((tunnel.known_gateway(), tunnel.local_id), (None, crate::Identity::Subject));
    let aws = "C=US, ST=WA, L=Seattle, O=Amazon.com, OU=AWS, CN=vpn-0a1b2c3d4e5f60718.endpoint-0";
    assert_eq!(tunnel.remote_id, crate::Identity::Name(aws.to_owned()));
    for (missing, named) in [(0, "`certificate`"), (1, "`private_key`"), (2, "`ca`")] {
        let two: String = THREE
            .lines()
            .enumerate()
            .filter(|(at, _)| *at != missing)
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        let report = by_certificates(&format!("customer_gateway = \"192.0.2.1\"\n{two}")).unwrap_err();
        assert!(report.render(false).contains(named), "{}", report.render(false));
    }
}

#[test]
fn a_key_and_certificates_exclude_each_other() {
    let report = by_certificates(&format!("{THREE}psk = \"lab_Psk.Tunnel1\"\n")).unwrap_err().render(false);
    assert!(report.contains("both `certificate` and `psk`"), "{report}");
    let report =
        by_certificates(&format!("{THREE}private_key_credential = \"gw.key\"\n")).unwrap_err().render(false);
    assert!(report.contains("keep one of the two"), "{report}");
}

#[test]
fn a_distinguished_name_is_an_identity_only_with_certificates() {
    let name = "C=US, O=Example, CN=gw";
    let tunnel =
        by_certificates(&format!("{THREE}remote_id = \"{name}\"\nlocal_id = \"gw.example\"\n")).unwrap();
    assert_eq!(tunnel.remote_id, crate::Identity::Name(name.to_owned()));
    assert_eq!(tunnel.local_id, crate::Identity::Fqdn("gw.example".to_owned()));
    let psk =
        format!("customer_gateway = \"192.0.2.1\"\npsk = \"lab_Psk.Tunnel1\"\nremote_id = \"{name}\"\n");
    assert!(by_certificates(&psk).unwrap_err().render(false).contains("no IKE identity"));
}

#[test]
fn the_status_page_listens_elsewhere_than_on_loopback_only_when_the_file_says_so_twice() {
    let listens =
        |keys: &str| parse(&format!("[web]\n{keys}\n{}", minimal("")), "x").map(|it| it.config.web.listen);
    let address = |text: &str| Some(text.parse().unwrap());
    assert_eq!(listens("listen = \"127.0.0.1:8470\"").unwrap(), address("127.0.0.1:8470"));
    assert_eq!(listens("listen = \"[::1]:8470\"").unwrap(), address("[::1]:8470"));
    for open in ["0.0.0.0:8470", "[::]:8470", "192.0.2.1:8470"] {
        assert!(listens(&format!("listen = \"{open}\"")).is_err(), "{open}");
        let allowed = listens(&format!("listen = \"{open}\"\nallow_remote = true")).unwrap();
        assert_eq!(allowed, address(open));
    }
}
