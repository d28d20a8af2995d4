//! Fakes for all ports, and the whole loop run with them: what no real Docker or nginx can be made to do on demand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use jiff::Timestamp;

use super::clock::{Clock, Reading};
use super::execute::Hands;
use super::reconcile::{Loop, Means};
use super::show::first_view;
use crate::adapters::files::Tree;
use crate::core::app::parse_file;
use crate::core::container::{Container, ContainerId, Owner};
use crate::core::decide::Command;
use crate::core::decide::Seed;
use crate::core::deploy::{Counted, Deployment, Entry, GateResult};
use crate::core::names::{AppName, Domain, HostName, ImageRef};
use crate::core::notices::Notices;
use crate::core::release::ImageNow;
use crate::core::render::{Features, Frame, Listeners, Rendered};
use crate::core::repository::Index;
use crate::core::service::Service;
use crate::core::templates::Templates;
use crate::core::testing::{container, platform};
use crate::core::world::{Fact, Found, InstanceSpec, Intent, JobSpec, Platform, ProbeTarget, World, Write};
use crate::core::zone::Zone;
use crate::ports::balancer::{Balancer, BalancerError, BalancerStatus, Generation};
use crate::ports::engine::{Engine, EngineError, EngineVersion, Hints, Listing, LogLines, LogQuery, PlatformNetwork};
use crate::ports::inbox::{CommandError, Inbox};
use crate::ports::ledger::{Ledger, LedgerError};
use crate::ports::meters::Meters;
use crate::ports::prober::Prober;
use crate::ports::resolver::Resolver;
use crate::ports::snapshot::{Snapshot, View};

/// Starts what it is told to, unless the next answer was set.
#[derive(Default)]
struct FakeEngine {
    started: Mutex<Vec<String>>,
    stopped: Mutex<Vec<ContainerId>>,
    answers: Mutex<VecDeque<EngineError>>,
    panics: Mutex<bool>,
}

