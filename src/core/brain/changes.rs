//! What a person would want to hear about, between two statuses.

use std::collections::BTreeMap;

use crate::core::names::AppName;
use crate::core::view::Status;
use crate::core::world::{Condition, EngineState};

/// Each as kind, subject and message.
pub(super) fn changes(before: &Status, after: &Status) -> Vec<(&'static str, String, String)> {
    let mut changes = Vec::new();
    if before.generation.live != after.generation.live
        && let Some(live) = after.generation.live
    {
        changes.push(("generation", "nginx".into(), format!("serves generation {live}")));
    }
    if std::mem::discriminant(&before.engine.state) != std::mem::discriminant(&after.engine.state) {
        changes.push((
            "engine",
            "docker".into(),
            if matches!(after.engine.state, EngineState::Connected { .. }) { "answers" } else { "does not answer" }
                .into(),
        ));
    }
    let instances = |status: &Status| -> BTreeMap<String, (AppName, Condition, Option<String>)> {
        status
            .apps
            .iter()
            .flat_map(|a| a.instances.iter().map(|i| (i.name.to_string(), (a.name.clone(), i.state, i.reason.clone()))))
            .collect()
    };
    let (old, new) = (instances(before), instances(after));
    for (name, (app, state, reason)) in &new {
        if old.get(name).map(|(_, s, _)| s) != Some(state) {
            let reason = reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
            changes.push((
                "instance",
                format!("container {name}"),
                format!("of {app} is {}{reason}", format!("{state:?}").to_lowercase()),
            ));
        }
    }
    for (name, (app, ..)) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        changes.push(("instance", format!("container {name}"), format!("of {app} is gone")));
    }
    changes
}
