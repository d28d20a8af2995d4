//! Containers as they are seen: what they claim, whose network they share, how their runs end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Claim, Claimed, Subject, World};
use crate::core::claim::{self, Instance};
use crate::core::container::{Container, ContainerId, RunState};
use crate::core::names::{AppName, Version};

/// An instance that lived this long did not crash at start: the next death begins with a short pause again.
const HEALTHY_LIFE: Duration = Duration::from_secs(10);
/// A chain of containers that share each other's network is followed so far.
const JOINTS: usize = 4;

/// Whether a container is seen in the state in which it was: the same run of it, as well, and as much on networks.
fn is_as_before(before: &Container, now: &Container) -> bool {
    let is = |c: &Container| (c.is_running(), c.state == RunState::Paused, c.health, c.attachments.is_empty());
    before.started_at == now.started_at && is(before) == is(now)
}

impl World {
    pub(super) fn see(&mut self, container: Container, now: Timestamp) {
        if self.removed.contains(&container.id) {
            return;
        }
        let known = self.containers.get(&container.id).map(|known| (known.container.clone(), known.since));
        let (before, was_since) = known.unzip();
        let (id, was_able) = (container.id.clone(), self.is_able(&container.id));
        let container = self.joined(complete(container, before.as_deref()));
        let left = self.app_of(&container.id);
        let claim = self.claim_of(&container);
        let since = match (&before, was_since) {
            (Some(before), Some(since)) if is_as_before(before, &container) => since,
            // As it was found: nobody knows for how long.
            (None, _) => container.started_at.unwrap_or(container.created_at).min(now),
            (Some(_), _) => now,
        };
        let has_run = before.is_some_and(|b| b.is_running() || b.started_at != container.started_at);
        if let (true, Some(reason), Claim::Instance(instance)) = (has_run, container.state.ending(), &claim)
            && instance.managed
            && !self.retiring.contains_key(&container.id)
        {
            self.ended(released(instance), &container, &reason, now);
        }
        let app = match &claim {
            Claim::Instance(instance) => Some(instance.app.clone()),
            Claim::None | Claim::Foreign | Claim::Refused { .. } => None,
        };
        app.iter().for_each(|app| _ = self.departed.remove(app));
        let unknown_labels = claim::unknown_labels(&container);
        self.containers
            .insert(container.id.clone(), Claimed { container: Arc::new(container), claim, since, unknown_labels });
        if left != app {
            self.left(left, now);
        }
        self.may_have_lost(&id, was_able, now);
    }

    pub(super) fn forget(&mut self, id: &ContainerId, now: Timestamp) {
        let app = self.app_of(id);
        let known = self.containers.remove(id);
        let is_leaving = self.retiring.remove(id).is_some();
        self.health.remove(id);
        self.restless.remove(&Subject::Container(id.clone()));
        self.busy.remove(id);
        if let Some((container, instance)) = known.as_ref().and_then(Claimed::instance)
            && instance.managed
            && container.is_running()
            && !is_leaving
        {
            self.ended(released(instance), container, "it was removed by somebody else", now);
        }
        self.left(app, now);
    }

    /// A run of one of our instances ended, and nobody of us meant it to.
    fn ended(&mut self, release: (AppName, Version), container: &Container, reason: &str, now: Timestamp) {
        let lived = container.started_at.map(|at| now.duration_since(at)).unwrap_or_default();
        if lived.unsigned_abs() > HEALTHY_LIFE {
            self.backoff.remove(&release);
        }
        self.back_off(release, format!("{}: {reason}", container.name), now);
    }

    /// The last container of an undeclared app may be gone, or be called otherwise by now.
    fn left(&mut self, app: Option<AppName>, now: Timestamp) {
        if let Some(app) = app.filter(|app| !self.declared.contains_key(app)) {
            let mut others = self.containers.values().filter_map(Claimed::instance);
            if !others.any(|(_, instance)| instance.app == app) {
                self.departed.insert(app, now);
            }
        }
    }

    fn app_of(&self, id: &ContainerId) -> Option<AppName> {
        Some(self.containers.get(id)?.instance()?.1.app.clone())
    }

    /// The release of one of our instances.
    pub(super) fn release_of(&self, id: &ContainerId) -> Option<(AppName, Version)> {
        let (_, instance) = self.containers.get(id)?.instance()?;
        instance.managed.then(|| released(instance))
    }

    /// Every instance that this platform started.
    pub fn ours(&self) -> impl Iterator<Item = (&Arc<Container>, &Instance)> {
        self.containers.values().filter_map(Claimed::instance).filter(|(_, instance)| instance.managed)
    }

    /// Containers of ours that are no instances: gates.
    pub fn gates_there(&self) -> impl Iterator<Item = &Arc<Container>> {
        let gates = self.containers.values().filter(|known| known.claim == Claim::None);
        gates.map(|known| &known.container).filter(|container| self.is_ours(container))
    }

