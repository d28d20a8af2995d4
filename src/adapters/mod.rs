//! Floor 3, **adapters touch**: one folder for each thing outside, each implementing a port.
//!
//! Siblings never import each other; `supervisor::boot` joins them.

pub mod dns;
pub mod engine;
pub mod files;
pub mod host;
pub mod http;
pub mod nginx;
pub mod notices;
pub mod probe;
pub mod seal;
pub mod sources;
pub mod store;
