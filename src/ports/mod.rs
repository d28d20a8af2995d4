//! Floor 2, **ports name**: the traits through which the supervisor acts, and their errors.
//!
//! Commands go in, facts and snapshots come out. Each trait has one adapter for the real thing and one fake
//! in `testing`, which lets the whole supervisor run in tests.

pub mod balancer;
pub mod budget;
pub mod doctor;
pub mod engine;
pub mod inbox;
pub mod journal;
pub mod kv;
pub mod ledger;
pub mod library;
pub mod limits;
pub mod meters;
pub mod prober;
pub mod resolver;
pub mod seal;
pub mod snapshot;
pub mod sources;
pub mod tokens;
