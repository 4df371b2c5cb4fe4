//! Every message as a user reads it: `tests/golden/errors.txt` and `import-errors.txt` hold the pictures.
//! `BLESS=1 cargo test -p config` writes them anew; read the difference before committing it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fmt::Write as _;

use common::{fixture, nets};
use config::import::{ImportOptions, import};
use config::parse;

const GOOD: &str = r#"[[connection]]
id = "vpn-0a1b2c3d4e5f60718"
routing = "bgp"
lan = ["10.10.0.0/16"]
vpc = ["10.0.0.0/16"]

[connection.bgp]
local_asn = 65000
remote_asn = 64512

[[connection.tunnel]]
name = "tunnel1"
outside = "198.51.100.1"
customer_gateway = "192.0.2.1"
inside = "169.254.10.2/30"
psk = "lab_Psk.Tunnel1"

[[connection.tunnel]]
name = "tunnel2"
outside = "203.0.113.1"
customer_gateway = "192.0.2.1"
inside = "169.254.20.2/30"
psk = "lab_Psk.Tunnel2"
"#;

/// What is changed in [`GOOD`]: the case's name, what is replaced (once), what by.
const CASES: &[(&str, &str, &str)] = &[
    ("a misspelt key", "customer_gateway", "customer_gatway"),
    ("a key in the wrong table", "routing = \"bgp\"", "routing = \"bgp\"\nsocket = \"/run/x\""),
    ("a key that nobody knows", "routing = \"bgp\"", "routing = \"bgp\"\nfrobnicate = true"),
    ("a value without quotes", "\"198.51.100.1\"", "198.51.100.1"),
    ("typographic quotes", "\"tunnel1\"", "“tunnel1”"),
    ("a key twice", "name = \"tunnel1\"", "name = \"tunnel1\"\nname = \"tunnelA\""),
    ("a header with one bracket", "[[connection]]", "[connection]"),
    ("an open header", "[connection.bgp]", "[connection.bgp"),
    ("a word that is no choice", "\"bgp\"", "\"bpg\""),
    ("an address with a port", "\"198.51.100.1\"", "\"198.51.100.1:500\""),
    ("a host name", "\"198.51.100.1\"", "\"vpn.example.com\""),
    ("a number in quotes", "65000", "\"65000\""),
    ("no AS number", "local_asn = 65000\n", ""),
    ("equal AS numbers", "64512", "65000"),
    ("no BGP table", "[connection.bgp]\nlocal_asn = 65000\nremote_asn = 64512\n", ""),
    ("a BGP table in a static connection", "\"bgp\"", "\"static\""),
    ("host bits in a prefix", "10.10.0.0/16", "10.10.1.0/16"),
    ("no prefix length", "10.10.0.0/16", "10.10.0.0"),
    ("the same prefix on both sides", "10.10.0.0/16", "10.0.0.0/16"),
    ("a default route", "10.0.0.0/16", "0.0.0.0/0"),
    ("an outside address in the VPC", "10.0.0.0/16", "198.51.0.0/16"),
    ("inside addresses in the VPC", "10.0.0.0/16", "169.254.0.0/16"),
    ("IPv6 over IPv4", "10.0.0.0/16", "2001:db8::/32"),
    ("nothing to announce", "lan = [\"10.10.0.0/16\"]\n", ""),
    ("a loopback address", "outside = \"198.51.100.1\"", "outside = \"127.0.0.1\""),
    ("ours and AWS's the same", "outside = \"198.51.100.1\"", "outside = \"192.0.2.1\""),
    ("mixed families outside", "outside = \"198.51.100.1\"", "outside = \"2001:db8::1\""),
    ("the same endpoint twice", "203.0.113.1", "198.51.100.1"),
    ("the same inside link twice", "169.254.20.2", "169.254.10.2"),
    ("AWS's inside address", "169.254.10.2/30", "169.254.10.1/30"),
    ("an inside address without /30", "169.254.10.2/30", "169.254.10.2"),
    ("a wide inside link", "169.254.10.2/30", "169.254.10.2/24"),
    ("a reserved inside link", "169.254.10.2/30", "169.254.169.254/30"),
    ("an inside address that is none", "169.254.10.2/30", "10.99.0.2/30"),
    ("no inside address", "inside = \"169.254.10.2/30\"\n", ""),
    ("a key with a space behind it", "\"lab_Psk.Tunnel1\"", "\"lab_Psk.Tunnel1 \""),
    ("a key with an odd character", "\"lab_Psk.Tunnel1\"", "\"lab_Psk+Tunnel1\""),
    ("a short key", "\"lab_Psk.Tunnel1\"", "\"lab\""),
    ("a key that starts with 0", "\"lab_Psk.Tunnel1\"", "\"0lab_Psk.Tunnel1\""),
    ("no key", "psk = \"lab_Psk.Tunnel1\"\n", ""),
    ("two keys", "psk = \"lab_Psk.Tunnel1\"", "psk = \"lab_Psk.Tunnel1\"\npsk_file = \"/etc/cgwd/psk\""),
    ("a relative path", "psk = \"lab_Psk.Tunnel1\"", "psk_file = \"psk\""),
    ("an impatient DPD", "psk = \"lab_Psk.Tunnel1\"", "psk = \"lab_Psk.Tunnel1\"\ndpd_timeout = 10"),
    ("no duration", "psk = \"lab_Psk.Tunnel1\"", "psk = \"lab_Psk.Tunnel1\"\ndpd_timeout = \"soon\""),
    (
        "strongSwan's spelling",
        "psk = \"lab_Psk.Tunnel1\"",
        "psk = \"lab_Psk.Tunnel1\"\nike = { encryption = [\"aes256gcm16\"] }",
    ),
    (
        "an unknown cipher",
        "psk = \"lab_Psk.Tunnel1\"",
        "psk = \"lab_Psk.Tunnel1\"\nike = { encryption = [\"3DES\"] }",
    ),
    (
        "a group by name",
        "psk = \"lab_Psk.Tunnel1\"",
        "psk = \"lab_Psk.Tunnel1\"\nesp = { dh_groups = [\"ecp384\"] }",
    ),
    (
        "an obsolete group",
        "psk = \"lab_Psk.Tunnel1\"",
        "psk = \"lab_Psk.Tunnel1\"\nesp = { dh_groups = [22] }",
    ),
    (
        "group 5 in phase 1",
        "psk = \"lab_Psk.Tunnel1\"",
        "psk = \"lab_Psk.Tunnel1\"\nike = { dh_groups = [5] }",
    ),
    ("an empty list", "psk = \"lab_Psk.Tunnel1\"", "psk = \"lab_Psk.Tunnel1\"\nike = { dh_groups = [] }"),
    (
        "a lifetime that AWS does not have",
        "psk = \"lab_Psk.Tunnel1\"",
        "psk = \"lab_Psk.Tunnel1\"\nesp = { lifetime = 7200 }",
    ),
    (
        "lifetimes the wrong way round",
        "psk = \"lab_Psk.Tunnel1\"",
        "psk = \"lab_Psk.Tunnel1\"\nike = { lifetime = 1800 }",
    ),
    (
        "a wide replay window",
        "psk = \"lab_Psk.Tunnel1\"",
        "psk = \"lab_Psk.Tunnel1\"\nesp = { replay_window = 4096 }",
    ),
    (
        "weak algorithms",
        "psk = \"lab_Psk.Tunnel1\"",
        "psk = \"lab_Psk.Tunnel1\"\nike = { integrity = [\"SHA1\"], dh_groups = [2, 14] }",
    ),
    (
        "one tunnel",
        "\n[[connection.tunnel]]\nname = \"tunnel2\"\noutside = \"203.0.113.1\"\ncustomer_gateway = \"192.0.2.1\"\ninside = \"169.254.20.2/30\"\npsk = \"lab_Psk.Tunnel2\"\n",
        "",
    ),
    (
        "a third tunnel",
        "psk = \"lab_Psk.Tunnel2\"\n",
        "psk = \"lab_Psk.Tunnel2\"\n\n[[connection.tunnel]]\noutside = \"203.0.113.9\"\ncustomer_gateway = \"192.0.2.1\"\ninside = \"169.254.30.2/30\"\npsk = \"lab_Psk.Tunnel3\"\n",
    ),
    ("a long interface name", "name = \"tunnel1\"", "name = \"tunnel1\"\ninterface = \"customer-gateway0\""),
    ("an AS number that is reserved", "65000", "23456"),
    (
        "more prefixes than AWS takes",
        "remote_asn = 64512",
        "remote_asn = 64512\nadvertise = [\"10.1.0.0/16\", \"10.2.0.0/16\"]\nmax_advertised = 1",
    ),
    ("an odd identifier", "vpn-0a1b2c3d4e5f60718", "my vpn"),
    ("a kernel table", "[[connection]]", "[routes]\ntable = 255\n\n[[connection]]"),
    ("no port to listen on", "[[connection]]", "[metrics]\nlisten = \"127.0.0.1\"\n\n[[connection]]"),
    ("a page for everybody", "[[connection]]", "[web]\nlisten = \"0.0.0.0:8470\"\n\n[[connection]]"),
    ("a relative socket", "[[connection]]", "[control]\nsocket = \"control.sock\"\n\n[[connection]]"),
    ("an unknown level", "[[connection]]", "[log]\nlevel = \"verbose\"\n\n[[connection]]"),
    ("no connection", GOOD, "[log]\nlevel = \"info\"\n"),
    ("two interfaces of one name", "name = \"tunnel1\"", "name = \"tunnel1\"\ninterface = \"cgw1\""),
    (
        "several mistakes at once",
        "routing = \"bgp\"\nlan = [\"10.10.0.0/16\"]",
        "routing = \"bgp\"\nlan = \"10.10.0.0/16\"\nvcp = []\nallow_default_route = \"no\"",
    ),
];

