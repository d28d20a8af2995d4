//! The connections to a listener: how many there are, and which has to go when there are too many.
//!
//! Who is being answered stays. Who has not asked yet, or not to the end, makes room for the next, the longest first:
//! so however many begin a request and never end it, the next one is served.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

use crate::ports::limits::{Full, Held, Limits, Resource};

/// The connections that are open, oldest first.
#[derive(Clone)]
pub struct Doors {
    limits: Limits,
    resource: Resource,
    open: Arc<Mutex<VecDeque<Arc<Door>>>>,
}

/// One connection.
pub struct Door {
    from: IpAddr,
    /// Whether a request is being answered.
    busy: AtomicBool,
    held: Mutex<Option<Held>>,
    closed: Notify,
}

impl Doors {
    pub fn new(limits: Limits, resource: Resource) -> Self {
        Self { limits, resource, open: Arc::default() }
    }

    /// Lets somebody in, in the place of another who has asked nothing, if need be.
    ///
    /// # Errors
    /// Everybody who counts against the same limit is being answered.
    pub fn enter(&self, from: IpAddr) -> Result<Inside, Full> {
        let held = match self.limits.take(self.resource, from) {
            Ok(held) => held,
            Err(full) => {
                let idle = |door: &&Arc<Door>| !door.busy.load(SeqCst) && (!full.by_one || door.from == from);
                let longest = self.lock().iter().find(idle).cloned().ok_or(full)?;
                self.leave(&longest);
                longest.closed.notify_one();
                self.limits.take(self.resource, from)?
            }
        };
        let door =
            Arc::new(Door { from, busy: AtomicBool::new(false), held: Mutex::new(Some(held)), closed: Notify::new() });
        self.lock().push_back(door.clone());
        Ok(Inside { doors: self.clone(), door })
    }

    fn leave(&self, door: &Arc<Door>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, door));
        drop(door.held.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Door>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was let in; what it holds is given back when this is dropped.
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
    /// Resolves when the connection has to go.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }

    /// A request has come whole: until its answer has been sent, the connection stays.
    pub fn asked(self: &Arc<Self>) -> Asked {
        self.busy.store(true, SeqCst);
        Asked(self.clone())
    }
}

/// A request that is being answered.
pub struct Asked(Arc<Door>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.busy.store(false, SeqCst);
    }
}

/// An answer's body; the request is answered when it is dropped.
pub struct Answer {
    body: Body,
    _asked: Asked,
}

impl Answer {
    pub fn new(body: Body, asked: Asked) -> Self {
        Self { body, _asked: asked }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
