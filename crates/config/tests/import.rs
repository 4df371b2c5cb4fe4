//! Every shape that AWS hands out, to our file, to values: `tests/fixtures/` has one of each.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{FIXTURES, fixture, import_fixture, key, net, nets};
use config::import::{ImportOptions, decode, import};
use config::{
    Accept, Config, DhGroup, Encapsulation, EncryptionAlgorithm as Enc, IntegrityAlgorithm as Hash,
    KeySource, Routing, parse,
};
use std::time::Duration;

/// Imports with the usual prefixes and loads the result.
fn load(name: &str) -> (Config, Vec<String>) {
    load_with(name, &ImportOptions { lan: nets("10.10.0.0/16"), vpc: nets("10.0.0.0/16"), raw_esp: false })
}

fn load_with(name: &str, options: &ImportOptions) -> (Config, Vec<String>) {
    let imported = import_fixture(name, options).unwrap_or_else(|report| panic!("{name}: {report}"));
    let loaded = parse(&imported.toml, name).unwrap_or_else(|report| panic!("{report}"));
    (loaded.config, imported.notes)
}

fn refused(name: &str, options: &ImportOptions) -> String {
    match import_fixture(name, options) {
        Ok(imported) => panic!("{name} was taken:\n{}", imported.toml),
        Err(report) => report.to_string(),
    }
}

fn numbers(groups: &[DhGroup]) -> Vec<u16> {
    groups.iter().map(|g| g.number()).collect()
}

/// The connection that nearly all fixtures describe, with its tunnels in the usual order.
fn assert_usual_connection(name: &str, config: &Config) {
    let connection = config.connections.first().unwrap();
    assert_eq!(connection.id.get(..7), Some("vpn-0a1"), "{name}");
    assert_eq!(connection.lan, nets("10.10.0.0/16"), "{name}");
    let [first, second] = connection.tunnels.as_slice() else { panic!("{name}") };
    assert_eq!((first.name.as_str(), second.name.as_str()), ("tunnel1", "tunnel2"), "{name}");
    assert_eq!((first.interface.as_str(), second.interface.as_str()), ("cgw0", "cgw1"), "{name}");
    assert_eq!(key(first), "lab_Psk.Tunnel1", "{name}");
    assert_eq!(key(second), ".lab_Psk_Tunnel2", "{name}");
    assert_eq!(first.inside[0].ours, net("169.254.10.2/30"), "{name}");
    assert_eq!(first.inside[0].aws.to_string(), "169.254.10.1", "{name}");
    assert_eq!(second.inside[0].ours, net("169.254.20.2/30"), "{name}");
    if first.outside.is_ipv4() {
        assert_eq!(first.outside.to_string(), "198.51.100.1", "{name}");
        assert_eq!(second.outside.to_string(), "203.0.113.1", "{name}");
        assert_eq!(first.customer_gateway.to_string(), "192.0.2.1", "{name}");
    }
    for tunnel in &connection.tunnels {
        assert_eq!(tunnel.encapsulation, Encapsulation::Udp, "{name}");
        assert!(matches!(tunnel.psk(), Some(KeySource::Inline(_))), "{name}");
    }
}

fn assert_bgp(name: &str, config: &Config) {
    let Routing::Bgp(bgp) = &config.connections[0].routing else { panic!("{name} is not BGP") };
    assert_eq!((bgp.local_asn, bgp.remote_asn), (65000, 64512), "{name}");
    assert_eq!(bgp.hold_time, Duration::from_secs(30), "{name}");
    assert_eq!(bgp.advertise, nets("10.10.0.0/16"), "{name}");
    assert_eq!(bgp.accept, Accept::Within(nets("10.0.0.0/16")), "{name}");
}

fn assert_static(name: &str, config: &Config) {
    let Routing::Static { vpc } = &config.connections[0].routing else { panic!("{name} is not static") };
    assert_eq!(*vpc, nets("10.0.0.0/16"), "{name}");
}

