//! `cgwd doctor --to HOST`: where a way ends, and that it is complete where it is.

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::strongswan::Settings;
use lab::topology::{Side, VPC_HOST};
use lab::wait;

use super::{Said, doctor, named_first};
use crate::rig::Rig;
use crate::world::{BACK, UP, World};

fn to(world: &World<'_>, target: &str) -> Result<Said> {
    doctor(world, &["--to", target])
}

fn cause(said: &Said, code: &str) -> Result<String> {
    let finding = said.get(code).with_context(|| format!("no {code} in {:?}", said.codes()))?;
    Ok(finding["cause"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn symptom_17_a_way_is_followed_to_where_it_ends() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let (vpc, gw) = (&rig.topology.vpc, &rig.topology.gw);
    let host = VPC_HOST.to_string();

    // Complete: every router and the host itself answer, and so does the TCP port.
    for target in [host.clone(), format!("{host}:7008")] {
        let said = to(&world, &target)?;
        said.healthy()?;
        let cause = cause(&said, "PATH-COMPLETE")?;
        println!("{cause}");
        ensure!(cause.contains("from 10.10.0.1") && cause.contains("172.31.0.10 "), "{cause}");
    }
    // Its own firewall, silent for everything, then for one port, then with a refusal.
    let firewall = |rule: &str| {
        vpc.nft(&format!(
            "table inet shut {{ }}\ndelete table inet shut\ntable inet shut {{\nchain in {{\ntype filter hook input \
             priority 0\n{rule}\n}}\n}}\n"
        ))
    };
    firewall("ip daddr 172.31.0.10 drop")?;
    let said = named_first(&world, "PATH-BEHIND-AWS", &["--to", &host])?;
    let first = said.findings[0].to_string();
    for step in ["describe-route-tables", "describe-security-groups", "describe-network-acls", "firewall"] {
        ensure!(first.contains(step), "{step} in {first}");
    }
    firewall("tcp dport 7008 drop")?;
    let said = named_first(&world, "PATH-BEHIND-AWS", &["--to", &format!("{host}:7008")])?;
    ensure!(cause(&said, "PATH-BEHIND-AWS")?.contains("not TCP port 7008"), "{:?}", said.findings[0]);
    firewall("icmp type echo-request drop")?;
    to(&world, &format!("{host}:7008"))?.healthy()?;
    firewall("ip daddr 172.31.0.10 reject with icmp type admin-prohibited")?;
    let said = named_first(&world, "PATH-BEHIND-AWS", &["--to", &host])?;
    ensure!(cause(&said, "PATH-BEHIND-AWS")?.contains("the host itself refuses"), "{:?}", said.findings[0]);
    vpc.nft("delete table inet shut")?;

    // An address that nobody has: the endpoint has a route and no neighbour.
    for side in Side::BOTH {
        rig.topology.aws(side).ip("route add unreachable 172.31.9.0/24")?;
    }
    let said = named_first(&world, "PATH-REFUSED", &["--to", "172.31.9.9"])?;
    println!("{}", said.findings[0]);

    // Before the tunnel: no route for it, then no forwarding for the LAN.
    let said = named_first(&world, "PATH-NOT-ROUTED", &["--to", "10.99.0.1"])?;
    ensure!(cause(&said, "PATH-NOT-ROUTED")?.contains("leaves over wan0"), "{:?}", said.findings[0]);
    gw.sysctl(&[("net/ipv4/conf/lan0/forwarding", "0")])?;
    let said = named_first(&world, "PATH-NOT-FORWARDED", &["--to", &host])?;
    ensure!(cause(&said, "PATH-NOT-FORWARDED")?.contains("lan0"), "{:?}", said.findings[0]);
    gw.sysctl(&[("net/ipv4/conf/lan0/forwarding", "1")])?;
    to(&world, &host)?.healthy()?;

    let output = world.gateway.cli(&["doctor", "--to", "172.31.0.10:ssh"])?;
    ensure!(output.status.code() == Some(2), "what cannot be asked is exit status 2");
    Ok(())
}

#[test]
fn a_way_that_is_cut_in_the_tunnel_is_named_before_the_probes_notice() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let host = VPC_HOST.to_string();
    rig.topology.cut_both()?;
    let said = to(&world, &host)?;
    println!("{:?}", said.codes());
    ensure!(said.status == 1, "{:?}", said.codes());
    let first = said.first();
    ensure!(["PATH-IN-TUNNEL", "TUN-PROBE-LOST"].contains(&first), "{:?}", said.codes());
    rig.topology.mend()?;
    wait::until(BACK + BACK, "the way to be complete", || {
        to(&world, &host).is_ok_and(|said| said.status == 0)
    })
    .map(drop)
}

#[test]
fn symptom_20_an_endpoint_without_a_way_back_is_named() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let without = |side| Settings { routes: Vec::new(), ..Settings::aws(side) };
    let mut world = World::prepare(&rig.topology, &Connection::lab(), Side::BOTH.map(without))?;
    world.gateway.start()?;
    world.gateway.wait_all_up(UP)?;
    let said = named_first(&world, "PATH-NO-WAY-BACK", &["--to", &VPC_HOST.to_string()])?;
    ensure!(said.findings[0].to_string().contains("create-vpn-connection-route"), "{}", said.findings[0]);
    Ok(())
}
