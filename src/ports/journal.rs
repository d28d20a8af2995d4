//! What keeps events over restarts.

use crate::core::event::Event;

pub trait Journal: Send + Sync {
    /// Adds an event. One that cannot be written is lost to the next start only; everything else goes on.
    fn note(&self, event: &Event);
}
