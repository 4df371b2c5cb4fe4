//! The BGP session of one line: the speaker, and the TCP connections that it asks for.
//!
//! `bgp` decides; this file connects from the inside address, bound to the tunnel's interface so that a session
//! never takes another way, listens there on port 179, and moves bytes. Everything that arrives goes through the
//! control loop's inbox, so the speaker is fed in one place and in order.

mod report;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bgp::{Connection, Input, Notice, Output, Speaker};
use ipnet::IpNet;
use model::Instant;
use routes::PathAttributes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::inbox::{Incoming, LineId};
use crate::api;
use crate::translate;
use crate::translate::failure::Finding;

/// BGP's port (RFC 4271 §4.2).
const PORT: u16 = 179;
/// Octets read at once; the largest message has 4,096 (RFC 4271 §4.1).
const READ: usize = 16 << 10;
/// Writes waiting for one connection; a neighbour that takes none of them is as good as gone.
const WRITES_MAX: usize = 256;
/// Connections of the neighbour's that wait to be accepted.
const BACKLOG: u32 = 4;
/// A listener that cannot be opened is tried again after this time.
const LISTEN_RETRY: Duration = Duration::from_secs(2);
/// Data that is not acknowledged within this time ends the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Network control (RFC 4271 says nothing; routers mark BGP as CS6, RFC 4594 §3.2).
const TOS: u8 = 0xc0;
/// The error code of a session ended on purpose (RFC 4271 §6.7).
const CEASE: u8 = 6;
/// Added to the MED while drained: AWS compares it among equal paths and prefers the lower.
const MED_DRAINED: u32 = 1000;

pub(super) use report::report;

/// What a connection's task tells the control loop.
#[derive(Debug)]
pub(super) enum Event {
    /// The neighbour connected.
    Accepted(TcpStream),
    /// Our connect succeeded.
    Connected(Connection, TcpStream),
    /// Octets of the stream.
    Received(Connection, Vec<u8>),
    /// The connection ended, or could not be made.
    Closed(Connection, String),
}

/// A speaker with its connections.
pub(super) struct Session {
    line: LineId,
    interface: String,
    speaker: Speaker,
    inbox: mpsc::Sender<Incoming>,
    connections: BTreeMap<Connection, Wire>,
    /// Tasks that write the last words of a connection.
    leaving: Vec<JoinHandle<()>>,
    next_inbound: u64,
    listener: JoinHandle<()>,
    tunnel_up: bool,
    /// What the neighbour offers and we accept.
    routes: BTreeMap<IpNet, PathAttributes>,
    /// Rises whenever `routes` changes.
    learned: u64,
    /// AWS ended the last session on purpose.
    ceased: bool,
    /// The MED to announce while the tunnel is in service.
    med: Option<u32>,
    drained: bool,
    /// What happened outside of a turn.
    untold: Vec<Finding>,
}

