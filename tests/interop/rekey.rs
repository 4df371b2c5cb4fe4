//! Rekeys from either side under a stream of twenty datagrams a second: none may be lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::topology::{Side, VPC_HOST};
use lab::traffic::Pinger;
use lab::wait;

use crate::rig::Rig;
use crate::world::World;

const CHILD_REKEYS: usize = 20;
const IKE_REKEYS: usize = 5;
const SETTLED: Duration = Duration::from_secs(5);

/// Starts one rekey and waits until our status counts it.
fn one(world: &World<'_>, side: Side, pointer: &str, start: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = world.counter(side, pointer)?;
    start()?;
    let what = format!("{pointer} to pass {before}");
    wait::until(SETTLED, &what, || world.counter(side, pointer).is_ok_and(|count| count > before))?;
    Ok(())
}

#[test]
fn rekeys_from_either_side_lose_no_ping() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let side = world.egress()?;
    let (aws, tunnel) = (&world.aws[side.index()], side.tunnel());
    let ours = |what: &'static str| {
        let output = world.gateway.cli(&["rekey", what, tunnel])?;
        ensure!(output.status.success(), "cgwd rekey {what}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let pinger = Pinger::start(world.lab, &world.lab.lan, VPC_HOST, Duration::from_millis(50))?;
    for number in 0..CHILD_REKEYS {
        one(&world, side, "/child/rekeys", || ours("child"))
            .with_context(|| format!("our child rekey {number}"))?;
        one(&world, side, "/child/rekeys", || aws.rekey_child())
            .with_context(|| format!("their child rekey {number}"))?;
    }
    for number in 0..IKE_REKEYS {
        one(&world, side, "/ike/rekeys", || ours("ike"))
            .with_context(|| format!("our IKE rekey {number}"))?;
        one(&world, side, "/ike/rekeys", || aws.rekey_ike())
            .with_context(|| format!("their IKE rekey {number}"))?;
    }
    // Old inbound SAs are kept a while for what is on its way.
    std::thread::sleep(Duration::from_secs(7));
    world.wait_for_one_pair(side)?;
    let report = pinger.stop()?;
    println!(
        "{} child and {} IKE rekeys, half of them by the peer: {} of {} pings lost, {} reordered, rtt p50 {:.1} ms, \
         max {:.1} ms",
        world.counter(side, "/child/rekeys")?,
        world.counter(side, "/ike/rekeys")?,
        report.lost(),
        report.sent,
        report.reordered,
        report.rtt_p50_ms,
        report.rtt_max_ms
    );
    ensure!(report.lost() == 0, "lost: {:?}", report.outages);
    ensure!(world.gateway.stage(side) == "up", "the tunnel stays up");
    Ok(())
}
