//! World → what is to be done about networks: an older one of ours is moved over, and who shadows a name is told.
//!
//! Docker's own resolver answers the names and aliases of containers to all others on their network before we are asked.

use std::sync::Arc;

use super::outcome::Plan;
use crate::core::claim::Claim;
use crate::core::container::Container;
use crate::core::grants::{Grants, Leads, PARTS};
use crate::core::names::AppName;
use crate::core::problem::{Problem, ProblemKind};
use crate::core::world::{Action, Claimed, World};

/// Has whatever runs on an older network of ours join the one of today, and removes the older one once no container,
/// running or not, is on it.
pub fn move_over(world: &World, plan: &mut Plan) {
    let platform = &world.platform;
    if world.is_engine_unknown() || platform.follow_only {
        return;
    }
    let is_on = |container: &Container, name: &str| container.attachments.iter().any(|a| &*a.network == name);
    for older in world.older_networks() {
        let mut is_empty = world.starting.is_empty();
        for Claimed { container, claim, .. } in world.containers.values() {
            let (is_here, is_joined) = (is_on(container, &older.name), is_on(container, &platform.network));
            // Of one that has just ended it is not known where it was.
            let is_unclear = container.attachments.is_empty() && !container.host_network && !container.is_running();
            is_empty &= !is_here && !is_unclear;
            let joins = is_here && !is_joined && container.is_running() && *claim != Claim::Foreign;
            if joins && !world.joining.contains(&container.id) {
                plan.actions.push(Action::Connect(container.id.clone()));
            }
        }
        if is_empty && !world.leaving.contains(&older.name) {
            plan.actions.push(Action::RemoveNetwork(older.name.clone()));
        }
    }
}

/// Tells of containers on our networks that are called like a part of the platform, like an app that is not theirs, or
/// by a whole name that leads to the balancer.
pub fn shadows(world: &World, grants: &Grants, problems: &mut Vec<Problem>) {
    let platform = &world.platform;
    for known in world.containers.values().filter(|known| known.container.is_running()) {
        let container = &known.container;
        let own = known.instance().map(|(_, instance)| &instance.app);
        for attachment in &container.attachments {
            let network = &attachment.network;
            if *network != platform.network && !world.older_networks().any(|older| older.name == *network) {
                continue;
            }
            let names = std::iter::once(&container.name).chain(&attachment.aliases);
            let found = names.map(|name| name.to_ascii_lowercase()).find_map(|name| {
                let whose = whose(world, grants, &name, own)?;
                Some((name, whose))
            });
            let Some((name, whose)) = found else { continue };
            let reason = format!("it is called {name} on network {network}, where others find it in place of {whose}");
            let remedy = format!(
                "docker network disconnect {network} {}, and connect it without that name or alias",
                container.name
            );
            let since = container.started_at.unwrap_or(container.created_at);
            problems.push(Problem::new(
                ProblemKind::Shadows,
                format!("container {}", container.name),
                reason,
                remedy,
                since,
            ));
        }
    }
}

