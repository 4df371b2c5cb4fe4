//! Following the way to a host behind AWS, from this machine and as a host of our LAN would go it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use net::errno;
use net::netlink::Netlink;

use super::echo::Asker;
use super::message::Said;
use super::{CannotMeasure, End, Forward, Hop, Mtu, Path, Refusal};
use crate::doctor::collect;
use crate::doctor::facts::{Facts, Host, Line};

/// Routers on the way; a VPC has fewer.
const HOPS_MAX: u8 = 12;
/// So often each of them is asked.
const ROUNDS: u16 = 3;
/// Answers of one round have this long.
const ROUND: Duration = Duration::from_millis(1000);
/// A TCP connection has this long.
const TCP: Duration = Duration::from_secs(3);

/// The host that somebody wants to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: IpAddr,
    /// A TCP port that should answer.
    pub port: Option<u16>,
}

impl Target {
    /// Reads `HOST` or `HOST:PORT`; an IPv6 address with a port stands in brackets. A name is looked up.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { address, port: None });
        }
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self { address: socket.ip(), port: Some(socket.port()) });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => {
                (name, Some(port.parse::<u16>().map_err(|_| format!("`{port}` is no port number"))?))
            }
            None => (text, None),
        };
        let found = (name, port.unwrap_or(0)).to_socket_addrs();
        let found = found.map_err(|error| format!("cannot look up {name}: {error}; give an IP address"))?;
        let first = found.map(|socket| socket.ip()).next();
        first.map(|address| Self { address, port }).ok_or_else(|| format!("{name} has no address"))
    }
}

/// Follows it.
pub(super) fn follow(facts: &Facts, to: Target, mtu: &BTreeMap<IpAddr, Mtu>) -> Result<Path, CannotMeasure> {
    let not_allowed = |error: net::Error| CannotMeasure::NotAllowed(error.to_string());
    let mut netlink = Netlink::open().map_err(not_allowed)?;
    let lines = facts.lines();
    let host = facts.host.as_ref();
    let lan = host.and_then(|host| lan(facts, host, to.address));
    let ours = lan.as_ref().map(|lan| lan.ours);
    let found = netlink.route_to(to.address, ours);
    let route = found.as_ref().map(|found| found.interface.clone()).map_err(ToString::to_string);
    let line = lines.iter().find(|line| interface(line) == route.as_deref().ok());
    let source = ours.or_else(|| found.ok().and_then(|found| found.source));
    let mut path = Path {
        target: to.address,
        port: to.port,
        tunnel: line.map(|line| line.outside),
        route,
        source,
        from_lan: ours.is_some(),
        forward: lan.and_then(|lan| forward(&mut netlink, &lan, to.address)),
        inside: None,
        inside_from_lan: None,
        hops: Vec::new(),
        end: End::NotSent,
        mtu: None,
    };
    let (Some(line), Some(source)) = (line, source) else { return Ok(path) };
    let mut asker = Asker::new(source, None, to.address).map_err(not_allowed)?;
    (path.hops, path.end) = trace(&mut asker, to.address);
    if let Some(port) = to.port {
        tcp(&mut path.end, source, SocketAddr::new(to.address, port));
    }
    if let End::Answered { rtt_ms: Some(_), .. } = path.end
        && let Some(most) = mtu.get(&line.outside).map(|mtu| mtu.passes)
    {
        path.mtu = asker.largest(most).map(|largest| (most, largest));
    }
    if matches!(path.end, End::Silent | End::Refused { .. }) {
        path.inside = inside(line, None);
        path.inside_from_lan = ours.and_then(|ours| inside(line, Some(ours)));
    }
    Ok(path)
}

fn interface<'l>(line: &'l Line<'_>) -> Option<&'l str> {
    line.status.map(|(_, tunnel)| tunnel.interface.as_str())
}

/// Our place on the LAN.
struct Lan {
    ours: IpAddr,
    interface: String,
    network: IpNet,
}

/// An address of this machine within `lan` of the configuration, of the target's family.
fn lan(facts: &Facts, host: &Host, target: IpAddr) -> Option<Lan> {
    let networks: Vec<IpNet> =
        facts.config()?.connections.iter().flat_map(|connection| connection.lan.iter().copied()).collect();
    let tunnels = facts.lines();
    let (interface, network) = host.addresses.iter().find(|(name, address)| {
        address.addr().is_ipv4() == target.is_ipv4()
            && networks.iter().any(|lan| lan.contains(&address.addr()))
            && !tunnels.iter().any(|line| interface(line) == Some(name.as_str()))
    })?;
    Some(Lan { ours: network.addr(), interface: interface.clone(), network: *network })
}

/// What the kernel would do with a packet of another host of the LAN.
fn forward(netlink: &mut Netlink, lan: &Lan, target: IpAddr) -> Option<Forward> {
    let from = collect::neighbour(lan.network)?;
    let arrives = netlink.link(&lan.interface).ok()?.index;
    let leaves = match netlink.forwarded(target, from, arrives) {
        Ok(found) => Ok(found.interface),
        Err(error) => Err(match error.errno() {
            Some(errno::EHOSTUNREACH) => Refusal::Off,
            Some(errno::EXDEV) => Refusal::ReversePath,
            _ => Refusal::Other(error.to_string()),
        }),
    };
    Some(Forward { from, arrives: lan.interface.clone(), leaves })
}

