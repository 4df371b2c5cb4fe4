//! strongSwan 5.9 as an AWS endpoint: its files, its process, its control socket.
//!
//! One `charon-systemd` per namespace with user-space ESP (the plugin kernel-libipsec), always UDP-encapsulated.
//! `STRONGSWAN_CONF` and a control socket of its own keep it apart from any strongSwan of the machine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Result, bail};
use ipnet::IpNet;

use crate::netns::{self, Namespace};
use crate::process::{Process, Spawn};
use crate::topology::{Families, Side, Topology};
use crate::wait;

const PLUGINS: &str = "random nonce aes sha1 sha2 hmac pem pkcs1 x509 pubkey openssl gcm kdf curve25519 \
                       pkcs8 \
                       kernel-libipsec kernel-netlink socket-default vici updown counters";

/// A post-quantum pre-shared key (RFC 8784).
#[derive(Clone, Debug)]
pub struct Ppk {
    /// What both sides call it.
    pub id: String,
    /// In swanctl's notation: text, or `0x` and hexadecimal digits.
    pub secret: String,
    /// No IKE SA without it.
    pub required: bool,
}

impl Ppk {
    fn connection(&self) -> String {
        format!("ppk_id = {}\nppk_required = {}", self.id, if self.required { "yes" } else { "no" })
    }

    fn secret(&self) -> String {
        format!("ppk-aws {{\nid-a = {}\nsecret = \"{}\"\n}}\n", self.id, self.secret)
    }
}

/// What one endpoint is told to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The endpoint's outside address and identity.
    pub local: IpAddr,
    /// The gateway's outside address and identity.
    pub remote: IpAddr,
    /// Pre-shared key.
    pub psk: String,
    /// `local_id` and `remote_id` prove themselves by certificates instead of the key: a directory with `aws.crt`,
    /// `aws.key`, the intermediate `sub.crt` and the root `root.crt`.
    pub certificates: Option<PathBuf>,
    /// A post-quantum pre-shared key beside that.
    pub ppk: Option<Ppk>,
    /// Who it is; an address by default.
    pub local_id: String,
    /// Who we are to it; an address by default.
    pub remote_id: String,
    /// AWS's inside address.
    pub inside: IpNet,
    /// 2, or 1 for a peer that has never heard of IKEv2.
    pub ike_version: u8,
    /// swanctl's notation, separated by commas.
    pub ike_proposals: String,
    /// swanctl's notation.
    pub esp_proposals: String,
    /// Selectors on the AWS side.
    pub local_ts: String,
    /// Selectors on the customer's side.
    pub remote_ts: String,
    /// Begins by itself, as AWS does with the startup action `start`.
    pub initiates: bool,
    /// Where it sends into the tunnel, beside the inside network.
    pub routes: Vec<String>,
    /// Further lines inside the connection.
    pub extra: String,
    /// Further lines inside the child.
    pub child: String,
    /// Further lines for the daemon itself.
    pub daemon: String,
}

impl Settings {
    /// The way AWS sets up one side of a connection, with every strong algorithm allowed.
    pub fn aws(side: Side) -> Self {
        Self::aws_in(side, Families::V4)
    }

    /// The same in other address families.
    pub fn aws_in(side: Side, families: Families) -> Self {
        let everything = if families.inside_ipv6 { "::/0" } else { "0.0.0.0/0" };
        Self {
            local: families.endpoint(side),
            remote: families.gateway(),
            psk: side.psk().to_owned(),
            certificates: None,
            ppk: None,
            local_id: families.endpoint(side).to_string(),
            remote_id: families.gateway().to_string(),
            inside: families.inside(side),
            ike_version: 2,
            ike_proposals: "aes256gcm16-aes128gcm16-prfsha512-prfsha384-prfsha256-ecp384-ecp256-ecp521-\
                            modp2048-modp3072-modp4096,aes256-aes128-sha512-sha384-sha256-sha1-ecp384-\
                            ecp256-ecp521-modp2048-modp3072-modp4096-modp1024"
                .replace(char::is_whitespace, ""),
            esp_proposals: "aes256gcm16-aes128gcm16-ecp384-ecp256-ecp521-modp2048-modp3072-modp4096,aes256-\
                            aes128-sha512-sha384-sha256-sha1-ecp384-ecp256-ecp521-modp2048-modp3072-\
                            modp4096-modp1024"
                .replace(char::is_whitespace, ""),
            local_ts: everything.to_owned(),
            remote_ts: everything.to_owned(),
            initiates: false,
            routes: vec![families.lan().to_owned()],
            extra: String::new(),
            child: String::new(),
            daemon: String::new(),
        }
    }

