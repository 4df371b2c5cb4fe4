//! Stage underlay: the way to AWS's outside addresses, below the tunnels.

use std::net::IpAddr;

use super::facts::{Host, Line};
use super::known::{Known, daemon};
use super::{Facts, Finding, Severity, Stage, history};
use crate::catalog;

pub(super) const CODES: &[&Known] =
    &[&OURS, &LOOP, &NO_ROUTE, &SEND_FAILED, &ADDRESS, &PRIVATE, &MTU, &NAT_TIMEOUT, &NAT, &CGNAT];

/// Outer IPv4 header, ESP header, IV, trailer and ICV of the smallest form of ESP.
const ESP_LEAST: u32 = 20 + 8 + 8 + 2 + 16;

pub(super) const OURS: Known = Known {
    code: "UND-OUTSIDE-IS-OURS",
    stage: Stage::Underlay,
    severity: Severity::Error,
    symptoms: &[1],
    title: "AWS's outside address is on this machine",
    symptom: "AWS does not answer on UDP 500.",
    cause: "The outside address of the tunnel was given to an interface here, so packets for AWS never leave.",
    remedy: "Take the address off that interface: only the customer gateway address and the inside address are ours.",
    aws_log: None,
};

pub(super) const LOOP: Known = Known {
    code: "UND-LOOP",
    stage: Stage::Underlay,
    severity: Severity::Error,
    symptoms: &[1],
    title: "The way to AWS's outside address leads into a tunnel",
    symptom: "A tunnel comes up and goes down again at once, for ever.",
    cause: "A route into the tunnels covers the outside address, so the encrypted packets are to be encrypted again.",
    remedy: "Add a route to the outside address over the internet router, or narrow the prefixes that are routed into the tunnels.",
    aws_log: None,
};

pub(super) const NO_ROUTE: Known = Known {
    code: "UND-NO-ROUTE",
    stage: Stage::Underlay,
    severity: Severity::Error,
    symptoms: &[1],
    title: "This machine has no route to AWS's outside address",
    symptom: "AWS does not answer on UDP 500; the log says \"Network is unreachable\".",
    cause: "There is no default route, the link to the internet is down, or a rule refuses the destination.",
    remedy: "Bring the link up and set the default route; check with `ip route get`.",
    aws_log: None,
};

pub(super) const SEND_FAILED: Known = daemon(
    catalog::Code::IkeSendFailed,
    Stage::Underlay,
    &[1],
    "AWS does not answer on UDP 500; nothing leaves this host.",
);

pub(super) const ADDRESS: Known = Known {
    code: "UND-ADDRESS",
    stage: Stage::Underlay,
    severity: Severity::Warning,
    symptoms: &[1],
    title: "This machine sends from another public address than AWS expects",
    symptom: "AWS does not answer on UDP 500, or refuses with AUTHENTICATION_FAILED.",
    cause: "AWS answers only the IP address of the customer gateway resource. A customer gateway cannot be changed at AWS; it is replaced.",
    remedy: "Send from that address (`bind`), or make a new customer gateway with the right address and put it into the connection (aws ec2 modify-vpn-connection --vpn-connection-id ID --customer-gateway-id cgw-…).",
    aws_log: None,
};

pub(super) const MTU: Known = Known {
    code: "UND-MTU",
    stage: Stage::Underlay,
    severity: Severity::Warning,
    symptoms: &[19],
    title: "The tunnel's packets do not fit the way to AWS",
    symptom: "Small packets pass, large ones hang: ssh connects, and `ls` in it does not come back.",
    cause: "The way to AWS takes smaller packets than the configuration says (PPPoE, a provider's own tunnel), and AWS takes no part in path MTU discovery.",
    remedy: "Set `path_mtu` of the tunnel to what the way takes; the interface's MTU and the TCP MSS follow from it.",
    aws_log: None,
};

