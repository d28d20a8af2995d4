//! Containers and endpoints that are ready and not ready in turn: each turn is a switch, so they are held out of the
//! routes until they have come to rest.
//!
//! Route flap damping as BGP's routers do it (RFC 2439), with a debt that is paid off at a steady rate in place of a
//! penalty that decays.

use std::time::Duration;

use jiff::Timestamp;

use super::{Condition, Subject, World};
use crate::core::container::ContainerId;

/// What each loss of readiness adds to the debt.
const COST: Duration = Duration::from_secs(10);
/// Who owes more than this is held out until all is paid: at the eighth loss within a few seconds, as nobody restarts
/// what he works on, and never who is lost six times a minute at most.
const MOST: Duration = Duration::from_secs(75);
/// Nobody owes more than this: so long is waited for one that has come to rest.
const LONGEST: Duration = Duration::from_secs(120);

/// What somebody owes for the readiness that he lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debt {
    /// When all is paid.
    pub paid: Timestamp,
    /// Since when he is held out for it, if he is.
    pub held: Option<Timestamp>,
}

impl Debt {
    /// Another loss of readiness.
    fn grown(before: Option<Self>, now: Timestamp) -> Self {
        let owed = before.map_or(now, |debt| debt.paid.max(now)) + COST;
        let held = before.and_then(|debt| debt.held).or((owed > now + MOST).then_some(now));
        Self { paid: owed.min(now + LONGEST), held }
    }
}

impl World {
    /// Whether a container could be given requests as it is now, held out or not.
    pub(super) fn is_able(&self, id: &ContainerId) -> bool {
        let Some(known) = self.containers.get(id) else { return false };
        let (Some(address), Some((container, claim))) = (self.address_of(known), known.instance()) else {
            return false;
        };
        let app = self.declared_app(&claim.app).map(AsRef::as_ref);
        self.measured(container, app, address).0 == Condition::Ready
    }

    /// Notes the loss of a container that could be given requests before something was told of it.
    pub(super) fn may_have_lost(&mut self, id: &ContainerId, was_able: bool, now: Timestamp) {
        if was_able && !self.is_able(id) {
            self.has_lost(Subject::Container(id.clone()), now);
        }
    }

    /// Notes that a container or endpoint has just lost its readiness.
    pub(super) fn has_lost(&mut self, subject: Subject, now: Timestamp) {
        let debt = Debt::grown(self.restless.get(&subject).copied(), now);
        self.restless.insert(subject, debt);
    }

    /// Since when somebody is held out of the routes.
    pub fn held_since(&self, subject: &Subject) -> Option<Timestamp> {
        self.restless.get(subject)?.held
    }

    /// When the next of those who are held out is let in.
    pub fn let_in_at(&self) -> Option<Timestamp> {
        self.restless.values().filter(|debt| debt.held.is_some()).map(|debt| debt.paid).min()
    }
}

/// Why somebody who is held out is given nothing.
pub const RESTLESS: &str =
    "it is ready and not ready in turn; it is given no requests until it has been steady for a while";
