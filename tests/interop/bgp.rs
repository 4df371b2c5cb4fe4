//! BGP against BIRD 2, FRR 8.4 and GoBGP 3.10 in AWS's place, each on tunnels to strongSwan.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use lab::router::{Program, Settings};
use lab::topology::{Families, LAN, LAN6, Side, VPC, VPC_HOST, VPC_HOST6, VPC6};
use lab::traffic::{self, Pinger};
use lab::wait;

use crate::bgp_world::{BGP_UP, BgpWorld, prefixes};
use crate::contract;
use crate::rig::Rig;

/// A change must be seen on the other side this soon.
const SOON: Duration = Duration::from_secs(5);
/// A tunnel has been up for long enough to displace another (rule 5).
const SETTLED: Duration = Duration::from_secs(11);
/// What a neighbour may take for its own part of a test.
const SLOW: Duration = Duration::from_secs(30);
/// After End-of-RIB the kernel must have everything this soon.
const FILLED: Duration = Duration::from_secs(1);

fn for_each_program(test: impl Fn(&Rig, Program) -> Result<()>) -> Result<()> {
    for program in Program::ALL {
        let Some(rig) = Rig::new() else { return Ok(()) };
        test(&rig, program).with_context(|| format!("{program:?}"))?;
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
        ensure!(bgp.gateway().owned_routes()?.contains(VPC));
        let echo = traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, SOON);
        echo.with_context(|| bgp.picture(Side::One))?;
        // A new prefix, and one that goes.
        bgp.routers[0].announce(vec![VPC.parse()?, "172.31.64.0/18".parse()?])?;
        bgp.wait_route("172.31.64.0/18", true)?;
        bgp.routers[0].announce(vec![VPC.parse()?])?;
        bgp.wait_route("172.31.64.0/18", false)?;
        // Route refresh; GoBGP has no command that asks for it.
        if program != Program::GoBgp {
            bgp.router(Side::One).refresh()?;
            wait::until(SOON, "the neighbour's ROUTE-REFRESH", || {
                bgp.full(Side::One).is_ok_and(|it| it["counters"]["refreshes_in"] == 1)
            })
            .with_context(|| bgp.picture(Side::One))?;
            ensure!(bgp.router(Side::One).learned() == [LAN.parse::<IpNet>()?]);
        }
        // And the other way round, with all three.
        let before = bgp.full(Side::One)?["counters"]["updates_in"].as_u64();
        let asked = bgp.gateway().cli(&["bgp", "--refresh", "tunnel1"])?;
        ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        wait::until(SOON, "the neighbour's routes again", || {
            bgp.full(Side::One).is_ok_and(|it| it["counters"]["updates_in"].as_u64() > before)
        })
        .with_context(|| bgp.picture(Side::One))?;
        ensure!(bgp.full(Side::One)?["counters"]["refreshes_out"] == 1);
        ensure!(bgp.full(Side::One)?["counters"]["established"] == 1, "the session stays");
        // A session that ended says why, for as long as nothing newer is to be said.
        bgp.router(Side::Two).cease()?;
        wait::until(SOON, "the end and its reason", || {
            let end = bgp.full(Side::Two).map(|it| it["last_end"]["why"].clone());
            end.is_ok_and(|why| why.to_string().contains("the neighbour sent Cease"))
        })
        .with_context(|| bgp.picture(Side::Two))?;
        println!("{}", String::from_utf8_lossy(&bgp.gateway().cli(&["bgp"])?.stdout));
        bgp.stop()?;
        ensure!(bgp.router(Side::One).was_told_goodbye(), "Cease arrives: {}", bgp.picture(Side::One));
        println!("{program:?}: both tunnels and sessions up {:.2} s after the start", took.as_secs_f64());
        Ok(())
    })
}

#[test]
fn four_octet_as_numbers_are_carried_both_ways() -> Result<()> {
    for_each_program(|rig, program| {
        let big = |_, settings| Settings { local_as: 4_200_000_000, peer_as: 4_199_999_999, ..settings };
        let mut bgp = BgpWorld::prepare(&rig.topology, program, big)?;
        bgp.start()?;
        bgp.wait_route(VPC, true)?;
        let received = bgp.full(Side::One)?["received"].clone();
        let path = |route: &serde_json::Value| route["prefix"] == VPC && route["as_path"] == "4200000000";
        ensure!(received.as_array().is_some_and(|all| all.iter().any(path)), "{received}");
        ensure!(bgp.router(Side::One).table().contains("4199999999"), "{}", bgp.picture(Side::One));
        Ok(())
    })
}

