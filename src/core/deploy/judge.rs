//! What a deployment has seen so far, and what that says of the candidate.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::evidence::{ALARM, Evidence, wilson};
use super::tally::Tally;
use crate::core::split::Percent;

/// A failure rate below this is never a reason to roll back.
const LEAST_RATE: f64 = 0.005;
/// With nothing to compare with, or with both failing, more than this is too much.
const TOO_MUCH: f64 = 0.05;
/// What counts as slow: slower than this part of stable's own requests.
const SLOW: f64 = 0.95;

/// Counts and evidence of one deployment. The counts of a step begin anew with it, the evidence goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub candidate: Tally,
    pub stable: Tally,
    failing: Evidence,
    slow: Evidence,
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
        if let Some(limit) = self.stable.quantile(SLOW).filter(|_| self.stable.requests >= 100) {
            self.slow.look(share, candidate.slower_than(limit), stable.slower_than(limit));
        }
        self.in_step += candidate.requests;
        self.looked_at = Some(now);
    }

    pub fn verdict(&self) -> Verdict {
        let (ours, theirs) = (rate(&self.candidate), rate(&self.stable));
        if self.failing.alarms() && self.candidate.failure_rate() >= LEAST_RATE {
            let odds = self.failing.odds().min(1e9);
            return Verdict::Worse(format!(
                "the candidate fails more often than stable: {ours} against {theirs} (odds {odds:.0}:1, limit {ALARM}:1)"
            ));
        }
        if self.slow.alarms() {
            let limit = self.stable.quantile(SLOW).map_or(0.0, Tally::bound);
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
