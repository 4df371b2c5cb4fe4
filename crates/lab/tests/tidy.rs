//! Holds what ARCHITECTURE.md and CONTRIBUTING.md promise, so that it cannot rot quietly.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crates that compute and do nothing else.
const PURE: [&str; 7] = ["model", "ike", "esp", "bgp", "routes", "config", "simnet"];
/// A file longer than this holds a second concern.
const MAX_LINES: usize = 800;
/// Directories with files of ours.
const TRACKED: [&str; 9] =
    ["crates", "config", "docs", "fuzz", "scripts", "systemd", "tests", ".ci", ".github"];

/// What a crate may depend on among ours and the runtimes, beside dev-dependencies.
fn allowed(name: &str) -> &'static [&'static str] {
    match name {
        "ike" | "esp" | "bgp" | "routes" | "config" | "net" => &["model"],
        "dataplane" => &["model", "esp", "net"],
        "tunnel" => &["model", "ike", "esp", "dataplane"],
        "simnet" => &["model", "ike", "esp", "bgp", "routes", "tunnel"],
        "cgwd" => &["model", "ike", "esp", "bgp", "routes", "config", "net", "dataplane", "tunnel", "tokio"],
        "lab" => &["model", "ike", "esp", "bgp", "routes", "config", "net", "dataplane", "tunnel", "tokio"],
        _ => &[],
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn crates() -> BTreeMap<String, toml::Table> {
    std::fs::read_dir(root().join("crates"))
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let manifest = std::fs::read_to_string(entry.path().join("Cargo.toml")).ok()?;
            Some((entry.file_name().into_string().unwrap(), manifest.parse().unwrap()))
        })
        .collect()
}

fn keys(manifest: &toml::Table, section: &str) -> BTreeSet<String> {
    manifest.get(section).and_then(|s| s.as_table()).map(|s| s.keys().cloned().collect()).unwrap_or_default()
}

/// Every text file of ours, with its path relative to the root.
fn files() -> Vec<(String, String)> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if !path.is_dir() {
                found.push(path);
            } else if !["target", "artifacts", "corpus", "node_modules", "__pycache__"]
                .iter()
                .any(|n| name == *n)
            {
                walk(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    TRACKED.iter().for_each(|directory| walk(&root().join(directory), &mut found));
    let top = std::fs::read_dir(root()).unwrap().flatten().map(|entry| entry.path());
    // In a worktree `.git` is a file, and not ours.
    let ours = |path: &PathBuf| path.is_file() && !path.ends_with("Cargo.lock") && !path.ends_with(".git");
    found.extend(top.filter(ours));
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    found.iter().filter_map(|path| Some((name(path), std::fs::read_to_string(path).ok()?))).collect()
}

/// Rust sources that ship: no tests.
fn sources() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(path, _)| {
        path.starts_with("crates/") && path.contains("/src/") && path.ends_with(".rs") && !is_test(path)
    })
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs")
}

/// Fails with every offence at once, so that one run shows all the work.
fn none(offences: impl Iterator<Item = String>, rule: &str) {
    let offences: Vec<String> = offences.collect();
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn the_arrows_between_crates_point_as_drawn() {
    let crates = crates();
    let watched: BTreeSet<&str> = crates.keys().map(String::as_str).chain(["tokio", "hyper"]).collect();
    let offences = crates.iter().flat_map(|(name, manifest)| {
        let all = keys(manifest, "dependencies").into_iter().chain(keys(manifest, "build-dependencies"));
        let cgwd_only = if name == "cgwd" { &["hyper"][..] } else { &[] };
        let known = [allowed(name), cgwd_only].concat();
        let wrong: Vec<String> = all
            .into_iter()
            .filter(|dependency| {
                watched.contains(dependency.as_str()) && !known.contains(&dependency.as_str())
            })
            .map(|dependency| format!("{name} -> {dependency}"))
            .collect();
        wrong
    });
    none(offences, "a crate depends on what it must not know");
}

#[test]
fn nothing_depends_on_the_daemon_and_only_tests_on_the_simulation() {
    let offences = crates().into_iter().flat_map(|(name, manifest)| {
        let (normal, dev) = (keys(&manifest, "dependencies"), keys(&manifest, "dev-dependencies"));
        let mut wrong = Vec::new();
        if normal.contains("cgwd") || dev.contains("cgwd") {
            wrong.push(format!("{name} -> cgwd"));
        }
        if normal.contains("simnet") {
            wrong.push(format!("{name} -> simnet"));
        }
        wrong
    });
    none(offences, "not to be depended on");
}

#[test]
fn every_crate_takes_the_workspace_lints_and_every_pure_one_bans_clocks_and_sockets() {
    for (name, manifest) in crates() {
        let lints = manifest.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(lints, Some(true), "crates/{name}/Cargo.toml lacks [lints] workspace = true");
    }
    for name in PURE {
        let path = root().join("crates").join(name).join("clippy.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for banned in ["Instant::now", "UdpSocket", "Mutex", "HashMap"] {
            assert!(text.contains(banned), "{} does not ban {banned}", path.display());
        }
    }
}

#[test]
fn no_file_outgrows_its_concern() {
    let long = sources().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > MAX_LINES).then(|| format!("{path}: {lines} lines"))
    });
    none(long, "over 800 lines");
}

