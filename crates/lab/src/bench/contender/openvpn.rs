//! OpenVPN, point to point with certificates, its data channel in user space.

use std::process::Command;

use anyhow::{Context, Result};

use super::{PEER_MTU, Running};
use crate::bench::rig::{AWS, GW, LAN, Rig, Role, VPC};
use crate::netns;

/// Starts a client on the near side and a server on the far one.
pub(super) fn start(rig: &Rig) -> Result<Running<'_>> {
    let fingerprints = [certificate(rig, "gw")?, certificate(rig, "aws")?];
    let [gw, aws] = &fingerprints;
    let mut running = Running::default();
    for (role, name, mode, inside, local, remote, beyond, fingerprint) in [
        (Role::Aws, "aws", "tls-server", "10.98.0.2 10.98.0.1", AWS, GW, LAN, gw),
        (Role::Gw, "gw", "tls-client", "10.98.0.1 10.98.0.2", GW, AWS, VPC, aws),
    ] {
        let path = |suffix: &str| rig.scratch().join(format!("{name}{suffix}")).display().to_string();
        let diffie_hellman = if role == Role::Aws { "dh none\n" } else { "" };
        let config = format!(
            "{mode}\n{diffie_hellman}dev tun0\ndev-type tun\ndisable-dco\nproto udp\nlocal {local}\nremote \
             {remote}\nport 1194\nifconfig {inside}\ncert {}\nkey {}\npeer-fingerprint {fingerprint}\ndata-ciphers \
             AES-256-GCM\ntun-mtu {PEER_MTU}\nmssfix 0\nfast-io\nverb 1\n",
            path(".crt"),
            path(".pem"),
        );
        std::fs::write(path(".conf"), config)?;
        running.add(rig, role, &["openvpn", "--config", &path(".conf")].map(str::to_owned), &[])?;
        running.interface(role, "tun0");
        running.wait_for_interface(rig, role, "tun0")?;
        running.route(rig, role, "tun0", beyond)?;
    }
    Ok(running)
}

/// Makes a self-signed certificate; its fingerprint.
fn certificate(rig: &Rig, name: &str) -> Result<String> {
    let path = |suffix: &str| rig.scratch().join(format!("{name}{suffix}")).display().to_string();
    let request = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -nodes -days 30 -subj /CN={name} -keyout {} -out {}",
        path(".pem"),
        path(".crt")
    );
    netns::run(Command::new("openssl").args(request.split_whitespace()))?;
    let show = format!("x509 -noout -fingerprint -sha256 -in {}", path(".crt"));
    let line = netns::run(Command::new("openssl").args(show.split_whitespace()))?;
    Ok(line.trim().split_once('=').context("openssl printed no fingerprint")?.1.to_owned())
}
