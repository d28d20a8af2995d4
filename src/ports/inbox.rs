//! The one way into the loop that owns the world: facts, and commands that want an answer.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::ledger::Complain;
use crate::core::brain::{Declined, Ticket};
use crate::core::decide::{Command, Done, Refusal};
use crate::core::kv::{Op, Pair};
use crate::core::release::Images;
use crate::core::world::Fact;
use crate::ports::kv::KvError;

pub enum Message {
    Fact(Fact),
    Command {
        command: Command,
        by: String,
        reply: oneshot::Sender<Result<Done, CommandError>>,
    },
    Transaction {
        transaction: Transaction,
        by: String,
        reply: oneshot::Sender<Result<Kept, TransactionError>>,
    },
    /// What the names of images mean that a command waits for.
    Images {
        ticket: Ticket,
        images: Images,
    },
}

/// Keys that are only kept, and keys that tell of the platform itself: all of it happens, or nothing.
pub struct Transaction {
    pub kept: Vec<Op>,
    /// A [`Command::Keys`].
    pub command: Command,
    /// Only if nothing has changed since the view of this number.
    pub index: Option<u64>,
}

/// The pairs that were kept, each with the place of its operation among those.
pub type Kept = Vec<(usize, Pair)>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error("the index has changed meanwhile")]
    Changed,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the decision could not be recorded, so nothing was done: {0}")]
    NotRecorded(String),
    #[error("the supervisor is going down")]
    Closed,
}

impl From<Declined> for CommandError {
    fn from(declined: Declined) -> Self {
        match declined {
            Declined::Refused(refusal) => Self::Refused(refusal),
            Declined::NotRecorded(reason) => Self::NotRecorded(reason),
        }
    }
}

#[derive(Clone)]
pub struct Inbox(mpsc::UnboundedSender<Message>);

impl Inbox {
    /// Unbounded, since every sender is bounded by itself: one message per act or change of verdict.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Message>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells a fact. After the loop has ended there is nobody to tell, which is no error.
    pub fn tell(&self, fact: Fact) {
        let _ = self.0.send(Message::Fact(fact));
    }

    /// Where to complain of what cannot be used of the platform's own state.
    pub fn complaints(&self) -> Complain {
        let inbox = self.clone();
        Arc::new(move |flaw| inbox.tell(Fact::Flawed(flaw)))
    }

    /// Tells what the names of images mean that a command waits for.
    pub fn images(&self, ticket: Ticket, images: Images) {
        // After the loop has ended nobody waits any more.
        let _ = self.0.send(Message::Images { ticket, images });
    }

    /// Has a transaction done, for the one who asked for it.
    ///
    /// # Errors
    /// Why nothing of it was done.
    pub async fn transact(&self, transaction: Transaction, by: &str) -> Result<Kept, TransactionError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Transaction { transaction, by: by.to_owned(), reply };
        self.0.send(message).map_err(|_| CommandError::Closed)?;
        answer.await.map_err(|_| CommandError::Closed)?
    }

    /// Has a command decided on, for the one who gave it.
    pub async fn ask(&self, command: Command, by: &str) -> Result<Done, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Message::Command { command, by: by.to_owned(), reply }).map_err(|_| CommandError::Closed)?;
        answer.await.map_err(|_| CommandError::Closed)?
    }
}
