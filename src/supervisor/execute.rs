//! Runs actions on ports; each result returns as a fact.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::blame::Search;
use crate::core::brain::Ticket;
use crate::core::container::{Container, ContainerId};
use crate::core::deploy::GateResult;
use crate::core::names::ImageRef;
use crate::core::release::{Blob, Images, Release};
use crate::core::render::{Frame, Renderer, app_at_line};
use crate::core::world::{Action, Fact, InstanceSpec, Switch, SwitchError, Undone, Unprepared};
use crate::ports::balancer::{Balancer, BalancerError, Generation};
use crate::ports::engine::{Engine, EngineError};
use crate::ports::inbox::Inbox;
use crate::ports::library::{Library, LibraryError};
use crate::ports::meters::Meters;
use crate::ports::prober::Prober;
use crate::ports::resolver::Resolver;
use crate::ports::seal::Seal;

/// So much of what an instance wrote is kept when its deployment has failed.
const LAST_LINES: usize = 50;
/// An engine that takes longer to tell it is not waited for: the container has to go.
const READING: Duration = Duration::from_secs(5);

/// Somebody waits for the answer to a command.
const ASKING: Duration = Duration::from_secs(8);

/// The ports that actions are run on.
#[derive(Clone)]
pub struct Hands {
    pub engine: Arc<dyn Engine>,
    pub balancer: Arc<dyn Balancer>,
    /// `None` in watch mode, which makes no releases.
    pub library: Option<Arc<dyn Library>>,
    pub resolver: Arc<dyn Resolver>,
    pub prober: Arc<dyn Prober>,
    pub frame: Arc<Frame>,
    /// `None` in watch mode, which starts nothing.
    pub seal: Option<Arc<dyn Seal>>,
    pub meters: Meters,
    pub inbox: Inbox,
}

impl Hands {
    /// Begins an action. What is quick is done at once; the rest goes on by itself and tells its result,
    /// also if it panics, so that nothing waits for ever.
    pub fn run(&self, action: Action) {
        let hands = self.clone();
        match action {
            Action::Publish(zone) => self.resolver.publish(zone),
            Action::Probe(targets) => self.prober.probe(&targets),
            Action::Keep { kept, gone } => {
                self.library.iter().for_each(|library| library.forget_all_but(&kept.contents));
                self.remove_images(gone);
            }
            Action::Switch(switch) => {
                let generation = switch.generation;
                let failed = Fact::Unswitched { generation, error: SwitchError::Trouble { reason: panicked() } };
                self.go(Some(failed), async move { Some(hands.switch(switch).await) });
            }
            Action::Start(mut spec) => {
                let failed = Fact::Started { name: spec.name.clone(), result: Err(Undone::Refused(panicked())) };
                self.give_token(&mut spec);
                self.go(Some(failed), async move {
                    Some(match hands.engine.start(&spec).await {
                        Err(EngineError::NameTaken(name)) => Fact::NameTaken(name),
                        result => Fact::Started { name: spec.name, result: result.map(Box::new).map_err(undone) },
                    })
                });
            }
            Action::Restart(id) => {
                let failed = Fact::Restarted { id: id.clone(), result: Err(Undone::Refused(panicked())) };
                self.go(Some(failed), async move {
                    let result = hands.engine.restart(&id).await.map_err(undone);
                    // Told first, so that a start again is not taken for one that nothing came of.
                    if let (Ok(()), Ok(container)) = (&result, hands.engine.inspect(&id).await) {
                        hands.inbox.tell(Fact::Seen(Box::new(container)));
                    }
                    Some(Fact::Restarted { id, result })
                });
            }
            Action::Connect(id) => self.go(None, async move {
                match hands.join(&id).await {
                    Ok(container) => Some(Fact::Seen(Box::new(container))),
                    Err(error) => {
                        tracing::warn!(container = %id, %error, "it is not on the platform's network yet");
                        None
                    }
                }
            }),
            Action::RemoveNetwork(name) => self.go(None, async move {
                match hands.engine.remove_network(&name).await {
                    Ok(()) => tracing::info!(network = %name, "an older network of the platform was removed"),
                    Err(error) => tracing::warn!(network = %name, %error, "an older network of the platform stays"),
                }
                None
            }),
            Action::Drain { id, address, limit } => self.go(Some(Fact::Drained(id.clone())), async move {
                if let Some(address) = address {
                    hands.balancer.drained(address, limit).await;
                }
                Some(Fact::Drained(id))
            }),
            Action::Stop { id, grace, log_for } => {
                let failed = Fact::Stopped { id: id.clone(), result: Err(panicked()) };
                self.go(Some(failed), async move {
                    if let Some(deployment) = log_for {
                        hands.inbox.tell(Fact::Wrote { deployment, lines: hands.last_lines(&id).await });
                    }
                    let result = hands.engine.stop(&id, grace).await.map_err(|e| e.to_string());
                    Some(Fact::Stopped { id, result })
                });
            }
            Action::Prepare { app, release } => {
                let version = release.version.clone();
                let told = |result| Fact::Prepared { app, version, result };
                let failed = told.clone()(Err(Unprepared::Later(panicked())));
                self.go(Some(failed), async move { Some(told(hands.prepare(&release).await)) });
            }
            Action::Gate { deployment, job } => {
                let told = |result| Fact::Gated { deployment, result };
                let failed = told.clone()(ungated(panicked()));
                self.go(Some(failed), async move {
                    Some(told(hands.engine.job(&job).await.unwrap_or_else(|error| ungated(error.to_string()))))
                });
            }
        }
    }

