//! Builds the adapters and joins them; nobody else does.

mod doctor;
mod files_of;
mod frame;
mod places;
mod progress;
mod ready;
mod resolver;
mod up;
mod watch;

pub use doctor::{Machine, start_command};
pub use progress::{BootError, Progress};
pub use resolver::{Lookups, ask_us, ask_us_no_more, lookups};
pub use up::up;
pub use watch::{Options, watch};
