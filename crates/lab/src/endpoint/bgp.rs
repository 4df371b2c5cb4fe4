//! AWS's side of the BGP session: it waits for the customer on its inside address.
//!
//! What the customer announces is routed into the tunnel, as a virtual private gateway does; more prefixes than
//! it takes end the session with Cease 6/1 (RFC 4486). TCP is the kernel's, one reading thread per connection.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bgp::{Connection, Input, Output, Speaker};
use ipnet::IpNet;
use model::Instant;
use net::MonotonicClock;

use super::Options;
use super::mailbox::{Mailbox, Wish};
use crate::netns;

/// BGP's TCP port.
const PORT: u16 = 179;
/// A write that takes longer than this has failed.
const WRITE: Duration = Duration::from_secs(2);

/// What AWS knows about the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BgpOptions {
    /// AWS's AS number.
    pub asn: u32,
    /// The customer's AS number.
    pub customer_asn: u32,
    /// What AWS announces: the VPC's networks.
    pub announce: Vec<IpNet>,
    /// Prefixes it takes: 100 on a virtual private gateway, 1,000 on a transit gateway.
    pub max_prefixes: u32,
    /// The MULTI_EXIT_DISC it announces.
    pub med: Option<u32>,
}

/// What a connection's thread reports.
pub(super) enum Report {
    Accepted(TcpStream),
    Received(u64, Vec<u8>),
    Closed(u64, String),
}

/// The speaker with its connections and the routes it was given.
pub(super) struct Session {
    speaker: Speaker,
    customer: IpAddr,
    streams: BTreeMap<u64, TcpStream>,
    next: u64,
    interface: String,
    mailbox: Arc<Mailbox>,
}

impl Session {
    /// Listens on the inside address, which must exist.
    pub(super) fn start(options: &Options, bgp: &BgpOptions, mailbox: Arc<Mailbox>) -> Result<Self> {
        let inside = options.inside_address()?;
        let customer = other_host(inside).context("the inside network has no host for the customer")?;
        let router_id = match inside.addr() {
            IpAddr::V4(address) => address,
            // Any number that is not zero; the endpoints' differ by their interface networks.
            IpAddr::V6(address) => Ipv4Addr::from_bits(u32::from(address.segments()[1]) | 0x0a00_0000),
        };
        let mut config = bgp::Config::new(bgp.asn, bgp.customer_asn, inside.addr(), customer, router_id);
        config.advertise.clone_from(&bgp.announce);
        config.max_prefix_in = bgp.max_prefixes;
        config.max_prefix_out = bgp::config::RIB_PREFIXES_MAX;
        config.med_out = bgp.med;
        config.passive = true;
        let speaker = Speaker::new(config, MonotonicClock::now())?;
        let listener = TcpListener::bind(SocketAddr::new(inside.addr(), PORT))
            .with_context(|| format!("cannot listen on {} port {PORT}", inside.addr()))?;
        let accepted = Arc::clone(&mailbox);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                accepted.post(Wish::Bgp(Report::Accepted(stream)));
            }
        });
        let interface = options.interface.clone();
        Ok(Self { speaker, customer, streams: BTreeMap::new(), next: 1, interface, mailbox })
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.speaker.poll_timeout().map(|(at, _)| at)
    }

    pub(super) fn handle_timeout(&mut self) {
        self.speaker.handle_timeout(MonotonicClock::now());
        self.drain();
    }

    pub(super) fn tunnel(&mut self, up: bool) {
        self.feed(if up { Input::TunnelUp } else { Input::TunnelDown });
    }

    pub(super) fn command(&mut self, command: bgp::Command) {
        self.feed(Input::Command(command));
    }

    pub(super) fn handle(&mut self, report: Report) {
        match report {
            Report::Accepted(stream) => self.accept(stream),
            Report::Received(number, bytes) => {
                self.feed(Input::Received { connection: Connection::Inbound(number), bytes: &bytes });
            }
            Report::Closed(number, why) => {
                self.streams.remove(&number);
                self.feed(Input::Closed { connection: Connection::Inbound(number), why: &why });
            }
        }
    }

    fn accept(&mut self, stream: TcpStream) {
        let from_customer = stream.peer_addr().is_ok_and(|from| from.ip() == self.customer);
        let (Ok(reader), true) = (stream.try_clone(), from_customer) else { return };
        let _ = stream.set_write_timeout(Some(WRITE));
        let number = self.next;
        self.next += 1;
        self.streams.insert(number, stream);
        let mailbox = Arc::clone(&self.mailbox);
        std::thread::spawn(move || read(reader, number, &mailbox));
        self.feed(Input::Connected(Connection::Inbound(number)));
    }

    fn feed(&mut self, input: Input<'_>) {
        self.speaker.handle_input(MonotonicClock::now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.speaker.poll_output() {
            match output {
                Output::Send { connection: Connection::Inbound(number), bytes } => {
                    if let Some(stream) = self.streams.get_mut(&number) {
                        // A broken stream is reported by its reader.
                        let _ = stream.write_all(&bytes);
                    }
                }
                Output::Close(Connection::Inbound(number)) => {
                    if let Some(stream) = self.streams.remove(&number) {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                }
                Output::RoutesChanged(change) => self.route(&change),
                Output::Notice(notice) => tracing::info!(?notice, "BGP"),
                // A passive speaker never connects.
                Output::Connect(_) | Output::Send { .. } | Output::Close(_) => {}
            }
        }
    }

    /// The kernel's routes of this namespace follow what the customer announces.
    fn route(&self, change: &bgp::RoutesChanged) {
        let run = |verb: &str, prefix: &IpNet| {
            let mut ip = Command::new("ip");
            let result = netns::run(ip.args(["route", verb, &prefix.to_string(), "dev", &self.interface]));
            if let Err(error) = result {
                tracing::warn!(%error, "a route did not follow");
            }
        };
        change.withdrawn.iter().for_each(|prefix| run("del", prefix));
        change.reachable.iter().for_each(|path| run("replace", &path.prefix));
    }
}

fn read(mut stream: TcpStream, number: u64, mailbox: &Mailbox) {
    let mut buffer = vec![0; 65_536];
    let why = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break String::new(),
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                mailbox.post(Wish::Bgp(Report::Received(number, bytes)));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => break error.to_string(),
        }
    };
    mailbox.post(Wish::Bgp(Report::Closed(number, why)));
}

/// The customer's host: AWS has the first one of the /30 (or /126), the customer the second.
fn other_host(inside: IpNet) -> Option<IpAddr> {
    // An IPv6 subnet counts its all-zero address as a host, an IPv4 one does not.
    let hosts = inside.hosts().filter(|host| *host != inside.network());
    hosts.take(2).find(|host| *host != inside.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_customer_is_the_other_host_of_the_inside_network() {
        let other = |inside: &str| other_host(inside.parse().unwrap()).unwrap().to_string();
        assert_eq!(other("169.254.10.1/30"), "169.254.10.2");
        assert_eq!(other("fd00:10::1/126"), "fd00:10::2");
    }
}
