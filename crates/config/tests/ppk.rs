//! `ppk_id` and its kin: what is taken, what is refused and why, and that the key shows nowhere.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use config::{KeyError, KeySource, Ppk, parse, parse_ppk};

const STRONG: &str = "0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn file(lines: &str) -> String {
    format!(
        "[[connection]]\nid = \"lab\"\nrouting = \"static\"\npeer = \"other\"\nvpc = [\"10.0.0.0/16\"]\n\
         [[connection.tunnel]]\noutside = \"198.51.100.1\"\ncustomer_gateway = \"192.0.2.1\"\n\
         inside = \"169.254.10.2/30\"\npsk = \"x8K.q2_Zt7Rw4LmA\"\n{lines}"
    )
}

/// The PPK of the only tunnel, and the warnings.
fn good(lines: &str) -> (Option<Ppk>, String) {
    let loaded = parse(&file(lines), "cgwd.toml").unwrap_or_else(|report| panic!("{report}"));
    (loaded.config.connections[0].tunnels[0].ppk.clone(), loaded.warnings.to_string())
}

fn refusal(lines: &str) -> String {
    parse(&file(lines), "cgwd.toml").err().unwrap_or_else(|| panic!("{lines} is taken")).to_string()
}

#[test]
fn a_ppk_is_required_unless_the_file_says_otherwise() {
    assert_eq!(good(""), (None, String::new()));
    let (ppk, warnings) = good(&format!("ppk_id = \"office\"\nppk = \"{STRONG}\"\n"));
    let ppk = ppk.unwrap();
    assert_eq!((ppk.id.as_str(), ppk.required, warnings.as_str()), ("office", true, ""));
    assert_eq!(ppk.fetch(None).unwrap().expose(), (0..32).collect::<Vec<u8>>());
    let (ppk, _) = good("ppk_id = \"office\"\nppk_file = \"/etc/cgwd/a.ppk\"\nppk_required = false\n");
    let ppk = ppk.unwrap();
    assert!(!ppk.required);
    assert_eq!(ppk.source, KeySource::File("/etc/cgwd/a.ppk".into()));
    let (ppk, _) = good("ppk_id = \"office\"\nppk_credential = \"a.ppk\"\n");
    assert_eq!(ppk.unwrap().source, KeySource::Credential("a.ppk".to_owned()));
}

#[test]
fn text_is_taken_as_it_stands_and_0x_as_hexadecimal() {
    assert_eq!(parse_ppk("sixteen+octets/=").unwrap().expose(), b"sixteen+octets/=");
    assert_eq!(
        parse_ppk(&"0xAb".repeat(16)).err().map(|e| e.to_string().contains("hexadecimal")),
        Some(true)
    );
    assert_eq!(parse_ppk(&format!("0x{}", "aBc0".repeat(8))).unwrap().expose(), [0xab, 0xc0].repeat(8));
}

#[test]
fn what_is_no_ppk_is_refused_with_its_reason_and_without_the_key() {
    for (text, reason) in [
        ("fifteen octets!", "white space"),
        ("short_Key1", "10 octets"),
        ("", "0 octets"),
        ("0x", "0 octets"),
        ("0x0011", "2 octets"),
        ("0x00112233445566778899aabbccddeef", "pairs"),
        ("0x+0112233445566778899aabbccddeeff", "pairs"),
        ("0xzz112233445566778899aabbccddeeff", "pairs"),
        ("0sMDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "Base64"),
        (" leading.white.space", "white space"),
        ("trailing.white.space ", "white space"),
        ("umläute.sind.kein.ascii", "ASCII"),
    ] {
        let error = parse_ppk(text).err().unwrap_or_else(|| panic!("{text} is taken")).to_string();
        assert!(error.contains(reason), "{text}: {error}");
        assert!(text.len() < 4 || !error.contains(text), "{error}");
    }
    let long = "k".repeat(257);
    assert!(parse_ppk(&long).unwrap_err().to_string().contains("257 octets"));
    let report = refusal("ppk_id = \"office\"\nppk = \"short_Key1\"\n");
    assert!(report.contains("10 octets") && report.contains("openssl rand -hex 32"), "{report}");
    assert!(!report.contains("short_Key1"), "{report}");
}

#[test]
fn name_and_key_belong_together() {
    for (lines, reason) in [
        ("ppk_id = \"office\"\n", "ppk_file"),
        (&format!("ppk = \"{STRONG}\"\n"), "ppk_id"),
        ("ppk_required = true\n", "ppk_id"),
        ("ppk_id = \"\"\nppk_file = \"/a\"\n", "no name"),
        ("ppk_id = \"two words\"\nppk_file = \"/a\"\n", "no name"),
        ("ppk_id = \"office\"\nppk_file = \"/a\"\nppk_credential = \"a\"\n", "keep one of the two"),
        ("ppk_id = \"office\"\nppk_file = \"/a\"\nppk_needed = true\n", "ppk_needed"),
    ] {
        let report = refusal(lines);
        assert!(report.contains(reason), "{lines}: {report}");
    }
    let long = format!("ppk_id = \"{}\"\nppk_file = \"/a\"\n", "n".repeat(65));
    assert!(refusal(&long).contains("1 to 64"));
}

#[test]
fn a_short_key_and_one_that_aws_cannot_have_are_warned_of() {
    let (_, warnings) = good("ppk_id = \"office\"\nppk = \"sixteen+octets/=\"\n");
    assert!(warnings.contains("CFG-WEAK-KEY") && warnings.contains("16 octets"), "{warnings}");
    assert!(!warnings.contains("sixteen+octets"), "{warnings}");
    let aws = |required: bool| {
        let lines = format!("ppk_id = \"office\"\nppk = \"{STRONG}\"\nppk_required = {required}\n");
        let text = file(&lines).replace("peer = \"other\"\n", "");
        parse(&text, "cgwd.toml").unwrap().warnings.to_string()
    };
    assert!(aws(true).contains("AWS has no PPKs today"), "{}", aws(true));
    assert!(!aws(false).contains("PPK"), "{}", aws(false));
}

#[test]
fn files_and_credentials_hold_the_key_on_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("office.ppk");
    let of = |source| Ppk { id: "office".to_owned(), source, required: true };
    let by_file = of(KeySource::File(path.clone()));
    let by_credential = of(KeySource::Credential("office.ppk".to_owned()));
    assert!(matches!(by_file.fetch(None), Err(KeyError::File { key: "ppk_file", .. })));
    for ending in ["", "\n", "\r\n"] {
        std::fs::write(&path, format!("{STRONG}{ending}")).unwrap();
        assert_eq!(by_file.fetch(None).unwrap().len(), 32);
        assert_eq!(by_credential.fetch(Some(directory.path())).unwrap().len(), 32);
    }
    let error = by_credential.fetch(None).unwrap_err().to_string();
    assert!(error.contains("ppk_file") && error.contains("LoadCredential=office.ppk"), "{error}");
    for bad in [&b"two\nlines.of.a.long.key"[..], b"\xff\xfe0123456789abcdef", b"0123456789abcdef \n"] {
        std::fs::write(&path, bad).unwrap();
        let error = by_file.fetch(None).unwrap_err();
        assert!(matches!(error, KeyError::Ppk { .. }), "{error}");
        assert!(!error.to_string().contains("456789"), "{error}");
    }
}

#[test]
fn the_key_shows_in_no_debug_text() {
    let (ppk, _) = good("ppk_id = \"office\"\nppk = \"sixteen+octets/=\"\n");
    let text = format!("{ppk:?}");
    assert!(text.contains("office") && !text.contains("sixteen"), "{text}");
}
