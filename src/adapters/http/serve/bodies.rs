//! Bodies that are being received: however many begin one and never end it, the next one is received.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;

use super::doors::{Door, Doors, Inside};
use super::hooked::{Came, Hooked};
use crate::ports::limits::{Asker, Full, Limits, Resource};

/// A body of which nothing has come for so long makes room for the next one of its asker.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bodies that are large enough to be counted.
#[derive(Clone)]
pub struct Bodies {
    large: Doors,
    uploads: Doors,
}

impl Bodies {
    pub fn new(limits: &Limits) -> Self {
        Self::with(limits, PATIENCE)
    }

    fn with(limits: &Limits, patience: Duration) -> Self {
        let of = |resource| Doors::new(limits.clone(), resource, patience);
        Self { large: of(Resource::LargeBody), uploads: of(Resource::Upload) }
    }

    /// Begins to receive a body of somebody's.
    ///
    /// # Errors
    /// So many are being received, and none of them has to make room.
    pub fn begin(&self, is_upload: bool, from: impl Into<Asker>) -> Result<Inside, Full> {
        if is_upload { &self.uploads } else { &self.large }.enter(from)
    }
}

/// The body on its way. Until it has come whole, or nobody reads on, it may have to make room.
pub fn received(body: Body, door: Arc<Door>) -> Body {
    let reading = Reading(door);
    Hooked::body(body, move |came| {
        match came {
            Came::Part => reading.0.hear(),
            Came::End => reading.0.stay(),
        }
        Ok(())
    })
}

/// Somebody who reads a body.
struct Reading(Arc<Door>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.stay();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::pin::Pin;

    use axum::body::HttpBody;

    use super::*;
    const EACH: usize = 16;

    fn at(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn begun(bodies: &Bodies, from: IpAddr) -> Vec<Inside> {
        (0..EACH).map(|_| bodies.begin(true, from).unwrap()).collect()
    }

    /// Which of them was told to go.
    async fn gone(all: &[Inside]) -> Vec<usize> {
        let mut gone = Vec::new();
        for (n, one) in all.iter().enumerate() {
            tokio::select! { biased; () = one.door.closed() => gone.push(n), () = std::future::ready(()) => {} }
        }
        gone
    }

    #[tokio::test]
    async fn what_two_askers_begin_and_never_end_makes_room_for_a_third() {
        let bodies = Bodies::new(&Limits::default());
        let (one, other) = (begun(&bodies, at(1)), begun(&bodies, at(2)));
        one.iter().chain(&other).for_each(|inside| inside.door.hear());
        let third: Vec<_> = (0..8).map(|_| bodies.begin(true, at(3)).unwrap()).collect();
        // Neither comes back in at the third's cost, who has fewer.
        let back: Vec<_> = (0..4).map(|_| bodies.begin(true, at(1)).map_err(|full| full.by_one)).collect();
        assert_eq!(gone(&third).await, [0usize; 0]);
        assert_eq!(gone(&one).await.len() + gone(&other).await.len(), 8 + back.iter().filter(|b| b.is_ok()).count());
    }

    #[tokio::test]
    async fn who_sends_stays_and_who_has_stopped_makes_room_for_the_next_of_its_asker() {
        let patient = Bodies::new(&Limits::default());
        let all = begun(&patient, at(1));
        assert!(patient.begin(true, at(1)).is_err_and(|full| full.by_one), "all were heard of just now");
        assert_eq!(gone(&all).await, [0usize; 0]);
        let bodies = Bodies::with(&Limits::default(), Duration::ZERO);
        let all = begun(&bodies, at(1));
        all.iter().enumerate().filter(|(n, _)| *n != 5).for_each(|(_, inside)| inside.door.hear());
        let _next = bodies.begin(true, at(1)).unwrap();
        assert_eq!(gone(&all).await, [5]);
    }

    #[tokio::test]
    async fn what_has_come_whole_is_answered() {
        let bodies = Bodies::with(&Limits::default(), Duration::ZERO);
        let all = begun(&bodies, at(1));
        for inside in &all {
            let mut body = received(Body::from("whole"), inside.door.clone());
            while std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.is_some() {}
            std::mem::forget(body);
        }
        assert!(bodies.begin(true, at(1)).is_err());
        drop(all);
        assert!(bodies.begin(true, at(1)).is_ok());
    }
}
