//! Templates that override the built-in ones.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::core::templates::{BUILT_IN, Templates};

/// Reads the templates of a folder; a file that is not there leaves the built-in one in use.
pub fn load(folder: &Path) -> io::Result<Templates> {
    let mut texts = BTreeMap::new();
    for (name, _) in BUILT_IN {
        match fs::read_to_string(folder.join(name)) {
            Ok(text) => _ = texts.insert(name.to_owned(), text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Templates::overridden(&texts))
}
