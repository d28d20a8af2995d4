//! What a deployment sees of the world outside.

use std::time::Duration;

use jiff::Timestamp;

use super::GateResult;
use super::tally::Tally;
use crate::core::split::Percent;

/// Deaths and failed starts of a candidate's instances, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Crash {
    pub count: u32,
    pub reason: String,
}

/// What there is of a deployment outside, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Instances the app is to have.
    pub wanted: usize,
    /// Since when the engine answers; while it does not, nothing can get ready and no time for that runs.
    pub engine_since: Option<Timestamp>,
    /// Whether image, artefact and config are secured; `None` while that is under way.
    pub prepared: Option<Result<(), String>>,
    pub candidate_ready: usize,
    /// Our instances of the candidate that exist at all.
    pub candidate_left: usize,
    /// How long the longest has been waiting to become ready with an engine that answers, and why it is not.
    pub unready: Option<(Duration, String)>,
    /// Our instances of the old release that exist at all.
    pub old_left: usize,
    pub crash: Option<Crash>,
    /// Why the balancer does not take the app's routes.
    pub refused: Option<String>,
    /// The share that live and settled routes give the candidate.
    pub served: Percent,
    pub gate: Option<GateResult>,
    /// What an instance of it wrote last before it was taken away.
    pub last_lines: Vec<String>,
    /// Requests since the last look.
    pub candidate: Tally,
    pub stable: Tally,
}

/// A clock that was set back makes no time negative.
pub(super) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
