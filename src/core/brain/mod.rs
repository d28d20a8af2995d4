//! The brain: facts and commands in, with the moment and a seed; a turn out, which says what is to be done.
//!
//! It has no clock, no disk and no socket: whoever drives it brings the time and carries out what it says. What the
//! ledger has to keep comes out first, as a [`Pending`], and nothing that follows from it comes out before that is
//! answered for: the brain cannot be asked anything else meanwhile, and only a finished [`Turn`] has actions.

mod changes;
mod mind;
mod step;
#[cfg(test)]
mod tests;

pub use mind::{Brain, Declined, Ticket, Turn};
pub use step::{Pending, Step};
