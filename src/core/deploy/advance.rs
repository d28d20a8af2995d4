//! How a deployment moves on by itself: one function from what is observed to the next state.

use std::time::Duration;

use jiff::Timestamp;

use super::judge::Verdict;
use super::observed::{Observed, elapsed};
use super::routing::{promoted, routing, tested};
use super::stage::{Halt, Stage};
use super::{Deployment, GateResult, Kind};
use crate::core::app::Strategy;
use crate::core::split::Percent;

/// So many deaths of a candidate's instances are no accident.
const CRASHES: u32 = 3;
/// Counts are taken in this often; a failure is looked at at once.
const LOOK: Duration = Duration::from_secs(10);

/// The next state with its reason, or `None` where there is nothing to do but wait.
pub fn advance(deployment: &Deployment, seen: &Observed, now: Timestamp) -> Option<Deployment> {
    if !deployment.is_active() {
        return None;
    }
    let mut current = deployment.clone();
    let looked = look(&mut current, seen, now);
    let moved = failed(&current, seen, now).or_else(|| match current.halt {
        None => idle(&current, seen, now).or_else(|| step(&current, seen, now)),
        Some(_) => None,
    });
    moved.or(looked.then_some(current))
}

/// When something may follow from time alone: the next such moment, if there is one.
pub fn wake_at(deployment: &Deployment, now: Timestamp) -> Option<Timestamp> {
    // What is past has been looked at; naming it again would keep the loop awake for nothing.
    let after = |period: Duration| deployment.since.checked_add(period).ok().filter(|at| *at > now);
    if deployment.halt.is_some() {
        return None;
    }
    match deployment.stage {
        Stage::Starting => after(deployment.ready_timeout.get()),
        Stage::Healthy => after(deployment.monitor.get()),
        Stage::Baking => after(deployment.bake.get()),
        Stage::Routing { .. } if deployment.strategy == Strategy::Canary => {
            [deployment.canary.step, deployment.canary.deadline].into_iter().filter_map(|p| after(p.get())).min()
        }
        Stage::Queued
        | Stage::Fetching
        | Stage::Testing
        | Stage::Routing { .. }
        | Stage::Promoted
        | Stage::Draining
        | Stage::Done
        | Stage::Aborting { .. }
        | Stage::RolledBack
        | Stage::Failed
        | Stage::Superseded
        | Stage::Cancelled => None,
    }
}

fn look(current: &mut Deployment, seen: &Observed, now: Timestamp) -> bool {
    let fresh = seen.candidate.requests + seen.stable.requests;
    let failures = seen.candidate.failures + seen.stable.failures;
    let at_a_step =
        matches!(current.stage, Stage::Routing { .. }) && elapsed(current.since, now) >= current.canary.step.get();
    let due = at_a_step || current.judged.looked_at.is_none_or(|at| elapsed(at, now) >= LOOK);
    if !current.stage.has_traffic() || fresh == 0 || !(due || failures > 0) {
        return false;
    }
    current.judged.look(&seen.candidate, &seen.stable, now);
    true
}

/// What ends a deployment in every state, also a halted one.
fn failed(current: &Deployment, seen: &Observed, now: Timestamp) -> Option<Deployment> {
    if !(current.stage.is_preparing() || current.stage.has_traffic()) {
        return None;
    }
    if let Some(crash) = seen.crash.as_ref().filter(|crash| crash.count >= CRASHES) {
        return Some(
            current
                .give_up(format!("its instances died or did not start {} times: {}", crash.count, crash.reason), now),
        );
    }
    if let Some(reason) = &seen.refused {
        return Some(current.give_up(format!("the balancer refuses its routes: {reason}"), now));
    }
    match current.judged.verdict() {
        Verdict::Worse(reason) if current.stage.has_traffic() => Some(current.give_up(reason, now)),
        Verdict::Worse(_) | Verdict::Fine | Verdict::BothBad(_) => None,
    }
}

/// Nothing is promoted that does not run: it waits until the app is to run again.
fn idle(current: &Deployment, seen: &Observed, now: Timestamp) -> Option<Deployment> {
    let needs_it = current.kind == Kind::Deploy && (current.stage.is_preparing() || current.stage.has_traffic());
    (needs_it && seen.wanted == 0).then(|| {
        let app = &current.app;
        let reason = format!(
            "{app} is stopped or scaled to 0, so nothing of {} can be looked at; `platformer start {app}` or `scale`, \
             then `platformer resume {app}`",
            current.release
        );
        Deployment { halt: Some(Halt::Held), ..current.at(current.stage, reason, now) }
    })
}

