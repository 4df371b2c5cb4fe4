//! The handle that the supervisor holds.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use esp::{InboundSa, OutboundSa, Selectors};
use model::{Encapsulation, Spi};
use net::netlink::{LinkChange, Netlink};
use net::raw::EspSocket;
use net::tun::Tun;
use net::udp::{UdpOptions, UdpSocket};

use crate::counters::{Cells, Tally};
use crate::deliver::Delivery;
use crate::inbound::{Command, Commands, Inbound, InboundWorker};
use crate::offload;
use crate::outbound::OutboundWorker;
use crate::send::{after_batch, send_one};
use crate::shared::{Outbound, Shared, Wire, instant};
use crate::{Child, ChildStats, Error, Event, InjectError, OffloadState, Stats, Tap, TunnelConfig};

/// Children at one time: the active one, its successor, and those that drain. The negotiator keeps half as many, so
/// that an install never meets the limit because a retire is still on its way.
pub const MAX_CHILDREN: usize = 16;
/// 10 ms of a 10 Gbit/s path; 1 MiB loses packets on a loaded machine.
const RECEIVE_BUFFER: usize = 16 << 20;
/// 1 ms of a 10 Gbit/s path.
const SEND_BUFFER: usize = 2 << 20;
/// The default of 500 loses packets whenever the worker is off its CPU for a scheduler's slice.
const TXQUEUELEN: u32 = 10_000;
/// How long the receive worker may take to answer.
const WORKER_WAIT: Duration = Duration::from_secs(2);
/// The longest packet that `inject` takes.
const MAX_INJECT: usize = 9_000;

/// A running tunnel. Dropping it stops and joins the workers and removes the TUN interface.
pub struct Tunnel {
    shared: Arc<Shared>,
    commands: Arc<Commands>,
    control: Mutex<Control>,
    index: u32,
    workers: Vec<JoinHandle<()>>,
}

/// What only the handle knows.
#[derive(Default)]
struct Control {
    children: Vec<Arc<Outbound>>,
    active: Option<u64>,
    udp: Option<(Arc<UdpSocket>, SocketAddr)>,
    raw: Option<(Arc<EspSocket>, SocketAddr, SocketAddr)>,
    /// Packets the interface had dropped when the first child came. The kernel's own first words on a new interface
    /// (MLD) may be among them; before there was an SA nothing could be lost.
    interface_drops: Option<u64>,
}

impl Tunnel {
    /// Creates the TUN interface with its addresses and starts the workers, in the caller's network namespace. No
    /// socket is opened until a child is installed.
    ///
    /// # Errors
    /// The kernel's: no CAP_NET_ADMIN, or an interface of that name exists.
    pub fn start(config: TunnelConfig, events: Arc<dyn Fn(Event) + Send + Sync>) -> Result<Self, Error> {
        let tun = Tun::create(&config.interface, config.offload.tun)?;
        let index = set_up_interface(&config)?;
        let states = offload::negotiate(&tun, config.offload);
        let name = config.name.clone();
        let thread_error = |source| Error::Thread { tunnel: name.clone(), source };
        let shared = Arc::new(Shared::new(config, events).map_err(thread_error)?);
        let commands = Arc::new(Commands::default());
        let inbound_tun = tun.try_clone().map_err(thread_error)?;
        *shared.offload() = states;
        let gso = states.udp_gso == OffloadState::On;
        let outbound = OutboundWorker::new(Arc::clone(&shared), tun, gso);
        let delivery = Delivery::new(inbound_tun, &states);
        let inbound = InboundWorker::new(Arc::clone(&shared), Arc::clone(&commands), delivery);
        let mut tunnel = Self { shared, commands, control: Mutex::default(), index, workers: Vec::new() };
        tunnel.spawn("out", move || outbound.run()).map_err(thread_error)?;
        tunnel.spawn("in", move || inbound.run()).map_err(thread_error)?;
        Ok(tunnel)
    }

    fn spawn(&mut self, kind: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let name = format!("{}-{kind}", self.shared.config.name).replace('\0', "");
        let mourner = Mourner(Arc::clone(&self.shared));
        let worker = std::thread::Builder::new().name(name).spawn(move || {
            let _mourner = mourner;
            body();
        })?;
        self.workers.push(worker);
        Ok(())
    }

