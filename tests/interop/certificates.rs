//! Certificates with strongSwan, as a connection with AWS Private CA has them: a root, an intermediate, every kind of
//! key, who begins, and each reason to refuse.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::aws_file::Connection;
use lab::strongswan::Settings;
use lab::topology::{GW_OUTSIDE, Side};
use lab::traffic;
use lab::wait;
use serde_json::Value;

use crate::rig::Rig;
use crate::world::{BACK, NAMED, UP, World};

/// What `openssl genpkey` is told.
const KEYS: [(&str, &[&str]); 5] = [
    ("rsa2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("rsa3072", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"]),
    ("rsa4096", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"]),
    ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
];

/// Extensions of a CA and of a gateway.
const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
const GATEWAY: &str =
    "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n";

/// CAs and certificates made by `openssl`, in one directory.
struct Pki {
    directory: PathBuf,
}

/// One certificate to make.
struct Wanted<'a> {
    name: &'a str,
    subject: &'a str,
    issuer: &'a str,
    extensions: &'a str,
    /// `YYYYMMDDHHMMSSZ`, or a number of days from now.
    validity: (&'a str, &'a str),
    digest: &'a str,
}

/// Long past, and far ahead.
const VALID: (&str, &str) = ("20200101000000Z", "20990101000000Z");

