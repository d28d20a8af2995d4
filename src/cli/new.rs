//! Names that are new, and said to be.

use clap::Args;

/// Whoever makes something under a name that is new says so: a slip of the fingers is refused with the nearest name.
#[derive(Debug, Args)]
pub struct New {
    /// Also where there is nothing of that name yet
    #[arg(long)]
    new: bool,
}

impl New {
    /// The question to the API, as a query.
    pub fn query(&self) -> &'static str {
        if self.new { "" } else { "?known=true" }
    }
}
