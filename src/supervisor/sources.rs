//! Looking at the sources of apps: in turn, with jitter and back-off, and at once when asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::core::app::{App, Source};
use crate::core::names::{AppName, Version};
use crate::core::source::{Images, Look, newest_release};
use crate::core::world::Fact;
use crate::ports::inbox::Inbox;
use crate::ports::snapshot::{Snapshot, View};
use crate::ports::sources::{Nudge, SourceError, Sources};

/// A place that fails is asked again soon, then ever more rarely, at least once in an hour.
const FAILED: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);

/// When an app is looked at next, and what has been asked for meanwhile.
struct Turn {
    source: Source,
    at: Instant,
    failures: u32,
    /// A place wants to be left alone until then, whoever asks.
    barred: Option<Instant>,
    waiting: Vec<oneshot::Sender<()>>,
    is_looking: bool,
    /// Asked for again while it was looked at: what was found may be older than the asking.
    again: Vec<oneshot::Sender<()>>,
}

/// Looks for ever.
pub async fn follow(
    sources: Arc<dyn Sources>,
    nudges: Arc<Mutex<UnboundedReceiver<Nudge>>>,
    snapshot: Snapshot,
    inbox: Inbox,
) -> String {
    let mut nudges = nudges.lock().await;
    let mut turns: BTreeMap<AppName, Turn> = BTreeMap::new();
    let mut looks = FuturesUnordered::new();
    let mut views = snapshot.changes();
    loop {
        take_over(&mut turns, &snapshot.view());
        let now = Instant::now();
        for (app, turn) in turns.iter_mut().filter(|(_, turn)| !turn.is_looking && turn.at <= now) {
            turn.is_looking = true;
            looks.push(look(sources.clone(), app.clone(), turn.source.clone()));
        }
        let next = turns.values().filter(|turn| !turn.is_looking).map(|turn| turn.at).min();
        tokio::select! {
            changed = views.changed() => if changed.is_err() {
                return "the loop is gone".into();
            },
            // Nobody can ask any more while the platform goes down, which ends this too.
            Some((app, done)) = nudges.recv() => if let Some(turn) = turns.get_mut(&app) {
                turn.asked(done, now);
            },
            Some((app, look, wait)) = looks.next(), if !looks.is_empty() => {
                inbox.tell(Fact::Sourced { app: app.clone(), look });
                if let Some(turn) = turns.get_mut(&app) {
                    turn.looked(wait);
                }
            }
            () = sleep_until(next.unwrap_or(now + LONGEST)) => {}
        }
    }
}

/// Follows the declarations: a new or changed source is looked at now.
fn take_over(turns: &mut BTreeMap<AppName, Turn>, view: &View) {
    let Some(index) = &view.index else { return };
    let source = |app: &Arc<App>| app.source.clone().filter(Source::is_remote);
    turns.retain(|app, turn| index.apps.get(app).and_then(source).as_ref() == Some(&turn.source));
    for (name, app) in index.apps.iter().filter(|(name, _)| !turns.contains_key(*name)).collect::<Vec<_>>() {
        if let Some(source) = source(app) {
            turns.insert(name.clone(), Turn::new(source));
        }
    }
}

impl Turn {
    fn new(source: Source) -> Self {
        let (waiting, again) = (Vec::new(), Vec::new());
        Self { source, at: Instant::now(), failures: 0, barred: None, waiting, is_looking: false, again }
    }

    /// Somebody wants to know now.
    fn asked(&mut self, done: oneshot::Sender<()>, now: Instant) {
        self.at = self.not_barred(now);
        if self.is_looking { self.again.push(done) } else { self.waiting.push(done) }
    }

    fn not_barred(&self, moment: Instant) -> Instant {
        self.barred.map_or(moment, |until| until.max(moment))
    }

    fn looked(&mut self, failed: Option<Option<Duration>>) {
        self.is_looking = false;
        // They may have gone, which is no error.
        self.waiting.drain(..).for_each(|done| _ = done.send(()));
        self.failures = if failed.is_some() { self.failures.saturating_add(1) } else { 0 };
        self.barred = failed.flatten().map(|wait| Instant::now() + wait);
        let pause = match failed {
            None => self.source.poll.get(),
            Some(wait) => {
                FAILED.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST).max(wait.unwrap_or_default())
            }
        };
        let next = if self.again.is_empty() { jittered(pause) } else { Duration::ZERO };
        self.at = self.not_barred(Instant::now() + next);
        self.waiting.append(&mut self.again);
    }
}

/// Up to a tenth shorter or longer, so that many platforms do not ask at the same moment. The clock's low digits are
/// random enough for that.
fn jittered(pause: Duration) -> Duration {
    let nanos = u32::try_from(Timestamp::now().subsec_nanosecond()).unwrap_or_default() % 1000;
    pause.mul_f64(0.9 + f64::from(nanos) / 5000.0)
}

/// What there is, and if a place failed, how long it wants to be left alone.
async fn look(sources: Arc<dyn Sources>, app: AppName, source: Source) -> (AppName, Look, Option<Option<Duration>>) {
    let images = async {
        let image = source.image.as_ref()?;
        Some(images(&*sources, &source, sources.tags(image).await).await)
    };
    let git = async {
        let url = source.git.as_ref()?;
        Some(sources.git(&app, url).await)
    };
    let (images, git) = tokio::join!(images, git);
    let errors = [images.as_ref().and_then(|r| r.as_ref().err()), git.as_ref().and_then(|r| r.as_ref().err())];
    let failed = errors.into_iter().flatten().map(|error| error.wait).max();
    let said = |error: SourceError| error.reason;
    let found =
        Look { at: Timestamp::now(), images: images.map(|r| r.map_err(said)), git: git.map(|r| r.map_err(said)) };
    (app, found, failed)
}

/// The tags, with the digests of those that may be deployed: the newest release and the pinned one.
async fn images(
    sources: &dyn Sources,
    source: &Source,
    tags: Result<Vec<Version>, SourceError>,
) -> Result<Images, SourceError> {
    let mut images: Images = tags?.into_iter().map(|version| (version, None)).collect();
    let newest = newest_release(images.keys()).cloned();
    for version in newest.into_iter().chain(source.pin.clone()) {
        // As the registry spells it.
        let Some(tag) = images.get_key_value(&version).map(|(tag, _)| tag.clone()) else { continue };
        if let Some(image) = source.image_of(&tag) {
            let digest = sources.digest(&image).await?;
            images.insert(tag, Some(digest));
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_wants_to_be_left_alone_is_whoever_asks() {
        let hour = Duration::from_secs(3600);
        let mut turn = Turn::new(Source::default());
        let asked = |turn: &mut Turn| turn.asked(oneshot::channel().0, Instant::now());
        asked(&mut turn);
        assert!(turn.at <= Instant::now());
        turn.is_looking = true;
        asked(&mut turn);
        let began = Instant::now();
        turn.looked(Some(Some(hour)));
        assert!(turn.at >= began + hour, "somebody asked again meanwhile");
        asked(&mut turn);
        assert!(turn.at >= began + hour, "somebody asks");
        turn.looked(None);
        asked(&mut turn);
        assert!(turn.at <= Instant::now(), "it has answered");
    }
}
