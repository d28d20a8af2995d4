//! The stages in which traffic moves: by strategy, step by step, up to the promotion.

use jiff::Timestamp;

use super::Deployment;
use super::judge::Verdict;
use super::observed::{Observed, elapsed};
use super::stage::{Halt, Stage};
use crate::core::app::Strategy;
use crate::core::split::Percent;

/// Healthy and past the gate: the first traffic.
pub(super) fn tested(current: &Deployment, now: Timestamp) -> Deployment {
    // A ledger of before this was noted tells it by the strategy alone.
    if current.waits || current.strategy == Strategy::Manual {
        let reason = "ready at 0 %: `platformer split` and `platformer promote` move it on";
        let routing = current.at(Stage::Routing { step: 0 }, reason, now);
        return Deployment { halt: Some(Halt::Paused), share: Percent::NONE, ..routing };
    }
    let (share, reason) = match current.strategy {
        Strategy::Rolling => (Percent::ALL, "instances are being replaced one after the other".to_owned()),
        Strategy::BlueGreen => (Percent::ALL, "all traffic is being switched".to_owned()),
        Strategy::Recreate => (Percent::ALL, "it is being put into service".to_owned()),
        Strategy::Canary | Strategy::Manual => first_step(current),
    };
    Deployment { share, ..current.at(Stage::Routing { step: 0 }, reason, now) }
}

fn first_step(current: &Deployment) -> (Percent, String) {
    let share = current.canary.steps.first().copied().unwrap_or(Percent::ALL);
    (share, format!("{share} % of the traffic"))
}

pub(super) fn routing(current: &Deployment, step: usize, seen: &Observed, now: Timestamp) -> Option<Deployment> {
    let carries_all = seen.served == Percent::ALL && seen.candidate_ready >= seen.wanted;
    let limit = current.ready_timeout.get();
    if let Some((_, why)) = seen.unready.as_ref().filter(|(since, _)| *since >= limit) {
        return Some(
            current.give_up(format!("an instance was not ready within {}: {why}", current.ready_timeout), now),
        );
    }
    if current.has_steps(step) {
        return canary(current, step, now);
    }
    if !carries_all || current.share != Percent::ALL {
        return None;
    }
    match current.hurried || current.bake.get().is_zero() {
        true => Some(promoted(current, now)),
        false => Some(current.at(Stage::Baking, format!("all traffic is watched for {}", current.bake), now)),
    }
}

fn canary(current: &Deployment, step: usize, now: Timestamp) -> Option<Deployment> {
    let (since, judged) = (elapsed(current.since, now), &current.judged);
    let in_step = judged.in_step;
    let needed = u64::from(current.canary.requests);
    let hold = |reason: String| Some(Deployment { halt: Some(Halt::Held), ..current.at(current.stage, reason, now) });
    if since >= current.canary.step.get() && in_step >= needed {
        if let Verdict::BothBad(reason) = judged.verdict() {
            return hold(reason);
        }
        let share = current.canary.steps.get(step + 1).copied().unwrap_or(Percent::ALL);
        let moved = current.at(Stage::Routing { step: step + 1 }, format!("{share} % of the traffic"), now);
        return Some(Deployment { share, judged: judged.next_step(), ..moved });
    }
    if since >= current.canary.deadline.get() {
        return hold(format!(
            "{in_step} of {needed} requests seen at {} % within {}: too few to tell",
            current.share, current.canary.deadline
        ));
    }
    None
}

pub(super) fn promoted(current: &Deployment, now: Timestamp) -> Deployment {
    current.at(Stage::Promoted, "it carries all traffic and is stable now", now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{at, deployment};

    #[test]
    fn a_share_set_by_hand_ends_with_the_pause_where_no_step_follows() {
        let by_hand = |strategy, step, hurried| {
            let paused = deployment(strategy, Stage::Routing { step });
            let share = Percent::parse("48").unwrap();
            Deployment { halt: Some(Halt::Paused), share, hurried, ..paused }.resumed("resumed", at(1))
        };
        for (deployment, share) in [
            (by_hand(Strategy::Canary, 0, false), "48"),
            (by_hand(Strategy::Canary, 0, true), "100"),
            (by_hand(Strategy::Canary, 3, false), "100"),
            (by_hand(Strategy::BlueGreen, 0, false), "100"),
        ] {
            assert_eq!((deployment.halt, deployment.share), (None, Percent::parse(share).unwrap()));
        }
    }
}
