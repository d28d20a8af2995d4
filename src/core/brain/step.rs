//! One turn, step by step: between two of them the ledger is asked.

use std::time::Duration;

use jiff::Timestamp;

use super::mind::{Ask, Brain, Declined, Input, Ticket, Turn};
use crate::core::decide::{Decided, Decider, Refusal, Seed};
use crate::core::deploy::Entry;
use crate::core::event::{Event, Level};
use crate::core::plan::{Plan, plan};
use crate::core::problem::{Problem, ProblemKind};
use crate::core::world::{Record, Write};

/// With nothing to do the plan is still made this often: whatever was missed is then found.
const ANYWAY: Duration = Duration::from_secs(5);
/// What cannot be recorded is tried again after this long.
const AGAIN: Duration = Duration::from_secs(1);
/// Decisions that follow from each other within one turn; more wait for the next.
const DECISIONS: usize = 16;

/// What a turn needs next.
pub enum Step<'b> {
    /// The ledger is to keep something before the turn goes on.
    Record(Pending<'b>),
    Done(Box<Turn>),
}

/// What the ledger is to keep, all or nothing. The brain is held until it is said whether that was done.
pub struct Pending<'b> {
    brain: &'b mut Brain,
    open: Box<Open>,
}

/// A turn that waits for the ledger.
struct Open {
    course: Course,
    decided: Outcome,
}

/// What is decided, and by whom it was asked.
enum Outcome {
    Asked {
        ticket: Ticket,
        decided: Decided,
    },
    /// It follows from itself, by this plan.
    Planned {
        plan: Plan,
        writes: Vec<Write>,
    },
}

impl<'b> Pending<'b> {
    /// May be empty: then there is nothing to keep, but somebody who asked.
    pub fn writes(&self) -> &[Write] {
        match &self.open.decided {
            Outcome::Asked { decided, .. } => &decided.writes,
            Outcome::Planned { writes, .. } => writes,
        }
    }

    /// Who asked for it, if anybody.
    pub fn ticket(&self) -> Option<Ticket> {
        match &self.open.decided {
            Outcome::Asked { ticket, .. } => Some(*ticket),
            Outcome::Planned { .. } => None,
        }
    }

    /// The ledger has it: it is so from now on.
    pub fn kept(self) -> Step<'b> {
        let writes = match &self.open.decided {
            Outcome::Asked { decided, .. } => &decided.writes,
            Outcome::Planned { writes, .. } => writes,
        };
        writes.iter().for_each(|write| self.brain.world.take_over(write));
        let Open { mut course, decided } = *self.open;
        match decided {
            Outcome::Asked { ticket, decided } => {
                course.tell(&decided.writes);
                let closing = &mut self.brain.world.closing;
                *closing = decided.closing.or(*closing);
                course.turn.answers.push((ticket, Ok(decided.done)));
                course.go(self.brain)
            }
            // What was decided is planned with at once, so that readers see it together with what follows.
            Outcome::Planned { writes, .. } => {
                course.tell(&writes);
                course.think(self.brain)
            }
        }
    }

    /// The ledger does not have it: nothing follows from it.
    pub fn lost(self, reason: String) -> Step<'b> {
        let Open { mut course, decided } = *self.open;
        match decided {
            Outcome::Asked { ticket, .. } => {
                course.turn.answers.push((ticket, Err(Declined::NotRecorded(reason))));
                course.go(self.brain)
            }
            Outcome::Planned { mut plan, .. } => {
                let remedy = "free disk space in the state folder";
                plan.problems.push(Problem::new(ProblemKind::Ledger, "ledger", reason, remedy, course.now));
                plan.wake_by(course.now + AGAIN);
                course.end(self.brain, plan)
            }
        }
    }
}

impl Brain {
    /// Takes in what was told and asked, and plans, where something may follow from it.
    pub fn turn(&mut self, now: Timestamp, seed: Seed) -> Step<'_> {
        let due = now >= self.wake_at;
        Course { turn: Turn::default(), now, seed, due, rounds: 0, asked: 0 }.go(self)
    }
}