#[test]
fn every_bgp_shape_gives_the_same_two_tunnels() {
    for name in [
        "generic-2013-bgp.txt",
        "generic-2020-bgp-ikev1.txt",
        "generic-2026-bgp-ikev2.txt",
        "generic-transit-crlf-bom.txt",
        "generic-two-connections.txt",
        "generic-utf16.txt",
        "generic-ipv6-outside.txt",
        "configuration-bgp.xml",
        "configuration-transit-minified.xml",
        "describe-bgp-defaults.json",
        "describe-bgp-custom.json",
        "describe-no-tunnel-options.json",
        "describe-bare.json",
        "describe-array.json",
        "describe-query-configuration.json",
        "describe-accelerated.json",
        "exporter-double-escaped.json",
        "terraform-output-json-one.json",
        "terraform-output-json-all.json",
        "terraform-output-heredoc.txt",
    ] {
        let (config, _) = load(name);
        assert_usual_connection(name, &config);
        assert_bgp(name, &config);
    }
}

#[test]
fn every_static_shape_gives_the_same_two_tunnels() {
    for name in [
        "generic-2020-static-ikev1.txt",
        "generic-2026-static-ikev2.txt",
        "configuration-static-swapped.xml",
        "describe-static-weak.json",
        "describe-narrowed-selectors.json",
        "strongswan-ikev1.txt",
        "strongswan-ikev2-edited.txt",
        "libreswan-filled-in.txt",
    ] {
        let (config, _) = load(name);
        assert_usual_connection(name, &config);
        assert_static(name, &config);
    }
}

#[test]
fn no_fixture_is_forgotten_and_every_import_is_the_same_twice() {
    let options = ImportOptions { lan: nets("10.10.0.0/16"), vpc: nets("10.0.0.0/16"), raw_esp: true };
    let on_disk = std::fs::read_dir(FIXTURES).unwrap().count();
    assert_eq!(on_disk, 36, "a new fixture wants a test");
    for entry in std::fs::read_dir(FIXTURES).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let once = import_fixture(&name, &options).map(|i| i.toml).map_err(|r| r.to_string());
        let twice = import_fixture(&name, &options).map(|i| i.toml).map_err(|r| r.to_string());
        assert_eq!(once, twice, "{name}");
    }
}

#[test]
fn what_a_download_prints_is_never_asked_for() {
    for name in
        ["generic-2020-bgp-ikev1.txt", "configuration-bgp.xml", "strongswan-ikev1.txt", "openswan.txt"]
    {
        let (config, notes) = load(name);
        for (_, tunnel) in config.tunnels() {
            assert_eq!(tunnel.ike.encryption, [Enc::Aes256Gcm16], "{name}");
            assert_eq!(tunnel.ike.integrity, [Hash::Sha2_384], "{name}");
            assert_eq!(numbers(&tunnel.ike.dh_groups), [20, 19, 14], "{name}");
            assert_eq!(tunnel.esp.encryption, [Enc::Aes256Gcm16], "{name}");
            assert_eq!(numbers(&tunnel.esp.dh_groups), [20, 19, 14], "{name}");
        }
        assert!(notes.iter().any(|n| n.contains("AWS prints its minimum")), "{name}: {notes:?}");
    }
}

#[test]
fn the_api_lists_decide_and_the_best_of_each_is_asked_for_alone() {
    let (config, notes) = load("describe-bgp-defaults.json");
    for (_, tunnel) in config.tunnels() {
        assert_eq!(tunnel.ike.encryption, [Enc::Aes256Gcm16]);
        assert_eq!(
            (tunnel.ike.integrity.as_slice(), numbers(&tunnel.ike.dh_groups)),
            (&[Hash::Sha2_384][..], vec![20])
        );
    }
    assert_eq!(notes, Vec::<String>::new(), "nothing was decided that needs saying");

    let (config, _) = load("describe-bgp-custom.json");
    for (_, tunnel) in config.tunnels() {
        assert_eq!(tunnel.ike.encryption, [Enc::Aes128Gcm16]);
        assert_eq!(tunnel.ike.integrity, [Hash::Sha2_512]);
        assert_eq!(numbers(&tunnel.ike.dh_groups), [19]);
        assert_eq!(numbers(&tunnel.esp.dh_groups), [19]);
        assert_eq!(tunnel.ike.lifetime, Duration::from_secs(14400));
        assert_eq!(tunnel.esp.lifetime, Duration::from_secs(1800));
        assert_eq!(tunnel.rekey_margin, Duration::from_secs(120));
        assert_eq!(tunnel.dpd_timeout, Duration::from_secs(60));
        assert_eq!(tunnel.esp.replay_window, 2048);
    }
}

