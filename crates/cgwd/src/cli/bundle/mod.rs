//! `cgwd bundle`: one archive with what AWS Support asks for, and no secret in it.
//!
//! Three layers keep secrets out: the daemon never says them; the configuration is redacted by its own grammar; and
//! at the end every file is searched for every known secret in all spellings.

mod anonymise;
pub(super) mod collect;
mod secrets;

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use config::{Config, Identity};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::args::Bundle;
use super::output::{complain, say};
use super::{EXIT_FAILED, Failure};
use crate::events;
use anonymise::Anonymiser;
use collect::{Collected, Item, collect};
use secrets::Scrubber;

/// Where systemd shows a service's credentials to root.
const CREDENTIALS: &str = "/run/credentials/cgwd.service";
/// Larger files hold no secret of ours.
const SECRET_BYTES_MAX: u64 = 1 << 20;
/// The list of contents.
const CONTENTS: &str = "CONTENTS.txt";

pub(super) async fn run(socket: &Path, options: &Bundle) -> Result<u8, Failure> {
    let now = events::rfc3339(SystemTime::now());
    let directory = format!("cgwd-bundle-{}", now.replace(['-', ':'], "").replace(".", ""));
    let path = options.output.clone().unwrap_or_else(|| PathBuf::from(format!("{directory}.tar.gz")));
    // Before the work, so that a name that is taken is said at once.
    let file = create(&path)?;
    let collected = collect(socket, options.config.as_deref()).await;
    let texts = make(&collected, options.anonymise, &now);
    if let Err(error) = archive(file, &directory, &texts) {
        let _ = std::fs::remove_file(&path);
        return Err(Failure::new(EXIT_FAILED, format!("cgwd: cannot write {}: {error}", path.display())));
    }
    for item in &collected.items {
        if let Err(why) = &item.text {
            complain(&format!("note: without {}: {}", item.name, first_line(why)));
        }
    }
    say(&format!("{}\n", path.display()));
    let level = if options.anonymise {
        "addresses and names are replaced"
    } else {
        "addresses and names are in it (--anonymise replaces them)"
    };
    complain(&format!(
        "written with mode 0600; it holds no keys; {level}; {CONTENTS} in it says what each file is"
    ));
    Ok(0)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Never writes over anything.
fn create(path: &Path) -> Result<File, Failure> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                "nothing is overwritten: remove it, or name another with --output"
            }
            std::io::ErrorKind::NotFound => "does the directory exist?",
            _ => "name another place with --output",
        };
        Failure::new(EXIT_FAILED, format!("cgwd: cannot write {}: {error}; {remedy}", path.display()))
    })
}

/// The files of the bundle with their texts, redacted, and the list of contents before them.
fn make(collected: &Collected, anonymise: bool, now: &str) -> Vec<(String, String)> {
    let scrubber = scrubber(collected);
    let mut removed = 0;
    let mut texts: Vec<(&Item, String)> = Vec::new();
    for item in &collected.items {
        let Ok(text) = &item.text else { continue };
        let (text, count) = scrubber.scrub(text);
        removed += count;
        texts.push((item, text));
    }
    let mut contents = contents(collected, &scrubber, removed, now);
    if anonymise {
        let names = names(collected);
        let all = texts.iter().map(|(_, text)| text.as_str()).chain([contents.as_str()]);
        let mut anonymiser = Anonymiser::new(all, &names);
        for (_, text) in &mut texts {
            *text = anonymiser.apply(text);
        }
        contents = anonymiser.apply(&contents);
        let (addresses, names) = anonymiser.counts();
        let _ = write!(
            contents,
            "\nAnonymised: {addresses} addresses and {names} names and identifiers have stand-ins, the same in every\n\
             file. Networks keep their lengths, and what lay inside a network still does. Private and link-local\n\
             addresses keep their kind; loopback, multicast and masks are as they were. Names of tunnels, interfaces and\n\
             files, AS numbers and SPIs are not replaced.\n"
        );
    } else {
        contents.push_str("\nAddresses, identities, identifiers and host names are as they are: make the bundle with --anonymise to replace them.\n");
    }
    let files = texts.into_iter().map(|(item, text)| (item.name.to_owned(), text));
    [(CONTENTS.to_owned(), contents)].into_iter().chain(files).collect()
}

