//! What the brain holds between two turns, and how it is told, asked and shown.

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;

use super::changes::changes;
use crate::core::decide::{Command, Done, Refusal};
use crate::core::event::{Event, Level};
use crate::core::names::ImageRef;
use crate::core::notices::{Notice, Notices};
use crate::core::plan::Plan;
use crate::core::release::Images;
use crate::core::view::{Status, status};
use crate::core::world::{Action, Fact, World};

/// By which whoever asked is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something that is told or asked.
pub(super) enum Input {
    Fact(Fact),
    Ask(Ask),
}

/// A command, and who gave it.
pub(super) struct Ask {
    pub ticket: Ticket,
    pub command: Command,
    pub by: String,
}

/// Why nothing of a command was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the decision could not be recorded, so nothing was done: {0}")]
    NotRecorded(String),
}

/// What a turn comes to.
#[derive(Debug, Default)]
pub struct Turn {
    /// To be carried out, in this order; the brain takes them for begun.
    pub actions: Vec<Action>,
    /// For people to read.
    pub events: Vec<Event>,
    /// To be told to those who asked, once readers see what was decided.
    pub answers: Vec<(Ticket, Result<Done, Declined>)>,
    /// What these images' names mean is to be asked, and told by [`Brain::images`]; the command waits.
    pub questions: Vec<(Ticket, BTreeSet<ImageRef>)>,
    /// To be shown, by [`Brain::show`]; `None` where nothing was planned, since nothing has changed.
    pub plan: Option<Plan>,
    /// It has to be asked again then, though nothing is told.
    pub wake_at: Option<Timestamp>,
}

/// What the platform knows and decides; one owner drives it.
pub struct Brain {
    pub(super) world: World,
    notices: Notices,
    pub(super) inputs: VecDeque<Input>,
    /// Commands that wait for what the names of their images mean.
    pub(super) waiting: Vec<Ask>,
    before: Status,
    pub(super) wake_at: Timestamp,
}

impl Brain {
    /// `notices` is what people were told of before.
    pub fn new(world: World, notices: Notices, now: Timestamp) -> Self {
        let before = status(&world, &Plan::default());
        Self { world, notices, inputs: VecDeque::new(), waiting: Vec::new(), before, wake_at: now }
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// Tells a fact. It is taken in by the next turn.
    pub fn tell(&mut self, fact: Fact) {
        self.inputs.push_back(Input::Fact(fact));
    }

    /// Gives a command. It is decided on by the next turn, or once its images are known.
    pub fn ask(&mut self, ticket: Ticket, command: Command, by: String) {
        self.inputs.push_back(Input::Ask(Ask { ticket, command, by }));
    }

    /// What the names of images mean, of which a turn had a question.
    pub fn images(&mut self, ticket: Ticket, images: Images) {
        if let Some(at) = self.waiting.iter().position(|ask| ask.ticket == ticket) {
            let ask = self.waiting.swap_remove(at);
            self.inputs.push_back(Input::Ask(Ask { command: ask.command.with_images(images), ..ask }));
        }
    }

    /// Whether something was asked that readers do not see the outcome of yet.
    pub fn is_asked(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input, Input::Ask(_)))
    }

    /// Whether the platform was closed, and nothing of ours is left running that was not to be kept.
    pub fn is_closed(&self) -> bool {
        let Some(closing) = self.world.closing else { return false };
        let ours = || self.world.ours().next().is_some() || self.world.gates_there().next().is_some();
        closing.keep_apps || self.world.is_engine_unknown() || (self.world.starting.is_empty() && !ours())
    }

    /// What there is to see by a plan, and what people are to be told of it.
    pub fn show(&mut self, plan: &Plan, now: Timestamp) -> (Status, Vec<Event>) {
        let (status, mut events) = (status(&self.world, plan), Vec::new());
        if self.world.is_informed() {
            let changed = changes(&self.before, &status).into_iter();
            events.extend(changed.map(|(kind, subject, message)| Event::new(now, kind, subject, message)));
        }
        // Whoever has it go down need not be told that it does.
        if self.world.closing.is_none() {
            for Notice { kind, subject, message, about } in self.notices.observe(&plan.problems, now) {
                let event = Event::new(now, kind, subject, message).at_level(Level::Warning);
                events.push(Event { about, ..event });
            }
        }
        self.before = status.clone();
        (status, events)
    }
}
