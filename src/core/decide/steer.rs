//! Steering a deployment under way, and the traffic of an app: what is allowed in which state.

use std::collections::BTreeSet;

use super::record::{Decision, note, record};
use super::refusal::{Refusal, refuse};
use super::request::{Decider, Steer};
use super::verbs::{Standing, Verb};
use crate::core::app::Strategy;
use crate::core::deploy::{Deployment, End, Halt, Stage};
use crate::core::names::{AppName, Version};
use crate::core::split::{Percent, Split};
use crate::core::world::{Intent, World};

impl World {
    pub(super) fn steer(&self, app: &AppName, steer: &Steer, who: Decider<'_>) -> Decision {
        let intent = self.intents.get(app).cloned().unwrap_or_else(|| Intent::new(who.now));
        self.steer_from(app, intent, steer, who)
    }

    /// The same for an app that stands where this intent has it.
    pub(super) fn steer_from(&self, app: &AppName, intent: Intent, steer: &Steer, who: Decider<'_>) -> Decision {
        self.known(app)?;
        match steer {
            Steer::Deploy(request) => self.deploy(app, intent, request, who),
            Steer::Rollback(version) => match intent.underway() {
                Some(active) if version.as_ref().is_none_or(|v| Some(v) == active.from.as_ref()) => {
                    self.abort(app, intent, who)
                }
                Some(_) | None => self.rollback(app, intent, version.as_ref(), who),
            },
            Steer::Swap => self.swap(app, intent, who),
            Steer::Promote => self.promote(app, intent, who),
            Steer::Pause => {
                let current = self.steered(app, &intent, Verb::Pause)?;
                let paused = current.at(current.stage, format!("paused by {}", who.by), who.now);
                Ok(record(app, intent, Deployment { halt: Some(Halt::Paused), ..paused }, "pause", who))
            }
            Steer::Resume => {
                let current = self.steered(app, &intent, Verb::Resume)?;
                Ok(record(app, intent, current.resumed(format!("resumed by {}", who.by), who.now), "resume", who))
            }
            Steer::Abort => self.abort(app, intent, who),
            Steer::Split(split) => self.split(app, intent, split, who),
            Steer::Sticky(mode) => {
                let said = format!("visitors of {app} stay by {mode}");
                Ok(note(app, Intent { sticky: Some(*mode), ..intent }, "sticky", said, who))
            }
            Steer::Pin(version) => {
                let version = version.clone().or_else(|| intent.stable.as_ref().map(Version::base));
                let version = version.ok_or_else(|| refuse(app, "it has no stable release; name a version".into()))?;
                let said = format!("{app} is held at {version}; `platformer unpin {app}` lets it go");
                Ok(note(app, Intent { pin: Some(version), ..intent }, "pin", said, who))
            }
            Steer::Unpin => {
                self.allow(app, &intent, Verb::Unpin)?;
                Ok(note(app, Intent { pin: None, ..intent }, "unpin", format!("{app} is held no more"), who))
            }
            Steer::Maintenance(on) => {
                let word = if *on { "on" } else { "off" };
                let said = format!("maintenance of {app} is {word}");
                Ok(note(app, Intent { maintenance: *on, ..intent }, "maintenance", said, who))
            }
        }
    }

    fn promote(&self, app: &AppName, intent: Intent, who: Decider<'_>) -> Decision {
        let current = self.steered(app, &intent, Verb::Promote)?;
        let reason = format!("promoted by {}", who.by);
        let promoted = Deployment {
            halt: None,
            hurried: true,
            share: Percent::ALL,
            ..current.at(Stage::Routing { step: current.canary.steps.len() }, reason, who.now)
        };
        Ok(record(app, Intent { split: None, ..intent }, promoted, "promote", who))
    }

    fn abort(&self, app: &AppName, intent: Intent, who: Decider<'_>) -> Decision {
        let current = self.steered(app, &intent, Verb::Abort)?;
        let end = if current.stage.has_traffic() { End::RolledBack } else { End::Cancelled };
        let aborted = current.abort(end, format!("aborted by {}", who.by), who.now);
        Ok(record(app, intent, aborted, "abort", who))
    }