#[test]
fn a_lower_med_moves_the_egress_and_loses_nothing() -> Result<()> {
    for_each_program(|rig, program| {
        let mut bgp = BgpWorld::prepare(&rig.topology, program, |side, settings| Settings {
            med: Some(if side == Side::One { 100 } else { 200 }),
            ..settings
        })?;
        bgp.start()?;
        // Rule 5: a tunnel that has just come up does not displace one that works.
        std::thread::sleep(SETTLED);
        wait::until(SOON, "tunnel1 to carry the traffic", || bgp.gateway().is_egress(Side::One))?;
        let routes = String::from_utf8(bgp.gateway().cli(&["routes"])?.stdout)?;
        ensure!(routes.contains("MED 100 beats 200 of tunnel2 (rule 9)"), "{routes}");
        traffic::wait_for_echo(&rig.topology.lan, VPC_HOST, SOON)?;
        let pinger = Pinger::start(&rig.topology, &rig.topology.lan, VPC_HOST, Duration::from_millis(5))?;
        std::thread::sleep(Duration::from_millis(300));
        let began = Instant::now();
        bgp.routers[1].med(50)?;
        wait::until(SOON, "tunnel2 to carry the traffic", || bgp.gateway().is_egress(Side::Two))?;
        let took = began.elapsed();
        std::thread::sleep(Duration::from_millis(300));
        let report = pinger.stop()?;
        ensure!(report.lost() == 0, "{:?}", report.outages);
        println!(
            "{program:?}: MED lowered, egress moved after {} ms, 0 of {} lost",
            took.as_millis(),
            report.sent
        );
        Ok(())
    })
}

#[test]
fn the_hundredth_prefix_is_taken_and_the_next_ends_the_session_with_6_1() -> Result<()> {
    for_each_program(|rig, program| {
        let mut bgp = BgpWorld::prepare(&rig.topology, program, |_, settings| settings)?;
        bgp.advertise(&prefixes(100))?;
        bgp.world.gateway.start()?;
        bgp.gateway().wait_all_up(BGP_UP)?;
        let all = || bgp.router(Side::One).learned().len() == 100;
        wait::until(SOON, "100 prefixes at AWS", all).with_context(|| bgp.picture(Side::One))?;
        // By default the file is refused before AWS would refuse the session.
        bgp.advertise(&prefixes(101))?;
        let check =
            bgp.gateway().cli(&["check", "--config", &bgp.gateway().config().display().to_string()])?;
        ensure!(check.status.code() == Some(2), "101 prefixes are an error without a higher max_advertised");
        bgp.advertise(&prefixes(101))?;
        bgp.gateway().edit("[connection.bgp]", "[connection.bgp]\nmax_advertised = 1000")?;
        let reload = bgp.gateway().cli(&["reload"])?;
        ensure!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        if program == Program::Frr {
            // It looks at its limit before it counts the prefix in hand: the next UPDATE is the one too many.
            wait::until(SOON, "101 prefixes at AWS", || bgp.router(Side::One).learned().len() == 101)?;
            bgp.router(Side::One).refresh()?;
        }
        let text = bgp.wait_event("BGP-NOTIFICATION", "6/1", SOON)?;
        ensure!(text.contains("100 on a virtual private gateway"), "{text}");
        ensure!(bgp.session(Side::One)?["state"] != "Established");
        println!("{program:?}: {text}");
        Ok(())
    })
}

#[test]
fn more_prefixes_than_we_take_end_the_session_with_6_1() -> Result<()> {
    for_each_program(|rig, program| {
        let mut bgp = BgpWorld::prepare(&rig.topology, program, |_, settings| settings)?;
        bgp.accept_any()?;
        bgp.gateway().edit("[connection.bgp]", "[connection.bgp]\nmax_accepted = 20")?;
        bgp.start()?;
        bgp.routers[0].announce(prefixes(30))?;
        let text = bgp.wait_event("BGP-NOTIFICATION", "we sent NOTIFICATION 6/1", SOON)?;
        ensure!(text.contains("max"), "{text}");
        ensure!(bgp.gateway().stage(Side::Two) == "up", "the other tunnel is none the worse");
        Ok(())
    })
}

