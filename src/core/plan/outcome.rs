//! What a plan comes to.

use std::sync::Arc;

use jiff::Timestamp;

use crate::core::problem::Problem;
use crate::core::routes::Routes;
use crate::core::world::{Action, Notes, Write};

/// What is to be done, and what is wrong, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What follows from itself, and has to be kept before anything is done about it.
    pub writes: Vec<Write>,
    pub actions: Vec<Action>,
    /// What the world is to note of it.
    pub notes: Notes,
    pub problems: Vec<Problem>,
    pub routes: Arc<Routes>,
    /// The number under which these routes are live, on their way, or to go live.
    pub generation: u64,
    /// Look again then, even if no fact comes.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    /// Looks again at this moment at the latest.
    pub fn wake_by(&mut self, moment: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(moment, |at| at.min(moment)));
    }
}
