//! Why something that was asked is not done.

use std::sync::Arc;

use jiff::Timestamp;

use crate::core::deploy::{Deployment, DeploymentState};
use crate::core::names::AppName;

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
    #[error("{app} has been steered too often within the last two minutes; it is heard again at {until}")]
    TooOften { app: AppName, until: Timestamp },
    #[error("{app}: {reason}")]
    State { app: AppName, reason: String },
    #[error("{app}: deployment {id} is under way ({state}); {remedy}")]
    Busy { app: AppName, id: Arc<str>, state: DeploymentState, remedy: String },
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
    /// Another deployment is refused beside this one, whose place it could take.
    pub(super) fn busy(active: &Deployment) -> Self {
        Self::beside(active, "abort it, or take its place with --replace".into())
    }

    /// What cannot take the place of a deployment has to wait for its end.
    pub(super) fn until_its_end(active: &Deployment) -> Self {
        Self::beside(active, format!("wait for its end, or end it with `platformer abort {}`", active.app))
    }

    fn beside(active: &Deployment, remedy: String) -> Self {
        Self::Busy { app: active.app.clone(), id: active.id.clone(), state: active.state(), remedy }
    }
}

pub(super) fn refuse(app: &AppName, reason: String) -> Refusal {
    Refusal::State { app: app.clone(), reason }
}
