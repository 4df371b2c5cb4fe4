//! The commands that need no daemon, and the one that is it.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use config::import::ImportOptions;
use model::Instant;

use super::args::{Check, Cli, Import, Run};
use super::output::{colour, complain, say, write_private};
use super::{EXIT_FAILED, Failure, explain};
use crate::translate::certificates;
use crate::{logging, supervisor};

/// The largest input that `import` reads: far above any of AWS's files.
const INPUT_BYTES_MAX: u64 = 8 << 20;

pub(super) fn import(import: &Import) -> Result<u8, Failure> {
    let (name, input) = read_input(&import.input)?;
    let options = ImportOptions { lan: import.lan.clone(), vpc: import.vpc.clone(), raw_esp: import.raw_esp };
    let imported = config::import::import(&input, &name, &options)
        .map_err(|report| Failure::new(EXIT_FAILED, report.render(colour())))?;
    for note in &imported.notes {
        complain(&format!("note: {note}"));
    }
    match &import.output {
        None => say(&imported.toml),
        Some(path) => {
            let kept = write_private(path, &imported.toml).map_err(|error| {
                let path = path.display();
                Failure::new(
                    EXIT_FAILED,
                    format!("cgwd: cannot write {path}: {error}; does the directory exist?"),
                )
            })?;
            if let Some(kept) = kept {
                complain(&format!("note: what was there before is kept as {}", kept.display()));
            }
            complain(&format!("written to {} (mode 0600); next: cgwd check --config {0}", path.display()));
        }
    }
    Ok(0)
}

fn read_input(path: &Path) -> Result<(String, String), Failure> {
    let stdin = path == Path::new("-");
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let result = if stdin {
        std::io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    result.map_err(|error| {
        Failure::new(
            EXIT_FAILED,
            format!("cgwd: cannot read {name}: {error}; check the path, or give `-` for standard input"),
        )
    })?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        let message =
            format!("cgwd: {name} is larger than {} MiB; that is no AWS file", INPUT_BYTES_MAX >> 20);
        return Err(Failure::new(EXIT_FAILED, message));
    }
    let text = config::import::decode(&bytes, &name)
        .map_err(|report| Failure::new(EXIT_FAILED, report.render(colour())))?;
    Ok((name, text))
}

/// A configuration file for the daemon to take. Not judged here: what the daemon refuses, it also writes down.
pub(super) fn brought(path: Option<&Path>) -> Result<Option<(String, String)>, Failure> {
    let brought = path.map(read_input).transpose()?;
    if let Some((name, text)) = &brought
        && let Ok(loaded) = config::parse(text, name)
        && !loaded.warnings.is_empty()
    {
        complain(&loaded.warnings.render(colour()));
    }
    Ok(brought)
}

pub(super) fn check(check: &Check) -> Result<u8, Failure> {
    let loaded = load(&check.file.config)?;
    proofs(&loaded)?;
    if check.explain {
        say(&explain::explain(&loaded));
    } else {
        let tunnels = loaded.tunnels().count();
        let connections = loaded.connections.len();
        say(&format!(
            "{}: valid, {tunnels} tunnels in {connections} connection{}\n",
            check.file.config.display(),
            if connections == 1 { "" } else { "s" }
        ));
    }
    Ok(0)
}

/// Certificates and PPKs are looked at too: a file that cannot be used is found before the daemon is started.
fn proofs(config: &config::Config) -> Result<(), Failure> {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    for (connection, tunnel) in config.tunnels().filter(|(_, tunnel)| tunnel.certificates().is_some()) {
        match certificates::credentials(connection, tunnel, directory.as_deref(), Instant::ZERO) {
            Err(error) if !error.is_for_the_daemon_only() => {
                return Err(Failure::new(EXIT_FAILED, format!("cgwd: {error}")));
            }
            _ => {}
        }
    }
    for (connection, tunnel) in config.tunnels() {
        match certificates::ppk(connection, tunnel, directory.as_deref()) {
            Err(error) if !error.is_for_the_daemon_only() => {
                return Err(Failure::new(EXIT_FAILED, format!("cgwd: {error}")));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn run(run: &Run, socket: Option<&Path>) -> Result<u8, Failure> {
    // Before a key is read.
    net::set_not_dumpable().map_err(|error| Failure::new(EXIT_FAILED, format!("cgwd: {error}")))?;
    let path = &run.file.config;
    let config = load(path)?;
    logging::start(config.log.level);
    self_test(&config)?;
    let options = supervisor::Options {
        config_path: path.clone(),
        socket: socket.map(Path::to_owned),
        export_keys_to: run.export_keys_to.clone(),
    };
    supervisor::run(config, &options).map_err(|error| Failure::new(EXIT_FAILED, format!("cgwd: {error}")))?;
    Ok(0)
}

/// Refuses to run with cryptography that does not do what it must.
fn self_test(config: &config::Config) -> Result<(), Failure> {
    let groups =
        config.tunnels().flat_map(|(_, tunnel)| tunnel.ike.dh_groups.iter().chain(&tunnel.esp.dh_groups));
    let groups: BTreeSet<_> = groups.map(|group| ike::wire::DhGroup(group.number())).collect();
    let groups: Vec<_> = groups.into_iter().collect();
    ike::crypto::self_test(&groups, &mut net::OsRng)
        .map_err(|error| Failure::new(EXIT_FAILED, format!("cgwd: {error}")))
}

/// Loads the file, with its warnings on standard error.
fn load(path: &Path) -> Result<config::Config, Failure> {
    let loaded = config::load(path).map_err(|report| Failure::new(EXIT_FAILED, report.render(colour())))?;
    if !loaded.warnings.is_empty() {
        complain(&loaded.warnings.render(colour()));
    }
    Ok(loaded.config)
}

pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cgwd", &mut script);
    say(&String::from_utf8_lossy(&script));
    Ok(0)
}