#[test]
fn a_silent_neighbour_is_noticed_when_the_hold_time_is_over() -> Result<()> {
    for_each_program(|rig, program| {
        let mut bgp =
            BgpWorld::prepare(&rig.topology, program, |_, settings| Settings { hold: 3, ..settings })?;
        bgp.start()?;
        bgp.wait_route(VPC, true)?;
        bgp.router(Side::One).freeze(true);
        let text = bgp.wait_event("BGP-NOTIFICATION", "4/0", SOON * 2)?;
        bgp.gateway().wait_stage(Side::One, "bgp", SOON)?;
        ensure!(bgp.gateway().is_egress(Side::Two), "traffic has moved");
        bgp.router(Side::One).freeze(false);
        let back = bgp.gateway().wait_stage(Side::One, "up", BGP_UP * 3)?;
        println!("{program:?}: {text}; up again {:.1} s after it spoke again", back.as_secs_f64());
        Ok(())
    })
}

#[test]
fn a_wrong_as_number_is_named_with_both_sides_to_compare() -> Result<()> {
    for_each_program(|rig, program| {
        let bgp = BgpWorld::prepare(&rig.topology, program, |_, settings| settings)?;
        bgp.gateway().edit("local_asn = 65000", "local_asn = 65001")?;
        let mut bgp = bgp;
        bgp.world.gateway.start()?;
        let text = bgp.wait_event("BGP-NOTIFICATION", "2/2", BGP_UP)?;
        ensure!(text.contains("customer gateway's BGP ASN"), "{text}");
        ensure!(bgp.gateway().stage(Side::One) == "bgp", "the tunnel itself is up");
        println!("{program:?}: {text}");
        Ok(())
    })
}

#[test]
fn ipv6_routes_go_over_a_session_on_the_126() -> Result<()> {
    for program in [Program::Bird, Program::Frr, Program::GoBgp] {
        let Some(rig) = Rig::new() else { return Ok(()) };
        let families = Families { outside_ipv6: false, inside_ipv6: true };
        let mut bgp = BgpWorld::prepare_in(&rig.topology, program, families, |_, settings| settings)?;
        bgp.world.gateway.start()?;
        bgp.gateway().wait_all_up(BGP_UP).with_context(|| bgp.picture(Side::One))?;
        bgp.wait_route(VPC6, true)?;
        let lan: IpNet = LAN6.parse()?;
        wait::until(SOON, "our prefix at AWS", || bgp.router(Side::One).learned() == [lan])
            .with_context(|| bgp.picture(Side::One))?;
        if program.fills_kernel() {
            traffic::wait_for_echo(&rig.topology.lan, VPC_HOST6, SLOW)
                .with_context(|| bgp.picture(Side::One))?;
        }
        bgp.stop()?;
    }
    Ok(())
}

#[test]
fn five_thousand_prefixes_are_in_the_kernel_within_a_second_of_end_of_rib() -> Result<()> {
    for_each_program(|rig, program| {
        let count = 5_000;
        let mut bgp = BgpWorld::prepare(&rig.topology, program, |_, settings| settings)?;
        bgp.accept_any()?;
        for router in &mut bgp.routers {
            router.announce(prefixes(count))?;
        }
        let (took, after, behind) = bgp.fill(count as usize)?;
        // FRR sends no End-of-RIB without graceful restart: then it is counted from Established.
        let (event, limit) =
            if program == Program::Frr { ("Established", SLOW) } else { ("End-of-RIB", FILLED) };
        println!(
            "{program:?}: 5,000 prefixes in the kernel {} ms after {event}, {:.2} s after the daemon's start",
            after.as_millis(),
            took.as_secs_f64()
        );
        ensure!(after <= limit, "{after:?}");
        println!("{program:?}: the kernel was {} ms behind what had been received", behind.as_millis());
        ensure!(behind <= FILLED, "{behind:?}");
        // The other tunnel takes them all over when this one ends.
        let side = bgp.world.egress()?;
        let began = Instant::now();
        bgp.router(side).cease()?;
        wait::until(SOON, "all routes on the other tunnel", || {
            let interface = if side == Side::One { "cgw1" } else { "cgw0" };
            bgp.gateway().owned_routes().is_ok_and(|all| all.matches(interface).count() == count as usize)
        })?;
        println!("{program:?}: moved to the other tunnel within {} ms of Cease", began.elapsed().as_millis());
        bgp.stop()
    })
}

