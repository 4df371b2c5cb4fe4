//! From one crate's vocabulary to another's, one short file each; nothing here decides.

pub mod bgp;
pub mod certificates;
pub mod failure;
pub mod ike_config;
pub mod routes;
