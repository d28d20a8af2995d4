//! The seeded simulator: the brain that runs in production, against an engine, a balancer and a ledger that lose,
//! delay and fail.
//!
//! Four apps are deployed by every strategy, several at once, with good releases and bad ones. Invariants, checked
//! after every act: *an instance that the live routes name is never stopped*, nor one that an old worker
//! has connections to before its time to drain is up; a release that is not healthy, or has
//! not passed its gate, has no traffic; nothing is started that is not on record; where stable can serve, somebody does; a neighbour that claims what is not its
//! own takes no host, serves no app's visitors and is never stopped. And once the trouble ends, everything
//! converges: nothing is stuck, nothing is left over. A failing seed prints itself; `SIMULATE=seed` replays it alone.
//! That each of these is seen is tried with a [`Mistake`] of each kind.

mod checks;
mod engine;
mod nginx;
mod outside;
mod people;

use super::brain::{Brain, Step};
use super::container::ContainerId;
use super::decide::{Command, DeployRequest, Seed, Steer};
use super::world::{Action, Fact, Intent, Write};
use outside::{APPS, Outside, name, version};
use std::time::Duration;

/// Lives; in them over 10,000 deployments are begun.
const SEEDS: u64 = 2_000;

/// Something the platform must never do, done on purpose to see whether it is noticed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    StopWhileRouted,
    StopUndrained,
    TrafficBeforeItIsHealthy,
    TrafficWithoutTheGate,
    NobodyServes,
    LeaveAnInstance,
    NeverTell,
    StopANeighbour,
    LoseAHost,
    ServeByANeighbour,
    ActUnrecorded,
}

impl Outside {
    fn turn(&mut self, brain: &mut Brain) {
        self.now += Duration::from_millis(200);
        let now = self.now;
        self.leaving.retain(|(_, until)| *until > now);
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        for (_, fact) in due {
            if let Fact::Drained(id) = &fact {
                self.drained.insert(id.clone());
            }
            self.facts.push_back(fact);
        }
        for _ in 0..3 {
            if let Some(fact) = self.facts.pop_front() {
                brain.tell(fact);
            }
        }
        if self.mistake == Some(Mistake::StopANeighbour) {
            let theirs = self.containers.values().find(|c| !c.ours).map(|c| c.id.clone());
            theirs.into_iter().for_each(|id| self.act(Action::Stop { id, grace: Duration::ZERO, log_for: None }));
        }
        if self.mistake == Some(Mistake::StopWhileRouted) {
            let leaving: Vec<ContainerId> = brain.world().retiring.keys().cloned().collect();
            leaving.into_iter().for_each(|id| self.act(Action::Stop { id, grace: Duration::ZERO, log_for: None }));
        }
        let mut step = brain.turn(self.now, Seed::new("simulated"));
        let turn = loop {
            let pending = match step {
                Step::Done(turn) => break turn,
                Step::Record(pending) => pending,
            };
            step = if self.trouble(40) {
                pending.lost("disk full".into())
            } else {
                if self.mistake != Some(Mistake::ActUnrecorded) {
                    self.keep(pending.writes());
                }
                pending.kept()
            };
            // A kill after it was recorded, and before anything was begun.
            if self.trouble(80) {
                drop(step);
                *brain = self.boot();
                return;
            }
        };
        for (ticket, answer) in turn.answers {
            let is_begun = answer.is_ok_and(|done| done.deployment.is_some());
            self.began += u64::from(is_begun && self.given[ticket.0 as usize]);
        }
        for (ticket, images) in turn.questions {
            brain.images(ticket, images.into_iter().map(|image| (image, Default::default())).collect());
        }
        for action in turn.actions {
            // A kill between two acts: what was begun is forgotten, what was done stays.
            if self.trouble(80) {
                *brain = self.boot();
                return;
            }
            self.act(action);
        }
    }

    fn keep(&mut self, writes: &[Write]) {
        for write in writes {
            if let Write::Decision(record) = write {
                self.ledger.insert(record.app.clone(), (*record.intent).clone());
            }
        }
    }
}

