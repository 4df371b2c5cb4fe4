//! GoBGP. It has no hand in the kernel: a test that needs the way back gives strongSwan a static route.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use ipnet::IpNet;
use serde_json::Value;

use super::{Router, Settings, command, words};

pub(super) fn commands(directory: &Path, settings: &Settings) -> Result<Vec<Vec<String>>> {
    let conf = directory.join("gobgpd.toml").display().to_string();
    std::fs::write(&conf, configuration(settings))?;
    // The control port is this namespace's own.
    Ok(vec![
        words(&["ip", "link", "set", "lo", "up"]),
        words(&["gobgpd", "-f", &conf, "-t", "toml", "--api-hosts", "127.0.0.1:50051", "--log-plain"]),
    ])
}

fn configuration(settings: &Settings) -> String {
    let Settings { local_as, peer_as, local, peer, router_id, hold, max_prefix, passive, .. } = settings;
    let family = family(settings);
    let keepalive = hold / 3;
    format!(
        "[global.config]\nas = {local_as}\nrouter-id = \"{router_id}\"\nlocal-address-list = [\"{local}\"]\n\
         [[neighbors]]\n[neighbors.config]\nneighbor-address = \"{peer}\"\npeer-as = {peer_as}\n\
         [neighbors.transport.config]\nlocal-address = \"{local}\"\npassive-mode = {passive}\n\
         [neighbors.timers.config]\nhold-time = {hold}\nkeepalive-interval = {keepalive}\nconnect-retry = 2\n\
         idle-hold-time-after-reset = 2\n\
         [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}-unicast\"\n\
         [neighbors.afi-safis.prefix-limit.config]\nmax-prefixes = {max_prefix}\n"
    )
}

fn family(settings: &Settings) -> &'static str {
    if settings.ipv6() { "ipv6" } else { "ipv4" }
}

pub(super) fn control(question: &str) -> Command {
    let question = if question.is_empty() { "global" } else { question };
    let mut command = command("gobgp", &[]);
    command.args(question.split_whitespace());
    command
}

/// GoBGP replaces a route's attributes when it is added again.
pub(super) fn announce(router: &Router<'_>, old: &[IpNet], new: &Settings) -> Result<()> {
    let family = family(new);
    for prefix in &new.announce {
        let med = new.med.map_or_else(String::new, |med| format!(" med {med}"));
        router.control(&format!("global rib add -a {family} {prefix} origin igp{med}"))?;
    }
    for prefix in old.iter().filter(|prefix| !new.announce.contains(prefix)) {
        router.control(&format!("global rib del -a {family} {prefix}"))?;
    }
    Ok(())
}

pub(super) fn established(router: &Router<'_>) -> bool {
    // Session states are numbers in its JSON; the text has the word.
    router
        .control(&format!("neighbor {}", router.settings.peer))
        .is_ok_and(|text| text.to_lowercase().contains("bgp state = established"))
}

pub(super) fn learned(router: &Router<'_>) -> Result<Vec<IpNet>> {
    let question = format!("neighbor {} adj-in -a {} -j", router.settings.peer, family(&router.settings));
    let all: Value = serde_json::from_str(&router.control(&question)?)?;
    let routes = all.as_object().cloned().unwrap_or_default();
    Ok(routes.keys().filter_map(|prefix| prefix.parse().ok()).collect())
}
