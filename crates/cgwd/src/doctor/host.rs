//! Stage host: this machine. What the daemon will do by itself when it starts is no finding.

use std::net::IpAddr;

use config::{Encapsulation, IpForward};

use super::facts::{Daemon, Host, Line, capability};
use super::known::{Known, daemon};
use super::{Facts, Finding, Severity, Stage, history};
use crate::catalog;

pub(super) const CODES: &[&Known] = &[
    &NO_TUN,
    &NO_CAPABILITY,
    &PORT_TAKEN,
    &BIND_ABSENT,
    &CLASH,
    &NOT_READY,
    &NO_DAEMON,
    &FORWARDING_OFF,
    &REVERSE_PATH,
    &NETWORKD,
    &ELSEWHERE,
    &CLOCK,
];

/// 2026-01-01: this program did not exist before.
const OLDEST_MS: u64 = 1_767_225_600_000;
/// AWS's clock and ours may differ by so much.
const CLOCK_SKEW_MS: u64 = 300_000;

pub(super) const NO_TUN: Known = Known {
    code: "HOST-NO-TUN",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[],
    title: "/dev/net/tun cannot be used",
    symptom: "No interface cgw0 appears.",
    cause: "The kernel module `tun` is not loaded, or a container was started without the device.",
    remedy: "Run `modprobe tun` (and install the modules-load.d file that comes with the package); in a container pass --device /dev/net/tun and --cap-add NET_ADMIN.",
    aws_log: None,
};

pub(super) const NO_CAPABILITY: Known = Known {
    code: "HOST-NO-CAPABILITY",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[],
    title: "The daemon lacks a capability",
    symptom: "\"Operation not permitted\" in the daemon's log.",
    cause: "It was started by an ordinary user, or its unit or container takes the capability away.",
    remedy: "Start it with the unit that comes with the package, or as root.",
    aws_log: None,
};

pub(super) const PORT_TAKEN: Known = Known {
    code: "HOST-PORT-TAKEN",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[1],
    title: "Another program has UDP port 500 or 4500",
    symptom: "No tunnel comes up although AWS can be reached; often after a change from strongSwan or Libreswan.",
    cause: "Only one IKE daemon can own these ports on an address; the other one takes AWS's answers away.",
    remedy: "Stop and disable the other program, such as `systemctl disable --now strongswan strongswan-starter ipsec`.",
    aws_log: None,
};

pub(super) const BIND_ABSENT: Known = Known {
    code: "HOST-BIND-ABSENT",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[1],
    title: "The configured local address is on no interface",
    symptom: "The tunnel does not start.",
    cause: "`bind` names an address that this machine does not have (yet).",
    remedy: "Add the address, or correct or drop `bind` in the configuration; behind NAT it is the private address, not the public one.",
    aws_log: None,
};

pub(super) const CLASH: Known = Known {
    code: "HOST-ADDRESS-CLASH",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[16],
    title: "Another interface uses the tunnel's inside network",
    symptom: "The SAs are up, and AWS's inside address does not answer.",
    cause: "169.254.0.0/16 is shared by link-local addresses, cloud metadata services and other VPN connections; two interfaces with the same /30 cannot both work.",
    remedy: "Take the address off the other interface, or give the tunnel another inside CIDR at AWS (modify-vpn-tunnel-options) and import again.",
    aws_log: None,
};

pub(super) const NOT_READY: Known =
    daemon(catalog::Code::HostNotReady, Stage::Host, &[], "The tunnel does not start.");

pub(super) const NO_DAEMON: Known = Known {
    code: "HOST-NO-DAEMON",
    stage: Stage::Host,
    severity: Severity::Error,
    symptoms: &[],
    title: "The daemon does not run",
    symptom: "No tunnel is up; `cgwd status` says that no daemon answers.",
    cause: "It was not started, it ended, or it listens on another control socket.",
    remedy: "Start it with `systemctl enable --now cgwd` and look into `journalctl -u cgwd`; a daemon that was started with --socket needs the same --socket here.",
    aws_log: None,
};

pub(super) const FORWARDING_OFF: Known = daemon(
    catalog::Code::ForwardingOff,
    Stage::Host,
    &[],
    "The gateway itself reaches AWS, hosts on the LAN do not.",
);

pub(super) const REVERSE_PATH: Known = Known {
    code: "HOST-RP-FILTER",
    stage: Stage::Host,
    severity: Severity::Warning,
    symptoms: &[18],
    title: "The reverse path filter drops what arrives on the other tunnel",
    symptom: "One way only: packets arrive on one tunnel while ours leave on the other, and connections hang.",
    cause: "AWS may answer on either tunnel. With a strict rp_filter the kernel drops packets that arrive on another interface than the one it would answer on; the larger of `all` and the interface's own value counts.",
    remedy: "Set it to 2 (loose) on the tunnel's interface. The daemon does so at its start, so find out who sets it back (sysctl.d, a firewall script).",
    aws_log: None,
};

