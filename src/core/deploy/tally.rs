//! What the balancer saw of a release's requests: counts, and how long they took.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::core::names::{AppName, Version};

/// Upper bounds of the duration buckets grow by √2 from 1 ms; the last one takes the rest (about 46 s and more).
pub const BUCKETS: usize = 32;
/// So many visitors are not one with a broken account.
pub const SEVERAL: usize = 3;

/// Requests of one release over some time. Probes, previews and requests that the client gave up do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub requests: u64,
    /// Requests of which any try was answered with 5xx or not at all.
    pub failures: u64,
    /// Who met the failures, as hashes; no more than `SEVERAL` are remembered.
    pub met_by: BTreeSet<u64>,
    /// Given up by the client (499): apart, since slow answers cause them.
    pub gone: u64,
    /// How long all of them took together, in microseconds.
    #[serde(default)]
    pub micros: u64,
    /// How many requests took how long; empty while there were none.
    pub durations: Vec<u64>,
}

/// What the balancer saw of one release's requests since it last told.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    pub app: AppName,
    pub version: Version,
    /// The generation that answered; `None` where a line does not tell.
    pub generation: Option<u64>,
    pub tally: Tally,
}

impl Tally {
    /// Counts a request; `failed` has the hash of whom it failed.
    pub fn count(&mut self, seconds: f64, failed: Option<u64>) {
        self.requests += 1;
        self.micros += (seconds * 1e6) as u64;
        self.failures += u64::from(failed.is_some());
        self.meet(failed);
        if self.durations.is_empty() {
            self.durations = vec![0; BUCKETS];
        }
        if let Some(count) = self.durations.get_mut(Self::bucket(seconds * 1000.0)) {
            *count += 1;
        }
    }

    fn meet(&mut self, visitors: impl IntoIterator<Item = u64>) {
        for visitor in visitors {
            if self.met_by.len() < SEVERAL {
                self.met_by.insert(visitor);
            }
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.meet(other.met_by.iter().copied());
        self.requests += other.requests;
        self.failures += other.failures;
        self.gone += other.gone;
        self.micros += other.micros;
        if self.durations.len() < other.durations.len() {
            self.durations.resize(other.durations.len(), 0);
        }
        for (mine, theirs) in self.durations.iter_mut().zip(&other.durations) {
            *mine += theirs;
        }
    }

    pub fn failure_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failures as f64 / self.requests as f64 }
    }

    /// The bucket below or in which this part of the requests lies.
    pub fn quantile(&self, part: f64) -> Option<usize> {
        let wanted = (self.durations.iter().sum::<u64>() as f64 * part).ceil();
        let mut sum = 0;
        self.durations.iter().position(|count| {
            sum += count;
            sum as f64 >= wanted && sum > 0
        })
    }

    /// How many requests took longer than the bucket's upper bound.
    pub fn slower_than(&self, bucket: usize) -> u64 {
        self.durations.iter().skip(bucket + 1).sum()
    }

    /// The lowest bucket whose bound is not below so many milliseconds.
    pub fn bucket(ms: f64) -> usize {
        ((ms.max(1.0).log2() * 2.0).ceil() as usize).min(BUCKETS - 1)
    }

    /// The upper bound of a bucket in milliseconds.
    pub fn bound(bucket: usize) -> f64 {
        2f64.powf(bucket as f64 / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_buckets_that_grow_by_the_root_of_two() {
        let mut tally = Tally::default();
        for (ms, count) in [(0.2, 50), (10.0, 45), (900.0, 5)] {
            (0..count).for_each(|_| tally.count(ms / 1000.0, None));
        }
        let p95 = tally.quantile(0.95).unwrap();
        assert!((8.0..16.0).contains(&Tally::bound(p95)), "{}", Tally::bound(p95));
        assert_eq!(tally.slower_than(p95), 5);
        tally.count(1e9, Some(1));
        assert_eq!((tally.requests, tally.failures, tally.slower_than(p95)), (101, 1, 6));
    }
}
