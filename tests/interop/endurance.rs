//! Hours of rekeys in minutes: lifetimes of seconds, so that both ends begin at the same time, again and again, over a way
//! long enough for their requests to cross. Not one of fifty datagrams a second in each direction may be lost.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::aws_file::Connection;
use lab::delay::DelayLine;
use lab::strongswan::Settings;
use lab::topology::Side;
use lab::traffic::Server;

use crate::rig::Rig;
use crate::uml_world::{BothWays, rewrite, set, shorten, tunnels};
use crate::world::World;

const CHILD_REKEYS: u64 = 200;
const IKE_REKEYS: u64 = 50;
/// Far more than they take: a child every four to five seconds.
const PATIENCE: Duration = Duration::from_secs(2400);
/// One way.
const DELAY: Duration = Duration::from_millis(80);

/// strongSwan rekeys a child after 4 s sharp and the IKE SA after 17 s; ours is the window of 4 to 5 and 16 to 20 s.
fn in_step(side: Side) -> Settings {
    Settings {
        extra: "rekey_time = 17s\nrand_time = 0s\nover_time = 20s".to_owned(),
        child: "rekey_time = 4s\nrand_time = 0s\nlife_time = 15s".to_owned(),
        ..Settings::aws(side)
    }
}

#[test]
fn two_hundred_child_and_fifty_ike_rekeys_in_step_with_strongswan_lose_no_ping() -> Result<()> {
    let Some(rig) = Rig::soak() else { return Ok(()) };
    let lab = &rig.topology;
    let _way = DelayLine::lay(lab, DELAY)?;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(in_step))?;
    rewrite(&world.gateway, |connection| {
        set(connection, "peer", "other")?;
        tunnels(connection)?.iter_mut().try_for_each(shorten)
    })?;
    world.start()?;
    let side = world.egress()?;
    lab.vpc_return_via(side)?;
    let _server = Server::lan(lab)?;
    let pings = BothWays::start(lab)?;
    let began = Instant::now();
    let (mut child, mut ike) = (0, 0);
    while (child < CHILD_REKEYS || ike < IKE_REKEYS) && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_secs(2));
        (child, ike) = (world.counter(side, "/child/rekeys")?, world.counter(side, "/ike/rekeys")?);
    }
    let took = began.elapsed();
    let told = pings.none_lost();
    let log = world.aws[side.index()].log();
    let collisions = |of: &str| log.lines().filter(|line| line.contains(of)).count();
    println!(
        "{child} child and {ike} IKE rekeys in {:.0} s; strongSwan tells of {} collisions of child and {} of IKE rekeys",
        took.as_secs_f64(),
        collisions("CHILD_SA rekey collision"),
        collisions("IKE_SA rekey collision"),
    );
    ensure!(child >= CHILD_REKEYS && ike >= IKE_REKEYS, "{child} child and {ike} IKE rekeys in {took:?}");
    told?;
    ensure!(world.gateway.is_egress(side), "traffic has stayed where it was");
    Ok(())
}
