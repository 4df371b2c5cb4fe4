//! The daemon's life: start-up in an order that never leaves half a gateway behind, the loop, and the end.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::inbox::{INBOX_MAX, Incoming};
use super::keylog::KeyLog;
use super::notify::{self, Look, Watchdog};
use super::readiness::Readiness;
use super::routing::Routing;
use super::sockets::Sockets;
use super::{Supervisor, TICK, hooks, host, interfaces, now};
use crate::catalog::Code;
use crate::control::Request;
use crate::control::server::{BindError, REQUESTS_MAX, Server, serve_scrapes};
use crate::events::{Timeline, given_state_directory};
use crate::history::Recorder;
use crate::translate::failure::Finding;

/// How long the end waits for the peers' answers to our DELETE.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long it waits for the operator's hooks, which are killed then.
const GOODBYE_HOOKS: Duration = Duration::from_secs(3);
/// How long it waits for BGP's to be written.
const GOODBYE_BGP: Duration = Duration::from_millis(200);
/// How often it looks while it waits.
const STEP: Duration = Duration::from_millis(10);
/// Things taken from the inbox before timers have a turn.
const BURST_MAX: usize = 64;

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The control socket.
    #[error(transparent)]
    Control(#[from] BindError),
    /// The kernel refused something that everything depends on.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// A key or a certificate is missing or cannot be used.
    #[error(transparent)]
    Key(#[from] crate::translate::certificates::CredentialError),
    /// The runtime or a signal handler.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// How the daemon was started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where a reload reads the configuration again.
    pub config_path: PathBuf,
    /// The control socket, when it is not the configuration's.
    pub socket: Option<PathBuf>,
    /// The directory for the keys of every SA, when an analyst is to have them.
    pub export_keys_to: Option<PathBuf>,
}

/// Runs until SIGTERM or SIGINT. `config` is validated already.
///
/// # Errors
/// When it could not start; then nothing is left behind.
pub fn run(config: config::Config, options: &Options) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = options.socket.clone().unwrap_or_else(|| config.control.socket.clone());
    runtime.block_on(live(config, options, &socket))
}

async fn live(config: config::Config, options: &Options, socket: &Path) -> Result<(), StartError> {
    // The control socket first: it tells whether another daemon runs here, before anything of it is touched.
    let server = Server::bind(socket)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let (inbox, mut arrivals) = mpsc::channel(INBOX_MAX);
    let (newest, follow) = watch::channel(0);
    let mut supervisor = start(config, options, socket, inbox, newest)?;
    let (requests, mut asked) = mpsc::channel::<Request>(REQUESTS_MAX);
    let metrics = config_metrics(&supervisor).await?;
    let metrics = serve_metrics(metrics, requests.clone());
    let page = web_listener(&supervisor.config.web).await?;
    let page = serve_page(page, requests.clone());
    let serving = server.serve(requests, follow);
    tokio::pin!(serving, metrics, page);
    let announcements = Readiness::of(supervisor.routing.monitor().as_fd())?;
    supervisor.turn(now());
    notify::ready();
    let mut watchdog = Watchdog::of_the_unit();
    loop {
        let sleep = supervisor.deadline() - now();
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                if let Err(refusal) = supervisor.reload(None, now()) {
                    tracing::error!("{}", refusal.message);
                }
            }
            arrived = arrivals.recv() => {
                if let Some(incoming) = arrived {
                    supervisor.incoming(incoming, now());
                }
                for _ in 1..BURST_MAX {
                    let Ok(incoming) = arrivals.try_recv() else { break };
                    supervisor.incoming(incoming, now());
                }
            }
            request = asked.recv() => {
                if let Some(request) = request {
                    supervisor.request(request, now());
                }
            }
            _ = announcements.wait() => {
                // The monitor never says `WouldBlock`; no news means the same.
                let _ = announcements.read(|| {
                    if supervisor.announced(now()) { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
                });
            }
            () = tokio::time::sleep(sleep) => {}
            () = watchdog.due() => supervisor.feed(&mut watchdog),
            () = &mut serving => {}
            () = &mut metrics => {}
            () = &mut page => {}
        }
        supervisor.turn(now());
    }
    notify::stopping();
    end(supervisor, arrivals).await;
    Ok(())
}

fn start(
    config: config::Config,
    options: &Options,
    socket: &Path,
    inbox: mpsc::Sender<Incoming>,
    newest: watch::Sender<u64>,
) -> Result<Supervisor, StartError> {
    let began = now();
    let hooks = hooks::start(&config, &inbox);
    let mut supervisor = Supervisor {
        config_path: std::path::absolute(&options.config_path)?,
        started: began,
        lines: Vec::new(),
        next_line: 0,
        sockets: Sockets::default(),
        inbox,
        dropped: Arc::default(),
        routing: Routing::open()?,
        capture: None,
        hooks,
        told: hooks::Told::default(),
        keylog: options.export_keys_to.as_deref().map(KeyLog::open).transpose()?,
        recorder: Recorder::default(),
        configured: SystemTime::now(),
        host: host::Changed::open(socket),
        timeline: timeline(),
        newest,
        next_tick: began + TICK,
        routes_due: true,
        status_said: String::new(),
        tunnels: interfaces(&config),
        config,
    };
    let config = supervisor.config.clone();
    supervisor.lines = supervisor.make_lines(&config, began)?;
    let version =
        format!("cgwd {} started, {} tunnels configured", env!("CARGO_PKG_VERSION"), supervisor.lines.len());
    supervisor.event(None, None, Finding { code: Code::DaemonStarted, text: version }, None);
    if let Some(keylog) = &supervisor.keylog {
        let directory = keylog.directory().display();
        let text = format!(
            "the keys of all tunnels are written to {directory} (--export-keys-to): whoever reads them can decrypt all traffic"
        );
        supervisor.event(None, None, Finding { code: Code::KeysExported, text }, None);
    }
    let leftovers = supervisor.routing.remove_leftovers()?;
    if leftovers > 0 {
        let text = format!("{leftovers} routes and rules of a daemon that was killed were removed");
        supervisor.event(None, None, Finding { code: Code::LeftoversRemoved, text }, None);
    }
    supervisor.forwarding();
    Ok(supervisor)
}

