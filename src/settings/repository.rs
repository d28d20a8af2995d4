//! `repository`: a folder alone, or a table with it and with who is served.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Apps, config and artefacts: where they are, and who is served them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub path: PathBuf,
    /// Whether everybody is served, and not only this machine and the platform's network.
    pub open: bool,
    /// Whether who asks has to show a token: an instance its own, others one that may read.
    pub require_token: bool,
}

impl Default for Repository {
    fn default() -> Self {
        Self { path: "./repository".into(), open: false, require_token: false }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    path: Option<PathBuf>,
    open: bool,
    require_token: bool,
}

impl<'de> Deserialize<'de> for Repository {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Repository;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a folder, or a table with path, open and require_token")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Repository, E> {
        Ok(Repository { path: text.into(), ..Repository::default() })
    }

    // Not by an untagged enum: that would forget which key of the table is unknown.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Repository, A::Error> {
        let Table { path, open, require_token } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Repository { path: path.unwrap_or_else(|| Repository::default().path), open, require_token })
    }
}
