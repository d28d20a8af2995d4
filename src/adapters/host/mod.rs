//! This machine: who holds a port, and how it resolves names.

pub mod holder;
pub mod resolv;
