//! Damaged and hostile inputs: no panic, a message for each refusal, and an end in bounded time.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{FIXTURES, nets};
use config::import::{ImportOptions, decode, import};
use config::parse;

/// A key as AWS draws them; the fixtures' own are short and speaking.
const KEY: &str = "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY";

/// Damaged versions of each fixture.
const ROUNDS: u64 = 60;

/// xorshift64*: the same damage in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

const TOKENS: &[&str] = &[
    "<",
    ">",
    "</",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    " : ",
    ",",
    "\n",
    "\r",
    "\0",
    "é",
    "“",
    "\u{feff}",
    "&lt;",
    "&#0;",
    "<!DOCTYPE x [<!ENTITY a \"b\">]>",
    "<![CDATA[",
    "<!--",
    "<vpn_connection",
    "</vpn_connection>",
    "IPSec Tunnel #9",
    "conn x",
    "null",
    "-1",
    "99999999999999999999",
    "169.254.169.254",
    "::",
    "0.0.0.0/0",
    "\\u003c",
    "\\ud800",
    ": PSK \"",
    "#4: Border",
];

fn damage(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len());
        match random.below(6) {
            0 => out.truncate(at),
            1 => {
                if let Some(octet) = out.get_mut(at) {
                    *octet ^= u8::try_from(1 + random.below(255)).unwrap();
                }
            }
            2 => {
                let end = (at + random.below(400)).min(out.len());
                out.drain(at..end);
            }
            3 => {
                let end = (at + random.below(2000)).min(out.len());
                let copy = out[at..end].to_vec();
                let to = random.below(out.len());
                out.splice(to..to, copy);
            }
            _ => {
                let token = TOKENS[random.below(TOKENS.len())].as_bytes().to_vec();
                out.splice(at..at, token);
            }
        }
    }
    out
}

/// Wall time that one input may take in a debug build on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Runs `work` and looks at the clock, which the crate itself may not.
#[allow(clippy::disallowed_methods)]
fn in_time<T>(work: impl FnOnce() -> T) -> T {
    let start = std::time::Instant::now();
    let result = work();
    assert!(start.elapsed() < PATIENCE, "it took {:?}", start.elapsed());
    result
}

fn try_import(text: &str) -> bool {
    let options = ImportOptions { lan: nets("10.10.0.0/16"), vpc: nets("10.0.0.0/16"), raw_esp: false };
    match import(text, "hostile", &options) {
        Ok(imported) => {
            parse(&imported.toml, "x").unwrap_or_else(|report| panic!("{report}\n{}", imported.toml));
            true
        }
        Err(report) => {
            assert!(report.has_errors());
            for rendered in [report.render(true), report.to_string(), report.short()] {
                assert!(rendered.contains("hostile"), "{rendered}");
                assert!(!rendered.contains(KEY), "a key is shown:\n{rendered}");
            }
            false
        }
    }
}

#[test]
fn damaged_downloads_are_taken_or_refused_with_a_reason() {
    let mut random = Random(0x1bad_5eed_1bad_5eed);
    let mut taken = 0;
    let mut names: Vec<_> = std::fs::read_dir(FIXTURES).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    for path in names {
        let text = decode(&std::fs::read(&path).unwrap(), "hostile").unwrap();
        let bytes = text.replace("lab_Psk.Tunnel1", KEY).into_bytes();
        for _ in 0..ROUNDS {
            let damaged = damage(&bytes, &mut random);
            // What cannot be decoded is refused there; the text behind it is tried all the same.
            let text = match decode(&damaged, "hostile") {
                Ok(text) => text,
                Err(_) => String::from_utf8_lossy(&damaged).into_owned(),
            };
            taken += u32::from(try_import(&text));
        }
    }
    assert!(taken > 100, "the damage leaves something to take: {taken}");
}

#[test]
fn damaged_configurations_are_loaded_or_refused_with_a_reason() {
    let example =
        include_str!("../../../config/cgwd.example.toml").replace("lab_Psk.Tunnel1", KEY).into_bytes();
    let mut random = Random(0x0ddba11);
    for _ in 0..600 {
        let text = String::from_utf8_lossy(&damage(&example, &mut random)).into_owned();
        if let Err(report) = parse(&text, "hostile") {
            assert!(report.render(true).contains("hostile") && report.has_errors());
            assert!(!report.to_string().contains(KEY), "a key is shown:\n{report}");
        }
    }
}

#[test]
fn inputs_made_to_be_expensive_are_refused() {
    let many = |text: &str, n: usize| text.repeat(n);
    let open = "<vpn_connection id=\"x\">";
    let close = "</vpn_connection>";
    for text in [
        many("[", 1 << 20),
        many("{\"a\":", 1 << 18),
        format!("{}1{}", many("[", 5000), many("]", 5000)),
        format!("{open}{}{}{close}", many("<a>", 100_000), many("</a>", 100_000)),
        format!("{open}{}{close}", many("<a b=\"/>\">", 100_000)),
        format!("{open}{}{close}", many("<ipsec_tunnel/>", 100_000)),
        many(open, 100_000),
        many(&format!("{open}{close}"), 20_000),
        format!("<!DOCTYPE a [<!ENTITY b \"{}\">]>{open}&b;{close}", many("x", 1000)),
        format!("Internet Key Exchange\n{}", many("IPSec Tunnel #1\n- Pre-Shared Key : \n", 50_000)),
        format!("Pre-Shared Key : {}\nIPSec Tunnel #1", many(": ", 500_000)),
        many("conn a\nright=x\n", 100_000),
        format!("\"{}vpn_connection", many("\\", 1 << 20)),
        many("psk", 300_000),
        many("\u{feff}\u{2028} ", 200_000),
    ] {
        assert!(!in_time(|| try_import(&text)), "{:.60}", text);
    }
    for text in [
        many("[", 1 << 20),
        format!("a = {}", many("[", 100_000)),
        format!("a = {}", many("{a=", 100_000)),
        many("[[connection]]\n", 50_000),
        (0..50_000).map(|n| format!("key{n} = {n}\n")).collect(),
        format!(
            "[[connection]]\nid = \"a\"\nrouting = \"static\"\nvpc = [{}]\n",
            many("\"10.0.0.0/8\",", 100_000)
        ),
        many("[[connection]]\n[[connection.tunnel]]\n", 2_000),
    ] {
        let report = in_time(|| parse(&text, "hostile")).err().unwrap();
        assert!(report.render(false).contains("hostile"));
    }
}