impl Pki {
    /// A root and an intermediate with keys of this kind.
    fn new(directory: PathBuf, kind: &str, organisation: &str) -> Result<Self> {
        std::fs::create_dir_all(&directory)?;
        let pki = Self { directory };
        for (name, common_name, issuer) in [("root", "Root", "root"), ("sub", "Subordinate", "root")] {
            pki.key(name, kind)?;
            let subject = &format!("/C=US/O={organisation}/CN={common_name}");
            pki.issue(&Wanted { name, subject, issuer, extensions: CA, validity: VALID, digest: "sha256" })?;
        }
        Ok(pki)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn openssl(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new("openssl").args(arguments).current_dir(&self.directory).output();
        let output = output.context("openssl is not installed: apt-get install openssl")?;
        if !output.status.success() {
            bail!("openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn key(&self, name: &str, kind: &str) -> Result<()> {
        let (_, arguments) = KEYS.iter().find(|(known, _)| *known == kind).context("a known kind")?;
        let file = format!("{name}.key");
        let mut all = vec!["genpkey", "-out", &file];
        all.extend(*arguments);
        self.openssl(&all)?;
        set_mode(&self.path(&file))
    }

    /// Issues by `openssl ca`, which alone takes dates; `name.pem` is the certificate with its intermediate.
    fn issue(&self, wanted: &Wanted<'_>) -> Result<()> {
        let Wanted { name, subject, issuer, extensions, validity: (from, to), digest } = *wanted;
        let (key, csr, crt) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", &csr])?;
        self.database(issuer)?;
        std::fs::write(self.path("extensions"), extensions)?;
        let (issuer_crt, issuer_key) = (format!("{issuer}.crt"), format!("{issuer}.key"));
        let config = format!("{issuer}.conf");
        let mut all = vec!["ca", "-batch", "-notext", "-config", &config, "-in", &csr, "-out", &crt];
        all.extend(["-extfile", "extensions", "-startdate", from, "-enddate", to, "-md", digest]);
        all.extend(["-keyfile", &issuer_key]);
        if name == issuer {
            all.push("-selfsign")
        } else {
            all.extend(["-cert", &issuer_crt])
        }
        self.openssl(&all)?;
        let mut chain = std::fs::read_to_string(self.path(&crt))?;
        if issuer != "root" {
            chain.push_str(&std::fs::read_to_string(self.path(&issuer_crt))?);
        }
        Ok(std::fs::write(self.path(&format!("{name}.pem")), chain)?)
    }

    fn database(&self, issuer: &str) -> Result<()> {
        let index = self.path(&format!("{issuer}.index"));
        if index.exists() {
            return Ok(());
        }
        std::fs::write(index, "")?;
        std::fs::write(self.path(&format!("{issuer}.crlnumber")), "01\n")?;
        let config = format!(
            "[ca]\ndefault_ca=this\n[this]\ndatabase={issuer}.index\nnew_certs_dir=.\nrand_serial=yes\n\
             crlnumber={issuer}.crlnumber\ndefault_md=sha256\npolicy=any\nunique_subject=no\n\
             default_crl_days=30\n[any]\ncountryName=optional\norganizationName=optional\ncommonName=supplied\n"
        );
        Ok(std::fs::write(self.path(&format!("{issuer}.conf")), config)?)
    }

    /// The subordinate's revocation list, with these certificates on it.
    fn list(&self, revoked: &[&str]) -> Result<PathBuf> {
        let ca = ["-config", "sub.conf", "-keyfile", "sub.key", "-cert", "sub.crt"];
        for name in revoked {
            let crt = format!("{name}.crt");
            self.openssl(&[&["ca", "-revoke", &crt][..], &ca].concat())?;
        }
        self.openssl(&[&["ca", "-gencrl", "-out", "sub.crl"][..], &ca].concat())?;
        Ok(self.path("sub.crl"))
    }

    /// Gateway certificates of both sides with keys of this kind.
    fn gateways(&self, kind: &str) -> Result<()> {
        for (name, subject) in [("ours", OURS), ("aws", THEIRS)] {
            self.key(name, kind)?;
            self.issue(&Wanted {
                name,
                subject,
                issuer: "sub",
                extensions: GATEWAY,
                validity: VALID,
                digest: "sha256",
            })?;
        }
        Ok(())
    }

    /// strongSwan's side: `local` and `remote` of the connection, and where its files are.
    fn settings(&self, side: Side) -> Settings {
        Settings {
            certificates: Some(self.directory.clone()),
            local_id: comma(THEIRS),
            remote_id: comma(OURS),
            // It has to show what we must refuse.
            daemon: "x509 {\nenforce_critical = no\n}".to_owned(),
            ..Settings::aws(side)
        }
    }
}

const OURS: &str = "/C=US/O=Lab/CN=gateway";
const THEIRS: &str = "/C=US/O=Lab/CN=vpn-lab.endpoint-0";

/// `/C=US/O=Lab` as strongSwan and we write it.
fn comma(subject: &str) -> String {
    subject.trim_start_matches('/').replace('/', ", ")
}

fn set_mode(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?)
}

/// Turns tunnel 1 of the imported file into one by certificates, further lines behind.
fn by_certificates(world: &World<'_>, pki: &Pki, more: &str) -> Result<()> {
    let path = |name: &str| pki.path(name).display().to_string();
    let lines = format!(
        "certificate = \"{}\"\nprivate_key = \"{}\"\nca = \"{}\"\nremote_id = \"{}\"\n{more}",
        path("ours.pem"),
        path("ours.key"),
        path("root.crt"),
        comma(THEIRS)
    );
    world.gateway.edit(&format!("psk = \"{}\"\n", Side::One.psk()), &lines)
}

fn prepare<'t>(rig: &'t Rig, pki: &Pki, more: &str) -> Result<World<'t>> {
    let mut settings = [pki.settings(Side::One), Settings::aws(Side::Two)];
    if more.contains("pss") {
        settings[0].daemon.push_str("\nrsa_pss = yes");
    }
    let world = World::prepare(&rig.topology, &Connection::lab(), settings)?;
    by_certificates(&world, pki, more)?;
    Ok(world)
}

fn pki(rig: &Rig, kind: &str) -> Result<Pki> {
    let pki = Pki::new(rig.topology.scratch().join(format!("pki-{kind}")), kind, "Lab")?;
    pki.gateways(kind)?;
    Ok(pki)
}

