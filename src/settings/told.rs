//! Who is told what happens.

use serde::Deserialize;

use crate::core::event::{Format, Level};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    pub url: String,
    #[serde(default = "plain")]
    pub format: Format,
    #[serde(default = "everything")]
    pub level: Level,
}

fn plain() -> Format {
    Format::Json
}

fn everything() -> Level {
    Level::Info
}
