//! Templates that override the built-in ones.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::beneath::Folder;
use crate::core::templates::{BUILT_IN, Templates};
use crate::core::text::{LARGEST, decode, unmarked};

/// Reads the templates of a folder; a file that is not there leaves the built-in one in use.
pub fn load(folder: &Path) -> io::Result<Templates> {
    let mut texts = BTreeMap::new();
    let named = |name: &str, reason: String| io::Error::other(format!("{}: {reason}", folder.join(name).display()));
    let opened = match Folder::open(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Templates::overridden(&texts)),
        opened => opened?,
    };
    for (name, _) in BUILT_IN {
        match opened.read(name, LARGEST) {
            Ok(bytes) => {
                let text = decode(bytes).map_err(|reason| named(name, reason))?;
                texts.insert(name.to_owned(), unmarked(&text).to_owned());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(named(name, error.to_string())),
        }
    }
    Ok(Templates::overridden(&texts))
}
