//! What was measured: how large a packet passes, and where the way to a host ends.

use model::Encapsulation;

use super::facts::Line;
use super::measure::{End, Mtu, Outside, Path, Refusal};
use super::{Facts, Finding, Known, Severity, Stage, host};
use crate::translate::ike_config::esp_transforms;

pub(super) const CODES: &[&Known] = &[
    &NOT_FORWARDED,
    &TUNNEL_MTU,
    &LOWERED,
    &IN_TUNNEL,
    &NOT_ROUTED,
    &NO_WAY_BACK,
    &REFUSED,
    &BEHIND,
    &FAR_MTU,
    &COMPLETE,
];

/// What to check at AWS, none of which can be seen from here, in the order in which it is usually wrong.
pub(super) const AT_AWS: &str = "Check at AWS, in this order: (1) route table of the subnet: aws ec2 describe-route-tables has our networks with target vgw-… or tgw-… (console: VPC, Route tables, Route propagation; aws ec2 enable-vgw-route-propagation); (2) security group of the instance allows our networks inbound: aws ec2 describe-security-groups; (3) network ACL of the subnet, both directions and the ephemeral ports 1024-65535: aws ec2 describe-network-acls; (4) the instance's own firewall, and whether it runs at all: aws ec2 describe-instance-status; (5) static connection: aws ec2 describe-vpn-connections --query 'VpnConnections[].Routes' lists our networks, else aws ec2 create-vpn-connection-route.";

pub(super) const NOT_FORWARDED: Known = Known {
    code: "PATH-NOT-FORWARDED",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[17],
    title: "This machine would not forward a LAN host's packet to that host",
    symptom: "The gateway itself reaches AWS, hosts on the LAN do not.",
    cause: "The kernel was asked what it would do with such a packet, and it would drop it before any tunnel.",
    remedy: "Turn forwarding on (net.ipv4.ip_forward = 1), and loosen the reverse path filter of the LAN interface (rp_filter = 2).",
    aws_log: None,
};

pub(super) const TUNNEL_MTU: Known = Known {
    code: "TUN-MTU",
    stage: Stage::Tunnel,
    severity: Severity::Warning,
    symptoms: &[19],
    title: "Large packets are lost in the tunnel",
    symptom: "Small packets pass, large ones hang: ssh connects, and `ls` in it does not come back.",
    cause: "Echo requests with Don't Fragment set were sent through the tunnel: small ones come back, large ones do not, and nobody says why (ICMP \"fragmentation needed\" is filtered on the way).",
    remedy: "Set `path_mtu` of the tunnel to what the way takes; the interface's MTU and the TCP MSS follow from it.",
    aws_log: None,
};

pub(super) const LOWERED: Known = Known {
    code: "TUN-MTU-LOWERED",
    stage: Stage::Tunnel,
    severity: Severity::Info,
    symptoms: &[19],
    title: "The way to AWS is narrower than the configuration says, and the tunnel follows it",
    symptom: "Nothing: the interface's MTU was lowered when the kernel learnt it.",
    cause: "A router on the way reported its smaller MTU (PPPoE, a provider's own tunnel).",
    remedy: "Set `path_mtu` of the tunnel, so that it need not be learnt again after each start.",
    aws_log: None,
};

pub(super) const IN_TUNNEL: Known = Known {
    code: "PATH-IN-TUNNEL",
    stage: Stage::Tunnel,
    severity: Severity::Error,
    symptoms: &[16],
    title: "The way ends in the tunnel",
    symptom: "The route leads into a tunnel, and not even AWS's inside address answers.",
    cause: "Packets leave through the tunnel and nothing comes back through it: it is cut, or its other end is gone, and the probes have not noticed yet or cannot.",
    remedy: "See the tunnel's own findings and `cgwd events`; `cgwd reset TUNNEL` makes it anew.",
    aws_log: None,
};

pub(super) const NOT_ROUTED: Known = Known {
    code: "PATH-NOT-ROUTED",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[17],
    title: "Packets to that host do not go into a tunnel",
    symptom: "The way ends before the tunnels, at this gateway.",
    cause: "The kernel has no route into a tunnel for that address: no tunnel can carry traffic, or `vpc` of the connection (with BGP: what AWS announces) does not cover it, or another route is better.",
    remedy: "Look at `cgwd routes` and `ip route get ADDRESS`; add the network to `vpc` of the connection, and with BGP see `cgwd bgp` for what AWS announces.",
    aws_log: None,
};

pub(super) const NO_WAY_BACK: Known = Known {
    code: "PATH-NO-WAY-BACK",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[17, 20],
    title: "AWS has no way back to our network",
    symptom: "AWS's inside address answers this gateway, and nothing answers the LAN.",
    cause: "AWS's inside address answers our inside address, and does not answer our LAN address: its endpoint has no route to our network.",
    remedy: "Static connection: aws ec2 create-vpn-connection-route --vpn-connection-id ID --destination-cidr-block CIDR (console: VPN connection, Static routes). BGP: write the network into `lan` or `advertise`, and see `cgwd bgp` whether it is announced. Transit gateway: aws ec2 create-transit-gateway-route.",
    aws_log: None,
};