fn step(current: &Deployment, seen: &Observed, now: Timestamp) -> Option<Deployment> {
    match current.stage {
        Stage::Queued => Some(current.at(Stage::Fetching, "image, artefact and config are being secured", now)),
        Stage::Fetching => match seen.prepared.as_ref()? {
            Ok(()) => Some(current.at(Stage::Starting, "its instances are being started", now)),
            Err(reason) => Some(current.give_up(reason, now)),
        },
        Stage::Starting => starting(current, seen, now),
        Stage::Healthy => healthy(current, seen, now),
        Stage::Testing => {
            let result = seen.gate.as_ref()?;
            let current = Deployment { gate_result: Some(result.clone()), ..current.clone() };
            Some(match result.passed() {
                true => tested(&current, now),
                false => current.give_up(gate_reason(result), now),
            })
        }
        Stage::Routing { step } => routing(current, step, seen, now),
        Stage::Baking if elapsed(current.since, now) >= current.bake.get() => Some(promoted(current, now)),
        Stage::Baking => None,
        Stage::Promoted => Some(current.at(Stage::Draining, "the old instances finish what they have", now)),
        Stage::Draining if current.keep_old => {
            Some(current.at(Stage::Done, "the old instances stay, to be swapped back to", now))
        }
        Stage::Draining if seen.old_left == 0 => Some(current.at(Stage::Done, "the old instances are gone", now)),
        Stage::Draining => None,
        Stage::Aborting { end } => {
            let gone = seen.candidate_left == 0 && seen.served == Percent::NONE;
            let ended = gone.then(|| current.at(end.stage(), current.reason.clone(), now))?;
            Some(Deployment { last_lines: seen.last_lines.clone(), ..ended })
        }
        Stage::Done | Stage::RolledBack | Stage::Failed | Stage::Superseded | Stage::Cancelled => None,
    }
}

fn starting(current: &Deployment, seen: &Observed, now: Timestamp) -> Option<Deployment> {
    // A rolling deployment needs its first instances only; everything else is complete before it is looked at.
    let needed = match current.strategy {
        Strategy::Rolling => seen.wanted.min(1),
        Strategy::BlueGreen | Strategy::Canary | Strategy::Recreate | Strategy::Manual => seen.wanted,
    };
    if seen.candidate_ready >= needed {
        let ready = match seen.candidate_ready {
            1 => "1 instance is ready".to_owned(),
            many => format!("{many} instances are ready"),
        };
        let healthy = current.at(Stage::Healthy, ready, now);
        return Some(Deployment { deaths_before: seen.crash.as_ref().map_or(0, |crash| crash.count), ..healthy });
    }
    let waits_for_old = current.stop_first && seen.old_left > 0;
    let limit = current.ready_timeout.get();
    let is_late = seen.engine_since.is_some_and(|since| elapsed(current.since.max(since), now) >= limit);
    if is_late && !waits_for_old {
        let why = seen.unready.as_ref().map_or("no instance was started", |(_, why)| why);
        return Some(current.give_up(format!("not ready within {}: {why}", current.ready_timeout), now));
    }
    None
}

/// Ready is believed once it lasts: many a release dies seconds after its first good answer.
fn healthy(current: &Deployment, seen: &Observed, now: Timestamp) -> Option<Deployment> {
    let lived = elapsed(current.since, now);
    if let Some(crash) = seen.crash.as_ref().filter(|crash| crash.count > current.deaths_before) {
        return Some(
            current.give_up(format!("it died {}s after it was ready: {}", lived.as_secs(), crash.reason), now),
        );
    }
    if seen.candidate_ready < seen.wanted.min(1) {
        let why = seen.unready.as_ref().map_or("no reason is known", |(_, why)| why);
        let gone = seen
            .engine_since
            .is_some_and(|since| elapsed(current.since.max(since), now) >= current.ready_timeout.get());
        return gone.then(|| current.give_up(format!("it did not stay ready: {why}"), now));
    }
    if lived < current.monitor.get() {
        return None;
    }
    Some(match current.gate {
        Some(_) => current.at(Stage::Testing, "the gate runs", now),
        None => tested(current, now),
    })
}

