//! The control API's handlers: they read the snapshot and send commands; none of them acts by itself.

pub mod apps;
pub mod config;
pub mod deployments;
pub mod diff;
pub mod events;
pub mod images;
pub mod library;
mod listed;
pub mod logs;
pub mod metrics;
pub mod openapi;
pub mod platform;
pub mod services;
pub mod sync;
pub mod tokens;

pub use listed::Listed;
