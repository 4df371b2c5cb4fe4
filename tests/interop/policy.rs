//! What an operator may ask of the routes: a table of their own with rules, no way out in the clear, another source,
//! several connections side by side, another program that speaks BGP.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::gateway::Gateway;
use lab::process::{Process, Spawn};
use lab::router::Program;
use lab::topology::{LAN, Side, VPC, VPC_HOST};
use lab::traffic;
use lab::wait;

use crate::bgp_world::{BGP_UP, BgpWorld};
use crate::rig::Rig;
use crate::world::{BACK, UP, World};

/// A change must be seen this soon.
const SOON: Duration = Duration::from_secs(5);

/// Adds a table to the end of the file.
fn append(gateway: &Gateway<'_>, text: &str) -> Result<()> {
    let all = std::fs::read_to_string(gateway.config())?;
    Ok(std::fs::write(gateway.config(), format!("{all}\n{text}\n"))?)
}

fn prepare<'t>(rig: &'t Rig, routes: &str) -> Result<World<'t>> {
    let mut world = World::prepare(
        &rig.topology,
        &lab::aws_file::Connection::lab(),
        Side::BOTH.map(lab::strongswan::Settings::aws),
    )?;
    append(&world.gateway, routes)?;
    world.start()?;
    Ok(world)
}

#[test]
fn a_table_of_our_own_comes_with_rules_that_lead_there_and_both_go_on_exit() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let gw = &rig.topology.gw;
    let table = format!("[routes]\ntable = 100\nrule_priority = 1000\nrule_from = [\"{LAN}\"]");
    let mut world = prepare(&rig, &table)?;
    ensure!(gw.ip("route show table 100")?.contains(VPC));
    ensure!(!gw.ip("route show")?.contains(VPC), "the main table is left alone");
    let rule =
        || gw.ip("rule show").is_ok_and(|all| all.contains("1000:\tfrom 10.10.0.0/16 lookup 100 proto"));
    ensure!(rule(), "{}", gw.ip("rule show")?);
    // A rule taken away is put back, as a route is.
    gw.ip("rule del pref 1000")?;
    wait::until(SOON, "the rule to be back", rule)?;
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, SOON)?;
    // A reload without it takes it away, and so does the exit, even after a kill.
    world.gateway.edit("rule_priority = 1000\nrule_from = [\"10.10.0.0/16\"]", "")?;
    ensure!(world.gateway.cli(&["reload"])?.status.success());
    wait::until(SOON, "the rule to go", || !rule())?;
    world.gateway.edit("table = 100", "table = 100\nrule_priority = 1000")?;
    ensure!(world.gateway.cli(&["reload"])?.status.success());
    wait::until(SOON, "the rule for every packet", || {
        gw.ip("rule show").is_ok_and(|all| all.contains("1000:\tfrom all lookup 100 proto"))
    })?;
    world.gateway.kill();
    world.gateway.edit("table = 100\nrule_priority = 1000", "")?;
    world.start()?;
    ensure!(!gw.ip("rule show")?.contains("1000:"), "what the killed one left is gone");
    ensure!(gw.ip("route show table all")?.matches(VPC).count() == 1, "one route, in the main table");
    ensure!(world.gateway.stop());
    ensure!(world.gateway.owned_routes()?.is_empty());
    Ok(())
}