pub(super) const NAT_TIMEOUT: Known = Known {
    code: "UND-NAT-TIMEOUT",
    stage: Stage::Underlay,
    severity: Severity::Warning,
    symptoms: &[33],
    title: "The tunnel breaks at a regular pace behind a NAT",
    symptom: "A short interruption every so many minutes, always after the same time.",
    cause: "The NAT forgets the UDP mapping, or changes its port or address, at a regular pace (a short UDP time-out, a daily reconnect, a restarted connection-tracking table).",
    remedy: "Raise the UDP time-out of the NAT device for ports 500 and 4500, or give this gateway a public address. Keep-alives are sent every 20 s by themselves.",
    aws_log: Some("DPD timed out after 3 retransmits"),
};

pub(super) const NAT: Known = Known {
    code: "UND-NAT",
    stage: Stage::Underlay,
    severity: Severity::Info,
    symptoms: &[],
    title: "This gateway is behind a NAT",
    symptom: "Nothing: ESP goes in UDP 4500.",
    cause: "It sends from a private address, and AWS knows it by its public one.",
    remedy: "Nothing, as long as the NAT passes UDP 500 and 4500 both ways.",
    aws_log: None,
};

pub(super) const CGNAT: Known = Known {
    code: "UND-CGNAT",
    stage: Stage::Underlay,
    severity: Severity::Info,
    symptoms: &[1, 33],
    title: "This gateway is behind its provider's NAT",
    symptom: "Nothing, until the provider changes the public address; then AWS does not answer any more.",
    cause: "It sends from a shared address (100.64.0.0/10, RFC 6598), which the provider translates, perhaps after a second NAT in between. Many customers share one public address, it changes without notice, and UDP mappings live for a short time.",
    remedy: "Ask the provider for a public address of your own. With one that changes only a connection with certificates and no customer gateway address is dependable.",
    aws_log: None,
};

pub(super) const PRIVATE: Known = Known {
    code: "UND-GATEWAY-PRIVATE",
    stage: Stage::Underlay,
    severity: Severity::Error,
    symptoms: &[1],
    title: "AWS knows this gateway by an address that the internet does not route",
    symptom: "AWS does not answer on UDP 500.",
    cause: "The customer gateway was made with this machine's private address instead of the public one of the NAT before it. AWS drops what comes from any other address.",
    remedy: "Find the public address (such as `curl https://checkip.amazonaws.com`), make a customer gateway with it (aws ec2 create-customer-gateway), put it into the connection (aws ec2 modify-vpn-connection --vpn-connection-id ID --customer-gateway-id cgw-…), and import again.",
    aws_log: None,
};

pub(super) fn examine(facts: &Facts, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    let interfaces: Vec<&str> = lines
        .iter()
        .flat_map(|line| {
            [line.status.map(|(_, t)| t.interface.as_str()), line.config.map(|(_, t)| t.interface.as_str())]
        })
        .flatten()
        .collect();
    for line in lines {
        if let Some(host) = &facts.host {
            route(host, line, &interfaces, findings);
            mtu(host, line, findings);
            address(host, line, findings);
        }
        if let Some((code, text)) = line.failing()
            && code == SEND_FAILED.code
        {
            findings.push(SEND_FAILED.found().at(&line.label).seen(text));
        }
        pace(facts, line, findings);
    }
}

fn route(host: &Host, line: &Line<'_>, interfaces: &[&str], findings: &mut Vec<Finding>) {
    match host.underlay.get(&line.outside) {
        None => {}
        Some(Err(why)) => {
            let finding = NO_ROUTE.found().at(&line.label).seen(why);
            findings.push(finding.first_do(format!("Try `ip route get {}`", line.outside)));
        }
        Some(Ok(found)) if found.local => {
            let seen = format!("{} is an address of this machine", line.outside);
            findings.push(OURS.found().at(&line.label).seen(seen));
        }
        Some(Ok(found)) if interfaces.contains(&found.interface.as_str()) => {
            let seen = format!("the route to {} leads to {}", line.outside, found.interface);
            findings.push(LOOP.found().at(&line.label).seen(seen));
        }
        Some(Ok(_)) => {}
    }
}

