//! The endpoint's one loop: sockets, the data plane's events, timers and operator words in; effects out.

use std::io::BufRead as _;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use dataplane::{Event, OffloadSwitches, TunnelConfig};
use ike::{Command, Endpoint, Input, Notice, Transmit};
use model::{Encapsulation, Instant};
use net::MonotonicClock;
use net::udp::{UdpOptions, UdpSocket};
use tunnel::{Effect, Tunnel};

use super::Options;
use super::bgp::Session;
use super::mailbox::{Mailbox, Wish};
use crate::netns;

/// Largest IKE datagram.
const DATAGRAM: usize = 65_536;
/// Longest sleep when no timer is due.
const IDLE: Duration = Duration::from_secs(3600);
/// How long an orderly end may take.
const GOODBYE: Duration = Duration::from_secs(2);

struct Shell {
    tunnel: Tunnel<dataplane::Tunnel>,
    ike: UdpSocket,
    nat_t: UdpSocket,
    bgp: Option<Session>,
    closing: Option<Instant>,
    closed: bool,
}

/// Runs one endpoint until SIGTERM or SIGINT, then deletes its SAs in order and takes its interface away.
///
/// # Errors
/// When an address or a port is not to be had, or the TUN interface cannot be made.
pub fn run(options: &Options) -> Result<()> {
    let mailbox = Arc::new(Mailbox::new()?);
    // The wildcard sockets come first: the tunnel's own socket shares the port.
    let bind = |port| UdpSocket::bind(SocketAddr::new(options.local, port), &UdpOptions::default());
    let (ike, nat_t) = (bind(500)?, bind(4500)?);
    let events = Arc::clone(&mailbox);
    let plane = dataplane::Tunnel::start(
        plane_config(options)?,
        Arc::new(move |event| events.post(Wish::Plane(event))),
    )
    .context("cannot make the tunnel's data plane")?;
    for route in &options.routes {
        let mut ip = std::process::Command::new("ip");
        netns::run(ip.args(["route", "replace", &route.to_string(), "dev", &options.interface]))?;
    }
    let endpoint = Endpoint::new(options.ike_config()?, Box::new(net::OsRng), MonotonicClock::now());
    let session = |bgp| Session::start(options, bgp, Arc::clone(&mailbox));
    let bgp = options.bgp.as_ref().map(session).transpose()?;
    watch_signals(Arc::clone(&mailbox))?;
    watch_operator(Arc::clone(&mailbox));
    tracing::info!(local = %options.local, peer = %options.peer, "endpoint ready");
    let mut shell =
        Shell { tunnel: Tunnel::new(endpoint, plane), ike, nat_t, bgp, closing: None, closed: false };
    shell.run(&mailbox)
}

fn plane_config(options: &Options) -> Result<TunnelConfig> {
    // The smallest MTU of what may be negotiated, as AWS's own 1399-1446 depend on it too.
    let transforms = options.phase2.esp_proposals().into_iter().flat_map(|proposal| {
        let integrity: Vec<_> = match proposal.integrity.as_slice() {
            [] => vec![None],
            some => some.iter().copied().map(Some).collect(),
        };
        let ciphers = proposal.encryption;
        integrity
            .into_iter()
            .flat_map(move |i| ciphers.clone().into_iter().filter_map(move |c| c.with_integrity(i)))
    });
    let outer_ipv6 = options.local.is_ipv6();
    let mtu = transforms
        .map(|transform| esp::inner_mtu(1500, outer_ipv6, Encapsulation::Udp, transform))
        .min()
        .context("no phase 2 algorithm is allowed")?;
    Ok(TunnelConfig {
        name: options.interface.clone(),
        interface: options.interface.clone(),
        mtu,
        inside: vec![options.inside_address()?],
        probe: None,
        local: SocketAddr::new(options.local, 4500),
        remote: SocketAddr::new(options.peer, 4500),
        clear_df: true,
        clamp_mss: true,
        replay_window: options.replay_window,
        path_mtu: 1500,
        offload: OffloadSwitches::default(),
    })
}

