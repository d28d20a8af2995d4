//! Following what is outside: the engine's containers and nginx's life, told as facts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::core::container::ContainerId;
use crate::core::names::HostName;
use crate::core::world::Fact;
use crate::ports::balancer::Balancer;
use crate::ports::engine::{Engine, EngineError, Hint};
use crate::ports::inbox::Inbox;
use crate::ports::meters::Meters;
use crate::ports::resolver::Resolver;
use crate::ports::snapshot::{Snapshot, View};

/// Everything is listed anew this often, whatever the events said.
const RELIST: Duration = Duration::from_secs(60);
/// Hosts of registered services are looked up anew this often.
const LOOK_UP: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Follows the engine for ever; while it is away, it is looked for with growing pauses.
pub async fn engine(engine: Arc<dyn Engine>, inbox: Inbox) -> String {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        if let Err(error) = follow_connection(&*engine, &inbox).await {
            tracing::warn!(%error, "the engine is away");
        }
        inbox.tell(Fact::EngineLost);
        if began.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Subscribes first and lists then, so that nothing falls between the two. Containers are inspected side by
/// side: the engine may be slow to describe one that it is clearing up after.
async fn follow_connection(engine: &dyn Engine, inbox: &Inbox) -> Result<(), EngineError> {
    let mut hints = engine.hints().await?;
    list(engine, inbox).await?;
    let mut listed = Instant::now();
    let mut looking = FuturesUnordered::new();
    let mut looked_at: BTreeSet<ContainerId> = BTreeSet::new();
    // Hinted at while they were looked at: the answer on its way may be older than the hint.
    let mut again: BTreeSet<ContainerId> = BTreeSet::new();
    let look = |id: ContainerId| async move { (engine.inspect(&id).await, id) };
    loop {
        let mut to_look = None;
        let hint = tokio::select! {
            hint = hints.next() => match hint {
                Some(hint) => Some(hint?),
                None => return Ok(()),
            },
            Some((answer, id)) = looking.next(), if !looking.is_empty() => {
                looked_at.remove(&id);
                to_look = again.take(&id);
                match answer {
                    Ok(container) => inbox.tell(Fact::Seen(Box::new(container))),
                    Err(EngineError::NotFound(_)) => inbox.tell(Fact::Gone(id)),
                    Err(error) => return Err(error),
                }
                None
            }
            () = sleep_until(listed + RELIST) => Some(Hint::Everything),
        };
        match hint {
            Some(Hint::Everything) => {
                list(engine, inbox).await?;
                listed = Instant::now();
            }
            Some(Hint::Died { id, code, at }) => {
                inbox.tell(Fact::Died { id: id.clone(), code, at });
                to_look = Some(id);
            }
            Some(Hint::Container(id)) => to_look = Some(id),
            None => {}
        }
        if let Some(id) = to_look {
            if looked_at.insert(id.clone()) {
                looking.push(look(id));
            } else {
                again.insert(id);
            }
        }
    }
}

async fn list(engine: &dyn Engine, inbox: &Inbox) -> Result<(), EngineError> {
    let listing = engine.list().await?;
    inbox.tell(Fact::Listed { containers: listing.containers, networks: listing.networks, local: listing.local });
    Ok(())
}

/// Looks up the hosts of registered services, at each change of them and every few seconds.
pub async fn names(resolver: Arc<dyn Resolver>, snapshot: Snapshot, inbox: Inbox) -> String {
    loop {
        let services = snapshot.view().services.clone();
        let urls = services.values().flat_map(|service| &service.endpoints).map(|endpoint| &endpoint.url);
        let hosts: BTreeSet<HostName> = urls.filter_map(|url| url.name().cloned()).collect();
        let look = |host: HostName| {
            let resolver = resolver.clone();
            async move { (resolver.look_up(&host).await, host) }
        };
        let looking: FuturesUnordered<_> = hosts.iter().cloned().map(look).collect();
        let found = looking.map(|(address, host)| (host, address)).collect().await;
        inbox.tell(Fact::LookedUp(found));
        let is_changed = |view: &View| {
            let urls = view.services.values().flat_map(|service| &service.endpoints).map(|endpoint| &endpoint.url);
            urls.filter_map(|url| url.name()).any(|name| !hosts.contains(name))
        };
        // Whether it was a change or the time makes no difference.
        let _ = timeout(LOOK_UP, snapshot.until(is_changed)).await;
    }
}

/// Tells whenever a live balancer ends.
pub async fn balancer(balancer: Arc<dyn Balancer>, snapshot: Snapshot, inbox: Inbox) -> String {
    loop {
        snapshot.until(|view| view.status.generation.live.is_some()).await;
        let reason = balancer.watch().await;
        inbox.tell(Fact::BalancerDied { reason });
        snapshot.until(|view| view.status.generation.live.is_none()).await;
    }
}

/// Tells what the balancer counted, for ever.
pub async fn traffic(balancer: Arc<dyn Balancer>, meters: Meters, inbox: Inbox) -> String {
    loop {
        let counted = balancer.counted().await;
        meters.count(&counted, Timestamp::now());
        inbox.tell(Fact::Counted(counted));
    }
}