    /// The container at the addresses of the one whose network it shares; at none while that one does not run.
    fn joined(&self, container: Container) -> Container {
        if container.joined.is_none() {
            return container;
        }
        let next = |c: &Arc<Container>| self.containers.get(c.joined.as_ref()?).map(|known| known.container.clone());
        let first = container.joined.as_ref().and_then(|id| self.containers.get(id)).map(|k| k.container.clone());
        let chain = std::iter::successors(first, next).take(JOINTS);
        let holder = chain.last().filter(|holder| holder.joined.is_none() && holder.is_running());
        let attachments = holder.as_ref().filter(|_| container.is_running()).map(|h| h.attachments.clone());
        Container {
            attachments: attachments.unwrap_or_default(),
            host_network: holder.is_some_and(|holder| holder.host_network),
            ..container
        }
    }

    /// Follows those whose networks are shared.
    pub(super) fn join_anew(&mut self, now: Timestamp) {
        let moved: Vec<_> = self
            .containers
            .values()
            .filter(|known| known.container.joined.is_some())
            .map(|known| self.joined((*known.container).clone()))
            .collect();
        for container in moved {
            let (id, was_able) = (container.id.clone(), self.is_able(&container.id));
            if let Some(known) = self.containers.get_mut(&id).filter(|k| *k.container != container) {
                known.container = Arc::new(container);
                self.may_have_lost(&id, was_able, now);
            }
        }
    }
}

/// Where the engine could describe a container in part only, the rest is as it was while it ran the same way.
fn complete(seen: Container, before: Option<&Container>) -> Container {
    match before.filter(|before| seen.trouble.is_some() && before.is_running() == seen.is_running()) {
        Some(before) => Container {
            name: seen.name,
            attachments: seen.attachments,
            state: seen.state,
            trouble: seen.trouble,
            ..before.clone()
        },
        None => seen,
    }
}

