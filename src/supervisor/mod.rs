//! Floor 4, **supervisor moves**: boots the adapters, owns the one loop, runs its actions, stops in order.

mod answers;
mod blame;
pub mod boot;
mod clock;
mod disk;
mod execute;
#[cfg(test)]
mod fakes;
mod follow;
pub mod init;
mod lock;
mod private;
mod reconcile;
mod show;
mod sources;
mod tasks;

pub use boot::{BootError, Machine, start_command, up};
