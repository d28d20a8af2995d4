//! What the balancer counted, per app: for the measured split, and for the next look at a candidate.

use std::collections::BTreeMap;

use crate::core::deploy::Tally;
use crate::core::names::Version;
use crate::core::split::{Percent, Split};

/// With fewer requests a measured share says nothing.
const LEAST: u64 = 20;

/// Requests of one app's releases.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// The split that the counts are about; another one begins them anew.
    split: Split,
    counted: BTreeMap<Version, u64>,
    /// Since the last look of a deployment.
    fresh: BTreeMap<Version, Tally>,
}

impl Traffic {
    pub fn count(&mut self, version: &Version, tally: &Tally) {
        *self.counted.entry(version.clone()).or_default() += tally.requests;
        self.fresh.entry(version.clone()).or_default().add(tally);
    }

    /// Begins anew where the live split is another one.
    pub fn follow(&mut self, split: &Split) {
        if self.split != *split {
            *self = Self { split: split.clone(), fresh: std::mem::take(&mut self.fresh), counted: BTreeMap::new() };
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
