//! What readers see: one immutable view of the platform, swapped by pointer, and the events between views.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, watch};

use crate::core::asker::Asker;
use crate::core::decide::router_keys::Keys;
use crate::core::event::Event;
use crate::core::names::{AppName, Version};
use crate::core::release::{Blob, Release, path_of};
use crate::core::repository::Index;
use crate::core::routes::Routes;
use crate::core::templates::Templates;
use crate::core::view::{ServiceStatus, Status};
use crate::core::zone::Zone;
use crate::ports::journal::Journal;

/// The platform at one moment.
#[derive(Debug, Clone)]
pub struct View {
    pub status: Status,
    pub routes: Arc<Routes>,
    pub live_routes: Option<Arc<Routes>>,
    pub zone: Option<Arc<Zone>>,
    pub index: Option<Arc<Index>>,
    pub templates: Arc<Templates>,
    /// Registered services.
    pub services: Arc<BTreeMap<AppName, ServiceStatus>>,
    /// The releases of each app.
    pub releases: Arc<BTreeMap<AppName, Releases>>,
    /// Whether facts from every source have come in.
    pub informed: bool,
    /// Grows whenever apps, instances or releases have changed, over restarts too: what Consul calls an index.
    pub number: u64,
}

/// The releases of one app, and which of them has which role.
#[derive(Debug, Clone, PartialEq)]
pub struct Releases {
    pub all: BTreeMap<Version, Release>,
    pub stable: Option<Version>,
    pub candidate: Option<Version>,
    pub previous: Option<Version>,
    /// Where the app stands, for the keys of older routers.
    pub keys: Keys,
}

impl View {
    /// A release's contents by the path under which the repository serves them, without the leading `/`.
    pub fn release_contents(&self, path: &str) -> Option<&Blob> {
        let mut parts = path.strip_prefix("releases/")?.splitn(3, '/');
        let (app, version) = (AppName::parse(parts.next()?).ok()?, Version::parse(parts.next()?).ok()?);
        let release = self.releases.get(&app)?.all.get(&version).filter(|r| !r.pruned)?;
        [&release.artefact, &release.config].into_iter().flatten().find(|blob| path_of(&app, &version, blob) == path)
    }

    /// Who has an address; `None` while the platform's own network is not known.
    pub fn asker(&self, address: IpAddr) -> Option<Asker> {
        match &self.zone {
            Some(zone) => zone.asker(address),
            None => Asker::of(address, &[], address, &[]),
        }
    }

    pub fn stable(&self, app: &AppName) -> Option<Version> {
        self.status.app(app)?.stable.clone()
    }
}

/// How many events are kept for those who reconnect.
pub const KEPT: u32 = 10_000;

/// Hands out views and events. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot(Arc<Inner>);

struct Inner {
    view: ArcSwap<View>,
    changed: watch::Sender<u64>,
    kept: Mutex<VecDeque<Event>>,
    journal: Option<Arc<dyn Journal>>,
    events: broadcast::Sender<Event>,
}

impl Snapshot {
    /// Events are forgotten with the process.
    pub fn new(view: View) -> Self {
        Self::begin(view, Vec::new(), None)
    }

    /// Goes on after the events that were kept, and keeps those to come.
    pub fn keeping(view: View, kept: Vec<Event>, journal: Arc<dyn Journal>) -> Self {
        Self::begin(view, kept, Some(journal))
    }

    fn begin(view: View, kept: Vec<Event>, journal: Option<Arc<dyn Journal>>) -> Self {
        let (events, _) = broadcast::channel(1000);
        Self(Arc::new(Inner {
            view: ArcSwap::from_pointee(view),
            changed: watch::Sender::new(0),
            kept: Mutex::new(kept.into()),
            journal,
            events,
        }))
    }

    pub fn view(&self) -> Arc<View> {
        self.0.view.load_full()
    }

    pub fn swap(&self, view: View) {
        self.0.view.store(Arc::new(view));
        self.0.changed.send_modify(|n| *n += 1);
    }

    /// Waits for a view that satisfies `check`; the caller sets the deadline.
    pub async fn until(&self, check: impl Fn(&View) -> bool) -> Arc<View> {
        let mut changes = self.0.changed.subscribe();
        loop {
            changes.borrow_and_update();
            let view = self.view();
            if check(&view) || changes.changed().await.is_err() {
                return view;
            }
        }
    }

    /// Told of each new view.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Tells an event to whoever listens, and keeps it. Its number is given here.
    pub fn announce(&self, event: Event) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Event { id: kept.back().map_or(1, |e| e.id + 1), ..event };
        self.0.journal.iter().for_each(|journal| journal.note(&event));
        kept.push_back(event.clone());
        if kept.len() > KEPT as usize {
            kept.pop_front();
        }
        // Sent under the lock, so that nobody sees an event twice or misses one; no listener is no error.
        let _ = self.0.events.send(event);
    }

    /// The number of the newest event.
    pub fn newest_event(&self) -> u64 {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).back().map_or(0, |event| event.id)
    }

    /// The events to come.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// The oldest `most` of the kept events after `id`; those to come after all that are kept; and whether some after
    /// `id` are not kept any more.
    pub fn events_after(&self, id: u64, most: usize) -> (Vec<Event>, broadcast::Receiver<Event>, bool) {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = (kept.front().map_or(1, |e| e.id), kept.back().map_or(0, |e| e.id));
        // Whoever has seen more than there is saw what a crash has lost: everything may be new to him.
        let (id, gap) = if id > last { (0, true) } else { (id, id > 0 && id + 1 < first) };
        let after = kept.iter().filter(|e| e.id > id).take(most).cloned().collect();
        (after, self.0.events.subscribe(), gap)
    }
}