/// The release that an instance says it is of.
fn released(instance: &Instance) -> (AppName, Version) {
    (instance.app.clone(), instance.version.clone().unwrap_or_else(Version::latest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::core::container::label;
    use crate::core::decide::{Command, Decider};
    use crate::core::release::Release;
    use crate::core::testing::{at, container, planned, planned_and_recorded, world_with};
    use crate::core::view::status;
    use crate::core::world::{Action, Fact, Intent, Write};

    const OLD: [(&str, &str); 3] = [(label::APP, "shop"), (label::VERSION, "1.0"), (label::OWNER, "me")];

    /// A world in which shop 1.0 is stable, with these containers.
    fn world(containers: Vec<Container>) -> World {
        let version = Version::parse("1.0").unwrap();
        let (mut world, _) = world_with("image = \"shop:1.0\"", |app, index| {
            let release = Release::draft(app, version.clone(), None, index, at(0));
            let release = Release { image_digest: Some("sha256:1".into()), proven: true, ..release };
            let releases = [(version.clone(), release)].into();
            Intent { stable: Some(version.clone()), releases, ..Intent::new(at(0)) }
        });
        world.apply(Fact::Listed { containers, networks: Vec::new(), local: Vec::new() }, at(0));
        world
    }

    fn unproven(name: &str, labels: &[(&str, &str)]) -> Container {
        Container { ours: false, ..container(name, labels) }
    }

    fn problems_of(world: &mut World, subject: &str) -> Vec<String> {
        let problems = planned(world, at(1)).problems;
        problems.into_iter().filter(|p| p.subject == subject).map(|p| p.reason).collect()
    }

    fn address(world: &World, name: &str) -> Option<String> {
        let members = world.instances();
        let member = members.iter().find(|m| &*m.container.name == name)?;
        member.address.as_ref().ok().map(ToString::to_string)
    }

    #[test]
    fn what_an_older_version_started_is_taken_over_once_and_nothing_is_started_in_its_place() {
        let stranger = [(label::APP, "blog"), (label::VERSION, "1.0"), (label::OWNER, "me")];
        let mut world = world(vec![unproven("shop-1.0-1", &OLD), unproven("blog-1.0-1", &stranger)]);
        world.apply(Fact::Inherited(None), at(0));
        let first = planned_and_recorded(&mut world, at(1));
        let expected = BTreeSet::from([ContainerId("shop-1.0-1".into())]);
        assert!(first.actions.is_empty(), "{:?}", first.actions);
        match first.writes.as_slice() {
            [Write::Inherited(ids)] => assert_eq!(*ids, expected, "what is on record, and nothing else"),
            other => panic!("{other:?}"),
        }
        let next = planned(&mut world, at(1));
        assert!(!next.writes.iter().any(|w| matches!(w, Write::Inherited(_))), "{:?}", next.writes);
        assert!(!next.actions.iter().any(|a| matches!(a, Action::Start(_))), "{:?}", next.actions);
        assert!(world.ours().map(|(c, _)| c.id.clone()).eq(expected));
        // Whoever learns the owner's name later gets nothing by it.
        world.apply(Fact::Seen(Box::new(unproven("shop-1.0-2", &OLD))), at(2));
        assert_eq!(world.ours().count(), 1);
    }

    #[test]
    fn who_guesses_our_owner_label_is_reported_and_not_stopped() {
        let mut world = world(vec![container("shop-1.0-1", &OLD), unproven("mine", &OLD)]);
        assert!(problems_of(&mut world, "container mine")[0].contains("did not start it"));
        let app = AppName::parse("shop").unwrap();
        let who = Decider { by: "test", now: at(2), secret: "s" };
        let decided = world.decide(&Command::Remove(app), who).unwrap();
        decided.writes.iter().for_each(|write| world.take_over(write));
        planned(&mut world, at(3));
        let retiring: Vec<_> = world.retiring.keys().map(ToString::to_string).collect();
        assert_eq!(retiring, ["shop-1.0-1"]);
    }

    #[test]
    fn who_shares_another_containers_network_is_reached_there_and_follows_it() {
        let (id, app) = (ContainerId("vpn".into()), [(label::APP, "torrent")]);
        let torrent = Container { joined: Some(id.clone()), attachments: Vec::new(), ..container("torrent", &app) };
        let vpn = container("vpn", &[]);
        let mut world = world(vec![torrent, vpn.clone()]);
        let there = format!("{}:8080", vpn.address_on("platform").unwrap());
        assert_eq!(address(&world, "torrent"), Some(there));
        let mut moved = vpn.clone();
        moved.attachments[0].addresses = vec![[172, 30, 9, 9].into()];
        world.apply(Fact::Seen(Box::new(moved)), at(1));
        assert_eq!(address(&world, "torrent").as_deref(), Some("172.30.9.9:8080"));
        let state = RunState::Exited { code: 0, oom: false, at: Some(at(2)) };
        world.apply(Fact::Seen(Box::new(Container { state, attachments: Vec::new(), ..vpn })), at(2));
        let said = problems_of(&mut world, "container torrent");
        assert_eq!(said, ["it shares the network of vpn, which is on none"]);
        world.apply(Fact::Gone(id), at(3));
        assert_eq!(address(&world, "torrent"), None);
    }

    #[test]
    fn a_label_leads_nobody_to_our_own_ports() {
        let labels = [(label::APP, "api"), (label::PORT, "7700")];
        let mut world = world(vec![Container { host_network: true, ..container("api", &labels) }]);
        assert_eq!(address(&world, "api").as_deref(), Some("127.0.0.1:7700"));
        world.platform.listeners = vec![([127, 0, 0, 1], 7700).into()];
        let said = problems_of(&mut world, "container api");
        assert!(said.iter().any(|reason| reason.contains("the platform's own")), "{said:?}");
    }

    #[test]
    fn an_app_that_left_by_a_rename_is_gone_like_one_that_died() {
        let route = [(label::ROUTE, "true")];
        let web = container("blog_web_1", &route);
        let mut world = world(vec![web.clone()]);
        let renamed = Container { name: "0a1b2c3d4e5f_blog_web_1".into(), ..web };
        world.apply(Fact::Seen(Box::new(renamed)), at(5));
        let names: Vec<_> =
            status(&world, &planned(&mut world.clone(), at(5))).apps.into_iter().map(|a| a.name).collect();
        assert!(!names.iter().any(|name| name.as_str().contains("web")), "{names:?}");
        assert_eq!(world.departed.get(&AppName::parse("blog-web").unwrap()), Some(&at(5)));
    }

    #[test]
    fn a_container_that_the_engine_cannot_describe_is_one_problem_and_stays_as_it_was() {
        let mut world = world(vec![container("shop-1.0-1", &OLD), container("db", &[])]);
        let id = ContainerId("shop-1.0-1".into());
        world.apply(
            Fact::Probed {
                subject: crate::core::world::Subject::Container(id.clone()),
                started_at: Some(at(0)),
                verdict: Ok(()),
            },
            at(0),
        );
        let partly = |name, labels: &[(&str, &str)]| Container {
            started_at: None,
            trouble: Some("500: no".into()),
            exposed: Vec::new(),
            ..container(name, labels)
        };
        let listed = vec![partly("shop-1.0-1", &OLD), partly("db", &[])];
        world.apply(Fact::Listed { containers: listed, networks: Vec::new(), local: Vec::new() }, at(1));
        assert!(world.instances()[0].is_ready());
        assert_eq!(problems_of(&mut world, "container db"), ["Docker does not describe it: 500: no"]);
    }

    #[test]
    fn a_state_is_counted_from_when_it_began_and_not_from_the_start() {
        let web = Container { started_at: Some(at(1)), ..container("web", &[(label::APP, "web")]) };
        let mut world = world(vec![web.clone()]);
        let since = |world: &World| world.instances().iter().find(|m| &*m.container.name == "web").map(|m| m.since);
        let mut see = |change: Container, now: i64| {
            world.apply(Fact::Seen(Box::new(change)), at(now));
            since(&world)
        };
        let paused = Container { state: RunState::Paused, ..web.clone() };
        assert_eq!((see(paused.clone(), 50), see(paused, 60)), (Some(at(50)), Some(at(50))));
        let ill = Container { health: Some(crate::core::container::DockerHealth::Unhealthy), ..web.clone() };
        assert_eq!(see(ill, 70), Some(at(70)));
        let alone =
            Container { attachments: Vec::new(), health: Some(crate::core::container::DockerHealth::Healthy), ..web };
        assert_eq!(see(alone, 80), Some(at(80)));
    }
}
