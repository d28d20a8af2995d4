//! What a plan comes to.

use std::sync::Arc;

use jiff::Timestamp;

use crate::core::names::AppName;
use crate::core::problem::Problem;
use crate::core::routes::Routes;
use crate::core::source::Wanted;
use crate::core::world::Action;

/// What is to be done, and what is wrong, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub problems: Vec<Problem>,
    pub routes: Arc<Routes>,
    /// The number under which these routes are live, on their way, or to go live.
    pub generation: u64,
    /// Apps of which a version is to be deployed by itself.
    pub due: Vec<(AppName, Wanted)>,
    /// Look again then, even if no fact comes.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    /// Looks again at this moment at the latest.
    pub fn wake_by(&mut self, moment: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(moment, |at| at.min(moment)));
    }
}
