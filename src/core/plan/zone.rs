//! World → zone: a name for every container, app, instance and part of the platform.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use super::routes::hosts_of;
use crate::core::claim::Claim;
use crate::core::container::Container;
use crate::core::names::{AppName, RESERVED};
use crate::core::world::{Claimed, Member, World, by_app};
use crate::core::zone::{Located, Naming, Pointer, Target, Zone};

/// Builds the zone from the containers and the instances among them.
pub fn zone(world: &World, members: &[Member<'_>]) -> Zone {
    let platform = &world.platform;
    let mut zone = Zone {
        domain: platform.domain.clone(),
        ttl: platform.dns.ttl,
        wildcard: platform.dns.wildcard,
        names: HashMap::with_capacity(world.declared.len() * 8),
        containers: HashMap::with_capacity(world.containers.len()),
        reverse: HashMap::with_capacity(world.containers.len()),
        networks: world.networks.clone(),
        local: world.local_addresses.clone(),
        gateway: platform.gateway,
    };
    zone.reverse.insert(platform.gateway, Pointer::Below("loadbalancer".into()));
    let is_ours = |known: &&Claimed| known.container.is_running() && known.claim != Claim::Foreign;
    for known in world.containers.values().filter(is_ours) {
        zone.add_container(&known.container, platform.dns.naming);
    }
    zone.add_apps(world, members);
    for name in RESERVED {
        zone.names.insert(format!("{name}.{}", platform.domain), Target::Balancer);
    }
    for name in ["container", "instances", "candidate", "stable"] {
        zone.names.insert(format!("{name}.{}", platform.domain), Target::Empty);
    }
    for (name, address) in &platform.dns.extra {
        zone.names.insert(name.to_string(), Target::Fixed(*address));
        zone.reverse.entry(*address).or_insert_with(|| Pointer::Full(name.to_string()));
    }
    zone.add_empty_parents();
    zone
}

impl Zone {
    fn add_container(&mut self, container: &Container, naming: Naming) {
        let addresses: Arc<[IpAddr]> = container.attachments.iter().flat_map(|a| a.addresses.iter().copied()).collect();
        if addresses.is_empty() {
            return;
        }
        let lower = lower(&container.name);
        let plain = plain(&lower);
        let mut add = |label: &Arc<str>| {
            let started_at = container.started_at;
            let located = Located { container: container.name.clone(), started_at, addresses: addresses.clone() };
            match self.containers.entry(label.clone()) {
                Entry::Vacant(free) => _ = free.insert(located),
                Entry::Occupied(mut taken) => {
                    if (taken.get().started_at, &taken.get().container) < (started_at, &container.name) {
                        taken.insert(located);
                    }
                }
            }
        };
        add(&lower);
        if plain != lower {
            add(&plain);
            let devdns = lower.split('_').next().unwrap_or_default();
            if naming == Naming::Devdns && !devdns.is_empty() {
                add(&devdns.into());
            }
        }
        for address in &*addresses {
            self.reverse.insert(*address, Pointer::Below(plain.clone()));
        }
    }

    fn add_apps(&mut self, world: &World, members: &[Member<'_>]) {
        let mut by_app = by_app(members);
        world.declared.keys().for_each(|name| _ = by_app.entry(name).or_default());
        let domain = self.domain.clone();
        for (name, members) in by_app {
            let app = world.declared_app(name);
            if app.is_none() && world.declared.contains_key(name) {
                continue;
            }
            let own = name.host(&domain).to_string();
            for host in hosts_of(world, name, app.map(Arc::as_ref), members) {
                if host.below(domain.as_str()).is_some() && host.reserved_under(&domain).is_none() {
                    self.names.insert(host.to_string(), Target::Balancer);
                }
            }
            for address in ["", "candidate.", "stable."] {
                self.names.insert(format!("{address}{own}"), Target::Balancer);
            }
            self.add_instances(name, members);
        }
        for name in world.services.keys() {
            self.names.insert(name.host(&domain).to_string(), Target::Balancer);
        }
    }

    fn add_instances(&mut self, app: &AppName, members: &[Member<'_>]) {
        let ready: Vec<_> = members.iter().filter(|m| m.is_ready()).collect();
        let (mut addresses, mut services) = (Vec::new(), Vec::new());
        for member in ready {
            addresses.extend(member.container.attachments.iter().flat_map(|a| a.addresses.iter().copied()));
            if let Ok(address) = member.address {
                services.push((plain(&lower(&member.container.name)), address.port()));
            }
        }
        let instances = if addresses.is_empty() { Target::Empty } else { Target::Containers(addresses.into()) };
        self.names.insert(format!("{app}.instances.{}", self.domain), instances);
        let service = if services.is_empty() { Target::Empty } else { Target::Services(services) };
        self.names.insert(format!("_http._tcp.{app}.{}", self.domain), service);
    }

    fn add_empty_parents(&mut self) {
        let mut parents = Vec::new();
        for name in self.names.keys() {
            let mut rest = name.as_str();
            while let Some((_, parent)) = rest.split_once('.') {
                if parent.len() <= self.domain.as_str().len() || !parent.ends_with(self.domain.as_str()) {
                    break;
                }
                if !self.names.contains_key(parent) && self.container_at(parent).is_none() {
                    parents.push(parent.to_owned());
                }
                rest = parent;
            }
        }
        for parent in parents {
            self.names.entry(parent).or_insert(Target::Empty);
        }
    }
}

/// A container's name in lower case; most are already, so nothing is copied.
fn lower(name: &Arc<str>) -> Arc<str> {
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.clone(),
    }
}

/// With `-` for `_`, which is no character of a host name.
fn plain(lower: &Arc<str>) -> Arc<str> {
    if lower.contains('_') { lower.replace('_', "-").into() } else { lower.clone() }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::core::container::{Attachment, Network, Subnet};

    use crate::core::templates::Templates;
    use crate::core::testing::{at, container, platform};
    use crate::core::world::{Fact, Platform, Subject};
    use crate::core::zone::{Answer, DnsOptions, QueryKind, Reply, Wildcard};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn zone_of(containers: Vec<Container>, dns: DnsOptions) -> Zone {
        let platform = Platform { dns, ..platform() };
        let network = |name: &str, subnet: &str| Network {
            name: name.into(),
            owner: None,
            subnets: Subnet::parse(subnet).into_iter().collect(),
        };
        let networks = vec![network("platform", "172.30.0.0/16"), network("other", "10.9.0.0/16")];
        let local = vec![Subnet { base: ip("192.0.2.7"), prefix: 24 }, Subnet { base: ip("172.30.0.1"), prefix: 16 }];
        let mut world = World::new(platform, Arc::new(Templates::built_in()), at(0));
        let verdicts: Vec<_> = containers.iter().map(|c| (Subject::Container(c.id.clone()), c.started_at)).collect();
        world.apply(Fact::Listed { containers, networks, local }, at(0));
        for (subject, started_at) in verdicts {
            world.apply(Fact::Probed { subject, started_at, verdict: Ok(()) }, at(0));
        }
        let members = world.instances();
        zone(&world, &members)
    }

    fn addresses(zone: &Zone, name: &str, asker: &str) -> Vec<String> {
        match zone.lookup(name, QueryKind::A, ip(asker)) {
            Reply::Answers { answers, .. } => answers
                .iter()
                .map(|a| match a {
                    Answer::Address(ip) => ip.to_string(),
                    other => format!("{other:?}"),
                })
                .collect(),
            other => vec![format!("{other:?}")],
        }
    }

    fn at_address(name: &str, labels: &[(&str, &str)], attachments: &[(&str, &str)]) -> Container {
        let attach =
            |(network, address): &(&str, &str)| Attachment { network: (*network).into(), addresses: vec![ip(address)] };
        Container { attachments: attachments.iter().map(attach).collect(), ..container(name, labels) }
    }

    #[test]
    fn the_answer_depends_on_who_asks() {
        let zone = zone_of(
            vec![at_address("shop-1", &[("platformer.app", "shop")], &[("platform", "172.30.0.5")])],
            DnsOptions::default(),
        );
        for (asker, expected) in [
            ("127.0.0.1", "127.0.0.1"),
            ("192.0.2.7", "127.0.0.1"),
            ("172.30.0.9", "172.30.0.1"),
            ("10.9.0.4", "172.30.0.1"),
            ("192.0.2.99", "192.0.2.7"),
        ] {
            for name in ["shop.platform", "candidate.shop.platform", "repository.platform", "dns.platform"] {
                assert_eq!(addresses(&zone, name, asker), [expected], "{name} asked by {asker}");
            }
        }
    }

    #[test]
    fn two_networks_answer_with_what_the_asker_shares() {
        let both = at_address("db", &[], &[("other", "10.9.0.2"), ("platform", "172.30.0.2")]);
        let zone = zone_of(vec![both], DnsOptions::default());
        assert_eq!(addresses(&zone, "db.platform", "172.30.0.9"), ["172.30.0.2"]);
        assert_eq!(addresses(&zone, "db.container.platform", "10.9.0.9"), ["10.9.0.2"]);
        assert_eq!(addresses(&zone, "db.platform", "127.0.0.1"), ["10.9.0.2", "172.30.0.2"]);
    }

    #[test]
    fn inside_the_domain_nothing_is_forwarded_and_what_exists_is_told_from_what_does_not() {
        let labels = [("platformer.app", "shop"), ("platformer.host", "www.deep.shop.platform,shop.example")];
        let zone = zone_of(vec![at_address("a_b", &labels, &[("platform", "172.30.0.5")])], DnsOptions::default());
        let reply = |name: &str, kind| zone.lookup(name, kind, ip("127.0.0.1"));
        assert_eq!(reply("nobody.platform", QueryKind::A), Reply::NoName);
        assert_eq!(reply("x.shop.platform", QueryKind::A), Reply::NoName);
        assert_eq!(reply("shop.platform", QueryKind::Aaaa), Reply::NoData);
        assert_eq!(reply("deep.shop.platform", QueryKind::A), Reply::NoData, "an empty non-terminal");
        assert_eq!(reply("platform", QueryKind::A), Reply::NoData);
        assert!(matches!(reply("platform", QueryKind::Soa), Reply::Answers { .. }));
        assert_eq!(reply("shop.example", QueryKind::A), Reply::NotOurs);
        assert_eq!(reply("notplatform", QueryKind::A), Reply::NotOurs);
        assert_eq!(addresses(&zone, "a_b.platform", "127.0.0.1"), ["172.30.0.5"]);
        assert_eq!(addresses(&zone, "a-b.platform", "127.0.0.1"), ["172.30.0.5"]);
        let pointer = Reply::Answers { answers: vec![Answer::Pointer("a-b.platform".into())], extra: vec![] };
        assert_eq!(reply("5.0.30.172.in-addr.arpa", QueryKind::Ptr), pointer);
        assert_eq!(reply("9.0.30.172.in-addr.arpa", QueryKind::Ptr), Reply::NoName);
        assert_eq!(reply("8.8.8.8.in-addr.arpa", QueryKind::Ptr), Reply::NotOurs);
        let service = Answer::Service { target: "a-b.container.platform".into(), port: 8080 };
        let extra = vec![("a-b.container.platform".to_owned(), ip("172.30.0.5"))];
        assert_eq!(reply("_http._tcp.shop.platform", QueryKind::Srv), Reply::Answers { answers: vec![service], extra });
    }

    #[test]
    fn devdns_options_have_their_effect() {
        let extra = [("db.corp".parse().unwrap(), ip("10.0.0.5"))].into();
        let dns = DnsOptions {
            naming: Naming::Devdns,
            wildcard: Wildcard::Address(ip("10.1.1.1")),
            extra,
            ..DnsOptions::default()
        };
        let first = at_address("redis_local-V1", &[], &[("platform", "172.30.0.5")]);
        let mut second = at_address("redis_other", &[], &[("platform", "172.30.0.6")]);
        second.started_at = Some(at(9));
        let zone = zone_of(vec![first.clone(), second], dns.clone());
        assert_eq!(addresses(&zone, "redis.platform", "127.0.0.1"), ["172.30.0.6"], "the last started wins");
        assert_eq!(addresses(&zone, "redis-local-v1.platform", "127.0.0.1"), ["172.30.0.5"]);
        assert_eq!(addresses(&zone, "any.thing.platform", "127.0.0.1"), ["10.1.1.1"]);
        assert_eq!(addresses(&zone, "db.corp", "127.0.0.1"), ["10.0.0.5"]);
        assert_eq!(
            addresses(&zone_of(vec![first], dns), "redis.platform", "127.0.0.1"),
            ["172.30.0.5"],
            "and the name goes back"
        );
    }

    #[test]
    fn an_app_takes_its_name_from_a_container_of_another_kind() {
        let app = at_address("x", &[("platformer.app", "shop")], &[("platform", "172.30.0.5")]);
        let other = at_address("shop", &[], &[("platform", "172.30.0.6")]);
        let zone = zone_of(vec![app, other], DnsOptions::default());
        assert_eq!(addresses(&zone, "shop.platform", "127.0.0.1"), ["127.0.0.1"]);
        assert_eq!(addresses(&zone, "shop.container.platform", "127.0.0.1"), ["172.30.0.6"]);
    }
}