/// Whose name this is, if it is not the container's own app's.
fn whose(world: &World, grants: &Grants, name: &str, own: Option<&AppName>) -> Option<Arc<str>> {
    let domain = world.platform.domain.as_str();
    let leads_to_us = matches!(grants.names().get(name), Some(Leads::Balancer));
    let label = name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).unwrap_or(name);
    if PARTS.contains(&label) {
        return Some(format!("the platform's own {label}").into());
    }
    let app = AppName::parse(label).ok();
    if app.is_some() && app.as_ref() == own {
        return None;
    }
    let is_app = app.filter(|app| world.declared_app(app).is_some() || world.services.contains_key(app));
    match is_app {
        Some(app) => Some(format!("app {app}").into()),
        None => leads_to_us.then(|| format!("the host {name}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::container::{Attachment, Network, Owner, RunState};
    use crate::core::plan::Plan;
    use crate::core::testing::{at, container, world_with};
    use crate::core::world::{Fact, Intent};

    fn on(name: &str, labels: &[(&str, &str)], attached: &[(&str, u8, &[&str])]) -> Container {
        let attach = |(network, address, aliases): &(&str, u8, &[&str])| Attachment {
            network: (*network).into(),
            addresses: vec![[172, 30, 0, *address].into()],
            aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
        };
        Container { attachments: attached.iter().map(attach).collect(), ..container(name, labels) }
    }

    fn planned(containers: Vec<Container>) -> Plan {
        let (mut world, _) = world_with("", |_, _| Intent::new(at(0)));
        let network = |name: &str| Network { name: name.into(), owner: Some(Owner("me".into())), subnets: Vec::new() };
        let networks = vec![network("platform"), network("old")];
        world.apply(Fact::Listed { containers, networks, local: Vec::new() }, at(1));
        crate::core::testing::planned(&mut world, at(1))
    }

    fn acts(plan: &Plan) -> Vec<String> {
        let of_networks = |action: &Action| match action {
            Action::Connect(id) => Some(format!("connect {id}")),
            Action::RemoveNetwork(name) => Some(format!("remove {name}")),
            _ => None,
        };
        plan.actions.iter().filter_map(of_networks).collect()
    }

    #[test]
    fn an_older_network_is_left_by_all_before_it_is_removed() {
        let (old, both) = (("old", 1, &[][..]), [("old", 1, &[][..]), ("platform", 2, &[][..])]);
        assert_eq!(acts(&planned(vec![on("a", &[], &[old]), on("b", &[], &both)])), ["connect a"]);
        let ended = |attached: &[(&str, u8, &[&str])]| {
            let state = RunState::Exited { code: 0, oom: false, at: None };
            Container { state, ..on("c", &[], attached) }
        };
        assert_eq!(acts(&planned(vec![ended(&[old])])), [""; 0], "it may be started again");
        assert_eq!(acts(&planned(vec![ended(&[])])), [""; 0], "where it was is not known");
        assert_eq!(acts(&planned(vec![on("d", &[], &[("platform", 3, &[])])])), ["remove old"]);
    }

    #[test]
    fn an_instance_on_an_older_network_is_reached_where_it_was_started() {
        let labels = [("platformer.app", "web"), ("platformer.port", "80")];
        let (mut world, _) = world_with("", |_, _| Intent::new(at(0)));
        let networks = vec![Network { name: "old".into(), owner: Some(Owner("me".into())), subnets: Vec::new() }];
        let containers = vec![on("web", &labels, &[("platform", 2, &[]), ("old", 1, &[])])];
        world.apply(Fact::Listed { containers, networks, local: Vec::new() }, at(1));
        assert_eq!(world.instances()[0].address.as_ref().unwrap().to_string(), "172.30.0.1:80");
    }

    #[test]
    fn who_is_called_like_one_of_ours_is_told_and_an_app_may_be_called_like_itself() {
        for (name, alias, whose) in [
            ("x", "repository", "the platform's own repository"),
            ("x", "Repository.platform", "the platform's own repository"),
            ("dns", "x", "the platform's own dns"),
            ("x", "shop", "app shop"),
            ("x", "candidate.shop.platform", "the host candidate.shop.platform"),
        ] {
            let plan = planned(vec![on(name, &[], &[("platform", 1, &[alias])])]);
            let told: Vec<_> = plan.problems.iter().filter(|p| p.kind == ProblemKind::Shadows).collect();
            assert!(told.len() == 1 && told[0].reason.contains(whose), "{name} {alias}: {told:?}");
            assert!(
                planned(vec![on("y", &[], &[("other", 1, &[alias])])])
                    .problems
                    .iter()
                    .all(|p| p.kind != ProblemKind::Shadows)
            );
        }
        let shop = on("shop", &[("platformer.app", "shop")], &[("platform", 1, &["shop", "shop.platform", "web"])]);
        assert!(planned(vec![shop]).problems.iter().all(|p| p.kind != ProblemKind::Shadows));
    }
}
