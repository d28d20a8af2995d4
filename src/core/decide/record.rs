//! A decision as it is recorded, and as it is told.

use super::command::Done;
use super::refusal::Refusal;
use super::request::Decider;
use crate::core::deploy::{Deployment, Entry};
use crate::core::names::AppName;
use crate::core::world::{Action, Intent, Record};

/// What records a decision, and what whoever asked is told.
pub(super) type Decision = Result<(Vec<Action>, Done), Refusal>;

/// Records a deployment's new state.
pub(super) fn record(
    app: &AppName,
    mut intent: Intent,
    deployment: Deployment,
    action: &str,
    who: Decider<'_>,
) -> (Vec<Action>, Done) {
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
    (vec![Action::Record(Record::new(app.clone(), intent, vec![entry]))], Done { said, deployment })
}

/// Records a decision that concerns no deployment.
pub(super) fn note(app: &AppName, intent: Intent, action: &str, said: String, who: Decider<'_>) -> (Vec<Action>, Done) {
    let entry = Entry {
        at: who.now,
        by: who.by.to_owned(),
        action: action.to_owned(),
        release: intent.stable.clone(),
        state: None,
        reason: said.clone(),
        numbers: std::collections::BTreeMap::new(),
    };
    (vec![Action::Record(Record::new(app.clone(), intent, vec![entry]))], Done { said, deployment: None })
}
