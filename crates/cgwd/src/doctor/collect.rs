//! Looking: files under `/proc`, `/dev` and `/etc`, netlink, the control socket. It reads and changes nothing, starts
//! no program, and works with the daemon down.

mod machine;
mod sockets;

pub(super) use machine::neighbour;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use config::KeyError;
use model::Secret;

use super::aws_json::Description;
use super::facts::{Configuration, Daemon, Facts, Problem, Running};
use super::measure::Measured;
use crate::control::client::{Client, Error};

/// The largest AWS file that is read.
const AWS_BYTES_MAX: u64 = 8 << 20;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration; `None` takes the running daemon's, else `config_default`.
    pub config: Option<PathBuf>,
    /// Where the configuration is unless somebody says otherwise.
    pub config_default: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// The text of `--aws-json` with its name.
    pub aws: Option<(String, String)>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum CannotLook {
    /// This user may not.
    #[error("cannot look: {0}; run as root (sudo)")]
    NotAllowed(String),
    /// `--aws-json` cannot be used.
    #[error("{name}: {error}")]
    Aws {
        /// The file.
        name: String,
        /// Why.
        error: super::aws_json::Error,
    },
    /// Something that never fails did.
    #[error("cannot look: {0}")]
    Machine(String),
}

/// Reads `--aws-json FILE`, or standard input for `-`.
///
/// # Errors
/// The kernel's, or when the file is far too large.
pub fn read_aws(path: &Path) -> std::io::Result<(String, String)> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let stdin = path == Path::new("-");
    if stdin {
        std::io::stdin().lock().take(AWS_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(AWS_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > AWS_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "more than {} MiB; that is no AWS file",
            AWS_BYTES_MAX >> 20
        )));
    }
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    Ok((name, String::from_utf8_lossy(&bytes).into_owned()))
}

/// Looks at everything.
///
/// # Errors
/// When this user may not, or the AWS file cannot be used. What is missing on the machine is a fact and no error.
pub async fn collect(options: &Options) -> Result<Facts, CannotLook> {
    let aws = match &options.aws {
        Some((name, text)) => {
            Some(Description::parse(text).map_err(|error| CannotLook::Aws { name: name.clone(), error })?)
        }
        None => None,
    };
    let process = process(&options.socket).await;
    let daemon = daemon(&options.socket, process).await?;
    let running = matches!(daemon, Daemon::Running(_));
    let path = options
        .config
        .clone()
        .or_else(|| process.and_then(config_of))
        .unwrap_or_else(|| options.config_default.clone());
    let configuration = configuration(&path, running)?;
    let (keys, keys_missing) = keys(&configuration);
    let mut facts = Facts {
        now_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        host: None,
        configuration,
        daemon,
        keys,
        keys_missing,
        aws,
        measured: Measured::default(),
    };
    let elsewhere = facts.running().is_some_and(|running| running.elsewhere.is_some());
    if !elsewhere {
        let host = machine::look(&facts, process).map_err(|error| CannotLook::Machine(error.to_string()))?;
        facts.host = Some(host);
    }
    Ok(facts)
}

/// The process at the other end of the control socket.
async fn process(socket: &Path) -> Option<i32> {
    let stream = tokio::net::UnixStream::connect(socket).await.ok()?;
    stream.peer_cred().ok()?.pid().filter(|pid| *pid > 0)
}

async fn daemon(socket: &Path, process: Option<i32>) -> Result<Daemon, CannotLook> {
    let client = Client::new(socket);
    let silent = |error: Error| match &error {
        Error::Unreachable { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            Err(CannotLook::NotAllowed(format!("{}: {source}", socket.display())))
        }
        Error::Refused { status: 403, message } => Err(CannotLook::NotAllowed(message.clone())),
        Error::Unreachable { source, .. } => {
            Ok(Daemon::Silent { why: format!("{}: {source}", socket.display()) })
        }
        _ => Ok(Daemon::Silent { why: error.to_string() }),
    };
    let status = match client.status().await {
        Ok(status) => status,
        Err(error) => return silent(error),
    };
    // A daemon that has just answered answers again, or is about to end.
    let events = client.events(0, None).await.map(|answer| answer.events).unwrap_or_default();
    let routes = client.routes().await.unwrap_or_default();
    let bgp = client.bgp().await.unwrap_or_default();
    Ok(Daemon::Running(Box::new(Running {
        status,
        events,
        routes,
        bgp,
        capabilities: process.and_then(capabilities),
        elsewhere: process.filter(|pid| is_elsewhere(*pid)),
    })))
}

