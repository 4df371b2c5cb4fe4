//! The commands that need no daemon.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

/// A static connection as AWS's Generic download describes it, with lab keys and documentation addresses.
const GENERIC: &str = include_str!("data/generic-static.txt");

fn cgwd(arguments: &[&str], input: Option<&str>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cgwd"))
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn import_reads_standard_input_and_writes_standard_output() {
    let output = cgwd(&["import", "--lan", "10.10.0.0/16", "--vpc", "10.20.0.0/16", "-"], Some(GENERIC));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let toml = text(&output.stdout);
    for part in ["198.51.100.1", "203.0.113.1", "lab_Psk.Tunnel1", "lab_Psk.Tunnel2", "10.20.0.0/16"] {
        assert!(toml.contains(part), "{part} is missing");
    }
    assert!(!text(&output.stderr).contains("lab_Psk"), "a key in a note");
}

#[test]
fn what_import_writes_is_private_and_passes_check() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cgwd.toml");
    let file = path.to_str().unwrap();
    let arguments = ["import", "--lan", "10.10.0.0/16", "--vpc", "10.20.0.0/16", "--output", file, "-"];
    assert_eq!(cgwd(&arguments, Some(GENERIC)).status.code(), Some(0));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let output = cgwd(&["check", "--config", file], None);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let explained = text(&cgwd(&["check", "--explain", "--config", file], None).stdout);
    for part in ["10.20.0.0/16", "198.51.100.1", "169.254.10.2/30", "MTU          1438", "MSS 1398"] {
        assert!(explained.contains(part), "{part} is missing:\n{explained}");
    }
    assert!(!explained.contains("lab_Psk"), "a key in the explanation");
}

#[test]
fn an_import_that_fails_exits_2_and_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cgwd.toml");
    let output = cgwd(&["import", "--output", path.to_str().unwrap(), "-"], Some("no AWS file at all"));
    assert_eq!(output.status.code(), Some(2));
    assert!(!text(&output.stderr).is_empty());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    // A static connection without --vpc: no AWS file says what lies behind AWS.
    let output = cgwd(&["import", "--lan", "10.10.0.0/16", "-"], Some(GENERIC));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--vpc"));
}

#[test]
fn check_of_a_broken_file_exits_2_and_names_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cgwd.toml");
    std::fs::write(&path, "[routes]\nmetrik = 3\n").unwrap();
    let output = cgwd(&["check", "--config", path.to_str().unwrap()], None);
    assert_eq!(output.status.code(), Some(2));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("cgwd.toml:2") && complaint.contains("metric"), "{complaint}");
    let output = cgwd(&["check", "--config", "/nonexistent/cgwd.toml"], None);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn run_refuses_a_broken_file_before_it_touches_anything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cgwd.toml");
    std::fs::write(&path, "nonsense = 1\n").unwrap();
    let socket = directory.path().join("sock");
    let arguments = ["--socket", socket.to_str().unwrap(), "run", "--config", path.to_str().unwrap()];
    assert_eq!(cgwd(&arguments, None).status.code(), Some(2));
    assert!(!socket.exists());
}

#[test]
fn completions_and_manual_pages_can_be_made() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&cgwd(&["completions", shell], None).stdout);
        assert!(script.contains("drain"), "{shell}");
    }
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(cgwd(&["man", directory.path().to_str().unwrap()], None).status.code(), Some(0));
    let page = std::fs::read_to_string(directory.path().join("cgwd.8")).unwrap();
    assert!(page.contains("Customer gateway"), "{page}");
    assert!(directory.path().join("cgwd-status.8").exists());
}
