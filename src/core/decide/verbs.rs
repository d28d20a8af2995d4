//! What may be asked of an app as it stands: one table, by which commands are decided and buttons offered.

use serde::Serialize;

use super::command::Command;
use super::refusal::{Refusal, refuse};
use super::request::Steer;
use crate::core::app::Strategy;
use crate::core::deploy::{Deployment, Stage};
use crate::core::names::{AppName, Version};
use crate::core::world::Intent;

/// What is asked of an app in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    Promote,
    Resume,
    Pause,
    Abort,
    Rollback,
    Swap,
    Restart,
    MaintenanceOn,
    MaintenanceOff,
    Start,
    Stop,
    Pin,
    Unpin,
}

impl Verb {
    /// In the order in which they are offered.
    pub const ALL: [Self; 13] = [
        Self::Promote,
        Self::Resume,
        Self::Pause,
        Self::Abort,
        Self::Rollback,
        Self::Swap,
        Self::Restart,
        Self::MaintenanceOn,
        Self::MaintenanceOff,
        Self::Start,
        Self::Stop,
        Self::Pin,
        Self::Unpin,
    ];

    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What it is called on a button.
    pub fn label(self) -> &'static str {
        self.words().1
    }

    /// The verb of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }

    /// What is asked of the app with it.
    pub fn command(self, app: AppName) -> Command {
        let steer = match self {
            Self::Restart => return Command::Restart(app),
            Self::Start => return Command::Start(app),
            Self::Stop => return Command::Stop(app),
            Self::Promote => Steer::Promote,
            Self::Resume => Steer::Resume,
            Self::Pause => Steer::Pause,
            Self::Abort => Steer::Abort,
            Self::Rollback => Steer::Rollback(None),
            Self::Swap => Steer::Swap,
            Self::MaintenanceOn => Steer::Maintenance(true),
            Self::MaintenanceOff => Steer::Maintenance(false),
            Self::Pin => Steer::Pin(None),
            Self::Unpin => Steer::Unpin,
        };
        Command::Steer { app, steer }
    }

    /// What it does, in sentences, to whoever is to confirm it; none where nothing is taken from anybody.
    pub fn plan(self, sides: &Sides<'_>) -> Vec<String> {
        let Sides { app, stable, candidate, wanted, ready } = sides;
        let candidate = candidate.map_or("the candidate".to_owned(), |version| format!("{app}@{version}"));
        let stable = stable.map_or("what runs".to_owned(), |version| format!("{app}@{version}"));
        match self {
            Self::Promote => vec![
                format!("give {candidate} all traffic now"),
                format!("drain {stable} and stop it, or keep it where the strategy says so"),
            ],
            Self::Abort => {
                vec![format!("give {stable} all traffic at once"), format!("drain {candidate} and stop it")]
            }
            Self::Rollback => vec![
                "start the release before, with its own config, and wait until it is ready".into(),
                "switch all traffic to it at once".into(),
                format!("drain {stable} and stop it"),
                "hold the app there until somebody deploys by hand or unpins it".into(),
            ],
            Self::Swap => vec![
                "switch all traffic to the side that stayed warm".into(),
                format!("keep {stable} running, to be swapped back to"),
            ],
            Self::Restart => {
                vec![format!("replace each of the {wanted} instances, one after the other; none of them is missed")]
            }
            Self::Stop => {
                vec![format!("drain and stop {ready} instances"), "answer 503 until it is started again".into()]
            }
            Self::MaintenanceOn => {
                vec!["answer every request with a page and 503".into(), "leave the instances running".into()]
            }
            Self::Resume | Self::Pause | Self::MaintenanceOff | Self::Start | Self::Pin | Self::Unpin => Vec::new(),
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Promote => ("promote", "Promote"),
            Self::Resume => ("resume", "Resume"),
            Self::Pause => ("pause", "Pause"),
            Self::Abort => ("abort", "Abort"),
            Self::Rollback => ("rollback", "Roll back"),
            Self::Swap => ("swap", "Swap"),
            Self::Restart => ("restart", "Restart"),
            Self::MaintenanceOn => ("maintenance-on", "Maintenance"),
            Self::MaintenanceOff => ("maintenance-off", "End maintenance"),
            Self::Start => ("start", "Start"),
            Self::Stop => ("stop", "Stop"),
            Self::Pin => ("pin", "Pin"),
            Self::Unpin => ("unpin", "Unpin"),
        }
    }
}

/// What an app's plan is told about.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    pub app: &'a AppName,
    pub stable: Option<&'a Version>,
    pub candidate: Option<&'a Version>,
    /// Instances that it is to have.
    pub wanted: usize,
    pub ready: usize,
}