/// One connection's task.
struct Wire {
    /// `None` while it is being made.
    writes: Option<mpsc::Sender<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Session {
    /// A session at rest, and a listener.
    ///
    /// # Errors
    /// When the configuration cannot work, in words.
    pub(super) fn new(
        line: LineId,
        config: bgp::Config,
        interface: &str,
        inbox: &mpsc::Sender<Incoming>,
        now: Instant,
    ) -> Result<Self, String> {
        let local = SocketAddr::new(config.local_addr, PORT);
        let peer = config.peer_addr;
        let med = config.med_out;
        let speaker = Speaker::new(config, now).map_err(|error| error.to_string())?;
        let listener = listen(line, local, interface.to_owned(), peer, inbox.clone());
        Ok(Self {
            line,
            interface: interface.to_owned(),
            speaker,
            inbox: inbox.clone(),
            connections: BTreeMap::new(),
            leaving: Vec::new(),
            next_inbound: 0,
            listener: tokio::spawn(listener),
            tunnel_up: false,
            routes: BTreeMap::new(),
            learned: 0,
            ceased: false,
            med,
            drained: false,
            untold: Vec::new(),
        })
    }

    /// Whether routes are exchanged.
    pub(super) fn established(&self) -> bool {
        self.speaker.status().state == bgp::status::State::Established
    }

    /// What the neighbour offers.
    pub(super) fn routes(&self) -> &BTreeMap<IpNet, PathAttributes> {
        &self.routes
    }

    /// Whether AWS itself ended the session, by Cease: nothing is wrong with the tunnel then.
    pub(super) fn ceased(&self) -> bool {
        self.ceased
    }

    fn remember(&mut self, notice: &Notice) {
        match notice {
            Notice::Established { .. } => self.ceased = false,
            Notice::Notification(seen) => self.ceased = seen.by_peer && seen.code == CEASE,
            _ => {}
        }
    }

    /// A number that is another one whenever [`Session::routes`] are others.
    pub(super) fn learned(&self) -> u64 {
        self.learned
    }

    /// For `status`.
    pub(super) fn status(&self, now: Instant) -> api::Bgp {
        let status = self.speaker.status();
        let config = self.speaker.config();
        let established = status.state == bgp::status::State::Established;
        api::Bgp {
            state: status.state.to_string(),
            peer: config.peer_addr,
            asn: config.remote_as,
            received: u64::from(status.received),
            accepted: u64::from(status.accepted),
            advertised: u64::from(status.advertised),
            uptime_seconds: established.then(|| (now - status.since).as_secs_f64()),
            waiting_for: status.waiting_for,
        }
    }

    /// NOTIFICATIONs received and sent since the session was made.
    pub(super) fn notifications(&self) -> (u64, u64) {
        let counters = self.speaker.status().counters;
        (counters.notifications_in, counters.notifications_out)
    }

    /// When [`Session::turn`] wants to be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.speaker.poll_timeout().map(|(at, _)| at)
    }

    /// Follows the tunnel, and does what is due.
    pub(super) fn turn(&mut self, tunnel_up: bool, now: Instant) -> Vec<Finding> {
        if tunnel_up != self.tunnel_up {
            self.tunnel_up = tunnel_up;
            self.speaker.handle_input(now, if tunnel_up { Input::TunnelUp } else { Input::TunnelDown });
        }
        if self.deadline().is_some_and(|at| at <= now) {
            self.speaker.handle_timeout(now);
        }
        let mut findings = std::mem::take(&mut self.untold);
        findings.extend(self.drain());
        findings
    }

    /// The operator drains the tunnel, or puts it back: AWS is asked to prefer the other one, or not.
    pub(super) fn drain_tunnel(&mut self, drained: bool, now: Instant) {
        self.drained = drained;
        self.command(bgp::Command::AdvertiseMed(self.med_now()), now);
    }

