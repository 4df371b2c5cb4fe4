//! The lab: the AWS stand-in, the network it lives in, and the tools that measure what comes through.
//!
//! It builds a LAN, a gateway, an internet, two AWS endpoints and a VPC out of network namespaces, runs real
//! peers (strongSwan) or our own responder as the AWS side, runs `cgwd` as a user would (by its command line
//! and its control socket only), and takes everything away again: on drop, on failure and on signals. It never
//! touches the network of the machine itself, and it is no part of the product: nothing depends on it.
#![forbid(unsafe_code)]

pub mod aws_file;
pub mod bench;
pub mod cleanup;
pub mod delay;
pub mod demo;
pub mod embedded;
pub mod endpoint;
pub mod gateway;
pub mod ikev1;
pub mod libreswan;
pub mod machine;
pub mod netns;
pub mod openiked;
pub mod process;
pub mod router;
pub mod sandbox;
pub mod strongswan;
pub mod topology;
pub mod traffic;
pub mod uml;
pub mod wait;
