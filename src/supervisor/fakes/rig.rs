//! A supervisor on fakes.

use super::outside::{FakeBalancer, FakeEngine, FakeLedger, FakeProber, FakeResolver};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::adapters::files::Tree;
use crate::core::app::parse_file;
use crate::core::decide::Seed;
use crate::core::names::{AppName, Domain};
use crate::core::notices::Notices;
use crate::core::render::{Features, Frame, Listeners};
use crate::core::repository::Index;
use crate::core::templates::Templates;
use crate::core::testing::platform;
use crate::core::world::{Fact, Platform, World};
use crate::ports::inbox::Inbox;
use crate::ports::meters::Meters;
use crate::ports::snapshot::{Snapshot, View};
use crate::supervisor::clock::Clock;
use crate::supervisor::execute::Hands;
use crate::supervisor::reconcile::{Loop, Means};
use crate::supervisor::show::first_view;

pub(super) struct Rig {
    pub(super) engine: Arc<FakeEngine>,
    pub(super) balancer: Arc<FakeBalancer>,
    pub(super) ledger: Arc<FakeLedger>,
    pub(super) inbox: Inbox,
    pub(super) snapshot: Snapshot,
}

impl Rig {
    /// The whole loop with fakes, before any fact but those that `prepare` arranges.
    pub(super) fn new(prepare: impl FnOnce(&FakeEngine, &FakeBalancer, &FakeLedger)) -> Self {
        Self::timed(Clock::system(), prepare)
    }

    pub(super) fn timed(clock: Clock, prepare: impl FnOnce(&FakeEngine, &FakeBalancer, &FakeLedger)) -> Self {
        let (engine, balancer, ledger) =
            (Arc::<FakeEngine>::default(), Arc::<FakeBalancer>::default(), Arc::<FakeLedger>::default());
        prepare(&engine, &balancer, &ledger);
        let (inbox, messages) = Inbox::new();
        let frame = Arc::new(Frame {
            domain: Domain::platform(),
            listen: Listeners { http: vec![([127, 0, 0, 1], 80).into()], services: None },
            supervisor: None,
            status: None,
            features: Features::default(),
            folder: "/f".into(),
            user: None,
            workers: "1".into(),
            open_files: 64,
            connections: 32,
            owns_http: true,
            services_ca: None,
            each: 1024,
            trusted: Vec::new(),
        });
        let platform = Platform { frame: frame.fingerprint(), ..platform() };
        let templates = Arc::new(Templates::built_in());
        let world = World::new(platform, templates.clone(), clock.now());
        let snapshot = Snapshot::new(first_view(&world, &templates));
        let hands = Hands {
            meters: Meters::default(),
            seal: None,
            engine: engine.clone(),
            balancer: balancer.clone(),
            // Apps here have images of their own: there is nothing to keep.
            library: Some(Arc::new(Tree::open(&std::env::temp_dir(), Path::new("none"), inbox.clone()).unwrap())),
            resolver: Arc::new(FakeResolver),
            prober: Arc::new(FakeProber(inbox.clone())),
            frame,
            inbox: inbox.clone(),
        };
        let seed = Seed::new("test");
        let means =
            Means { messages, hands, ledger: ledger.clone(), kv: None, snapshot: snapshot.clone(), clock, seed };
        tokio::spawn(Loop::new(world, Notices::default(), means).run());
        inbox.tell(Fact::Adopted(None));
        inbox.tell(Fact::Listed { containers: Vec::new(), networks: Vec::new(), local: Vec::new() });
        Self { engine, balancer, ledger, inbox, snapshot }
    }

    pub(super) fn declare(&self, apps: &[&str]) {
        let mut index = Index::default();
        for name in apps {
            let app = parse_file(&format!("apps/{name}.toml"), "image = \"x:1.0\"").unwrap();
            index.apps.insert(app.name.clone(), Arc::new(app));
        }
        self.inbox.tell(Fact::Indexed(Arc::new(index)));
    }

    pub(super) async fn until(&self, what: &str, check: impl Fn(&View) -> bool) -> Arc<View> {
        let waiting = tokio::time::timeout(Duration::from_secs(10), self.snapshot.until(check));
        waiting.await.unwrap_or_else(|_| panic!("{what}: {:?}", self.snapshot.view().status))
    }

    pub(super) async fn until_served(&self, app: &str) -> Arc<View> {
        let name = AppName::parse(app).unwrap();
        let served =
            |v: &View| v.live_routes.as_ref().is_some_and(|r| r.apps.get(&name).is_some_and(|a| !a.main().is_empty()));
        self.until(&format!("{app} is served"), served).await
    }
}
