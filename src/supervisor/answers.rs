//! Who waits for an answer of the brain, and what has to be kept besides before he has it.

use std::collections::BTreeMap;

use tokio::sync::oneshot::Sender;

use crate::core::brain::{Declined, Ticket};
use crate::core::decide::{Command, Done};
use crate::core::kv::Op;
use crate::ports::inbox::{CommandError, Kept, Transaction, TransactionError};
use crate::ports::kv::Kv;

/// Those who asked and have no answer yet.
#[derive(Default)]
pub struct Answers {
    last: u64,
    waiting: BTreeMap<Ticket, Reply>,
}

enum Reply {
    Command(Sender<Result<Done, CommandError>>),
    Transaction {
        /// To be kept before the decision is.
        ops: Vec<Op>,
        kept: Kept,
        reply: Sender<Result<Kept, TransactionError>>,
    },
}

impl Answers {
    fn ticket(&mut self, reply: Reply) -> Ticket {
        self.last += 1;
        self.waiting.insert(Ticket(self.last), reply);
        Ticket(self.last)
    }

    pub fn command(&mut self, reply: Sender<Result<Done, CommandError>>) -> Ticket {
        self.ticket(Reply::Command(reply))
    }

    /// The command of a transaction, unless something has changed since the view that it is about. `seen` is the number
    /// of the view that readers see, if that shows all that was decided.
    pub fn transaction(
        &mut self,
        transaction: Transaction,
        reply: Sender<Result<Kept, TransactionError>>,
        seen: Option<u64>,
    ) -> Option<(Ticket, Command)> {
        if transaction.index.is_some_and(|index| Some(index) != seen) {
            // He may have gone, here and below.
            let _ = reply.send(Err(TransactionError::Changed));
            return None;
        }
        let reply = Reply::Transaction { ops: transaction.kept, kept: Vec::new(), reply };
        Some((self.ticket(reply), transaction.command))
    }

    /// Keeps the keys that are written with a decision.
    ///
    /// # Errors
    /// They are not kept, which whoever asked has been told.
    pub async fn keep_keys(&mut self, ticket: Option<Ticket>, kv: Option<&dyn Kv>) -> Result<(), String> {
        let waiting = ticket.and_then(|ticket| Some((ticket, self.waiting.get_mut(&ticket)?)));
        let (Some((ticket, Reply::Transaction { ops, kept, .. })), Some(kv)) = (waiting, kv) else { return Ok(()) };
        if ops.is_empty() {
            return Ok(());
        }
        match kv.write(std::mem::take(ops)).await {
            Ok(written) => {
                *kept = written.pairs;
                Ok(())
            }
            Err(error) => {
                let reason = error.to_string();
                if let Some(Reply::Transaction { reply, .. }) = self.waiting.remove(&ticket) {
                    let _ = reply.send(Err(error.into()));
                }
                Err(reason)
            }
        }
    }

    /// Tells who asked what was decided.
    pub fn tell(&mut self, ticket: Ticket, answer: Result<Done, Declined>) {
        let answer = answer.map_err(CommandError::from);
        match self.waiting.remove(&ticket) {
            Some(Reply::Command(reply)) => _ = reply.send(answer),
            Some(Reply::Transaction { kept, reply, .. }) => {
                _ = reply.send(answer.map(|_| kept).map_err(TransactionError::from));
            }
            None => {}
        }
    }
}
