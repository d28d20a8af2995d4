//! Connections, and bodies as they come and go.

pub mod bodies;
pub mod doors;
pub mod holding;
pub mod hooked;
pub mod linger;
pub mod receive;
pub mod server;