    fn swanctl_conf(&self) -> String {
        let method = if self.certificates.is_some() { "pubkey" } else { "psk" };
        let certs = if self.certificates.is_some() { "\n certs = aws.crt" } else { "" };
        let send = if self.certificates.is_some() { "send_cert = always" } else { "" };
        let start_action = if self.initiates { "start" } else { "none" };
        let connection = [
            format!("version = {}", self.ike_version),
            format!("local_addrs = {}", self.local),
            format!("remote_addrs = {}", self.remote),
            format!("proposals = {}", self.ike_proposals),
            send.to_owned(),
            format!("local {{\n auth = {method}\n id = \"{}\"{certs}\n}}", self.local_id),
            format!("remote {{\n auth = {method}\n id = \"{}\"\n}}", self.remote_id),
            "encap = yes\nmobike = no\ndpd_delay = 10s\nunique = replace\nkeyingtries = 0".to_owned(),
            self.ppk.as_ref().map(Ppk::connection).unwrap_or_default(),
            self.extra.clone(),
        ];
        let child = [
            format!("local_ts = {}", self.local_ts),
            format!("remote_ts = {}", self.remote_ts),
            format!("esp_proposals = {}", self.esp_proposals),
            format!("start_action = {start_action}\ndpd_action = clear"),
            self.child.clone(),
        ];
        let secret = format!("id-a = {}\nid-b = {}\nsecret = \"{}\"", self.local, self.remote, self.psk);
        let ppk = self.ppk.as_ref().map(Ppk::secret).unwrap_or_default();
        format!(
            "connections {{\naws {{\n{}\nchildren {{\nnet {{\n{}\n}}\n}}\n}}\n}}\nsecrets {{\nike-aws \
             {{\n{secret}\n}}\n{ppk}}}\n",
            connection.join("\n"),
            child.join("\n"),
        )
    }
}

/// One IKE SA as strongSwan lists it.
#[derive(Clone, Debug, Default)]
pub struct Sa {
    /// `ESTABLISHED`, `REKEYED`, `DELETING`, ...
    pub state: String,
    /// `initiator-spi`, 16 hex digits.
    pub spi_i: String,
    /// `AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384`, put together from the parts.
    pub proposal: String,
    /// A PPK is in its keys.
    pub ppk: bool,
    /// Its child SAs.
    pub children: Vec<Child>,
}

/// One child SA as strongSwan lists it.
#[derive(Clone, Debug, Default)]
pub struct Child {
    /// `INSTALLED`, `REKEYED`, ...
    pub state: String,
    /// 8 hex digits.
    pub spi_in: String,
    /// `AES_GCM_16-256/ECP_384`, put together from the parts; the group only after a rekey.
    pub proposal: String,
    /// Packets it decrypted.
    pub packets_in: u64,
}

/// A running strongSwan.
#[derive(Debug)]
pub struct StrongSwan<'t> {
    namespace: &'t Namespace,
    directory: PathBuf,
    settings: Settings,
    process: Option<Process>,
}

impl<'t> StrongSwan<'t> {
    /// Starts one in the namespace of `side` and loads `settings`.
    ///
    /// # Errors
    /// When strongSwan is not installed, does not come up, or refuses the settings.
    pub fn start(topology: &'t Topology, side: Side, settings: Settings) -> Result<Self> {
        let directory = topology.scratch().join(format!("strongswan-{}", side.role()));
        Self::start_in(topology.aws(side), directory, settings)
    }

