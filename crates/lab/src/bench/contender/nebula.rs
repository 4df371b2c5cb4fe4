//! nebula: an overlay with certificates; the networks behind the gateways are its `unsafe_routes`.

use std::process::Command;

use anyhow::Result;

use super::{PEER_MTU, Running};
use crate::bench::rig::{AWS, GW, LAN, Rig, Role, VPC};
use crate::netns;

/// Starts one on each side, the far one as the lighthouse.
pub(super) fn start(rig: &Rig) -> Result<Running<'_>> {
    let folder = rig.scratch();
    let certificate =
        |arguments: &[&str]| netns::run(Command::new("nebula-cert").current_dir(folder).args(arguments));
    certificate(&["ca", "-name", "bench"])?;
    let mut running = Running::default();
    for (role, name, inside, behind, beyond, peer) in
        [(Role::Aws, "aws", 2, VPC, LAN, GW), (Role::Gw, "gw", 1, LAN, VPC, AWS)]
    {
        let inside_net = format!("10.99.0.{inside}/24");
        certificate(&["sign", "-name", name, "-ip", &inside_net, "-subnets", behind])?;
        let other = format!("10.99.0.{}", 3 - inside);
        let lighthouse = if role == Role::Aws {
            "lighthouse: {am_lighthouse: true}".to_owned()
        } else {
            format!("lighthouse: {{am_lighthouse: false, hosts: [\"{other}\"]}}")
        };
        let path = |suffix: &str| folder.join(suffix).display().to_string();
        let config = format!(
            "pki: {{ca: {}, cert: {}, key: {}}}\nstatic_host_map: {{\"{other}\": [\"{peer}:4242\"]}}\n{lighthouse}\n\
             listen: {{host: 0.0.0.0, port: 4242}}\npunchy: {{punch: true}}\ncipher: aes\ntun:\n  dev: nebula1\n  \
             mtu: {PEER_MTU}\n  unsafe_routes:\n    - {{route: {beyond}, via: {other}, mtu: {PEER_MTU}}}\nlogging: \
             {{level: warning, format: text}}\nfirewall:\n  outbound: [{{port: any, proto: any, host: any}}]\n  \
             inbound: [{{port: any, proto: any, host: any}}]\n",
            path("ca.crt"),
            path(&format!("{name}.crt")),
            path(&format!("{name}.key")),
        );
        let file = folder.join(format!("{name}.yml"));
        std::fs::write(&file, config)?;
        let command = ["nebula", "-config", &file.display().to_string()].map(str::to_owned);
        running.add(rig, role, &command, &[])?;
        running.interface(role, "nebula1");
    }
    Ok(running)
}