fn golden(name: &str, actual: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (a, b) in expected.lines().zip(actual.lines()) {
        assert_eq!(a, b, "{name}");
    }
    assert_eq!(expected.len(), actual.len(), "{name}");
}

#[test]
fn messages_about_the_file_read_as_they_should() {
    assert_eq!(parse(GOOD, "cgwd.toml").unwrap().warnings.to_string(), "");
    let mut out = String::new();
    for (case, from, to) in CASES {
        assert!(GOOD.contains(from), "{case}");
        let text = GOOD.replacen(from, to, 1);
        let report = match parse(&text, "cgwd.toml") {
            Ok(loaded) => loaded.warnings,
            Err(report) => report,
        };
        assert!(!report.is_empty(), "{case} is not noticed");
        let _ = writeln!(out, "=== {case}\n{report}");
        for key in ["lab_Psk", "Psk.", "lab\""] {
            assert!(!report.to_string().contains(key), "{case} shows a key:\n{report}");
        }
        for line in report.short().lines() {
            assert!(line.starts_with("cgwd.toml:") && line.contains("; "), "{line}");
        }
    }
    golden("errors.txt", &out);
}

#[test]
fn messages_about_an_import_read_as_they_should() {
    let generic = fixture("generic-2020-bgp-ikev1.txt");
    let xml = fixture("configuration-bgp.xml");
    let json = fixture("describe-bare.json");
    let cases: Vec<(&str, String)> = vec![
        ("an empty file", String::new()),
        ("something else", "Dear customer,\nhere is your VPN.\n".to_owned()),
        ("our own file", GOOD.to_owned()),
        ("another vendor's download", "! Amazon Web Services\n! IPSec Tunnel #1\n! #1: Internet Key Exchange (IKE) Configuration\ncrypto isakmp policy 200\n".to_owned()),
        ("YAML", "VpnConnections:\n- Category: VPN\n".to_owned()),
        ("a text of one tunnel", generic.split("IPSec Tunnel #2").next().unwrap_or_default().to_owned()),
        ("a text without the key's end", generic.replace("lab_Psk.Tunnel1", "lab_Psk Tunnel1")),
        ("a text with a broken address", generic.replace("203.0.113.1", "203.0.113.x")),
        ("a text without AS numbers", generic.replace("ASN", "AS")),
        ("equal AS numbers", generic.replace("64512", "65000")),
        ("swapped inside addresses", generic.replace("169.254.10.2/30", "169.254.10.1/30")),
        ("half an XML file", xml.get(..xml.len() / 2).unwrap_or_default().to_owned()),
        ("XML that is none", xml.replace("</bgp>", "</bpg>")),
        ("XML without inside addresses", xml.replace("tunnel_inside_address", "tunnel_address")),
        (
            "XML of a certificate connection",
            xml.replacen("<ip_address>192.0.2.1</ip_address>", "<ip_address/>", 1),
        ),
        ("half a JSON file", json.get(..json.len() / 2).unwrap_or_default().to_owned()),
        ("JSON that is none", json.replacen("\"Type\":", "\"Type\" =", 1)),
        ("JSON without a connection", "{\"VpnConnections\": []}".to_owned()),
        (
            "JSON of a deleted connection",
            "{\"VpnConnectionId\": \"vpn-1\", \"State\": \"deleted\"}".to_owned(),
        ),
        ("JSON without the XML", "{\"VpnConnectionId\": \"vpn-1\", \"State\": \"available\"}".to_owned()),
        ("an address that differs inside JSON", json.replace("169.254.20.1<", "169.254.21.1<")),
        ("options of other tunnels", json.replacen("\"203.0.113.1\"", "\"203.0.113.7\"", 1)),
        ("sensitive", "{\"a\": {\"value\": \"<sensitive>\"}}".to_owned()),
        ("a static connection without --vpc", fixture("configuration-static-swapped.xml")),
        ("IKEv1 only", fixture("describe-ikev1-only.json")),
    ];
    let options = ImportOptions { lan: nets("10.10.0.0/16"), ..ImportOptions::default() };
    let mut out = String::new();
    for (case, text) in cases {
        let Err(report) = import(&text, "aws.txt", &options) else { panic!("{case} was taken") };
        assert!(!report.to_string().contains("lab_Psk"), "{case} shows a key:\n{report}");
        let _ = writeln!(out, "=== {case}\n{report}");
    }
    golden("import-errors.txt", &out);
}
