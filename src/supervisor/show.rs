//! What readers are shown: the view of a world and the plan made from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::core::app::StickyMode;
use crate::core::decide::router_keys::Keys;
use crate::core::names::AppName;
use crate::core::plan::Plan;
use crate::core::templates::Templates;
use crate::core::view::{Status, services, status};
use crate::core::world::{Intent, World};
use crate::ports::snapshot::{Releases, View};

/// What readers see before anything is known.
pub fn first_view(world: &World, templates: &Arc<Templates>) -> View {
    let status = status(world, &Plan::default());
    View {
        status,
        routes: Arc::default(),
        live_routes: None,
        zone: None,
        services: Arc::default(),
        index: None,
        templates: templates.clone(),
        releases: Arc::default(),
        number: 1,
        informed: false,
    }
}

/// What they see after `before`; what has not changed is shared with it.
pub fn next_view(before: &View, world: &World, status: Status, plan: &Plan, now: Timestamp) -> View {
    let releases = releases(before, world);
    let services = Some(services(world)).filter(|all| *all != *before.services);
    let services = services.map_or_else(|| before.services.clone(), Arc::new);
    let is_same = Arc::ptr_eq(&releases, &before.releases)
        && Arc::ptr_eq(&services, &before.services)
        && status.apps == before.status.apps;
    View {
        // The time is later than any number that was given out before a restart.
        number: if is_same { before.number } else { (before.number + 1).max(milliseconds(now)) },
        status,
        routes: plan.routes.clone(),
        live_routes: world.balancer.live.as_ref().map(|l| l.routes.clone()),
        zone: world.published.clone(),
        index: world.index.clone(),
        templates: world.templates.clone(),
        services,
        releases,
        informed: world.is_informed(),
    }
}

fn releases(before: &View, world: &World) -> Arc<BTreeMap<AppName, Releases>> {
    let keys = |app: &AppName, intent: &Intent| {
        let declared = world.declared.get(app).map(|a| a.sticky.mode);
        Keys::of(intent, declared.unwrap_or(StickyMode::Visitor))
    };
    let of = |app: &AppName, intent: &Intent| Releases {
        keys: keys(app, intent),
        all: intent.releases.clone(),
        stable: intent.stable.clone(),
        candidate: intent.candidate().cloned(),
        previous: intent.previous.clone(),
    };
    let is_same = |(app, intent): (&AppName, &Intent)| {
        before.releases.get(app).is_some_and(|r| {
            r.all == intent.releases
                && (&r.stable, r.candidate.as_ref(), &r.previous)
                    == (&intent.stable, intent.candidate(), &intent.previous)
                && r.keys == keys(app, intent)
        })
    };
    let intents = &world.intents;
    match before.releases.len() == intents.len() && intents.iter().all(is_same) {
        true => before.releases.clone(),
        false => Arc::new(intents.iter().map(|(app, intent)| (app.clone(), of(app, intent))).collect()),
    }
}

fn milliseconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or_default()
}
