//! libreswan 4.10 as an AWS endpoint, on the kernel's own ESP in [`crate::uml`]: protocol 50, extended sequence numbers, and
//! `whack --impair`, its some seventy ways to misbehave.
//!
//! Its Debian package excludes strongSwan's, so it is never installed: the package is unpacked, once, into a directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns;
use crate::topology::{GW_OUTSIDE, Side, Topology};
use crate::uml::{MARK, Uml};
use crate::wait;

const PROGRAMS: &str = "/usr/libexec/ipsec";
/// Where pluto has its files inside.
const RUN: &str = "/run/pluto";
const START: Duration = Duration::from_secs(20);

/// Unpacks Debian's package below `cache`, unless that was done before; where its files are.
///
/// # Errors
/// When there is no package mirror.
pub fn unpack(cache: &Path) -> Result<PathBuf> {
    let root = cache.join("libreswan");
    if !root.join("usr/libexec/ipsec/pluto").exists() {
        let fresh = cache.join(format!("libreswan.{}", std::process::id()));
        std::fs::create_dir_all(&fresh)?;
        let unpacked = download(&fresh).and_then(|()| Ok(std::fs::rename(&fresh, &root)?));
        if unpacked.is_err() {
            let _ = std::fs::remove_dir_all(&fresh);
        }
        unpacked.context("libreswan's package cannot be had")?;
    }
    Ok(root)
}

fn download(into: &Path) -> Result<()> {
    netns::run(
        Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", "libreswan"])
            .current_dir(into),
    )?;
    netns::run(Command::new("sh").args(["-ec", "dpkg -x libreswan_*.deb ."]).current_dir(into)).map(drop)
}

/// What it is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Pre-shared key.
    pub psk: String,
    /// libreswan's notation.
    pub ike: String,
    /// libreswan's notation.
    pub esp: String,
    /// `yes`, `no` or `either`.
    pub esn: &'static str,
    /// Further lines of the connection, `key=value`.
    pub extra: Vec<String>,
}

impl Settings {
    /// One side of a connection: what AWS offers best, on protocol 50 and with extended sequence numbers.
    pub fn aws(side: Side) -> Self {
        Self {
            psk: side.psk().to_owned(),
            ike: "aes_gcm256-sha2_384;dh20,aes_gcm256-sha2_384;dh19".to_owned(),
            esp: "aes_gcm256;dh20".to_owned(),
            esn: "yes",
            extra: ["dpddelay=10", "dpdaction=clear", "retransmit-timeout=10s"].map(str::to_owned).to_vec(),
        }
    }

    fn conf(&self, side: Side) -> String {
        let mut text = format!(
            "config setup\n  protostack=xfrm\n  plutodebug=none\n  nhelpers=0\n\nconn aws\n  ikev2=insist\n  \
             authby=secret\n  left={local}\n  leftid={local}\n  leftsubnet=0.0.0.0/0\n  \
             right={GW_OUTSIDE}\n  rightid={GW_OUTSIDE}\n  rightsubnet=0.0.0.0/0\n  leftupdown=/bin/true\n  \
             mark={MARK}/0xffffffff\n  pfs=yes\n  replay-window=1024\n  encapsulation=no\n  ike={}\n  esp={}\n  \
             esn={}\n",
            self.ike,
            self.esp,
            self.esn,
            local = side.outside(),
        );
        for line in &self.extra {
            let _ = writeln!(text, "  {line}");
        }
        text + "  auto=add\n"
    }
}

/// A running libreswan.
#[derive(Debug)]
pub struct Libreswan {
    uml: Uml,
}

impl Libreswan {
    /// Boots User-Mode Linux behind the endpoint `side` and starts libreswan in it, whose package is kept in `cache`.
    ///
    /// # Errors
    /// When either does not start.
    pub fn start(topology: &Topology, side: Side, cache: &Path, settings: &Settings) -> Result<Self> {
        let root = unpack(cache)?;
        let uml = Uml::boot(topology, side)?;
        uml.tunnel_interface(side)?;
        let folder = topology.scratch().join("libreswan");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("ipsec.conf"), settings.conf(side))?;
        let secret = format!("{} {GW_OUTSIDE} : PSK \"{}\"\n", side.outside(), settings.psk);
        std::fs::write(folder.join("ipsec.secrets"), secret)?;
        let this = Self { uml };
        this.uml.script(&[
            format!(
                "mkdir -p {RUN}/nss && mount -t hostfs none /usr/libexec -o {}/usr/libexec",
                root.display()
            ),
            format!("certutil -N --empty-password -d sql:{RUN}/nss"),
        ])?;
        this.run_pluto()?;
        Ok(this)
    }

    /// Starts the daemon, which loads its connection by itself.
    fn run_pluto(&self) -> Result<()> {
        self.uml.shell(&format!(
            "{PROGRAMS}/pluto --nofork --stderrlog --config /run/lab/libreswan/ipsec.conf --secretsfile \
             /run/lab/libreswan/ipsec.secrets --nssdir {RUN}/nss --ipsecdir {RUN}/nss --rundir {RUN} >>{RUN}.log 2>&1 &"
        ))?;
        wait::until(START, "libreswan to load its connection", || {
            self.log().contains("added IKEv2 connection")
        })
        .with_context(|| self.log())?;
        Ok(())
    }

    /// SIGKILL, and a new one: no peer is told.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&self) -> Result<()> {
        self.uml.shell(&format!(
            "kill -9 $(pidof pluto); sleep 0.2; rm -f {RUN}/pluto.*; mv {RUN}.log {RUN}.old.log; ip xfrm state flush; ip \
             xfrm policy flush"
        ))?;
        self.run_pluto()
    }

    /// Whether its daemon runs.
    pub fn is_running(&self) -> bool {
        self.uml.output("pidof pluto").is_ok_and(|(_, status)| status == 0)
    }

    /// Runs `whack`; what it said, and its exit status.
    ///
    /// # Errors
    /// When it does not end.
    pub fn whack(&self, arguments: &str) -> Result<(String, i32)> {
        self.uml.output(&format!("timeout 20 {PROGRAMS}/whack --rundir {RUN} {arguments}"))
    }

    /// Rekeys the child SA from this side.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn rekey_child(&self) -> Result<()> {
        self.whack("--rekey-ipsec --name aws --asynchronous").map(drop)
    }

    /// Rekeys the IKE SA from this side.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn rekey_ike(&self) -> Result<()> {
        self.whack("--rekey-ike --name aws --asynchronous").map(drop)
    }

    /// A word in the kernel it runs on.
    ///
    /// # Errors
    /// When the command fails.
    pub fn shell(&self, line: &str) -> Result<String> {
        self.uml.shell(line)
    }

    /// The kernel's ESP SAs.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn esp_sas(&self) -> Result<String> {
        self.uml.shell("ip -s xfrm state")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.uml.shell(&format!("grep -hv netlink_expire {RUN}.log")).unwrap_or_default()
    }
}
