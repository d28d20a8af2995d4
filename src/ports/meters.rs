//! What is counted for whoever watches from outside: totals since the supervisor started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::core::deploy::Tally;
use crate::core::names::{AppName, Version};

/// Counts that grow; cheap to clone and to add to from anywhere.
#[derive(Debug, Clone, Default)]
pub struct Meters(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requests: Mutex<BTreeMap<(AppName, Version), Tally>>,
    answered: AtomicU64,
    forwarded: AtomicU64,
    switched: AtomicU64,
    unswitched: AtomicU64,
    turns: AtomicU64,
    turning: AtomicU64,
    longest: AtomicU64,
}

/// Every total at one moment.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub requests: BTreeMap<(AppName, Version), Tally>,
    /// Names answered by us, and those passed on.
    pub answered: u64,
    pub forwarded: u64,
    /// Generations that went live, and those that did not.
    pub switched: u64,
    pub unswitched: u64,
    /// Turns of the loop, the time they took together, and the longest since it was last asked.
    pub turns: u64,
    pub turning: Duration,
    pub longest: Duration,
}

impl Meters {
    pub fn count(&self, counts: &[(AppName, Version, Tally)]) {
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for (app, version, tally) in counts {
            requests.entry((app.clone(), version.clone())).or_default().add(tally);
        }
    }

    pub fn answered(&self) {
        self.0.answered.fetch_add(1, Relaxed);
    }

    pub fn forwarded(&self) {
        self.0.forwarded.fetch_add(1, Relaxed);
    }

    pub fn switched(&self, went_live: bool) {
        if went_live { &self.0.switched } else { &self.0.unswitched }.fetch_add(1, Relaxed);
    }

    pub fn turned(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.turns.fetch_add(1, Relaxed);
        self.0.turning.fetch_add(micros, Relaxed);
        self.0.longest.fetch_max(micros, Relaxed);
    }

    /// The totals of those releases that `keep` knows; the others are forgotten.
    pub fn totals(&self, keep: impl Fn(&AppName, &Version) -> bool) -> Totals {
        let inner = &self.0;
        let mut requests = inner.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.retain(|(app, version), _| keep(app, version));
        Totals {
            requests: requests.clone(),
            answered: inner.answered.load(Relaxed),
            forwarded: inner.forwarded.load(Relaxed),
            switched: inner.switched.load(Relaxed),
            unswitched: inner.unswitched.load(Relaxed),
            turns: inner.turns.load(Relaxed),
            turning: Duration::from_micros(inner.turning.load(Relaxed)),
            longest: Duration::from_micros(inner.longest.swap(0, Relaxed)),
        }
    }
}
