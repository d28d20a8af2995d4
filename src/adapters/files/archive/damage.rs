//! Why an archive cannot be read.

use std::io;

use crate::ports::budget::Spent;

/// What an error while reading an archive means.
pub fn reason(name: &str, error: &io::Error) -> String {
    match Spent::behind(error) {
        Some(spent) => format!("{name} {spent}"),
        None => format!("{name} is damaged or cut off: {error}"),
    }
}
