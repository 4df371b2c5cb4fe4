//! The manual and the example against the code: every key is described, shown, read, and nothing else is.
//! `BLESS=1 cargo test -p config --test reference` writes the reference part of `docs/configuration.md`.

#![allow(clippy::unwrap_used, clippy::panic)]

use config::parse;
use config::schema::{ROOT, TABLES, reference};

const MANUAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
const MARK: &str = "<!-- From here on written by `BLESS=1 cargo test -p config --test reference`. -->\n\n";

#[test]
fn the_manual_is_what_the_code_says() {
    let text = std::fs::read_to_string(MANUAL).unwrap();
    let (by_hand, _) = text.split_once(MARK).unwrap();
    let wanted = format!("{by_hand}{MARK}{}", reference().trim_end()) + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(MANUAL, &wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/configuration.md is out of date: BLESS=1 cargo test -p config --test reference"
    );
}

#[test]
fn the_example_shows_every_key() {
    let example = include_str!("../../../config/cgwd.example.toml");
    for table in TABLES {
        let header = table.header.trim_matches(['[', ']']);
        assert!(example.contains(&format!("[{header}]")), "{}", table.header);
        for key in table.keys.iter().filter(|key| !key.example.is_empty()) {
            assert!(example.contains(&format!("{} = ", key.name)), "{} {}", table.header, key.name);
        }
    }
}

/// The least that makes `[table]` with `key = value` a whole file.
/// What a tunnel by certificates has instead of a pre-shared key; the first three it must have.
const CERTIFICATES: [&str; 6] =
    ["certificate", "private_key", "ca", "private_key_credential", "crl", "rsa_padding"];

fn file_with(header: &str, line: &str) -> String {
    let connection = "[[connection]]\nid = \"a\"\nrouting = \"bgp\"\nlan = [\"10.10.0.0/16\"]\n";
    let bgp = "[connection.bgp]\nlocal_asn = 65000\nremote_asn = 64512\n";
    let tunnel = "[[connection.tunnel]]\noutside = \"198.51.100.1\"\ncustomer_gateway = \"192.0.2.1\"\n\
                  inside = \"169.254.10.2/30\"\npsk = \"lab_Psk.Tunnel1\"\n";
    let put = |block: &str, own: &str| {
        let key = line.split(' ').next().unwrap_or_default();
        let without: String =
            block.lines().filter(|l| l.split(' ').next() != Some(key)).map(|l| format!("{l}\n")).collect();
        // One of three ways to give the key.
        let by_certificates = CERTIFICATES.contains(&key);
        let without = if key.starts_with("psk") || by_certificates {
            without.replace("psk = \"lab_Psk.Tunnel1\"\n", "")
        } else {
            without
        };
        // And all that goes with a certificate or a PPK beside it.
        let mut without = without;
        match key {
            "ppk_file" | "ppk_credential" | "ppk" => without.push_str("ppk_id = \"office\"\n"),
            "ppk_id" => without.push_str("ppk_file = \"/etc/cgwd/ppk\"\n"),
            "ppk_required" => without.push_str("ppk_id = \"office\"\nppk_file = \"/etc/cgwd/ppk\"\n"),
            _ => {}
        }
        for other in CERTIFICATES.into_iter().take(3).filter(|other| by_certificates && *other != key) {
            if !(key.starts_with("private_key") && other.starts_with("private_key")) {
                without.push_str(&format!("{other} = \"/etc/cgwd/{other}\"\n"));
            }
        }
        if header == own { format!("{without}{line}\n") } else { block.to_owned() }
    };
    let nested = match header {
        "[[connection]]" | "[connection.bgp]" | "[[connection.tunnel]]" => String::new(),
        own if own.starts_with("[connection.tunnel.") => format!("{own}\n{line}\n"),
        "[[hook]]" => {
            let both = [("on", "on = [\"route\"]\n"), ("run", "run = [\"/bin/true\"]\n")];
            let key = line.split(' ').next().unwrap_or_default();
            let rest: String = both.iter().filter(|(name, _)| *name != key).map(|(_, line)| *line).collect();
            return format!("[[hook]]\n{line}\n{rest}{connection}{bgp}{tunnel}");
        }
        own => {
            // A rule needs a table to lead to, and its sources a rule.
            let beside = match line.split(' ').next() {
                Some("rule_priority") => "table = 100\n",
                Some("rule_from") => "table = 100\nrule_priority = 1000\n",
                _ => "",
            };
            return format!("{own}\n{beside}{line}\n{connection}{bgp}{tunnel}");
        }
    };
    let connection = put(connection, "[[connection]]");
    format!("{connection}{}{}{nested}", put(bgp, "[connection.bgp]"), put(tunnel, "[[connection.tunnel]]"))
}

#[test]
fn every_example_of_the_manual_is_taken_where_it_belongs() {
    for table in TABLES {
        for key in table.keys.iter().filter(|key| !key.example.is_empty()) {
            let text = file_with(table.header, &format!("{} = {}", key.name, key.example));
            if let Err(report) = parse(&text, "example.toml") {
                panic!("{} {} = {}\n{report}", table.header, key.name, key.example);
            }
        }
    }
}

#[test]
fn every_key_is_read_and_looked_at() {
    // A date is no value of any key, so a key that takes it is not looked at.
    for table in TABLES.iter().chain([&&ROOT]) {
        for key in table.keys {
            let line = format!("{} = 1979-05-27", key.name);
            let text =
                if table.header.is_empty() { format!("{line}\n") } else { file_with(table.header, &line) };
            let report =
                parse(&text, "x.toml").err().unwrap_or_else(|| panic!("{} {}", table.header, key.name));
            assert!(report.to_string().contains(key.name), "{} {}:\n{report}", table.header, key.name);
        }
    }
}
