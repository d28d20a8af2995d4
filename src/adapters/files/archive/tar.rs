//! Tar, packed or not.

use std::io::{self, Read};

use tar::EntryType;

use super::damage::reason;
use super::layout::Layout;
use crate::ports::budget::Budget;

pub fn check(input: impl Read, name: &str, budget: &Budget) -> Result<(), String> {
    let broken = |e: io::Error| reason(name, &e);
    let mut archive = tar::Archive::new(budget.counted(input));
    let mut layout = Layout::new(name, budget);
    let mut entries = archive.entries().map_err(broken)?;
    loop {
        budget.headers();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(broken)?;
        budget.contents();
        budget.member().map_err(|spent| format!("{name} {spent}"))?;
        // A sparse file announces more than the archive holds.
        budget.announced(entry.size()).map_err(|spent| format!("{name} {spent}"))?;
        let path = entry.path().map_err(broken)?.into_owned();
        let target = entry.link_name().map_err(broken)?.unwrap_or_default().into_owned();
        match entry.header().entry_type() {
            EntryType::Symlink => layout.link(&path, &target)?,
            EntryType::Link => layout.hard_link(&path, &target)?,
            EntryType::Directory => layout.folder(&path)?,
            EntryType::Block | EntryType::Char | EntryType::Fifo => {
                return Err(format!("{name} holds {}, a device, which no app may have", path.display()));
            }
            _ => layout.file(&path)?,
        }
        io::copy(&mut entry, &mut io::sink()).map_err(broken)?;
    }
    budget.contents();
    // The end of the compressed stream carries its checksum.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    layout.finish()
}