#[async_trait::async_trait]
impl Engine for FakeEngine {
    async fn version(&self) -> Result<EngineVersion, EngineError> {
        Ok(EngineVersion { version: "fake".into(), api: "1.41".into() })
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        Ok(Listing::default())
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Container, EngineError> {
        Err(EngineError::NotFound(id.to_string()))
    }

    async fn hints(&self) -> Result<Hints, EngineError> {
        Ok(Box::pin(stream::pending()))
    }

    async fn ensure_network(&self, _: &str, _: &Owner, _: Option<&str>) -> Result<PlatformNetwork, EngineError> {
        Ok(PlatformNetwork { gateway: [172, 30, 0, 1].into(), older: Vec::new() })
    }

    async fn connect(&self, _: &ContainerId) -> Result<(), EngineError> {
        Ok(())
    }

    async fn remove_network(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn start(&self, spec: &InstanceSpec) -> Result<Container, EngineError> {
        if std::mem::take(&mut *self.panics.lock().unwrap()) {
            panic!("on purpose");
        }
        if let Some(error) = self.answers.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.started.lock().unwrap().push(spec.name.clone());
        let labels: Vec<(&str, &str)> = spec.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        Ok(container(&spec.name, &labels))
    }

    async fn image_now(&self, _: &ImageRef) -> Result<ImageNow, EngineError> {
        Ok(ImageNow::default())
    }

    async fn image(&self, image: &str, _: Option<&str>) -> Result<Arc<str>, EngineError> {
        Ok(format!("sha256:{image}").into())
    }

    async fn has_image(&self, _: &str) -> Result<bool, EngineError> {
        Ok(false)
    }

    async fn layers_here(&self, _: &[String]) -> Result<usize, EngineError> {
        Ok(0)
    }

    async fn load(&self, _: std::fs::File) -> Result<(), EngineError> {
        Ok(())
    }

    async fn name_image(&self, _: &str, _: &ImageRef) -> Result<(), EngineError> {
        Ok(())
    }

    async fn remove_image(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn job(&self, _: &JobSpec) -> Result<GateResult, EngineError> {
        Ok(GateResult { exit_code: Some(0), error: None, log: Vec::new() })
    }

    async fn restart(&self, _: &ContainerId) -> Result<(), EngineError> {
        Ok(())
    }

    async fn stop(&self, id: &ContainerId, _: Duration) -> Result<(), EngineError> {
        self.stopped.lock().unwrap().push(id.clone());
        Ok(())
    }

    async fn logs(&self, _: &ContainerId, _: LogQuery) -> Result<LogLines, EngineError> {
        Ok(Box::pin(stream::empty()))
    }
}

/// Accepts every generation, unless the next answer was set.
#[derive(Default)]
struct FakeBalancer {
    reached: Mutex<Vec<u64>>,
    answers: Mutex<VecDeque<BalancerError>>,
}

#[async_trait::async_trait]
impl Balancer for FakeBalancer {
    async fn adopt(&self) -> Result<Option<Found>, BalancerError> {
        Ok(None)
    }

    async fn reach(&self, generation: &Generation) -> Result<(), BalancerError> {
        if let Some(error) = self.answers.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.reached.lock().unwrap().push(generation.number);
        Ok(())
    }

    async fn settle(&self, _: u64) -> Result<(), BalancerError> {
        Ok(())
    }

    async fn check(&self, rendered: &Rendered) -> Result<(), BalancerError> {
        match rendered.http.contains("app.bad.") {
            true => Err(BalancerError::Refused { reason: "bad".into(), line: None }),
            false => Ok(()),
        }
    }

    async fn drained(&self, _: SocketAddr, _: Duration) {}

    async fn counted(&self) -> Vec<Counted> {
        std::future::pending().await
    }

    async fn watch(&self) -> String {
        std::future::pending().await
    }

    async fn status(&self) -> BalancerStatus {
        BalancerStatus { state: "running", pid: None, version: "fake".into() }
    }

    async fn quit(&self, _: Duration) {}
}

/// Every probe passes at once.
struct FakeProber(Inbox);

impl Prober for FakeProber {
    fn probe(&self, targets: &[ProbeTarget]) {
        for target in targets {
            self.0.tell(Fact::Probed {
                subject: target.subject.clone(),
                started_at: target.started_at,
                verdict: Ok(()),
            });
        }
    }
}

struct FakeResolver;

#[async_trait::async_trait]
impl Resolver for FakeResolver {
    fn publish(&self, _: Arc<Zone>) {}

    async fn look_up(&self, _: &HostName) -> Result<IpAddr, String> {
        Err("nobody is asked".into())
    }
}

#[derive(Default)]
struct FakeLedger {
    full: Mutex<bool>,
}

impl Ledger for FakeLedger {
    fn recall(&self) -> Result<BTreeMap<AppName, Intent>, LedgerError> {
        Ok(BTreeMap::new())
    }

    fn write(&self, _: &[Write]) -> Result<(), LedgerError> {
        match *self.full.lock().unwrap() {
            true => Err(LedgerError::Broken { path: "ledger".into(), reason: "disk full".into() }),
            false => Ok(()),
        }
    }

    fn services(&self) -> Result<BTreeMap<AppName, Service>, LedgerError> {
        Ok(BTreeMap::new())
    }

    fn inherited(&self) -> Result<Option<BTreeSet<ContainerId>>, LedgerError> {
        Ok(None)
    }

    fn history(&self, _: &AppName, _: usize) -> Result<Vec<Entry>, LedgerError> {
        Ok(Vec::new())
    }

    fn deployments(&self, _: Option<&AppName>, _: usize) -> Result<Vec<Deployment>, LedgerError> {
        Ok(Vec::new())
    }

    fn deployment(&self, _: &str) -> Result<Option<Deployment>, LedgerError> {
        Ok(None)
    }
}

struct Rig {
    engine: Arc<FakeEngine>,
    balancer: Arc<FakeBalancer>,
    ledger: Arc<FakeLedger>,
    inbox: Inbox,
    snapshot: Snapshot,
}

impl Rig {
    /// The whole loop with fakes, before any fact but those that `prepare` arranges.
    fn new(prepare: impl FnOnce(&FakeEngine, &FakeBalancer, &FakeLedger)) -> Self {
        Self::timed(Clock::system(), prepare)
    }

    fn timed(clock: Clock, prepare: impl FnOnce(&FakeEngine, &FakeBalancer, &FakeLedger)) -> Self {
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

    fn declare(&self, apps: &[&str]) {
        let mut index = Index::default();
        for name in apps {
            let app = parse_file(&format!("apps/{name}.toml"), "image = \"x:1.0\"").unwrap();
            index.apps.insert(app.name.clone(), Arc::new(app));
        }
        self.inbox.tell(Fact::Indexed(Arc::new(index)));
    }

    async fn until(&self, what: &str, check: impl Fn(&View) -> bool) -> Arc<View> {
        let waiting = tokio::time::timeout(Duration::from_secs(10), self.snapshot.until(check));
        waiting.await.unwrap_or_else(|_| panic!("{what}: {:?}", self.snapshot.view().status))
    }

    async fn until_served(&self, app: &str) -> Arc<View> {
        let name = AppName::parse(app).unwrap();
        let served =
            |v: &View| v.live_routes.as_ref().is_some_and(|r| r.apps.get(&name).is_some_and(|a| !a.main().is_empty()));
        self.until(&format!("{app} is served"), served).await
    }
}

fn trouble(reason: &str) -> BalancerError {
    BalancerError::Trouble(reason.into())
}

#[tokio::test]
async fn a_reload_that_fails_once_heals_with_no_new_event() {
    let rig = Rig::new(|_, balancer, _| {
        balancer.answers.lock().unwrap().extend([trouble("disk full"), trouble("disk full")])
    });
    rig.declare(&["shop"]);
    rig.until("the trouble is shown", |v| v.status.problems.iter().any(|p| p.reason.contains("disk full"))).await;
    rig.until_served("shop").await;
    rig.until("the trouble is over", |v| v.status.problems.is_empty()).await;
}

#[tokio::test]
async fn a_refused_app_is_found_without_a_line_and_everything_else_goes_on() {
    let refused = || BalancerError::Refused { reason: "could not build hash".into(), line: None };
    let rig = Rig::new(|_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    rig.balancer.answers.lock().unwrap().extend([refused()]);
    // Refused only once "bad" has an upstream: until then nothing of it could be to blame.
    rig.declare(&["shop", "bad", "other"]);
    rig.until_served("other").await;
    rig.until_served("shop").await;
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let rig = Rig::new(|_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    *rig.ledger.full.lock().unwrap() = true;
    let app = AppName::parse("shop").unwrap();
    let answer = rig.inbox.ask(Command::Scale { app: app.clone(), replicas: 5 }, "test").await;
    assert!(matches!(answer, Err(CommandError::NotRecorded(_))), "{answer:?}");
    assert_eq!(rig.engine.started.lock().unwrap().len(), 1);
    *rig.ledger.full.lock().unwrap() = false;
    rig.inbox.ask(Command::Scale { app, replicas: 2 }, "test").await.unwrap();
    rig.until("two", |v| v.status.apps.iter().any(|a| a.ready == 2)).await;
}

#[tokio::test]
async fn a_new_app_starts_only_once_its_release_is_recorded() {
    let rig = Rig::new(|_, _, ledger| *ledger.full.lock().unwrap() = true);
    rig.declare(&["shop"]);
    rig.until("the full ledger is shown", |v| v.status.problems.iter().any(|p| p.subject == "ledger")).await;
    assert!(rig.engine.started.lock().unwrap().is_empty());
    *rig.ledger.full.lock().unwrap() = false;
    rig.until_served("shop").await;
}

#[tokio::test]
async fn instances_found_without_a_record_are_kept() {
    let rig = Rig::new(|_, _, ledger| *ledger.full.lock().unwrap() = true);
    let labels = [("platformer.app", "shop"), ("platformer.version", "1.0"), ("platformer.owner", "me")];
    rig.inbox.tell(Fact::Seen(Box::new(container("shop-1.0-7", &labels))));
    rig.declare(&["shop"]);
    rig.until("the full ledger is shown", |v| v.status.problems.iter().any(|p| p.subject == "ledger")).await;
    *rig.ledger.full.lock().unwrap() = false;
    rig.until_served("shop").await;
    assert!(rig.engine.stopped.lock().unwrap().is_empty() && rig.engine.started.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_act_that_panics_is_reported_and_tried_again() {
    let rig = Rig::new(|engine, _, _| *engine.panics.lock().unwrap() = true);
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
}

#[tokio::test]
async fn a_taken_name_is_no_failure_and_a_missing_image_is_shown() {
    let rig = Rig::new(|engine, _, _| {
        let missing = EngineError::Refused("image x:1.0 is not here".into());
        engine.answers.lock().unwrap().extend([EngineError::NameTaken("shop-1.0-1".into()), missing.clone(), missing]);
    });
    rig.declare(&["shop"]);
    let missing =
        |v: &View| v.status.problems.iter().any(|p| p.subject == "app shop" && p.reason.contains("is not here"));
    rig.until("the missing image", missing).await;
    rig.until_served("shop").await;
    assert_eq!(*rig.engine.started.lock().unwrap(), ["shop-1.0-2"]);
}

#[tokio::test]
async fn a_clock_that_is_set_a_year_forwards_and_back_leaves_routes_and_pauses_as_they_are() {
    let offset: Arc<Mutex<jiff::SignedDuration>> = Arc::default();
    let (seen, began) = (offset.clone(), std::time::Instant::now());
    let clock = Clock::new(move || {
        let steady = began.elapsed();
        Reading { wall: Timestamp::from_second(1_700_000_000).unwrap() + steady + *seen.lock().unwrap(), steady }
    });
    let rig = Rig::timed(clock, |_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    let year = jiff::SignedDuration::from_hours(365 * 24);
    let mut apps = vec!["shop"];
    for (set, app) in [(year, "blog"), (jiff::SignedDuration::ZERO, "docs"), (-year, "wiki")] {
        *offset.lock().unwrap() = set;
        apps.push(app);
        // The pause after it is as long as it is, whatever the clock says.
        rig.balancer.answers.lock().unwrap().push_back(trouble("once"));
        rig.declare(&apps);
        rig.until_served(app).await;
        let view = rig.until("nothing is wrong", |v| v.status.problems.is_empty()).await;
        assert_eq!(view.live_routes.as_ref().unwrap().apps.len(), apps.len());
    }
    assert!(rig.engine.stopped.lock().unwrap().is_empty());
}

async fn close(rig: &Rig) {
    rig.inbox.ask(Command::Close { keep_apps: false }, "test").await.unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while rig.engine.stopped.lock().unwrap().is_empty() {
        assert!(std::time::Instant::now() < end, "nothing was stopped");
        tokio::task::yield_now().await;
    }
    assert_eq!(*rig.engine.stopped.lock().unwrap(), [ContainerId("shop-1.0-1".into())]);
}

#[tokio::test]
async fn closing_stops_what_we_started_and_ends_the_loop() {
    let rig = Rig::new(|_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    close(&rig).await;
}

#[tokio::test]
async fn closing_waits_for_no_balancer_that_has_died_and_cannot_be_started() {
    let rig = Rig::new(|_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    rig.balancer.answers.lock().unwrap().extend(std::iter::repeat_n(trouble("the port is taken"), 1000));
    rig.inbox.tell(Fact::BalancerDied { reason: "killed".into() });
    rig.until("the trouble is shown", |v| v.status.problems.iter().any(|p| p.reason.contains("taken"))).await;
    close(&rig).await;
}