#[test]
fn with_both_tunnels_down_packets_follow_other_routes_or_are_told_unreachable_as_configured() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let gw = &rig.topology.gw;
    let world = World::up(&rig.topology)?;
    let way = || gw.ip(&format!("route get {VPC_HOST}"));
    ensure!(way()?.contains("cgw"), "{}", way()?);
    rig.topology.cut_both()?;
    wait::until(BACK, "the default route to take over", || way().is_ok_and(|way| way.contains("wan0")))?;
    let told = |words: &str| {
        let events = world.gateway.events().unwrap_or_default();
        let text = |event: &serde_json::Value| event["text"].as_str().unwrap_or_default().to_owned();
        events.iter().any(|event| event["code"] == "EGRESS-NONE" && text(event).contains(words))
    };
    wait::until(SOON, "the event that says so", || told("its default route among them"))?;
    append(&world.gateway, "[routes]\nwhen_down = \"unreachable\"")?;
    ensure!(world.gateway.cli(&["reload"])?.status.success());
    wait::until(SOON, "the way to be closed", || way().is_err())?;
    let routes = String::from_utf8(world.gateway.cli(&["routes"])?.stdout)?;
    ensure!(routes.contains("unreachable"), "{routes}");
    rig.topology.mend()?;
    world.gateway.wait_all_up(BACK)?;
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, BACK)?;
    // Somebody's backup is preferred to nothing.
    gw.ip(&format!("route add {VPC} via 192.0.2.254 metric 500"))?;
    rig.topology.cut_both()?;
    wait::until(BACK, "the backup to take over", || way().is_ok_and(|way| way.contains("192.0.2.254")))?;
    wait::until(SOON, "the event that says so", || told("senders are told unreachable"))?;
    Ok(())
}

/// AWS's side routes back to the LAN, not to what lies inside the tunnels.
#[test]
fn what_the_gateway_itself_sends_to_the_vpc_has_its_lan_address() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let gw = &rig.topology.gw;
    let _world = World::up(&rig.topology)?;
    let way = gw.ip(&format!("route get {VPC_HOST}"))?;
    ensure!(way.contains("src 10.10.0.1"), "{way}");
    traffic::wait_for_echo(gw, VPC_HOST, SOON)?;
    // The address moves on: so does the source.
    gw.ip("addr add 10.10.9.9/24 dev lan0")?;
    gw.ip("addr del 10.10.0.1/16 dev lan0")?;
    wait::until(SOON, "the other source address", || {
        gw.ip(&format!("route get {VPC_HOST}")).is_ok_and(|way| way.contains("src 10.10.9.9"))
    })?;
    traffic::wait_for_echo(gw, VPC_HOST, SOON).map(drop)
}

#[test]
fn replies_on_the_other_tunnel_pass_although_the_host_filters_reverse_paths_strictly() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let strict = [("net/ipv4/conf/all/rp_filter", "1"), ("net/ipv4/conf/default/rp_filter", "1")];
    rig.topology.gw.sysctl(&strict)?;
    let world = World::up(&rig.topology)?;
    let side = world.egress()?;
    let _lan = traffic::Server::lan(&rig.topology)?;
    // What the VPC begins comes by the tunnel that we do not send on.
    rig.topology.vpc_return_via(side.other())?;
    let took = traffic::wait_for_echo(&rig.topology.vpc, lab::topology::LAN_HOST, SOON)?;
    println!("asymmetric and strict: the first answer after {} ms", took.as_millis());
    ensure!(world.egress()? == side, "one packet moves nothing");
    Ok(())
}