/// `CapEff` of a process.
fn capabilities(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

/// Whether a process lives in another network namespace; what cannot be seen counts as the same.
fn is_elsewhere(pid: i32) -> bool {
    let namespace = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/net")).ok();
    match (namespace("self"), namespace(&pid.to_string())) {
        (Some(ours), Some(theirs)) => ours != theirs,
        _ => false,
    }
}

/// The configuration that a running daemon was started with.
fn config_of(pid: i32) -> Option<PathBuf> {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let path = config_argument(&command)?;
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    Some(directory.join(path))
}

/// The value of `--config` in a command line as `/proc/PID/cmdline` has it.
fn config_argument(command: &[u8]) -> Option<PathBuf> {
    let mut arguments = command.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(|value| PathBuf::from(value.into_owned()));
        }
        if let Some(value) = argument.strip_prefix("--config=") {
            return Some(PathBuf::from(value));
        }
    }
    None
}

fn configuration(path: &Path, running: bool) -> Result<Configuration, CannotLook> {
    let path = path.to_owned();
    match std::fs::metadata(&path).and_then(|_| std::fs::File::open(&path)) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Configuration::Absent { path }),
        // With the daemon's answers most can be said without the file.
        Err(_) if running => return Ok(Configuration::Absent { path }),
        Err(error) => return Err(CannotLook::NotAllowed(format!("{}: {error}", path.display()))),
    }
    Ok(match config::load(&path) {
        Ok(loaded) => Configuration::Loaded {
            path,
            config: Box::new(loaded.config),
            warnings: problems(&loaded.warnings),
        },
        Err(report) => Configuration::Broken { path, problems: problems(&report) },
    })
}

fn problems(report: &config::Report) -> Vec<Problem> {
    report
        .diagnostics()
        .iter()
        .map(|diagnostic| Problem {
            code: diagnostic.code.to_owned(),
            place: diagnostic.place.as_ref().map(|place| report.position(place.span.start)),
            what: diagnostic.what.clone(),
            remedy: diagnostic.remedy.clone(),
        })
        .collect()
}

type Keys = (BTreeMap<IpAddr, Secret>, Vec<(IpAddr, String)>);

fn keys(configuration: &Configuration) -> Keys {
    let (mut keys, mut missing) = (BTreeMap::new(), Vec::new());
    let Configuration::Loaded { config, .. } = configuration else { return (keys, missing) };
    for (_, tunnel) in config.tunnels() {
        let Some(source) = tunnel.psk() else { continue };
        match source.load() {
            Ok(key) => drop(keys.insert(tunnel.outside, key)),
            // systemd shows a credential to the daemon alone.
            Err(KeyError::NoCredentials { .. }) => {}
            Err(KeyError::Read { error, .. }) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => missing.push((tunnel.outside, error.to_string())),
        }
    }
    (keys, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_configuration_is_found_in_its_command_line() {
        let find = |text: &str| config_argument(text.as_bytes());
        assert_eq!(find("cgwd\0run\0--config\0a.toml\0--socket\0s\0"), Some(PathBuf::from("a.toml")));
        assert_eq!(find("cgwd\0run\0--config=/x/a.toml\0"), Some(PathBuf::from("/x/a.toml")));
        assert_eq!(find("cgwd\0run\0"), None);
    }

    #[test]
    fn a_missing_file_is_a_fact_and_a_broken_one_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cgwd.toml");
        assert!(matches!(configuration(&path, false).unwrap(), Configuration::Absent { .. }));
        std::fs::write(&path, "[[connection]]\nid = 1\n").unwrap();
        let Configuration::Broken { problems, .. } = configuration(&path, false).unwrap() else {
            panic!("the file is broken");
        };
        assert!(!problems.is_empty());
    }
}
