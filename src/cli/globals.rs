//! What every verb is given.

use serde_json::Value;

use super::output::{self, Failure};
use super::times::Times;
use crate::settings::Settings;

/// What was said for all verbs alike.
pub struct Globals {
    pub settings: Settings,
    pub context: Option<String>,
    pub json: bool,
    pub time: Times,
}

impl Globals {
    /// Prints what was decided.
    pub fn done(&self, answer: &Value) -> Result<(), Failure> {
        if self.json { output::json(answer) } else { output::line(answer["done"].as_str().unwrap_or("done")) }
    }
}
