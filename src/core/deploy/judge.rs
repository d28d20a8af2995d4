//! What a deployment has seen so far, and what that says of the candidate.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::{ALARM, Evidence, wilson};
use super::observed::elapsed;
use super::tally::{SEVERAL, Tally};
use crate::core::split::Percent;

/// A failure rate below this is never a reason to roll back.
const LEAST_RATE: f64 = 0.005;
/// With nothing to compare with, or with both failing, more than this is too much.
const TOO_MUCH: f64 = 0.05;
/// Fewer failures than this may be one visitor's own trouble, since a visitor stays with a release: they count
/// once several visitors met them (delivery.md A, risks).
const FEW: u64 = 20;
/// What counts as slow: slower than this part of stable's own requests …
const SLOW: f64 = 0.95;
/// … and slower than this many milliseconds: nobody minds less, and a busy machine makes it by chance.
const LEAST_SLOW: f64 = 100.0;
/// A release that has just got its first traffic may be slow for so long: caches and compilers warm up.
const WARM_UP: Duration = Duration::from_secs(15);

/// Counts and evidence of one deployment. The counts of a step begin anew with it, the evidence goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub candidate: Tally,
    pub stable: Tally,
    failing: Evidence,
    slow: Evidence,
    /// When the candidate was first asked anything.
    began_at: Option<Timestamp>,
    /// Requests of the candidate in this step.
    pub in_step: u64,
    pub looked_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Fine,
    /// It is worse than stable.
    Worse(String),
    /// It fails too often, and so does stable: nothing can be said.
    BothBad(String),
}

impl Judged {
    /// Takes in what came since the last look.
    pub fn look(&mut self, candidate: &Tally, stable: &Tally, now: Timestamp) {
        let all = candidate.requests + stable.requests;
        let share = if all == 0 { 0.0 } else { candidate.requests as f64 / all as f64 };
        self.failing.look(share, candidate.failures, stable.failures);
        self.candidate.add(candidate);
        self.stable.add(stable);
        if candidate.requests > 0 {
            self.began_at.get_or_insert(now);
        }
        let is_warm = self.began_at.is_some_and(|at| elapsed(at, now) >= WARM_UP);
        if let Some(limit) = self.slow_limit().filter(|_| is_warm) {
            self.slow.look(share, candidate.slower_than(limit), stable.slower_than(limit));
        }
        self.in_step += candidate.requests;
        self.looked_at = Some(now);
    }

    pub(super) fn clock_set(&mut self, move_along: impl Fn(&mut Timestamp)) {
        self.began_at.iter_mut().chain(&mut self.looked_at).for_each(move_along);
    }

    /// The bucket above which a request is slow; none while stable has shown too little.
    fn slow_limit(&self) -> Option<usize> {
        let own = self.stable.quantile(SLOW).filter(|_| self.stable.requests >= 100)?;
        Some(own.max(Tally::bucket(LEAST_SLOW)))
    }

    pub fn verdict(&self) -> Verdict {
        let (ours, theirs) = (rate(&self.candidate), rate(&self.stable));
        let is_shared = self.candidate.met_by.len() >= SEVERAL || self.candidate.failures >= FEW;
        if self.failing.alarms() && is_shared && self.candidate.failure_rate() >= LEAST_RATE {
            let odds = self.failing.odds().min(1e9);
            return Verdict::Worse(format!(
                "the candidate fails more often than stable: {ours} against {theirs} (odds {odds:.0}:1, limit {ALARM}:1)"
            ));
        }
        if self.slow.alarms() {
            let limit = self.slow_limit().map_or(LEAST_SLOW, Tally::bound);
            return Verdict::Worse(format!(
                "the candidate is slower than stable: more of its requests take over {limit:.0} ms (odds {:.0}:1, limit {ALARM}:1)",
                self.slow.odds().min(1e9)
            ));
        }
        let too_bad = |tally: &Tally| wilson(tally.failures, tally.requests).0 > TOO_MUCH;
        if too_bad(&self.candidate) {
            return match self.stable.requests == 0 {
                true => Verdict::Worse(format!("the candidate fails too often: {ours}, over 5 % for certain")),
                false if self.stable.failure_rate() > TOO_MUCH => {
                    Verdict::BothBad(format!("stable is equally bad: the candidate fails {ours}, stable {theirs}"))
                }
                false => Verdict::Fine,
            };
        }
        Verdict::Fine
    }

    /// The same judgement with the step's count at zero.
    pub fn next_step(&self) -> Self {
        Self { in_step: 0, ..self.clone() }
    }

    /// The numbers behind a decision, for the history.
    pub fn numbers(&self, share: Percent) -> BTreeMap<String, f64> {
        let mut numbers = BTreeMap::from([("share".to_owned(), share.fraction() * 100.0)]);
        for (name, tally) in [("candidate", &self.candidate), ("stable", &self.stable)] {
            if tally.requests > 0 {
                numbers.insert(format!("{name}_requests"), tally.requests as f64);
                numbers.insert(format!("{name}_failures"), tally.failures as f64);
            }
        }
        if self.candidate.requests > 0 {
            numbers.insert("odds_worse".into(), self.failing.odds().min(1e9));
            numbers.insert("odds_slower".into(), self.slow.odds().min(1e9));
        }
        numbers
    }
}

/// `12 of 96 (12.5 %, 7-20)`.
fn rate(tally: &Tally) -> String {
    let (low, high) = wilson(tally.failures, tally.requests);
    format!(
        "{} of {} ({:.1} %, {:.1}-{:.1})",
        tally.failures,
        tally.requests,
        tally.failure_rate() * 100.0,
        low * 100.0,
        high * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::at;

    fn tally(requests: u64, seconds: f64, failed: impl Fn(u64) -> Option<u64>) -> Tally {
        let mut tally = Tally::default();
        (0..requests).for_each(|n| tally.count(seconds, failed(n)));
        tally
    }

    /// What is said of a candidate whose requests take so long, looked at every 5 s from the first one on.
    fn of_slow(candidate: f64, stable: f64, looks: i64) -> Verdict {
        let mut judged = Judged::default();
        for n in 0..looks {
            judged.look(&tally(40, candidate, |_| None), &tally(160, stable, |_| None), at(n * 5));
        }
        judged.verdict()
    }

    #[test]
    fn a_candidate_is_slow_where_people_notice_and_once_it_is_warm() {
        assert_eq!(of_slow(0.008, 0.002, 20), Verdict::Fine, "6 ms more are nobody's loss");
        assert_eq!(of_slow(0.300, 0.002, 3), Verdict::Fine, "it warms up");
        let Verdict::Worse(reason) = of_slow(0.300, 0.002, 6) else { panic!("300 ms against 2 ms") };
        assert!(reason.contains("over 128 ms"), "{reason}");
        assert_eq!(of_slow(0.300, 0.300, 20), Verdict::Fine, "stable is no quicker");
    }

    #[test]
    fn few_failures_of_one_visitor_are_his_own_until_they_are_many() {
        let verdict = |failures: u64, visitors: u64| {
            let mut judged = Judged::default();
            let failed = |n: u64| (n < failures).then_some(n % visitors);
            judged.look(&tally(100, 0.01, failed), &tally(1_000, 0.01, |_| None), at(0));
            judged.verdict()
        };
        assert_eq!(verdict(12, 1), Verdict::Fine);
        assert_eq!(verdict(12, 2), Verdict::Fine);
        assert!(matches!(verdict(12, 3), Verdict::Worse(_)));
        assert!(matches!(verdict(25, 1), Verdict::Worse(_)));
    }
}
