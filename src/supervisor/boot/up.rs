//! Boots in this order: DNS, repository, load balancer, apps.
//!
//! Stopping is the same order backwards. What can be wrong is found before anything that serves is touched.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::doctor::Machine;
use super::files_of::{watch_repository, watch_templates};
use super::places::{
    check_free, dns_addresses, dns_options, follow_upstreams, listeners, load_templates, machine_names, network, owner,
    raise_open_files, random_seed, taken,
};
use super::progress::{BootError, Progress};
use super::{frame, ready};
use crate::adapters::engine::docker::DockerEngine;
use crate::adapters::files::Tree;
use crate::adapters::nginx::{self, Nginx};
use crate::adapters::probe::Probes;
use crate::adapters::seal::KeptSeal;
use crate::adapters::sources::Remote;
use crate::adapters::store::{Events, Keys, Store};
use crate::adapters::{dns, http, notices};
use crate::core::decide::Command;
use crate::core::notices::Notices;
use crate::core::templates::Templates;
use crate::core::world::{Fact, Platform, World};
use crate::ports::balancer::Balancer;
use crate::ports::engine::Engine;
use crate::ports::inbox::Inbox;
use crate::ports::kv::Kv;
use crate::ports::ledger::Ledger;
use crate::ports::limits::Limits;
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;
use crate::ports::seal::Seal;
use crate::ports::snapshot::Snapshot;
use crate::ports::sources::{Nudges, Sources};
use crate::settings::Settings;
use crate::supervisor::clock::Clock;
use crate::supervisor::execute::Hands;
use crate::supervisor::lock::{self, Lock};
use crate::supervisor::reconcile::{CLOSED, Loop, Means};
use crate::supervisor::show::first_view;
use crate::supervisor::tasks::Tasks;
use crate::supervisor::{disk, follow, private, sources};

/// Requests under way when the balancer is stopped may take this long.
const QUIT: Duration = Duration::from_secs(10);