    /// Installs both directions of a child SA. When it returns, inbound packets decrypt.
    ///
    /// # Errors
    /// When the keys do not fit, the id is taken, too many children exist, or a socket cannot be opened.
    pub fn install(&self, child: Child) -> Result<(), Error> {
        let mut control = self.control();
        if control.children.len() >= MAX_CHILDREN {
            return Err(Error::TooManyChildren { limit: MAX_CHILDREN });
        }
        if control.children.iter().any(|other| other.id == child.id || other.spi_in == child.spi_in) {
            return Err(Error::Duplicate);
        }
        let keys = |e: esp::KeyError| Error::Keys { id: child.id, text: e.to_string() };
        let window = self.shared.config.replay_window;
        let inbound = InboundSa::new(child.spi_in, child.suite, &child.keys_in, window).map_err(keys)?;
        let sa = OutboundSa::new(child.spi_out, child.suite, &child.keys_out).map_err(keys)?;
        let wire = self.wire(&mut control, child.local, child.remote, child.encapsulation)?;
        if control.interface_drops.is_none() {
            control.interface_drops = Some(self.interface_drops());
        }
        let selectors = Arc::new(Selectors::new(child.ts_local, child.ts_remote));
        let cells = Arc::new(Cells::default());
        let inbound = Inbound::new(child.id, inbound, Arc::clone(&selectors), Arc::clone(&cells));
        self.ask(|done| Command::Install(Box::new(inbound), done))?;
        control.children.push(Arc::new(Outbound {
            id: child.id,
            spi_in: child.spi_in,
            sa: Arc::new(sa),
            selectors,
            cells,
            wire,
            announced: Arc::new(AtomicBool::new(false)),
        }));
        if child.activate_outbound {
            self.make_active(&mut control, child.id);
        }
        Ok(())
    }

    /// Moves outbound traffic to this child. An unknown id changes nothing.
    pub fn activate(&self, id: u64) {
        self.make_active(&mut self.control(), id);
    }

    /// Removes both directions of this child. An unknown id changes nothing.
    pub fn retire(&self, id: u64) {
        let mut control = self.control();
        control.children.retain(|child| child.id != id);
        if control.active == Some(id) {
            control.active = None;
            self.shared.publish(None);
        }
        self.tell(Command::Retire(id));
        if !control.children.iter().any(|child| child.wire.encapsulation() == Encapsulation::Esp)
            && control.raw.take().is_some()
        {
            // Without the socket the kernel answers stray protocol 50 itself, as on a machine without IPsec.
            let (done, _) = sync_channel(1);
            self.tell(Command::Raw(None, done));
        }
    }

    /// The peer's outside address changed (NAT rebinding), as an authenticated IKE message said.
    ///
    /// # Errors
    /// When the kernel has no route there, or the raw socket cannot be opened.
    pub fn set_path(
        &self,
        id: u64,
        local: SocketAddr,
        remote: SocketAddr,
        encapsulation: Encapsulation,
    ) -> Result<(), Error> {
        let mut control = self.control();
        if !control.children.iter().any(|child| child.id == id) {
            return Ok(());
        }
        let wire = self.wire(&mut control, local, remote, encapsulation)?;
        for child in control.children.iter_mut().filter(|child| child.id == id) {
            *child = Arc::new(Outbound { wire: Arc::clone(&wire), ..Outbound::clone(child) });
        }
        if control.active == Some(id) {
            self.make_active(&mut control, id);
        }
        Ok(())
    }

    /// Seals and sends one inner packet now, from any thread; for probes.
    ///
    /// # Errors
    /// When no child is active or the packet does not fit.
    pub fn inject(&self, inner: &[u8]) -> Result<(), InjectError> {
        let guard = self.shared.outbound.load();
        let out = guard.as_deref().ok_or(InjectError::NoSa)?;
        let next_header = esp::next_header_of(inner).ok_or(InjectError::Packet)?;
        let tos = esp::ecn::traffic_class(inner).ok_or(InjectError::Packet)?;
        if inner.len() > self.shared.limits.inner().min(MAX_INJECT) {
            return Err(InjectError::Packet);
        }
        if !out.selectors.permits_outbound(inner) {
            return Err(InjectError::Selector);
        }
        if let Some(tap) = self.shared.tap.port() {
            tap.outbound(inner);
        }
        let sequence = out.sa.reserve(1).map_err(|_| InjectError::Exhausted)?;
        let mut sealed = vec![0; out.sa.sealed_len(inner.len())];
        if out.sa.seal_into(sequence, inner, next_header, &mut sealed) == 0 {
            return Err(InjectError::Packet);
        }
        send_one(&sealed, esp::ecn::encapsulate(tos), &*out.wire)
            .map_err(|e| InjectError::Send(e.raw_os_error().unwrap_or(0)))?;
        let mut tally = Tally::default();
        tally.sent(1, inner.len() as u64);
        tally.calls.sends = 1;
        tally.calls.send_packets = 1;
        out.cells.publish(&tally);
        self.shared.cells.publish(&tally);
        after_batch(out, &self.shared, true);
        Ok(())
    }

