//! Builders for the core's own tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::app::{App, Canary, Period, Proxy, Sticky, Strategy, parse_file};
use super::container::{Attachment, Container, ContainerId, Owner, RunState};
use super::decide::Seed;
use super::deploy::{Deployment, Judged, Kind, Stage};
use super::grants::Granted;
use super::names::{AppName, Domain, HostName, Version};
use super::plan::{Plan, plan};
use super::render::{Features, Frame, Listeners};
use super::repository::Index;
use super::routes::AppRoute;
use super::split::{Percent, Split};
use super::templates::Templates;
use super::world::{Fact, Intent, Platform, World};
use super::zone::DnsOptions;

/// A running container on network `platform`; its address is made from its name, so that it is stable.
pub fn container(name: &str, labels: &[(&str, &str)]) -> Container {
    let sum = name.bytes().fold(0u16, |sum, b| sum.wrapping_mul(31).wrapping_add(u16::from(b)));
    let [high, low] = sum.to_be_bytes();
    Container {
        id: ContainerId(name.into()),
        name: name.into(),
        image: "demo:1.0.0".into(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        of_image: Vec::new(),
        // What our engine makes for us it marks as ours.
        ours: labels.contains(&("platformer.owner", "me")),
        state: RunState::Running,
        health: None,
        attachments: vec![Attachment {
            network: "platform".into(),
            addresses: vec![[172, 30, high, low].into()],
            aliases: Vec::new(),
        }],
        host_network: false,
        joined: None,
        exposed: vec![8080],
        created_at: Timestamp::UNIX_EPOCH,
        started_at: Some(Timestamp::UNIX_EPOCH),
        restarts: 0,
        trouble: None,
    }
}

/// A world that knows enough to act, in which one app is declared; nothing runs.
pub fn world_with(declaration: &str, intent: impl FnOnce(&Arc<App>, &Index) -> Intent) -> (World, Arc<App>) {
    let mut index = Index::default();
    let app = Arc::new(parse_file("apps/shop.toml", declaration).unwrap());
    index.apps.insert(app.name.clone(), app.clone());
    let mut world = World::new(platform(), Arc::new(Templates::built_in()), at(0));
    world.apply(Fact::Adopted(None), at(0));
    world.apply(Fact::Recalled([(app.name.clone(), intent(&app, &index))].into()), at(0));
    world.apply(Fact::Indexed(Arc::new(index)), at(0));
    world.apply(Fact::Listed { containers: Vec::new(), networks: Vec::new(), local: Vec::new() }, at(0));
    (world, app)
}

/// The platform that tests of core and supervisor run in.
pub fn platform() -> Platform {
    Platform {
        domain: Domain::platform(),
        owner: Owner("me".into()),
        network: "platform".into(),
        gateway: [172, 30, 0, 1].into(),
        port: 80,
        http: vec![([0, 0, 0, 0], 80).into()],
        machine: [HostName::parse("server.corp").unwrap()].into(),
        listeners: Vec::new(),
        dns: DnsOptions::default(),
        frame: 1,
        follow_only: false,
        checks_certificates: false,
    }
}

/// A frame of our own nginx, of a version that has everything.
pub fn frame() -> Frame {
    Frame {
        domain: Domain::platform(),
        listen: Listeners { http: vec!["0.0.0.0:80".parse().unwrap()], services: None },
        supervisor: Some("/s/supervisor.sock".into()),
        status: Some("/s/nginx/status.sock".into()),
        features: Features { keepalive_min_timeout: true, request_port: true },
        folder: "/s/nginx".into(),
        user: Some("nobody nogroup".into()),
        workers: "2".into(),
        open_files: 1024,
        connections: 512,
        owns_http: true,
        services_ca: None,
        each: 1024,
        trusted: Vec::new(),
    }
}

/// A route of an undeclared app, without hosts and instances.
pub fn route() -> AppRoute {
    AppRoute {
        granted: Granted::of_service(&[]),
        strip_prefix: false,
        proxy: Proxy::default(),
        releases: BTreeMap::new(),
        stable: None,
        candidate: None,
        split: Split::default(),
        sticky: Sticky::default(),
        preview: None,
        maintenance: false,
        outside: None,
        shared: true,
    }
}

/// The moment `seconds` after the epoch.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// xorshift64*, so that a seed means the same on every machine (Vigna 2016).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.draw().is_multiple_of(n)
    }

    /// At least 0, less than 1.
    pub fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A deployment of shop 2.0 over 1.0 that is in this stage since the first second.
pub fn deployment(strategy: Strategy, stage: Stage) -> Deployment {
    Deployment {
        id: "shop-1".into(),
        app: AppName::parse("shop").unwrap(),
        release: Version::parse("2.0").unwrap(),
        from: Version::parse("1.0").ok(),
        kind: Kind::Deploy,
        strategy,
        canary: Canary::default(),
        bake: Period::seconds(if strategy == Strategy::Canary { 300 } else { 0 }),
        ready_timeout: Period::seconds(120),
        monitor: Period::seconds(5),
        deaths_before: 0,
        stop_first: false,
        keep_old: false,
        gate: None,
        gate_result: None,
        by: "test".into(),
        started_at: at(0),
        ended_at: None,
        stage,
        halt: None,
        since: at(0),
        reason: String::new(),
        plan: Vec::new(),
        preview: "secret".into(),
        share: Percent::parse("5").unwrap(),
        waits: strategy == Strategy::Manual,
        hurried: false,
        judged: Judged::default(),
        last_lines: Vec::new(),
    }
}

/// What is planned, noted in the world; nothing of it is recorded or begun.
pub fn planned(world: &mut World, now: Timestamp) -> Plan {
    world.forget_past(now);
    let plan = plan(world, now, &Seed::new("test"));
    world.note(&plan.notes);
    plan
}

/// The same, and what follows from itself is so at once.
pub fn planned_and_recorded(world: &mut World, now: Timestamp) -> Plan {
    let plan = planned(world, now);
    plan.writes.iter().for_each(|write| world.take_over(write));
    plan
}
