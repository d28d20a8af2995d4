//! Looking at the machine for what is wrong with it.

use serde::Serialize;

/// What was looked at, what was found and, if that is wrong, what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    /// `ok`, `warning` or `failed`.
    pub verdict: &'static str,
    pub found: String,
    pub remedy: Option<String>,
}

#[async_trait::async_trait]
pub trait Doctor: Send + Sync {
    /// Runs all checks. One container is run for a moment, nothing else is changed.
    async fn examine(&self) -> Vec<Check>;
}
