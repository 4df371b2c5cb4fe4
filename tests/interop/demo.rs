//! The demo leaves nothing behind, whether it ends by itself or by Ctrl-C.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::cleanup::{self, PREFIX};
use lab::traffic::binary;
use lab::wait;

use crate::rig::Rig;

fn demo() -> Result<Child> {
    Ok(Command::new(binary("cgwd-lab")?).arg("demo").stdout(Stdio::piped()).spawn()?)
}

/// Names of namespaces and of scratch directories that belong to the demo with this process id.
fn traces(pid: u32) -> Vec<String> {
    let mark = format!("{PREFIX}{pid}-");
    let names = |directory: &std::path::Path| -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let all = [names(std::path::Path::new("/run/netns")), names(&std::env::temp_dir())].concat();
    all.into_iter().filter(|name| name.starts_with(&mark)).collect()
}

/// Processes whose command line names the demo's files.
fn processes(pid: u32) -> Vec<String> {
    let mark = format!("{PREFIX}{pid}-");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&mark))
        .collect()
}

fn nothing_is_left(pid: u32) -> Result<()> {
    // A helper such as `ip` may outlive its parent by a moment.
    let _ = wait::until(Duration::from_secs(1), "helpers to end", || processes(pid).is_empty());
    ensure!(traces(pid).is_empty(), "left behind: {:?}", traces(pid));
    ensure!(processes(pid).is_empty(), "still running: {:?}", processes(pid));
    Ok(())
}

#[test]
fn the_demo_tells_its_story_and_leaves_nothing_behind() -> Result<()> {
    let Some(_rig) = Rig::new() else { return Ok(()) };
    let demo = demo()?;
    let pid = demo.id();
    let output = demo.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    ensure!(output.status.success(), "the demo failed");
    for promise in ["both tunnels up", "0% packet loss", "arrived whole", "datagrams lost", "up again"] {
        ensure!(text.contains(promise), "the story does not say {promise:?}");
    }
    nothing_is_left(pid)
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() -> Result<()> {
    let Some(_rig) = Rig::new() else { return Ok(()) };
    for (signal, after) in [("INT", 300), ("INT", 2500), ("TERM", 4000)] {
        let mut demo = demo()?;
        std::thread::sleep(Duration::from_millis(after));
        cleanup::send_signal(demo.id(), signal);
        wait::until(Duration::from_secs(10), "the demo to end", || !matches!(demo.try_wait(), Ok(None)))?;
        nothing_is_left(demo.id())?;
        println!("SIG{signal} after {after} ms: nothing is left");
    }
    Ok(())
}
