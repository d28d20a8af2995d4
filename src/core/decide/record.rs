//! A decision as it is recorded, and as it is told.

use super::command::Done;
use super::refusal::Refusal;
use super::request::Decider;
use crate::core::deploy::{Deployment, Entry};
use crate::core::names::AppName;
use crate::core::world::{Closing, Intent, Record, Write};

/// What was decided, and is so once the ledger has it.
#[derive(Debug, Clone)]
pub struct Decided {
    pub writes: Vec<Write>,
    /// What whoever asked is told.
    pub done: Done,
    /// The platform goes down, which is no matter of the ledger's.
    pub closing: Option<Closing>,
}

impl Decided {
    pub(super) fn new(writes: Vec<Write>, done: Done) -> Self {
        Self { writes, done, closing: None }
    }
}

pub(super) type Decision = Result<Decided, Refusal>;

/// Records a deployment's new state.
pub(super) fn record(
    app: &AppName,
    mut intent: Intent,
    deployment: Deployment,
    action: &str,
    who: Decider<'_>,
) -> Decided {
    let entry = Entry::of(&deployment, action, who.by, who.now);
    let said = format!(
        "deployment {} of {app}@{} is {}: {}",
        deployment.id,
        deployment.release,
        deployment.state(),
        deployment.reason
    );
    intent.follow(deployment);
    let deployment = intent.deployment.clone();
    Decided::new(vec![Write::Decision(Record::new(app.clone(), intent, vec![entry]))], Done { said, deployment })
}

/// Records a decision that concerns no deployment.
pub(super) fn note(app: &AppName, intent: Intent, action: &str, said: String, who: Decider<'_>) -> Decided {
    let entry = Entry {
        at: who.now,
        by: who.by.to_owned(),
        action: action.to_owned(),
        release: intent.stable.clone(),
        state: None,
        reason: said.clone(),
        numbers: std::collections::BTreeMap::new(),
    };
    Decided::new(vec![Write::Decision(Record::new(app.clone(), intent, vec![entry]))], Done { said, deployment: None })
}
