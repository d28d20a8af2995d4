//! Decisions of the loop: on what is asked, recorded together, taken over once the ledger has them.

use jiff::Timestamp;

use super::lock;
use super::reconcile::Loop;
use crate::core::decide::{Command, Decider, Done};
use crate::core::event::{Event, Level};
use crate::core::world::{Action, Record};
use crate::ports::inbox::{CommandError, Kept, Transaction, TransactionError};

impl Loop {
    /// What could be refused is decided first, then the keys are kept, then the decision. It waits for the disk, as
    /// every decision does.
    pub(super) async fn transact(
        &mut self,
        asked: Transaction,
        by: &str,
        now: Timestamp,
    ) -> Result<Kept, TransactionError> {
        let view = self.snapshot.view().number;
        if asked.index.is_some_and(|index| index != view || self.answers.have_decided()) {
            return Err(TransactionError::Changed);
        }
        let (actions, _) = self.decide(&asked.command, by, now)?;
        let kept = match &self.kv {
            Some(kv) if !asked.kept.is_empty() => kv.write(asked.kept).await?.pairs,
            Some(_) | None => Vec::new(),
        };
        self.take_over(&actions, now)?;
        Ok(kept)
    }

    pub(super) fn command(&mut self, command: &Command, by: &str, now: Timestamp) -> Result<Done, CommandError> {
        let (actions, done) = self.decide(command, by, now)?;
        self.take_over(&actions, now)?;
        Ok(done)
    }

    pub(super) fn decide(
        &mut self,
        command: &Command,
        by: &str,
        now: Timestamp,
    ) -> Result<(Vec<Action>, Done), CommandError> {
        let secret = lock::secret().map_err(|e| CommandError::NotRecorded(format!("no random numbers: {e}")))?;
        Ok(self.world.decide(command, Decider { by, now, secret: &secret })?)
    }

    /// Records what was decided together, and takes it over.
    pub(super) fn take_over(&mut self, actions: &[Action], now: Timestamp) -> Result<(), CommandError> {
        let records: Vec<&Record> = actions.iter().filter_map(Action::record).collect();
        self.record(&records, now).map_err(CommandError::NotRecorded)?;
        for action in actions {
            self.keep(action, now).map_err(CommandError::NotRecorded)?;
            self.world.begin(action, now);
        }
        Ok(())
    }

    /// Puts decisions into the ledger together, and says what they were.
    pub(super) fn record(&self, records: &[&Record], now: Timestamp) -> Result<(), String> {
        if records.is_empty() {
            return Ok(());
        }
        self.ledger.record(records).map_err(|e| e.to_string())?;
        for (app, entry) in records.iter().flat_map(|r| r.entries.iter().map(|entry| (&r.app, entry))) {
            let release = entry.release.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
            let state = entry.state.as_ref().map(|s| format!(" is {s}")).unwrap_or_default();
            let message = format!("{}{release}{state}: {} (by {})", entry.action, entry.reason, entry.by);
            let level = Level::of_decision(entry.state.as_deref());
            self.snapshot.announce(Event::new(now, "decision", format!("app {app}"), message).at_level(level));
        }
        Ok(())
    }

    /// Keeps what the ledger has to have before it is acted on and is no decision about an app.
    pub(super) fn keep(&self, action: &Action, now: Timestamp) -> Result<(), String> {
        match action {
            Action::KeepService { name, service, message } => {
                self.ledger.keep_service(name, service.as_ref()).map_err(|e| e.to_string())?;
                self.snapshot.announce(Event::new(now, "service", format!("service {name}"), message.clone()));
                Ok(())
            }
            Action::Inherit(ids) => self.ledger.inherit(ids).map_err(|e| e.to_string()),
            _ => Ok(()),
        }
    }
}
