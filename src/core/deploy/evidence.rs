//! Is the candidate worse than stable? Any number of looks, with the error bounded.
//!
//! *Given that a request failed*, it was the candidate's with probability equal to its share of the requests, if
//! the two are equally good; so traffic swings, ramps and shared outages cancel out. The evidence is the mean of
//! Wald's likelihood ratios over several ratios (a mixture, as in Robbins 1970 and Lindon & Malek 2020): an
//! e-value, so P(ever ≥ 100 | not worse than tolerated) ≤ 1 %.

use serde::{Deserialize, Serialize};

/// Failing this many times as often is still taken for equal.
const TOLERATED: f64 = 1.25;
/// The alternatives that the evidence is for.
const RATIOS: [f64; 6] = [1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
/// Odds at which the candidate is taken to be worse.
pub const ALARM: f64 = 100.0;

/// The running log likelihood ratio of each alternative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence([f64; RATIOS.len()]);

impl Evidence {
    /// Adds what was seen since the last look. `share` is the part of the requests that were the candidate's,
    /// between 0 and 1; at either end there is nothing to compare.
    pub fn look(&mut self, share: f64, candidate: u64, stable: u64) {
        if share <= 0.0 || share >= 1.0 {
            return;
        }
        let q = |ratio: f64| share * ratio / (share * ratio + 1.0 - share);
        let tolerated = q(TOLERATED);
        for (sum, ratio) in self.0.iter_mut().zip(RATIOS) {
            *sum += candidate as f64 * (q(ratio) / tolerated).ln()
                + stable as f64 * ((1.0 - q(ratio)) / (1.0 - tolerated)).ln();
        }
    }

    /// How many times likelier what was seen is if the candidate is worse.
    pub fn odds(&self) -> f64 {
        self.0.iter().map(|sum| sum.exp()).sum::<f64>() / RATIOS.len() as f64
    }

    pub fn alarms(&self) -> bool {
        self.odds() >= ALARM
    }
}

/// The interval that a rate lies in with 95 % confidence (Wilson 1927): right for few requests too.
pub fn wilson(hits: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.96;
    let (n, p) = (of as f64, hits as f64 / of as f64);
    let centre = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::Random;

    /// One rollout in steps of 5, 25 and 50 % with 100 candidate requests each: the candidate request at which the
    /// alarm came, if it came.
    fn rollout(seed: u64, stable_rate: f64, candidate_rate: f64) -> Option<u64> {
        let mut random = Random::new(seed);
        let (mut evidence, mut seen, mut failed) = (Evidence::default(), 0, 0);
        for share in [0.05, 0.25, 0.5] {
            let (mut in_step, mut requests, mut of_candidate, mut failures) = (0, 0u64, 0u64, [0u64; 2]);
            while in_step < 100 {
                requests += 1;
                let candidate = random.fraction() < share;
                let fails = random.fraction() < if candidate { candidate_rate } else { stable_rate };
                failures[usize::from(candidate)] += u64::from(fails);
                (in_step, seen) = (in_step + u64::from(candidate), seen + u64::from(candidate));
                of_candidate += u64::from(candidate);
                failed += u64::from(candidate && fails);
                // A look at each failure of either side, as the platform looks.
                if fails {
                    evidence.look(of_candidate as f64 / requests as f64, failures[1], failures[0]);
                    (requests, of_candidate, failures) = (0, 0, [0, 0]);
                    if evidence.alarms() && failed as f64 / seen as f64 >= 0.005 {
                        return Some(seen);
                    }
                }
            }
        }
        None
    }

    fn alarms(stable: f64, candidate: f64, within: u64) -> f64 {
        let count =
            (0..2_000).filter(|seed| rollout(seed + 1, stable, candidate).is_some_and(|at| at <= within)).count();
        count as f64 / 2_000.0
    }

    #[test]
    fn healthy_releases_stay_bad_ones_go_and_shared_trouble_is_nobodys_fault() {
        assert!(alarms(0.001, 0.001, u64::MAX) < 0.02);
        assert!(alarms(0.008, 0.008, u64::MAX) < 0.02);
        let caught = alarms(0.001, 0.10, 100);
        assert!(caught > 0.95, "{caught}");
        let both = alarms(0.05, 0.05, u64::MAX);
        assert!(both <= 0.005, "{both}");
    }

    #[test]
    fn twelve_good_requests_prove_little() {
        let (low, high) = wilson(0, 12);
        assert!(low == 0.0 && (0.23..0.25).contains(&high), "{high}");
        assert!(wilson(60, 100).0 > 0.49);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }
}
