//! Zip.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::damage::reason;
use super::layout::Layout;
use crate::ports::budget::{Budget, MEMBERS, Spent};

/// The list at a zip's end, which is read into memory.
const LONGEST_LIST: u64 = 128 << 20;
/// Where that list is announced: at the very end, with a comment of at most 64 KiB after it.
const TAIL: u64 = 66_000;
/// A link's target is its contents.
const LONGEST_TARGET: u64 = 4096;

pub fn check<R: Read + Seek>(mut input: R, name: &str, budget: &Budget) -> Result<(), String> {
    let broken = |e: ZipError| match e {
        ZipError::Io(e) => reason(name, &e),
        e => format!("{name} is damaged or cut off: {e}"),
    };
    check_list(&mut input, name)?;
    let mut archive = ZipArchive::new(input).map_err(broken)?;
    let mut layout = Layout::new(name, budget);
    let mut announced = 0u64;
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).map_err(broken)?;
        announced = announced.saturating_add(entry.size());
        let path = entry.name().map_err(broken)?.into_owned();
        if entry.encrypted() {
            return Err(format!("{name} is encrypted, and nobody is there to type a password; pack it without one"));
        }
        if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(format!(
                "{name} is compressed in a way that not every unzip knows; pack it with deflate, as `zip -r` does"
            ));
        }
        if path.contains('\\') {
            return Err(format!(
                "{name} holds {path:?}: folders are written with a backslash, as some Windows programs do, and would not be folders here; pack it anew, for example with `tar -czf` or 7-Zip"
            ));
        }
    }
    budget.announced(announced).map_err(|spent| format!("{name} {spent}"))?;
    for i in 0..archive.len() {
        budget.member().map_err(|spent| format!("{name} {spent}"))?;
        let entry = archive.by_index(i).map_err(broken)?;
        let path = entry.name().map_err(broken)?.into_owned();
        let (is_link, is_folder) = (entry.is_symlink(), path.ends_with('/'));
        let mut contents = budget.counted(entry);
        if is_link {
            let mut target = String::new();
            let read = (&mut contents).take(LONGEST_TARGET).read_to_string(&mut target);
            read.map_err(|e| reason(name, &e))?;
            layout.link(Path::new(&path), Path::new(&target))?;
        } else if is_folder {
            layout.folder(Path::new(&path))?;
        } else {
            layout.file(Path::new(&path))?;
        }
        io::copy(&mut contents, &mut io::sink()).map_err(|e| reason(name, &e))?;
    }
    layout.finish()
}

/// Whether the list is one that may be read. What is no zip at all is told by who reads it.
fn check_list(input: &mut (impl Read + Seek), name: &str) -> Result<(), String> {
    let broken = |e: io::Error| reason(name, &e);
    let end = input.seek(SeekFrom::End(0)).map_err(broken)?;
    input.seek(SeekFrom::Start(end.saturating_sub(TAIL))).map_err(broken)?;
    let mut tail = Vec::new();
    input.take(TAIL).read_to_end(&mut tail).map_err(broken)?;
    let last = |signature: &[u8; 4]| tail.windows(4).rposition(|four| four == signature).and_then(|at| tail.get(at..));
    let number = |record: Option<&[u8]>, at: usize, length: usize| {
        let bytes = record?.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte)))
    };
    let (record, large) = (last(b"PK\x05\x06"), last(b"PK\x06\x06"));
    let count = number(record, 10, 2).max(number(large, 32, 8)).unwrap_or_default();
    let length = number(record, 12, 4).filter(|n| *n != u64::from(u32::MAX)).max(number(large, 40, 8));
    if count > MEMBERS {
        return Err(format!("{name} {}", Spent::Members));
    }
    match length.unwrap_or_default() > LONGEST_LIST {
        true => Err(format!("{name} has a list of names of more than {} MiB", LONGEST_LIST >> 20)),
        false => Ok(()),
    }
}
