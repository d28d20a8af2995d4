//! The one loop: it alone owns the world.
//!
//! In: facts and commands. Out: actions, begun here; a snapshot for readers; events for people. It waits for
//! nothing but the next message or the moment that the plan names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};

use super::answers::Answers;
use super::clock::Clock;
use super::execute::Hands;
use crate::core::app::StickyMode;
use crate::core::decide::router_keys::Keys;
use crate::core::decide::{Command, DeployRequest, Steer};
use crate::core::event::{Event, Level};
use crate::core::names::AppName;
use crate::core::notices::{Notice, Notices};
use crate::core::plan::{Plan, plan};
use crate::core::problem::{Problem, ProblemKind};
use crate::core::release::ImageNow;
use crate::core::source::Wanted;
use crate::core::templates::Templates;
use crate::core::view::{Status, services, status};
use crate::core::world::{Action, Condition, Fact, Intent, Record, World};
use crate::ports::inbox::{Message, Transaction};
use crate::ports::kv::Kv;
use crate::ports::ledger::Ledger;
use crate::ports::snapshot::{Releases, Snapshot, View};

/// With nothing to do the plan is still made this often: whatever was missed is then found.
const ANYWAY: Duration = Duration::from_secs(5);
/// Decisions that follow from each other within one turn; more wait for the next.
const DECISIONS: usize = 16;
/// Facts applied before a plan is made; more wait for the next turn.
const BATCH: usize = 1000;

/// What the loop ends with when the platform was closed.
pub const CLOSED: &str = "closed";

pub struct Loop {
    pub world: World,
    pub messages: UnboundedReceiver<Message>,
    pub hands: Hands,
    pub ledger: Arc<dyn Ledger>,
    pub snapshot: Snapshot,
    pub clock: Clock,
    /// What people are told of problems.
    pub notices: Notices,
    /// `None` where no keys are kept.
    pub kv: Option<Arc<dyn Kv>>,
    /// Answers to commands of this turn.
    pub answers: Answers,
}

impl Loop {
    /// One that keeps no keys, and whom nobody has told of problems yet.
    pub fn new(
        world: World,
        messages: UnboundedReceiver<Message>,
        hands: Hands,
        ledger: Arc<dyn Ledger>,
        snapshot: Snapshot,
        clock: Clock,
    ) -> Self {
        let (notices, answers) = (Notices::default(), Answers::default());
        Self { world, messages, hands, ledger, snapshot, clock, notices, kv: None, answers }
    }

    /// Runs until the platform is closed: then nothing of ours is left running that was not to be kept.
    pub async fn run(mut self) -> String {
        let mut wake_at = self.clock.now();
        loop {
            let wait = wake_at.duration_since(self.clock.now()).try_into().unwrap_or(Duration::ZERO);
            let mut is_due = match timeout(wait, self.messages.recv()).await {
                Ok(Some(message)) => self.take(message).await,
                Ok(None) => return "nobody is left to tell it anything".into(),
                Err(_) => true,
            };
            if let Some(by) = self.clock.look() {
                tracing::warn!(%by, "the clock was set; what waits goes on waiting as long as it would have");
                self.world.apply(Fact::ClockSet { by }, self.clock.now());
                is_due = true;
            }
            for _ in 0..BATCH {
                match self.messages.try_recv() {
                    Ok(message) => is_due |= self.take(message).await,
                    Err(_) => break,
                }
            }
            if !is_due {
                continue;
            }
            let began = Instant::now();
            let plan = self.turn();
            self.hands.meters.turned(began.elapsed());
            let anyway = self.clock.now() + ANYWAY;
            wake_at = plan.wake_at.map_or(anyway, |at| at.min(anyway));
            if self.is_closed() {
                return CLOSED.into();
            }
        }
    }

