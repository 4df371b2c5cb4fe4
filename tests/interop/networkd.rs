//! systemd-networkd beside us: without its drop-in it deletes what it did not make, with it it keeps away.
//!
//! The real program with a message bus of its own, in a mount namespace where its directories are empty.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::netns;
use lab::process::{Process, Spawn};
use lab::topology::{Topology, VPC};
use lab::wait;

use crate::rig::Rig;
use crate::world::{BACK, World};

/// What was taken away must be back this soon.
const REPAIRED: Duration = Duration::from_secs(1);
/// What a careless administrator writes: every interface is networkd's.
const EVERYTHING: &str = "[Match]\nName=*\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n";
/// What we ship for it.
const UNMANAGED: &str = include_str!("../../systemd/network/10-cgwd.network");
const FOREIGN: &str = include_str!("../../systemd/networkd.conf.d/10-cgwd.conf");

/// Asks the bus whether somebody has networkd's name.
const NAMED: [&str; 9] = [
    "busctl",
    "--system",
    "call",
    "org.freedesktop.DBus",
    "/org/freedesktop/DBus",
    "org.freedesktop.DBus",
    "NameHasOwner",
    "s",
    "org.freedesktop.network1",
];
const PROGRAM: &str = "/lib/systemd/systemd-networkd";

struct Networkd {
    process: Process,
}

impl Networkd {
    /// Starts it over the gateway's interfaces with these `.network` files and drop-ins.
    fn start(lab: &Topology, networks: &[(&str, &str)], drop_ins: &[(&str, &str)]) -> Result<Self> {
        let directory = lab.scratch().join("networkd");
        for (place, files) in [("network", networks), ("conf", drop_ins)] {
            let place = directory.join(place);
            let _ = std::fs::remove_dir_all(&place);
            std::fs::create_dir_all(&place)?;
            for (name, text) in files {
                std::fs::write(place.join(name), text)?;
            }
        }
        let script = format!(
            "set -e
             mkdir -p /run/systemd /run/dbus /etc/systemd/network
             mount -t tmpfs -o mode=755 none /run/systemd
             mount -t tmpfs -o mode=755 none /run/dbus
             mount -t tmpfs -o mode=755 none /etc/systemd/network
             mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp \
                 /run/systemd/networkd.conf.d
             chown -R systemd-network: /run/systemd/netif
             cp {0}/network/* /etc/systemd/network/
             cp {0}/conf/* /run/systemd/networkd.conf.d/ 2>/dev/null || true
             # With a writable /sys it would wait for udev.
             mount -o remount,bind,ro /sys
             dbus-daemon --system --nofork --nopidfile &
             exec {PROGRAM}",
            directory.display()
        );
        let process = Process::spawn(&Spawn {
            namespace: &lab.gw,
            command: ["unshare", "-m", "bash", "-c", &script].map(str::to_owned).to_vec(),
            env: vec![
                ("SYSTEMD_LOG_TARGET".to_owned(), "console".to_owned()),
                ("SYSTEMD_LOG_LEVEL".to_owned(), "debug".to_owned()),
            ],
            log: directory.join("log"),
            pipes: false,
        })?;
        let this = Self { process };
        // Before it has its name on the bus, the bus would try to start another one.
        let ready = || {
            this.enter(&NAMED).is_ok_and(|text| text.trim() == "b true")
                && this.ctl(&["list"]).is_ok_and(|text| text.contains("cgw0"))
        };
        wait::until(BACK, "networkd to answer", ready).with_context(|| this.log())?;
        Ok(this)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap_or_default()
    }

    /// `networkctl` where this networkd lives.
    fn ctl(&self, arguments: &[&str]) -> Result<String> {
        self.enter(&[&["networkctl", "--no-pager", "--no-legend"], arguments].concat())
    }

    fn enter(&self, command: &[&str]) -> Result<String> {
        let pid = self.process.pid().to_string();
        netns::run(std::process::Command::new("nsenter").args(["-t", &pid, "-m", "-n"]).args(command))
    }
}

fn count(world: &World<'_>, code: &str) -> Result<usize> {
    Ok(world.gateway.events()?.iter().filter(|event| event["code"] == code).count())
}

#[test]
fn what_networkd_deletes_is_back_within_a_second_and_its_drop_in_keeps_it_away() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let world = World::up(lab)?;
    let routes = || world.gateway.owned_routes().is_ok_and(|routes| routes.contains(VPC));
    let address = || lab.gw.ip("addr show cgw0").is_ok_and(|text| text.contains("169.254.10.2/30"));

    let mut careless = Networkd::start(lab, &[("50-everything.network", EVERYTHING)], &[])?;
    for interface in ["cgw0", "cgw1"] {
        let before = count(&world, "ROUTE-REPAIRED")? + count(&world, "HOST-INSIDE-ADDRESS")?;
        let began = Instant::now();
        careless.ctl(&["reconfigure", interface])?;
        wait::until(BACK, "the event of a repair", || {
            let both = count(&world, "ROUTE-REPAIRED").ok().zip(count(&world, "HOST-INSIDE-ADDRESS").ok());
            both.is_some_and(|(routes, addresses)| routes + addresses > before)
        })
        .with_context(|| careless.log())?;
        wait::until(REPAIRED, "route and inside address to be back", || routes() && address())?;
        println!("networkd reconfigured {interface}: all back within {} ms", began.elapsed().as_millis());
    }
    ensure!(careless.log().contains("Removing foreign route"), "it did delete routes:\n{}", careless.log());
    ensure!(count(&world, "ROUTE-REPAIRED")? > 0, "{:#?}", world.gateway.events());
    careless.process.stop(BACK);

    // With what we ship, whatever else its files say.
    let files = [("10-cgwd.network", UNMANAGED), ("50-everything.network", EVERYTHING)];
    let mut polite = Networkd::start(lab, &files, &[("10-cgwd.conf", FOREIGN)])?;
    let before = count(&world, "ROUTE-REPAIRED")?;
    for interface in ["cgw0", "cgw1", "wan0", "lan0"] {
        // It refuses the ones that are not its own.
        let _ = polite.ctl(&["reconfigure", interface]);
        std::thread::sleep(REPAIRED / 4);
        ensure!(routes() && address(), "networkd keeps away: {}", polite.log());
    }
    std::thread::sleep(REPAIRED);
    ensure!(count(&world, "ROUTE-REPAIRED")? == before, "nothing had to be repaired: {}", polite.log());
    polite.process.stop(BACK);
    Ok(())
}