/// Boots, then runs until `stop` resolves or somebody asks for it over the API.
pub async fn up(settings: Settings, progress: &dyn Progress, stop: impl Future<Output = ()>) -> Result<(), BootError> {
    raise_open_files();
    private::begin();
    let lock = Lock::take(&settings.state)?;
    private::tighten(&settings.state, &["nginx", "supervisor.sock"])
        .map_err(|e| BootError::Other(format!("{}: {e}", settings.state.display())))?;
    let token = lock::token(&settings.state)?;
    let seal = lock::seal(&settings.state)?;
    let seal: Arc<dyn Seal> = Arc::new(KeptSeal::new(&seal).map_err(BootError::Other)?);
    let targets = settings.notify.iter().map(|n| notices::Target::new(&n.url, n.format, n.level));
    let targets: Vec<notices::Target> = targets.collect::<Result<_, _>>().map_err(BootError::Other)?;
    let limits = Limits::with(&settings.limits).map_err(BootError::Other)?;
    let (inbox, messages) = Inbox::new();
    let store = Arc::new(Store::open(&settings.state, inbox.complaints())?);
    let found = nginx::find(&settings.nginx.binary).map_err(BootError::Other)?;
    let engine: Arc<dyn Engine> =
        Arc::new(DockerEngine::new(&settings.docker.host, &settings.docker.network, Some(seal.clone())));
    let network = network(&settings, &*engine, progress).await?;
    let gateway = network.gateway;
    let mut tasks = Tasks::default();
    let (stopping, stopped) = watch::channel(false);

    // DNS
    let began = Instant::now();
    let meters = Meters::default();
    let addresses = dns_addresses(&settings, &network);
    let names = dns::Names::new(meters.clone(), limits.clone());
    follow_upstreams(&mut tasks, &settings, &addresses, &names, progress).await;
    let sockets = dns::bind(&addresses).map_err(|e| taken(e.address, "listen.dns", "udp", e.source))?;
    let detail = sockets.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let served = names.clone();
    let names_server = tasks.essential("dns", dns::serve(sockets, served));
    progress.done("DNS", &detail, began.elapsed());

    // Repository
    let began = Instant::now();
    let folder = &settings.repository.path;
    let tree = Tree::open(folder, &settings.state.join("contents"), inbox.clone())
        .map_err(|e| BootError::Other(format!("repository {}: {e}", folder.display())))?;
    inbox.tell(Fact::Recalled(store.recall()?));
    inbox.tell(Fact::Registered(store.services()?));
    inbox.tell(Fact::Inherited(store.inherited()?));
    {
        let scanned = tree.clone();
        tokio::task::spawn_blocking(move || scanned.rescan(true)).await.map_err(|e| BootError::Other(e.to_string()))?;
    }
    progress.done("repository", &tree.root().display().to_string(), began.elapsed());

    // Load balancer
    let began = Instant::now();
    let nginx_folder = settings.state.join("nginx");
    let supervisor_socket = settings.state.join("supervisor.sock");
    let frame = Arc::new(
        frame::own(&settings, found.features(), &nginx_folder, &supervisor_socket, gateway)
            .map_err(BootError::Other)?,
    );
    if let Some(lack) = found.lacks() {
        progress.warn(&format!("nginx {}: {lack}", found.version));
    }
    let version = found.version;
    let balancer: Arc<dyn Balancer> = Arc::new(
        Nginx::new(
            found,
            nginx_folder.clone(),
            settings.nginx.workers.count(),
            settings.nginx.connections.0,
            limits.clone(),
        )
        .map_err(|e| BootError::Other(e.to_string()))?,
    );
    let group = frame::workers_group(&frame);
    private::let_through(&nginx_folder, group).map_err(|e| BootError::Other(e.to_string()))?;
    let adopted = balancer.adopt().await.map_err(|e| BootError::Other(e.to_string()))?;
    if balancer.status().await.pid.is_none() {
        check_free(&frame.listen.http).await?;
    }
    let how =
        adopted.as_ref().map_or("started".to_owned(), |found| format!("adopted at generation {}", found.generation));
    inbox.tell(Fact::Adopted(adopted));
    let templates = Arc::new(load_templates(settings.templates.as_deref()).map_err(BootError::Other)?);
    let platform = Platform {
        domain: settings.domain.clone(),
        owner: owner(&settings),
        network: settings.docker.network.as_str().into(),
        gateway,
        listeners: listeners(&frame.listen, &addresses, settings.listen.api),
        http: frame.listen.http.clone(),
        machine: machine_names(&settings),
        port: settings.listen.internal.resolve(gateway).port(),
        dns: dns_options(&settings),
        frame: frame.fingerprint(),
        follow_only: false,
        checks_certificates: frame.services_ca.is_some(),
    };
    let clock = Clock::system();
    let world = World::new(platform, templates.clone(), clock.now());
    let (events, kept) = Events::open(&settings.state, &inbox.complaints(), clock.now())?;
    let told = Notices::recall(&kept);
    let snapshot = Snapshot::keeping(first_view(&world, &templates), kept, Arc::new(events));
    let remote: Arc<dyn Sources> = Arc::new(Remote::new(settings.state.join("git")).map_err(BootError::Other)?);
    let (nudges, nudged) = Nudges::new();
    let kv: Arc<dyn Kv> = Arc::new(Keys::open(&settings.state, inbox.complaints())?);
    let context = http::Context {
        snapshot: snapshot.clone(),
        inbox: inbox.clone(),
        library: Arc::new(tree.clone()),
        engine: engine.clone(),
        doctor: Arc::new(Machine(Arc::new(settings.clone()))),
        balancer: balancer.clone(),
        ledger: store.clone(),
        kv: kv.clone(),
        seal: seal.clone(),
        meters: meters.clone(),
        bodies: http::Bodies::new(&limits),
        limits,
        frame: frame.clone(),
        tokens: store.clone(),
        once: Arc::default(),
        uploads: settings.state.join("uploads").into(),
        nudges,
        links: Arc::default(),
        listed: Arc::default(),
        indices: Arc::default(),
        network: settings.docker.network.as_str().into(),
        keyring: Arc::new(http::Keyring::open(store.clone(), &token, lock::secret)?),
        started_at: Timestamp::now(),
        repository: http::Served { open: settings.repository.open, require_token: settings.repository.require_token },
        services_open: settings.services.open,
        webhook_callback: settings.webhooks.callback,
        allowed_hosts: settings.api.allowed_hosts.clone().into(),
        trusted_origins: settings.api.trusted_origins.clone().into(),
    };
    let unix = private::listen(&supervisor_socket, group)
        .map_err(|e| BootError::Other(format!("{}: {e}", supervisor_socket.display())))?;
    let api =
        TcpListener::bind(settings.listen.api).await.map_err(|e| taken(settings.listen.api, "listen.api", "tcp", e))?;
    serve(&mut tasks, "what nginx asks", http::serve_internal(unix, context.clone(), until(stopped.clone())));
    serve(&mut tasks, "api", http::serve_api(api, context, until(stopped.clone())));
    let prober = Arc::new(Probes::new(inbox.clone()));
    let names: Arc<dyn Resolver> = Arc::new(names);
    let hands = Hands {
        engine: engine.clone(),
        balancer: balancer.clone(),
        library: Some(Arc::new(tree.clone())),
        resolver: names.clone(),
        prober,
        frame,
        seal: Some(seal),
        meters: meters.clone(),
        inbox: inbox.clone(),
    };
    let means =
        Means { messages, hands, ledger: store, kv: Some(kv), snapshot: snapshot.clone(), clock, seed: random_seed()? };
    let mut reconciling = tokio::spawn(Loop::new(world, told, means).run());
    {
        let (snapshot, inbox) = (snapshot.clone(), inbox.clone());
        tasks.renewed("look names up", move || follow::names(names.clone(), snapshot.clone(), inbox.clone()));
    }
    {
        let (nudged, snapshot, inbox) = (Arc::new(Mutex::new(nudged)), snapshot.clone(), inbox.clone());
        tasks.renewed("look at sources", move || {
            sources::follow(remote.clone(), nudged.clone(), snapshot.clone(), inbox.clone())
        });
    }
    for target in targets {
        let (platform, snapshot) = (settings.domain.to_string(), snapshot.clone());
        tasks.renewed("notify", move || notices::forward(target.clone(), platform.clone(), snapshot.clone()));
    }
    follow_everything(
        &mut tasks,
        &settings,
        engine,
        balancer.clone(),
        meters,
        tree,
        templates,
        snapshot.clone(),
        inbox.clone(),
    );

    let booted = async {
        let live = ready::balancer(&snapshot, progress).await;
        progress.done("load balancer", &format!("nginx {version} {how}, generation {live} live"), began.elapsed());
        ready::apps(&snapshot, progress).await;
    };
    let running = async {
        booted.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // Refused only if the platform is closing already.
        () = stop => {
            let _ = inbox.ask(Command::Close { keep_apps: false }, "signal").await;
        }
        () = running => {}
        // The balancer goes on serving: whoever restarts us adopts it.
        reason = tasks.ended() => return Err(BootError::Died(reason)),
        end = &mut reconciling => ended_well(end)?,
    }
    if !reconciling.is_finished() {
        ended_well(reconciling.await)?;
    }
    let began = Instant::now();
    balancer.quit(QUIT).await;
    progress.done("load balancer", "stopped", began.elapsed());
    names_server.abort();
    drop(lock);
    // Last, since `down` waits for the API to be gone: answers under way are finished, all else is free by now.
    let _ = stopping.send(true);
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

/// The loop ends by itself only when the platform is closed.
fn ended_well(end: Result<String, tokio::task::JoinError>) -> Result<(), BootError> {
    match end {
        Ok(reason) if reason == CLOSED => Ok(()),
        Ok(reason) => Err(BootError::Died(reason)),
        Err(error) => Err(BootError::Died(format!("the loop failed: {error}"))),
    }
}

#[allow(clippy::too_many_arguments)]
fn follow_everything(
    tasks: &mut Tasks,
    settings: &Settings,
    engine: Arc<dyn Engine>,
    balancer: Arc<dyn Balancer>,
    meters: Meters,
    tree: Tree,
    templates: Arc<Templates>,
    snapshot: Snapshot,
    inbox: Inbox,
) {
    {
        let inbox = inbox.clone();
        tasks.renewed("follow the engine", move || follow::engine(engine.clone(), inbox.clone()));
    }
    {
        let (balancer, inbox) = (balancer.clone(), inbox.clone());
        tasks.renewed("count requests", move || follow::traffic(balancer.clone(), meters.clone(), inbox.clone()));
    }
    {
        let inbox = inbox.clone();
        tasks.renewed("follow nginx", move || follow::balancer(balancer.clone(), snapshot.clone(), inbox.clone()));
    }
    watch_repository(tasks, tree);
    disk::follow(tasks, settings, inbox.clone());
    if let Some(folder) = settings.templates.clone() {
        tasks.renewed("watch the templates", move || watch_templates(folder.clone(), templates.clone(), inbox.clone()));
    }
}

fn serve(tasks: &mut Tasks, name: &'static str, serving: impl Future<Output = std::io::Result<()>> + Send + 'static) {
    tasks.essential(name, async move {
        match serving.await {
            Ok(()) => std::future::pending().await,
            Err(error) => error.to_string(),
        }
    });
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // The sender lives as long as the platform.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
