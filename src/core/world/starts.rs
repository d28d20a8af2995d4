//! Starts that are counted: each ends in an instance that is seen, or in a failure and a longer pause.
//!
//! So no chain of failures starts more than a few containers of a release, whatever the engine, an image or a
//! stranger does: what is seen counts towards what is wanted, and what is not seen is held against its release.

use std::time::Duration;

use jiff::Timestamp;

use super::{Fact, Undone, Unprepared, World};
use crate::core::container::{Container, ContainerId, RunState};
use crate::core::names::{AppName, Version};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// First pause before an engine that did not answer is asked for the same again.
const AWAY: Duration = Duration::from_secs(1);
/// So many names may be taken by containers that no listing has shown yet; more is a failure.
const TAKEN: usize = 4;

/// Pause before an instance is started or started again, longer with each failure.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    pub failures: u32,
    /// How often the engine did not answer; that is nobody's failure.
    pub away: u32,
    pub until: Timestamp,
    pub reason: String,
}

/// How long the hosts of an undeclared app answer 503 after its last container went.
pub const DEPARTED: Duration = Duration::from_secs(600);

impl World {
    pub(super) fn started(&mut self, name: &str, result: Result<Box<Container>, Undone>, now: Timestamp) {
        let release = self.starting.remove(name);
        let container = match (result, release.clone()) {
            (Ok(container), _) => container,
            (Err(why), Some(release)) => return self.undone(release, why, now),
            (Err(_), None) => return,
        };
        let known = self.containers.get(&container.id).map(|known| known.container.started_at);
        let ended = container.state.ending().filter(|_| known.is_none());
        // An event may have told of it, and of its end, before.
        if known.is_none_or(|started_at| started_at < container.started_at) {
            self.apply(Fact::Seen(container.clone()), now);
        }
        let lost = match self.release_of(&container.id) {
            Some(_) => ended,
            None => Some("it was started, and is gone or does not say any more that it is ours".to_owned()),
        };
        if let (Some(reason), Some(release)) = (lost, release) {
            self.back_off(release, format!("{name}: {reason}"), now);
        }
    }

    /// An ended instance was started again: what is not seen to run by now is held against its release.
    pub(super) fn restarted(&mut self, id: &ContainerId, result: Result<(), Undone>, now: Timestamp) {
        self.busy.remove(id);
        let Some(release) = self.release_of(id) else { return };
        let runs = self.containers.get(id).is_some_and(|known| !is_dead(&known.container));
        let is_counted = self.backoff.get(&release).is_some_and(|b| b.until > now);
        match result {
            Err(why) => self.undone(release, why, now),
            Ok(()) if runs || is_counted => {}
            Ok(()) => self.back_off(release, "it was started again and is not seen to run".into(), now),
        }
    }

    pub(super) fn name_taken(&mut self, name: String, now: Timestamp) {
        let release = self.starting.remove(&name);
        if let Some(release) = release.filter(|_| self.taken_names.len() >= TAKEN) {
            self.back_off(release, format!("the name {name} is taken, and {TAKEN} before it"), now);
        }
        self.taken_names.insert(name);
    }

    /// The engine is back: what it did not answer to is asked again at once.
    pub(super) fn back(&mut self, now: Timestamp) {
        self.backoff.retain(|_, backoff| backoff.failures > 0);
        for backoff in self.backoff.values_mut().filter(|backoff| backoff.away > 0) {
            (backoff.away, backoff.until) = (0, backoff.until.min(now));
        }
        for unsecured in self.unprepared.values_mut().filter(|known| matches!(known.why, Unprepared::Later(_))) {
            (unsecured.tried, unsecured.times) = (unsecured.since, 1);
        }
    }

    /// An engine that is away is tried again soon, ever less often, and it is held against no release.
    pub(super) fn undone(&mut self, release: (AppName, Version), why: Undone, now: Timestamp) {
        match why {
            Undone::Refused(reason) => self.back_off(release, reason, now),
            Undone::Away(reason) => {
                let (failures, away) = self.backoff.get(&release).map_or((0, 0), |b| (b.failures, b.away));
                let until = now + growing(AWAY, away);
                self.backoff.insert(release, Backoff { failures, away: away + 1, until, reason });
            }
        }
    }

    pub(super) fn back_off(&mut self, release: (AppName, Version), reason: String, now: Timestamp) {
        let failures = self.backoff.get(&release).map_or(0, |b| b.failures);
        let until = now + pause(failures);
        self.backoff.insert(release, Backoff { failures: failures + 1, away: 0, until, reason });
    }