/// What mends it.
pub const REST: &str =
    "find out why it comes and goes; it is let in again by itself, within two minutes of its last loss";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::core::container::{Container, RunState, label};
    use crate::core::names::AppName;
    use crate::core::problem::ProblemKind;
    use crate::core::service::{Endpoint, EndpointId, Service, ServiceUrl};
    use crate::core::templates::Templates;
    use crate::core::testing::{at, container, planned, world_with};
    use crate::core::world::{Fact, Intent};

    /// A container of an app without a file, beside a steady one of another app.
    fn world() -> (World, Container) {
        let (mut world, _) = world_with("", |_, _| Intent::new(at(0)));
        world.templates = Arc::new(Templates::built_in());
        let web = container("web", &[(label::APP, "api")]);
        let shop = container("steady", &[(label::APP, "steady")]);
        for one in [web.clone(), shop] {
            let (id, started_at) = (one.id.clone(), one.started_at);
            world.apply(Fact::Seen(Box::new(one)), at(0));
            probed(&mut world, Subject::Container(id), started_at, true, 0);
        }
        (world, web)
    }

    fn probed(world: &mut World, subject: Subject, started_at: Option<Timestamp>, is_ready: bool, now: i64) {
        let verdict = if is_ready { Ok(()) } else { Err("connection refused".to_owned()) };
        world.apply(Fact::Probed { subject, started_at, verdict }, at(now));
    }

    /// How often the routes of `world` changed while something happened each second.
    fn changes(world: &mut World, seconds: std::ops::Range<i64>, mut happens: impl FnMut(&mut World, i64)) -> usize {
        let mut routes = planned(world, at(seconds.start)).routes;
        let mut changes = 0;
        for second in seconds {
            happens(world, second);
            let now = planned(world, at(second)).routes;
            changes += usize::from(now != routes);
            routes = now;
        }
        changes
    }

    fn kinds(world: &mut World, subject: &str, now: i64) -> Vec<ProblemKind> {
        let problems = planned(world, at(now)).problems;
        problems.iter().filter(|p| p.subject == subject).map(|p| p.kind).collect()
    }

    #[test]
    fn who_is_ready_and_not_ready_in_turn_is_held_out_and_let_in_once_it_is_steady() {
        let (mut world, web) = world();
        let subject = Subject::Container(web.id.clone());
        let flips = |world: &mut World, second: i64| {
            probed(world, subject.clone(), web.started_at, second % 2 == 0, second);
        };
        assert_eq!(changes(&mut world, 1..600, flips), 19, "out, in, … and out at the tenth loss");
        assert_eq!(kinds(&mut world, "container web", 600), [ProblemKind::Restless]);
        assert_eq!(kinds(&mut world, "container steady", 600), []);
        let member = |world: &World| world.instances().iter().any(|m| &*m.container.name == "web" && m.is_ready());
        probed(&mut world, subject, web.started_at, true, 600);
        let woken = planned(&mut world, at(600)).wake_at.unwrap();
        assert!(!member(&world) && woken > at(600) && woken <= at(600) + LONGEST, "{woken}");
        planned(&mut world, woken);
        assert!(member(&world));
        assert!(world.restless.is_empty());
    }

    #[test]
    fn each_way_to_come_and_go_is_counted() {
        let (mut world, web) = world();
        let paused = |world: &mut World, second: i64| {
            let state = if second % 2 == 0 { RunState::Running } else { RunState::Paused };
            world.apply(Fact::Seen(Box::new(Container { state, ..web.clone() })), at(second));
        };
        assert_eq!(changes(&mut world, 1..100, paused), 19);
        let (mut world, web) = self::world();
        let restarts = |world: &mut World, second: i64| {
            let id = web.id.clone();
            match second % 3 {
                0 => world.apply(Fact::Died { id, code: 0, at: at(second) }, at(second)),
                1 => {
                    let again = Container { started_at: Some(at(second)), ..web.clone() };
                    world.apply(Fact::Seen(Box::new(again)), at(second));
                }
                _ => probed(world, Subject::Container(id), Some(at(second - 1)), true, second),
            }
        };
        assert_eq!(changes(&mut world, 3..300, restarts), 21);
    }

    #[test]
    fn what_is_lost_now_and_then_is_held_out_by_nobody() {
        let (mut world, web) = world();
        let subject = Subject::Container(web.id.clone());
        let flips = |world: &mut World, second: i64| {
            probed(world, subject.clone(), web.started_at, second % 10 != 0, second);
        };
        assert_eq!(changes(&mut world, 1..601, flips), 2 * 60 - 1);
    }

    #[test]
    fn an_endpoint_that_comes_and_goes_is_held_out_too() {
        let (mut world, _) = world();
        let (name, id) = (AppName::parse("legacy").unwrap(), EndpointId::parse("legacy").unwrap());
        let url = ServiceUrl::parse("http://10.0.0.5:80").unwrap();
        let endpoint = Endpoint { url, health: None, tags: vec![], at: at(0), by: "t".into(), inside: false };
        let service = Service { endpoints: BTreeMap::from([(id.clone(), endpoint)]) };
        world.apply(Fact::Registered(BTreeMap::from([(name.clone(), service)])), at(0));
        let subject = Subject::Endpoint(name, id);
        let flips = |world: &mut World, second: i64| {
            probed(world, subject.clone(), Some(at(0)), second % 2 == 0, second);
        };
        assert_eq!(changes(&mut world, 0..100, flips), 19);
        assert_eq!(kinds(&mut world, "service legacy", 100), [ProblemKind::Restless]);
    }
}
