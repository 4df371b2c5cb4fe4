//! The status page in a real browser (headless Chromium), beside a real pair.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::router::Program;
use lab::topology::Topology;
use lab::traffic::Pinger;
use lab::wait;

use crate::bgp_world::BgpWorld;
use crate::rig::Rig;

const ADDRESS: &str = "127.0.0.1:8470";
/// A browser that takes longer than this hangs.
const BROWSER_SECONDS: &str = "60";

/// Runs the browser once; what it printed on standard output, and on standard error.
fn browse(lab: &Topology, arguments: &[&str]) -> Result<(String, String)> {
    let profile = format!("--user-data-dir={}", lab.scratch().join("chromium").display());
    let mut command = lab.gw.command("timeout");
    command.args([
        "--kill-after=5",
        BROWSER_SECONDS,
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
    ]);
    // The page never stops asking: time is run forward by three seconds, then the picture is taken.
    command.args([
        &profile,
        "--disable-dev-shm-usage",
        "--virtual-time-budget=3000",
        "--enable-logging=stderr",
    ]);
    // The crash handler and the keyring want a home that can be written to.
    command.env("HOME", lab.scratch()).env("XDG_CONFIG_HOME", lab.scratch()).stdin(Stdio::null());
    let output = command.args(arguments).output().context("chromium")?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "chromium ended with {}: {err}", output.status);
    Ok((out.into_owned(), err.into_owned()))
}

fn page(lab: &Topology) -> Result<String> {
    let (page, complaints) = browse(lab, &["--dump-dom", &format!("http://{ADDRESS}/")])?;
    let broken: Vec<&str> = complaints.lines().filter(|line| line.contains("CONSOLE")).collect();
    ensure!(broken.is_empty(), "the page complains: {broken:?}");
    Ok(page)
}

/// An HTTP request by hand, in the gateway's namespace; the whole answer.
fn request(lab: &Topology, head: &str) -> Result<String> {
    let script = "import socket,sys\ns=socket.create_connection(('127.0.0.1',8470),5)\n\
                  s.sendall(sys.argv[1].encode())\nd=b''\nwhile True:\n c=s.recv(65536)\n if not c: break\n d+=c\n\
                  sys.stdout.write(d.decode())";
    lab.gw.run(&["python3", "-c", script, &format!("{head}\r\n\r\n")])
}

/// Adds a section to a configuration.
pub fn append(path: &Path, text: &str) -> Result<()> {
    Ok(std::fs::OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())?)
}

#[test]
fn the_status_page_shows_the_tunnels_in_a_browser_and_nothing_to_foreign_pages() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut world = BgpWorld::prepare(lab, Program::Bird, |_, settings| settings)?;
    append(&world.gateway().config(), &format!("\n[web]\nlisten = \"{ADDRESS}\"\n"))?;
    world.start()?;
    let keys = std::fs::read_to_string(world.gateway().config())?;
    let keys: Vec<&str> =
        keys.lines().filter_map(|line| line.strip_prefix("psk = \"")?.strip_suffix('"')).collect();
    ensure!(keys.len() == 2, "two keys to look for");

    let text = page(lab)?;
    for expected in
        [">all tunnels are up<", ">tunnel1<", ">tunnel2<", "→ egress", "Established for", "EGRESS-MOVED"]
    {
        ensure!(text.contains(expected), "{expected:?} in {text}");
    }
    let lamps = |text: &str, kind: &str| text.matches(&format!("<li class=\"{kind}\">")).count();
    ensure!(lamps(&text, "good") == 8, "eight lamps shine in {text}");
    let lines = text.matches("class=\"line\"").count();
    ensure!(lines == 8 && text.contains("aria-label=\"Round trip: "), "two times four graphs in {text}");

    let pictured = std::env::var_os("CGWD_PICTURES").map(PathBuf::from);
    let pinger = pictured.as_ref().map(|_| Pinger::lan_to_vpc(lab)).transpose()?;
    std::thread::sleep(Duration::from_secs(if pinger.is_some() { 60 } else { 0 }));
    let side = world.world.egress()?;
    lab.cut(side)?;
    let down = || world.gateway().stage(side) == "down" && world.gateway().is_egress(side.other());
    wait::until(Duration::from_secs(40), "the tunnel to be given up", down)?;
    // For a moment a tunnel is not failing, but in progress.
    std::thread::sleep(Duration::from_secs(6));
    let text = page(lab)?;
    for expected in ["degraded: not all tunnels are up", "failing", "TUN-PROBE-LOST", "traffic moved from"] {
        ensure!(text.contains(expected), "{expected:?} in {text}");
    }
    ensure!(lamps(&text, "bad") == 1, "one lamp is red in {text}");
    if let Some(directory) = pictured {
        keep_pictures(lab, &directory)?;
    }

    // A page of somebody else, whose name was made to point here.
    let rebound =
        ["--host-resolver-rules=MAP evil.example 127.0.0.1", "--dump-dom", "http://evil.example:8470/"];
    let (text, _) = browse(lab, &rebound)?;
    ensure!(text.contains("answers to an IP address or to localhost only"), "{text}");

    let overview = request(lab, &format!("GET /overview.json HTTP/1.1\r\nHost: {ADDRESS}"))?;
    ensure!(
        overview.starts_with("HTTP/1.1 200 OK") && overview.contains("\"redundancy\":\"degraded\""),
        "{overview}"
    );
    ensure!(keys.iter().all(|key| !overview.contains(key)), "a key in {overview}");
    for (head, expected) in [
        ("GET / HTTP/1.1\r\nHost: evil.example", "403"),
        ("GET http://evil.example/overview.json HTTP/1.1\r\nHost: 127.0.0.1", "403"),
        ("POST /overview.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0", "405"),
        ("GET /v1/status HTTP/1.1\r\nHost: localhost", "404"),
    ] {
        let answer = request(lab, head)?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{head:?}: {answer}");
    }
    // From outside there is nothing.
    let listening = lab.gw.run(&["ss", "-Hltn", "sport = :8470"])?;
    ensure!(listening.lines().count() == 1 && listening.contains(ADDRESS), "{listening}");
    Ok(())
}

/// Keeps the pictures of the documents: `CGWD_PICTURES=DIRECTORY`.
fn keep_pictures(lab: &Topology, directory: &Path) -> Result<()> {
    // Long enough for something to see in the graphs.
    std::thread::sleep(Duration::from_secs(30));
    for (name, size, scheme) in [
        ("wide", "1180,1010", "--blink-settings=preferredColorScheme=1"),
        ("dark", "1180,1010", "--blink-settings=preferredColorScheme=0"),
        ("phone", "390,2200", "--blink-settings=preferredColorScheme=1"),
    ] {
        let file = directory.join(format!("web-{name}.png"));
        let file = format!("--screenshot={}", file.display());
        let size = format!("--window-size={size}");
        browse(lab, &[&file, &size, scheme, "--hide-scrollbars", &format!("http://{ADDRESS}/")])?;
    }
    Ok(())
}