pub(super) const REFUSED: Known = Known {
    code: "PATH-REFUSED",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[17],
    title: "A router behind the tunnel refuses the packet",
    symptom: "\"Destination unreachable\" instead of an answer.",
    cause: "A router says that it cannot or may not deliver the packet.",
    remedy: "Look at that router's routes and filters: aws ec2 describe-route-tables for the subnet, and whether the address exists (aws ec2 describe-network-interfaces --filters Name=addresses.private-ip-address,Values=ADDRESS).",
    aws_log: None,
};

pub(super) const BEHIND: Known = Known {
    code: "PATH-BEHIND-AWS",
    stage: Stage::Routing,
    severity: Severity::Error,
    symptoms: &[17, 20],
    title: "The way ends behind AWS's endpoint",
    symptom: "AWS's inside address answers, the host in the VPC does not.",
    cause: "The tunnel carries packets both ways, so this one is dropped in the VPC, or its answer is: a route table, a security group, a network ACL or the instance's own firewall. (A host may also ignore echo requests: name a TCP port that it serves, --to HOST:PORT.)",
    remedy: AT_AWS,
    aws_log: None,
};

pub(super) const FAR_MTU: Known = Known {
    code: "PATH-MTU",
    stage: Stage::Routing,
    severity: Severity::Warning,
    symptoms: &[19],
    title: "Large packets are lost behind AWS's endpoint",
    symptom: "Small packets reach the host, large ones hang.",
    cause: "Large packets come back from AWS's inside address and not from the host: something behind the endpoint is narrower (another tunnel, a transit gateway attachment), or the host's own MTU is, and ICMP \"fragmentation needed\" is filtered.",
    remedy: "Allow ICMP type 3 code 4 (ICMPv6 type 2) in the security groups and network ACLs on the way, or lower the MTU of the host; a smaller MSS helps TCP (path_mtu of the tunnel).",
    aws_log: None,
};

pub(super) const COMPLETE: Known = Known {
    code: "PATH-COMPLETE",
    stage: Stage::Routing,
    severity: Severity::Info,
    symptoms: &[],
    title: "The host answers through the tunnel",
    symptom: "Nothing is wrong with the way.",
    cause: "The way to the host and back is complete.",
    remedy: "When hosts of the LAN cannot reach it all the same: look at their default route, which must lead to this gateway, and at this machine's firewall for forwarded packets (nft list ruleset, chain forward).",
    aws_log: None,
};

pub(super) fn examine(facts: &Facts, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    for line in lines {
        if let Some(mtu) = facts.measured.mtu.get(&line.outside) {
            large(line, *mtu, findings);
        }
    }
    if let Some(path) = &facts.measured.path {
        follow(path, lines, findings);
    }
}

fn large(line: &Line<'_>, mtu: Mtu, findings: &mut Vec<Finding>) {
    if let Some(before) = mtu.lowered_from
        && mtu.passes == mtu.promised
    {
        let seen = format!("packets of {} octets pass, {before} did not", mtu.passes);
        findings.push(LOWERED.found().at(&line.label).seen(seen));
        return;
    }
    if mtu.passes >= mtu.promised {
        return;
    }
    let seen = format!(
        "the interface's MTU is {}, and the largest packet that comes back has {} octets",
        mtu.promised, mtu.passes
    );
    let mut finding = TUNNEL_MTU.found().at(&line.label);
    finding = match mtu.outside {
        Outside::Narrow(size) => finding.seen(format!(
            "outside the tunnel it is the same: {} answers packets of at most {size} octets, so the way to it is too narrow",
            line.outside
        )),
        Outside::Wide => finding.seen(format!(
            "outside the tunnel {} answers large packets, so the way is wide enough: the peer drops large packets of the \
             tunnel, or a firewall those of UDP 4500",
            line.outside
        )),
        Outside::Unknown => finding,
    };
    finding = finding.seen(seen);
    if let Some(path_mtu) = path_mtu(line, mtu.passes) {
        finding = finding.first_do(format!("Set path_mtu = {path_mtu} for {}", line.label));
    }
    findings.push(finding);
}

/// The `path_mtu` whose tunnel has this MTU, or the next smaller one that a tunnel can have.
fn path_mtu(line: &Line<'_>, passes: u16) -> Option<u16> {
    let (_, config) = line.config?;
    let (_, status) = line.status?;
    let udp = status.child.as_ref().is_none_or(|child| child.encapsulation == "udp");
    let encapsulation = if udp { Encapsulation::Udp } else { Encapsulation::Esp };
    let inner = |path, transform| esp::inner_mtu(path, line.outside.is_ipv6(), encapsulation, transform);
    let all = esp_transforms(&config.esp);
    // What was negotiated is one of those that lead to the interface's MTU.
    let negotiated = all.iter().copied().filter(|one| inner(config.path_mtu, *one) == status.mtu);
    let candidates: Vec<_> = negotiated.collect();
    let candidates = if candidates.is_empty() { all } else { candidates };
    let most = |path: u16| candidates.iter().map(|one| inner(path, *one)).max().unwrap_or(0);
    let fits = (576..config.path_mtu).rev().find(|path| most(*path) <= passes)?;
    // Padding makes several path MTUs one inner MTU; the least of them is surely no larger than the way's.
    (576..=fits).find(|path| most(*path) == most(fits))
}

