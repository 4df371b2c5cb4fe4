//! `cgwd run --export-keys-to DIR`: the keys of every SA in Wireshark's own files, for an analyst with a capture.
//!
//! The directory is a Wireshark profile: `WIRESHARK_CONFIG_DIR=DIR wireshark capture.pcap` shows what was inside. It
//! takes an argument at the start of the daemon, on purpose: no file and no client of a running daemon can ask for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ike::crypto::{IkeCipher, Integrity};
use model::{EspKeys, EspTransform, IkeSpi};
use tunnel::ExposedKeys;

/// Wireshark's table of IKE SAs.
const IKE_FILE: &str = "ikev2_decryption_table";
/// Wireshark's table of ESP SAs.
const ESP_FILE: &str = "esp_sa";
/// Switches decryption on.
const PREFERENCES: &str = "preferences";
const PREFERENCES_TEXT: &str = "esp.enable_encryption_decode: TRUE\n";
/// Entries written at most: a week of two tunnels at AWS's lifetimes. More than that is no analysis.
const ENTRIES_MAX: u32 = 2000;

/// The open files.
#[derive(Debug)]
pub(super) struct KeyLog {
    directory: PathBuf,
    ike: File,
    esp: File,
    left: u32,
}

impl KeyLog {
    /// Makes the directory (mode 0700) and the files (0600); entries that are there already stay.
    ///
    /// # Errors
    /// The kernel's, with the path.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let wrap = |error: io::Error| {
            io::Error::new(error.kind(), format!("--export-keys-to {}: {error}", directory.display()))
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(wrap)?;
        let open = |name: &str| {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(directory.join(name))?;
            // It may have been there before, open to others.
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            Ok(file)
        };
        let mut preferences = open(PREFERENCES).map_err(wrap)?;
        if preferences.metadata().map_err(wrap)?.len() == 0 {
            preferences.write_all(PREFERENCES_TEXT.as_bytes()).map_err(wrap)?;
        }
        let (ike, esp) = (open(IKE_FILE).map_err(wrap)?, open(ESP_FILE).map_err(wrap)?);
        Ok(Self { directory: directory.to_owned(), ike, esp, left: ENTRIES_MAX })
    }

    /// Where they are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes one SA's keys. A full disk is logged, and stops nothing.
    pub(super) fn write(&mut self, keys: &ExposedKeys) {
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        let written = match keys {
            ExposedKeys::Ike(keys) => self.ike.write_all(ike_line(keys).as_bytes()),
            ExposedKeys::Child(child) => self.esp.write_all(esp_lines(child).as_bytes()),
        };
        if let Err(error) = written {
            tracing::warn!("keys cannot be written to {}: {error}", self.directory.display());
        }
        if left == 0 {
            tracing::warn!(
                "{ENTRIES_MAX} keys were written to {}; no more will be",
                self.directory.display()
            );
        }
    }
}

fn ike_line(exposed: &ike::ExposedKeys) -> String {
    let ike::ExposedKeys { spi_i, spi_r, suite, keys } = exposed;
    let cipher = match suite.cipher {
        IkeCipher::AesGcm16(bits) => format!("AES-GCM-{} with 16 octet ICV [RFC5282]", bits.bits()),
        IkeCipher::AesCbc(bits) => format!("AES-CBC-{} [RFC3602]", bits.bits()),
    };
    let integrity = match suite.integrity.filter(|_| !suite.cipher.is_aead()) {
        None => "NONE [RFC4306]",
        Some(Integrity::HmacSha1_96) => "HMAC_SHA1_96 [RFC2404]",
        Some(Integrity::HmacSha2_256_128) => "HMAC_SHA2_256_128 [RFC4868]",
        Some(Integrity::HmacSha2_384_192) => "HMAC_SHA2_384_192 [RFC4868]",
        Some(Integrity::HmacSha2_512_256) => "HMAC_SHA2_512_256 [RFC4868]",
    };
    let spi = |spi: &IkeSpi| hex(&spi.to_bytes());
    format!(
        "{},{},{},{},\"{cipher}\",{},{},\"{integrity}\"\n",
        spi(spi_i),
        spi(spi_r),
        hex(keys.sk_ei.expose()),
        hex(keys.sk_er.expose()),
        hex(keys.sk_ai.expose()),
        hex(keys.sk_ar.expose()),
    )
}

/// Both directions of a child.
fn esp_lines(child: &ike::ChildSa) -> String {
    let family = if child.local.is_ipv4() { "IPv4" } else { "IPv6" };
    let (cipher, integrity) = match child.suite.transform {
        EspTransform::AesGcm16(_) => ("AES-GCM with 16 octet ICV [RFC4106]", "NULL"),
        EspTransform::AesCbc(_, integrity) => (
            "AES-CBC [RFC3602]",
            match integrity {
                Integrity::HmacSha1_96 => "HMAC-SHA-1-96 [RFC2404]",
                Integrity::HmacSha2_256_128 => "HMAC-SHA-256-128 [RFC4868]",
                Integrity::HmacSha2_384_192 => "HMAC-SHA-384-192 [RFC4868]",
                Integrity::HmacSha2_512_256 => "HMAC-SHA-512-256 [RFC4868]",
            },
        ),
    };
    let line = |from: std::net::IpAddr, to: std::net::IpAddr, spi: model::Spi, keys: &EspKeys| {
        let key =
            |octets: &[u8]| if octets.is_empty() { String::new() } else { format!("0x{}", hex(octets)) };
        let (encryption, authentication) = (key(keys.encryption.expose()), key(keys.integrity.expose()));
        format!(
            "\"{family}\",\"{from}\",\"{to}\",\"0x{spi}\",\"{cipher}\",\"{encryption}\",\"{integrity}\",\"{authentication}\"\n"
        )
    };
    let (local, remote) = (child.local.ip(), child.remote.ip());
    line(remote, local, child.spi_in, &child.keys_in) + &line(local, remote, child.spi_out, &child.keys_out)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
