//! Floor 1, **core thinks**: what the platform knows and what follows from it, as pure functions.
//!
//! No runtime, no file, no socket, no clock: `now` is an argument. Facts go in, actions come out.

pub mod access;
pub mod app;
pub mod asker;
pub mod brain;
pub mod claim;
pub mod config;
pub mod container;
pub mod decide;
pub mod deploy;
pub mod digest;
pub mod disk;
pub mod event;
pub mod flaw;
pub mod grants;
#[cfg(test)]
pub mod hostile;
pub mod kv;
pub mod log;
pub mod names;
pub mod notices;
pub mod plan;
pub mod problem;
pub mod release;
pub mod render;
pub mod repository;
pub mod routes;
pub mod service;
#[cfg(test)]
mod simulation;
pub mod source;
pub mod split;
pub mod templates;
#[cfg(test)]
pub mod testing;
pub mod text;
pub mod toml_error;
pub mod view;
pub mod world;
pub mod zone;
