//! strongSwan on both sides with ESP in user space (kernel-libipsec): AES-256-GCM, always encapsulated in UDP.
//!
//! Its interface has an MTU of 1400, and it drops what is longer whatever the interface is set to.

use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;

use super::{Kept, Running};
use crate::bench::rig::{AWS, GW, LAN, Rig, Role, VPC};
use crate::netns;
use crate::strongswan::{Settings, StrongSwan};
use crate::topology::Side;

const PROGRAM: &str = "charon-systemd";

/// Starts both and lets the near side begin.
pub(super) fn start(rig: &Rig) -> Result<Running<'_>> {
    let mut running = Running::default();
    let mut near = None;
    for (role, local, remote, inside, beyond) in
        [(Role::Aws, AWS, GW, "169.254.10.1/30", LAN), (Role::Gw, GW, AWS, "169.254.10.2/30", VPC)]
    {
        let settings = Settings {
            local,
            remote,
            local_id: local.to_string(),
            remote_id: remote.to_string(),
            inside: inside.parse::<IpNet>()?,
            ike_proposals: "aes256gcm16-prfsha384-ecp384".to_owned(),
            esp_proposals: "aes256gcm16-ecp384".to_owned(),
            routes: vec![beyond.to_owned()],
            ..Settings::aws(Side::One)
        };
        let host = rig.host(role);
        let started =
            StrongSwan::start_in(host, rig.scratch().join(format!("strongswan-{role:?}")), settings)?;
        running.interface(role, "ipsec0");
        running.pids.push((role, pid_in(host.name())?));
        running.kept.extend(near.replace(started).map(|far| Kept::StrongSwan { _daemon: Box::new(far) }));
    }
    let near = near.context("nothing was started")?;
    near.initiate()?;
    running.kept.push(Kept::StrongSwan { _daemon: Box::new(near) });
    Ok(running)
}

/// The daemon's process in a namespace.
fn pid_in(namespace: &str) -> Result<u32> {
    let pids = netns::run(Command::new("ip").args(["netns", "pids", namespace]))?;
    let is_daemon = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == PROGRAM)
    };
    let mut daemons = pids.lines().filter_map(|line| line.trim().parse().ok()).filter(is_daemon);
    daemons.next().context("charon-systemd does not run")
}
