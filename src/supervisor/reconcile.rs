//! The one loop: it alone owns the brain, and moves what goes in and what comes out.
//!
//! In: facts and commands. Out: actions, begun here; a snapshot for readers; events for people; answers. It waits for
//! nothing but the next message, the moment that the brain names, and the disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};

use super::answers::Answers;
use super::clock::Clock;
use super::execute::Hands;
use super::show::next_view;
use crate::core::brain::{Brain, Step, Turn};
use crate::core::decide::Seed;
use crate::core::event::Event;
use crate::core::notices::Notices;
use crate::core::world::{Fact, World};
use crate::ports::inbox::Message;
use crate::ports::kv::Kv;
use crate::ports::ledger::Ledger;
use crate::ports::snapshot::Snapshot;

/// Messages taken before a turn; more wait for the next.
const BATCH: usize = 1000;

/// What the loop ends with when the platform was closed.
pub const CLOSED: &str = "closed";

pub struct Loop {
    brain: Brain,
    messages: UnboundedReceiver<Message>,
    hands: Hands,
    ledger: Arc<dyn Ledger>,
    /// `None` where no keys are kept.
    kv: Option<Arc<dyn Kv>>,
    snapshot: Snapshot,
    clock: Clock,
    answers: Answers,
    seed: Seed,
    turns: u64,
}

/// What the loop works with, besides what it thinks about.
pub struct Means {
    pub messages: UnboundedReceiver<Message>,
    pub hands: Hands,
    pub ledger: Arc<dyn Ledger>,
    pub kv: Option<Arc<dyn Kv>>,
    pub snapshot: Snapshot,
    pub clock: Clock,
    /// Drawn once; what is secret in a decision is made of it.
    pub seed: Seed,
}

impl Loop {
    /// `notices` is what people were told of before.
    pub fn new(world: World, notices: Notices, means: Means) -> Self {
        let Means { messages, hands, ledger, kv, snapshot, clock, seed } = means;
        let brain = Brain::new(world, notices, clock.now());
        Self { brain, messages, hands, ledger, kv, snapshot, clock, answers: Answers::default(), seed, turns: 0 }
    }

    /// Runs until the platform is closed: then nothing of ours is left running that was not to be kept.
    pub async fn run(mut self) -> String {
        let mut wake_at = self.clock.now();
        loop {
            let wait = wake_at.duration_since(self.clock.now()).try_into().unwrap_or(Duration::ZERO);
            match timeout(wait, self.messages.recv()).await {
                Ok(Some(message)) => self.take(message),
                Ok(None) => return "nobody is left to tell it anything".into(),
                Err(_) => {}
            }
            if let Some(by) = self.clock.look() {
                tracing::warn!(%by, "the clock was set; what waits goes on waiting as long as it would have");
                self.brain.tell(Fact::ClockSet { by });
            }
            for _ in 0..BATCH {
                match self.messages.try_recv() {
                    Ok(message) => self.take(message),
                    Err(_) => break,
                }
            }
            let began = Instant::now();
            let turn = self.turn().await;
            if turn.plan.is_some() {
                self.hands.meters.turned(began.elapsed());
            }
            wake_at = turn.wake_at.unwrap_or(wake_at);
            self.carry_out(turn);
            if self.brain.is_closed() {
                return CLOSED.into();
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Fact(fact) => {
                tracing::debug!(?fact, "fact");
                self.brain.tell(fact);
            }
            Message::Images { ticket, images } => self.brain.images(ticket, images),
            Message::Command { command, by, reply } => {
                let ticket = self.answers.command(reply);
                self.brain.ask(ticket, command, by);
            }
            Message::Transaction { transaction, by, reply } => {
                let seen = (!self.brain.is_asked()).then(|| self.snapshot.view().number);
                if let Some((ticket, command)) = self.answers.transaction(transaction, reply, seen) {
                    self.brain.ask(ticket, command, by);
                }
            }
        }
    }

    /// One turn of the brain. It waits for the disk, as every decision does.
    async fn turn(&mut self) -> Turn {
        self.turns += 1;
        let mut step = self.brain.turn(self.clock.now(), self.seed.at(self.turns));
        loop {
            step = match step {
                Step::Done(turn) => return *turn,
                Step::Record(pending) => {
                    let keys = self.answers.keep_keys(pending.ticket(), self.kv.as_deref()).await;
                    let kept = keys.and_then(|()| match pending.writes() {
                        [] => Ok(()),
                        writes => self.ledger.write(writes).map_err(|e| e.to_string()),
                    });
                    match kept {
                        Ok(()) => pending.kept(),
                        Err(reason) => pending.lost(reason),
                    }
                }
            };
        }
    }

    fn carry_out(&mut self, turn: Turn) {
        for action in turn.actions {
            tracing::debug!(?action, "action");
            self.hands.run(action);
        }
        for (ticket, images) in turn.questions {
            self.hands.ask_images(ticket, images);
        }
        let mut events = turn.events;
        if let Some(plan) = turn.plan {
            let now = self.clock.now();
            let (status, noticed) = self.brain.show(&plan, now);
            events.extend(noticed);
            self.snapshot.swap(next_view(&self.snapshot.view(), self.brain.world(), status, &plan, now));
        }
        // Whoever is told of something, or has asked for it, finds it in the status.
        events.into_iter().for_each(|event| self.announce(event));
        turn.answers.into_iter().for_each(|(ticket, answer)| self.answers.tell(ticket, answer));
    }

    fn announce(&self, event: Event) {
        tracing::info!(kind = &*event.kind, subject = event.subject, "{}", event.message);
        self.snapshot.announce(event);
    }
}
