//! How often people steer an app: each time nginx may have to switch, and each switch costs all apps something.

use std::time::Duration;

use jiff::Timestamp;

use super::World;
use crate::core::names::AppName;

/// What each decision costs, in time.
const COST: Duration = Duration::from_secs(2);
/// Who owes more is not heard: sixty decisions at once, and thirty a minute from then on.
const MOST: Duration = Duration::from_secs(120);

impl World {
    /// Whether an app was steered so often of late that it has to wait; then until when.
    pub fn steered_until(&self, app: &AppName, now: Timestamp) -> Option<Timestamp> {
        let paid = *self.steered.get(app)?;
        (paid + COST > now + MOST).then(|| paid + COST - MOST)
    }

    /// Notes that somebody has decided something about an app.
    pub fn count_steering(&mut self, app: &AppName, now: Timestamp) {
        let paid = self.steered.entry(app.clone()).or_insert(now);
        *paid = (*paid).max(now) + COST;
    }
}