/// Where a declared app stands, as far as it decides what may be asked of it.
#[derive(Clone, Copy)]
pub struct Standing<'w> {
    pub app: &'w AppName,
    pub intent: &'w Intent,
    /// Whether an instance of a release is ready.
    pub is_ready: &'w dyn Fn(&Version) -> bool,
}

impl<'w> Standing<'w> {
    /// Whether it may be asked.
    ///
    /// # Errors
    /// Why not, as whoever asks is told.
    pub fn check(self, verb: Verb) -> Result<(), Refusal> {
        let app = self.app;
        match verb {
            Verb::Promote => {
                let current = self.underway(verb)?;
                let (release, state) = (&current.release, current.state());
                if !current.stage.has_traffic() {
                    let reason = format!("{release} is {state}: it can be promoted once it is ready and tested");
                    return Err(refuse(app, reason));
                }
                if current.strategy == Strategy::Rolling {
                    let reason = "a rolling deployment promotes itself when the last instance is replaced";
                    return Err(refuse(app, reason.into()));
                }
                self.ready(release).map_err(|_| refuse(app, format!("no instance of {release} is ready")))
            }
            Verb::Pause => {
                let current = self.underway(verb)?;
                match current.halt {
                    None => Ok(()),
                    Some(_) => {
                        let reason = format!("deployment {} is {} already", current.id, current.state());
                        Err(refuse(app, reason))
                    }
                }
            }
            Verb::Resume => {
                let current = self.underway(verb)?;
                if current.halt.is_none() {
                    let reason = format!("deployment {} is not paused, it is {}", current.id, current.state());
                    return Err(refuse(app, reason));
                }
                if current.strategy == Strategy::Manual && current.stage.has_traffic() {
                    return Err(refuse(app, "a manual deployment is moved on by `split` and `promote`".into()));
                }
                Ok(())
            }
            Verb::Abort => self.underway(verb).map(drop),
            Verb::Rollback if self.intent.underway().is_some() => Ok(()),
            Verb::Rollback => self.back_to(None).map(drop),
            Verb::Swap => {
                if let Some(active) = self.intent.underway() {
                    return Err(Refusal::until_its_end(active));
                }
                let other = self.intent.warm.as_ref().filter(|v| self.intent.releases.contains_key(*v));
                let reason = "no other release runs beside stable; a blue-green deployment leaves one";
                other.ok_or(()).and_then(|v| self.ready(v)).map_err(|()| refuse(app, reason.into()))
            }
            Verb::Pin if self.intent.stable.is_none() => {
                Err(refuse(app, "it has no stable release; name a version".into()))
            }
            Verb::Unpin if self.intent.pin.is_none() => Err(refuse(app, "it is not pinned".into())),
            Verb::Restart
            | Verb::MaintenanceOn
            | Verb::MaintenanceOff
            | Verb::Start
            | Verb::Stop
            | Verb::Pin
            | Verb::Unpin => Ok(()),
        }
    }

    /// What is offered: what may be asked and would change something. `wanted` instances are to run.
    pub fn offers(self, wanted: usize) -> Vec<Verb> {
        let intent = self.intent;
        let is_useful = |verb: Verb| match verb {
            // During a deployment it is an abort.
            Verb::Rollback => intent.underway().is_none(),
            Verb::MaintenanceOn => !intent.maintenance,
            Verb::MaintenanceOff => intent.maintenance,
            Verb::Start => wanted == 0,
            Verb::Stop => wanted > 0,
            Verb::Pin => intent.pin.is_none(),
            _ => true,
        };
        Verb::ALL.into_iter().filter(|verb| is_useful(*verb) && self.check(*verb).is_ok()).collect()
    }

