//! `docs/troubleshooting.md`, printed from the tables, and the check that its Japanese sister names every code.

use std::fmt::Write as _;

use super::known::all;
use super::symptoms::{self, Shown};
use super::{Known, Stage};

/// Which page has a stage's heading.
const fn heading(stage: Stage) -> &'static str {
    match stage {
        Stage::Host => "Host and configuration",
        Stage::Underlay => "Underlay: the way to AWS",
        Stage::Ike => "IKE: phase 1",
        Stage::Ipsec => "IPsec: phase 2 and the packets",
        Stage::Tunnel => "Tunnel: AWS's inside address",
        Stage::Routing => "Routing and BGP",
        Stage::Redundancy => "Redundancy",
        Stage::Aws => "AWS's own view (--aws-json)",
    }
}

/// The page.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Troubleshooting\n\n\
         `cgwd doctor` goes through this page by itself and names the first cause. It works with the daemon down and\n\
         before it was ever started; `--json` is for scripts, `--aws-json FILE` puts AWS's own description\n\
         (`aws ec2 describe-vpn-connections`) beside ours, `--to HOST[:PORT]` follows the way to a host behind AWS and says\n\
         where it ends. It sends one large echo request through each tunnel (Don't Fragment set) and measures on only where\n\
         that is lost. Exit status: 0 healthy, 1 findings, 2 could not look.\n\n\
         This page is printed from `crates/cgwd/src/doctor/`; a test keeps the two equal. In Japanese:\n\
         [docs/ja/troubleshooting.md](ja/troubleshooting.md). Codes that only the events carry: [errors.md](errors.md).\n\n\
         ## By symptom\n\n\
         | # | symptom | code | what happens by itself |\n|---|---|---|---|\n",
    );
    for symptom in symptoms::ALL {
        let codes: Vec<String> = all()
            .filter(|known| known.symptoms.contains(&symptom.number))
            .map(|known| format!("[{}](#{})", known.code, known.code.to_lowercase()))
            .collect();
        let codes = if codes.is_empty() { "none".to_owned() } else { codes.join(", ") };
        let _ = writeln!(text, "| {} | {} | {codes} | {} |", symptom.number, symptom.text, symptom.note);
    }
    shown(&mut text);
    for stage in Stage::ALL {
        let _ = write!(text, "\n## {}\n", heading(stage));
        for known in all().filter(|known| known.stage == stage) {
            entry(&mut text, known);
        }
    }
    text
}

/// Which test of the interoperability suite shows which symptom.
fn shown(text: &mut String) {
    let named = symptoms::ALL.iter().filter(|symptom| matches!(symptom.shown, Shown::Named { .. })).count();
    let _ = write!(
        text,
        "\n## Shown with real peers\n\n\
         Each symptom is produced by a test in `tests/interop/doctor/` with strongSwan, BIRD, packet filters and NATs, and\n\
         `cgwd doctor` is asked as a user asks it. {named} of {} are named first with the code below; the others are settled\n\
         by the daemon itself, and the test shows that the doctor then stays silent, because nothing is wrong.\n\n\
         | # | named first | test |\n|---|---|---|\n",
        symptoms::ALL.len()
    );
    for symptom in symptoms::ALL {
        let (code, test) = match symptom.shown {
            Shown::Named { code, test } => (format!("[{code}](#{})", code.to_lowercase()), test),
            Shown::Settled { test } => ("nothing is wrong".to_owned(), test),
        };
        let _ = writeln!(text, "| {} | {code} | `{test}` |", symptom.number);
    }
}

