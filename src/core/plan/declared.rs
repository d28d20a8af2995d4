//! Apps that were removed, and what brings them back.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::core::deploy::Entry;
use crate::core::names::AppName;
use crate::core::repository::Index;
use crate::core::world::Intent;

/// A removed app stays removed for as long as its file does. Once that has gone, one that appears declares it.
pub(super) fn declared_again(
    index: &Index,
    name: &AppName,
    intent: &Intent,
    now: Timestamp,
) -> Option<(Intent, Vec<Entry>)> {
    let path = format!("apps/{name}.toml");
    let is_declared = index.apps.contains_key(name);
    let is_there = is_declared || index.troubles.iter().any(|trouble| trouble.path == path);
    if !is_there && !intent.file_gone {
        return Some((Intent { file_gone: true, ..intent.clone() }, Vec::new()));
    }
    if !(is_declared && intent.file_gone) {
        return None;
    }
    let entry = Entry {
        at: now,
        by: "platformer".into(),
        action: "declare".into(),
        release: None,
        state: None,
        reason: format!("{path} is there again"),
        numbers: BTreeMap::new(),
    };
    Some((Intent { removed: false, file_gone: false, ..intent.clone() }, vec![entry]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::testing::{at, planned_and_recorded, world_with};
    use crate::core::world::{Fact, World};

    #[test]
    fn a_file_that_appears_is_a_declaration_and_one_that_stayed_is_still_removed() {
        let (mut world, app) =
            world_with("image = \"shop:1.0\"", |_, _| Intent { removed: true, ..Intent::new(at(0)) });
        let decided = |world: &mut World| {
            planned_and_recorded(world, at(1));
            world.declared_app(&app.name).is_some()
        };
        let there = world.index.clone().unwrap();
        assert!(!decided(&mut world), "its file stayed");
        world.apply(Fact::Indexed(Arc::new(Index::default())), at(1));
        assert!(!decided(&mut world), "its file has gone");
        // What was decided outlives the supervisor.
        let kept = serde_json::from_str(&serde_json::to_string(&world.intents[&app.name]).unwrap()).unwrap();
        world.apply(Fact::Recalled([(app.name.clone(), kept)].into()), at(1));
        world.apply(Fact::Indexed(there), at(1));
        assert!(decided(&mut world), "somebody put it there again");
    }
}
