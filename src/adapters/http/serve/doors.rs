//! The connections to a listener, or the bodies that are being received: how many there are, and which has to go when
//! there are too many.
//!
//! Who is being answered stays. Who has not asked yet, or not to the end, makes room for the next: first of all those of
//! the asker that has the most of them. So however many begin a request and never end it, the next one is served.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ports::limits::{Asker, Full, Held, Limits, Resource};

/// Those that are open, oldest first.
#[derive(Clone)]
pub struct Doors {
    limits: Limits,
    resource: Resource,
    /// Who was heard of within so long makes room only where one asker has most of them.
    patience: Duration,
    open: Arc<Mutex<VecDeque<Arc<Door>>>>,
}

/// One connection, or one body.
pub struct Door {
    from: Asker,
    /// Whether a request is being answered.
    busy: AtomicBool,
    /// When something came last.
    heard: Mutex<Instant>,
    held: Mutex<Option<Held>>,
    closed: Notify,
}

impl Doors {
    pub fn new(limits: Limits, resource: Resource, patience: Duration) -> Self {
        Self { limits, resource, patience, open: Arc::default() }
    }

    /// Lets somebody in, in the place of another who has not asked to the end, if need be.
    ///
    /// # Errors
    /// Everybody who counts against the same limit is being answered, or heard of.
    pub fn enter(&self, from: impl Into<Asker>) -> Result<Inside, Full> {
        let from = from.into();
        let held = match self.limits.take(self.resource, from.clone()) {
            Ok(held) => held,
            Err(full) => {
                let other = self.gives_way(&from, full).ok_or(full)?;
                self.leave(&other);
                other.closed.notify_one();
                self.limits.take(self.resource, from.clone())?
            }
        };
        let door = Arc::new(Door {
            from,
            busy: AtomicBool::new(false),
            heard: Mutex::new(Instant::now()),
            held: Mutex::new(Some(held)),
            closed: Notify::new(),
        });
        self.lock().push_back(door.clone());
        Ok(Inside { doors: self.clone(), door })
    }

    /// Who has to go for somebody from `from`. Nobody makes others go by having more than they do.
    fn gives_way(&self, from: &Asker, full: Full) -> Option<Arc<Door>> {
        let open = self.lock();
        let mut idle: Vec<(Instant, &Arc<Door>)> =
            open.iter().filter(|door| !door.busy.load(SeqCst)).map(|door| (door.last_heard(), door)).collect();
        idle.sort_by_key(|(heard, _)| *heard);
        let of = |asker: &Asker| idle.iter().find(|(_, door)| door.from == *asker);
        let mut counts: HashMap<&Asker, usize> = HashMap::new();
        idle.iter().for_each(|(_, door)| *counts.entry(&door.from).or_default() += 1);
        let own = counts.get(from).copied().unwrap_or_default();
        let most = counts.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| **count > own);
        let now = Instant::now();
        let is_silent = |(heard, _): &&(Instant, &Arc<Door>)| now.duration_since(*heard) >= self.patience;
        let found = match (full.by_one, most) {
            (true, _) => of(from).filter(is_silent),
            (false, Some((asker, _))) => of(asker),
            (false, None) => idle.first().filter(is_silent),
        };
        found.map(|(_, door)| (*door).clone())
    }

    fn leave(&self, door: &Arc<Door>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, door));
        drop(door.held.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Door>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that was let in; what it holds is given back when this is dropped.
pub struct Inside {
    doors: Doors,
    pub door: Arc<Door>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.doors.leave(&self.door);
    }
}

impl Door {
    /// Resolves when it has to go.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Something of what it has to say has come.
    pub fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last_heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come whole: until its answer has been sent, it stays.
    pub fn asked(self: &Arc<Self>) -> Asked {
        self.stay();
        Asked(self.clone())
    }

    /// From now on it makes room for nobody.
    pub fn stay(&self) {
        self.busy.store(true, SeqCst);
    }
}

/// A request that is being answered.
pub struct Asked(Arc<Door>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.busy.store(false, SeqCst);
    }
}
