//! Files on disk: permissions, keys in files and credentials.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use config::{KeySource, Peer, load};

const EXAMPLE: &str = include_str!("../../../config/cgwd.example.toml");

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_with_keys_that_others_can_read_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cgwd.toml");
    write(&path, EXAMPLE, 0o644);
    let text = load(&path).unwrap().warnings.to_string();
    assert!(text.contains("others can read it (mode 0644)"), "{text}");
    assert!(text.contains(&format!("chmod 600 {}", path.display())), "{text}");
    write(&path, EXAMPLE, 0o600);
    assert!(load(&path).unwrap().warnings.is_empty());
    write(&path, &EXAMPLE.replace("psk = \"lab_Psk.Tunnel", "psk_file = \"/etc/cgwd/"), 0o644);
    assert!(load(&path).unwrap().warnings.is_empty(), "no key in it, nothing to hide");
}

#[test]
fn a_missing_or_odd_file_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cgwd.toml");
    let text = load(&path).unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}: error: cannot read the configuration", path.display())), "{text}");
    assert!(text.contains("cgwd import FILE"), "{text}");
    std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn a_key_file_may_end_its_line_but_not_hold_spaces() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tunnel1.psk");
    let source = KeySource::File(path.clone());
    for text in ["lab_Psk.Tunnel1", "lab_Psk.Tunnel1\n", "lab_Psk.Tunnel1\r\n"] {
        write(&path, text, 0o600);
        assert_eq!(source.fetch(Peer::Aws, None).unwrap().expose(), b"lab_Psk.Tunnel1");
        assert_eq!(source.load().unwrap().expose(), b"lab_Psk.Tunnel1");
    }
    for (text, wanted) in [
        ("lab_Psk.Tunnel1 \n", "ends in white space"),
        (" lab_Psk.Tunnel1", "starts with white space"),
        ("lab_Psk.Tunnel1\n\n", "ends in white space"),
        ("lab_Psk\nTunnel1", "character 8 of the key is a line break"),
        ("", "0 characters"),
    ] {
        write(&path, text, 0o600);
        let error = source.fetch(Peer::Aws, None).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains("tunnel1.psk"), "{error}");
        assert!(!error.contains("lab_Psk"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = source.fetch(Peer::Aws, None).unwrap_err().to_string();
    assert!(error.contains("cannot read the pre-shared key from") && error.contains("mode 0600"), "{error}");
}

#[test]
fn a_peer_that_is_not_aws_may_have_other_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("psk");
    write(&path, "lab key + spaces\n", 0o600);
    let source = KeySource::File(path);
    assert_eq!(source.fetch(Peer::Other, None).unwrap().expose(), b"lab key + spaces");
    assert!(source.fetch(Peer::Aws, None).is_err());
}

#[test]
fn a_credential_is_looked_up_in_systemds_directory() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("tunnel1.psk"), "lab_Psk.Tunnel1\n", 0o400);
    let source = KeySource::Credential("tunnel1.psk".to_owned());
    assert_eq!(source.fetch(Peer::Aws, Some(directory.path())).unwrap().expose(), b"lab_Psk.Tunnel1");
    let error = source.fetch(Peer::Aws, None).unwrap_err().to_string();
    assert!(error.contains("LoadCredential=tunnel1.psk:/path/to/file"), "{error}");
}

#[test]
fn certificates_are_read_and_a_private_key_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let files = config::CertificateFiles {
        certificate: path("gw.pem"),
        private_key: config::PrivateKey::File(path("gw.key")),
        ca: path("ca.pem"),
        crl: vec![path("ca.crl")],
        rsa_padding: config::RsaPadding::Pkcs1,
    };
    for name in ["gw.pem", "ca.pem", "ca.crl"] {
        let error = files.fetch(None).unwrap_err().to_string();
        assert!(error.contains("cannot read `c"), "{error}");
        write(&path(name), name, 0o644);
        if name == "gw.pem" {
            let error = files.fetch(None).unwrap_err().to_string();
            assert!(error.contains("cannot read `private_key`") && error.contains("gw.key"), "{error}");
            write(&path("gw.key"), "the key", 0o640);
            let error = files.fetch(None).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains("mode 0640"), "{error}");
            write(&path("gw.key"), "the key", 0o600);
        }
    }
    let read = files.fetch(None).unwrap();
    assert_eq!((read.certificate, read.private_key.expose()), (b"gw.pem".to_vec(), &b"the key"[..]));
    assert_eq!((read.ca, read.crl), (b"ca.pem".to_vec(), vec![b"ca.crl".to_vec()]));
    // A credential is the daemon's alone, whatever its mode.
    let by_credential = config::CertificateFiles {
        private_key: config::PrivateKey::Credential("gw.key".to_owned()),
        ..files
    };
    assert!(by_credential.fetch(None).unwrap_err().to_string().contains("or use `private_key`"));
    write(&path("gw.key"), "the key", 0o440);
    assert!(by_credential.fetch(Some(directory.path())).is_ok());
}