    /// Has work go on by itself, and tells what came of it.
    fn go(&self, failed: Option<Fact>, work: impl Future<Output = Option<Fact>> + Send + 'static) {
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let told = tokio::spawn(work).await.unwrap_or(failed);
            told.into_iter().for_each(|fact| inbox.tell(fact));
        });
    }

    /// Asks what the names of images mean that a command waits for.
    pub fn ask_images(&self, ticket: Ticket, images: BTreeSet<ImageRef>) {
        let (engine, inbox) = (self.engine.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let mut asked = Images::new();
            for image in images {
                // An engine that is away knows nothing, which the decision has to do with.
                let now = timeout(ASKING, engine.image_now(&image)).await.ok().and_then(Result::ok);
                asked.insert(image, now.unwrap_or_default());
            }
            inbox.images(ticket, asked);
        });
    }

    /// Nothing waits for it: an image that stays costs space only.
    fn remove_images(&self, images: Vec<ImageRef>) {
        if images.is_empty() {
            return;
        }
        let engine = self.engine.clone();
        tokio::spawn(async move {
            for image in images {
                if let Err(error) = engine.remove_image(image.as_str()).await {
                    tracing::warn!(%image, %error, "an image of a release that is kept no more stays");
                }
            }
        });
    }

    async fn join(&self, id: &ContainerId) -> Result<Container, EngineError> {
        self.engine.connect(id).await?;
        self.engine.inspect(id).await
    }

    /// Copies artefact and config out of the repository's reach, and fixes which image is meant.
    async fn prepare(&self, release: &Release) -> Result<Arc<str>, Unprepared> {
        let contents: Vec<Blob> = [&release.artefact, &release.config].into_iter().flatten().cloned().collect();
        let Some(library) = &self.library else { return Err(Unprepared::Later("nothing is kept here".into())) };
        library.keep(contents).await.map_err(|error| match error {
            LibraryError::Trouble(_) => Unprepared::Later(error.to_string()),
            LibraryError::Bad(_) | LibraryError::Conflict(_) | LibraryError::Missing(_) => {
                Unprepared::Never(error.to_string())
            }
        })?;
        let (image, manifest) = (release.image.as_str(), release.source_digest.as_deref());
        let found = match (&release.image_digest, manifest) {
            (None, manifest) => self.engine.image(image, manifest).await,
            (Some(id), None) => self.engine.image(id, None).await,
            (Some(id), Some(_)) => match self.engine.image(id, None).await {
                Err(EngineError::NotFound(_)) => self.engine.image(image, manifest).await,
                other => other,
            },
        };
        found.map_err(|error| match error {
            EngineError::Unreachable { .. } => Unprepared::Later(error.to_string()),
            EngineError::NotFound(_) => {
                let id = release.image_digest.as_deref().unwrap_or_default();
                Unprepared::Never(format!(
                    "its image {image}, {id}, is gone from this machine; build or pull {image} again and deploy that"
                ))
            }
            EngineError::Refused(_) | EngineError::NameTaken(_) => Unprepared::Never(error.to_string()),
        })
    }

    async fn last_lines(&self, id: &ContainerId) -> Vec<String> {
        timeout(READING, self.engine.last_lines(id, LAST_LINES)).await.unwrap_or_default()
    }

    /// Gives an instance what it shows to be given its secrets; no plan ever holds that.
    fn give_token(&self, spec: &mut InstanceSpec) {
        if let Some(seal) = &self.seal {
            spec.env.insert("PLATFORMER_TOKEN".into(), seal.boot_token(&spec.app, &spec.version));
        }
    }

    async fn switch(&self, switch: Switch) -> Fact {
        let number = switch.generation;
        let tried = self.try_switch(&switch).await;
        self.meters.switched(tried.is_ok());
        match tried {
            Ok(()) => {
                self.inbox.tell(Fact::Reached(number));
                match self.balancer.settle(number).await {
                    Ok(0) => {}
                    Ok(ended) => self.inbox.tell(Fact::WorkersEnded(ended)),
                    Err(error) => tracing::warn!(generation = number, %error, "old workers are slow to let go"),
                }
                Fact::Settled(number)
            }
            Err(error) => Fact::Unswitched { generation: number, error },
        }
    }

    async fn try_switch(&self, switch: &Switch) -> Result<(), SwitchError> {
        let rendered =
            Renderer::new(&switch.templates).and_then(|r| r.render(switch.generation, &self.frame, &switch.routes));
        let rendered = match rendered {
            Ok(rendered) => rendered,
            // For which app it does not render is not told.
            Err(error) if switch.is_new_text => return Err(SwitchError::Template { reason: error.to_string() }),
            Err(error) => {
                return Err(Search::new(&*self.balancer, &self.frame, switch, &error.to_string()).run(None, "").await);
            }
        };
        let generation = Generation {
            number: switch.generation,
            rendered,
            routes: switch.routes.clone(),
            fingerprint: switch.fingerprint,
        };
        let (reason, line) = match self.balancer.reach(&generation).await {
            Ok(()) => return Ok(()),
            Err(BalancerError::Trouble(reason)) => return Err(SwitchError::Trouble { reason }),
            Err(BalancerError::Refused { reason, line }) => (reason, line),
        };
        let suspect = line.and_then(|line| app_at_line(&generation.rendered.http, line));
        let place = line.map(|l| format!(", line {l} of what it renders")).unwrap_or_default();
        let app = suspect.as_ref().map(|app| format!(" (for app {app})")).unwrap_or_default();
        Err(Search::new(&*self.balancer, &self.frame, switch, &reason).run(suspect, &format!("{place}{app}")).await)
    }
}

fn undone(error: EngineError) -> Undone {
    match error {
        EngineError::Unreachable { .. } => Undone::Away(error.to_string()),
        EngineError::NotFound(_) | EngineError::NameTaken(_) | EngineError::Refused(_) => {
            Undone::Refused(error.to_string())
        }
    }
}

/// What to tell of an action that could not even report.
fn panicked() -> String {
    "it panicked; this is a bug of the platform".into()
}

fn ungated(error: String) -> GateResult {
    GateResult { exit_code: None, error: Some(error), log: Vec::new() }
}
