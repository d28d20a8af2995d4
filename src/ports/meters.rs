//! What is counted for whoever watches from outside: totals since the supervisor started.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::core::deploy::{Counted, Tally};
use crate::core::names::{AppName, Version};

/// Recent counts are kept by slots of so many seconds, and so many slots: 20 minutes.
pub const SLOT: i64 = 20;
pub const SLOTS: i64 = 60;

/// Releases whose totals are kept though nobody asked for them lately.
const MOST_RELEASES: usize = 1_000;

fn slot(now: Timestamp) -> i64 {
    now.as_second().div_euclid(SLOT)
}

/// Slots by their number, oldest first.
type Slots = VecDeque<(i64, Tally)>;

/// Counts that grow; cheap to clone and to add to from anywhere.
#[derive(Debug, Clone, Default)]
pub struct Meters(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requests: Mutex<BTreeMap<(AppName, Version), Tally>>,
    /// What was counted in each of the latest slots, oldest first.
    recent: Mutex<BTreeMap<(AppName, Version), Slots>>,
    counted: AtomicU64,
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
    pub fn count(&self, counts: &[Counted], now: Timestamp) {
        self.remember(counts, slot(now));
        self.0.counted.fetch_add(counts.iter().map(|c| c.tally.requests).sum(), Relaxed);
        let mut requests = self.0.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for Counted { app, version, tally, .. } in counts {
            requests.entry((app.clone(), version.clone())).or_default().add(tally);
        }
        if requests.len() > MOST_RELEASES {
            // Whoever names containers makes releases: those that are asked no more begin anew if they come back.
            let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
            requests.retain(|release, _| recent.contains_key(release));
        }
    }

    fn remember(&self, counts: &[Counted], slot: i64) {
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for Counted { app, version, tally, .. } in counts {
            let slots = recent.entry((app.clone(), version.clone())).or_default();
            match slots.back_mut().filter(|(last, _)| *last == slot) {
                Some((_, sum)) => sum.add(tally),
                None => slots.push_back((slot, tally.clone())),
            }
        }
        let is_old = |(first, _): &(i64, Tally)| *first <= slot - SLOTS;
        recent.retain(|_, slots| {
            while slots.front().is_some_and(is_old) {
                slots.pop_front();
            }
            !slots.is_empty()
        });
    }

    /// What each release answered within about the last minute, and how many seconds that is.
    pub fn last_minute(&self, now: Timestamp) -> (BTreeMap<(AppName, Version), Tally>, f64) {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let first = slot(now) - 60 / SLOT;
        let sum = |slots: &Slots| {
            let mut sum = Tally::default();
            slots.iter().filter(|(slot, _)| *slot >= first).for_each(|(_, tally)| sum.add(tally));
            sum
        };
        let sums = recent.iter().map(|(release, slots)| (release.clone(), sum(slots)));
        let seconds = now.as_second() - first * SLOT;
        (sums.filter(|(_, sum)| sum.requests > 0).collect(), seconds.max(1) as f64)
    }

    /// What each release of an app answered in each slot of the last 20 minutes, by the moment the slot began.
    pub fn recent(&self, app: &AppName) -> BTreeMap<Version, Vec<(Timestamp, Tally)>> {
        let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let began = |slot: i64| Timestamp::from_second(slot * SLOT).unwrap_or_default();
        let of_app = recent.iter().filter(|((name, _), _)| name == app);
        let shown = of_app.map(|((_, version), slots)| {
            (version.clone(), slots.iter().map(|(slot, tally)| (began(*slot), tally.clone())).collect())
        });
        shown.collect()
    }

    /// Grows with every request that was counted.
    pub fn counted(&self) -> u64 {
        self.0.counted.load(Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_releases_that_come_and_go_do_not_pile_up() {
        let meters = Meters::default();
        let app = AppName::parse("shop").unwrap();
        for n in 0..3 * MOST_RELEASES as i64 {
            let version = Version::parse(&format!("1.{n}")).unwrap();
            let counted = Counted { app: app.clone(), version, generation: None, tally: Tally::default() };
            meters.count(&[counted], Timestamp::from_second(n * SLOT).unwrap());
        }
        assert!(meters.0.requests.lock().unwrap().len() <= MOST_RELEASES + SLOTS as usize);
    }
}
