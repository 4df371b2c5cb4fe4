//! Programs of the operator's that run when something changes: a program with arguments, never a shell.
//!
//! Each hook has a task and a short queue of its own, and runs one program at a time, in order; the control loop only
//! puts things into queues. What a program prints goes to the log, and one that takes too long is killed with all it
//! started. A hook learns what happened from environment variables, and nothing else of ours is in them.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::{Hook, HookEvent};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Things waiting for one hook; beyond it the oldest is dropped and counted, so that the last word is heard.
pub const HOOK_QUEUE_MAX: usize = 32;
/// Lines of one run that are logged.
const LINES_MAX: usize = 100;
/// Octets of one line that are logged.
const LINE_OCTETS_MAX: usize = 500;
/// How long output is waited for after the program has ended: something it started may hold the pipe.
const OUTPUT_GRACE: Duration = Duration::from_millis(100);
/// Where a hook's programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Something that hooks can be told.
#[derive(Clone, Debug)]
pub struct Happening {
    /// Which kind.
    pub event: HookEvent,
    /// Environment variables beside `CGWD_EVENT`, in addition to the common ones.
    pub variables: Vec<(&'static str, String)>,
}

/// How a run ended, when it did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The program and what it did.
    pub text: String,
}

/// Told of every complaint, from the hook's task; must be quick.
pub type Report = Arc<dyn Fn(Complaint) + Send + Sync>;

/// All hooks of a configuration. Dropped, they finish what is in their queues.
pub struct Hooks {
    runners: Vec<Arc<Runner>>,
}

struct Runner {
    hook: Hook,
    queue: Mutex<VecDeque<Happening>>,
    news: Notify,
    closed: AtomicBool,
    /// Waiting and running.
    pending: AtomicUsize,
    report: Report,
}

impl Hooks {
    /// Starts a task for each; must be called within a tokio runtime.
    pub fn start(hooks: &[Hook], report: &Report) -> Self {
        let runners: Vec<Arc<Runner>> = hooks
            .iter()
            .map(|hook| {
                Arc::new(Runner {
                    hook: hook.clone(),
                    queue: Mutex::default(),
                    news: Notify::new(),
                    closed: AtomicBool::new(false),
                    pending: AtomicUsize::new(0),
                    report: Arc::clone(report),
                })
            })
            .collect();
        for runner in &runners {
            tokio::spawn(serve(Arc::clone(runner)));
        }
        Self { runners }
    }

    /// Whether somebody wants to know of this.
    pub fn wants(&self, event: HookEvent) -> bool {
        self.runners.iter().any(|runner| runner.hook.on.contains(&event))
    }

    /// Tells every hook that wants to know. Never waits.
    pub fn tell(&self, happening: &Happening) {
        for runner in self.runners.iter().filter(|runner| runner.hook.on.contains(&happening.event)) {
            runner.put(happening.clone());
        }
    }

    /// Whether every queue is empty and nothing runs.
    pub fn idle(&self) -> bool {
        self.runners.iter().all(|runner| runner.pending.load(Relaxed) == 0)
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        for runner in &self.runners {
            runner.closed.store(true, Relaxed);
            runner.news.notify_one();
        }
    }
}

impl Runner {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Happening>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, happening: Happening) {
        let mut queue = self.queue();
        if queue.len() >= HOOK_QUEUE_MAX {
            queue.pop_front();
            drop(queue);
            self.complain(format!("is too slow: one of {HOOK_QUEUE_MAX} things waiting for it was dropped"));
            queue = self.queue();
        } else {
            self.pending.fetch_add(1, Relaxed);
        }
        queue.push_back(happening);
        drop(queue);
        self.news.notify_one();
    }

    fn program(&self) -> &str {
        self.hook.run.first().map_or("", String::as_str)
    }

    fn complain(&self, what: impl std::fmt::Display) {
        (self.report)(Complaint { text: format!("hook {} {what}", self.program()) });
    }
}

async fn serve(runner: Arc<Runner>) {
    loop {
        let next = runner.queue().pop_front();
        match next {
            Some(happening) => {
                if let Err(why) = run(&runner.hook, &happening).await {
                    runner.complain(format!("on {}: {why}", happening.event.name()));
                }
                runner.pending.fetch_sub(1, Relaxed);
            }
            None if runner.closed.load(Relaxed) => return,
            None => runner.news.notified().await,
        }
    }
}