    /// Takes in a message. Returns whether a plan has to be made of it.
    async fn take(&mut self, message: Message) -> bool {
        let now = self.clock.now();
        match message {
            Message::Fact(fact) => {
                tracing::debug!(?fact, "fact");
                let is_news = self.world.is_news(&fact);
                self.world.apply(fact, now);
                is_news
            }
            Message::Command { command, by, reply } => {
                let images = self.world.images_to_ask(&command);
                if !images.is_empty() {
                    let told = |images| Message::Command { command: command.with_images(images), by, reply };
                    self.hands.ask_images(images, told);
                    return false;
                }
                let answer = self.command(&command, &by, now);
                self.answers.add(reply, answer);
                true
            }
            Message::Transaction { transaction, by, reply } => {
                let images = self.world.images_to_ask(&transaction.command);
                if !images.is_empty() {
                    let told = move |images| {
                        let command = transaction.command.with_images(images);
                        Message::Transaction { transaction: Transaction { command, ..transaction }, by, reply }
                    };
                    self.hands.ask_images(images, told);
                    return false;
                }
                let answer = self.transact(transaction, &by, now).await;
                self.answers.add(reply, answer);
                true
            }
        }
    }

    /// One turn: plan, begin what is to be done, show what there is. What was decided is planned with at once, so
    /// that readers see a decision together with what follows from it.
    fn turn(&mut self) -> Plan {
        let now = self.clock.now();
        let mut plan = plan(&mut self.world, now);
        for _ in 0..DECISIONS {
            if !self.begin(&mut plan, now) {
                break;
            }
            plan = crate::core::plan::plan(&mut self.world, now);
        }
        self.show(&plan, now);
        // Whoever asked sees the decision in the status once he has his answer.
        self.answers.tell();
        plan
    }

    /// Begins what is planned. Returns whether something was decided, which another plan has to be made with.
    fn begin(&mut self, plan: &mut Plan, now: Timestamp) -> bool {
        let (mut decided, mut failed) = (false, false);
        for action in std::mem::take(&mut plan.actions) {
            let records: Vec<&Record> = action.record().into_iter().collect();
            let recorded = self.record(&records, now).and_then(|()| self.keep(&action, now));
            if let Err(reason) = recorded {
                plan.problems.push(Problem::new(
                    ProblemKind::Ledger,
                    "ledger",
                    reason,
                    "free disk space in the state folder",
                    now,
                ));
                plan.wake_at = Some(now + Duration::from_secs(1));
                failed = true;
                continue;
            }
            tracing::debug!(?action, "action");
            decided |= matches!(action, Action::Record(_) | Action::Inherit(_));
            self.world.begin(&action, now);
            self.hands.run(action);
        }
        for (app, wanted) in std::mem::take(&mut plan.due) {
            decided |= self.deploy_by_itself(app, wanted, plan, now);
        }
        decided && !failed
    }

    fn deploy_by_itself(&mut self, app: AppName, wanted: Wanted, plan: &mut Plan, now: Timestamp) -> bool {
        let manifest = Some(wanted.digest).filter(|digest| digest.starts_with("sha256:")).map(Arc::from);
        let image_now = Some(ImageNow { id: None, manifest });
        let request =
            DeployRequest { automatic: true, version: Some(wanted.version), image_now, ..DeployRequest::default() };
        let command = Command::Steer { app: app.clone(), steer: Steer::Deploy(Box::new(request)) };
        match self.command(&command, "auto", now) {
            Ok(_) => true,
            Err(error) => {
                let reason = format!("its newest version is not deployed: {error}");
                plan.problems.push(Problem::of_app(
                    ProblemKind::NotDeployed,
                    &app,
                    reason,
                    "mend what it names, or deploy by hand",
                    now,
                ));
                false
            }
        }
    }

    fn show(&mut self, plan: &Plan, now: Timestamp) {
        let before = self.snapshot.view();
        let status = status(&self.world, plan);
        if self.world.is_informed() {
            for (kind, subject, message) in changes(&before.status, &status) {
                tracing::info!(kind, subject, "{message}");
                self.snapshot.announce(Event::new(now, kind, subject, message));
            }
        }
        // Whoever has it go down need not be told that it does.
        if self.world.closing.is_none() {
            for Notice { kind, subject, message, about } in self.notices.observe(&plan.problems, now) {
                tracing::info!(kind, subject, "{message}");
                self.snapshot
                    .announce(Event { about, ..Event::new(now, kind, subject, message).at_level(Level::Warning) });
            }
        }
        let releases = self.releases(&before);
        let services = Some(services(&self.world)).filter(|all| *all != *before.services);
        let services = services.map_or_else(|| before.services.clone(), Arc::new);
        let is_same = Arc::ptr_eq(&releases, &before.releases)
            && Arc::ptr_eq(&services, &before.services)
            && status.apps == before.status.apps;
        self.snapshot.swap(View {
            // The time is later than any number that was given out before a restart.
            number: if is_same { before.number } else { (before.number + 1).max(milliseconds(now)) },
            status,
            routes: plan.routes.clone(),
            live_routes: self.world.balancer.live.as_ref().map(|l| l.routes.clone()),
            zone: self.world.published.clone(),
            index: self.world.index.clone(),
            templates: self.world.templates.clone(),
            services,
            releases,
            informed: self.world.is_informed(),
        });
    }

