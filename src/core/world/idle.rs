//! Why no instance of an app is to run.

use super::World;
use crate::core::app::App;

/// What somebody said that keeps an app from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// `is stopped`, to follow the app's name.
    pub reason: &'static str,
    /// The command that ends it.
    pub remedy: String,
}

impl World {
    /// Why no instance of a declared app is to run, where somebody said so.
    pub fn idle(&self, app: &App) -> Option<Idle> {
        let name = &app.name;
        let is_stopped = self.intents.get(name).is_some_and(|intent| intent.stopped);
        let is_none = self.replicas(app) == 0;
        let (start, scale) = (format!("platformer start {name}"), format!("platformer scale {name} 1"));
        let (reason, remedy) = match (is_stopped, is_none) {
            (false, false) => return None,
            (true, false) => ("is stopped", start),
            (false, true) => ("is scaled to 0", scale),
            (true, true) => ("is stopped and scaled to 0", format!("{scale} && {start}")),
        };
        Some(Idle { reason, remedy })
    }
}