pub(super) const NETWORKD: Known = Known {
    code: "HOST-NETWORKD",
    stage: Stage::Host,
    severity: Severity::Info,
    symptoms: &[],
    title: "systemd-networkd removes routes that it does not know",
    symptom: "Routes to AWS vanish when networkd is restarted or reconfigured.",
    cause: "ManageForeignRoutes is on (the default) in networkd.conf. The daemon sets lost routes again, with a short gap.",
    remedy: "Install the networkd drop-in that comes with the package: ManageForeignRoutes=no in /etc/systemd/networkd.conf.d/.",
    aws_log: None,
};

pub(super) const ELSEWHERE: Known = Known {
    code: "HOST-ELSEWHERE",
    stage: Stage::Host,
    severity: Severity::Info,
    symptoms: &[],
    title: "The daemon lives in another network namespace",
    symptom: "Nothing; the stages host, underlay and routing were not looked at.",
    cause: "Its interfaces, addresses and routes cannot be seen from here.",
    remedy: "Run the doctor in the daemon's namespace.",
    aws_log: None,
};

pub(super) const CLOCK: Known = Known {
    code: "HOST-CLOCK",
    stage: Stage::Host,
    severity: Severity::Warning,
    symptoms: &[6],
    title: "The clock of this machine is wrong",
    symptom: "Times in logs and events do not fit AWS's; certificates count as not yet valid.",
    cause: "The clock is behind: it was never set, or no time service runs. Pre-shared keys do not need it, certificates and the comparison with AWS's log do.",
    remedy: "Run a time service (timedatectl set-ntp true, or chrony), and look at `timedatectl`.",
    aws_log: None,
};

pub(super) fn examine(facts: &Facts, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    if let Some(host) = &facts.host {
        tun(facts, host, findings);
        ports(facts, host, findings);
        addresses(host, lines, findings);
    }
    clock(facts, findings);
    process(facts, findings);
    for line in lines {
        if let Some((code, text)) = line.failing()
            && code == NOT_READY.code
        {
            findings.push(NOT_READY.found().at(&line.label).seen(text));
        }
    }
    if let Daemon::Silent { why } = &facts.daemon {
        findings.push(NO_DAEMON.found().seen(why));
    }
    if let Some(host) = &facts.host {
        forwarding(facts, host, lines, findings);
        reverse_path(facts, host, lines, findings);
        networkd(facts, host, findings);
    }
}

fn clock(facts: &Facts, findings: &mut Vec<Finding>) {
    if facts.now_ms < OLDEST_MS {
        findings.push(CLOCK.found().seen("it stands before the year of this program"));
        return;
    }
    // AWS cannot have seen a change that has not happened yet.
    let seen =
        facts.aws.iter().flat_map(|aws| &aws.connections).flat_map(|connection| &connection.vgw_telemetry);
    let newest = seen.filter_map(|telemetry| history::millis_of_aws(&telemetry.last_status_change)).max();
    if let Some(ahead) =
        newest.and_then(|newest| newest.checked_sub(facts.now_ms)).filter(|ms| *ms > CLOCK_SKEW_MS)
    {
        findings.push(CLOCK.found().seen(format!("AWS saw a change {} s in our future", ahead / 1000)));
    }
}

fn tun(facts: &Facts, host: &Host, findings: &mut Vec<Finding>) {
    // A daemon that has its interfaces has the device, whatever this user may open.
    let needed = facts.running().is_none_or(|running| {
        let mut tunnels = running.status.connections.iter().flat_map(|connection| &connection.tunnels);
        tunnels.all(|tunnel| tunnel.child.is_none() && tunnel.last_error.is_some())
    });
    if let Some(Err(why)) = host.tun.as_ref().filter(|_| needed) {
        findings.push(NO_TUN.found().seen(why));
    }
}

fn ports(facts: &Facts, host: &Host, findings: &mut Vec<Finding>) {
    for listener in host.listeners.iter().filter(|listener| !listener.ours) {
        // On an address that no tunnel uses it does no harm.
        let ours: Vec<IpAddr> = local_addresses(facts, host);
        let harms = listener.local.ip().is_unspecified() || ours.contains(&listener.local.ip());
        if !harms || findings.iter().any(|finding| finding.is(&PORT_TAKEN)) {
            continue;
        }
        let who = listener.program.as_deref().unwrap_or("another program");
        findings.push(PORT_TAKEN.found().seen(format!("{who} has UDP {}", listener.local)));
    }
}

/// The addresses that the tunnels send from.
fn local_addresses(facts: &Facts, host: &Host) -> Vec<IpAddr> {
    let tunnels = facts.config().into_iter().flat_map(config::Config::tunnels);
    tunnels
        .flat_map(|(_, tunnel)| {
            let route = host.underlay.get(&tunnel.outside).and_then(|found| found.as_ref().ok());
            [tunnel.bind, tunnel.known_gateway(), route.and_then(|route| route.source)]
        })
        .flatten()
        .collect()
}