#[test]
fn chains_of_every_kind_of_key_are_taken_by_strongswan_and_by_us_whoever_begins() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let side = Side::One;
    let pkis = KEYS.iter().map(|(kind, _)| pki(&rig, kind)).collect::<Result<Vec<_>>>()?;
    for ((kind, _), pki) in KEYS.iter().zip(&pkis) {
        for padding in ["pkcs1", "pss"].iter().take(if kind.starts_with("rsa") { 2 } else { 1 }) {
            let mut world = prepare(&rig, pki, &format!("rsa_padding = \"{padding}\"\n"))?;
            world.gateway.start()?;
            world.gateway.wait_stage(side, "up", UP)?;
            let tunnel = world.gateway.tunnel(side)?;
            ensure!(tunnel["ike"]["role"] == "initiator", "{tunnel}");
            ensure!(tunnel["certificate"]["peer_subject"] == comma(THEIRS), "{tunnel}");
            traffic::wait_for_echo(&rig.topology.lan, lab::topology::VPC_HOST, UP)?;
            // Again, and strongSwan begins: our attempts do not get out.
            rig.topology
                .internet_drops(&[format!("ip saddr {GW_OUTSIDE} udp dport 500 @th,216,8 & 0x20 == 0")])?;
            world.gateway.cli(&["reset", side.tunnel()])?;
            wait::until(BACK, "the tunnel's end", || {
                world.aws[side.index()].sas().is_ok_and(|sas| sas.is_empty())
            })?;
            world.aws[side.index()].initiate()?;
            world.gateway.wait_stage(side, "up", BACK)?;
            let role = world.gateway.tunnel(side)?["ike"]["role"].clone();
            ensure!(role == "responder", "{kind}: {role}");
            rig.topology.mend()?;
            let log = world.aws[side.index()].log();
            let scheme = log.lines().rev().find(|line| line.contains("with") && line.contains("successful"));
            // Three certificates' worth of RSA-4096 fit no datagram of 1,280 octets.
            ensure!(*kind != "rsa4096" || log.contains("reassembled fragmented IKE message"), "{log}");
            println!("{kind}, {padding}: both directions; {}", scheme.unwrap_or_default());
        }
    }
    Ok(())
}

