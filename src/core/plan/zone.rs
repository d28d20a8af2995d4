//! World → zone: a name for every container, app, instance and part of the platform.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use crate::core::claim::Claim;
use crate::core::container::Container;
use crate::core::grants::{Grants, Leads};
use crate::core::names::{AppName, RESERVED};
use crate::core::world::{Claimed, Member, World, by_app};
use crate::core::zone::{Located, Naming, Pointer, THIS_MACHINE, Target, Zone};

/// The names that containers have below the domain.
pub type Containers = HashMap<Arc<str>, Located>;

/// Every name of every container, each with the one that has it: who is called so, else who started last.
pub fn containers(world: &World) -> Containers {
    let mut names = HashMap::with_capacity(world.containers.len());
    for known in running(world) {
        add_container(&mut names, &known.container, world.platform.dns.naming);
    }
    names
}

/// Builds the zone from what was granted, the containers, and the instances among them.
pub fn zone(world: &World, members: &[Member<'_>], containers: Containers, grants: &Grants) -> Zone {
    let platform = &world.platform;
    let mut zone = Zone {
        domain: platform.domain.clone(),
        ttl: platform.dns.ttl,
        wildcard: platform.dns.wildcard,
        names: HashMap::with_capacity(grants.names().len()),
        containers,
        reverse: HashMap::with_capacity(world.containers.len()),
        networks: world.networks.clone(),
        local: world.local_addresses.clone(),
        gateway: platform.gateway,
        balancer: platform.http.clone(),
    };
    let by_app = by_app(members);
    for (name, leads) in grants.names() {
        let members = |app: &AppName| by_app.get(app).copied().unwrap_or_default();
        let target = match leads {
            Leads::Balancer => Target::Balancer,
            Leads::Instances(app) => instances(members(app)),
            Leads::Services(app) => services(members(app)),
            Leads::Fixed(address) => Target::Fixed(*address),
            Leads::Nothing if zone.container_at(name.as_str()).is_some() => continue,
            Leads::Nothing => Target::Empty,
        };
        zone.names.insert(name.clone(), target);
    }
    // The one that holds a shared network comes last: its addresses are called after it.
    for is_holder in [false, true] {
        running(world)
            .filter(|known| known.container.joined.is_none() == is_holder)
            .for_each(|known| zone.add_pointers(&known.container));
    }
    zone.reverse.insert(platform.gateway, Pointer::Below("loadbalancer".into()));
    for (name, address) in &platform.dns.extra {
        zone.reverse.entry(*address).or_insert_with(|| Pointer::Full(name.to_string()));
    }
    zone
}

fn running(world: &World) -> impl Iterator<Item = &Claimed> {
    world.containers.values().filter(|known| known.container.is_running() && known.claim != Claim::Foreign)
}

fn addresses_of(container: &Container) -> Vec<IpAddr> {
    match container.host_network {
        true => vec![THIS_MACHINE],
        false => container.attachments.iter().flat_map(|a| a.addresses.iter().copied()).collect(),
    }
}

fn add_container(names: &mut Containers, container: &Container, naming: Naming) {
    let addresses: Arc<[IpAddr]> = addresses_of(container).into();
    if addresses.is_empty() {
        return;
    }
    let mut add = |label: &Arc<str>, is_exact: bool| {
        let ending = label.rsplit('.').next().unwrap_or_default();
        let located = Located {
            container: container.name.clone(),
            started_at: container.started_at,
            is_exact,
            is_plain: !RESERVED.contains(&ending),
            addresses: addresses.clone(),
        };
        let rank = |l: &Located| (l.is_exact, l.started_at, l.container.clone());
        match names.entry(label.clone()) {
            Entry::Vacant(free) => _ = free.insert(located),
            Entry::Occupied(mut taken) if rank(taken.get()) < rank(&located) => _ = taken.insert(located),
            Entry::Occupied(_) => {}
        }
    };
    let lower = lower(&container.name);
    let plain = plain(&lower);
    add(&lower, true);
    if plain != lower {
        add(&plain, false);
        let devdns = lower.split('_').next().unwrap_or_default();
        if naming == Naming::Devdns && !devdns.is_empty() {
            add(&devdns.into(), false);
        }
    }
}

fn instances(members: &[Member<'_>]) -> Target {
    let ready = members.iter().filter(|m| m.is_ready());
    let addresses: Vec<IpAddr> = ready.flat_map(|m| addresses_of(m.container)).collect();
    if addresses.is_empty() { Target::Empty } else { Target::Containers(addresses.into()) }
}

fn services(members: &[Member<'_>]) -> Target {
    let ready = members.iter().filter(|m| m.is_ready());
    let services: Vec<_> =
        ready.filter_map(|m| Some((plain(&lower(&m.container.name)), m.address.as_ref().ok()?.port()))).collect();
    if services.is_empty() { Target::Empty } else { Target::Services(services) }
}

impl Zone {
    /// An address is called by a name that leads to it: the container's plain one, else the one that nobody can take.
    fn add_pointers(&mut self, container: &Container) {
        let lower = lower(&container.name);
        let of_it = |label: &Arc<str>| self.containers.get(label).is_some_and(|l| l.container == container.name);
        let Some(label) = [plain(&lower), lower].into_iter().find(of_it) else { return };
        let full = format!("{label}.{}", self.domain);
        let pointer = match self.container_at(&full) {
            Some(found) if *found == container.name => label,
            _ => format!("{label}.container").into(),
        };
        for address in container.attachments.iter().flat_map(|a| &a.addresses) {
            self.reverse.insert(*address, Pointer::Below(pointer.clone()));
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

    fn zone_of(all: Vec<Container>, dns: DnsOptions) -> Zone {
        let platform = Platform { dns, ..platform() };
        let network = |name: &str, subnet: &str| Network {
            name: name.into(),
            owner: None,
            subnets: Subnet::parse(subnet).into_iter().collect(),
        };
        let networks = vec![network("platform", "172.30.0.0/16"), network("other", "10.9.0.0/16")];
        let local = vec![Subnet { base: ip("192.0.2.7"), prefix: 24 }, Subnet { base: ip("172.30.0.1"), prefix: 16 }];
        let mut world = World::new(platform, Arc::new(Templates::built_in()), at(0));
        let verdicts: Vec<_> = all.iter().map(|c| (Subject::Container(c.id.clone()), c.started_at)).collect();
        world.apply(Fact::Listed { containers: all, networks, local }, at(0));
        for (subject, started_at) in verdicts {
            world.apply(Fact::Probed { subject, started_at, verdict: Ok(()) }, at(0));
        }
        let members = world.instances();
        let containers = containers(&world);
        let (_, grants) = super::super::routes::routes(&world, &members, &containers, &mut Vec::new(), at(0));
        zone(&world, &members, containers, &grants)
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
        let attach = |(network, address): &(&str, &str)| Attachment {
            network: (*network).into(),
            addresses: vec![ip(address)],
            aliases: Vec::new(),
        };
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
    fn at_the_gateway_only_this_machine_and_containers_are_answered() {
        let zone = zone_of(Vec::new(), DnsOptions::default());
        for (asker, expected) in [
            ("127.0.0.1", true),
            ("192.0.2.7", true),
            ("172.30.0.9", true),
            ("10.9.0.4", true),
            ("192.0.2.99", false),
            ("198.51.100.1", false),
        ] {
            for at in ["172.30.0.1", "10.9.0.1"] {
                assert_eq!(zone.answers(ip(asker), ip(at)), expected, "{asker} at {at}");
            }
            for opened in ["192.0.2.7", "0.0.0.0", "::", "127.0.0.1"] {
                assert!(zone.answers(ip(asker), ip(opened)), "{asker} at {opened}");
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

    #[test]
    fn a_container_on_this_machines_network_is_found_where_the_asker_finds_the_machine() {
        let labels = [("platformer.app", "vpn"), ("platformer.port", "9000")];
        let host = Container { host_network: true, attachments: Vec::new(), ..container("h", &labels) };
        let zone = zone_of(vec![host], DnsOptions::default());
        for name in ["h.platform", "h.container.platform", "vpn.instances.platform"] {
            for (asker, expected) in
                [("127.0.0.1", "127.0.0.1"), ("172.30.0.9", "172.30.0.1"), ("192.0.2.99", "192.0.2.7")]
            {
                assert_eq!(addresses(&zone, name, asker), [expected], "{name} asked by {asker}");
            }
        }
        let Reply::Answers { answers, extra } = zone.lookup("_http._tcp.vpn.platform", QueryKind::Srv, ip("127.0.0.1"))
        else {
            panic!("no SRV record");
        };
        assert_eq!(answers, [Answer::Service { target: "h.container.platform".into(), port: 9000 }]);
        assert_eq!(extra, [("h.container.platform".to_owned(), ip("127.0.0.1"))]);
    }

    #[test]
    fn a_name_that_ends_like_one_of_ours_takes_nothing_from_whom_it_would_be() {
        let db = at_address("db", &[], &[("platform", "172.30.0.5")]);
        let odd = at_address("db.container", &[], &[("platform", "172.30.0.6")]);
        let upper = at_address("A-B", &[], &[("platform", "172.30.0.7")]);
        let mut made = at_address("a_b", &[], &[("platform", "172.30.0.8")]);
        made.started_at = Some(at(9));
        let zone = zone_of(vec![db, odd, upper, made], DnsOptions::default());
        for (name, address) in [
            ("db.container.platform", "172.30.0.5"),
            ("db.container.container.platform", "172.30.0.6"),
            ("a-b.platform", "172.30.0.7"),
            ("a_b.platform", "172.30.0.8"),
        ] {
            assert_eq!(addresses(&zone, name, "127.0.0.1"), [address], "{name}");
        }
        let pointer = |of: &str| zone.lookup(of, QueryKind::Ptr, ip("127.0.0.1"));
        let to = |name: &str| Reply::Answers { answers: vec![Answer::Pointer(name.into())], extra: vec![] };
        assert_eq!(pointer("6.0.30.172.in-addr.arpa"), to("db.container.container.platform"));
        assert_eq!(pointer("8.0.30.172.in-addr.arpa"), to("a_b.platform"));
    }

    #[test]
    fn names_tell_only_where_something_listens_and_what_is_ours_goes_nowhere_else() {
        let mut zone = zone_of(vec![at_address("x", &[("platformer.app", "shop")], &[])], DnsOptions::default());
        let asked = |zone: &Zone, name: &str, kind| zone.lookup(name, kind, ip("127.0.0.1")).addresses();
        for name in ["shop.localhost", "any.localhost", "shop.platform"] {
            assert_eq!(asked(&zone, name, QueryKind::A), [ip("127.0.0.1")], "{name}");
            assert_eq!(asked(&zone, name, QueryKind::Aaaa), Vec::<IpAddr>::new(), "{name}");
        }
        assert_eq!(asked(&zone, "localhost", QueryKind::Aaaa), [ip("::1")]);
        zone.balancer.push("[::]:80".parse().unwrap());
        assert_eq!(asked(&zone, "shop.platform", QueryKind::Aaaa), [ip("::1")]);
        zone.balancer = vec!["192.0.2.7:80".parse().unwrap()];
        assert_eq!(asked(&zone, "shop.platform", QueryKind::A), [ip("192.0.2.7")]);
        for ours in ["caf\u{e9}.platform", "caf\\195\\169.platform", "a b.platform", "a\0b.platform", "a\\.b.platform"]
        {
            assert_eq!(zone.lookup(ours, QueryKind::A, ip("127.0.0.1")), Reply::NoName, "{ours:?}");
        }
        assert_eq!(zone.lookup("a\\.platform", QueryKind::A, ip("127.0.0.1")), Reply::NotOurs, "one label");
    }
}
