//! The one way into the loop that owns the world: facts, and commands that want an answer.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::ledger::Complain;
use crate::core::world::{Command, Done, Fact, Refusal};

pub enum Message {
    Fact(Fact),
    Command { command: Command, by: String, reply: oneshot::Sender<Result<Done, CommandError>> },
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

    /// Has a command decided on, for the one who gave it.
    pub async fn ask(&self, command: Command, by: &str) -> Result<Done, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Message::Command { command, by: by.to_owned(), reply }).map_err(|_| CommandError::Closed)?;
        answer.await.map_err(|_| CommandError::Closed)?
    }
}