    /// Forgets what is past: what is known against releases that nobody wants any more, for a problem goes with its
    /// subject, whose hosts answered 503 for long enough, and who has paid for the readiness that it lost.
    pub fn forget_past(&mut self, now: Timestamp) {
        self.departed.retain(|_, at| now.duration_since(*at).unsigned_abs() < DEPARTED);
        self.restless.retain(|_, debt| debt.paid > now);
        self.steered.retain(|_, paid| *paid > now);
        self.balancer.forget_past(now);
        let (intents, declared) = (&self.intents, &self.declared);
        let is_wanted = |(app, version): &(AppName, Version)| {
            let intent = intents.get(app).filter(|intent| declared.contains_key(app) && !intent.removed);
            intent.is_some_and(|intent| {
                let candidate = intent.active().map(|deployment| &deployment.release);
                [intent.stable.as_ref(), intent.warm.as_ref(), candidate].contains(&Some(version))
            })
        };
        self.unprepared.retain(|release, _| is_wanted(release));
        self.backoff.retain(|release, _| is_wanted(release));
    }
}

/// Neither runs nor is paused.
pub fn is_dead(container: &Container) -> bool {
    matches!(container.state, RunState::Exited { .. } | RunState::Created)
}

/// The pause after so many failures before this one: 0.1 s, 0.3 s, 0.9 s … up to a minute.
pub(super) fn pause(failures: u32) -> Duration {
    growing(FIRST_PAUSE, failures)
}