async fn config_metrics(supervisor: &Supervisor) -> Result<Option<TcpListener>, StartError> {
    let Some(listen) = supervisor.config.metrics.listen else { return Ok(None) };
    let listener = TcpListener::bind(listen).await;
    let wrap = |error| net::Error::system(format!("listen on metrics.listen {listen}"), error);
    Ok(Some(listener.map_err(wrap)?))
}

async fn serve_metrics(listener: Option<TcpListener>, requests: mpsc::Sender<Request>) {
    match listener {
        Some(listener) => serve_scrapes(&listener, requests).await,
        None => std::future::pending().await,
    }
}

async fn web_listener(web: &config::Web) -> Result<Option<TcpListener>, StartError> {
    let Some(listen) = web.listen else { return Ok(None) };
    let listener = TcpListener::bind(listen).await;
    let wrap = |error| net::Error::system(format!("listen on web.listen {listen}"), error);
    Ok(Some(listener.map_err(wrap)?))
}

async fn serve_page(listener: Option<TcpListener>, requests: mpsc::Sender<Request>) {
    match listener {
        Some(listener) => crate::web::serve(&listener, requests).await,
        None => std::future::pending().await,
    }
}

fn timeline() -> Timeline {
    let Some(directory) = given_state_directory() else { return Timeline::in_memory() };
    Timeline::open(&directory).unwrap_or_else(|error| {
        tracing::warn!("events are kept in memory only: {}: {error}", directory.display());
        Timeline::in_memory()
    })
}

impl Supervisor {
    /// Feeds systemd's watchdog, unless a worker thread stands still: then says so, once.
    fn feed(&mut self, watchdog: &mut Watchdog) {
        let stuck: Vec<_> = self
            .lines
            .iter()
            .filter(|line| line.running().is_some_and(|running| !running.glue.plane().workers_answered()))
            .map(|line| (line.connection.id.clone(), line.config.name.clone()))
            .collect();
        if watchdog.look(!stuck.is_empty()) != Look::StarvedNow {
            return;
        }
        for (connection, tunnel) in stuck {
            let text = format!(
                "a worker thread of its data plane stands still; unless it moves again, systemd restarts cgwd \
                 {} s after the watchdog was fed last",
                watchdog.period().as_secs()
            );
            self.event(Some(&connection), Some(&tunnel), Finding { code: Code::TunDataPlane, text }, None);
        }
    }

    /// Sees to packet forwarding for the families that the tunnels carry.
    pub(super) fn forwarding(&mut self) {
        let families = |ipv4: bool| {
            self.config
                .tunnels()
                .any(|(_, tunnel)| tunnel.inside.iter().any(|inside| inside.aws.is_ipv4() == ipv4))
        };
        let (ipv4, ipv6) = (families(true), families(false));
        for finding in self.host.forwarding(self.config.host.ip_forward, ipv4, ipv6) {
            self.event(None, None, finding, None);
        }
    }
}

/// The end: no route may lead into a tunnel that dies, the peers are told, and the host is as it was.
async fn end(mut supervisor: Supervisor, mut arrivals: mpsc::Receiver<Incoming>) {
    let text = "stopping on request".to_owned();
    supervisor.event(None, None, Finding { code: Code::DaemonStopping, text }, None);
    supervisor.hook_stop();
    supervisor.routing.remove_all();
    // BGP's goodbye travels through the tunnel, IKE's ends it.
    supervisor.shut_down_bgp(now());
    wind_down(&mut supervisor, &mut arrivals, GOODBYE_BGP, Supervisor::bgp_quiet).await;
    // What was written is still on its way through the TUN.
    wind_down(&mut supervisor, &mut arrivals, STEP, |_| false).await;
    supervisor.close_all(now());
    wind_down(&mut supervisor, &mut arrivals, GOODBYE, Supervisor::all_closed).await;
    wind_down(&mut supervisor, &mut arrivals, GOODBYE_HOOKS, |supervisor| supervisor.hooks.idle()).await;
    supervisor.host.restore();
    // Dropping the lines stops the workers and removes the interfaces with their addresses.
}

/// Goes on until `done`, but not for longer than `patience`.
async fn wind_down(
    supervisor: &mut Supervisor,
    arrivals: &mut mpsc::Receiver<Incoming>,
    patience: Duration,
    done: fn(&Supervisor) -> bool,
) {
    let end = now() + patience;
    while !done(supervisor) && now() < end {
        let step = STEP.min(end - now());
        if let Ok(Some(incoming)) = tokio::time::timeout(step, arrivals.recv()).await {
            supervisor.incoming(incoming, now());
        }
        supervisor.close_turn(now());
    }
}