    /// Asks the neighbour for all its routes again.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub(super) fn refresh(&mut self, now: Instant) -> Result<(), String> {
        if !self.established() {
            return Err("the session is not Established; `cgwd bgp` says what it waits for".to_owned());
        }
        let before = self.speaker.status().counters.refreshes_out;
        self.command(bgp::Command::RouteRefresh, now);
        match self.speaker.status().counters.refreshes_out > before {
            true => Ok(()),
            false => Err("the neighbour does not offer route refresh (RFC 2918)".to_owned()),
        }
    }

    fn med_now(&self) -> Option<u32> {
        if self.drained { Some(self.med.unwrap_or(0).saturating_add(MED_DRAINED)) } else { self.med }
    }

    fn command(&mut self, command: bgp::Command, now: Instant) {
        self.speaker.handle_input(now, Input::Command(command));
        let findings = self.drain();
        self.untold.extend(findings);
    }

    /// Takes over a changed configuration without ending the session, where that can be done: other prefixes,
    /// limits, MED, prepending. False when it needs a new session; then nothing changed.
    pub(super) fn adopt(&mut self, new: &bgp::Config, now: Instant) -> bool {
        let old = self.speaker.config().clone();
        let alike = bgp::Config {
            advertise: new.advertise.clone(),
            accept: new.accept.clone(),
            accept_default: new.accept_default,
            max_prefix_in: new.max_prefix_in,
            max_prefix_out: new.max_prefix_out,
            med_out: new.med_out,
            prepend: new.prepend,
            ..old.clone()
        };
        if alike != *new {
            return false;
        }
        self.med = new.med_out;
        let (max_prefix_in, max_prefix_out) = (new.max_prefix_in, new.max_prefix_out);
        let (accept, accept_default) = (new.accept.clone(), new.accept_default);
        let mut commands = Vec::new();
        if (old.max_prefix_in, old.max_prefix_out) != (max_prefix_in, max_prefix_out) {
            commands.push(bgp::Command::Limits { max_prefix_in, max_prefix_out });
        }
        if (&old.accept, old.accept_default) != (&accept, accept_default) {
            commands.push(bgp::Command::Accept { accept, accept_default });
        }
        if old.advertise != new.advertise {
            commands.push(bgp::Command::Advertise(new.advertise.clone()));
        }
        if old.med_out != self.med_now() {
            commands.push(bgp::Command::AdvertiseMed(self.med_now()));
        }
        if old.prepend != new.prepend {
            commands.push(bgp::Command::Prepend(new.prepend));
        }
        for command in commands {
            self.command(command, now);
        }
        true
    }

    /// Says goodbye (Cease, RFC 9003) and stays down.
    pub(super) fn shut_down(&mut self, now: Instant) {
        let command = bgp::Command::Shutdown("the gateway stops".to_owned());
        self.speaker.handle_input(now, Input::Command(command));
        self.drain();
    }

    /// Whether all that was to be written has been.
    pub(super) fn quiet(&self) -> bool {
        self.leaving.iter().all(JoinHandle::is_finished)
    }

    /// Takes what a connection's task says.
    pub(super) fn event(&mut self, event: Event, now: Instant) -> Vec<Finding> {
        match event {
            Event::Accepted(stream) => {
                self.next_inbound += 1;
                let connection = Connection::Inbound(self.next_inbound);
                self.attach(connection, stream);
                self.speaker.handle_input(now, Input::Connected(connection));
            }
            Event::Connected(connection, stream) if self.connections.contains_key(&connection) => {
                self.attach(connection, stream);
                self.speaker.handle_input(now, Input::Connected(connection));
            }
            Event::Received(connection, bytes) if self.connections.contains_key(&connection) => {
                self.speaker.handle_input(now, Input::Received { connection, bytes: &bytes });
            }
            Event::Closed(connection, why) if self.connections.remove(&connection).is_some() => {
                self.speaker.handle_input(now, Input::Closed { connection, why: &why });
            }
            // Of a connection that the speaker has forgotten.
            Event::Connected(..) | Event::Received(..) | Event::Closed(..) => {}
        }
        self.drain()
    }

    fn drain(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        while let Some(output) = self.speaker.poll_output() {
            match output {
                Output::Connect(connection) => self.connect(connection),
                Output::Send { connection, bytes } => self.write(connection, bytes),
                Output::Close(connection) => self.close(connection),
                Output::RoutesChanged(changed) => {
                    self.learned += 1;
                    for prefix in changed.withdrawn {
                        self.routes.remove(&prefix);
                    }
                    self.routes.extend(changed.reachable.iter().map(translate::bgp::path));
                }
                Output::Notice(notice) => {
                    self.remember(&notice);
                    findings.extend(words::finding(&notice));
                }
            }
        }
        findings
    }

    fn connect(&mut self, connection: Connection) {
        let config = self.speaker.config();
        let (local, remote) =
            (SocketAddr::new(config.local_addr, 0), SocketAddr::new(config.peer_addr, PORT));
        let (line, inbox, interface) = (self.line, self.inbox.clone(), self.interface.clone());
        let task = tokio::spawn(async move {
            let event = match dial(local, remote, &interface).await {
                Ok(stream) => Event::Connected(connection, stream),
                Err(why) => Event::Closed(connection, why),
            };
            let _ = inbox.send(Incoming::Bgp { line, event }).await;
        });
        self.connections.insert(connection, Wire { writes: None, task });
    }

    fn attach(&mut self, connection: Connection, stream: TcpStream) {
        let (writes, queue) = mpsc::channel(WRITES_MAX);
        let task = tokio::spawn(converse(self.line, connection, stream, queue, self.inbox.clone()));
        self.connections.insert(connection, Wire { writes: Some(writes), task });
    }

    fn write(&mut self, connection: Connection, bytes: Vec<u8>) {
        let writes = self.connections.get(&connection).and_then(|wire| wire.writes.as_ref());
        if writes.is_some_and(|writes| writes.try_send(bytes).is_err()) {
            // It takes nothing any more; the hold timer ends what the closed stream does not.
            tracing::warn!("BGP {}: the neighbour reads nothing, connection dropped", self.interface);
            if let Some(wire) = self.connections.get(&connection) {
                wire.task.abort();
            }
        }
    }

    /// The task writes what is queued and ends when its queue does; one that still connects ends at once.
    fn close(&mut self, connection: Connection) {
        let Some(wire) = self.connections.remove(&connection) else { return };
        self.leaving.retain(|task| !task.is_finished());
        if wire.writes.is_none() {
            wire.task.abort();
        } else {
            self.leaving.push(wire.task);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.listener.abort();
        for wire in self.connections.values().filter(|wire| wire.writes.is_none()) {
            wire.task.abort();
        }
    }
}