/// `1 169.254.10.1 0.5 ms, 2 no answer`.
fn hops(path: &Path) -> String {
    let words: Vec<String> = path
        .hops
        .iter()
        .map(|hop| match hop.from {
            Some(from) => format!("{} {from} {:.1} ms", hop.ttl, hop.rtt_ms),
            None => format!("{} no answer", hop.ttl),
        })
        .collect();
    if words.is_empty() { "no router on the way answers".to_owned() } else { words.join(", ") }
}

fn follow(path: &Path, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    forwarded(path, lines, findings);
    let tunnel = lines.iter().find(|line| Some(line.outside) == path.tunnel);
    let label = tunnel.map_or("a tunnel", |line| line.label.as_str());
    let source = path.source.map_or_else(String::new, |source| format!(" from {source}"));
    let whom = match path.port {
        Some(port) => format!("{} (TCP port {port})", path.target),
        None => path.target.to_string(),
    };
    let way = format!("{whom}{source} through {label}: {}", hops(path));
    match path.end {
        End::NotSent => {
            let seen = match &path.route {
                Ok(interface) => format!("a packet to {} leaves over {interface}", path.target),
                Err(why) => format!("a packet to {} is refused: {why}", path.target),
            };
            let finding = NOT_ROUTED.found().seen(seen);
            findings.push(finding.first_do(format!("Try `ip route get {}`", path.target)));
        }
        End::Answered { tcp, .. } => {
            answered(path, &way, tcp, findings);
        }
        End::Refused { from, why } if from == path.target => {
            let seen = format!("the host itself refuses ({why}), so it is its own firewall: {way}");
            findings.push(BEHIND.found().seen(seen));
        }
        End::Refused { from, why } => {
            findings.push(REFUSED.found().seen(format!("{from} says: {why}. {way}")));
        }
        End::Silent if path.inside == Some(false) => {
            let finding = IN_TUNNEL.found().seen(way);
            findings.push(match tunnel {
                Some(line) => finding.at(&line.label),
                None => finding,
            });
        }
        End::Silent if path.inside_from_lan == Some(false) && path.hops.is_empty() => {
            findings.push(NO_WAY_BACK.found().seen(way));
        }
        End::Silent => findings.push(BEHIND.found().seen(way)),
    }
}

fn answered(path: &Path, way: &str, tcp: bool, findings: &mut Vec<Finding>) {
    if let Some(port) = path.port.filter(|_| !tcp) {
        let seen = format!("the host answers echo requests, and not TCP port {port}: {way}");
        findings.push(BEHIND.found().seen(seen));
        return;
    }
    findings.push(COMPLETE.found().seen(way));
    if let Some((most, passes)) = path.mtu.filter(|(most, passes)| passes < most) {
        let seen =
            format!("{most} octets come back from AWS's inside address, {passes} from {}", path.target);
        findings.push(FAR_MTU.found().seen(seen));
    }
}

/// A LAN host's packet.
fn forwarded(path: &Path, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    let Some(forward) = &path.forward else { return };
    let whose = format!("a packet from {} that arrives on {}", forward.from, forward.arrives);
    let finding = NOT_FORWARDED.found();
    let finding = match &forward.leaves {
        Ok(interface) => {
            let into = lines
                .iter()
                .any(|line| line.status.is_some_and(|(_, tunnel)| tunnel.interface == *interface));
            if into || path.end == End::NotSent {
                return;
            }
            finding
                .seen(format!(
                    "{whose} leaves over {interface}, while one of this machine goes into a tunnel"
                ))
                .first_do("Look at `ip rule`: a rule for that interface or source leads to another table")
        }
        Err(Refusal::Off) => {
            let finding = finding.seen(format!("{whose} is not forwarded: forwarding is off"));
            match findings.iter().any(|known| known.is(&host::FORWARDING_OFF)) {
                true => finding.because(&host::FORWARDING_OFF),
                false => finding.first_do(format!(
                    "Run `sysctl -w net.ipv4.ip_forward=1` (and look at net.ipv4.conf.{}.forwarding)",
                    forward.arrives
                )),
            }
        }
        Err(Refusal::ReversePath) => finding
            .seen(format!("{whose} is dropped by the reverse path filter"))
            .first_do(format!("Run `sysctl -w net.ipv4.conf.{}.rp_filter=2`", forward.arrives)),
        // The way of this machine's own packets says the same.
        Err(Refusal::Other(_)) if path.end == End::NotSent => return,
        Err(Refusal::Other(why)) => finding.seen(format!("{whose}: {why}")),
    };
    findings.push(finding);
}