/// Runs the program once, to its end or its time limit.
async fn run(hook: &Hook, happening: &Happening) -> Result<(), String> {
    let Some((program, arguments)) = hook.run.split_first() else { return Ok(()) };
    let spawned = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("CGWD_VERSION", env!("CARGO_PKG_VERSION"))
        .env("CGWD_EVENT", happening.event.name())
        .envs(happening.variables.iter().map(|(name, value)| (*name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Of its own, so that all it started can be killed with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| format!("cannot be started: {error}"))?;
    let group = child.id();
    let mut logs = JoinSet::new();
    if let Some(stdout) = child.stdout.take() {
        logs.spawn(log(program.clone(), stdout));
    }
    if let Some(stderr) = child.stderr.take() {
        logs.spawn(log(program.clone(), stderr));
    }
    let ended = tokio::time::timeout(hook.timeout, child.wait()).await;
    if ended.is_err() {
        if let Some(group) = group {
            // It may have ended in this moment; then there is nobody to kill.
            let _ = net::process::kill_group(group);
        }
        let _ = child.kill().await;
    }
    let _ = tokio::time::timeout(OUTPUT_GRACE, async { while logs.join_next().await.is_some() {} }).await;
    match ended {
        Err(_) => Err(format!("did not end within {} s and was killed", hook.timeout.as_secs_f64())),
        Ok(Err(error)) => Err(format!("was lost: {error}")),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(match (status.code(), status.signal()) {
            (Some(code), _) => format!("failed with status {code}"),
            (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
        }),
    }
}

/// Logs what a program prints, line by line; reads on without a word once it was enough.
async fn log(program: String, mut stream: impl AsyncRead + Unpin) {
    let (mut buffer, mut line, mut left) = (vec![0; 4096], Vec::new(), LINES_MAX);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        for octet in buffer.get(..count).unwrap_or_default() {
            match octet {
                b'\n' => say(&program, &mut line, &mut left),
                _ if line.len() < LINE_OCTETS_MAX => line.push(*octet),
                _ => {}
            }
        }
    }
    say(&program, &mut line, &mut left);
}

fn say(program: &str, line: &mut Vec<u8>, left: &mut usize) {
    let text: String =
        String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.clear();
    if text.trim().is_empty() || *left == 0 {
        return;
    }
    *left -= 1;
    tracing::info!("hook {program}: {}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn happening(number: usize) -> Happening {
        Happening { event: HookEvent::TunnelUp, variables: vec![("CGWD_TUNNEL", format!("tunnel{number}"))] }
    }

    fn hook(script: &str, timeout: Duration) -> Hook {
        let run = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Hook { on: vec![HookEvent::TunnelUp], run, timeout }
    }

    fn collect() -> (Report, Arc<Mutex<Vec<String>>>) {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = Arc::clone(&said);
        (Arc::new(move |complaint: Complaint| keep.lock().unwrap().push(complaint.text)), said)
    }

    async fn until_idle(hooks: &Hooks) {
        for _ in 0..1000 {
            if hooks.idle() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the hooks did not finish");
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_hook_runs_once_for_each_event_in_order_and_sees_only_its_variables() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let script = format!("echo $CGWD_EVENT $CGWD_TUNNEL ${{HOME-none}} >> {}", out.display());
        let (report, said) = collect();
        let hooks = Hooks::start(&[hook(&script, Duration::from_secs(20))], &report);
        assert!(hooks.wants(HookEvent::TunnelUp) && !hooks.wants(HookEvent::Route));
        for number in 1..=3 {
            hooks.tell(&happening(number));
        }
        hooks.tell(&Happening { event: HookEvent::TunnelDown, variables: Vec::new() });
        until_idle(&hooks).await;
        assert_eq!(read(&out), "tunnel-up tunnel1 none\ntunnel-up tunnel2 none\ntunnel-up tunnel3 none\n");
        assert!(said.lock().unwrap().is_empty(), "{said:?}");
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_its_children_and_the_next_run_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let script = format!(
            "if [ $CGWD_TUNNEL = tunnel1 ]; then sleep 300 & echo $! > {0}; wait; else echo done >> {0}; fi",
            out.display()
        );
        let (report, said) = collect();
        let hooks = Hooks::start(&[hook(&script, Duration::from_secs(1))], &report);
        hooks.tell(&happening(1));
        hooks.tell(&happening(2));
        until_idle(&hooks).await;
        let text = read(&out);
        let (child, rest) = text.split_once('\n').unwrap();
        assert_eq!(rest, "done\n");
        let state = read(&Path::new("/proc").join(child).join("stat"));
        assert!(state.is_empty() || state.contains(") Z "), "{state}");
        assert!(said.lock().unwrap()[0].contains("was killed"), "{said:?}");
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said_and_what_does_not_fit_is_dropped_the_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let (report, said) = collect();
        let script = format!("echo $CGWD_TUNNEL >> {}; exit 3", out.display());
        let missing = Hook { run: vec!["/no/such/program".to_owned()], ..hook("", Duration::from_secs(5)) };
        let hooks = Hooks::start(&[hook(&script, Duration::from_secs(20)), missing], &report);
        // The tasks have had no turn yet: everything waits.
        for number in 0..HOOK_QUEUE_MAX + 2 {
            hooks.tell(&happening(number));
        }
        until_idle(&hooks).await;
        let said = said.lock().unwrap().join("\n");
        for part in [
            "/bin/sh on tunnel-up: failed with status 3",
            "/no/such/program on tunnel-up: cannot be started",
            "too slow",
        ] {
            assert!(said.contains(part), "{part} not in {said}");
        }
        assert_eq!(read(&out).lines().next(), Some("tunnel2"), "the two oldest are gone");
        assert_eq!(read(&out).lines().count(), HOOK_QUEUE_MAX);
    }

    #[tokio::test]
    async fn hooks_that_a_reload_took_away_finish_what_they_have() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        let (report, _) = collect();
        let hooks =
            Hooks::start(&[hook(&format!("echo x >> {}", out.display()), Duration::from_secs(20))], &report);
        hooks.tell(&happening(1));
        drop(hooks);
        for _ in 0..1000 {
            if read(&out) == "x\n" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not run");
    }
}
