//! A reload by difference: what did not change does not lose one packet of two hundred a second.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::strongswan::Settings;
use lab::topology::{GW_OUTSIDE, LAN, Side, VPC, VPC_HOST};
use lab::traffic::Pinger;
use lab::wait;

use crate::rig::Rig;
use crate::world::{UP, World};

/// A static connection of one tunnel.
fn connection(id: &str, side: Side, vpc: &str, extra: &str) -> String {
    format!(
        "[[connection]]\nid = \"{id}\"\nrouting = \"static\"\nlan = [\"{LAN}\"]\nvpc = [\"{vpc}\"]\n\
         [[connection.tunnel]]\nname = \"tunnel1\"\noutside = \"{}\"\ncustomer_gateway = \"{GW_OUTSIDE}\"\ninside = \"{}/30\"\n\
         psk = \"{}\"\n{extra}\n",
        side.outside(),
        side.inside_ours(),
        side.psk(),
    )
}

struct Reloads<'w, 't> {
    world: &'w World<'t>,
}

impl Reloads<'_, '_> {
    /// Writes the file and reloads; what the command says.
    fn run(&self, text: &str, arguments: &[&str]) -> Result<String> {
        std::fs::write(self.world.gateway.config(), text)?;
        // Each with a hundred datagrams of its own.
        std::thread::sleep(Duration::from_millis(500));
        let output = self.world.gateway.cli(&[&["reload"], arguments].concat())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        Ok(said)
    }

    /// Which SA a tunnel runs on, while it has one.
    fn sa(&self, side: Side) -> Option<String> {
        let tunnel = self.world.gateway.tunnel(side).ok()?;
        Some(tunnel.pointer("/ike/spi_i")?.as_str()?.to_owned())
    }

    fn up(&self, side: Side) -> Result<()> {
        self.world.gateway.wait_stage(side, "up", UP * 2).map(drop)
    }
}