async fn dial(local: SocketAddr, remote: SocketAddr, interface: &str) -> Result<TcpStream, String> {
    let socket = socket(local, interface).map_err(|error| error.to_string())?;
    let stream = socket.connect(remote).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

/// A socket bound to the inside address and to the interface.
fn socket(local: SocketAddr, interface: &str) -> Result<TcpSocket, net::Error> {
    let wrap = |error| net::Error::system(format!("open TCP socket {local} on {interface}"), error);
    let socket = if local.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(wrap)?;
    socket.set_reuseaddr(true).map_err(wrap)?;
    net::tcp::bind_to_device(&socket, interface)?;
    net::tcp::set_user_timeout(&socket, USER_TIMEOUT)?;
    net::tcp::set_tos(&socket, local.is_ipv6(), TOS)?;
    socket.bind(local).map_err(wrap)?;
    Ok(socket)
}

async fn listen(
    line: LineId,
    local: SocketAddr,
    interface: String,
    peer: std::net::IpAddr,
    inbox: mpsc::Sender<Incoming>,
) {
    let mut said = String::new();
    loop {
        match listener(local, &interface).map_err(|error| error.to_string()) {
            Ok(listener) => accept(line, &listener, peer, &inbox).await,
            Err(error) if error == said => {}
            Err(error) => {
                tracing::warn!("{error}; AWS cannot connect to us, we still connect to it");
                said = error;
            }
        }
        tokio::time::sleep(LISTEN_RETRY).await;
    }
}

fn listener(local: SocketAddr, interface: &str) -> Result<TcpListener, net::Error> {
    let socket = socket(local, interface)?;
    socket.listen(BACKLOG).map_err(|error| net::Error::system(format!("listen on {local}"), error))
}

async fn accept(
    line: LineId,
    listener: &TcpListener,
    peer: std::net::IpAddr,
    inbox: &mpsc::Sender<Incoming>,
) {
    loop {
        match listener.accept().await {
            // Only the neighbour itself belongs here; whoever else lies behind the tunnel does not.
            Ok((stream, from)) if from.ip() == peer => {
                let event = Event::Accepted(stream);
                if inbox.send(Incoming::Bgp { line, event }).await.is_err() {
                    return;
                }
            }
            Ok((_, from)) => tracing::debug!("BGP connection from {from} refused: not the neighbour"),
            Err(error) => {
                tracing::warn!("BGP listener: {error}");
                return;
            }
        }
    }
}

/// Reads until the stream ends, writes until the queue does.
async fn converse(
    line: LineId,
    connection: Connection,
    mut stream: TcpStream,
    mut queue: mpsc::Receiver<Vec<u8>>,
    inbox: mpsc::Sender<Incoming>,
) {
    let mut buffer = vec![0; READ];
    let mut broken = None;
    let why = loop {
        tokio::select! {
            bytes = queue.recv(), if broken.is_none() => match bytes {
                // What the neighbour said before it closed is still to be read: its NOTIFICATION, mostly.
                Some(bytes) => broken = stream.write_all(&bytes).await.err().map(|error| error.to_string()),
                None => {
                    // Everything was written; the speaker expects no answer.
                    let _ = stream.shutdown().await;
                    return;
                }
            },
            read = stream.read(&mut buffer) => match read {
                Ok(0) => break broken.unwrap_or_default(),
                Ok(len) => {
                    let bytes = buffer.get(..len).unwrap_or_default().to_vec();
                    let event = Event::Received(connection, bytes);
                    if inbox.send(Incoming::Bgp { line, event }).await.is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error.to_string(),
            },
        }
    };
    let _ = inbox.send(Incoming::Bgp { line, event: Event::Closed(connection, why) }).await;
}