fn gate_reason(result: &GateResult) -> String {
    let last = result.log.iter().rev().find(|line| !line.trim().is_empty());
    let last = last.map(|line| format!(": {line}")).unwrap_or_default();
    match (result.exit_code, &result.error) {
        (Some(code), _) => format!("the gate ended with exit code {code}{last}"),
        (None, Some(error)) => format!("the gate failed: {error}{last}"),
        (None, None) => format!("the gate did not run{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::app::Period;
    use crate::core::deploy::{Crash, End, Tally};
    use crate::core::testing::{at, deployment};

    fn ready() -> Observed {
        Observed {
            wanted: 2,
            engine_since: Some(at(0)),
            candidate_ready: 2,
            candidate_left: 2,
            old_left: 2,
            ..Observed::default()
        }
    }

    fn tally(requests: u64, failures: u64) -> Tally {
        Tally { requests, failures, met_by: (0..failures.min(3)).collect(), ..Tally::default() }
    }

    fn next(deployment: &Deployment, seen: &Observed, seconds: i64) -> (String, String) {
        let next = advance(deployment, seen, at(seconds)).unwrap_or_else(|| deployment.clone());
        (next.state().to_string(), next.reason)
    }

    #[test]
    fn a_candidate_that_does_not_get_ready_fails_with_the_reason_and_not_earlier() {
        let starting = deployment(Strategy::BlueGreen, Stage::Starting);
        let seen = Observed {
            wanted: 2,
            engine_since: Some(at(0)),
            candidate_ready: 1,
            unready: Some((Duration::from_secs(119), "connection refused".into())),
            ..Observed::default()
        };
        assert_eq!(next(&starting, &seen, 119).0, "starting");
        let (state, reason) = next(&starting, &seen, 120);
        assert_eq!(state, "aborting");
        assert!(reason.contains("not ready within") && reason.contains("connection refused"), "{reason}");
        let gone = advance(&starting, &seen, at(120)).unwrap();
        assert_eq!(next(&gone, &Observed::default(), 121).0, "failed");
    }

    #[test]
    fn ready_counts_once_it_lasts() {
        let healthy = deployment(Strategy::Rolling, Stage::Healthy);
        assert_eq!(next(&healthy, &ready(), 4).0, "healthy");
        assert_eq!(next(&healthy, &ready(), 5).0, "routing");
        let crash = Some(Crash { count: 1, reason: "it exited with 1".into() });
        let (state, reason) = next(&healthy, &Observed { crash, ..ready() }, 3);
        assert_eq!((state.as_str(), reason.as_str()), ("aborting", "it died 3s after it was ready: it exited with 1"));
    }

    #[test]
    fn a_gate_that_fails_or_never_ends_keeps_the_traffic_away() {
        let testing = deployment(Strategy::BlueGreen, Stage::Testing);
        let seen = |exit_code, error: Option<&str>| Observed {
            gate: Some(GateResult { exit_code, error: error.map(str::to_owned), log: vec!["expected 200".into()] }),
            ..ready()
        };
        assert_eq!(next(&testing, &ready(), 10_000).0, "testing");
        assert_eq!(next(&testing, &seen(Some(0), None), 1).0, "routing");
        let (state, reason) = next(&testing, &seen(Some(3), None), 1);
        assert_eq!((state.as_str(), reason.as_str()), ("aborting", "the gate ended with exit code 3: expected 200"));
        assert!(next(&testing, &seen(None, Some("it did not end within 5m")), 1).1.contains("did not end"));
        let failed = advance(&testing, &seen(Some(3), None), at(1)).unwrap();
        assert_eq!((failed.share, failed.stage), (Percent::NONE, Stage::Aborting { end: End::Failed }));
    }

    #[test]
    fn a_canary_needs_time_and_requests_and_is_held_on_silence() {
        let canary = deployment(Strategy::Canary, Stage::Routing { step: 0 });
        let seen = |requests| Observed { candidate: tally(requests, 0), stable: tally(1_000, 0), ..ready() };
        assert_eq!(next(&canary, &seen(500), 59).1, "");
        assert_eq!(next(&canary, &seen(500), 60).1, "25 % of the traffic");
        assert_eq!(next(&canary, &seen(99), 1_000).0, "routing");
        let (state, reason) = next(&canary, &seen(12), 1_800);
        assert_eq!(state, "held");
        assert!(reason.starts_with("12 of 100 requests seen at 5 %"), "{reason}");
    }

    #[test]
    fn failures_count_in_every_state_and_shared_ones_hold() {
        let mut canary = deployment(Strategy::Canary, Stage::Routing { step: 0 });
        let bad = Observed { candidate: tally(60, 12), stable: tally(1_000, 1), ..ready() };
        for halt in [None, Some(Halt::Paused), Some(Halt::Held)] {
            canary.halt = halt;
            let aborted = advance(&canary, &bad, at(5)).unwrap();
            assert_eq!(aborted.stage, Stage::Aborting { end: End::RolledBack }, "{halt:?}");
            assert!(aborted.reason.contains("12 of 60 (20.0 %"), "{}", aborted.reason);
        }
        canary.halt = None;
        let both = Observed { candidate: tally(200, 20), stable: tally(2_000, 200), ..ready() };
        let (state, reason) = next(&canary, &both, 61);
        assert_eq!(state, "held");
        assert!(reason.contains("stable is equally bad"), "{reason}");
    }

    #[test]
    fn promotion_waits_for_the_routes_that_are_live() {
        let switching =
            Deployment { share: Percent::ALL, ..deployment(Strategy::BlueGreen, Stage::Routing { step: 0 }) };
        assert_eq!(next(&switching, &ready(), 1).0, "routing");
        let served = Observed { served: Percent::ALL, ..ready() };
        assert_eq!(next(&switching, &served, 1).0, "promoted");
        let baking = Deployment { bake: Period::seconds(60), ..switching };
        assert_eq!(next(&baking, &served, 1).0, "baking");
    }

    #[test]
    fn what_does_not_run_is_promoted_by_nobody() {
        for stage in [Stage::Starting, Stage::Healthy, Stage::Testing, Stage::Routing { step: 0 }, Stage::Baking] {
            let current = deployment(Strategy::Rolling, stage);
            assert_eq!(next(&current, &Observed { wanted: 0, ..ready() }, 1).0, "held", "{stage:?}");
        }
        let rollback = Deployment { kind: Kind::Rollback, ..deployment(Strategy::Rolling, Stage::Healthy) };
        let idle = Observed { wanted: 0, ..ready() };
        assert_ne!(next(&rollback, &idle, 10).0, "held", "what ran before is gone back to all the same");
    }

    #[test]
    fn nothing_that_is_past_keeps_the_loop_awake() {
        for (stage, now) in [(Stage::Starting, 500), (Stage::Routing { step: 0 }, 100), (Stage::Baking, 9_999)] {
            let deployment = deployment(Strategy::Canary, stage);
            assert!(wake_at(&deployment, at(now)).is_none_or(|next| next > at(now)), "{stage:?}");
        }
        assert_eq!(wake_at(&deployment(Strategy::Canary, Stage::Routing { step: 0 }), at(100)), Some(at(1_800)));
    }

    #[test]
    fn no_time_to_get_ready_runs_while_the_engine_is_away() {
        let starting = deployment(Strategy::BlueGreen, Stage::Starting);
        let seen = |engine_since| Observed { wanted: 2, engine_since, ..Observed::default() };
        assert_eq!(next(&starting, &seen(None), 500).0, "starting");
        assert_eq!(next(&starting, &seen(Some(at(400))), 519).0, "starting");
        assert_eq!(next(&starting, &seen(Some(at(400))), 520).0, "aborting");
    }

    #[test]
    fn crash_loops_end_it_before_and_after_the_first_traffic() {
        let crash = Some(Crash { count: 3, reason: "it exited with 1".into() });
        for (stage, end) in [(Stage::Starting, End::Failed), (Stage::Routing { step: 0 }, End::RolledBack)] {
            let seen = Observed { crash: crash.clone(), ..ready() };
            let gone = advance(&deployment(Strategy::Canary, stage), &seen, at(1)).unwrap();
            assert_eq!(gone.stage, Stage::Aborting { end });
            assert!(gone.reason.contains("it exited with 1"));
        }
    }

    #[test]
    fn routes_that_are_refused_leave_nothing_stuck() {
        for stage in [Stage::Testing, Stage::Routing { step: 0 }] {
            let seen = Observed { refused: Some("unknown variable".into()), ..ready() };
            assert_eq!(next(&deployment(Strategy::Rolling, stage), &seen, 1).0, "aborting");
        }
    }

    #[test]
    fn a_clock_that_steps_back_ends_nothing() {
        let mut baking = deployment(Strategy::Canary, Stage::Baking);
        baking.since = at(1_000);
        assert!(advance(&baking, &ready(), at(10)).is_none());
    }
}
