//! The embedded stand-in for AWS, and what strongSwan cannot show: raw protocol 50, the lowest value chosen.

use anyhow::{Context as _, Result, ensure};
use lab::aws_file::Connection;
use lab::embedded::Embedded;
use lab::gateway::Gateway;
use lab::topology::{LAN, Side, Topology, VPC, VPC_HOST};
use lab::traffic::{self, Direction, Pinger, Server};
use lab::wait;

use crate::rig::Rig;
use crate::world::{BACK, UP};

fn gateway<'t>(lab: &'t Topology, connection: &Connection, arguments: &[&str]) -> Result<Gateway<'t>> {
    let file = lab.scratch().join("aws.txt");
    std::fs::write(&file, connection.generic_text())?;
    let mut gateway = Gateway::new(lab)?;
    gateway.import(&file, &[&["--lan", LAN, "--vpc", VPC], arguments].concat())?;
    gateway.start()?;
    Ok(gateway)
}

#[test]
fn the_embedded_endpoints_bring_both_tunnels_up_and_carry_traffic() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let _aws = [Embedded::start(lab, Side::One, &[])?, Embedded::start(lab, Side::Two, &[])?];
    let _server = Server::vpc(lab)?;
    let gateway = gateway(lab, &Connection::lab(), &[])?;
    let took = gateway.wait_all_up(UP)?;
    for direction in [Direction::Download, Direction::Upload] {
        let report = traffic::transfer(&lab.lan, VPC_HOST, direction, 20_000_000)?;
        println!("embedded, UDP: {direction:?} intact, {:.0} Mbit/s", report.mbit_per_second());
    }
    println!("embedded endpoints: both tunnels up after {:.2} s", took.as_secs_f64());
    Ok(())
}

#[test]
fn raw_protocol_50_carries_traffic_where_no_nat_is_found() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let _aws = [Embedded::start(lab, Side::One, &[])?, Embedded::start(lab, Side::Two, &[])?];
    let _server = Server::vpc(lab)?;
    // If ESP went through UDP all the same, this would stop it.
    lab.internet_drops(&["udp dport 4500".to_owned()])?;
    let gateway = gateway(lab, &Connection::lab(), &["--raw-esp"])?;
    gateway.wait_all_up(UP)?;
    for side in Side::BOTH {
        let child = gateway.tunnel(side)?["child"].clone();
        ensure!(child["encapsulation"] == "esp", "{child}");
    }
    for direction in [Direction::Download, Direction::Upload] {
        let report = traffic::transfer(&lab.lan, VPC_HOST, direction, 20_000_000)?;
        println!("embedded, protocol 50: {direction:?} intact, {:.0} Mbit/s", report.mbit_per_second());
    }
    Ok(())
}

#[test]
fn a_start_endpoint_begins_and_its_rekeys_lose_nothing() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let start = ["--startup=start"];
    let mut aws = [Embedded::start(lab, Side::One, &start)?, Embedded::start(lab, Side::Two, &start)?];
    let _server = Server::vpc(lab)?;
    let gateway = gateway(lab, &Connection::lab(), &[])?;
    gateway.wait_all_up(BACK)?;
    let pinger = Pinger::lan_to_vpc(lab)?;
    for word in ["rekey child", "rekey ike", "rekey child"] {
        for (side, endpoint) in Side::BOTH.into_iter().zip(&mut aws) {
            let pointer = if word.ends_with("ike") { "/ike/rekeys" } else { "/child/rekeys" };
            let count = || gateway.tunnel(side).ok().and_then(|t| t.pointer(pointer)?.as_u64());
            let before = count();
            endpoint.say(word)?;
            wait::until(BACK, word, || count() > before)?;
        }
    }
    let report = pinger.stop()?;
    ensure!(report.lost() == 0, "{:?}", report.outages);
    Ok(())
}

#[test]
fn the_embedded_endpoints_exchange_routes_by_bgp_and_refuse_too_many() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let bgp = ["--bgp=64512", "--announce=172.31.0.0/16"];
    let low = [&bgp[..], &["--max-prefixes=1"]].concat();
    let mut aws = [Embedded::start(lab, Side::One, &bgp)?, Embedded::start(lab, Side::Two, &bgp)?];
    let _server = Server::vpc(lab)?;
    let gateway = gateway(lab, &Connection::lab_bgp(), &["--lan", "10.10.128.0/17"])?;
    let took = gateway.wait_all_up(BACK)?;
    traffic::wait_for_echo(&lab.lan, VPC_HOST, UP)?;
    println!("embedded endpoints with BGP: both tunnels up after {:.2} s", took.as_secs_f64());
    // AWS steers before maintenance: the tunnel with the lower MED is the one to use.
    let idle = Side::BOTH.into_iter().find(|&side| !gateway.is_egress(side)).unwrap_or(Side::Two);
    aws[idle.other().index()].say("med 200")?;
    aws[idle.index()].say("med 50")?;
    let seen = || {
        String::from_utf8_lossy(&gateway.cli(&["routes"]).map(|o| o.stdout).unwrap_or_default()).into_owned()
    };
    // A tunnel must have been up for ten seconds to take over from one that works.
    wait::until(BACK + UP, "the egress to follow AWS's MED", || gateway.is_egress(idle))
        .with_context(seen)?;
    // Two prefixes where one is allowed: Cease 6/1.
    aws[0].kill();
    aws[0] = Embedded::start(lab, Side::One, &low)?;
    let told = || {
        gateway
            .cli(&["events"])
            .is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("NOTIFICATION 6/1"))
    };
    wait::until(BACK + BACK, "the Cease to be named", told)?;
    Ok(())
}
