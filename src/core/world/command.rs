//! What people ask of an app, and why it may be refused.

use std::sync::Arc;

use super::steer::{Decider, Steer, note};
use super::{Action, Closing, Intent, World};
use crate::core::deploy::Deployment;
use crate::core::names::{AppName, nearest};
use crate::core::release::Images;
use crate::core::router_keys::Wishes;
use crate::core::service::{Endpoint, EndpointId};

#[derive(Debug, Clone, PartialEq)]
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
    Steer {
        app: AppName,
        steer: Steer,
    },
    /// The older routers' keys of several apps, written together: all of it or nothing.
    Keys {
        wishes: Wishes,
        /// What the names of the images mean that it is about; `None` where nobody has asked yet.
        images: Option<Images>,
    },
    /// Make a service known, or one more of its addresses.
    Register {
        name: AppName,
        id: EndpointId,
        endpoint: Box<Endpoint>,
        /// In place of every other address under the name.
        alone: bool,
    },
    Deregister {
        name: AppName,
        /// Without one every address.
        id: Option<EndpointId>,
    },
    Close {
        keep_apps: bool,
    },
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// In a sentence.
    pub said: String,
    /// The deployment that it concerns.
    pub deployment: Option<Arc<Deployment>>,
}

/// Why a command was not taken. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no app {app}; {hint}")]
    Unknown {
        app: AppName,
        /// The one that was probably meant, or where to look.
        hint: String,
    },
    #[error("{app} is not declared, its containers were started by hand; {remedy}")]
    Undeclared { app: AppName, remedy: &'static str },
    #[error("{replicas} instances of {app}: 0 to 100 are allowed")]
    TooMany { app: AppName, replicas: u16 },
    #[error("{app}: {reason}")]
    State { app: AppName, reason: String },
    #[error("{app}: deployment {id} is under way ({state}); abort it, or take its place with --replace")]
    Busy { app: AppName, id: Arc<str>, state: &'static str },
    /// What was written to the older routers' keys makes no sense as the app stands.
    #[error("{0}")]
    Keys(String),
    #[error("service {name}: {reason}")]
    Service { name: AppName, reason: String },
    #[error("there is no service {what}; {hint}")]
    NoService { what: String, hint: String },
    #[error("the platform is going down")]
    Closing,
}

impl Refusal {
    pub(super) fn busy(active: &Deployment) -> Self {
        Self::Busy { app: active.app.clone(), id: active.id.clone(), state: active.state() }
    }
}

impl World {
    /// Decides on a command: the actions that record it, and what to tell the one who asked.
    pub fn decide(&mut self, command: &Command, who: Decider<'_>) -> Result<(Vec<Action>, Done), Refusal> {
        if self.closing.is_some() {
            return Err(Refusal::Closing);
        }
        match command {
            Command::Scale { app, replicas } if *replicas > 100 => {
                Err(Refusal::TooMany { app: app.clone(), replicas: *replicas })
            }
            Command::Scale { app, replicas } => {
                let said = format!("{app} is to have {replicas} instances");
                self.change(app, "scale", said, who, |i| i.replicas = Some(*replicas))
            }
            Command::Stop(app) => {
                self.change(app, "stop", format!("{app} is being stopped"), who, |i| i.stopped = true)
            }
            Command::Start(app) => {
                self.backoff.retain(|(name, _), _| name != app);
                let said = format!("{app} is being started");
                self.change(app, "start", said, who, |i| (i.stopped, i.removed) = (false, false))
            }
            Command::Restart(app) => {
                self.backoff.retain(|(name, _), _| name != app);
                let said = format!("the instances of {app} are being replaced");
                self.change(app, "restart", said, who, |i| (i.renew_before, i.stopped) = (Some(who.now), false))
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
                self.closing = Some(Closing { keep_apps: *keep_apps });
                Ok((Vec::new(), Done { said: "the platform is going down".into(), deployment: None }))
            }
        }
    }

    fn change(
        &self,
        app: &AppName,
        action: &str,
        said: String,
        who: Decider<'_>,
        edit: impl FnOnce(&mut Intent),
    ) -> Result<(Vec<Action>, Done), Refusal> {
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
