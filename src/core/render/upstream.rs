//! What nginx knows releases by.

use crate::core::names::{AppName, Version};

/// `app.hello-world.1.0.0`.
pub(super) fn upstream_name(app: &AppName, version: &Version) -> String {
    format!("app.{app}.{}", spelt(version))
}

/// A version as nginx is given it, which compares names without case: `_` stands before what was a capital, and before
/// another `_`; at the end of a word that means something to a `map`. No two versions are spelt alike.
pub(super) fn spelt(version: &Version) -> String {
    let mut text = String::with_capacity(version.as_str().len() + 1);
    for c in version.plain().chars() {
        match c {
            'A'..='Z' => text.extend(['_', c.to_ascii_lowercase()]),
            '_' => text.push_str("__"),
            c => text.push(c),
        }
    }
    if ["default", "hostnames", "include", "volatile"].contains(&text.as_str()) {
        text.push('_');
    }
    text
}
