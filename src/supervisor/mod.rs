//! Floor 4, **supervisor moves**: boots the adapters, owns the one loop, runs its actions, stops in order.

mod answers;
mod blame;
pub mod boot;
mod clock;
mod decisions;
mod disk;
mod doctor;
mod execute;
#[cfg(test)]
mod fakes;
mod follow;
mod frame;
pub mod init;
mod lock;
mod places;
mod private;
mod ready;
mod reconcile;
mod sources;
mod tasks;
pub mod watch;

pub use crate::adapters::host::resolv;
pub use crate::adapters::nginx::Notify;
pub use boot::{BootError, up};
pub use doctor::{Machine, start_command};
