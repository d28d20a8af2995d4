//! What people ask, and whether it is done: a command and the world become a decision, or a refusal that says why not.
//!
//! In: a [`Command`], the [`World`], who asks and `now`. Out: the actions that record the decision. Nothing is acted on
//! before it is recorded.

mod begin;
mod command;
mod keys;
mod record;
mod refusal;
mod request;
pub mod router_keys;
mod services;
mod steer;
mod verbs;

pub use command::{Command, Done};
pub use record::Decided;
pub use refusal::Refusal;
pub use request::{Decider, DeployRequest, GateChoice, Seed, Steer};
pub use verbs::{Sides, Standing, Verb};

use super::names::{AppName, nearest};
use super::world::{Closing, Intent, World, Write};
use record::note;

impl World {
    /// Decides on a command: what records it, and what to tell the one who asked. Nothing is changed by it.
    ///
    /// # Errors
    /// Why it is not done.
    pub fn decide(&self, command: &Command, who: Decider<'_>) -> Result<Decided, Refusal> {
        if self.closing.is_some() {
            return Err(Refusal::Closing);
        }
        let too_often = |app| Some((app, self.steered_until(app, who.now)?));
        if let Some((app, until)) = command.steers().into_iter().find_map(too_often) {
            return Err(Refusal::TooOften { app: app.clone(), until });
        }
        match command {
            Command::Scale { app, replicas } if *replicas > 100 => {
                Err(Refusal::TooMany { app: app.clone(), replicas: *replicas })
            }
            Command::Scale { app, replicas } => {
                let is_stopped = self.intents.get(app).is_some_and(|intent| intent.stopped);
                let once =
                    if is_stopped { format!(" once `platformer start {app}` has started it") } else { String::new() };
                let said = format!("{app} is to have {replicas} instances{once}");
                self.change(app, "scale", said, who, |i| i.replicas = Some(*replicas))
            }
            Command::Stop(app) => {
                self.change(app, "stop", format!("{app} is being stopped"), who, |i| i.stopped = true)
            }
            Command::Start(app) => {
                let said = format!("{app} is being started{}", self.unless_scaled_to_none(app));
                self.change(app, "start", said, who, |i| (i.stopped, i.removed) = (false, false)).map(afresh)
            }
            Command::Restart(app) => {
                let said = format!("the instances of {app} are being replaced{}", self.unless_scaled_to_none(app));
                self.change(app, "restart", said, who, |i| (i.renew_before, i.stopped) = (Some(who.now), false))
                    .map(afresh)
            }
            Command::Remove(app) if self.is_removed(app) => {
                let said = format!("{app} is removed already, and nothing of it runs; its files stay");
                Ok(Decided::new(Vec::new(), Done { said, deployment: None }))
            }
            Command::Remove(app) => {
                let said = format!("{app} is being removed");
                self.change(app, "remove", said, who, |i| {
                    *i = Intent { removed: true, deployments: i.deployments, ..Intent::new(i.first_seen) };
                })
            }
            Command::Steer { app, steer } => self.steer(app, steer, who),
            Command::Keys { wishes, images } => self.write_keys(wishes, images.as_ref(), who),
            Command::Register { name, id, endpoint, alone } => self.register(name, id, endpoint, *alone, who),
            Command::Deregister { name, id } => self.deregister(name, id.as_ref(), who),
            Command::Close { keep_apps } => {
                let done = Done { said: "the platform is going down".into(), deployment: None };
                Ok(Decided { closing: Some(Closing { keep_apps: *keep_apps }), ..Decided::new(Vec::new(), done) })
            }
        }
    }

    /// Whether an app was removed, and all that we started of it is gone.
    fn is_removed(&self, app: &AppName) -> bool {
        let runs = self.ours().any(|(_, instance)| instance.app == *app);
        !runs && self.intents.get(app).is_some_and(|intent| intent.removed)
    }

    /// What is added where starting an app starts nothing.
    fn unless_scaled_to_none(&self, app: &AppName) -> String {
        match self.declared.get(app).map(|app| self.replicas(app)) {
            Some(0) => format!("; it is scaled to 0, so nothing runs before `platformer scale {app} 1`"),
            Some(_) | None => String::new(),
        }
    }