    fn split(&self, app: &AppName, intent: Intent, split: &Split, who: Decider<'_>) -> Decision {
        let instances = self.instances();
        let of_app = instances.iter().filter(|m| m.claim.app == *app).map(|m| &m.version);
        let underway = intent.active().map(|active| &active.release);
        let known: BTreeSet<&Version> = intent.releases.keys().chain(of_app).chain(underway).collect();
        for (version, share) in split.iter() {
            if !known.contains(version) {
                let known = known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "none yet".to_owned() } else { known };
                return Err(refuse(app, format!("there is no release {version}; those there are: {known}")));
            }
            if share > Percent::NONE && !self.has_ready(app, version) {
                return Err(refuse(app, format!("{version} cannot have {share} %: no instance of it is ready")));
            }
        }
        if let Some(ending) = intent.active().filter(|d| !d.is_candidate()) {
            let reason = format!("deployment {} is {}; split once it has ended", ending.id, ending.state());
            return Err(refuse(app, reason));
        }
        let shares = split.iter().map(|(v, s)| format!("{v}={s}")).collect::<Vec<_>>().join(" ");
        let said = format!("the traffic of {app} is split {shares}");
        let Some(current) = intent.underway().cloned() else {
            let is_stable = intent.stable.as_ref().is_some_and(|s| split.share(s) == Percent::ALL);
            let split = if is_stable { None } else { Some(split.clone()) };
            return Ok(note(app, Intent { split, ..intent }, "split", said, who));
        };
        if current.strategy == Strategy::Rolling {
            let reason = format!("deployment {} is {} and moves the traffic itself", current.id, current.state());
            return Err(refuse(app, reason));
        }
        if !current.stage.has_traffic() {
            let reason = format!(
                "{} is not ready for traffic yet, deployment {} is {}; split once `platformer status {app}` shows it \
                 paused or routing",
                current.release,
                current.id,
                current.state()
            );
            return Err(refuse(app, reason));
        }
        if let Some((other, _)) =
            split.iter().find(|(v, _)| **v != current.release && Some(*v) != intent.stable.as_ref())
        {
            return Err(refuse(
                app,
                format!("{other} is neither stable nor the candidate of deployment {}", current.id),
            ));
        }
        let paused = current.at(current.stage, format!("split {shares} by {}", who.by), who.now);
        let share = split.share(&current.release);
        Ok(record(app, intent, Deployment { share, halt: Some(Halt::Paused), ..paused }, "split", who))
    }

    /// The deployment that the verb is about, where it may be asked.
    fn steered(&self, app: &AppName, intent: &Intent, verb: Verb) -> Result<Deployment, Refusal> {
        self.allow(app, intent, verb)?;
        self.standing(app, intent, |standing| standing.underway(verb).cloned())
    }

    pub(super) fn allow(&self, app: &AppName, intent: &Intent, verb: Verb) -> Result<(), Refusal> {
        self.standing(app, intent, |standing| standing.check(verb))
    }

    pub(super) fn standing<T>(&self, app: &AppName, intent: &Intent, ask: impl FnOnce(Standing<'_>) -> T) -> T {
        ask(Standing { app, intent, is_ready: &|version| self.has_ready(app, version) })
    }

    pub(super) fn has_ready(&self, app: &AppName, version: &Version) -> bool {
        self.instances().iter().any(|m| m.claim.app == *app && m.version == *version && m.is_ready())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::decide::{Command, DeployRequest};
    use crate::core::deploy::Stage;
    use crate::core::release::Release;
    use crate::core::testing::{at, container, deployment, world_with};
    use crate::core::world::{Fact, Subject};

    #[test]
    fn no_split_names_a_candidate_that_is_on_its_way_back() {
        let aborting = Arc::new(deployment(Strategy::BlueGreen, Stage::Aborting { end: End::Cancelled }));
        let split = Split::between(None, &aborting.release, Percent::NONE);
        let (world, app) =
            world_with("image = \"shop:1.0\"", |_, _| Intent { deployment: Some(aborting), ..Intent::new(at(0)) });
        let command = Command::Steer { app: app.name.clone(), steer: Steer::Split(split) };
        let refused = world.decide(&command, Decider { by: "me", now: at(1), secret: "" }).unwrap_err();
        assert!(refused.to_string().contains("is aborting; split once it has ended"), "{refused}");
    }

    #[test]
    fn what_is_no_release_is_refused_with_those_there_are() {
        let (world, app) = world_with("image = \"shop:1.0\"", |app, index| {
            let releases = ["1.0", "1.1"].map(|version| {
                let version = Version::parse(version).unwrap();
                let draft = Release::draft(app, version.clone(), None, index, at(0));
                (version, Release { was_stable: Some(true), ..draft })
            });
            Intent { stable: Version::parse("1.1").ok(), releases: releases.into(), ..Intent::new(at(0)) }
        });
        let said = |steer: Steer| {
            let command = Command::Steer { app: app.name.clone(), steer };
            world.decide(&command, Decider { by: "me", now: at(1), secret: "" }).unwrap_err().to_string()
        };
        let nine = Version::parse("9.9").unwrap();
        let back = said(Steer::Rollback(Some(nine.clone())));
        assert!(back.contains("no release 9.9; kept: 1.0; `platformer releases shop`"), "{back}");
        let split = said(Steer::Split(Split::between(None, &nine, Percent::ALL)));
        assert!(split.contains("there is no release 9.9; those there are: 1.0, 1.1"), "{split}");
    }

    #[test]
    fn what_would_not_be_looked_at_or_would_write_twice_is_not_deployed() {
        let refused = |declaration: &str, strategy, edit: fn(&mut Intent)| {
            let (world, app) = world_with(&format!("image = \"shop:1.0\"\n{declaration}"), |_, _| {
                let mut intent = Intent { stable: Version::parse("1.0").ok(), ..Intent::new(at(0)) };
                edit(&mut intent);
                intent
            });
            let image = crate::core::names::ImageRef::parse("shop:2.0").ok();
            let image_now = Some(crate::core::release::ImageNow::default());
            let request = DeployRequest { image, image_now, strategy: Some(strategy), ..DeployRequest::default() };
            let command = Command::Steer { app: app.name.clone(), steer: Steer::Deploy(Box::new(request)) };
            let decided = world.decide(&command, Decider { by: "me", now: at(1), secret: "" });
            decided.err().map(|refusal| refusal.to_string()).unwrap_or_default()
        };
        let stopped = refused("", Strategy::Rolling, |intent| intent.stopped = true);
        assert!(stopped.contains("is stopped") && stopped.contains("platformer start shop"), "{stopped}");
        let none = refused("replicas = 0", Strategy::Rolling, |_| {});
        assert!(none.contains("platformer scale shop 1"), "{none}");
        let writes = "volumes = [\"/data/shop:/data\"]";
        for strategy in [Strategy::Canary, Strategy::Manual] {
            let twice = refused(writes, strategy, |_| {});
            assert!(twice.contains("cannot run side by side") && twice.contains("--strategy recreate"), "{twice}");
            assert_eq!(refused(writes, strategy, |intent| intent.stable = None), "", "there is none beside the first");
        }
        assert_eq!(refused(writes, Strategy::Rolling, |_| {}), "");
    }

    #[test]
    fn what_was_made_of_the_same_once_is_the_same_release_though_its_contents_are_gone() {
        let (world, app) = world_with("image = \"shop:1.0\"", |app, index| {
            let [first, second] = ["1.0", "1.0-r2"].map(|version| Version::parse(version).unwrap());
            let same = |version: &Version| Release::draft(app, version.clone(), None, index, at(0));
            let mut other = (**app).clone();
            other.command = vec!["another".into()];
            let before =
                Release { app: std::sync::Arc::new(other), image_digest: Some("sha256:1".into()), ..same(&first) };
            let gone = Release { pruned: true, ..same(&second) };
            let releases = [(first, before), (second, gone)].into();
            Intent { stable: Version::parse("0.9").ok(), releases, ..Intent::new(at(0)) }
        });
        let request = DeployRequest {
            version: Version::parse("1.0").ok(),
            image_now: Some(crate::core::release::ImageNow::default()),
            ..DeployRequest::default()
        };
        let command = Command::Steer { app: app.name.clone(), steer: Steer::Deploy(Box::new(request)) };
        let decided = world.decide(&command, Decider { by: "me", now: at(1), secret: "" }).unwrap();
        assert_eq!(decided.done.deployment.unwrap().release.as_str(), "1.0-r2");
    }

    #[test]
    fn who_swaps_back_holds_the_app_there_and_who_swaps_forwards_lets_it_go() {
        for (stable, warm, pinned) in [("1.1", "1.0", Some("1.0")), ("1.0", "1.1", None)] {
            let [stable, warm] = [stable, warm].map(|version| Version::parse(version).unwrap());
            let (mut world, app) = world_with("image = \"shop:1.1\"", |app, index| {
                let releases = [&stable, &warm].map(|version| {
                    let draft = Release::draft(app, version.clone(), None, index, at(0));
                    (version.clone(), Release { image_digest: Some("sha256:1".into()), proven: true, ..draft })
                });
                let pin = Some(stable.clone());
                let (stable, warm) = (Some(stable.clone()), Some(warm.clone()));
                Intent { stable, warm, pin, releases: releases.into(), ..Intent::new(at(0)) }
            });
            let labels =
                [("platformer.app", "shop"), ("platformer.version", warm.as_str()), ("platformer.owner", "me")];
            let seen = container("warm", &labels);
            let (subject, started_at) = (Subject::Container(seen.id.clone()), seen.started_at);
            world.apply(Fact::Seen(Box::new(seen)), at(0));
            world.apply(Fact::Probed { subject, started_at, verdict: Ok(()) }, at(0));
            let command = Command::Steer { app: app.name.clone(), steer: Steer::Swap };
            let decided = world.decide(&command, Decider { by: "me", now: at(1), secret: "" }).unwrap();
            decided.writes.iter().for_each(|write| world.take_over(write));
            assert_eq!(world.intents[&app.name].pin.as_ref().map(Version::as_str), pinned, "{stable} to {warm}");
        }
    }
}