    /// The deployment that can still be steered.
    pub(super) fn underway(self, verb: Verb) -> Result<&'w Deployment, Refusal> {
        let app = self.app;
        match self.intent.deployment.as_deref() {
            Some(current) if current.is_active() && current.is_candidate() => Ok(current),
            Some(_) if let Some(returning) = self.returning() => Err(is_on_its_way_back(returning)),
            Some(current) if current.is_active() => Err(refuse(
                app,
                format!(
                    "deployment {} is {} already; `platformer rollback {app}` goes back",
                    current.id,
                    current.state()
                ),
            )),
            Some(_) | None => {
                Err(refuse(app, format!("nothing is being deployed, so there is nothing to {}", verb.name())))
            }
        }
    }

    /// The release that a rollback goes to: the one that is named, or the one before.
    pub(super) fn back_to(self, version: Option<&Version>) -> Result<&'w Version, Refusal> {
        let (app, intent) = (self.app, self.intent);
        if let Some(active) = intent.underway() {
            return Err(Refusal::until_its_end(active));
        }
        if let Some(returning) = self.returning().filter(|_| version.is_none()) {
            return Err(is_on_its_way_back(returning));
        }
        let version = version.or(intent.previous.as_ref());
        let version = version.ok_or_else(|| refuse(app, "there is no earlier release to go back to".into()))?;
        if intent.stable.as_ref() == Some(version) {
            return Err(refuse(app, format!("{version} is stable already")));
        }
        let kept = intent.releases.get(version).filter(|release| release.is_kept()).map(|release| &release.version);
        kept.ok_or_else(|| {
            let others = intent.releases.values().filter(|r| r.is_kept() && Some(&r.version) != intent.stable.as_ref());
            let others = others.map(|release| release.version.to_string()).collect::<Vec<_>>().join(", ");
            let others = if others.is_empty() { "no other release is".to_owned() } else { format!("kept: {others}") };
            let reason = match intent.releases.contains_key(version) {
                true => format!("{version} is not kept; {others}; `platformer deploy {app}@{version}` deploys it anew"),
                false => format!("there was no release {version}; {others}; `platformer releases {app}` lists them"),
            };
            refuse(app, reason)
        })
    }

    /// The deployment that is being taken back.
    fn returning(self) -> Option<&'w Deployment> {
        self.intent.active().filter(|active| matches!(active.stage, Stage::Aborting { .. })).map(|active| &**active)
    }

    fn ready(self, version: &Version) -> Result<(), ()> {
        if (self.is_ready)(version) { Ok(()) } else { Err(()) }
    }
}

fn is_on_its_way_back(returning: &Deployment) -> Refusal {
    let reason = format!(
        "deployment {} is on its way back already; `platformer status {}` tells when it is over",
        returning.id, returning.app
    );
    refuse(&returning.app, reason)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::deploy::{End, Halt};
    use crate::core::testing::{at, deployment};

    fn offers(deployment: Option<Deployment>) -> Vec<&'static str> {
        let app = AppName::parse("shop").unwrap();
        let stable = Version::parse("1.0").ok();
        let intent = Intent { stable, deployment: deployment.map(Arc::new), ..Intent::new(at(0)) };
        let standing = Standing { app: &app, intent: &intent, is_ready: &|_| true };
        let steering = ["promote", "resume", "pause", "abort", "rollback", "swap"];
        let all = standing.offers(2).into_iter().map(Verb::name);
        all.filter(|name| steering.contains(name)).collect()
    }

    #[test]
    fn what_is_offered_is_what_would_be_taken() {
        let halted = |strategy, stage| Some(Deployment { halt: Some(Halt::Paused), ..deployment(strategy, stage) });
        let routing = Stage::Routing { step: 0 };
        for (what, deployment, expected) in [
            ("nothing is deployed", None, &[][..]),
            ("paused while it starts", halted(Strategy::Canary, Stage::Starting), &["resume", "abort"]),
            ("manual at its split", halted(Strategy::Manual, routing), &["promote", "abort"]),
            ("paused at a step", halted(Strategy::Canary, routing), &["promote", "resume", "abort"]),
            ("rolling", Some(deployment(Strategy::Rolling, routing)), &["pause", "abort"]),
            ("draining", Some(deployment(Strategy::Rolling, Stage::Draining)), &[]),
        ] {
            assert_eq!(offers(deployment), expected, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_asked_beside_a_deployment_says_what_can() {
        let app = AppName::parse("shop").unwrap();
        let said = |stage: Stage, verb: Verb| {
            let deployment = Some(Arc::new(deployment(Strategy::BlueGreen, stage)));
            let previous = Version::parse("0.9").ok();
            let stable = Version::parse("1.0").ok();
            let intent = Intent { stable, previous, deployment, ..Intent::new(at(0)) };
            let refused = Standing { app: &app, intent: &intent, is_ready: &|_| true }.check(verb).unwrap_err();
            refused.to_string()
        };
        let swap = said(Stage::Starting, Verb::Swap);
        assert!(swap.contains("`platformer abort shop`") && !swap.contains("--replace"), "{swap}");
        for verb in [Verb::Rollback, Verb::Abort, Verb::Promote] {
            let returning = said(Stage::Aborting { end: End::RolledBack }, verb);
            assert!(returning.contains("is on its way back already"), "{verb:?}: {returning}");
        }
    }
}
