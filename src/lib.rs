//! platformer: one supervisor that turns a machine into an app platform.
//!
//! Five floors; imports go down only, and `tests/layers` refuses one that does not:
//!
//! ```text
//! cli         talks    one file per verb, and the API client
//! supervisor  moves    boot · reconcile, the one loop that owns the world · execute · tasks · init
//! adapters    touch    engine/docker · nginx · dns · http · files · sources · store · probe · host
//! ports       name     the traits between supervisor and adapters; inbox and snapshot
//! core        thinks   names · app · claim · config · world (facts) · plan (actions) · render (text)
//! ```
//!
//! `settings` stands beside them: flags, environment and file become one checked value before anything starts.
//! ARCHITECTURE.md tells the same on one page, with the words and the life of a container.

#![forbid(unsafe_code)]

pub mod adapters;
pub mod cli;
pub mod core;
pub mod ports;
pub mod settings;
pub mod supervisor;