fn entry(text: &mut String, known: &Known) {
    let _ = write!(text, "\n### {}\n\n{} ({}).\n", known.code, known.title, known.severity.name());
    for (label, body) in [("Symptom", known.symptom), ("Cause", known.cause), ("Remedy", known.remedy)] {
        if !body.is_empty() {
            let _ = write!(text, "\n* **{label}.** {body}\n");
        }
    }
    if let Some(line) = known.aws_log {
        let _ = write!(text, "\n* **In the AWS tunnel log.** \"{line}\"\n");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn docs(name: &str) -> String {
        format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn the_documentation_is_what_the_code_says() {
        let path = docs("troubleshooting.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
            return;
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            written,
            markdown(),
            "run the test with UPDATE_DOCS=1 to print docs/troubleshooting.md again"
        );
    }

    #[test]
    fn the_japanese_page_has_every_code_and_every_symptom_and_no_other() {
        let page = std::fs::read_to_string(docs("ja/troubleshooting.md")).unwrap_or_default();
        let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let codes: BTreeSet<&str> = all().map(|known| known.code).collect();
        assert_eq!(headings, codes);
        for symptom in symptoms::ALL {
            let row = page.lines().find(|line| line.starts_with(&format!("| {} |", symptom.number)));
            let row = row.unwrap_or_else(|| panic!("symptom {} is missing", symptom.number));
            for known in all().filter(|known| known.symptoms.contains(&symptom.number)) {
                assert!(row.contains(known.code), "{row} lacks {}", known.code);
            }
        }
        for known in all() {
            if let Some(line) = known.aws_log {
                assert!(page.contains(line), "{line}");
            }
        }
    }

    #[test]
    fn every_code_is_there_once_and_says_what_to_do() {
        let mut seen = BTreeSet::new();
        for known in all() {
            assert!(seen.insert(known.code), "{} twice", known.code);
            for body in [known.title, known.symptom, known.cause, known.remedy] {
                assert!(!body.is_empty(), "{}", known.code);
                assert!(!body.contains("  "), "{}: {body}", known.code);
            }
            assert!(!known.title.ends_with('.'), "{}", known.code);
            // What people copy must work: AWS's command line wants to know of what.
            for (command, flags) in [
                (
                    "modify-vpn-tunnel-options",
                    &["--vpn-connection-id ID", "--vpn-tunnel-outside-ip-address"][..],
                ),
                ("modify-vpn-connection ", &["--vpn-connection-id ID"]),
                ("modify-vpn-connection-options", &["--vpn-connection-id ID"]),
            ] {
                for rest in known.remedy.split(&format!("aws ec2 {command}")).skip(1) {
                    for flag in flags {
                        assert!(rest.contains(flag), "{}: {command} without {flag}", known.code);
                    }
                }
            }
        }
    }

    /// The body of every test of the interoperability suite that concerns the doctor, by its name.
    fn interop() -> Vec<(String, String)> {
        let directory = format!("{}/../../tests/interop/doctor", env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for test in text.split("#[test]\n").skip(1) {
                let name = test.strip_prefix("fn ").and_then(|rest| rest.split_once('(')).unwrap().0;
                found.push((name.to_owned(), test.split_once("\n}\n").unwrap().0.to_owned()));
            }
        }
        found
    }

    #[test]
    fn every_symptom_is_shown_by_a_test_with_real_peers_that_names_its_code_first() {
        let tests = interop();
        for symptom in symptoms::ALL {
            let number = symptom.number;
            let (Shown::Named { test, .. } | Shown::Settled { test }) = symptom.shown;
            assert!(test.contains(&format!("_{number:02}_")), "{test} is not about {number}");
            let body = tests.iter().find(|(name, _)| name == test).map(|(_, body)| body.as_str());
            let body = body.unwrap_or_else(|| panic!("there is no test {test}"));
            match symptom.shown {
                Shown::Named { code, .. } => {
                    assert!(body.contains(&format!("\"{code}\"")), "{test} does not name {code}");
                    assert!(body.contains("named_first(") || body.contains(".first() =="), "{test}");
                    assert!(all().any(|known| known.code == code), "{code} is unknown");
                }
                Shown::Settled { .. } => assert!(body.contains(".healthy()"), "{test}"),
            }
        }
        let named =
            symptoms::ALL.iter().filter(|symptom| matches!(symptom.shown, Shown::Named { .. })).count();
        assert!(named >= 32, "only {named} are named");
    }

    #[test]
    fn every_symptom_has_a_code_or_a_reason() {
        for (index, symptom) in symptoms::ALL.iter().enumerate() {
            assert_eq!(usize::from(symptom.number), index + 1);
            let explained = all().any(|known| known.symptoms.contains(&symptom.number));
            assert!(explained || !symptom.note.is_empty(), "{}", symptom.number);
        }
    }
}