#[test]
fn a_default_route_into_the_tunnels_keeps_aws_reachable_by_whatever_way_leads_there_now() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let (gw, net) = (&rig.topology.gw, &rig.topology.net);
    // The internet's own default route is the worse one, and there are two routers.
    gw.ip("route replace default via 192.0.2.254 metric 500")?;
    gw.ip("route del default via 192.0.2.254 metric 0").ok();
    net.ip("addr add 192.0.2.253/24 dev gw0")?;
    let mut world = World::prepare(
        &rig.topology,
        &lab::aws_file::Connection::lab(),
        Side::BOTH.map(lab::strongswan::Settings::aws),
    )?;
    world.gateway.edit(&format!("vpc = [\"{VPC}\"]"), "vpc = [\"0.0.0.0/0\"]\nallow_default_route = true")?;
    world.start()?;
    let over = |router: &str| {
        Side::BOTH.into_iter().all(|side| {
            let way = gw.ip(&format!("route get {}", side.outside()));
            way.is_ok_and(|way| way.contains(&format!("via {router} dev wan0")))
        })
    };
    ensure!(over("192.0.2.254"), "{}", gw.ip("route show")?);
    ensure!(gw.ip("route get 203.0.113.77")?.contains("cgw"), "everything else goes to AWS");
    gw.ip("route add default via 192.0.2.253 metric 400")?;
    wait::until(SOON, "the way to AWS by the other router", || over("192.0.2.253"))
        .with_context(|| gw.ip("route show").unwrap_or_default())?;
    gw.ip("route del default via 192.0.2.253 metric 400")?;
    wait::until(SOON, "the first router again", || over("192.0.2.254"))?;
    // The link loses its address and gets it again: nothing of ours is refused by the kernel for long.
    gw.ip("addr del 192.0.2.1/24 dev wan0")?;
    std::thread::sleep(Duration::from_secs(2));
    gw.ip("addr add 192.0.2.1/24 dev wan0")?;
    gw.ip("route add default via 192.0.2.254 metric 500")?;
    wait::until(SOON, "the way to AWS again", || over("192.0.2.254"))
        .with_context(|| format!("{}\n{}", gw.ip("route show").unwrap_or_default(), world.gateway.log()))?;
    world.gateway.wait_all_up(BACK * 2)?;
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, BACK)?;
    let events = world.gateway.events()?;
    let told = |code: &str, words: &str| {
        events.iter().any(|event| event["code"] == code && event["text"].to_string().contains(words))
    };
    ensure!(!told("ROUTE-FAILED", "Invalid"), "{events:#?}");
    ensure!(!told("HOST-ADDRESS", "is 10.10.0.1 now"), "our own route is no way to AWS: {events:#?}");
    ensure!(world.gateway.stop());
    ensure!(world.gateway.owned_routes()?.is_empty(), "{}", world.gateway.owned_routes()?);
    Ok(())
}

/// One connection for each endpoint, both announcing the same prefix.
fn two_connections<'t>(rig: &'t Rig, multipath: bool) -> Result<BgpWorld<'t>> {
    let bgp = BgpWorld::prepare(&rig.topology, Program::Bird, |_, settings| settings)?;
    let path = bgp.gateway().config();
    let text = std::fs::read_to_string(&path)?;
    let session =
        format!("[connection.bgp]\nlocal_asn = 65000\nremote_asn = 64512\nmultipath = {multipath}\n");
    let second = format!(
        "[[connection]]\nid = \"vpn-b\"\nrouting = \"bgp\"\nlan = [\"{LAN}\"]\nvpc = [\"{VPC}\"]\n{session}"
    );
    let mut parts = text.split("[[connection.tunnel]]");
    let [head, one, two] = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
    let head = head.replace("[connection.bgp]", &format!("[connection.bgp]\nmultipath = {multipath}"));
    std::fs::write(path, format!("{head}[[connection.tunnel]]{one}\n{second}[[connection.tunnel]]{two}"))?;
    Ok(bgp)
}

#[test]
fn two_connections_share_the_flows_to_the_same_prefix_with_multipath() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = two_connections(&rig, true)?;
    bgp.start()?;
    let over = |interface: &str| bgp.gateway().owned_routes().is_ok_and(|routes| routes.contains(interface));
    wait::until(BGP_UP * 2, "a route over both", || over("cgw0") && over("cgw1"))?;
    let status = bgp.gateway().status()?;
    ensure!(status["connections"].as_array().is_some_and(|all| all.len() == 2), "{status}");
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, UP)?;
    bgp.router(Side::One).cease()?;
    wait::until(BGP_UP, "a route over one", || !over("cgw0") && over("cgw1"))?;
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, UP).map(drop)
}

#[test]
fn a_second_connection_takes_over_a_prefix_that_the_first_one_loses() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = two_connections(&rig, false)?;
    bgp.start()?;
    let side = bgp.world.egress()?;
    let events = bgp.gateway().events()?;
    let refused: Vec<_> = events.iter().filter(|event| event["code"] == "ROUTE-FAILED").collect();
    ensure!(refused.is_empty(), "the same prefix twice is nothing to refuse: {refused:#?}");
    bgp.router(side).cease()?;
    wait::until(BGP_UP, "the other connection to carry it", || bgp.gateway().is_egress(side.other()))?;
    let routes = String::from_utf8(bgp.gateway().cli(&["routes"])?.stdout)?;
    ensure!(routes.contains("/tunnel"), "tunnels are named by their connection too: {routes}");
    traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, UP).map(drop)
}

