//! Floor 5, **cli talks**: one file a verb. All but `up`, `watch`, `doctor` and `resolver` speak to the API only.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 3 rolled back, 4 held, 5 refused. Colour and progress bars only on a terminal; a reader that
//! goes away early (`| head`) is no failure.

mod client;
mod command;
mod content;
mod context;
mod globals;
mod help;
mod new;
mod output;
mod times;
mod tunnel;
mod verbs;

pub use command::main;
