//! The platform as its users have it: the real binary, real Docker, real nginx.
//!
//! Each test boots a platform of its own, with its own state, ports, network and domain, so that tests run in
//! parallel and beside a running platform, and clean up after themselves.

mod api;
mod apps;
mod askers;
mod bad_input;
mod browser;
mod by_hand;
mod certificates;
mod consul;
mod context;
mod crash;
mod dashboard;
mod deploy;
mod dns;
mod engine;
mod harness;
mod limits;
mod migration;
mod networks;
mod notify;
mod ownership;
mod people;
mod platform;
mod proxying;
mod push;
mod repository;
mod secrets;
mod services;
mod sources;
mod split;
mod startup;
mod watch;