    /// Starts one in any namespace, with its files in `directory`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(namespace: &'t Namespace, directory: PathBuf, settings: Settings) -> Result<Self> {
        std::fs::create_dir_all(&directory)?;
        let mut this = Self { namespace, directory, settings, process: None };
        this.restart()?;
        Ok(this)
    }

    /// Starts it again after [`Self::kill`], or for the first time.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process = None;
        let (directory, socket) = (&self.directory, self.socket());
        let _ = std::fs::remove_file(&socket);
        let conf = directory.join("strongswan.conf");
        std::fs::write(
            &conf,
            strongswan_conf(&socket, &directory.join("charon.log"), &self.settings.daemon),
        )?;
        self.process = Some(Process::spawn(&Spawn {
            namespace: self.namespace,
            // /run is its own: the pid file of charon-systemd has a fixed name.
            command: ["unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /run && exec charon-systemd"]
                .map(str::to_owned)
                .to_vec(),
            env: vec![("STRONGSWAN_CONF".to_owned(), conf.display().to_string())],
            log: directory.join("stderr.log"),
            pipes: false,
        })?);
        let process = self.process.as_mut();
        let started = wait::until(Duration::from_secs(10), "strongSwan's control socket", || socket.exists());
        if started.is_err() || process.is_none_or(|p| !p.is_running()) {
            bail!("strongSwan did not start:\n{}", self.log());
        }
        self.bring_up_inside()?;
        self.load(self.settings.clone())
    }

    /// kernel-libipsec sends *everything* into its tunnel by table 220, its own IKE answers too: undo that, and
    /// route what AWS would route.
    fn bring_up_inside(&self) -> Result<()> {
        wait::until(Duration::from_secs(5), "the rule for table 220", || {
            self.namespace.ip("rule show pref 220").is_ok_and(|rules| !rules.trim().is_empty())
        })?;
        self.namespace.ip("rule del pref 220")?;
        let _ = self.namespace.ip("-6 rule del pref 220");
        let mut lines = vec![
            format!("addr add {} dev ipsec0", self.settings.inside),
            "link set ipsec0 mtu 1400 up".to_owned(),
        ];
        lines.extend(self.settings.routes.iter().map(|route| format!("route replace {route} dev ipsec0")));
        self.namespace.ip_batch(&lines)
    }

    /// Replaces the settings of the running daemon (existing SAs stay).
    ///
    /// # Errors
    /// When strongSwan refuses them.
    pub fn load(&mut self, settings: Settings) -> Result<()> {
        if let Some(from) = &settings.certificates {
            install(from, &self.directory)?;
        }
        let file = self.directory.join("swanctl.conf");
        std::fs::write(&file, settings.swanctl_conf())?;
        self.settings = settings;
        // What an earlier certificate left must not serve.
        self.control(&["--load-all", "--clear", "--noprompt", "--file", &file.display().to_string()])
            .map(drop)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("charon.vici")
    }

    /// Runs `swanctl` against it.
    ///
    /// # Errors
    /// When swanctl fails; its words are in the message.
    pub fn control(&self, arguments: &[&str]) -> Result<String> {
        netns::run(&mut self.swanctl(arguments))
    }

    fn swanctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("swanctl");
        command.args(arguments).arg("--uri").arg(format!("unix://{}", self.socket().display()));
        command.env("SWANCTL_DIR", &self.directory);
        command
    }

    /// Brings the tunnel up from this side.
    ///
    /// # Errors
    /// When it does not come up within ten seconds.
    pub fn initiate(&self) -> Result<()> {
        self.control(&["--initiate", "--child", "net", "--timeout", "10"]).map(drop)
    }

    /// Rekeys the child SA from this side.
    ///
    /// # Errors
    /// When there is none.
    pub fn rekey_child(&self) -> Result<()> {
        self.control(&["--rekey", "--child", "net"]).map(drop)
    }

    /// Rekeys the IKE SA from this side.
    ///
    /// # Errors
    /// When there is none.
    pub fn rekey_ike(&self) -> Result<()> {
        self.control(&["--rekey", "--ike", "aws"]).map(drop)
    }

    /// Deletes the IKE SA in order: the peer is told.
    ///
    /// # Errors
    /// When there is none.
    pub fn terminate(&self) -> Result<Output> {
        Ok(self.swanctl(&["--terminate", "--ike", "aws", "--timeout", "5"]).output()?)
    }

    /// Its IKE SAs.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn sas(&self) -> Result<Vec<Sa>> {
        let raw = self.control(&["--list-sas", "--raw"])?;
        raw.lines()
            .filter_map(|line| line.strip_prefix("list-sa event "))
            .map(|line| vici::parse(line).map(|tree| read_sa(&tree)))
            .collect()
    }

    /// The one established IKE SA.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn sa(&self) -> Result<Sa> {
        let sas = self.sas()?;
        let mut established = sas.iter().filter(|sa| sa.state == "ESTABLISHED");
        match (established.next(), established.next()) {
            (Some(sa), None) => Ok(sa.clone()),
            _ => bail!("expected exactly one established IKE SA, got {sas:?}"),
        }
    }

    /// SIGKILL: gone without a word, and its TUN with it.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// What charon logged.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        format!("{}{}", read("stderr.log"), read("charon.log"))
    }
}