#[test]
fn weak_algorithms_are_taken_only_when_nothing_else_is_allowed_and_loudly() {
    let (config, notes) = load("describe-static-weak.json");
    for (_, tunnel) in config.tunnels() {
        assert_eq!((tunnel.ike.encryption[0], tunnel.ike.integrity[0]), (Enc::Aes128, Hash::Sha1));
        assert_eq!((numbers(&tunnel.ike.dh_groups), numbers(&tunnel.esp.dh_groups)), (vec![2], vec![2]));
    }
    let weak: Vec<_> = notes.iter().filter(|n| n.starts_with("WEAK:")).collect();
    assert_eq!(weak.len(), 1, "{notes:?}");
    assert!(
        weak[0].contains("tunnel1 and tunnel2") && weak[0].contains("SHA1 and group 2 (MODP-1024)"),
        "{weak:?}"
    );
    let options = ImportOptions { vpc: nets("10.0.0.0/16"), ..ImportOptions::default() };
    let toml = import_fixture("describe-static-weak.json", &options).unwrap().toml;
    let warnings = parse(&toml, "x.toml").unwrap().warnings;
    assert_eq!(warnings.diagnostics().iter().map(|d| d.code).collect::<Vec<_>>(), ["CFG-WEAK"]);
}

#[test]
fn only_obsolete_groups_are_refused_with_what_to_allow() {
    let text = refused("describe-only-obsolete-groups.json", &ImportOptions::default());
    assert!(text.contains("Phase1DHGroupNumbers of tunnel1 allow only 22, 23, 24"), "{text}");
    assert!(text.contains("allow group 20 at AWS"), "{text}");
}

#[test]
fn an_ikev1_only_tunnel_is_refused_with_the_command_that_changes_it() {
    let text = refused("describe-ikev1-only.json", &ImportOptions::default());
    assert!(text.contains("tunnel1 allows IKEv1 only"), "{text}");
    assert!(!text.contains("tunnel2 allows"), "{text}");
    assert!(
        text.contains(
            "aws ec2 modify-vpn-tunnel-options --vpn-connection-id vpn-0a1b2c3d4e5f60718 \
             --vpn-tunnel-outside-ip-address 198.51.100.1 --tunnel-options '{\"IKEVersions\":[{\"Value\":\"ikev2\"}]}'"
        ),
        "{text}"
    );
}

#[test]
fn ikev1_in_the_wording_of_a_download_is_only_noted() {
    let (_, notes) = load("generic-2020-bgp-ikev1.txt");
    assert!(notes.iter().any(|n| n.contains("worded for IKEv1")), "{notes:?}");
    let (_, notes) = load("generic-2026-bgp-ikev2.txt");
    assert!(!notes.iter().any(|n| n.contains("IKEv1")), "{notes:?}");
}

#[test]
fn several_connections_make_one_file_and_deleted_ones_are_named() {
    let (config, notes) = load_with(
        "describe-many.json",
        &ImportOptions { vpc: nets("10.0.0.0/16"), ..ImportOptions::default() },
    );
    let ids: Vec<&str> = config.connections.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids, ["vpn-0f9e8d7c6b5a40312", "vpn-0a1b2c3d4e5f60718"]);
    // The static routes that AWS has, without the deleted one.
    assert_eq!(config.connections[0].lan, nets("10.20.0.0/16"));
    let interfaces: Vec<&str> = config.tunnels().map(|(_, t)| t.interface.as_str()).collect();
    assert_eq!(interfaces, ["cgw0", "cgw1", "cgw2", "cgw3"]);
    let said = notes.join("\n");
    assert!(said.contains("vpn-0deadbeef00000001 (deleted), vpn-0deadbeef00000002 (deleting)"), "{said}");
    assert!(said.contains("vpn-0f9e8d7c6b5a40312 is still pending"), "{said}");
    assert!(said.contains("No --lan was given for vpn-0a1b2c3d4e5f60718"), "{said}");
}

