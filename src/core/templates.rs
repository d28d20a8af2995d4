//! The templates in use, as text: built in, or overridden file by file.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The templates that are part of the binary, by file name.
pub const BUILT_IN: [(&str, &str); 2] = [
    ("platformer.conf.tera", include_str!("../../templates/nginx/platformer.conf.tera")),
    ("nginx.conf.tera", include_str!("../../templates/nginx/nginx.conf.tera")),
];

/// One set of templates. Sets with the same text are equal wherever they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    texts: BTreeMap<&'static str, String>,
    /// What to name in an error: the overriding files, or `built-in`.
    pub origin: String,
}

impl Templates {
    pub fn built_in() -> Self {
        Self::overridden(&BTreeMap::new())
    }

    /// The built-in templates, except those of which `files` has a text under the same name.
    pub fn overridden(files: &BTreeMap<String, String>) -> Self {
        let texts = BUILT_IN
            .into_iter()
            .map(|(name, text)| (name, files.get(name).cloned().unwrap_or_else(|| text.to_owned())))
            .collect();
        let mine: Vec<_> =
            BUILT_IN.into_iter().map(|(name, _)| name).filter(|name| files.contains_key(*name)).collect();
        Self { texts, origin: if mine.is_empty() { "built-in".into() } else { mine.join(", ") } }
    }

    /// Equal for equal texts in an equal frame, also over restarts of the same build.
    pub fn fingerprint(&self, frame: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.texts, frame).hash(&mut hasher);
        hasher.finish()
    }

    /// Each template's file name and text.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.texts.iter().map(|(name, text)| (*name, text.as_str()))
    }

    pub fn is_built_in(&self) -> bool {
        self.origin == "built-in"
    }
}