/// How far a turn has come.
struct Course {
    turn: Turn,
    now: Timestamp,
    seed: Seed,
    /// Whether a plan has to be made.
    due: bool,
    /// Decisions that followed from themselves.
    rounds: usize,
    /// Commands that were decided on, each with a secret of its own.
    asked: u64,
}

impl Course {
    /// Takes in what was told and asked, in its order.
    fn go(mut self, brain: &mut Brain) -> Step<'_> {
        while let Some(input) = brain.inputs.pop_front() {
            match input {
                Input::Fact(fact) => {
                    self.due |= brain.world.is_news(&fact);
                    brain.world.apply(fact, self.now);
                }
                Input::Ask(ask) => {
                    let images = brain.world.images_to_ask(&ask.command);
                    if !images.is_empty() {
                        self.turn.questions.push((ask.ticket, images));
                        brain.waiting.push(ask);
                        continue;
                    }
                    self.due = true;
                    match self.decide(brain, &ask) {
                        Ok(decided) => {
                            if !decided.writes.is_empty() {
                                let steered = ask.command.steers();
                                steered.into_iter().for_each(|app| brain.world.count_steering(app, self.now));
                            }
                            let decided = Outcome::Asked { ticket: ask.ticket, decided };
                            return Step::Record(Pending { brain, open: Box::new(Open { course: self, decided }) });
                        }
                        Err(refusal) => self.turn.answers.push((ask.ticket, Err(refusal.into()))),
                    }
                }
            }
        }
        match self.due {
            true => self.think(brain),
            false => {
                self.turn.wake_at = Some(brain.wake_at);
                Step::Done(Box::new(self.turn))
            }
        }
    }

    fn decide(&mut self, brain: &Brain, ask: &Ask) -> Result<Decided, Refusal> {
        self.asked += 1;
        let secret = self.seed.at(self.asked).secret("asked");
        brain.world.decide(&ask.command, Decider { by: &ask.by, now: self.now, secret: &secret })
    }

    /// Plans, and begins what is planned.
    fn think(mut self, brain: &mut Brain) -> Step<'_> {
        brain.world.forget_past(self.now);
        let mut plan = plan(&brain.world, self.now, &self.seed);
        brain.world.note(&plan.notes);
        for action in plan.actions.drain(..) {
            brain.world.begin(&action, self.now);
            self.turn.actions.push(action);
        }
        let writes = std::mem::take(&mut plan.writes);
        if writes.is_empty() {
            return self.end(brain, plan);
        }
        if self.rounds == DECISIONS {
            plan.wake_by(self.now);
            return self.end(brain, plan);
        }
        self.rounds += 1;
        let decided = Outcome::Planned { plan, writes };
        Step::Record(Pending { brain, open: Box::new(Open { course: self, decided }) })
    }

    fn tell(&mut self, writes: &[Write]) {
        self.turn.events.extend(writes.iter().flat_map(|write| told(write, self.now)));
    }

    fn end<'b>(mut self, brain: &mut Brain, plan: Plan) -> Step<'b> {
        let anyway = self.now + ANYWAY;
        brain.wake_at = plan.wake_at.map_or(anyway, |at| at.min(anyway));
        self.turn.wake_at = Some(brain.wake_at);
        self.turn.plan = Some(plan);
        Step::Done(Box::new(self.turn))
    }
}

/// What is told of something that the ledger has now.
fn told(write: &Write, now: Timestamp) -> Vec<Event> {
    match write {
        Write::Decision(Record { app, entries, .. }) => {
            let event = |entry: &Entry| {
                let release = entry.release.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
                let state = entry.state.as_ref().map(|s| format!(" is {s}")).unwrap_or_default();
                let message = format!("{}{release}{state}: {} (by {})", entry.action, entry.reason, entry.by);
                let level = Level::of_decision(entry.state);
                Event::new(now, "decision", format!("app {app}"), message).at_level(level)
            };
            entries.iter().map(event).collect()
        }
        Write::Service { name, message, .. } => {
            vec![Event::new(now, "service", format!("service {name}"), message.clone())]
        }
        Write::Inherited(_) => Vec::new(),
    }
}
