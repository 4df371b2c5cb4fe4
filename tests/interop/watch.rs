//! `cgwd status --watch` in a real terminal (tmux), beside a real pair: what a person at the keyboard sees.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::netns::{self, Namespace};
use lab::router::Program;
use lab::topology::{Side, Topology};
use lab::traffic::{Pinger, binary};
use lab::wait;

use crate::bgp_world::{BGP_UP, BgpWorld};
use crate::rig::Rig;

/// What happens must be on the screen this soon. It draws once a second, and a dead path takes three to be noticed.
const SEEN: Duration = Duration::from_secs(20);

/// A terminal with one program in it. The tmux server lives in the namespace, and ends with it at the latest.
struct Screen<'t> {
    namespace: &'t Namespace,
    socket: PathBuf,
}

impl<'t> Screen<'t> {
    fn open(lab: &'t Topology, (width, height): (u16, u16), shell: &str) -> Result<Self> {
        let screen = Self { namespace: &lab.gw, socket: lab.scratch().join("tmux.sock") };
        let (width, height) = (width.to_string(), height.to_string());
        let new = ["new-session", "-d", "-x", &width, "-y", &height, "sh", "-c", shell];
        screen.tmux(&[&["-f", "/dev/null", "-u"][..], &new[..]].concat())?;
        Ok(screen)
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.namespace.command("tmux");
        command.env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR").env_remove("TMUX");
        netns::run(command.arg("-S").arg(&self.socket).args(arguments))
    }

    fn press(&self, keys: &[&str]) -> Result<()> {
        self.tmux(&[&["send-keys"][..], keys].concat()).map(drop)
    }

    fn resize(&self, width: u16, height: u16) -> Result<()> {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]).map(drop)
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).unwrap_or_default()
    }

    /// Waits until the screen shows all of these.
    fn shows(&self, expected: &[&str]) -> Result<String> {
        let seen = || expected.iter().all(|it| self.text().contains(it));
        let waited = wait::until(SEEN, &format!("{expected:?} on the screen"), seen);
        waited.with_context(|| format!("the screen:\n{}", self.text()))?;
        Ok(self.text())
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

/// Keeps the screen with its colours for the pictures of the documents: `CGWD_PICTURE=FILE`.
fn keep_picture(screen: &Screen<'_>) -> Result<()> {
    if let Some(path) = std::env::var_os("CGWD_PICTURE") {
        // Long enough for something to see in the graphs.
        std::thread::sleep(Duration::from_secs(10));
        std::fs::write(path, screen.tmux(&["capture-pane", "-e", "-p"])?)?;
    }
    Ok(())
}

#[test]
fn the_live_view_shows_a_cut_tunnel_a_restarted_daemon_and_ends_with_the_exit_status() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut world = BgpWorld::up(lab, Program::Bird)?;
    let pinger = Pinger::lan_to_vpc(lab)?;
    let watch = format!(
        "{} --socket {} status --watch",
        binary("cgwd")?.display(),
        world.gateway().socket().display()
    );
    let shell = format!("{watch}; echo ended with $?; TERM=dumb {watch}");
    let screen = Screen::open(lab, (96, 30), &shell)?;
    let all_lit = "● IKE ● IPsec ● tunnel ● BGP";
    let text = screen.shows(&[
        "● all tunnels are up",
        "→ egress",
        "BGP Established",
        "prefixes in",
        "EGRESS-MOVED",
    ])?;
    ensure!(text.matches(all_lit).count() == 2 && text.matches("rekey in").count() == 4, "{text}");
    // Samples come once a second; each graph grows at the right.
    let measured = |line: &&str| line.contains("RTT") && line.contains(" ms ") && line.contains('▁');
    wait::until(SEEN, "round trips on the screen", || screen.text().lines().filter(measured).count() == 2)
        .with_context(|| screen.text())?;

    if std::env::var_os("CGWD_PICTURE").is_some() {
        std::thread::sleep(Duration::from_secs(35));
    }
    let side = world.world.egress()?;
    lab.cut(side)?;
    let moved = format!("{} ✗", side.other().tunnel());
    screen.shows(&["◐ degraded: not all tunnels are up", "TUN-PROBE-LOST", "traffic moved from"])?;
    // For a moment the stage is in progress; then it fails.
    let text = screen.shows(&["✗"])?;
    ensure!(!text.contains(&moved) && text.matches("→ egress").count() == 1, "{text}");
    ensure!(text.matches(all_lit).count() == 1, "{text}");
    keep_picture(&screen)?;

    // Its page has the error with its remedy; the other's every algorithm.
    let (down, other) = if side == Side::One { ("Home", "j") } else { ("End", "k") };
    screen.press(&[down, "Enter"])?;
    screen.shows(&[&format!("/{}", side.tunnel()), "Remedy:"])?;
    screen.press(&[other])?;
    screen.shows(&[&format!("/{}", side.other().tunnel()), "AES_GCM", "no SA 0"])?;
    screen.press(&["?"])?;
    screen.shows(&["select a tunnel", "any key"])?;
    screen.press(&["x", "Escape"])?;
    screen.shows(&["enter details"])?;

    screen.press(&["p"])?;
    screen.shows(&["PAUSED for"])?;
    lab.mend()?;
    world.gateway().wait_all_up(BGP_UP.saturating_mul(3))?;
    ensure!(screen.text().contains("degraded"), "paused, the picture stands still");
    screen.press(&["p"])?;
    screen.shows(&["● all tunnels are up"])?;
    screen.resize(40, 10)?;
    screen.shows(&["tunnel1 ●●●●", "tunnel2 ●●●●"])?;
    screen.resize(96, 30)?;

    world.world.gateway.kill();
    screen.shows(&["cgwd: not reachable for", "trying again", "tunnel1"])?;
    world.start()?;
    screen.shows(&["● all tunnels are up", "BGP Established"])?;

    screen.press(&["q"])?;
    // The terminal is as before, and the plain form goes on where there are no tricks.
    screen.shows(&["ended with 0", "running for", "traffic to AWS leaves here"])?;
    screen.press(&["C-c"])?;
    pinger.stop()?;
    Ok(())
}

#[test]
fn in_a_pipe_the_live_view_is_plain_text_again_and_again() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = crate::world::World::up(&rig.topology)?;
    let mut command = rig.topology.gw.command("timeout");
    command.arg("4").arg(binary("cgwd")?).env("CGWD_SOCKET", world.gateway.socket());
    let output = command.env("TERM", "xterm").args(["status", "--watch"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(!text.contains('\x1b'), "an escape in {text:?}");
    let frames = text.matches("all tunnels are up").count();
    ensure!((2..=5).contains(&frames), "{frames} frames in\n{text}");
    Ok(())
}