    /// Copies every inner packet to `tap` too, marked with the number beside it, until it is called with `None`.
    pub fn tap(&self, tap: Option<(Arc<Tap>, u32)>) {
        self.shared.tap.plug(tap);
    }

    /// Hands over an ESP datagram that arrived on another socket (the wildcard one, after the peer's NAT rebound).
    /// It takes the same way as one from the tunnel's own socket; when the queue is full it is dropped and counted.
    pub fn deliver(&self, datagram: &[u8], remote: SocketAddr) {
        if !self.tell(Command::Datagram(datagram.to_vec(), remote)) {
            let mut tally = Tally::default();
            tally.drop(esp::DropReason::QueueFull);
            self.shared.cells.publish(&tally);
        }
    }

    /// Sets the MTU of the TUN interface and of every rule that depends on it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        let change = LinkChange { mtu: Some(u32::from(mtu)), ..LinkChange::default() };
        Netlink::open()?.set_link(self.index, &change)?;
        self.shared.limits.interface.store(mtu, Relaxed);
        Ok(())
    }

    /// A snapshot of all counters. To be called in the network namespace that the tunnel was started in.
    pub fn stats(&self) -> Stats {
        let control = self.control();
        let children = control
            .children
            .iter()
            .map(|child| ChildStats {
                id: child.id,
                spi_in: child.spi_in,
                spi_out: child.sa.spi(),
                active: control.active == Some(child.id),
                traffic: child.cells.traffic(),
                drops: child.cells.drops(),
            })
            .collect();
        let shared = &self.shared;
        let offload = *shared.offload();
        let mut drops = shared.cells.drops();
        drops.queue += self.kernel_drops(&control);
        Stats {
            total: shared.cells.traffic(),
            drops,
            children,
            last_rx: instant(shared.last_rx.load(Relaxed)),
            last_tx: instant(shared.last_tx.load(Relaxed)),
            encapsulation: shared.outbound.load().as_deref().map(|out| out.wire.encapsulation()),
            offload,
            calls: shared.cells.calls(),
        }
    }

    /// What was lost before our eyes: in the sockets' receive buffers and in the interface's queue.
    fn kernel_drops(&self, control: &Control) -> u64 {
        let udp = control.udp.as_ref().map_or(0, |(socket, _)| socket.dropped());
        let raw = control.raw.as_ref().map_or(0, |(socket, ..)| socket.dropped());
        let interface =
            control.interface_drops.map_or(0, |before| self.interface_drops().saturating_sub(before));
        udp + raw + interface
    }

    fn interface_drops(&self) -> u64 {
        let link = Netlink::open().and_then(|mut netlink| netlink.link(self.interface()));
        link.map_or(0, |link| link.tx_dropped)
    }

    /// Whether every worker went round its loop since this was asked before (the first time: yes), and asks again.
    /// Workers that wait for packets are woken to answer; give them some seconds.
    pub fn workers_answered(&self) -> bool {
        let outbound = self.shared.heart_outbound.ask();
        let inbound = self.shared.heart_inbound.ask();
        self.shared.wake_outbound.wake();
        self.shared.wake_inbound.wake();
        outbound && inbound
    }

    /// The name of the TUN interface.
    pub fn interface(&self) -> &str {
        &self.shared.config.interface
    }

    /// The kernel's number of the TUN interface, for routes.
    pub const fn interface_index(&self) -> u32 {
        self.index
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_active(&self, control: &mut Control, id: u64) {
        if let Some(child) = control.children.iter().find(|child| child.id == id) {
            let child = Arc::clone(child);
            self.shared.publish(Some(Arc::clone(&child)));
            // A PPPoE line, or what an earlier packet taught the kernel.
            self.shared.refresh_path_mtu(&child);
            control.active = Some(id);
        }
    }

    fn tell(&self, command: Command) -> bool {
        let queued = self.commands.push(command);
        self.shared.wake_inbound.wake();
        queued
    }

    /// Gives the receive worker a command and waits until it has carried it out.
    fn ask(&self, command: impl FnOnce(SyncSender<()>) -> Command) -> Result<(), Error> {
        let (done, wait) = sync_channel(1);
        if self.tell(command(done)) && wait.recv_timeout(WORKER_WAIT).is_ok() {
            return Ok(());
        }
        Err(Error::Worker { tunnel: self.shared.config.name.clone(), seconds: WORKER_WAIT.as_secs() })
    }

    /// The socket for a path, opened or turned to the new peer when it is not yet.
    fn wire(
        &self,
        control: &mut Control,
        local: SocketAddr,
        remote: SocketAddr,
        encapsulation: Encapsulation,
    ) -> Result<Wire, Error> {
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(Error::Address(format!("{local} and {remote} are of different families")));
        }
        match encapsulation {
            Encapsulation::Udp => self.udp(control, local, remote).map(|socket| socket as Wire),
            Encapsulation::Esp => self.raw(control, local, remote).map(|socket| socket as Wire),
        }
    }

    fn udp(
        &self,
        control: &mut Control,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Arc<UdpSocket>, Error> {
        match &mut control.udp {
            Some((socket, connected)) if socket.local() == local => {
                if *connected != remote {
                    socket.connect(remote)?;
                    *connected = remote;
                }
                Ok(Arc::clone(socket))
            }
            _ => {
                let options = UdpOptions {
                    device: None,
                    receive_buffer: Some(RECEIVE_BUFFER),
                    send_buffer: Some(SEND_BUFFER),
                };
                let socket = Arc::new(UdpSocket::bind(local, &options)?);
                socket.connect(remote)?;
                if self.shared.config.offload.udp_gro {
                    self.shared.offload().udp_gro = match socket.set_gro(true) {
                        Ok(()) => OffloadState::On,
                        Err(e) => OffloadState::Unavailable(e.raw_os_error().unwrap_or(0)),
                    };
                }
                self.ask(|done| Command::Udp(Arc::clone(&socket), done))?;
                control.udp = Some((Arc::clone(&socket), remote));
                Ok(socket)
            }
        }
    }

    fn raw(
        &self,
        control: &mut Control,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Arc<EspSocket>, Error> {
        if let Some((socket, from, to)) = &control.raw
            && (from.ip(), to.ip()) == (local.ip(), remote.ip())
        {
            return Ok(Arc::clone(socket));
        }
        let socket = Arc::new(EspSocket::open(local.ip(), remote.ip(), RECEIVE_BUFFER, SEND_BUFFER)?);
        self.ask(|done| Command::Raw(Some(Arc::clone(&socket)), done))?;
        control.raw = Some((Arc::clone(&socket), local, remote));
        Ok(socket)
    }
}

/// Lives on a worker's stack: should the worker panic, the supervisor hears of it instead of waiting for ever.
struct Mourner(Arc<Shared>);

impl Drop for Mourner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = format!("a data-plane worker of {} panicked; this is a bug", self.0.config.name);
            self.0.emit(Event::Failed { text });
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.shared.wake_outbound.wake();
        self.shared.wake_inbound.wake();
        for worker in self.workers.drain(..) {
            // A worker that panicked has nothing left to clean up.
            let _ = worker.join();
        }
    }
}

