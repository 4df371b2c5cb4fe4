//! Hooks of the configuration, run by a daemon whose tunnels really go up and down.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::strongswan::Settings;
use lab::topology::{Side, VPC_HOST};
use lab::traffic::Pinger;
use lab::wait;

use crate::rig::Rig;
use crate::world::{UP, World};

const PROGRAM: &str = "#!/bin/sh\n\
    echo \"$CGWD_EVENT|$1|$CGWD_CONNECTION|$CGWD_TUNNEL|$CGWD_OUTSIDE_IP|$CGWD_REDUNDANCY|$CGWD_EGRESS|$CGWD_ROUTES_SET\" >> @FILE@\n\
    echo \"told of $CGWD_EVENT\"\n";

#[test]
fn hooks_hear_of_tunnels_egress_redundancy_and_routes_and_hold_nothing_up() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let (program, state) = (lab.scratch().join("hook"), world.gateway.state());
    let out = state.here.join("hook.out");
    let written = state.seen_by_daemon.join("hook.out");
    std::fs::write(&program, PROGRAM.replace("@FILE@", &written.display().to_string()))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let text = std::fs::read_to_string(world.gateway.config())?;
    std::fs::write(
        world.gateway.config(),
        format!(
            "{text}\n[[hook]]\non = [\"tunnel-up\", \"tunnel-down\", \"egress\", \"redundancy\", \"route\"]\n\
             run = [\"{}\", \"an argument; not a shell\"]\n\
             [[hook]]\non = [\"tunnel-up\", \"redundancy\"]\nrun = [\"/bin/sleep\", \"600\"]\ntimeout = \"2s\"\n",
            world.gateway.seen_by_daemon(&program)?.display()
        ),
    )?;
    world.start()?;
    let read = || std::fs::read_to_string(&out).unwrap_or_default();
    let heard = |what: &str| {
        wait::until(UP, &format!("a hook to hear {what}"), || read().contains(what))
            .with_context(|| format!("they heard:\n{}\nthe log:\n{}", read(), world.gateway.log()))
    };
    let id = Connection::lab().id;
    let argument = "an argument; not a shell";
    for side in Side::BOTH {
        heard(&format!("tunnel-up|{argument}|{id}|{}|{}|", side.tunnel(), side.outside()))?;
    }
    heard(&format!("redundancy|{argument}|{id}|||full|"))?;
    heard("172.31.0.0/16")?;
    let egress = world.egress()?;
    heard(&format!("egress|{argument}|{id}||||{}|", egress.tunnel()))?;
    wait::until(UP, "its output in the log", || world.gateway.log().contains("told of tunnel-up"))?;

    // A tunnel goes; the other hook still hangs, and nobody waits for it.
    let pinger = Pinger::start(lab, &lab.lan, VPC_HOST, Duration::from_millis(20))?;
    world.aws[egress.other().index()].terminate()?;
    heard(&format!("tunnel-down|{argument}|{id}|{}|", egress.other().tunnel()))?;
    heard(&format!("redundancy|{argument}|{id}|||degraded|"))?;
    let report = pinger.stop()?;
    ensure!(report.lost() == 0, "the other tunnel carries on: {:?}", report.outages);
    let killed = |event: &serde_json::Value| {
        event["code"] == "HOOK-FAILED"
            && event["text"].as_str().is_some_and(|text| text.contains("was killed"))
    };
    wait::until(Duration::from_secs(15), "the hanging hook to be killed", || {
        world.gateway.events().is_ok_and(|events| events.iter().any(killed))
    })?;

    // At the end what was up is reported down.
    let before = read().lines().count();
    ensure!(world.gateway.stop(), "a hook that hangs does not hold the end up");
    let last: Vec<String> = read().lines().skip(before).map(str::to_owned).collect();
    ensure!(
        last.iter().any(|line| line.starts_with(&format!("tunnel-down|{argument}|{id}|{}", egress.tunnel()))),
        "{last:?}"
    );
    Ok(())
}
