//! Runs actions on ports; each result returns as a fact.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::blame::Search;
use crate::core::container::{Container, ContainerId};
use crate::core::deploy::GateResult;
use crate::core::names::ImageRef;
use crate::core::release::{Blob, Images, Release};
use crate::core::render::{Frame, Renderer, app_at_line};
use crate::core::world::{Action, Fact, InstanceSpec, Switch, SwitchError, Undone, Unprepared};
use crate::ports::balancer::{Balancer, BalancerError, Generation};
use crate::ports::engine::{Engine, EngineError};
use crate::ports::inbox::{Inbox, Message};
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
        match action {
            Action::Publish(zone) => self.resolver.publish(zone),
            Action::Probe(targets) => self.prober.probe(&targets),
            // Recorded by the loop before anything else is begun.
            Action::Record(_) | Action::KeepService { .. } | Action::Inherit(_) => {}
            Action::Keep { kept, gone } => {
                self.library.iter().for_each(|library| library.forget_all_but(&kept.contents));
                self.remove_images(gone);
            }
            Action::Prepare { .. }
            | Action::Gate { .. }
            | Action::Switch(_)
            | Action::Start(_)
            | Action::Restart(_)
            | Action::Connect(_)
            | Action::RemoveNetwork(_)
            | Action::Drain { .. }
            | Action::Stop { .. } => {
                let hands = self.clone();
                let on_panic = failed(&action);
                tokio::spawn(async move {
                    let inbox = hands.inbox.clone();
                    let work = tokio::spawn(async move { hands.act(action).await });
                    inbox.tell(work.await.unwrap_or(on_panic));
                });
            }
        }
    }

    /// Asks what the names of images mean, and gives the message back to the loop with that.
    pub fn ask_images(&self, images: BTreeSet<ImageRef>, told: impl FnOnce(Images) -> Message + Send + 'static) {
        let (engine, inbox) = (self.engine.clone(), self.inbox.clone());
        tokio::spawn(async move {
            let mut asked = Images::new();
            for image in images {
                // An engine that is away knows nothing, which the decision has to do with.
                let now = timeout(ASKING, engine.image_now(&image)).await.ok().and_then(Result::ok);
                asked.insert(image, now.unwrap_or_default());
            }
            inbox.again(told(asked));
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

    /// Carries an action out, an arm for each, and says what came of it.
    async fn act(&self, action: Action) -> Fact {
        match action {
            Action::Switch(switch) => self.switch(switch).await,
            Action::Start(mut spec) => {
                self.give_token(&mut spec);
                match self.engine.start(&spec).await {
                    Err(EngineError::NameTaken(name)) => Fact::NameTaken(name),
                    result => Fact::Started { name: spec.name, result: result.map(Box::new).map_err(undone) },
                }
            }
            Action::Restart(id) => {
                let result = self.engine.restart(&id).await.map_err(undone);
                // Told first, so that a start again is not taken for one that nothing came of.
                if let (Ok(()), Ok(container)) = (&result, self.engine.inspect(&id).await) {
                    self.inbox.tell(Fact::Seen(Box::new(container)));
                }
                Fact::Restarted { id, result }
            }
            Action::Connect(id) => match self.join(&id).await {
                Ok(container) => Fact::Seen(Box::new(container)),
                Err(error) => {
                    tracing::warn!(container = %id, %error, "it is not on the platform's network yet");
                    Fact::Tick
                }
            },
            Action::RemoveNetwork(name) => {
                match self.engine.remove_network(&name).await {
                    Ok(()) => tracing::info!(network = %name, "an older network of the platform was removed"),
                    Err(error) => tracing::warn!(network = %name, %error, "an older network of the platform stays"),
                }
                Fact::Tick
            }
            Action::Drain { id, address, limit } => {
                if let Some(address) = address {
                    self.balancer.drained(address, limit).await;
                }
                Fact::Drained(id)
            }
            Action::Stop { id, grace, log_for } => {
                if let Some(deployment) = log_for {
                    self.inbox.tell(Fact::Wrote { deployment, lines: self.last_lines(&id).await });
                }
                let result = self.engine.stop(&id, grace).await.map_err(|e| e.to_string());
                Fact::Stopped { id, result }
            }
            Action::Prepare { app, release } => {
                let result = self.prepare(&release).await;
                Fact::Prepared { app, version: release.version, result }
            }
            Action::Gate { deployment, job } => {
                let failed = |error: EngineError| GateResult {
                    exit_code: None,
                    error: Some(error.to_string()),
                    log: Vec::new(),
                };
                let result = self.engine.job(&job).await.unwrap_or_else(failed);
                Fact::Gated { deployment, result }
            }
            Action::Record(_)
            | Action::KeepService { .. }
            | Action::Inherit(_)
            | Action::Publish(_)
            | Action::Probe(_)
            | Action::Keep { .. } => Fact::Tick,
        }
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
                if let Err(error) = self.balancer.settle(number).await {
                    tracing::warn!(generation = number, %error, "old workers are slow to let go");
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

/// What to tell when an action could not even report.
fn failed(action: &Action) -> Fact {
    let reason = || "it panicked; this is a bug of the platform".to_owned();
    match action {
        Action::Switch(switch) => {
            Fact::Unswitched { generation: switch.generation, error: SwitchError::Trouble { reason: reason() } }
        }
        Action::Start(spec) => Fact::Started { name: spec.name.clone(), result: Err(Undone::Refused(reason())) },
        Action::Restart(id) => Fact::Restarted { id: id.clone(), result: Err(Undone::Refused(reason())) },
        Action::Drain { id, .. } => Fact::Drained(id.clone()),
        Action::Stop { id, .. } => Fact::Stopped { id: id.clone(), result: Err(reason()) },
        Action::Prepare { app, release } => Fact::Prepared {
            app: app.clone(),
            version: release.version.clone(),
            result: Err(Unprepared::Later(reason())),
        },
        Action::Gate { deployment, .. } => Fact::Gated {
            deployment: deployment.clone(),
            result: GateResult { exit_code: None, error: Some(reason()), log: Vec::new() },
        },
        Action::Connect(_)
        | Action::RemoveNetwork(_)
        | Action::Record(_)
        | Action::KeepService { .. }
        | Action::Inherit(_)
        | Action::Publish(_)
        | Action::Probe(_)
        | Action::Keep { .. } => Fact::Tick,
    }
}
