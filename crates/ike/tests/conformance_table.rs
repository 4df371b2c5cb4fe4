//! Holds `docs/ike-conformance.md` to the tests that exist: no row without its test, no such test without a row.
//!
//! `BLESS=1 cargo test -p ike --test conformance_table` writes the page anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/rules.rs"]
mod rules;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cases::CASES;
use rules::{ATTACKS, Outcome, Row, TRAPS};

/// Tests by name, with the files that hold them, relative to the root.
type Tests = BTreeMap<String, Vec<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn tests() -> Tests {
    let mut found = Tests::new();
    let mut directories: Vec<_> = ["ike/src", "ike/tests", "esp/src", "esp/tests", "config/src"]
        .iter()
        .map(|d| root().join("crates").join(d))
        .collect();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                for test in in_file(&std::fs::read_to_string(&path).unwrap()) {
                    found.entry(test).or_default().push(name.clone());
                }
            }
        }
    }
    found.values_mut().for_each(|files| files.sort());
    found
}

fn in_file(text: &str) -> Vec<String> {
    let mut tests = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        marked |= line == "#[test]";
        if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
            tests.push(rest.split('(').next().unwrap().to_owned());
            marked = false;
        }
    }
    tests
}

fn cell(tests: &Tests, names: &[&str]) -> String {
    let linked = names.iter().map(|name| {
        let files = tests.get(*name).unwrap_or_else(|| panic!("there is no test {name}"));
        let file = files[0].rsplit('/').next().unwrap();
        format!("[`{name}`](../{}) ({file})", files[0])
    });
    linked.collect::<Vec<_>>().join("<br>")
}

fn case_rows(tests: &Tests, page: &mut String) -> [usize; 2] {
    let mut count = [0; 2];
    page.push_str("| case | what meets | test |\n|---|---|---|\n");
    for (number, what) in CASES {
        let prefix = format!("case_{number}_");
        let names: Vec<_> =
            tests.keys().filter(|name| name.starts_with(&prefix)).map(String::as_str).collect();
        assert!(!names.is_empty(), "case {number} has no test");
        count[0] += 1;
        let cell = cell(tests, &names);
        let number = number.trim_start_matches('0');
        writeln!(page, "| {number} | {what} | {cell} |").unwrap();
    }
    count
}

fn rule_rows(tests: &Tests, rows: &[Row], page: &mut String) -> [usize; 2] {
    let mut count = [0; 2];
    page.push_str("| source | what must hold | test |\n|---|---|---|\n");
    for (source, rule, outcome) in rows {
        let (index, cell) = match outcome {
            Outcome::Tested(names) => (0, cell(tests, names)),
            Outcome::Never(reason) => (1, format!("does not apply: {reason}")),
        };
        count[index] += 1;
        writeln!(page, "| {source} | {rule} | {cell} |").unwrap();
    }
    count
}

fn page(tests: &Tests) -> String {
    let mut sections = String::new();
    let mut summary = String::new();
    let mut section = |title: &str, what: &str, rows: &mut dyn FnMut(&mut String) -> [usize; 2]| {
        write!(sections, "\n## {title}\n\n{what}\n\n").unwrap();
        let [tested, never] = rows(&mut sections);
        writeln!(summary, "| {title} | {tested} | {never} |").unwrap();
    };
    section(
        "Collisions",
        "Every order in which rekeys, deletes and creations of two sides can meet. The numbers are those of the\n\
         tests' names; a case that several places in a collision can decide is tested for each of them.",
        &mut |page| case_rows(tests, page),
    );
    section(
        "Published attacks",
        "Security bugs of other IKE daemons, each carried out on a real endpoint.",
        &mut |page| rule_rows(tests, ATTACKS, page),
    );
    section(
        "Traps of the RFCs",
        "What the standards demand and implementations get wrong, by section.",
        &mut |page| rule_rows(tests, TRAPS, page),
    );
    format!(
        "# What the IKEv2 negotiator is tested against\n\n\
         Written by `BLESS=1 cargo test -p ike --test conformance_table`; a test holds it equal to the tests that\n\
         exist. The rules themselves are in [ike-states.md](ike-states.md).\n\n\
         | | tested | does not apply |\n|---|---|---|\n{summary}{sections}"
    )
}

#[test]
fn the_page_names_the_tests_that_exist() {
    let wanted = page(&tests());
    let path = root().join("docs/ike-conformance.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/ike-conformance.md is out of date: BLESS=1 cargo test -p ike --test conformance_table"
    );
}

#[test]
fn every_test_with_a_number_in_its_name_has_a_row() {
    let page = page(&tests());
    for name in tests().keys() {
        let numbered =
            ["case_", "cve_", "rfc7296_", "rfc7383_", "rfc5282_"].iter().any(|p| name.starts_with(p));
        assert!(!numbered || page.contains(&format!("`{name}`")), "{name} is in no row");
    }
}
