//! Two gateway boxes and one LAN address: keepalived with the shipped recipe.
//!
//! The second box stands for one whose tunnels are up; the link between the two is the LAN that they share.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::netns::{Namespace, veth};
use lab::process::{Process, Spawn};
use lab::topology::Topology;
use lab::traffic;
use lab::wait;

use crate::rig::Rig;
use crate::world::{BACK, World};

/// The address must be on the other box this soon after the first one knows that both tunnels are gone.
const MOVED: Duration = Duration::from_secs(5);

const RECIPE: &str = include_str!("../../config/keepalived.conf.example");

fn keepalived(
    lab: &Topology,
    namespace: &Namespace,
    name: &str,
    script: &str,
    first: bool,
) -> Result<Process> {
    let path = |end: &str| lab.scratch().join(format!("keepalived-{name}{end}")).display().to_string();
    let mut text = RECIPE
        .replace("/usr/bin/cgwd wait --for any --timeout 0s", script)
        .replace("interface lan0", "interface pair0")
        .replace("10.10.0.254/16", "10.99.0.254/24");
    if !first {
        text = text.replace("state MASTER", "state BACKUP").replace("priority 150", "priority 100");
    }
    std::fs::write(path(".conf"), text)?;
    let (conf, pid, vrrp) = (path(".conf"), path(".pid"), path("-vrrp.pid"));
    let words = ["keepalived", "-n", "-l", "-D", "-P", "-f", &conf, "-p", &pid, "-r", &vrrp];
    Process::spawn(&Spawn {
        namespace,
        command: words.map(str::to_owned).to_vec(),
        env: Vec::new(),
        log: lab.scratch().join(format!("keepalived-{name}.log")),
        pipes: false,
    })
}

#[test]
fn the_lan_address_moves_to_the_other_box_when_both_tunnels_are_lost_and_comes_back() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let world = World::up(lab)?;
    let second = Namespace::create(lab.rig(), "gw2")?;
    veth((&lab.gw, "pair0"), (&second, "pair0"))?;
    lab.gw.ip("addr add 10.99.0.1/24 dev pair0")?;
    second.ip("addr add 10.99.0.2/24 dev pair0")?;
    let check = format!(
        "{} --socket {} wait --for any --timeout 0s",
        traffic::binary("cgwd")?.display(),
        world.gateway.socket().display()
    );
    let _first = keepalived(lab, &lab.gw, "first", &check, true)?;
    let _second = keepalived(lab, &second, "second", "/bin/true", false)?;
    let holds = |box_: &Namespace| box_.ip("addr show pair0").is_ok_and(|text| text.contains("10.99.0.254"));
    wait::until(BACK * 2, "the first box to hold the address", || holds(&lab.gw) && !holds(&second))?;
    lab.cut_both()?;
    wait::until(BACK, "both tunnels to be lost", || {
        world.gateway.status().is_ok_and(|status| status["redundancy"] == "none")
    })?;
    let moved = wait::until(MOVED, "the address to move", || holds(&second) && !holds(&lab.gw))?;
    println!("both tunnels lost, the address is on the other box {:.1} s later", moved.as_secs_f64());
    lab.mend()?;
    world.gateway.wait_all_up(BACK)?;
    wait::until(BACK * 2, "the address to come back", || holds(&lab.gw) && !holds(&second))?;
    ensure!(world.gateway.cli(&["status"])?.status.code() == Some(0));
    Ok(())
}