#[test]
fn a_transit_gateway_takes_more_prefixes() {
    for (name, most) in [
        ("generic-transit-crlf-bom.txt", 1000),
        ("configuration-transit-minified.xml", 1000),
        ("generic-2020-bgp-ikev1.txt", 100),
        ("configuration-bgp.xml", 100),
    ] {
        let (config, _) = load(name);
        let Routing::Bgp(bgp) = &config.connections[0].routing else { panic!("{name}") };
        assert_eq!(bgp.max_advertised, most, "{name}");
    }
    let (config, _) = load("describe-many.json");
    let Routing::Bgp(bgp) = &config.connections[1].routing else { panic!() };
    assert_eq!(bgp.max_advertised, 1000);
}

#[test]
fn a_key_in_secrets_manager_becomes_a_credential_by_name() {
    let (config, notes) = load("describe-secrets-manager.json");
    let sources: Vec<_> = config.tunnels().filter_map(|(_, t)| t.psk().cloned()).collect();
    assert_eq!(
        sources,
        [
            KeySource::Credential("vpn-0a1b2c3d4e5f60718-tunnel1.psk".to_owned()),
            KeySource::Credential("vpn-0a1b2c3d4e5f60718-tunnel2.psk".to_owned())
        ]
    );
    let said = notes.join("\n");
    assert!(said.contains("get-secret-value --secret-id arn:aws:secretsmanager:eu-central-1"), "{said}");
    assert!(
        said.contains(
            "LoadCredential=vpn-0a1b2c3d4e5f60718-tunnel1.psk:/etc/cgwd/vpn-0a1b2c3d4e5f60718-tunnel1.psk"
        ),
        "{said}"
    );
}

#[test]
fn tunnels_of_the_api_are_numbered_by_address_and_those_of_a_text_by_its_order() {
    let (config, _) = load("generic-word-processor.txt");
    let outsides: Vec<String> = config.tunnels().map(|(_, t)| t.outside.to_string()).collect();
    assert_eq!(outsides, ["203.0.113.1", "198.51.100.1"], "the text has the second tunnel first");
    assert_eq!(
        key(&config.connections[0].tunnels[1]),
        "lab_Psk.Tunnel1",
        "typographic quotes are no part of it"
    );
    let (config, _) = load("configuration-static-swapped.xml");
    let outsides: Vec<String> = config.tunnels().map(|(_, t)| t.outside.to_string()).collect();
    assert_eq!(outsides, ["198.51.100.1", "203.0.113.1"]);
}

#[test]
fn narrowed_selectors_are_followed() {
    let (config, _) = load("describe-narrowed-selectors.json");
    for (_, tunnel) in config.tunnels() {
        assert_eq!(format!("{:?} {:?}", tunnel.ts_local, tunnel.ts_remote), "[10.10.0.0/16] [10.0.0.0/16]");
    }
    let (config, _) = load("configuration-bgp.xml");
    assert_eq!(format!("{:?}", config.connections[0].tunnels[0].ts_local), "[0.0.0.0/0]");
}

#[test]
fn ipv6_inside_is_taken_from_the_api_and_from_xml() {
    let options =
        ImportOptions { lan: nets("2001:db8:1::/48"), vpc: nets("2001:db8:2::/48"), raw_esp: false };
    let (config, _) = load_with("describe-ipv6.json", &options);
    let tunnel = &config.connections[0].tunnels[0];
    assert_eq!((tunnel.inside.len(), tunnel.inside[0].ours), (1, net("fd00:10::2/126")));
    assert_eq!(tunnel.inside[0].aws.to_string(), "fd00:10::1");
    assert_eq!(format!("{:?}", tunnel.ts_remote), "[::/0]");
    let (config, _) = load_with("configuration-ipv6.xml", &options);
    let tunnel = &config.connections[0].tunnels[1];
    let inside: Vec<_> = tunnel.inside.iter().map(|link| link.ours).collect();
    assert_eq!(inside, [net("169.254.20.2/30"), net("fd00:20::2/126")]);
    let text = refused("describe-ipv6.json", &ImportOptions { vpc: nets("10.0.0.0/16"), ..options });
    assert!(text.contains("no --vpc prefix is IPv6") && text.contains("--vpc 2001:db8::/32"), "{text}");
}