/// A speaker that no daemon would be: two good routes, then one of them again with an ORIGIN of two octets.
const BAD_SPEAKER: &str = r#"
import socket, struct, sys, time
local = sys.argv[1]
def message(kind, body): return b"\xff" * 16 + struct.pack(">HB", 19 + len(body), kind) + body
def attribute(flags, kind, value): return bytes([flags, kind, len(value)]) + value
def update(origin, prefixes):
    path = b"\x02\x01" + struct.pack(">I", 64512)
    attributes = attribute(0x40, 1, origin) + attribute(0x40, 2, path)
    attributes += attribute(0x40, 3, socket.inet_aton(local))
    return message(2, b"\0\0" + struct.pack(">H", len(attributes)) + attributes + prefixes)
capabilities = b"\x01\x04\x00\x01\x00\x01\x41\x04" + struct.pack(">I", 64512)
options = bytes([2, len(capabilities)]) + capabilities
hello = struct.pack(">BHH4sB", 4, 64512, 30, socket.inet_aton("10.255.0.9"), len(options)) + options
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((local, 179))
listener.listen()
stream, _ = listener.accept()
stream.sendall(message(1, hello))
stream.recv(4096)
stream.sendall(message(4, b"") + update(b"\0", b"\x10\xac\x1f\x12\xac\x1f\x40"))
time.sleep(2)
stream.sendall(update(b"\0\0", b"\x12\xac\x1f\x40"))
while True:
    stream.sendall(message(4, b""))
    time.sleep(5)
"#;

#[test]
fn a_malformed_update_withdraws_its_prefixes_and_the_session_stays() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let mut bgp = BgpWorld::prepare(&rig.topology, Program::Bird, |_, settings| settings)?;
    bgp.routers[0].kill();
    let mut speaker = rig.topology.aws(Side::One).command("python3");
    let local = Side::One.inside().addr().to_string();
    let mut speaker = speaker.args(["-c", BAD_SPEAKER, &local]).spawn()?;
    let mut watched = || -> Result<()> {
        bgp.world.gateway.start()?;
        bgp.gateway().wait_all_up(BGP_UP)?;
        bgp.wait_route("172.31.64.0/18", true)?;
        bgp.wait_route("172.31.64.0/18", false)?;
        let text = bgp.wait_event("BGP-MALFORMED", "RFC 7606", SOON)?;
        let session = bgp.full(Side::One)?;
        ensure!(session["session"]["state"] == "Established", "{session}");
        ensure!(session["session"]["received"] == 1, "the other prefix is still there: {session}");
        ensure!(session["counters"]["treated_as_withdraw"] == 1, "{session}");
        println!("{text}");
        Ok(())
    };
    let watched = watched();
    speaker.kill()?;
    speaker.wait()?;
    watched
}

#[test]
fn a_preference_set_by_hand_is_taken_over_by_reload_and_no_session_ends() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let bgp = BgpWorld::up(&rig.topology, Program::Bird)?;
    std::thread::sleep(SETTLED);
    let side = bgp.world.egress()?.other();
    let name = format!("name = \"{}\"", side.tunnel());
    bgp.gateway().edit(&name, &format!("{name}\nlocal_preference = 200\nbgp_med = 50\nbgp_prepend = 1"))?;
    let reload = bgp.gateway().cli(&["reload"])?;
    ensure!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    wait::until(SOON, "the preferred tunnel to carry the traffic", || bgp.gateway().is_egress(side))?;
    let table = || bgp.router(side).control("show route protocol cgw all").unwrap_or_default();
    let told = || table().contains("BGP.med: 50") && table().contains("65000 65000");
    wait::until(SOON, "MED and path at AWS", told).with_context(table)?;
    for side in Side::BOTH {
        let session = bgp.full(side)?;
        ensure!(session["counters"]["established"] == 1, "no session ended: {session}");
    }
    let warnings = bgp.full(side)?["warnings"].clone();
    ensure!(warnings.as_array().is_some_and(|all| all.len() == 2), "{warnings}");
    Ok(())
}