    /// The releases for readers; what has not changed is shared with the view before.
    fn releases(&self, before: &View) -> Arc<BTreeMap<AppName, Releases>> {
        let keys = |app: &AppName, intent: &Intent| {
            let declared = self.world.declared.get(app).map(|a| a.sticky.mode);
            Keys::of(intent, declared.unwrap_or(StickyMode::Visitor))
        };
        let of = |app: &AppName, intent: &Intent| Releases {
            keys: keys(app, intent),
            all: intent.releases.clone(),
            stable: intent.stable.clone(),
            candidate: intent.candidate().cloned(),
            previous: intent.previous.clone(),
        };
        let is_same = |(app, intent): (&AppName, &Intent)| {
            before.releases.get(app).is_some_and(|r| {
                r.all == intent.releases
                    && (&r.stable, r.candidate.as_ref(), &r.previous)
                        == (&intent.stable, intent.candidate(), &intent.previous)
                    && r.keys == keys(app, intent)
            })
        };
        let intents = &self.world.intents;
        match before.releases.len() == intents.len() && intents.iter().all(is_same) {
            true => before.releases.clone(),
            false => Arc::new(intents.iter().map(|(app, intent)| (app.clone(), of(app, intent))).collect()),
        }
    }

    fn is_closed(&self) -> bool {
        let Some(closing) = self.world.closing else { return false };
        let ours = || self.world.ours().next().is_some() || self.world.gates_there().next().is_some();
        closing.keep_apps || self.world.is_engine_unknown() || (self.world.starting.is_empty() && !ours())
    }
}

/// What readers see before anything is known.
pub fn first_view(world: &World, templates: &Arc<Templates>) -> View {
    let status = status(world, &Plan::default());
    View {
        status,
        routes: Arc::default(),
        live_routes: None,
        zone: None,
        services: Arc::default(),
        index: None,
        templates: templates.clone(),
        releases: Arc::default(),
        number: 1,
        informed: false,
    }
}

fn milliseconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or_default()
}

/// What a person would want to hear about, between two statuses.
fn changes(before: &Status, after: &Status) -> Vec<(&'static str, String, String)> {
    let mut changes = Vec::new();
    if before.generation.live != after.generation.live
        && let Some(live) = after.generation.live
    {
        changes.push(("generation", "nginx".into(), format!("serves generation {live}")));
    }
    if std::mem::discriminant(&before.engine.state) != std::mem::discriminant(&after.engine.state) {
        changes.push((
            "engine",
            "docker".into(),
            if matches!(after.engine.state, crate::core::world::EngineState::Connected { .. }) {
                "answers"
            } else {
                "does not answer"
            }
            .into(),
        ));
    }
    let instances = |status: &Status| -> BTreeMap<String, (AppName, Condition, Option<String>)> {
        status
            .apps
            .iter()
            .flat_map(|a| a.instances.iter().map(|i| (i.name.to_string(), (a.name.clone(), i.state, i.reason.clone()))))
            .collect()
    };
    let (old, new) = (instances(before), instances(after));
    for (name, (app, state, reason)) in &new {
        if old.get(name).map(|(_, s, _)| s) != Some(state) {
            let reason = reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
            changes.push((
                "instance",
                format!("container {name}"),
                format!("of {app} is {}{reason}", format!("{state:?}").to_lowercase()),
            ));
        }
    }
    for (name, (app, ..)) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        changes.push(("instance", format!("container {name}"), format!("of {app} is gone")));
    }
    changes
}
