//! `cgwd bundle`: complete, private, and without any secret, in any spelling.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::aws_file::Connection;
use lab::netns;
use lab::strongswan::Settings;
use lab::topology::{GW_OUTSIDE, LAN_HOST, Side};

use crate::rig::Rig;
use crate::world::{UP, World};

/// Files that must be in the bundle of a running daemon.
const FILES: [&str; 17] = [
    "CONTENTS.txt",
    "device.txt",
    "tunnels.txt",
    "config/cgwd.toml",
    "daemon/status.txt",
    "daemon/status.json",
    "daemon/running-configuration.txt",
    "daemon/routes.json",
    "daemon/bgp.json",
    "daemon/metrics.txt",
    "daemon/events.txt",
    "daemon/events.jsonl",
    "doctor.txt",
    "doctor.json",
    "host/addresses.txt",
    "host/routes-ipv4.txt",
    "host/firewall-nft.txt",
];

/// Secrets of kinds that this configuration does not take, in comments, as people leave them.
const COMMENTS: &str = "\n# psk = \"old_Psk.Of.Last.Year\"\n# ppk = \"postquantum-preshared\"\n# private_key = \"\"\"\n\
    # -----BEGIN PRIVATE KEY-----\n# MC4CAQAwBQYDK2VwBCIEIPtestPrivateKeyOctets0123456789abcd\n# -----END PRIVATE KEY-----\n# \"\"\"\n";

/// Post-quantum pre-shared keys of the two tunnels.
const PPK_INLINE: &str = "0x1a6c7ab9d3cc5df1fa0ee1bd08d8ba2c14d5c22f0a5a6b3c9d80ef1122334455";
/// See [`PPK_INLINE`].
const PPK_IN_FILE: &str = "Qn1sT0zV+Yb7xkLw/3hRgPz9mUe5cJd2a8Fo4Ni6WvE=";

/// Makes a bundle, checks that it is private, and unpacks it: file to content.
fn bundle(world: &World<'_>, name: &str, arguments: &[&str]) -> Result<BTreeMap<String, Vec<u8>>> {
    let archive = world.lab.scratch().join(format!("{name}.tar.gz"));
    let path = archive.display().to_string();
    let config = world.gateway.config().display().to_string();
    let output =
        world.gateway.cli(&[&["bundle", "--output", &path, "--config", &config], arguments].concat())?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cgwd bundle: {complaint}");
    ensure!(String::from_utf8_lossy(&output.stdout).trim() == path, "it says where it is");
    let mode = std::fs::metadata(&archive)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "mode {mode:o}");
    let into = world.lab.scratch().join(name);
    std::fs::create_dir_all(&into)?;
    netns::run(
        Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&into).arg("--strip-components=1"),
    )?;
    let mut files = BTreeMap::new();
    read(&into, &into, &mut files)?;
    Ok(files)
}

fn read(root: &Path, directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            read(root, &path, files)?;
        } else {
            files.insert(path.strip_prefix(root)?.display().to_string(), std::fs::read(&path)?);
        }
    }
    Ok(())
}

/// The secret itself, in hexadecimal and in Base64, each aligned in all ways.
fn spellings(secret: &str) -> Result<Vec<Vec<u8>>> {
    let script = "import sys,base64\ns=sys.argv[1].encode()\nprint(s.hex());print(s.hex().upper())\n\
                  for n in range(3):\n e=base64.b64encode(b'x'*n+s).decode().rstrip('=');print(e[[0,2,3][n]:-1])";
    let text = netns::run(Command::new("python3").args(["-c", script, secret]))?;
    Ok(text.lines().map(|line| line.as_bytes().to_vec()).chain([secret.as_bytes().to_vec()]).collect())
}

fn holds(content: &[u8], needle: &[u8]) -> bool {
    content.windows(needle.len()).any(|window| window == needle)
}