#[test]
fn a_reload_that_adds_changes_and_removes_leaves_the_others_without_one_lost_packet() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let steady = connection("vpn-steady", Side::One, VPC, "");
    let other = |extra: &str| connection("vpn-other", Side::Two, "172.30.0.0/16", extra);
    std::fs::write(world.gateway.config(), &steady)?;
    world.gateway.start()?;
    world.gateway.wait_stage(Side::One, "up", UP)?;
    lab::traffic::wait_for_echo(&lab.lan, VPC_HOST, Duration::from_secs(2))?;
    let world = world;
    let reloads = Reloads { world: &world };
    let before = reloads.sa(Side::One).context("the steady tunnel's SA")?;
    let pinger = Pinger::start(lab, &lab.lan, VPC_HOST, Duration::from_millis(5))?;

    // A dry run only says what would be done.
    let said = reloads.run(&format!("{}{steady}", other("")), &["--dry-run"])?;
    ensure!(
        said.contains("vpn-other/tunnel1   added") && said.contains("vpn-steady/tunnel1  untouched"),
        "{said}"
    );
    ensure!(said.contains("nothing was changed"), "{said}");
    ensure!(world.gateway.tunnel(Side::Two).is_err(), "a dry run changes nothing");

    // Added, in front of the other one in the file.
    let said = reloads.run(&format!("{}{steady}", other("")), &[])?;
    ensure!(said.contains("1 tunnels untouched, 0 changed, 1 added, 0 removed"), "{said}");
    reloads.up(Side::Two)?;
    ensure!(world.gateway.tunnel(Side::One)?["interface"] == "cgw0", "it keeps its interface");
    ensure!(world.gateway.owned_routes()?.contains("172.30.0.0/16"));

    // Changed: its keys are negotiated anew, and the plan says why.
    let old = reloads.sa(Side::Two).context("the other tunnel's SA")?;
    let changed = format!("{}{steady}", other("dpd_timeout = 60\nclear_df = false"));
    let said = reloads.run(&changed, &[])?;
    ensure!(said.contains("negotiated anew, because of dpd_timeout, clear_df"), "{said}");
    wait::until(UP * 2, "a new SA", || reloads.sa(Side::Two).is_some_and(|sa| sa != old))?;
    reloads.up(Side::Two)?;
    world.wait_for_one_pair(Side::Two)?;

    // What lies around a tunnel changes nothing of it.
    let around = changed.replace("172.30.0.0/16", "172.29.0.0/16");
    let old = reloads.sa(Side::Two);
    let said = reloads.run(&around, &[])?;
    ensure!(said.contains("keeps its SAs; changed around it: routing, vpc or bgp"), "{said}");
    ensure!(reloads.sa(Side::Two) == old, "the SA stays");
    wait::until(UP, "the changed route", || {
        world
            .gateway
            .owned_routes()
            .is_ok_and(|routes| routes.contains("172.29.0.0/16") && !routes.contains("172.30.0.0/16"))
    })?;

    // Broken files change nothing and say where and why.
    for (broken, part) in [
        (around.replace("outside =", "outsid ="), "did you mean `outside`"),
        (around.replace("psk = \"lab_Psk.Tunnel2\"", "psk_file = \"/no/such/file\""), "/no/such/file"),
        (String::new(), "no connection is configured"),
    ] {
        std::fs::write(world.gateway.config(), broken)?;
        let output = world.gateway.cli(&["reload"])?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2) && complaint.contains(part), "{part} not in: {complaint}");
        ensure!(reloads.sa(Side::Two) == old, "the running configuration stays");
    }
    let events = world.gateway.events()?;
    ensure!(
        events.iter().filter(|event| event["code"] == "CONFIG-REJECTED").count() == 3,
        "each is an event"
    );

    // Removed: the peer is told, and nothing of it is left here.
    let said = reloads.run(&steady, &[])?;
    ensure!(said.contains("vpn-other/tunnel1   removed"), "{said}");
    wait::until(UP, "the peer to hear of it", || world.aws[1].sas().is_ok_and(|sas| sas.is_empty()))?;
    ensure!(world.gateway.tunnel(Side::Two).is_err());
    ensure!(!world.gateway.owned_routes()?.contains("172.29."), "its routes are gone");
    ensure!(!lab.gw.ip("link show")?.contains("cgw1"), "its interface is gone");

    let report = pinger.stop()?;
    ensure!(reloads.sa(Side::One) == Some(before), "the steady tunnel kept its SA");
    println!(
        "6 reloads under {} datagrams at 200/s: {} lost, {} reordered, rtt max {:.1} ms",
        report.sent,
        report.lost(),
        report.reordered,
        report.rtt_max_ms
    );
    ensure!(report.sent > 500 && report.lost() == 0 && report.reordered == 0, "lost: {:?}", report.outages);
    Ok(())
}

#[test]
fn traffic_leaves_a_tunnel_before_it_is_negotiated_anew() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let world = World::up(&rig.topology)?;
    let egress = world.egress()?;
    let reloads = Reloads { world: &world };
    let text = std::fs::read_to_string(world.gateway.config())?;
    let header = format!("name = \"{}\"", egress.tunnel());
    ensure!(text.contains(&header), "{text}");
    let old = reloads.sa(egress);
    let kept = reloads.sa(egress.other());
    let pinger = Pinger::start(world.lab, &world.lab.lan, VPC_HOST, Duration::from_millis(5))?;
    std::thread::sleep(Duration::from_millis(300));
    let (before, after) = text.split_once(&header).context("the tunnel stands in the file")?;
    let after = after.replacen("dpd_timeout = 40", "dpd_timeout = 60", 1);
    reloads.run(&format!("{before}{header}{after}"), &[])?;
    wait::until(UP * 2, "a new SA", || reloads.sa(egress).is_some_and(|sa| Some(sa) != old))?;
    reloads.up(egress)?;
    ensure!(reloads.sa(egress.other()) == kept, "the other tunnel keeps its SA");
    let report = pinger.stop()?;
    println!("the egress was renegotiated: {} of {} lost, {:?}", report.lost(), report.sent, report.outages);
    // What was on its way back through it at that moment; without stepping aside it would be a second's worth.
    ensure!(report.lost() <= 10, "lost: {:?}", report.outages);
    Ok(())
}