#[test]
fn unsafe_code_lives_in_net_alone() {
    for (path, text) in sources().filter(|(path, _)| !path.starts_with("crates/net/")) {
        if path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") {
            assert!(text.contains("#![forbid(unsafe_code)]"), "{path} does not forbid unsafe code");
        }
    }
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe"];
    let used = files()
        .into_iter()
        .filter(|(path, _)| {
            path.ends_with(".rs") && !path.starts_with("crates/net/") && !path.ends_with("tidy.rs")
        })
        .filter(|(_, text)| code_lines(text).any(|(_, line)| words.iter().any(|word| line.contains(word))))
        .map(|(path, _)| path);
    none(used, "unsafe code outside crates/net");
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let silent = sources().filter(|(path, _)| path.starts_with("crates/net/")).flat_map(|(path, text)| {
        let lines: Vec<&str> = text.lines().collect();
        let blocks: Vec<String> = code_lines(&text)
            .filter(|(_, line)| line.contains("unsafe {"))
            .filter(|(number, _)| {
                let above = &lines[number.saturating_sub(8)..*number];
                !above.iter().any(|line| line.contains("SAFETY:"))
            })
            .map(|(number, _)| format!("{path}:{}", number + 1))
            .collect();
        blocks
    });
    none(silent, "an unsafe block without a SAFETY comment");
}

/// Lines that are not comments, with their index.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn every_source_file_opens_by_saying_what_it_is_for() {
    let mute = sources().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path);
    none(mute, "no module documentation");
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_switched_off() {
    // Put together here, so that this file does not hold them.
    let stubs = [["to", "do!("], ["unimple", "mented!("], ["#[ig", "nore"]].map(|parts| parts.concat());
    let left = files().into_iter().filter(|(path, _)| path.ends_with(".rs")).flat_map(|(path, text)| {
        let found: Vec<String> = code_lines(&text)
            .filter(|(_, line)| stubs.iter().any(|stub| line.contains(stub)))
            .map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim()))
            .collect();
        found
    });
    none(left, "unfinished");
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let places = [["/wo", "rk/"], ["/fa", "rm/"], [".lib", "rary"], ["/ro", "ot/"], ["/ho", "me/"]];
    let places = places.map(|parts| parts.concat());
    let known = files().into_iter().flat_map(|(path, text)| {
        let found: Vec<String> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| places.iter().any(|place| names_a_place(line, place)))
            .map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim()))
            .collect();
        found
    });
    none(known, "a path of somebody's machine");
}

/// `place` as a path of its own, not as a part of a longer name (`config/work/` is fine).
fn names_a_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(position, _)| {
        let before = line[..position].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.' || c == '}')
    })
}

#[test]
fn the_scripts_of_the_contract_exist_and_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    for name in ["scripts/demo", "scripts/test", ".ci/run"] {
        let mode = std::fs::metadata(root().join(name)).map(|m| m.permissions().mode()).unwrap_or(0);
        assert!(mode & 0o111 != 0, "{name} is missing or has no run bit");
    }
}
