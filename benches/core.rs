//! The core with 10,000 instances of 1,000 apps: plan + diff, and rendering. Prints medians beside their aims.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use platformer::core::app::parse_file;
use platformer::core::container::{Attachment, Container, ContainerId, Owner, RunState};
use platformer::core::decide::Seed;
use platformer::core::names::Domain;
use platformer::core::plan::plan;
use platformer::core::render::{Features, Frame, Listeners, Renderer};
use platformer::core::repository::Index;
use platformer::core::templates::Templates;
use platformer::core::world::{Fact, Platform, Subject, World};
use platformer::core::zone::DnsOptions;

const APPS: u32 = 1_000;
const INSTANCES: u32 = 10;
const ROUNDS: usize = 15;

fn main() {
    let (mut world, frame, seed) = (world(), frame(), Seed::new("bench"));
    // The first plan records releases, the second has something to say about everything.
    for _ in 0..2 {
        for write in plan(&world, Timestamp::now(), &seed).writes {
            world.take_over(&write);
        }
    }
    let mut planned = plan(&world, Timestamp::now(), &seed);
    let served: usize = planned.routes.apps.values().map(|a| a.main().len()).sum();
    assert_eq!(served, (APPS * INSTANCES) as usize, "every instance is routed");
    let planning = median(|| planned = plan(&world, Timestamp::now(), &seed));
    let templates = Templates::built_in();
    let mut bytes = 0;
    let rendering = median(|| {
        let rendered = Renderer::new(&templates).and_then(|r| r.render(1, &frame, &planned.routes));
        bytes = rendered.map_or(0, |r| r.http.len());
    });
    println!("10,000 instances of 1,000 apps, {} KiB of nginx text", bytes >> 10);
    println!("plan + diff  {planning:>9.1?}  aim ≤ 50 ms");
    println!("render       {rendering:>9.1?}  aim ≤ 150 ms");
    for what in [Hostile::Distinct, Hostile::Same, Hostile::Refused] {
        let world = hostile(what);
        let mut planned = plan(&world, Timestamp::now(), &seed);
        let turning = median(|| planned = plan(&world, Timestamp::now(), &seed));
        let hosts: usize = planned.routes.apps.values().map(|route| route.granted.hosts().len()).sum();
        println!("one turn beside 1,000 containers, {what:?}: {turning:>9.1?}  aim ≤ 50 ms  ({hosts} hosts granted)");
    }
}

/// What 1,000 neighbours write on their labels.
#[derive(Debug, Clone, Copy)]
enum Hostile {
    /// As many hosts as a label holds, all others on each.
    Distinct,
    /// As many, the same on all.
    Same,
    /// As many, of a declared app each.
    Refused,
}

fn hostile(what: Hostile) -> World {
    let mut world = world_of(1);
    let now = Timestamp::now();
    for n in 0..1_000 {
        let host = |i: u32| match what {
            Hostile::Distinct => format!("{}.x", n * 2_000 + i),
            Hostile::Same => format!("{i}.x"),
            Hostile::Refused => format!("{i}.app-0.platform"),
        };
        let mut hosts = String::new();
        for i in 0..2_000 {
            let next = host(i);
            if hosts.len() + next.len() + 1 > 8_192 {
                break;
            }
            hosts += if hosts.is_empty() { "" } else { "," };
            hosts += &next;
        }
        let app = format!("evil-{n}");
        let mut theirs = container(&app, 20_000 + n, now);
        theirs.ours = false;
        theirs.labels.remove("platformer.owner");
        theirs.labels.insert("platformer.host".into(), hosts);
        let subject = Subject::Container(theirs.id.clone());
        world.apply(Fact::Seen(Box::new(theirs)), now);
        world.apply(Fact::Probed { subject, started_at: Some(now), verdict: Ok(()) }, now);
    }
    world
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut took: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed()
        })
        .collect();
    took.sort();
    took[ROUNDS / 2]
}

fn world() -> World {
    world_of(APPS)
}

fn world_of(apps: u32) -> World {
    let now = Timestamp::now();
    let platform = Platform {
        domain: Domain::platform(),
        owner: Owner("bench".into()),
        network: "platform".into(),
        gateway: [10, 0, 0, 1].into(),
        port: 80,
        http: vec![([0, 0, 0, 0], 80).into()],
        machine: Default::default(),
        listeners: Vec::new(),
        dns: DnsOptions::default(),
        frame: 1,
        follow_only: false,
        checks_certificates: false,
    };
    let mut world = World::new(platform, Arc::new(Templates::built_in()), now);
    let mut index = Index::default();
    let mut containers = Vec::new();
    for app in 0..apps {
        let name = format!("app-{app}");
        let text = format!("image = \"app:1.0\"\nreplicas = {INSTANCES}");
        if let Ok(app) = parse_file(&format!("apps/{name}.toml"), &text) {
            index.apps.insert(app.name.clone(), Arc::new(app));
        }
        containers.extend((0..INSTANCES).map(|n| container(&name, app * INSTANCES + n, now)));
    }
    let ids: Vec<ContainerId> = containers.iter().map(|c| c.id.clone()).collect();
    world.apply(Fact::Adopted(None), now);
    world.apply(Fact::Indexed(Arc::new(index)), now);
    world.apply(Fact::Listed { containers, networks: Vec::new(), local: Vec::new() }, now);
    for id in ids {
        world.apply(Fact::Probed { subject: Subject::Container(id), started_at: Some(now), verdict: Ok(()) }, now);
    }
    world
}

fn container(app: &str, number: u32, now: Timestamp) -> Container {
    let labels = [("platformer.app", app), ("platformer.version", "1.0"), ("platformer.owner", "bench")];
    let [_, a, b, c] = number.to_be_bytes();
    Container {
        // Spread like Docker's random ids, so that comparisons end as early.
        id: ContainerId(format!("{:016x}{number:048}", u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15)).into()),
        name: format!("{app}-1.0-{number}").into(),
        image: "app:1.0".into(),
        labels: labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        of_image: Vec::new(),
        ours: true,
        state: RunState::Running,
        health: None,
        attachments: vec![Attachment {
            network: "platform".into(),
            addresses: vec![IpAddr::from([10, a + 1, b, c])],
            aliases: Vec::new(),
        }],
        host_network: false,
        joined: None,
        exposed: vec![8080],
        created_at: now,
        started_at: Some(now),
        restarts: 0,
        trouble: None,
    }
}

fn frame() -> Frame {
    Frame {
        domain: Domain::platform(),
        listen: Listeners { http: vec![([0, 0, 0, 0], 80).into()], services: None },
        supervisor: Some("/s/supervisor.sock".into()),
        status: Some("/s/nginx/status.sock".into()),
        features: Features { keepalive_min_timeout: true, request_port: true },
        folder: "/s/nginx".into(),
        user: None,
        workers: "auto".into(),
        open_files: 65_536,
        connections: 32_768,
        owns_http: true,
        services_ca: None,
        each: 1024,
        trusted: Vec::new(),
    }
}
