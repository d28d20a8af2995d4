use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;

use super::granting::FEW;
use super::wish::MOST_OF_ONE;
use super::*;
use crate::core::names::{AppName, Domain, HostName, PathPrefix};
use crate::core::testing::at;

const DOMAIN: &str = "platform";

struct Setting {
    domain: Domain,
    machine: BTreeSet<HostName>,
    extra: BTreeMap<HostName, IpAddr>,
    containers: Vec<&'static str>,
}

impl Setting {
    fn new(containers: &[&'static str]) -> Self {
        Self {
            domain: Domain::parse(DOMAIN).unwrap(),
            machine: [host("server.corp")].into(),
            extra: [(host("db.corp"), IpAddr::from([10, 0, 0, 5]))].into(),
            containers: containers.to_vec(),
        }
    }

    fn grant(&self, wishes: &[Wish]) -> Grants {
        let mut wishes = wishes.to_vec();
        wishes.sort_by(|a, b| a.app.cmp(&b.app));
        let is_others = |name: &str, _: &AppName| self.containers.contains(&name);
        let (domain, machine, extra) = (&self.domain, &self.machine, &self.extra);
        grant(&wishes, &Ground { domain, machine, extra, is_others: &is_others })
    }
}

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn wish(app: &str, rank: Rank, since: i64, hosts: &[&str], paths: &[&str]) -> Wish {
    let subject = if rank <= Rank::Service { format!("app {app}") } else { format!("container {app}-1") };
    Wish {
        app: AppName::parse(app).unwrap(),
        paths: paths.iter().map(|path| PathPrefix::parse(path).unwrap()).collect(),
        has_releases: rank != Rank::Service,
        open: false,
        asks: vec![Ask {
            rank,
            since: at(since),
            subject: subject.into(),
            hosts: hosts.iter().map(|text| host(text)).collect(),
        }],
    }
}

fn hosts_of(grants: &Grants, app: &str) -> Vec<String> {
    let granted = grants.apps.get(&AppName::parse(app).unwrap());
    granted.map(|g| g.hosts.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn refusals(grants: &Grants) -> Vec<String> {
    grants.refused.iter().map(|r| format!("{}: {}", r.subject, r.reason())).collect()
}

#[test]
fn own_names_and_addresses_are_granted_to_nobody() {
    let own = [
        "localhost",
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "10.0.0.5",
        "2130706433",
        "platform",
        "repository.platform",
        "x.dns.platform",
        "container.platform",
        "stable.platform",
        "dashboard.localhost",
        "server.corp",
        "repository",
        "host.docker.internal",
        "localhost.localdomain",
        "stable.shop.platform",
        "candidate.shop.localhost",
    ];
    for rank in [Rank::Declared, Rank::Service, Rank::Ready, Rank::Waiting] {
        let shop = wish("shop", Rank::Declared, 9, &["shop.platform"], &["/"]);
        let grants = Setting::new(&[]).grant(&[shop, wish("aaa", rank, 1, &own, &["/"])]);
        assert_eq!(hosts_of(&grants, "aaa"), [""; 0], "{rank:?}");
        assert!(grants.refused.iter().all(|r| r.app.as_str() == "aaa" && !r.remedy().is_empty()));
        let told: usize = grants.refused.iter().map(|r| 1 + r.more).sum();
        assert_eq!(told, own.len(), "{:?}", refusals(&grants));
    }
}

#[test]
fn the_declared_come_before_services_and_these_before_labels_and_the_older_before_the_younger() {
    let setting = Setting::new(&[]);
    let (declared, service) =
        (wish("a", Rank::Declared, 9, &["x.y"], &["/"]), wish("b", Rank::Service, 8, &["x.y"], &["/"]));
    let (old, young) = (wish("d", Rank::Ready, 1, &["x.y"], &["/"]), wish("c", Rank::Ready, 2, &["x.y"], &["/"]));
    let waiting = wish("e", Rank::Waiting, 0, &["x.y"], &["/"]);
    let mut all = vec![waiting, young, old, service, declared];
    for holder in ["a", "b", "d", "c", "e"] {
        let grants = setting.grant(&all);
        assert_eq!(hosts_of(&grants, holder), ["x.y"]);
        assert_eq!(grants.refused.len(), all.len() - 1, "{:?}", refusals(&grants));
        all.pop();
    }
}

#[test]
fn labels_have_a_path_of_a_declared_host_only_if_the_app_is_open() {
    let setting = Setting::new(&[]);
    let mut shop = wish("shop", Rank::Declared, 9, &["www.shop"], &["/"]);
    let hostile = wish("evil", Rank::Ready, 1, &["www.shop", "shop.platform"], &["/greeting"]);
    let grants = setting.grant(&[shop.clone(), hostile.clone()]);
    assert_eq!(hosts_of(&grants, "evil"), [""; 0]);
    assert_eq!(
        refusals(&grants),
        ["container evil-1: host www.shop (and 1 more) is of app shop, which is declared; labels get no part of it"]
    );
    assert!(grants.refused[0].remedy().contains("open = true into apps/shop.toml"));
    shop.open = true;
    assert_eq!(hosts_of(&setting.grant(&[shop.clone(), hostile]), "evil"), ["www.shop", "shop.platform"]);
    let same = wish("evil", Rank::Ready, 1, &["www.shop"], &["/"]);
    assert_eq!(hosts_of(&setting.grant(&[shop, same]), "evil"), [""; 0], "but not what the app has itself");
    let service = wish("shop", Rank::Service, 9, &["shop.platform"], &["/"]);
    let below = wish("evil", Rank::Ready, 1, &["shop.platform"], &["/x"]);
    assert_eq!(hosts_of(&setting.grant(&[service, below]), "evil"), [""; 0], "nor a part of a service");
}

#[test]
fn who_is_not_ready_takes_the_name_of_no_container() {
    let setting = Setting::new(&["db", "x"]);
    let hosts = &["db.platform", "free.platform"];
    assert_eq!(hosts_of(&setting.grant(&[wish("a", Rank::Waiting, 1, hosts, &["/"])]), "a"), ["free.platform"]);
    assert_eq!(hosts_of(&setting.grant(&[wish("a", Rank::Ready, 1, hosts, &["/"])]), "a"), *hosts);
}

#[test]
fn what_is_said_twice_is_given_once_and_the_path_of_our_pages_to_nobody() {
    let hosts = &["x.y", "x.y", "z.y"];
    let mut grants =
        Setting::new(&[]).grant(&[wish("a", Rank::Declared, 1, hosts, &["/b", "/b", "/_platformer/unavailable"])]);
    let granted = grants.take(&AppName::parse("a").unwrap());
    assert_eq!(granted.hosts(), [host("x.y"), host("z.y")]);
    assert_eq!(granted.paths(), [PathPrefix::parse("/b").unwrap()]);
    assert!(refusals(&grants)[0].contains("path /_platformer/unavailable belongs to the platform"));
}

#[test]
fn labels_have_a_limit_that_costs_nobody_the_name_of_his_app() {
    let names: Vec<String> = (0..2040).map(|n| format!("h{n}.x")).collect();
    let many: Vec<Wish> = (0..6)
        .map(|n| {
            let hosts: Vec<String> =
                names.iter().map(|name| format!("{name}{n}y")).chain([format!("a{n}.platform")]).collect();
            wish(&format!("a{n}"), Rank::Ready, n, &hosts.iter().map(String::as_str).collect::<Vec<_>>(), &["/"])
        })
        .collect();
    let grants = Setting::new(&[]).grant(&many);
    let total: usize = (0..6).map(|n| hosts_of(&grants, &format!("a{n}")).len()).sum();
    assert_eq!((total, grants.refused.len()), (MOST_OF_LABELS + FEW + 6, 2), "one refusal for each that had too many");
    assert_eq!(hosts_of(&grants, "a3").len(), 2041, "four of them have all that they ask for");
    let last = hosts_of(&grants, "a5");
    assert_eq!(last.len(), FEW + 1, "others' many do not cost anybody his few: {last:?}");
    assert!(last.contains(&"a5.platform".to_owned()));
}

#[test]
fn the_labels_of_one_container_have_a_part_of_what_all_may_have() {
    let names: Vec<String> = (0..2040).map(|n| format!("h{n}.x")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let grants = Setting::new(&[]).grant(&[wish("a", Rank::Ready, 1, &names, &["/a", "/b"])]);
    assert_eq!(hosts_of(&grants, "a").len(), MOST_OF_ONE / 2);
    let told = refusals(&grants);
    assert!(told.len() == 1 && told[0].contains("a container's labels may have 2500 pairs"), "{told:?}");
}

#[test]
fn lists_that_are_refused_are_not_looked_at_without_end_and_a_short_one_always_is() {
    let names: Vec<String> = (0..2040).map(|n| format!("h{n}.x")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // All want the same, which the first has.
    let mut wishes: Vec<Wish> = (0..30).map(|n| wish(&format!("a{n}"), Rank::Ready, n, &names, &["/"])).collect();
    wishes.push(wish("last", Rank::Ready, 99, &["last.y", "h0.x"], &["/"]));
    let grants = Setting::new(&[]).grant(&wishes);
    assert_eq!((hosts_of(&grants, "a0").len(), hosts_of(&grants, "last")), (2040, vec!["last.y".to_owned()]));
    let of = |subject: &str| grants.refused.iter().filter(|r| &*r.subject == subject).collect::<Vec<_>>();
    let refused = of("container a29-1");
    assert_eq!(refused.iter().map(|r| r.more + 1).sum::<usize>(), 2040, "each host is accounted for: {refused:?}");
    assert!(refused.iter().any(|r| r.why == Why::Full && r.more + 1 == 2040 - FEW));
}

#[test]
fn an_earlier_route_that_is_put_back_has_nothing_that_another_has_by_now() {
    let earlier = Granted::of(&["x.y", "z.y"], &["/", "/a"]);
    let other = Granted::of(&["x.y"], &["/a"]);
    let left = earlier.beside([&other].into_iter());
    assert_eq!(left.hosts(), [host("z.y")]);
    assert_eq!(left.stable(), [host("stable.z.y")]);
    assert_eq!(earlier.beside([&Granted::of(&["x.y"], &["/b"])].into_iter()), earlier);
}

#[test]
fn settings_give_names_to_addresses_but_not_the_platforms_own() {
    let mut setting = Setting::new(&[]);
    setting.extra.insert(host("repository.platform"), IpAddr::from([10, 0, 0, 6]));
    setting.extra.insert(host("a.platform"), IpAddr::from([10, 0, 0, 7]));
    let grants = setting.grant(&[wish("a", Rank::Declared, 1, &["a.platform"], &["/"])]);
    let leads = |name: &str| grants.names().get(name).cloned();
    assert_eq!(leads("repository.platform"), Some(Leads::Balancer));
    assert_eq!(leads("db.corp"), Some(Leads::Fixed([10, 0, 0, 5].into())));
    assert_eq!(leads("a.platform"), Some(Leads::Fixed([10, 0, 0, 7].into())));
    assert_eq!(leads("instances.platform"), Some(Leads::Nothing));
}

fn ranks() -> impl Strategy<Value = Rank> {
    prop_oneof![Just(Rank::Declared), Just(Rank::Service), Just(Rank::Ready), Just(Rank::Waiting), Just(Rank::Departed)]
}

/// Few names, so that they meet; among them all that somebody hostile would try.
fn a_host() -> impl Strategy<Value = String> {
    let app = "[a-e]";
    prop_oneof![
        app.prop_map(|a| format!("{a}.platform")),
        app.prop_map(|a| format!("{a}.localhost")),
        (prop_oneof!["stable", "candidate", "x", "www"], app).prop_map(|(w, a)| format!("{w}.{a}.platform")),
        (prop_oneof!["stable", "candidate"], app).prop_map(|(w, a)| format!("{w}.{a}.localhost")),
        "(repository|loadbalancer|dns|services|dashboard|container|instances|stable|candidate)\\.(platform|localhost)",
        "(localhost|platform|127\\.0\\.0\\.1|127\\.1|0x7f000001|3232235777|server\\.corp|db\\.corp|x\\.y)",
    ]
}

fn a_wish(rank: impl Strategy<Value = Rank>, app: &'static str) -> impl Strategy<Value = Wish> {
    let hosts = prop::collection::vec(a_host(), 0..6);
    let paths = prop::collection::vec("(/|/a|/b|/a/b|/_platformer|/_platformer/x)", 1..4);
    (app, rank, 0..9i64, hosts, paths, any::<bool>()).prop_map(|(app, rank, since, hosts, paths, open)| {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        Wish { open: open && rank == Rank::Declared, ..wish(&app, rank, since, &hosts, &paths) }
    })
}

fn one_of_each(wishes: Vec<Wish>) -> Vec<Wish> {
    wishes.into_iter().map(|wish| (wish.app.clone(), wish)).collect::<BTreeMap<_, _>>().into_values().collect()
}

proptest! {
    #[test]
    fn whatever_is_asked_each_host_and_path_has_one_holder_and_ours_have_none(
        wishes in prop::collection::vec(a_wish(ranks(), "[a-e]"), 0..6)
    ) {
        let setting = Setting::new(&["a", "b", "x.c"]);
        let grants = setting.grant(&one_of_each(wishes));
        let mut held = BTreeMap::new();
        for (app, granted) in &grants.apps {
            for host in granted.all() {
                prop_assert!(!host.is_address() && !["localhost", DOMAIN, "server.corp"].contains(&host.as_str()));
                prop_assert!(host.reserved_under(&setting.domain).is_none());
                let of_release = granted.stable.contains(host) || granted.candidate.contains(host);
                let paths: Vec<Option<&PathPrefix>> =
                    if of_release { vec![None] } else { granted.paths.iter().map(Some).collect() };
                for path in paths {
                    prop_assert!(path.is_none_or(|path| !path.as_str().starts_with("/_platformer")));
                    let before = held.insert((host.clone(), path), app);
                    prop_assert!(before.is_none(), "{host} {path:?} is of {before:?} and of {app}");
                }
                let single = held.contains_key(&(host.clone(), None));
                let whole = held.keys().filter(|(other, _)| other == host).count();
                prop_assert!(!single || whole == 1, "{host} is of a single release and of an app");
            }
        }
        for name in RESERVED_NAMES {
            let leads = grants.names().get(format!("{name}.{DOMAIN}").as_str());
            prop_assert!(matches!(leads, Some(Leads::Balancer | Leads::Nothing)));
        }
    }

    #[test]
    fn a_declared_app_keeps_beside_any_neighbours_what_it_has_alone(
        ours in a_wish(Just(Rank::Declared), "[ab]"),
        theirs in prop::collection::vec(a_wish(prop_oneof![Just(Rank::Service), Just(Rank::Ready), Just(Rank::Waiting)], "[c-g]"), 0..6)
    ) {
        let setting = Setting::new(&["a", "b"]);
        let alone = setting.grant(std::slice::from_ref(&ours));
        let beside = setting.grant(&one_of_each([theirs, vec![ours.clone()]].concat()));
        prop_assert_eq!(alone.apps.get(&ours.app), beside.apps.get(&ours.app));
        let of_ours = |grants: &Grants| grants.refused.iter().filter(|r| r.app == ours.app).cloned().collect::<Vec<_>>();
        prop_assert_eq!(of_ours(&alone), of_ours(&beside), "and is told of nothing that others did");
        for (name, leads) in alone.names().iter().filter(|(_, leads)| **leads != Leads::Nothing) {
            prop_assert_eq!(beside.names().get(name), Some(leads));
        }
    }
}

const RESERVED_NAMES: [&str; 9] = crate::core::names::RESERVED;