/// Whether a word stands in the text by itself, not as a part of a longer one.
fn stands_in(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
        let before = text[..at].chars().next_back();
        let mut after = text[at + word.len()..].chars();
        let next = after.next();
        // A full stop ends a sentence; a port follows a colon.
        let goes_on = match next {
            Some('.') => after.next().is_some_and(|c| c.is_ascii_digit()),
            Some(c) => c.is_ascii_hexdigit(),
            None => false,
        };
        !before.is_some_and(part) && !goes_on
    })
}

#[test]
fn a_bundle_has_everything_and_no_secret_and_anonymised_no_address() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    // Tunnel 1 has its key inline, tunnel 2 in a file of its own.
    let key_file = lab.scratch().join("tunnel2.psk");
    std::fs::write(&key_file, format!("{}\n", Side::Two.psk()))?;
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600))?;
    world
        .gateway
        .edit(&format!("psk = \"{}\"", Side::Two.psk()), &format!("psk_file = \"{}\"", key_file.display()))?;
    // And a PPK inline and one in a file; strongSwan has neither.
    let ppk_file = lab.scratch().join("tunnel2.ppk");
    std::fs::write(&ppk_file, format!("{PPK_IN_FILE}\n"))?;
    std::fs::set_permissions(&ppk_file, std::fs::Permissions::from_mode(0o600))?;
    let places = [format!("ppk = \"{PPK_INLINE}\""), format!("ppk_file = \"{}\"", ppk_file.display())];
    for (side, place) in Side::BOTH.into_iter().zip(places) {
        let name = format!("name = \"{}\"\n", side.tunnel());
        let lines = format!("{name}ppk_id = \"office\"\nppk_required = false\n{place}\n");
        world.gateway.edit(&name, &lines)?;
    }
    let text = std::fs::read_to_string(world.gateway.config())?;
    std::fs::write(world.gateway.config(), text + COMMENTS)?;
    world.start()?;
    // The host itself prints a key: a rule's comment.
    lab.gw.nft(&format!(
        "table inet note {{ chain c {{ ip saddr 192.0.2.77 accept comment \"key {}\"\n}}\n}}",
        Side::Two.psk()
    ))?;

    let plain = bundle(&world, "plain", &[])?;
    let anonymous = bundle(&world, "anonymous", &["--anonymise"])?;
    let contents =
        String::from_utf8_lossy(plain.get("CONTENTS.txt").context("a list of contents")?).into_owned();
    for name in FILES {
        ensure!(plain.get(name).is_some_and(|content| !content.is_empty()), "{name} is missing:\n{contents}");
        ensure!(anonymous.contains_key(name), "{name} is missing when anonymised");
        ensure!(name == "CONTENTS.txt" || contents.contains(name), "{name} is not in the list of contents");
    }
    let secrets = [
        Side::One.psk(),
        Side::Two.psk(),
        PPK_INLINE,
        PPK_IN_FILE,
        "old_Psk.Of.Last.Year",
        "postquantum-preshared",
        "MC4CAQAwBQYDK2VwBCIEIPtestPrivateKeyOctets0123456789abcd",
    ];
    for secret in secrets {
        for spelling in spellings(secret)? {
            for (name, content) in plain.iter().chain(&anonymous) {
                ensure!(
                    !holds(content, &spelling),
                    "{secret} is in {name} as {}",
                    String::from_utf8_lossy(&spelling)
                );
            }
        }
    }
    let plain_all = plain.values().map(|content| String::from_utf8_lossy(content)).collect::<String>();
    let anonymous_all =
        anonymous.values().map(|content| String::from_utf8_lossy(content)).collect::<String>();
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let mut private: Vec<String> =
        ["192.0.2.254", "10.10.0.1", "172.31.0.0", "10.10.0.0", "192.0.2.77"].map(str::to_owned).to_vec();
    private.extend([GW_OUTSIDE.to_string(), Connection::lab().id.clone()]);
    for side in Side::BOTH {
        private.extend(
            [side.outside(), side.inside_ours(), side.inside().addr()].map(|address| address.to_string()),
        );
    }
    for word in &private {
        ensure!(
            stands_in(&plain_all, word),
            "{word} is nowhere in the plain bundle, so its absence shows nothing"
        );
        ensure!(!stands_in(&anonymous_all, word), "{word} is in the anonymised bundle");
    }
    ensure!(!stands_in(&anonymous_all, &LAN_HOST.to_string()));
    ensure!(!anonymous_all.contains(&format!(" {}\n", host_name.trim())), "the host's name");

    // The same address has the same stand-in in different files.
    let outside = |name: &str| -> Result<String> {
        let text = String::from_utf8_lossy(anonymous.get(name).context("missing")?).into_owned();
        let line = text.lines().find(|line| line.contains("outside")).context("no outside address")?;
        let word = line.split([' ', '"', '=', ',']).find(|word| word.parse::<std::net::IpAddr>().is_ok());
        Ok(word.context(line.to_owned())?.to_owned())
    };
    ensure!(outside("tunnels.txt")? == outside("daemon/status.json")?);
    ensure!(outside("tunnels.txt")? == outside("config/cgwd.toml")?);
    Ok(())
}

