//! What people ask of an app, and why it may be refused.

use jiff::Timestamp;

use super::{Action, Closing, Intent, World};
use crate::core::names::AppName;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Scale {
        app: AppName,
        replicas: u16,
    },
    Stop(AppName),
    Start(AppName),
    /// Replace every instance, one after the other.
    Restart(AppName),
    /// Stop the app and forget its release; its files stay.
    Remove(AppName),
    Close {
        keep_apps: bool,
    },
}

/// What was decided, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done(pub String);

/// Why a command was not taken. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no app {0}; `platformer status` lists those there are")]
    Unknown(AppName),
    #[error("{app} is not declared, its containers were started by hand; {remedy}")]
    Undeclared { app: AppName, remedy: &'static str },
    #[error("{replicas} instances of {app}: 0 to 100 are allowed")]
    TooMany { app: AppName, replicas: u16 },
    #[error("the platform is going down")]
    Closing,
}

impl World {
    /// Decides on a command: the actions that record it, and what to tell the one who asked.
    pub fn decide(&mut self, command: &Command, now: Timestamp) -> Result<(Vec<Action>, Done), Refusal> {
        if self.closing.is_some() {
            return Err(Refusal::Closing);
        }
        match command {
            Command::Scale { app, replicas } if *replicas > 100 => {
                Err(Refusal::TooMany { app: app.clone(), replicas: *replicas })
            }
            Command::Scale { app, replicas } => self.change(
                app,
                now,
                |i| i.replicas = Some(*replicas),
                format!("{app} is to have {replicas} instances"),
            ),
            Command::Stop(app) => self.change(app, now, |i| i.stopped = true, format!("{app} is being stopped")),
            Command::Start(app) => {
                self.backoff.remove(app);
                self.change(app, now, |i| (i.stopped, i.removed) = (false, false), format!("{app} is being started"))
            }
            Command::Restart(app) => {
                self.backoff.remove(app);
                let said = format!("the instances of {app} are being replaced");
                self.change(app, now, |i| (i.renew_before, i.stopped) = (Some(now), false), said)
            }
            Command::Remove(app) => {
                self.change(app, now, |i| (i.removed, i.stable) = (true, None), format!("{app} is being removed"))
            }
            Command::Close { keep_apps } => {
                self.closing = Some(Closing { keep_apps: *keep_apps });
                Ok((Vec::new(), Done("the platform is going down".into())))
            }
        }
    }

    fn change(
        &self,
        app: &AppName,
        now: Timestamp,
        edit: impl FnOnce(&mut Intent),
        said: String,
    ) -> Result<(Vec<Action>, Done), Refusal> {
        self.known(app)?;
        let mut intent = self.intents.get(app).cloned().unwrap_or_else(|| Intent::new(now));
        edit(&mut intent);
        Ok((vec![Action::Record { app: app.clone(), intent: Some(intent) }], Done(said)))
    }

    fn known(&self, app: &AppName) -> Result<(), Refusal> {
        if self.declared.contains_key(app) {
            return Ok(());
        }
        let by_hand = self.instances().iter().any(|i| i.claim.app == *app);
        Err(match by_hand {
            true => Refusal::Undeclared {
                app: app.clone(),
                remedy: "start and stop them with docker, or declare the app with `platformer apply`",
            },
            false => Refusal::Unknown(app.clone()),
        })
    }
}