/// Certificates and the key where swanctl looks for them.
fn install(from: &Path, to: &Path) -> Result<()> {
    for (folder, file) in
        [("x509", "aws.crt"), ("private", "aws.key"), ("x509ca", "sub.crt"), ("x509ca", "root.crt")]
    {
        std::fs::create_dir_all(to.join(folder))?;
        std::fs::copy(from.join(file), to.join(folder).join(file))?;
    }
    Ok(())
}

fn strongswan_conf(socket: &Path, log: &Path, more: &str) -> String {
    let (socket, log) = (socket.display(), log.display());
    [
        "charon-systemd {",
        &format!("load = {PLUGINS}"),
        "install_routes = no\ninstall_virtual_ip = no",
        // Quick to give up, so that a test sees its state gone; AWS's own timers are slower.
        "retransmit_timeout = 1.0\nretransmit_tries = 3",
        more,
        &format!(
            "plugins {{\nvici {{ socket = unix://{socket} }}\nkernel-libipsec {{ allow_peer_ts = yes }}\n}}"
        ),
        &format!("filelog {{\nlab {{\npath = {log}\ndefault = 1\ntime_format = %T\ntime_add_ms = yes"),
        "flush_line = yes\n}\n}\n}\n",
    ]
    .join("\n")
}

fn read_sa(tree: &serde_json::Value) -> Sa {
    // The event holds one section, named after the connection.
    let Some(sa) = tree.as_object().and_then(|object| object.values().next()) else { return Sa::default() };
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let suite = |value: &serde_json::Value| {
        let cipher = match value["encr-keysize"].as_str() {
            Some(bits) => format!("{}-{bits}", text(value, "encr-alg")),
            None => text(value, "encr-alg"),
        };
        let parts = [cipher, text(value, "integ-alg"), text(value, "prf-alg"), text(value, "dh-group")];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    };
    let children =
        sa["child-sas"].as_object().map(|all| all.values().collect::<Vec<_>>()).unwrap_or_default();
    Sa {
        state: text(sa, "state"),
        spi_i: text(sa, "initiator-spi"),
        proposal: suite(sa),
        ppk: sa["ppk"] == "yes",
        children: children
            .into_iter()
            .map(|child| Child {
                state: text(child, "state"),
                spi_in: text(child, "spi-in"),
                proposal: suite(child),
                packets_in: text(child, "packets-in").parse().unwrap_or_default(),
            })
            .collect(),
    }
}

/// The notation `swanctl --raw` prints: `name {key=value key=[a b] name {...}}`.
mod vici {
    use anyhow::{Result, bail};
    use serde_json::{Map, Value};

    /// Parses one `{...}` section.
    pub(super) fn parse(text: &str) -> Result<Value> {
        let mut rest = text.trim().strip_prefix('{').unwrap_or(text);
        section(&mut rest).map(Value::Object)
    }

    fn section(rest: &mut &str) -> Result<Map<String, Value>> {
        let mut map = Map::new();
        loop {
            *rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                *rest = after;
                return Ok(map);
            }
            let Some(end) = rest.find(['=', '{']) else { bail!("a section does not end: {rest}") };
            let (name, tail) = rest.split_at(end);
            let name = name.trim().to_owned();
            if let Some(inside) = tail.strip_prefix('{') {
                *rest = inside;
                map.insert(name, Value::Object(section(rest)?));
                continue;
            }
            let value = tail.strip_prefix('=').unwrap_or(tail);
            let (value, after) = match value.strip_prefix('[') {
                Some(list) => list.split_once(']').unwrap_or((list, "")),
                None => value.split_at(value.find([' ', '}']).unwrap_or(value.len())),
            };
            map.insert(name, Value::String(value.to_owned()));
            *rest = after;
        }
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn nested_sections_lists_and_values_are_read() {
            let tree =
                super::parse("{t {uniqueid=1 version=2 child-sas {net-1 {spi-in=6b6b642d ts=[a b]}} x=}}")
                    .unwrap();
            assert_eq!(tree["t"]["version"], "2");
            assert_eq!(tree["t"]["child-sas"]["net-1"]["ts"], "a b");
            assert_eq!(tree["t"]["x"], "");
        }
    }
}

/// Whether the programs of the real peers are installed.
///
/// # Errors
/// Says which one is missing.
pub fn installed() -> Result<()> {
    for program in ["charon-systemd", "swanctl"] {
        let found =
            ["/usr/sbin", "/usr/bin", "/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
        if !found {
            bail!("{program} is not installed: apt-get install charon-systemd strongswan-swanctl");
        }
    }
    Ok(())
}
