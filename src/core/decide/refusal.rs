//! Why something that was asked is not done.

use std::sync::Arc;

use crate::core::deploy::Deployment;
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

pub(super) fn refuse(app: &AppName, reason: String) -> Refusal {
    Refusal::State { app: app.clone(), reason }
}
