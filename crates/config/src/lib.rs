//! Turns the TOML file and AWS's downloads into validated values, and says what is wrong as a person would.
//!
//! Two steps: text to a tree that remembers where each value stood, then tree to [`Config`], whose types hold
//! only what can be run. Every message names the file, the line, the cause and the remedy. This crate never
//! starts anything, never talks to AWS, and knows no core's types: `cgwd` translates. The limits are AWS's
//! (EC2 API, *Tunnel options for your Site-to-Site VPN connection*); keys never appear in a message.
#![forbid(unsafe_code)]

mod algorithms;
mod certificate;
mod diagnostic;
mod files;
pub mod import;
mod key;
mod mask;
mod parse;
mod ppk;
mod redact;
pub mod schema;
mod values;

pub use algorithms::{DhGroup, EncryptionAlgorithm, IntegrityAlgorithm, Kem};
pub use certificate::{Authentication, CertificateContents, CertificateFiles, PrivateKey, RsaPadding};
pub use diagnostic::{Diagnostic, Label, Report, Severity};
pub use files::{Loaded, load, mode_warning};
pub use key::{InvalidKey, KeyError, KeySource, MAX_KEY_CHARS, MIN_KEY_CHARS, check_key};
pub use parse::parse;
pub use ppk::{InvalidPpk, MAX_PPK_OCTETS, MIN_PPK_OCTETS, Ppk, parse_ppk};
pub use redact::{Redacted, redact};
pub use values::{
    Accept, Additional, Bgp, BgpMode, Config, Connection, Control, Encapsulation, Esn, Esp, FindError, Hook,
    HookEvent, Host, Identity, Ike, Inside, IpForward, Log, LogLevel, Metrics, Offload, Peer, Preference,
    Probe, RekeyWindow, Routes, Routing, Startup, Tunnel, Web, WhenDown,
};