#[test]
fn inside_addresses_that_the_xml_lacks_follow_from_the_cidr() {
    let text = fixture("describe-bare.json").replace("tunnel_inside_address", "tunnel_address");
    // An old answer has host bits there.
    let text = text.replace("169.254.10.0/30", "169.254.10.1/30");
    let imported =
        import(&text, "x.json", &ImportOptions::default()).unwrap_or_else(|report| panic!("{report}"));
    let config = parse(&imported.toml, "x").unwrap().config;
    let inside: Vec<_> =
        config.tunnels().map(|(_, t)| (t.inside[0].ours, t.inside[0].aws.to_string())).collect();
    let expected = [("169.254.10.2/30", "169.254.10.1"), ("169.254.20.2/30", "169.254.20.1")];
    assert_eq!(inside, expected.map(|(ours, aws)| (net(ours), aws.to_owned())));
}

#[test]
fn raw_esp_is_taken_on_request_but_not_against_acceleration() {
    let options = ImportOptions { raw_esp: true, ..ImportOptions::default() };
    let (config, notes) = load_with("describe-bare.json", &options);
    assert!(config.tunnels().all(|(_, t)| t.encapsulation == Encapsulation::Auto));
    assert!(notes.iter().any(|n| n.contains("IP protocol 50")), "{notes:?}");
    let (config, notes) = load_with("describe-accelerated.json", &options);
    assert!(config.tunnels().all(|(_, t)| t.encapsulation == Encapsulation::Udp));
    assert!(notes.iter().any(|n| n.contains("--raw-esp has no effect")), "{notes:?}");
}

#[test]
fn a_static_connection_needs_to_be_told_what_lies_behind_aws() {
    for name in [
        "generic-2020-static-ikev1.txt",
        "configuration-static-swapped.xml",
        "describe-static-weak.json",
        "strongswan-ikev1.txt",
        "openswan.txt",
    ] {
        let text = refused(name, &ImportOptions { lan: nets("10.10.0.0/16"), ..ImportOptions::default() });
        assert!(text.contains("[IMP-NO-VPC]") && text.contains("--vpc 10.0.0.0/16"), "{text}");
        assert!(text.starts_with(&format!("{name}:")), "{text}");
    }
    // These name it themselves.
    for name in ["strongswan-ikev2-edited.txt", "libreswan-filled-in.txt", "describe-narrowed-selectors.json"]
    {
        let (config, notes) = load_with(name, &ImportOptions::default());
        assert_static(name, &config);
        assert!(notes.iter().any(|n| n.contains("prefixes behind AWS")), "{name}: {notes:?}");
    }
}

#[test]
fn without_lan_bgp_imports_and_says_what_is_missing() {
    let (config, notes) = load_with("generic-2020-bgp-ikev1.txt", &ImportOptions::default());
    let Routing::Bgp(bgp) = &config.connections[0].routing else { panic!() };
    assert_eq!((bgp.advertise.len(), &bgp.accept), (0, &Accept::Any));
    let said = notes.join("\n");
    assert!(said.contains("BGP will announce nothing"), "{said}");
    assert!(said.contains("every prefix that AWS announces is taken, except a default route"), "{said}");
}

#[test]
fn openswans_download_runs_without_inside_addresses() {
    let (config, notes) = load("openswan.txt");
    assert!(config.tunnels().all(|(_, t)| t.inside.is_empty()));
    assert_eq!(format!("{:?}", config.connections[0].tunnels[0].ts_local), "[0.0.0.0/0]");
    assert!(notes.iter().any(|n| n.contains("cannot be probed")), "{notes:?}");
}

