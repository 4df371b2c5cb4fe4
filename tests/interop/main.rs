//! `cgwd` against peers that nobody here wrote: strongSwan on both AWS endpoints, in namespaces of our own.
//!
//! Needs root, the packages that `scripts/test` installs, and built binaries (`cargo build -p cgwd -p lab`).
//! Without them every test says why it was skipped, unless `CGWD_REQUIRE_LAB=1` makes that a failure. The
//! daemon is run as a user runs it: what is asserted comes from its command line and from the traffic.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    clippy::print_stdout,
    reason = "one test program, and its figures are for the reader"
)]

mod bgp;
mod bgp_world;
mod bundle;
mod capture;
mod certificates;
mod contract;
mod demo;
mod doctor;
mod embedded;
mod endurance;
mod failover;
mod failover_trials;
mod failures;
mod families;
mod flood;
mod fragmentation;
mod hooks;
mod impairments;
mod journal;
mod keepalived;
mod keys;
mod libreswan;
mod matrix;
mod mtu;
mod networkd;
mod openiked;
mod package;
mod policy;
mod prometheus;
mod quantum;
mod rekey;
mod reload;
mod rig;
mod routes;
mod samples;
mod selftest;
mod startup;
mod transfer;
mod uml_world;
mod watch;
mod web;
mod world;