impl Shell {
    fn run(&mut self, mailbox: &Mailbox) -> Result<()> {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            self.tunnel.handle_timeout(MonotonicClock::now());
            self.drain();
            if let Some(bgp) = &mut self.bgp {
                bgp.handle_timeout();
            }
            let now = MonotonicClock::now();
            if self.closed || self.closing.is_some_and(|since| now - since > GOODBYE) {
                return Ok(());
            }
            let timers =
                [self.tunnel.poll_timeout().map(|(at, _)| at), self.bgp.as_ref().and_then(Session::timeout)];
            let due = timers.into_iter().flatten().min().map_or(IDLE, |at| at - now);
            let due = if self.closing.is_some() { due.min(GOODBYE) } else { due };
            let watched = [self.ike.as_fd(), self.nat_t.as_fd(), mailbox.as_fd()];
            let ready = net::poll::wait(&watched, Some(due))?;
            for index in 0..2 {
                if ready.is(index) {
                    self.receive(index, &mut buffer);
                }
            }
            if ready.is(2) {
                for wish in mailbox.take() {
                    self.grant(wish);
                }
            }
        }
    }

    /// Takes every datagram that waits on one of the two wildcard sockets.
    fn receive(&mut self, index: usize, buffer: &mut [u8]) {
        loop {
            let socket = if index == 0 { &self.ike } else { &self.nat_t };
            let Ok(datagram) = socket.receive_from(buffer) else { return };
            let payload = buffer.get(..datagram.len).unwrap_or_default();
            let payload = if index == 0 { Some(payload) } else { payload.strip_prefix(&[0; 4]) };
            match payload {
                Some(payload) => {
                    self.feed(Input::Datagram { local: datagram.local, remote: datagram.remote, payload })
                }
                // ESP from an address the tunnel's own socket is not connected to.
                None => self
                    .tunnel
                    .plane()
                    .deliver(buffer.get(..datagram.len).unwrap_or_default(), datagram.remote),
            }
        }
    }

    fn feed(&mut self, input: Input<'_>) {
        self.tunnel.handle_input(MonotonicClock::now(), input);
        self.drain();
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Plane(Event::Ike { local, remote, datagram }) => {
                self.feed(Input::Datagram { local, remote, payload: &datagram });
            }
            Wish::Plane(Event::EspReceived { spi_in }) => self.feed(Input::EspReceived { spi_in }),
            Wish::Plane(Event::SequenceNearlyExhausted { spi_in }) => {
                self.feed(Input::SequenceNearlyExhausted { spi_in });
            }
            Wish::Plane(Event::Failed { text }) => tracing::error!(text, "the data plane failed"),
            Wish::Plane(Event::ProbeReply { .. } | Event::PathMtu { .. }) => {}
            Wish::Bgp(report) => {
                if let Some(bgp) = &mut self.bgp {
                    bgp.handle(report);
                }
            }
            Wish::Med(med) => {
                if let Some(bgp) = &mut self.bgp {
                    bgp.command(bgp::Command::AdvertiseMed(med));
                }
            }
            Wish::Command(command) => self.feed(Input::Command(command)),
            Wish::Status => {
                tracing::info!(status = ?self.tunnel.status(), stats = ?self.tunnel.plane().stats())
            }
            Wish::Quit if self.closing.is_some() => self.closed = true,
            Wish::Quit => {
                self.closing = Some(MonotonicClock::now());
                if let Some(bgp) = &mut self.bgp {
                    bgp.command(bgp::Command::Shutdown("the endpoint ends".to_owned()));
                }
                self.feed(Input::Command(Command::Close));
            }
        }
    }

    fn drain(&mut self) {
        while let Some(effect) = self.tunnel.poll() {
            match effect {
                Effect::Send(transmit) => self.send(&transmit),
                Effect::Notice(Notice::Closed) => self.closed |= self.closing.is_some(),
                Effect::Notice(notice) => tracing::info!(?notice),
                Effect::Carrying(child) => {
                    tracing::info!(?child, "traffic can pass");
                    self.bgp.iter_mut().for_each(|bgp| bgp.tunnel(true));
                }
                // Nobody asks it for keys.
                Effect::Keys(_) => {}
                Effect::Idle => {
                    tracing::info!("no child is left");
                    self.bgp.iter_mut().for_each(|bgp| bgp.tunnel(false));
                }
                Effect::PlaneFailed { child, error } => tracing::error!(?child, %error, "not installed"),
            }
        }
    }

    fn send(&self, transmit: &Transmit) {
        let socket = if transmit.local.port() == 500 { &self.ike } else { &self.nat_t };
        let marked = [&[0; 4], transmit.payload.as_slice()].concat();
        let octets = if transmit.non_esp_marker { &marked } else { &transmit.payload };
        let source: IpAddr = transmit.local.ip();
        // A datagram that cannot be sent is lost like any other; IKE repeats it.
        if let Err(error) = socket.send_to(octets, Some(source), transmit.remote) {
            tracing::warn!(%error, remote = %transmit.remote, "cannot send");
        }
    }
}

fn watch_signals(mailbox: Arc<Mailbox>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let (Ok(mut terminate), Ok(mut interrupt)) =
                (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                mailbox.post(Wish::Quit);
            }
        });
    })?;
    Ok(())
}

/// Lines on standard input: `rekey ike`, `rekey child`, `delete`, `initiate`, `med N` (`med` alone: none),
/// `status`.
fn watch_operator(mailbox: Arc<Mailbox>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let words: Vec<&str> = line.split_whitespace().collect();
            mailbox.post(match words.as_slice() {
                ["rekey", "ike"] => Wish::Command(Command::RekeyIke),
                ["rekey", "child"] => Wish::Command(Command::RekeyChild),
                ["delete"] => Wish::Command(Command::Reset),
                ["initiate"] => Wish::Command(Command::Initiate),
                ["med", number @ ..] => Wish::Med(number.first().and_then(|number| number.parse().ok())),
                ["status"] => Wish::Status,
                _ => {
                    tracing::warn!(
                        "unknown: {line:?}; known: rekey ike, rekey child, delete, initiate, med, status"
                    );
                    continue;
                }
            });
        }
    });
}
