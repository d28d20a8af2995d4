//! What the balancer counted, per app: for the measured split, and for the next look at a candidate.

use std::collections::BTreeMap;

use crate::core::deploy::{Counted, Tally};
use crate::core::names::Version;
use crate::core::split::{Percent, Split};

/// With fewer requests a measured share says nothing.
const LEAST: u64 = 20;

/// Requests of one app's releases.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// The split that the counts are about; another one begins them anew.
    split: Split,
    /// The first generation with that split: what an earlier one answered is not counted.
    since: u64,
    counted: BTreeMap<Version, u64>,
    /// Since the last look of a deployment.
    fresh: BTreeMap<Version, Tally>,
}

impl Traffic {
    pub fn count(&mut self, Counted { version, generation, tally, .. }: &Counted) {
        if generation.is_some_and(|generation| generation < self.since) {
            return;
        }
        *self.counted.entry(version.clone()).or_default() += tally.requests;
        self.fresh.entry(version.clone()).or_default().add(tally);
    }

    /// Begins anew where the split of the generation that has gone live is another one.
    pub fn follow(&mut self, split: &Split, generation: u64) {
        if self.split != *split {
            *self = Self { split: split.clone(), since: generation, ..Self::default() };
        }
    }

    /// The share that each release had since the split was last changed.
    pub fn measured(&self) -> Option<BTreeMap<Version, Percent>> {
        let all: u64 = self.counted.values().sum();
        if all < LEAST {
            return None;
        }
        let named = self.split.iter().map(|(version, _)| version).chain(self.counted.keys());
        Some(named.map(|v| (v.clone(), Percent::of(self.counted.get(v).copied().unwrap_or(0), all))).collect())
    }

    pub fn fresh(&self, version: &Version) -> Tally {
        self.fresh.get(version).cloned().unwrap_or_default()
    }

    /// A look has been taken.
    pub fn looked(&mut self) {
        self.fresh.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::names::AppName;

    #[test]
    fn what_was_answered_before_a_change_is_not_counted_after_it() {
        let [old, new] = ["1.0", "1.1"].map(|v| Version::parse(v).unwrap());
        let split = |share: &str| Split::between(Some(&old), &new, Percent::parse(share).unwrap());
        let mut traffic = Traffic::default();
        let count = |traffic: &mut Traffic, version: &Version, generation, requests| {
            let tally = Tally { requests, ..Tally::default() };
            let app = AppName::parse("shop").unwrap();
            traffic.count(&Counted { app, version: version.clone(), generation, tally });
        };
        traffic.follow(&split("99"), 7);
        count(&mut traffic, &new, Some(7), 990);
        traffic.follow(&split("4.5"), 9);
        // nginx writes its buffer out late: lines of before come after.
        count(&mut traffic, &new, Some(7), 300);
        count(&mut traffic, &new, Some(8), 300);
        count(&mut traffic, &new, Some(9), 5);
        count(&mut traffic, &old, Some(10), 95);
        assert_eq!(traffic.measured().unwrap()[&new], Percent::parse("5").unwrap());
        assert_eq!((traffic.fresh(&new).requests, traffic.fresh(&old).requests), (5, 95), "nor is it evidence");
        traffic.follow(&split("4.5"), 12);
        assert_eq!(traffic.fresh(&new).requests, 5, "another generation with the same split changes nothing");
    }
}
