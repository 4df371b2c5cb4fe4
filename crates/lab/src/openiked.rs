//! OpenIKED 7.2 as an AWS endpoint: a third IKEv2, on the kernel's own ESP in [`crate::uml`].
//!
//! Its portable version speaks PF_KEY, and of the ciphers for ESP only CBC; it has no tunnel interface, so its selectors are
//! the networks at both ends.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::topology::{GW_OUTSIDE, LAN, Side, Topology, VPC};
use crate::uml::Uml;
use crate::wait;

const PROGRAM: &str = "/usr/sbin/iked";
const START: Duration = Duration::from_secs(20);

/// A running `iked`.
#[derive(Debug)]
pub struct OpenIked {
    uml: Uml,
}

impl OpenIked {
    /// Boots User-Mode Linux behind the endpoint `side` and starts `iked` in it.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(topology: &Topology, side: Side) -> Result<Self> {
        if !Path::new(PROGRAM).exists() {
            bail!("{PROGRAM} is not installed: apt-get install openiked");
        }
        let this = Self { uml: Uml::boot(topology, side)? };
        let conf = format!(
            "ikev2 \"aws\" passive esp from {VPC} to {LAN} local {local} peer {GW_OUTSIDE} ikesa enc aes-256-gcm prf \
             hmac-sha2-384 group ecp384 childsa enc aes-256 auth hmac-sha2-384 group ecp384 noesn srcid {local} dstid \
             {GW_OUTSIDE} psk \"{}\"\n",
            side.psk(),
            local = side.outside()
        );
        std::fs::write(topology.scratch().join("iked.conf"), conf)?;
        this.uml.script(&[
            "modprobe -d /run/modules af_key".to_owned(),
            "cat /run/lab/iked.conf > /run/iked.conf && chmod 600 /run/iked.conf".to_owned(),
            format!("{PROGRAM} -d -v -v -f /run/iked.conf -s /run/iked.sock >/run/iked.log 2>&1 &"),
        ])?;
        // What it is told last: a message that comes before is half answered, and forgotten.
        wait::until(START, "OpenIKED to have its configuration", || this.log().contains("nattport"))
            .with_context(|| this.log())?;
        Ok(this)
    }

    /// `ikectl show sa`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn sas(&self) -> Result<String> {
        self.uml.shell("ikectl -s /run/iked.sock show sa")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.uml.shell("cat /run/iked.log").unwrap_or_default()
    }
}