fn addresses(host: &Host, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    let own: Vec<&str> = lines
        .iter()
        .filter_map(|line| {
            let status = line.status.map(|(_, tunnel)| tunnel.interface.as_str());
            status.or(line.config.map(|(_, tunnel)| tunnel.interface.as_str()))
        })
        .collect();
    for line in lines {
        let Some((_, tunnel)) = line.config else { continue };
        if let Some(bind) = tunnel.bind
            && host.addresses.iter().all(|(_, address)| address.addr() != bind)
        {
            findings.push(BIND_ABSENT.found().at(&line.label).seen(format!("{bind} is on no interface")));
        }
        for inside in &tunnel.inside {
            let link = inside.ours.trunc();
            let clash = host.addresses.iter().find(|(interface, address)| {
                !own.contains(&interface.as_str())
                    && (link.contains(&address.addr())
                        // A whole 169.254.0.0/16 on a link is a more general route, which loses against our /30.
                        || (address.prefix_len() >= link.prefix_len() && address.contains(&inside.aws)))
            });
            if let Some((interface, address)) = clash {
                let seen = format!("{interface} has {address}, the tunnel's inside network is {link}");
                findings.push(CLASH.found().at(&line.label).seen(seen));
            }
        }
    }
}

fn process(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(running) = facts.running() else { return };
    if let Some(pid) = running.elsewhere {
        let finding = ELSEWHERE.found().seen(format!("it is process {pid}"));
        findings.push(
            finding.first_do(format!(
                "Run `nsenter --net=/proc/{pid}/ns/net cgwd doctor` with the same options"
            )),
        );
    }
    let Some(mask) = running.capabilities else { return };
    let raw = facts.config().is_some_and(|config| {
        config.tunnels().any(|(_, tunnel)| tunnel.encapsulation == Encapsulation::Auto)
    });
    let wanted = [
        ("CAP_NET_ADMIN", capability::NET_ADMIN, true),
        ("CAP_NET_BIND_SERVICE", capability::NET_BIND_SERVICE, true),
        ("CAP_NET_RAW", capability::NET_RAW, raw),
    ];
    let lacking: Vec<&str> = wanted
        .iter()
        .filter(|(_, bit, needed)| *needed && mask & (1 << bit) == 0)
        .map(|(name, ..)| *name)
        .collect();
    if !lacking.is_empty() {
        findings.push(NO_CAPABILITY.found().seen(format!("lacking: {}", lacking.join(", "))));
    }
}

fn forwarding(facts: &Facts, host: &Host, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    // The daemon turns it on when it starts, if it may.
    let may = facts.config().is_none_or(|config| config.host.ip_forward == IpForward::Enable);
    if facts.running().is_none() && may {
        return;
    }
    let inside = |v4: bool| {
        lines.iter().any(|line| {
            let status = line.status.and_then(|(_, tunnel)| tunnel.inside_ip).map(|ip| ip.is_ipv4());
            let config =
                line.config.and_then(|(_, tunnel)| tunnel.inside.first()).map(|inside| inside.aws.is_ipv4());
            status.or(config) == Some(v4)
        })
    };
    for (key, on, used) in [
        ("net.ipv4.ip_forward", host.forwarding_v4, inside(true)),
        ("net.ipv6.conf.all.forwarding", host.forwarding_v6, inside(false)),
    ] {
        if on == Some(false) && used {
            let finding = FORWARDING_OFF.found().seen(format!("{key} is 0"));
            findings.push(finding.first_do(format!("Run `sysctl -w {key}=1`")));
        }
    }
}

fn reverse_path(facts: &Facts, host: &Host, lines: &[Line<'_>], findings: &mut Vec<Finding>) {
    if facts.running().is_none() {
        return;
    }
    let all = host.reverse_path_all.unwrap_or(0);
    for line in lines {
        let Some((_, tunnel)) = line.status else { continue };
        let Some(own) = host.reverse_path.get(&tunnel.interface) else { continue };
        // The kernel takes the larger of the two, and 2 (loose) is larger than 1 (strict).
        if all.max(*own) != 1 {
            continue;
        }
        let interface = &tunnel.interface;
        let seen = format!("rp_filter of {interface} is {own} and of all is {all}: strict");
        let finding = REVERSE_PATH.found().at(&line.label).seen(seen);
        findings.push(finding.first_do(format!("Run `sysctl -w net.ipv4.conf.{interface}.rp_filter=2`")));
    }
}

fn networkd(facts: &Facts, host: &Host, findings: &mut Vec<Finding>) {
    if !host.networkd_removes_routes {
        return;
    }
    let repaired = history::recent(facts, "ROUTE-REPAIRED", None).count();
    let finding = NETWORKD.found();
    findings.push(if repaired > 0 {
        finding
            .rated(Severity::Warning)
            .seen(format!("lost routes were set again {repaired} times in the last hour"))
    } else {
        finding
    });
}