/// Whether AWS's inside address answers, asked from our inside address or another one of ours.
fn inside(line: &Line<'_>, from: Option<IpAddr>) -> Option<bool> {
    let (_, config) = line.config?;
    let wanted = |inside: &&config::Inside| from.is_none_or(|from| from.is_ipv4() == inside.aws.is_ipv4());
    let inside = config.inside.iter().find(wanted)?;
    let local = from.unwrap_or_else(|| inside.ours.addr());
    let mut asker = Asker::new(local, interface(line), inside.aws).ok()?;
    Some(asker.answers())
}

/// Every router on the way, asked at the same time.
fn trace(asker: &mut Asker, target: IpAddr) -> (Vec<Hop>, End) {
    let mut hops: BTreeMap<u8, (IpAddr, f64)> = BTreeMap::new();
    let mut reached: Option<(u8, f64)> = None;
    let mut refused: Option<(IpAddr, &'static str)> = None;
    let mut silent: BTreeSet<u8> = (1..=HOPS_MAX).collect();
    for _ in 0..ROUNDS {
        let mut sent = BTreeMap::new();
        let last = reached.map_or(HOPS_MAX, |(ttl, _)| ttl);
        for ttl in silent.iter().copied().filter(|ttl| *ttl <= last) {
            asker.ttl(ttl);
            if let Some(sequence) = asker.send(84) {
                sent.insert(sequence, (ttl, Instant::now()));
            }
        }
        let until = Instant::now() + ROUND;
        // What is complete up to the target needs no more time.
        while !(1..=reached.map_or(HOPS_MAX, |(ttl, _)| ttl)).all(|ttl| !silent.contains(&ttl)) {
            let Some((said, from)) = asker.hear(until) else { break };
            let (Said::Reply(at) | Said::Expired(at) | Said::Unreachable(at, _) | Said::TooBig(at)) = said;
            let Some((ttl, began)) = sent.get(&at).copied() else { continue };
            let rtt = began.elapsed().as_secs_f64() * 1000.0;
            silent.remove(&ttl);
            match said {
                Said::Reply(_) if reached.is_none_or(|(known, _)| ttl < known) => reached = Some((ttl, rtt)),
                Said::Expired(_) => drop(hops.insert(ttl, (from, rtt))),
                Said::Unreachable(_, why) => refused = Some((from, why)),
                _ => {}
            }
        }
        if reached.is_some() && silent.range(..reached.map_or(0, |(ttl, _)| ttl)).next().is_none() {
            break;
        }
    }
    asker.ttl(64);
    let last = reached.map(|(ttl, _)| ttl).or_else(|| hops.keys().last().copied()).unwrap_or(0);
    let hops = (1..=last)
        .map(|ttl| match (reached.filter(|(at, _)| *at == ttl), hops.get(&ttl)) {
            (Some((_, rtt_ms)), _) => Hop { ttl, from: Some(target), rtt_ms },
            (None, Some((from, rtt_ms))) => Hop { ttl, from: Some(*from), rtt_ms: *rtt_ms },
            (None, None) => Hop { ttl, from: None, rtt_ms: 0.0 },
        })
        .collect();
    let end = match (reached, refused) {
        (Some((_, rtt)), _) => End::Answered { tcp: false, rtt_ms: Some(rtt) },
        (None, Some((from, why))) => End::Refused { from, why },
        (None, None) => End::Silent,
    };
    (hops, end)
}

/// A TCP connection from the same address. A refusal is an answer of the host, too.
fn tcp(end: &mut End, source: IpAddr, target: SocketAddr) {
    let answers = tokio::runtime::Handle::try_current().ok().is_some_and(|runtime| {
        runtime.block_on(async {
            let socket = if target.is_ipv4() {
                tokio::net::TcpSocket::new_v4()
            } else {
                tokio::net::TcpSocket::new_v6()
            };
            let Ok(socket) = socket else { return false };
            if socket.bind(SocketAddr::new(source, 0)).is_err() {
                return false;
            }
            match tokio::time::timeout(TCP, socket.connect(target)).await {
                Ok(Ok(_)) => true,
                Ok(Err(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
                Err(_) => false,
            }
        })
    });
    match end {
        End::Answered { tcp, .. } => *tcp = answers,
        _ if answers => *end = End::Answered { tcp: true, rtt_ms: None },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_people_write_it() {
        let read = |text: &str| Target::parse(text).map(|target| (target.address.to_string(), target.port));
        assert_eq!(read("172.31.0.10"), Ok(("172.31.0.10".to_owned(), None)));
        assert_eq!(read("172.31.0.10:443"), Ok(("172.31.0.10".to_owned(), Some(443))));
        assert_eq!(read("fd31::10"), Ok(("fd31::10".to_owned(), None)));
        assert_eq!(read("[fd31::10]:22"), Ok(("fd31::10".to_owned(), Some(22))));
        assert_eq!(read("localhost:22").map(|found| found.1), Ok(Some(22)));
        assert!(read("172.31.0.10:ssh").is_err());
    }
}