/// The interface's index, after it has its MTU and addresses and is up.
fn set_up_interface(config: &TunnelConfig) -> Result<u32, Error> {
    let interface = &config.interface;
    // No link-local address, so no router solicitations into the tunnel; and loose reverse-path filtering, since
    // AWS may answer through the other tunnel. Neither is worth failing for: the kernel may lack IPv6.
    let _ = net::sysctl::write(&format!("net.ipv6.conf.{interface}.addr_gen_mode"), "1");
    let _ = net::sysctl::write(&format!("net.ipv4.conf.{interface}.rp_filter"), "2");
    let mut netlink = Netlink::open()?;
    let index = netlink.link(interface)?.index;
    for address in &config.inside {
        netlink.add_address(index, *address)?;
    }
    let change = LinkChange {
        up: Some(true),
        mtu: Some(u32::from(config.mtu)),
        txqueuelen: Some(TXQUEUELEN),
        ..LinkChange::default()
    };
    netlink.set_link(index, &change)?;
    Ok(index)
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let children: Vec<Spi> = self.control().children.iter().map(|child| child.spi_in).collect();
        f.debug_struct("Tunnel")
            .field("name", &self.shared.config.name)
            .field("interface", &self.shared.config.interface)
            .field("children", &children)
            .finish_non_exhaustive()
    }
}
