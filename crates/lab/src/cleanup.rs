//! Nothing stays behind: a register of every namespace, process and directory the lab made.
//!
//! Guards (`Namespace`, `Process`, `Scratch`) take themselves away when they are dropped. This module covers
//! the two cases that no drop covers: a signal (Ctrl-C in the demo, a cancelled test run), and a lab that was
//! killed outright, whose namespaces the next one sweeps away by the process id in their names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Every namespace and scratch directory of a lab starts with this and the lab's process id.
pub const PREFIX: &str = "cgwdlab-";

/// How long a process gets between SIGTERM and SIGKILL when a signal ends the lab.
const GRACE: Duration = Duration::from_millis(2500);

#[derive(Default)]
struct Register {
    namespaces: BTreeSet<String>,
    processes: BTreeSet<u32>,
    directories: BTreeSet<PathBuf>,
}

static REGISTER: Mutex<Register> = Mutex::new(Register {
    namespaces: BTreeSet::new(),
    processes: BTreeSet::new(),
    directories: BTreeSet::new(),
});
/// True once a signal has begun the clean-up. Whoever makes something holds the read half while doing so.
static CLOSED: RwLock<bool> = RwLock::new(false);
static SIGNALS: Once = Once::new();
static NEXT_RIG: AtomicU32 = AtomicU32::new(1);

fn register() -> MutexGuard<'static, Register> {
    REGISTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A prefix no other lab uses, now or in another process: `cgwdlab-<pid>-<n>`.
///
/// The first call installs the signal handlers and sweeps up after labs that were killed.
pub fn new_rig() -> String {
    SIGNALS.call_once(|| {
        sweep_stale();
        spawn_signal_thread();
    });
    format!("{PREFIX}{}-{}", std::process::id(), NEXT_RIG.fetch_add(1, Ordering::Relaxed))
}

/// Leave to make something; held until it is made *and* registered, so that a clean-up cannot miss it.
///
/// # Errors
/// Once a signal has begun the clean-up.
pub(crate) fn still_open() -> Result<RwLockReadGuard<'static, bool>> {
    let closed = CLOSED.read().unwrap_or_else(PoisonError::into_inner);
    if *closed {
        bail!("the lab is being taken down");
    }
    Ok(closed)
}

pub(crate) fn add_namespace(name: &str) {
    register().namespaces.insert(name.to_owned());
}

pub(crate) fn add_process(pid: u32) {
    register().processes.insert(pid);
}

pub(crate) fn forget_process(pid: u32) {
    register().processes.remove(&pid);
}

/// Ends what runs in a namespace of ours and deletes it; deleting it again does nothing.
pub(crate) fn remove_namespace(name: &str) {
    if !Path::new("/run/netns").join(name).exists() {
        register().namespaces.remove(name);
        return;
    }
    for _ in 0..50 {
        let pids = pids_in(name);
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            send_signal(pid, "KILL");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    quiet(Command::new("ip").args(["netns", "del", name]));
    register().namespaces.remove(name);
}

/// The live processes inside a namespace.
fn pids_in(name: &str) -> Vec<u32> {
    let Ok(output) = Command::new("ip").args(["netns", "pids", name]).stderr(Stdio::null()).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Sends a signal (`TERM`, `KILL`, `INT`, ...) to one process; a process that is gone is no error.
pub fn send_signal(pid: u32, signal: &str) {
    // The shell's own: a minimal Debian has no kill program.
    quiet(Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]));
}

fn quiet(command: &mut Command) {
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Whether a process still runs; one that only waits to be reaped does not.
pub fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

/// Deletes namespaces and scratch directories of labs whose process is gone. Returns their names.
pub fn sweep_stale() -> Vec<String> {
    let stale = |name: &str| {
        name.strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok())
            .is_some_and(|pid| pid != std::process::id() && !is_running(pid))
    };
    let mut swept = Vec::new();
    for folder in [Path::new("/run/netns"), &std::env::temp_dir()] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !stale(&name) {
                continue;
            }
            if folder.ends_with("netns") {
                remove_namespace(&name);
            } else {
                let _ = std::fs::remove_dir_all(entry.path());
            }
            swept.push(name);
        }
    }
    swept
}

/// Takes everything down that this process has made: asks processes to end, then insists.
pub fn remove_everything() {
    *CLOSED.write().unwrap_or_else(PoisonError::into_inner) = true;
    let (processes, namespaces, directories) = {
        let register = register();
        (register.processes.clone(), register.namespaces.clone(), register.directories.clone())
    };
    for &pid in &processes {
        send_signal(pid, "TERM");
    }
    let start = Instant::now();
    while start.elapsed() < GRACE && processes.iter().any(|&pid| is_running(pid)) {
        std::thread::sleep(Duration::from_millis(20));
    }
    for &pid in processes.iter().filter(|&&pid| is_running(pid)) {
        send_signal(pid, "KILL");
    }
    for name in &namespaces {
        remove_namespace(name);
    }
    for directory in &directories {
        let _ = std::fs::remove_dir_all(directory);
    }
}

fn spawn_signal_thread() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        Ok::<i32, std::io::Error>(tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
            _ = hangup.recv() => 1,
        })
    };
    let builder = std::thread::Builder::new().name("lab-signals".to_owned());
    let spawned = builder.spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        if let Ok(number) = runtime.block_on(wait) {
            remove_everything();
            std::process::exit(128 + number);
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no signal handling: a Ctrl-C will leave namespaces for the next lab to sweep");
    }
}

/// A scratch directory of the lab, mode 0700, removed on drop.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes `<tmp>/<rig>-<name>`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(rig: &str, name: &str) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let _leave = still_open()?;
        let path = std::env::temp_dir().join(format!("{rig}-{name}"));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the scratch directory {}", path.display()))?;
        register().directories.insert(path.clone());
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(directory) = std::env::var_os("CGWD_LAB_LOGS") {
            keep_logs(&self.0, Path::new(&directory));
        }
        let _ = std::fs::remove_dir_all(&self.0);
        register().directories.remove(&self.0);
    }
}

/// Copies every log to `<directory>/<the test's name>/`, for a look after a failure. Keys stay where they are.
fn keep_logs(scratch: &Path, directory: &Path) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("main").replace("::", ".");
    let target = directory.join(test);
    let _ = std::fs::create_dir_all(&target);
    let subdirectories = std::fs::read_dir(scratch).into_iter().flatten().flatten().map(|entry| entry.path());
    for folder in std::iter::once(scratch.to_owned()).chain(subdirectories) {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let place = folder.file_name().unwrap_or_default().to_string_lossy();
                let place = if folder == scratch { String::new() } else { format!("{place}-") };
                let name = format!("{place}{}", entry.file_name().to_string_lossy());
                let _ = std::fs::copy(&path, target.join(name));
            }
        }
    }
}
