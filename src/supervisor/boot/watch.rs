//! Watch mode: the same following and rendering for an nginx that somebody else runs, and nothing else.
//!
//! No DNS, no repository over HTTP, no network is made, no container is started or stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::files_of::{watch_repository, watch_templates};
use super::frame;
use super::places::{dns_options, load_templates, machine_names, random_seed};
use super::progress::{BootError, Progress};
use crate::adapters::engine::docker::DockerEngine;
use crate::adapters::files::Tree;
use crate::adapters::nginx::{self, ForeignNginx};
use crate::adapters::probe::Probes;
use crate::core::container::{ContainerId, Owner};
use crate::core::deploy::{Deployment, Entry};
use crate::core::names::{AppName, HostName};
use crate::core::notices::Notices;
use crate::core::service::Service;
use crate::core::world::{Fact, Intent, Platform, World, Write};
use crate::core::zone::Zone;
use crate::ports::balancer::Reload;
use crate::ports::engine::Engine;
use crate::ports::inbox::Inbox;
use crate::ports::ledger::{Ledger, LedgerError};
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;
use crate::ports::snapshot::Snapshot;
use crate::settings::Settings;
use crate::supervisor::clock::Clock;
use crate::supervisor::execute::Hands;
use crate::supervisor::follow;
use crate::supervisor::reconcile::{Loop, Means};
use crate::supervisor::show::first_view;
use crate::supervisor::tasks::Tasks;

/// What `watch` is told beyond the settings.
#[derive(Debug, Clone)]
pub struct Options {
    pub out: PathBuf,
    pub full: bool,
    pub reload: Reload,
    /// Write once what there is now, and end.
    pub once: bool,
}

/// Follows containers, templates and app files until `stop` resolves.
pub async fn watch(
    settings: Settings,
    options: Options,
    progress: &dyn Progress,
    stop: impl Future<Output = ()>,
) -> Result<(), BootError> {
    let other = |e: String| BootError::Other(e);
    let engine: Arc<dyn Engine> = Arc::new(DockerEngine::new(&settings.docker.host, &settings.docker.network, None));
    let version = engine.version().await?;
    // Without an nginx beside us the oldest one is rendered for.
    let features = nginx::find(&settings.nginx.binary).map(|found| found.features()).unwrap_or_default();
    let out = options.out.clone();
    let balancer = ForeignNginx::new(out.clone(), options.full, options.reload.clone())
        .map_err(|e| other(format!("{}: {e}", out.display())))?;
    let frame = Arc::new(frame::foreign(&settings, features, &out, options.full).map_err(other)?);
    let templates = Arc::new(load_templates(settings.templates.as_deref()).map_err(other)?);
    let (inbox, messages) = Inbox::new();
    let platform = Platform {
        domain: settings.domain.clone(),
        // No container carries it: all of them are other people's.
        owner: Owner("watch".into()),
        network: settings.docker.network.as_str().into(),
        gateway: [127, 0, 0, 1].into(),
        port: 80,
        http: frame.listen.http.clone(),
        machine: machine_names(&settings),
        listeners: Vec::new(),
        dns: dns_options(&settings),
        frame: frame.fingerprint(),
        follow_only: true,
        checks_certificates: false,
    };
    let clock = Clock::system();
    let world = World::new(platform, templates.clone(), clock.now());
    let snapshot = Snapshot::new(first_view(&world, &templates));
    let mut events = snapshot.events();
    inbox.tell(Fact::Adopted(None));
    let mut tasks = Tasks::default();
    if settings.repository.path.is_dir() {
        let tree = Tree::open(&settings.repository.path, &out.join("contents"), inbox.clone())
            .map_err(|e| other(e.to_string()))?;
        tree.rescan(true);
        watch_repository(&mut tasks, tree);
    }
    if let Some(folder) = settings.templates.clone() {
        let (templates, inbox) = (templates.clone(), inbox.clone());
        tasks.renewed("watch the templates", move || watch_templates(folder.clone(), templates.clone(), inbox.clone()));
    }
    let hands = Hands {
        meters: Meters::default(),
        seal: None,
        engine: engine.clone(),
        balancer: Arc::new(balancer),
        library: None,
        resolver: Arc::new(Nobody),
        prober: Arc::new(Probes::new(inbox.clone())),
        frame,
        inbox: inbox.clone(),
    };
    tasks.renewed("follow the engine", move || follow::engine(engine.clone(), inbox.clone()));
    let reconciling = {
        let (snapshot, seed) = (snapshot.clone(), random_seed()?);
        let means = Means { messages, hands, ledger: Arc::new(Nobody), kv: None, snapshot, clock, seed };
        tokio::spawn(Loop::new(world, Notices::default(), means).run())
    };
    progress.done(
        "watch",
        &format!("Docker {}, writing to {}", version.version, out.display()),
        std::time::Duration::ZERO,
    );
    let written = async {
        snapshot.until(|view| view.status.generation.live.is_some()).await;
        if !options.once {
            std::future::pending::<()>().await;
        }
    };
    // There is no API to ask here: what is wrong is said as it is found.
    let telling = async {
        loop {
            match events.recv().await {
                Ok(event) if event.kind == "problem" => progress.warn(&format!("{}: {}", event.subject, event.message)),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        () = stop => Ok(()),
        () = written => Ok(()),
        () = telling => Ok(()),
        reason = tasks.ended() => Err(BootError::Died(reason)),
        end = reconciling => Err(BootError::Died(end.unwrap_or_else(|e| e.to_string()))),
    }
}

/// Watch mode answers no names and remembers nothing.
struct Nobody;

#[async_trait::async_trait]
impl Resolver for Nobody {
    fn publish(&self, _zone: Arc<Zone>) {}

    async fn look_up(&self, _name: &HostName) -> Result<IpAddr, String> {
        Err("names are not looked up here".into())
    }
}

impl Ledger for Nobody {
    fn recall(&self) -> Result<BTreeMap<AppName, Intent>, LedgerError> {
        Ok(BTreeMap::new())
    }

    fn write(&self, _writes: &[Write]) -> Result<(), LedgerError> {
        Ok(())
    }

    fn services(&self) -> Result<BTreeMap<AppName, Service>, LedgerError> {
        Ok(BTreeMap::new())
    }

    fn inherited(&self) -> Result<Option<BTreeSet<ContainerId>>, LedgerError> {
        Ok(None)
    }

    fn history(&self, _app: &AppName, _limit: usize) -> Result<Vec<Entry>, LedgerError> {
        Ok(Vec::new())
    }

    fn deployments(&self, _app: Option<&AppName>, _limit: usize) -> Result<Vec<Deployment>, LedgerError> {
        Ok(Vec::new())
    }

    fn deployment(&self, _id: &str) -> Result<Option<Deployment>, LedgerError> {
        Ok(None)
    }
}
