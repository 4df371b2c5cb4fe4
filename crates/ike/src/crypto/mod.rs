//! The arithmetic of IKEv2: PRFs, key exchange, key derivation, AUTH, and the encrypted payload.
//!
//! Values in, values out. It never chooses an algorithm, never keeps a session, never reads a clock, and
//! draws every random octet from the [`model::SecureRng`] it is given, so that a simulation replays exactly.
//! Sources: RFC 7296 §2.6, §2.13-§2.18, §2.23, §3.14; RFC 5282 (AES-GCM); RFC 7383 (fragments); RFC 6989
//! (checks on public values); RFC 8247 (what may be offered).

mod algorithm;
mod auth;
mod cipher;
mod cookie;
mod keys;
mod kx;
mod nat;
mod prf;
mod protection;
mod selftest;

pub use algorithm::{IkeCipher, Integrity, Prf, Suite};
pub use auth::{IntermediateAuth, SignedOctets, auth_psk, verify_psk};
pub use cookie::CookieSecrets;
pub use keys::{
    ChildKeys, KeyInputs, SaKeys, derive_child_keys, derive_multiple_child_keys, derive_multiple_sa_keys,
    derive_rekeyed_sa_keys, derive_sa_keys, mix_ppk,
};
pub use kx::{
    BadPublicValue, GROUPS, KEMS, KeyPair, UnsupportedGroup, check_public, is_kem, is_supported,
    is_supported_additional, respond,
};
pub use nat::nat_detection_hash;
pub use prf::{KeyMaterialExhausted, prf_plus};
pub use protection::{
    FragmentHead, OpenError, Protection, Sender, UnsupportedSuite, Verified, VerifiedFragment,
    intermediate_octets,
};
pub use selftest::{SelfTestFailure, self_test};