fn mtu(host: &Host, line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some(Ok(found)) = host.underlay.get(&line.outside) else { return };
    let Some((_, tunnel)) = line.status.filter(|_| !found.local) else { return };
    let least = if line.outside.is_ipv6() { ESP_LEAST + 20 } else { ESP_LEAST };
    if u32::from(tunnel.mtu) + least > found.mtu {
        let seen = format!(
            "the way to {} over {} takes {} octets, and {} has an MTU of {}",
            line.outside, found.interface, found.mtu, tunnel.interface, tunnel.mtu
        );
        let finding = MTU.found().at(&line.label).seen(seen);
        findings.push(finding.first_do(format!("Set path_mtu = {} for {}", found.mtu, tunnel.name)));
    }
}

/// Private, shared (RFC 6598) or link-local: an address that AWS never sees.
fn is_hidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || v4.is_loopback() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

/// The address that the tunnel sends from, as the daemon chooses it.
fn source(host: &Host, line: &Line<'_>) -> Option<IpAddr> {
    let (_, tunnel) = line.config?;
    if tunnel.bind.is_some() {
        return tunnel.bind;
    }
    if host.addresses.iter().any(|(_, address)| address.addr() == tunnel.customer_gateway) {
        return Some(tunnel.customer_gateway);
    }
    host.underlay.get(&line.outside)?.as_ref().ok()?.source
}

/// The provider's shared addresses (RFC 6598).
const fn is_shared(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 100 && v4.octets()[1] >= 64 && v4.octets()[1] < 128,
        IpAddr::V6(_) => false,
    }
}

fn address(host: &Host, line: &Line<'_>, findings: &mut Vec<Finding>) {
    let down = line.stage() == Some(crate::api::Stage::Down) && line.failing().is_some();
    if let Some((_, tunnel)) = line.config.filter(|_| down)
        && is_hidden(tunnel.customer_gateway)
        && !is_hidden(line.outside)
    {
        let seen = format!("customer_gateway is {}, {} is public", tunnel.customer_gateway, line.outside);
        findings.push(PRIVATE.found().at(&line.label).seen(seen));
        return;
    }
    let (Some((_, tunnel)), Some(source)) = (line.config, source(host, line)) else { return };
    if tunnel.known_gateway().is_none_or(|known| known == source) || line.stage().is_none() {
        return;
    }
    let seen = format!("it sends from {source}, AWS knows it as {}", tunnel.customer_gateway);
    if is_hidden(source) && !is_hidden(tunnel.customer_gateway) {
        let known = if is_shared(source) { &CGNAT } else { &NAT };
        findings.push(known.found().at(&line.label).seen(seen));
    } else if line.stage() == Some(crate::api::Stage::Down) {
        findings.push(ADDRESS.found().at(&line.label).seen(seen));
    }
}

fn pace(facts: &Facts, line: &Line<'_>, findings: &mut Vec<Finding>) {
    let Some((connection, tunnel)) = line.status else { return };
    let Some(host) = &facts.host else { return };
    let hidden = line.config.is_some_and(|(_, config)| {
        source(host, line).is_some_and(|source| is_hidden(source) && source != config.customer_gateway)
    });
    if !hidden {
        return;
    }
    let whose = Some((connection.id.as_str(), tunnel.name.as_str()));
    let ages: Vec<u64> = history::recent(facts, "TUNNEL-DOWN", whose).map(|(_, age)| age).collect();
    if let Some(period) = history::period(&ages, 2) {
        let seen = format!("it went down {} times in the last hour, every {} s", ages.len(), period / 1000);
        findings.push(NAT_TIMEOUT.found().at(&line.label).seen(seen));
    }
}
