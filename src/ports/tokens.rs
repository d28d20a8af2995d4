//! What keeps tokens, and answers that must be given again.

use crate::core::access::Token;
use crate::ports::ledger::LedgerError;

/// An answer to a request that carried an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// SHA-256 of the request, in hex: the same key with another request is a mistake.
    pub request: String,
    pub status: u16,
    pub body: String,
}

pub trait Tokens: Send + Sync {
    fn all(&self) -> Result<Vec<Token>, LedgerError>;
    /// Durable when it returns.
    fn keep(&self, token: &Token) -> Result<(), LedgerError>;
    /// Forgets a token and the sessions opened with it. Returns whether there was one.
    fn revoke(&self, id: &str) -> Result<bool, LedgerError>;
    /// The answer under a key, for a day.
    fn answered(&self, key: &str) -> Result<Option<Answered>, LedgerError>;
    fn answer(&self, key: &str, answer: &Answered) -> Result<(), LedgerError>;
}