/// Lives one life. Returns how many deployments were begun in it.
fn run(seed: u64, mistake: Option<Mistake>) -> Result<u64, String> {
    let mut outside = Outside::new(seed, mistake);
    let mut brain = outside.boot();
    for turn in 0..120 {
        outside.happen(&mut brain);
        if turn % 3 == 0 {
            outside.ask();
        }
        outside.turn(&mut brain);
        if let Some(violation) = outside.violation.take() {
            return Err(violation);
        }
    }
    // The trouble ends: events come again, everything is listed anew, probes answer, and people decide on what waits.
    outside.troubled = false;
    let mut last = Err("it was never looked at".to_owned());
    for turn in 1..2_000 {
        if turn % 20 == 1 {
            outside.facts.push_back(outside.listed());
            let probing = brain.world().probing.clone();
            outside.act(Action::Probe(probing));
            if outside.live.is_none() && brain.world().balancer.live.is_some() {
                outside.facts.push_back(Fact::BalancerDied { reason: "killed".into() });
            }
            outside.ask();
        }
        if turn % 200 == 0 {
            for n in 0..APPS.len() as u64 {
                let halted =
                    brain.world().intents.get(&name(n)).and_then(Intent::active).is_some_and(|d| d.halt.is_some());
                if halted {
                    outside.command(&mut brain, Command::Steer { app: name(n), steer: Steer::Abort });
                }
                // Its first release did not pass; that it is not tried again by itself is right.
                let is_without =
                    brain.world().intents.get(&name(n)).is_some_and(|i| i.stable.is_none() && i.active().is_none());
                if is_without {
                    let first = DeployRequest { version: Some(version(0)), ..DeployRequest::default() };
                    let steer = Steer::Deploy(Box::new(first));
                    outside.command(&mut brain, Command::Steer { app: name(n), steer });
                }
            }
        }
        outside.turn(&mut brain);
        if let Some(violation) = outside.violation.take() {
            return Err(violation);
        }
        if turn % 100 == 0 {
            // Twice in a row, so that it stays so.
            let before = std::mem::replace(&mut last, outside.converged());
            if before.is_ok() && last.is_ok() {
                return Ok(outside.began);
            }
        }
    }
    last.map(|()| outside.began)
}

#[test]
fn whatever_is_lost_fails_or_dies_no_routed_instance_is_stopped_and_all_converges() {
    if let Some(seed) = std::env::var("SIMULATE").ok().and_then(|seed| seed.parse().ok()) {
        run(seed, None).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        return;
    }
    let live = |first: u64| {
        let lives = (first..SEEDS)
            .step_by(2)
            .map(|seed| run(seed, None).map_err(|v| format!("seed {seed}: {v} (SIMULATE={seed} replays it)")));
        lives.sum::<Result<u64, String>>()
    };
    let began: u64 = std::thread::scope(|scope| {
        let halves = [1, 2].map(|first| scope.spawn(move || live(first)));
        halves.into_iter().map(|half| half.join().unwrap().unwrap_or_else(|violation| panic!("{violation}"))).sum()
    });
    assert!(began >= 10_000, "only {began} deployments were begun");
}

#[test]
fn a_mistake_of_each_kind_is_noticed() {
    use Mistake::{
        ActUnrecorded, LeaveAnInstance, LoseAHost, NeverTell, NobodyServes, ServeByANeighbour, StopANeighbour,
        StopUndrained, StopWhileRouted, TrafficBeforeItIsHealthy, TrafficWithoutTheGate,
    };
    for (mistake, seen) in [
        (StopWhileRouted, "was stopped while the live routes name it"),
        (StopUndrained, "while an old worker has connections to it"),
        (TrafficBeforeItIsHealthy, "has traffic while it is starting"),
        (TrafficWithoutTheGate, "its gate has not passed"),
        (NobodyServes, "stable can serve and nobody does"),
        (LeaveAnInstance, "in all"),
        (NeverTell, "has no route"),
        (StopANeighbour, "is none of ours"),
        (LoseAHost, "has lost a host"),
        (ServeByANeighbour, "is served by a neighbour"),
        (ActUnrecorded, "which is not on record"),
    ] {
        let noticed = (1..200).find_map(|seed| run(seed, Some(mistake)).err().filter(|why| why.contains(seen)));
        assert!(noticed.is_some(), "{mistake:?} was not noticed in 200 lives");
    }
}