    fn change(
        &self,
        app: &AppName,
        action: &str,
        said: String,
        who: Decider<'_>,
        edit: impl FnOnce(&mut Intent),
    ) -> Result<Decided, Refusal> {
        // One whose file is gone can still be removed.
        let is_recorded = action == "remove" && self.intents.contains_key(app);
        if !is_recorded {
            self.known(app)?;
        }
        let mut intent = self.intents.get(app).cloned().unwrap_or_else(|| Intent::new(who.now));
        edit(&mut intent);
        Ok(note(app, intent, action, said, who))
    }

    pub(super) fn known(&self, app: &AppName) -> Result<(), Refusal> {
        if self.declared.contains_key(app) {
            return Ok(());
        }
        let by_hand = self.instances().iter().any(|i| i.claim.app == *app);
        Err(match by_hand {
            true => Refusal::Undeclared {
                app: app.clone(),
                remedy: "start and stop them with docker, or declare the app with `platformer apply`",
            },
            false => {
                let instances = self.instances();
                let names = self.declared.keys().chain(instances.iter().map(|i| &i.claim.app)).map(AppName::as_str);
                let hint = match nearest(app.as_str(), names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "`platformer status` lists those there are".into(),
                };
                Refusal::Unknown { app: app.clone(), hint }
            }
        })
    }
}

/// What failed before is forgotten: whoever asks for it means now.
fn afresh(mut decided: Decided) -> Decided {
    for write in &mut decided.writes {
        if let Write::Decision(record) = write {
            record.afresh = true;
        }
    }
    decided
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{at, world_with};

    #[test]
    fn who_steers_one_app_all_the_time_waits_and_nobody_else_does() {
        let (mut world, app) = world_with("", |_, _| Intent::new(at(0)));
        let who = |now| Decider { by: "me", now: at(now), secret: "" };
        let scale = |replicas| Command::Scale { app: app.name.clone(), replicas };
        for n in 0..60 {
            assert!(world.decide(&scale(n % 3), who(0)).is_ok(), "{n}");
            world.count_steering(&app.name, at(0));
        }
        let refused = world.decide(&scale(1), who(0)).unwrap_err();
        assert!(matches!(refused, Refusal::TooOften { until, .. } if until == at(2)), "{refused}");
        assert!(world.decide(&Command::Stop(app.name.clone()), who(0)).is_ok(), "what ends something is always heard");
        let other = AppName::parse("other").unwrap();
        assert!(!matches!(world.decide(&Command::Start(other), who(0)), Err(Refusal::TooOften { .. })));
        world.forget_past(at(2));
        assert!(world.decide(&scale(1), who(2)).is_ok());
        world.forget_past(at(120));
        assert!(world.steered_until(&app.name, at(120)).is_none());
    }

    #[test]
    fn what_was_removed_is_not_removed_again() {
        let (world, app) = world_with("", |_, _| Intent { removed: true, ..Intent::new(at(0)) });
        let remove = Command::Remove(app.name.clone());
        let decided = world.decide(&remove, Decider { by: "me", now: at(1), secret: "" }).unwrap();
        assert!(decided.writes.is_empty() && decided.done.said.contains("removed already"), "{}", decided.done.said);
    }

    #[test]
    fn who_starts_an_app_that_is_scaled_to_none_is_told_what_starts_it() {
        let name = AppName::parse("shop").unwrap();
        for (replicas, told) in [(Some(0), true), (Some(1), false), (None, false)] {
            let (world, _) = world_with("", |_, _| Intent { replicas, ..Intent::new(at(0)) });
            for command in [Command::Start(name.clone()), Command::Restart(name.clone())] {
                let decided = world.decide(&command, Decider { by: "me", now: at(1), secret: "" }).unwrap();
                let said = decided.done.said;
                assert_eq!(said.contains("`platformer scale shop 1`"), told, "{replicas:?}: {said}");
            }
        }
    }
}