#[test]
fn a_bundle_is_made_with_the_daemon_down_and_nothing_is_overwritten() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let lab = &rig.topology;
    let mut world = World::prepare(lab, &Connection::lab(), Side::BOTH.map(Settings::aws))?;
    let state = world.gateway.state().here.display().to_string();
    world.gateway.start()?;
    world.gateway.wait_all_up(UP)?;
    ensure!(world.gateway.stop());

    let files = bundle(&world, "down", &[])?;
    let text = |name: &str| files.get(name).map(|content| String::from_utf8_lossy(content).into_owned());
    let contents = text("CONTENTS.txt").context("a list of contents")?;
    ensure!(contents.contains("Not to be had") && contents.contains("daemon/status.txt"), "{contents}");
    ensure!(
        text("doctor.txt").is_some_and(|text| text.contains("HOST-NO-DAEMON")),
        "{:?}",
        text("doctor.txt")
    );
    ensure!(text("config/cgwd.toml").is_some_and(|text| !text.contains(Side::One.psk())));

    // The story of the daemon that is gone, as `cgwd events` tells it.
    let mut events = lab.gw.command(lab::traffic::binary("cgwd")?);
    events.env("CGWD_SOCKET", world.gateway.socket()).env("STATE_DIRECTORY", &state).arg("events");
    let output = events.output()?;
    let (told, note) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.success() && told.contains("DAEMON-STARTED") && told.contains("DAEMON-STOPPING"),
        "{told}{note}"
    );
    ensure!(note.contains("no daemon answers") && note.contains(&state), "{note}");

    // A second bundle of the same name is refused, and the first one stays.
    let archive = lab.scratch().join("down.tar.gz");
    let before = std::fs::read(&archive)?;
    let again = world.gateway.cli(&["bundle", "--output", &archive.display().to_string()])?;
    let complaint = String::from_utf8_lossy(&again.stderr);
    ensure!(again.status.code() == Some(2) && complaint.contains("nothing is overwritten"), "{complaint}");
    ensure!(std::fs::read(&archive)? == before);

    // A configuration with an error hides its keys all the same.
    let broken = std::fs::read_to_string(world.gateway.config())?
        .replace("[[connection.tunnel]]", "[[connection.tunnel]");
    std::fs::write(world.gateway.config(), broken)?;
    for (name, content) in bundle(&world, "broken", &["--anonymise"])? {
        for side in Side::BOTH {
            ensure!(!holds(&content, side.psk().as_bytes()), "the key of {} is in {name}", side.tunnel());
            ensure!(!stands_in(&String::from_utf8_lossy(&content), &side.outside().to_string()), "{name}");
        }
    }
    Ok(())
}