fn contents(collected: &Collected, scrubber: &Scrubber, removed: usize, now: &str) -> String {
    let mut text = format!("Made by cgwd {} at {now}.\n\n", env!("CARGO_PKG_VERSION"));
    for item in collected.items.iter().filter(|item| item.text.is_ok()) {
        let _ = writeln!(text, "{:<36}{}", item.name, item.what);
    }
    let missing: Vec<&Item> = collected.items.iter().filter(|item| item.text.is_err()).collect();
    if !missing.is_empty() {
        text.push_str("\nNot to be had:\n");
    }
    for item in missing {
        let why = item.text.as_ref().err().map_or("", |why| first_line(why));
        let (why, _) = scrubber.scrub(why);
        let _ = writeln!(text, "{:<36}{why}", item.name);
    }
    if collected.elsewhere {
        text.push_str(
            "\nThe daemon runs in another network namespace: what stands under host/ is not its own.\n",
        );
    }
    let _ = write!(
        text,
        "\nSecrets: pre-shared keys, private keys and the like are blotted out with asterisks in config/cgwd.toml; every\n\
         file was searched for them, also in hexadecimal and Base64, and {removed} more were removed.\n"
    );
    text
}

/// Every secret that can be found: inline in the configuration, in files it names, and in credentials.
fn scrubber(collected: &Collected) -> Scrubber {
    let mut scrubber = Scrubber::default();
    let Some(source) = &collected.source else { return scrubber };
    let redacted = config::redact(&String::from_utf8_lossy(source.expose()));
    redacted.secrets.iter().for_each(|secret| scrubber.add(secret));
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let directories: Vec<PathBuf> = credentials.into_iter().chain([PathBuf::from(CREDENTIALS)]).collect();
    let named = redacted
        .credentials
        .iter()
        .flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    for path in redacted.files.iter().cloned().chain(named) {
        // What cannot be read here is not in what was collected here either.
        let small = std::fs::metadata(&path).is_ok_and(|meta| meta.len() <= SECRET_BYTES_MAX);
        if let Some(bytes) = small.then(|| std::fs::read(&path).ok()).flatten() {
            scrubber.add(&model::Secret::new(bytes));
        }
    }
    scrubber
}

/// What is replaced although it does not look like an address or an identifier.
fn names(collected: &Collected) -> Vec<(String, &'static str)> {
    let mut names = vec![(collected.host_name.clone(), "host")];
    if let Some((short, _)) = collected.host_name.split_once('.') {
        names.push((short.to_owned(), "host"));
    }
    let tunnels = collected.config.iter().flat_map(Config::tunnels);
    for (connection, tunnel) in tunnels {
        names.push((connection.id.clone(), "connection"));
        for identity in [&tunnel.local_id, &tunnel.remote_id] {
            match identity {
                Identity::Address(_) | Identity::Subject => {}
                Identity::Fqdn(name) | Identity::Email(name) | Identity::Name(name) => {
                    names.push((name.clone(), "identity"))
                }
            }
        }
    }
    // AWS's own are known by their looks and keep them.
    names.retain(|(name, kind)| *kind != "connection" || !name.starts_with("vpn-"));
    names
}

fn archive(file: File, directory: &str, texts: &[(String, String)]) -> std::io::Result<()> {
    let mut builder = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for (name, text) in texts {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(seconds);
        builder.append_data(&mut header, format!("{directory}/{name}"), text.as_bytes())?;
    }
    let mut file = builder.into_inner()?.finish()?;
    file.flush()?;
    file.sync_all()
}