/// Three times as long with each failure, up to a minute.
fn growing(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(3u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::release::Release;
    use crate::core::testing::{at, container, planned, planned_and_recorded, world_with};
    use crate::core::world::{Action, InstanceSpec};

    /// An engine that fails in one way, and what it was asked for.
    struct Engine {
        fails: Fails,
        there: BTreeMap<ContainerId, Container>,
        starts: usize,
        restarts: usize,
        most: usize,
        last: Option<String>,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fails {
        Not,
        /// It refuses to start anything.
        Refused,
        /// Each start times out, and has made a container all the same that only the next listing shows.
        Away,
        /// A stranger removes each container as soon as it runs.
        Removed,
        /// Each ends before it is looked at; so does each start again, of which nothing is told.
        Dies,
        /// What is started does not carry our proof.
        Unproven,
        /// Every name is taken by what no listing shows.
        Taken,
    }

    impl Engine {
        fn started(&mut self, spec: &InstanceSpec, now: Timestamp) -> Vec<Fact> {
            self.starts += 1;
            let labels: Vec<(&str, &str)> = spec.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            // Labels of the image, which nothing here has written over.
            let labels: Vec<_> =
                labels.into_iter().chain([("platformer.port", "http"), ("platformer.host", "a b")]).collect();
            let id = ContainerId(format!("c{}", self.starts).into());
            let mut made = Container { id: id.clone(), started_at: Some(now), ..container(&spec.name, &labels) };
            let told = |result| Fact::Started { name: spec.name.clone(), result };
            match self.fails {
                Fails::Refused => return vec![told(Err(Undone::Refused("no such file".into())))],
                Fails::Taken => return vec![Fact::NameTaken(spec.name.clone())],
                Fails::Away => {
                    self.there.insert(id, Container { state: RunState::Created, started_at: None, ..made });
                    return vec![told(Err(Undone::Away("timeout".into())))];
                }
                Fails::Removed => return vec![told(Ok(Box::new(made))), Fact::Gone(id)],
                Fails::Dies => made.state = RunState::Exited { code: 1, oom: false, at: Some(now) },
                Fails::Unproven => made.ours = false,
                Fails::Not => {}
            }
            self.there.insert(id, made.clone());
            vec![told(Ok(Box::new(made)))]
        }

        fn listed(&self) -> Fact {
            let containers = self.there.values().cloned().collect();
            Fact::Listed { containers, networks: Vec::new(), local: Vec::new() }
        }
    }

    /// Ten minutes of an app with three instances.
    fn ten_minutes(fails: Fails) -> (World, Engine) {
        let version = Version::parse("1.0").unwrap();
        let (mut world, _) = world_with("image = \"shop:1.0\"\nreplicas = 3", |app, index| {
            let release = Release::draft(app, version.clone(), None, index, at(0));
            let release = Release { image_digest: Some("sha256:1".into()), proven: true, ..release };
            super::super::Intent {
                stable: Some(version.clone()),
                releases: [(version.clone(), release)].into(),
                ..super::super::Intent::new(at(0))
            }
        });
        let mut engine = Engine { fails, there: BTreeMap::new(), starts: 0, restarts: 0, most: 0, last: None };
        let (mut now, mut listed) = (at(0), at(0));
        while now < at(600) {
            let planned = planned_and_recorded(&mut world, now);
            let mut facts = Vec::new();
            for action in planned.actions {
                world.begin(&action, now);
                match action {
                    Action::Start(spec) => facts.extend(engine.started(&spec, now)),
                    Action::Restart(id) => {
                        engine.restarts += 1;
                        facts.push(Fact::Restarted { id, result: Ok(()) });
                    }
                    Action::Stop { id, .. } => {
                        engine.there.remove(&id);
                        facts.push(Fact::Stopped { id, result: Ok(()) });
                    }
                    Action::Drain { id, .. } => facts.push(Fact::Drained(id)),
                    Action::Switch(switch) => {
                        facts.extend([Fact::Reached(switch.generation), Fact::Settled(switch.generation)]);
                    }
                    _ => {}
                }
            }
            engine.most = engine.most.max(engine.there.len());
            if now.duration_since(listed).unsigned_abs() >= Duration::from_secs(60) {
                listed = now;
                facts.push(engine.listed());
            }
            engine.last = planned.problems.iter().find(|p| p.subject == "app shop").map(|p| p.reason.clone());
            // The engine takes a hundredth of a second for all of this.
            now += Duration::from_millis(10);
            if facts.is_empty() {
                now = planned.wake_at.unwrap_or(now + Duration::from_secs(5)).clamp(now, now + Duration::from_secs(5));
            }
            facts.into_iter().for_each(|fact| world.apply(fact, now));
        }
        (world, engine)
    }

    #[test]
    fn no_way_of_failing_starts_more_than_a_few_containers() {
        for fails in
            [Fails::Not, Fails::Refused, Fails::Away, Fails::Removed, Fails::Dies, Fails::Unproven, Fails::Taken]
        {
            let (_, engine) = ten_minutes(fails);
            let counted = (engine.starts, engine.restarts, engine.most);
            let most = match fails {
                Fails::Not => 3,
                // Each attempt ends without a container; each listing may have freed the names.
                Fails::Taken => 100,
                _ => 60,
            };
            assert!(engine.starts <= most && engine.restarts <= 60, "{fails:?}: {counted:?}");
            assert!(fails == Fails::Unproven || engine.most <= 20, "{fails:?}: {counted:?}");
            assert_eq!(engine.last.is_some(), fails != Fails::Not, "{fails:?}: {:?}", engine.last);
        }
    }

    #[test]
    fn a_refused_start_is_told_in_the_engines_words() {
        let (_, engine) = ten_minutes(Fails::Refused);
        assert!(engine.last.as_ref().is_some_and(|reason| reason.contains("no such file")), "{:?}", engine.last);
    }

    #[test]
    fn what_the_engine_did_not_answer_to_is_asked_again_as_soon_as_it_is_back() {
        let (mut world, _) = ten_minutes(Fails::Away);
        let release = (AppName::parse("shop").unwrap(), Version::parse("1.0").unwrap());
        world.undone(release.clone(), Undone::Refused("no".into()), at(600));
        (0..5).for_each(|_| world.undone(release.clone(), Undone::Away("timeout".into()), at(600)));
        assert!(world.backoff[&release].until > at(630));
        world.apply(Fact::EngineLost, at(601));
        world.apply(Fact::Listed { containers: Vec::new(), networks: Vec::new(), local: Vec::new() }, at(602));
        assert!(world.backoff[&release].until <= at(602));
    }

    #[test]
    fn what_is_held_against_a_release_ends_with_its_deployment() {
        let (mut world, _) = ten_minutes(Fails::Refused);
        let wrong = (AppName::parse("shop").unwrap(), Version::parse("9.9").unwrap());
        let why = super::super::Unprepared::Never("no such image".into());
        let unsecured = super::super::Unsecured { since: at(1), tried: at(1), times: 1, why };
        world.unprepared.insert(wrong.clone(), unsecured);
        world.back_off(wrong.clone(), "it is not there".into(), at(1));
        planned(&mut world, at(601));
        assert!(!world.unprepared.contains_key(&wrong) && !world.backoff.contains_key(&wrong));
        assert!(!world.backoff.is_empty(), "what is wanted still is not forgotten");
    }
}