/// Waits for the code on tunnel 1, in the status and in the events, and gives its text.
fn named(world: &World<'_>, code: &str, words: &str) -> Result<()> {
    let mut seen = Value::Null;
    let waited = wait::until(NAMED, code, || {
        seen = world.gateway.tunnel(Side::One).map(|tunnel| tunnel["last_error"].clone()).unwrap_or_default();
        seen["code"] == code
    });
    waited.with_context(|| format!("last_error was {seen}\n{}", world.gateway.log()))?;
    let text = seen["text"].as_str().unwrap_or_default();
    println!("{code}: {text}");
    ensure!(text.contains(words), "the text does not say {words:?}: {text}");
    ensure!(seen["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "no remedy in {seen}");
    ensure!(world.gateway.events()?.iter().any(|event| event["code"] == code), "no such event");
    let doctor = world.gateway.cli(&["doctor", "--json"])?;
    let doctor: Value = serde_json::from_slice(&doctor.stdout)?;
    let findings = doctor["findings"].as_array().context("findings")?;
    ensure!(findings.iter().any(|finding| finding["code"] == code), "doctor does not say so: {doctor}");
    ensure!(world.gateway.tunnel(Side::One)?["stage"] == "down");
    Ok(())
}

#[test]
fn each_reason_to_refuse_is_named_with_its_remedy() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let pki = pki(&rig, "p256")?;
    let crl = pki.list(&[])?;
    let mut world = prepare(&rig, &pki, &format!("crl = [\"{}\"]\n", crl.display()))?;
    world.gateway.start()?;
    world.gateway.wait_stage(Side::One, "up", UP)?;
    let odd = format!("{GATEWAY}1.3.6.1.4.1.99999.1=critical,ASN1:NULL\n");
    let other = "/C=US/O=Lab/CN=somebody.else";
    let elsewhere = Pki::new(rig.topology.scratch().join("pki-elsewhere"), "p256", "Elsewhere")?;
    elsewhere.key("aws", "p256")?;
    elsewhere.issue(&aws(THEIRS, GATEWAY, VALID, "sha256"))?;
    type Make<'a> = &'a dyn Fn() -> Result<()>;
    let issue =
        |subject, extensions, validity, digest| pki.issue(&aws(subject, extensions, validity, digest));
    let expired: Make<'_> = &|| issue(THEIRS, GATEWAY, ("20200101000000Z", "20210101000000Z"), "sha256");
    let future: Make<'_> = &|| issue(THEIRS, GATEWAY, ("20980101000000Z", "20990101000000Z"), "sha256");
    let critical: Make<'_> = &|| issue(THEIRS, &odd, VALID, "sha256");
    let sha1: Make<'_> = &|| issue(THEIRS, GATEWAY, VALID, "sha1");
    let name: Make<'_> = &|| issue(other, GATEWAY, VALID, "sha256");
    let revoked: Make<'_> =
        &|| issue(THEIRS, GATEWAY, VALID, "sha256").and_then(|()| pki.list(&["aws"]).map(drop));
    let stranger: Make<'_> = &|| {
        for file in ["aws.pem", "aws.crt", "aws.key", "sub.crt"] {
            std::fs::copy(elsewhere.path(file), pki.path(file))?;
        }
        Ok(())
    };
    let cases: [(Make<'_>, &str, &str, &str); 7] = [
        (expired, THEIRS, "IKE-CERT-EXPIRED", "2021-01-01"),
        (future, THEIRS, "IKE-CERT-NOT-YET-VALID", "2098-01-01"),
        (critical, THEIRS, "IKE-CERT-EXTENSION", "critical extension"),
        (sha1, THEIRS, "IKE-CERT-WEAK", "SHA-1"),
        (name, other, "IKE-ID-MISMATCH", "somebody.else"),
        (revoked, THEIRS, "IKE-CERT-REVOKED", "revoked"),
        (stranger, THEIRS, "IKE-CERT-UNTRUSTED", "does not lead to a trusted CA"),
    ];
    for (make, subject, code, words) in cases {
        make()?;
        world.aws[0].load(Settings { local_id: comma(subject), ..pki.settings(Side::One) })?;
        let output = world.gateway.cli(&["reload"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        world.gateway.cli(&["reset", Side::One.tunnel()])?;
        named(&world, code, words)?;
    }
    world.gateway.wait_stage(Side::Two, "up", Duration::from_secs(5))?;
    Ok(())
}

fn aws<'a>(
    subject: &'a str,
    extensions: &'a str,
    validity: (&'a str, &'a str),
    digest: &'a str,
) -> Wanted<'a> {
    Wanted { name: "aws", subject, issuer: "sub", extensions, validity, digest }
}

#[test]
fn a_certificate_that_the_peer_does_not_trust_and_one_that_ends_soon_are_said() -> Result<()> {
    let Some(rig) = Rig::new() else { return Ok(()) };
    let pki = pki(&rig, "p256")?;
    // Ten days are left.
    let end = Command::new("date").args(["-u", "-d", "+10 days", "+%Y%m%d%H%M%SZ"]).output()?;
    let end = String::from_utf8(end.stdout)?.trim().to_owned();
    let ours = |subject| Wanted {
        name: "ours",
        subject,
        issuer: "sub",
        extensions: GATEWAY,
        validity: ("20200101000000Z", &end),
        digest: "sha256",
    };
    pki.issue(&ours(OURS))?;
    let mut world = prepare(&rig, &pki, "")?;
    let explained = world.gateway.cli(&[
        "check",
        "--explain",
        "--config",
        &world.gateway.config().display().to_string(),
    ])?;
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    ensure!(explained.contains("our certificate \"C=US, O=Lab, CN=gateway\" ends on"), "{explained}");
    world.gateway.start()?;
    world.gateway.wait_stage(Side::One, "up", UP)?;
    wait::until(BACK, "the warning", || {
        world
            .gateway
            .events()
            .is_ok_and(|events| events.iter().any(|event| event["code"] == "CERT-EXPIRES-SOON"))
    })?;
    let doctor = world.gateway.cli(&["doctor", "--json"])?;
    ensure!(String::from_utf8_lossy(&doctor.stdout).contains("CERT-EXPIRES-SOON"));
    // Another subject than strongSwan expects.
    pki.issue(&ours("/C=US/O=Lab/CN=not.the.gateway"))?;
    world.gateway.cli(&["reload"])?;
    named(&world, "IKE-CERT-REFUSED", "refuses our certificate")
}
