//! WireGuard in user space: any program that makes a TUN interface and takes its settings from `wg`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Running;
use crate::bench::rig::{AWS, GW, LAN, Rig, Role, VPC};
use crate::netns;

const PORT: u16 = 51_820;

struct End {
    role: Role,
    interface: String,
    private: String,
    public: String,
}

/// Starts `program ARGUMENTS INTERFACE` on both sides, and sets them up.
pub(super) fn start<'r>(rig: &'r Rig, program: Option<&Path>, arguments: &[&str]) -> Result<Running<'r>> {
    let program = program.context("it is not installed")?;
    let mut running = Running::default();
    // The control socket's name follows from the interface's, and both sides share the file system.
    let end = |role, side: &str| -> Result<End> {
        let private = netns::run(Command::new("wg").arg("genkey"))?.trim().to_owned();
        let file = rig.scratch().join(format!("key-{side}"));
        std::fs::write(&file, &private)?;
        let public = netns::run(Command::new("sh").args(["-c", &format!("wg pubkey < {}", file.display())]))?;
        Ok(End {
            role,
            interface: format!("wg{side}{}", std::process::id() % 10_000),
            private: file.display().to_string(),
            public: public.trim().to_owned(),
        })
    };
    let (gw, aws) = (end(Role::Gw, "g")?, end(Role::Aws, "a")?);
    for (ours, theirs, remote, net) in [(&gw, &aws, AWS, VPC), (&aws, &gw, GW, LAN)] {
        let mut command = vec![program.display().to_string()];
        command.extend(arguments.iter().map(|word| (*word).to_owned()));
        command.push(ours.interface.clone());
        running.add(rig, ours.role, &command, &[("LOG_LEVEL", "error"), ("WG_LOG_LEVEL", "error")])?;
        running.interface(ours.role, &ours.interface);
        running.wait_for_interface(rig, ours.role, &ours.interface)?;
        let host = rig.host(ours.role);
        let set = format!(
            "set {} private-key {} listen-port {PORT} peer {} endpoint {remote}:{PORT} allowed-ips 0.0.0.0/0",
            ours.interface, ours.private, theirs.public
        );
        netns::run(host.command("wg").args(set.split_whitespace()))?;
        host.ip(&format!("link set {} mtu 1420 up", ours.interface))?;
        host.ip(&format!("route add {net} dev {}", ours.interface))?;
    }
    Ok(running)
}
