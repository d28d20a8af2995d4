//! What people do, and what happens that nobody of us did.

use super::outside::{NEIGHBOURS, Outside, VERSIONS, name, version};
use crate::core::app::Strategy;
use crate::core::brain::{Brain, Ticket};
use crate::core::container::{Container, ContainerId, RunState};
use crate::core::decide::{Command, DeployRequest, Steer};
use crate::core::split::{Percent, Split};
use crate::core::testing::container;
use crate::core::world::Fact;

impl Outside {
    /// A neighbour's container appears, or goes. Some of them the engine cannot describe.
    pub(super) fn disturb(&mut self) {
        let (name, labels) = NEIGHBOURS[(self.random.draw() % NEIGHBOURS.len() as u64) as usize];
        let id = ContainerId(format!("their-{name}").into());
        if self.containers.remove(&id).is_some() {
            return self.tell(Fact::Gone(id));
        }
        let trouble = self.random.one_in(3).then(|| "500".to_owned());
        let theirs = Container { id: id.clone(), ours: false, trouble, ..container(name, labels) };
        self.containers.insert(id, theirs.clone());
        self.tell(Fact::Seen(Box::new(theirs)));
    }

    /// What an engine tells of a container that it cannot describe: it is there, and runs or does not.
    pub(super) fn undescribed(&self, id: &ContainerId) -> Option<Fact> {
        let known = self.containers.get(id)?;
        Some(Fact::Seen(Box::new(Container { trouble: Some("500".into()), health: None, ..known.clone() })))
    }

    /// Something happens that nobody of us did.
    pub(super) fn happen(&mut self, brain: &mut Brain) {
        let victim = self.containers.keys().nth((self.random.draw() % 9) as usize).cloned();
        match (self.random.draw() % 30, victim) {
            (0, Some(id)) => {
                let now = self.now;
                if let Some(container) = self.containers.get_mut(&id) {
                    container.state = RunState::Exited { code: 1, oom: false, at: Some(now) };
                    let seen = Fact::Seen(Box::new(container.clone()));
                    self.tell(seen);
                }
            }
            (1, Some(id)) => {
                self.containers.remove(&id);
                self.tell(Fact::Gone(id));
            }
            (2, _) => {
                self.live = None;
                self.tell(Fact::BalancerDied { reason: "killed".into() });
            }
            (3, _) => self.tell(Fact::EngineLost),
            (4, _) => *brain = self.boot(),
            (5, _) => {
                let app = name(self.random.draw());
                self.command(brain, Command::Restart(app));
            }
            (6, _) => {
                let replicas = (self.random.draw() % 4) as u16;
                self.command(brain, Command::Scale { app: name(2), replicas });
            }
            (7..=14, _) => self.steer(brain),
            (15..=17, _) => self.disturb(),
            (18, Some(id)) => {
                if let Some(fact) = self.undescribed(&id) {
                    self.tell(fact);
                }
            }
            _ => {}
        }
    }

    pub(super) fn steer(&mut self, brain: &mut Brain) {
        use Strategy::{BlueGreen, Canary, Manual, Recreate, Rolling};
        let app = name(self.random.draw());
        let target = version(self.random.draw() % (VERSIONS + 2));
        let steer = match self.random.draw() % 12 {
            0 => Steer::Promote,
            1 => Steer::Pause,
            2 => Steer::Resume,
            3 => Steer::Abort,
            4 => Steer::Rollback(None),
            5 => Steer::Swap,
            6 => {
                let share = Percent::of(self.random.draw() % 101, 100);
                Steer::Split(Split::between(brain.world().stable(&app), &target, share))
            }
            _ => Steer::Deploy(Box::new(DeployRequest {
                version: Some(target),
                strategy: Some([Rolling, BlueGreen, Canary, Recreate, Manual][(self.random.draw() % 5) as usize]),
                replace: self.random.one_in(2),
                ..DeployRequest::default()
            })),
        };
        self.command(brain, Command::Steer { app, steer });
    }

    pub(super) fn command(&mut self, brain: &mut Brain, command: Command) {
        let begins =
            matches!(command, Command::Steer { steer: Steer::Deploy(_) | Steer::Rollback(_) | Steer::Swap, .. });
        self.given.push(begins);
        brain.ask(Ticket(self.given.len() as u64 - 1), command, "test".into());
    }
}