/// BIRD on the gateway itself, with both AWS neighbours.
const BIRD_ON_GATEWAY: &str = "
router id 10.10.0.1;
protocol device { scan time 1; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
protocol static ours { ipv4; route 10.10.0.0/16 blackhole; }
template bgp aws {
  local as 65000; hold time 30; keepalive time 10; connect delay time 1; connect retry time 1;
  error wait time 1, 2; direct;
  ipv4 { import all; export where source = RTS_STATIC; next hop self; };
}
protocol bgp one from aws { neighbor 169.254.10.1 as 64512; source address 169.254.10.2; }
protocol bgp two from aws { neighbor 169.254.20.1 as 64512; source address 169.254.20.2; }
";

#[test]
fn with_external_bgp_another_daemon_speaks_over_our_interfaces_and_we_set_no_routes() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut bgp = BgpWorld::prepare(lab, Program::Bird, |_, settings| settings)?;
    bgp.gateway().edit("[connection.bgp]", "[connection.bgp]\nmode = \"external\"")?;
    bgp.world.gateway.start()?;
    bgp.gateway().wait_all_up(UP)?;
    let path = |name: &str| lab.scratch().join(name).display().to_string();
    let (conf, socket, pid) = (path("own.conf"), path("own.ctl"), path("own.pid"));
    std::fs::write(&conf, BIRD_ON_GATEWAY)?;
    let words = ["bird", "-f", "-c", &conf, "-s", &socket, "-P", &pid];
    let _bird = Process::spawn(&Spawn {
        namespace: &lab.gw,
        command: words.map(str::to_owned).to_vec(),
        env: Vec::new(),
        log: lab.scratch().join("own.log"),
        pipes: false,
    })?;
    let lan = LAN.parse()?;
    for router in &bgp.routers {
        wait::until(BGP_UP * 2, "our prefix at AWS", || router.learned() == [lan])
            .with_context(|| router.table())?;
    }
    let way = || lab.gw.ip(&format!("route show {VPC}"));
    wait::until(SOON, "BIRD's route to the VPC", || way().is_ok_and(|way| way.contains("proto bird")))?;
    traffic::wait_for_echo(&lab.lan, VPC_HOST, SOON)?;
    ensure!(bgp.gateway().owned_routes()?.is_empty(), "none of ours: {}", bgp.gateway().owned_routes()?);
    let said = String::from_utf8(bgp.gateway().cli(&["bgp"])?.stdout)?;
    ensure!(said.contains("external"), "{said}");
    // AWS's router goes: BIRD moves on to the other tunnel, and the daemon has nothing against it.
    let side = if way()?.contains("cgw0") { Side::One } else { Side::Two };
    bgp.router(side).cease()?;
    let other = if side == Side::One { "cgw1" } else { "cgw0" };
    wait::until(SOON, "BIRD to use the other tunnel", || way().is_ok_and(|way| way.contains(other)))?;
    traffic::wait_for_echo(&lab.lan, VPC_HOST, SOON)?;
    ensure!(bgp.gateway().stage(side) == "up", "the tunnel itself is up");
    bgp.router(side).resume()?;
    let both = || bgp.routers.iter().all(lab::router::Router::established);
    wait::until(BGP_UP * 2, "both sessions again", both)?;
    // BIRD settles on the older session, or on the lower identifier.
    std::thread::sleep(Duration::from_secs(2));
    // A silent death: the link goes down with the tunnel, and BIRD does not wait for its hold timer of 30 s.
    let side = if way()?.contains("cgw0") { Side::One } else { Side::Two };
    let other = if side == Side::One { "cgw1" } else { "cgw0" };
    lab.cut(side)?;
    let took =
        wait::until(BACK, "BIRD to use the other tunnel", || way().is_ok_and(|it| it.contains(other)))?;
    println!("external BGP: a silent death moved BIRD's route after {:.1} s", took.as_secs_f64());
    traffic::wait_for_echo(&lab.lan, VPC_HOST, SOON)?;
    lab.mend()?;
    bgp.gateway().wait_stage(side, "up", BACK * 2)?;
    wait::until(BGP_UP * 2, "both sessions again", both)?;
    Ok(())
}
