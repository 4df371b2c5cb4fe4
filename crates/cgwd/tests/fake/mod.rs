//! A control server with canned answers, on a socket of its own, and the command line to talk to it.

#![allow(unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use cgwd::api::{
    Child, Connection, Drops, Event, Events, Ike, LastError, Probe, Redundancy, Stage, Status, Tunnel,
};
use cgwd::control::server::Server;
use cgwd::control::{Action, Refusal, Request};
use tokio::sync::{mpsc, oneshot, watch};

/// What the fake daemon knows.
#[derive(Default)]
pub struct World {
    pub status: Option<Status>,
    pub events: Vec<Event>,
    pub acted: Vec<(String, Action)>,
}

/// A running fake daemon.
pub struct Fake {
    pub directory: tempfile::TempDir,
    pub world: Arc<Mutex<World>>,
    newest: watch::Sender<u64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start(world: World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sock");
        let world = Arc::new(Mutex::new(world));
        let (newest, follow) = watch::channel(0);
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let shared = Arc::clone(&world);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(&path).unwrap();
                let (requests, mut asked) = mpsc::channel(8);
                ready.send(()).unwrap();
                let answering = async {
                    while let Some(request) = asked.recv().await {
                        answer(request, &mut shared.lock().unwrap());
                    }
                };
                tokio::select! {
                    () = server.serve(requests, follow) => {}
                    () = answering => {}
                    _ = stopped => {}
                }
            });
        });
        started.recv().unwrap();
        Self { directory, world, newest, stop: Some(stop), thread: Some(thread) }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    pub fn cgwd(&self, arguments: &[&str]) -> Output {
        cgwd(&self.socket(), arguments)
    }

    pub fn add_event(&self, event: Event) {
        let id = event.id;
        self.world.lock().unwrap().events.push(event);
        self.newest.send_replace(id);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn answer(request: Request, world: &mut World) {
    match request {
        Request::Status(reply) => {
            if let Some(status) = &world.status {
                let _ = reply.send(status.clone());
            }
        }
        Request::Events { after, reply } => {
            let events: Vec<Event> = world.events.iter().filter(|event| event.id > after).cloned().collect();
            let last_id = world.events.last().map_or(0, |event| event.id);
            let _ = reply.send(Events { events, last_id });
        }
        Request::Capture { reply, .. } => {
            let _ = reply.send(Err(Refusal::conflict("another cgwd capture is under way")));
        }
        Request::Overview { after, reply } => {
            if let Some(status) = &world.status {
                let newer = world.events.iter().filter(|event| event.id > after);
                let events = Events {
                    events: newer.cloned().collect(),
                    last_id: world.events.last().map_or(0, |event| event.id),
                };
                let history = cgwd::api::History::default();
                let _ = reply.send(cgwd::api::Overview { status: status.clone(), history, events });
            }
        }
        Request::Act { tunnel, action, reply } => {
            let known = tunnel == "tunnel1" || tunnel == "vpn-0a1b/tunnel1";
            let _ = reply.send(if known {
                world.acted.push((tunnel, action));
                Ok("done".to_owned())
            } else {
                Err(Refusal::not_found(format!("no tunnel is called `{tunnel}`")))
            });
        }
        Request::Reload { brought: None, reply, .. } => {
            let _ = reply.send(Err(Refusal::unprocessable("cgwd.toml:3: unknown key")));
        }
        Request::Reload { brought: Some(brought), reply, .. } => {
            let _ = reply.send(Ok(format!("{} of {} octets", brought.name, brought.text.len())));
        }
        Request::Bgp(reply) => {
            let _ = reply.send(cgwd::api::BgpReport::default());
        }
        Request::Routes(reply) => {
            let _ = reply.send(cgwd::api::Routes::default());
        }
        Request::Config(reply) => {
            let _ = reply.send("connection vpn-0a1b\n".to_owned());
        }
        Request::Metrics(reply) => {
            let text = world
                .status
                .as_ref()
                .map(|status| cgwd::metrics::render(&cgwd::metrics::Snapshot::of(status.clone())));
            let _ = reply.send(text.unwrap_or_default());
        }
    }
}

/// Runs the command line against the daemon on `socket`.
pub fn cgwd(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgwd"));
    command.env_remove("CGWD_SOCKET").arg("--socket").arg(socket).args(arguments);
    command.output().unwrap()
}

pub fn event(id: u64, code: &str) -> Event {
    Event {
        id,
        time: "2026-08-01T12:00:00.000Z".to_owned(),
        tunnel: Some("tunnel1".to_owned()),
        connection: Some("vpn-0a1b".to_owned()),
        code: code.to_owned(),
        text: "something happened".to_owned(),
        took_ms: None,
    }
}

/// A status whose two tunnels are at these stages.
pub fn status(first: Stage, second: Stage) -> Status {
    let stages = [first, second];
    let redundancy = cgwd::tunnel::stage::redundancy([&stages[..]]);
    Status {
        schema: 1,
        version: "0.1.0".to_owned(),
        uptime_seconds: 12.5,
        redundancy,
        connections: vec![Connection {
            id: "vpn-0a1b".to_owned(),
            routing: "static".to_owned(),
            tunnels: vec![
                tunnel("tunnel1", "198.51.100.1", first, redundancy != Redundancy::None),
                tunnel("tunnel2", "203.0.113.1", second, false),
            ],
        }],
    }
}

fn tunnel(name: &str, outside: &str, stage: Stage, egress: bool) -> Tunnel {
    let up = stage == Stage::Up;
    Tunnel {
        name: name.to_owned(),
        outside_ip: outside.parse().unwrap(),
        interface: "cgw0".to_owned(),
        inside_ip: Some("169.254.10.2".parse().unwrap()),
        mtu: 1438,
        stage,
        since_seconds: 3.2,
        egress,
        drained: false,
        ike: up.then(|| Ike {
            state: "established".to_owned(),
            spi_i: "00000000deadbeef".to_owned(),
            spi_r: "00000000cafebabe".to_owned(),
            role: "initiator".to_owned(),
            proposal: "AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384".to_owned(),
            ppk: false,
            established_seconds: 3.2,
            rekey_in_seconds: 20_000.0,
            expires_in_seconds: 28_800.0,
            rekeys: 0,
        }),
        child: up.then(|| Child {
            state: "installed".to_owned(),
            spi_in: "c0ffee12".to_owned(),
            spi_out: "1234abcd".to_owned(),
            proposal: "AES_GCM_16_256".to_owned(),
            encapsulation: "udp".to_owned(),
            established_seconds: 3.2,
            rekey_in_seconds: 2_400.0,
            expires_in_seconds: 3_600.0,
            rekeys: 0,
            rx_packets: 1,
            rx_bytes: 84,
            tx_packets: 2,
            tx_bytes: 168,
            drops: Drops::default(),
            aead: "ring".to_owned(),
            offloads: std::collections::BTreeMap::from([(
                "udp_gso".to_owned(),
                "failed (errno 5)".to_owned(),
            )]),
            calls: std::collections::BTreeMap::new(),
        }),
        probe: up.then_some(Probe { rtt_ms: Some(1.2), loss_ratio: 0.0, sent: 3, received: 3 }),
        bgp: None,
        certificate: None,
        last_error: (!up).then(|| LastError {
            code: "IKE-NO-ANSWER".to_owned(),
            text: "no answer to IKE_SA_INIT".to_owned(),
            remedy: "Allow UDP 500.".to_owned(),
            seconds_ago: 40.0,
        }),
    }
}