#[test]
fn a_default_route_given_on_the_command_line_is_meant() {
    let options = ImportOptions { vpc: nets("0.0.0.0/0"), ..ImportOptions::default() };
    let (config, _) = load_with("generic-2020-static-ikev1.txt", &options);
    assert!(config.connections[0].allow_default_route);
}

#[test]
fn the_file_for_a_simple_download_reads_well() {
    let options = ImportOptions { lan: nets("10.10.0.0/16"), vpc: nets("10.0.0.0/16"), raw_esp: false };
    let toml = import_fixture("describe-bare.json", &options).unwrap().toml;
    assert_eq!(toml, include_str!("golden/describe-bare.toml"));
}

#[test]
fn utf16_from_a_windows_shell_is_read() {
    let bytes = std::fs::read(format!("{FIXTURES}/generic-utf16.txt")).unwrap();
    assert!(decode(&bytes, "x").unwrap().contains("IPSec Tunnel #1"));
    let text = decode(&[0x89, b'P', b'N', b'G', 0xff], "logo.png").unwrap_err().to_string();
    assert!(text.starts_with("logo.png: error: the file is no text"), "{text}");
}

#[test]
fn a_missing_piece_is_named_with_its_place() {
    let whole = fixture("generic-2020-bgp-ikev1.txt");
    let options = ImportOptions { lan: nets("10.10.0.0/16"), ..ImportOptions::default() };
    for (removed, wanted) in [
        ("  - Virtual Private Gateway\t        : 203.0.113.1\n", "tunnel2 has no outside address of AWS"),
        (
            "  - Customer Gateway         : 169.254.10.2/30\n",
            "tunnel1 has no inside address of the customer gateway",
        ),
    ] {
        assert!(whole.contains(removed), "{removed}");
        let text = import(&whole.replace(removed, ""), "aws.txt", &options).err().unwrap().to_string();
        assert!(text.contains(wanted) && text.contains("IPSec Tunnel #"), "{text}");
        assert!(text.contains("= remedy: download the file again"), "{text}");
    }
    let half = whole.split("IPSec Tunnel #2").next().unwrap();
    let text = import(half, "aws.txt", &options).err().unwrap().to_string();
    assert!(text.contains("only one tunnel is described"), "{text}");
}

/// Made from the other fixtures: no real download of such a connection is known.
#[test]
fn a_connection_with_certificates_becomes_one_of_files_to_put_there() {
    let with_key = fixture("describe-bgp-defaults.json");
    let mut value: serde_json::Value = serde_json::from_str(&with_key).unwrap();
    let connection = &mut value["VpnConnections"][0];
    let outsides: Vec<String> = connection["Options"]["TunnelOptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tunnel| tunnel["OutsideIpAddress"].as_str().unwrap().to_owned())
        .collect();
    connection["VgwTelemetry"] = outsides
        .iter()
        .map(|outside| {
            let arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0f0f0f0f";
            serde_json::json!({"OutsideIpAddress": outside, "CertificateArn": arn, "Status": "DOWN"})
        })
        .collect();
    let imported = import(
        &value.to_string(),
        "certificates.json",
        &ImportOptions { lan: nets("10.10.0.0/16"), vpc: Vec::new(), raw_esp: false },
    )
    .unwrap();
    let parsed = parse(&imported.toml, "certificates.toml").unwrap();
    let id = &parsed.config.connections[0].id;
    for tunnel in &parsed.config.connections[0].tunnels {
        let files = tunnel.certificates().expect("no pre-shared key");
        assert_eq!(files.certificate.display().to_string(), format!("/etc/cgwd/{id}.pem"));
        assert_eq!(files.ca.display().to_string(), format!("/etc/cgwd/{id}-ca.pem"));
    }
    assert!(!imported.toml.contains("psk ="), "{}", imported.toml);
    assert!(imported.notes.join("\n").contains("Export the customer gateway's certificate from ACM"));
}
