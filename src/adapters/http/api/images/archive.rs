//! An image archive written anew from the parts of one that was sent.
//!
//! Engines read archives in their own ways: by cleaned names, the last of two members of a name, compressed ones by
//! their first bytes. What one reader checked another may read otherwise, so the engine is never given what was sent:
//! it gets an archive that is written here, of one image, under one name, from the members that its list names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tar::EntryType;

use crate::core::digest::sha256_of;
use crate::core::names::ImageRef;
use crate::ports::budget::{Budget, Cancelled, Spent};

/// The list of what is in an image, and its configuration, are no longer than this.
const LONGEST_TEXT: u64 = 4 << 20;
/// More layers than any engine takes.
const MOST_LAYERS: usize = 512;
const LIST: &str = "manifest.json";

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is not what it should be.
    #[error("{0}")]
    Archive(String),
    /// The disk failed, which is nobody's archive's fault.
    #[error("{0}")]
    Disk(io::Error),
}

/// What the engine's list says of an image; whatever else it says is left out.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    diff_ids: Vec<String>,
}

/// Where the bytes of a member are, or which other member has them.
enum Member {
    Bytes { at: u64, size: u64 },
    Same(String),
}

/// Reads `sent`, which has to have this SHA-256 and to hold one image named `name` and nothing else, and writes what is
/// in it to `out` under the name `own`. Layers that are missing have to be the lowest: the engine has them.
pub fn rebuild(
    sent: &File,
    sha256: &str,
    name: &ImageRef,
    own: &ImageRef,
    out: &mut File,
    cancelled: &Cancelled,
) -> Result<(), Unusable> {
    let packed = sent.metadata().map_err(Unusable::Disk)?.len();
    let whole = || Part { file: sent, at: 0, size: packed }.reader();
    let sum = sha256_of(Budget::new(packed, cancelled.clone()).counted(whole())).map_err(|e| broken(&e))?;
    if sum != sha256 {
        return Err(bad("what came is not what was announced: its SHA-256 is another one; push it again"));
    }
    let members = members(whole(), &Budget::new(packed, cancelled.clone()))?;
    let text = text_of(sent, &members, LIST)?;
    let mut lists: Vec<Listed> = serde_json::from_slice(&text).map_err(|e| bad(format!("{LIST}: {e}")))?;
    let image = match (lists.pop(), lists.is_empty()) {
        (Some(image), true) if image.repo_tags.as_deref() == Some(&[name.to_string()]) => image,
        _ => return Err(bad(format!("the archive has to hold one image, named {name} and nothing else"))),
    };
    if image.layers.len() > MOST_LAYERS {
        return Err(bad(format!("{LIST} names {} layers, {MOST_LAYERS} are the most", image.layers.len())));
    }
    check_unlisted(&members, &image)?;
    let config = text_of(sent, &members, &image.config)?;
    let read: Config = serde_json::from_slice(&config).map_err(|e| bad(format!("{}: {e}", image.config)))?;
    if read.rootfs.diff_ids.len() != image.layers.len() {
        let (listed, inside) = (image.layers.len(), read.rootfs.diff_ids.len());
        return Err(bad(format!("{LIST} names {listed} layers, the image's configuration {inside}")));
    }
    let missing = image.layers.iter().take_while(|layer| !members.contains_key(*layer)).count();
    if let Some(lost) = image.layers.iter().skip(missing).find(|layer| !members.contains_key(*layer)) {
        return Err(bad(format!("layer {lost} is not in the archive, though one below it is")));
    }
    let budget = Budget::new(packed, cancelled.clone());
    let mut written = tar::Builder::new(out);
    append(&mut written, "config.json", config.len() as u64, config.as_slice())?;
    for (n, layer) in image.layers.iter().enumerate().skip(missing) {
        let (at, size) = bytes_of(&members, layer)?;
        append_layer(&mut written, &layer_name(n), &Part { file: sent, at, size }, layer, &budget)?;
    }
    let list = Listed {
        config: "config.json".into(),
        repo_tags: Some(vec![own.to_string()]),
        layers: (0..image.layers.len()).map(layer_name).collect(),
    };
    let list = serde_json::to_vec(&[list]).map_err(|e| bad(e.to_string()))?;
    append(&mut written, LIST, list.len() as u64, list.as_slice())?;
    let out = written.into_inner().map_err(Unusable::Disk)?;
    out.sync_all().and_then(|()| out.seek(SeekFrom::Start(0)).map(drop)).map_err(Unusable::Disk)
}

fn bad(reason: impl Into<String>) -> Unusable {
    Unusable::Archive(reason.into())
}

fn layer_name(n: usize) -> String {
    format!("layer-{n}.tar")
}

/// Reads the whole archive once. Every member has a plain name of its own.
fn members(whole: PartReader<'_>, budget: &Budget) -> Result<BTreeMap<String, Member>, Unusable> {
    let mut archive = tar::Archive::new(budget.counted(whole));
    let mut members = BTreeMap::new();
    let mut entries = archive.entries().map_err(|e| broken(&e))?;
    loop {
        budget.headers();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(|e| broken(&e))?;
        budget.member().map_err(|e| bad(format!("the archive {e}")))?;
        budget.contents();
        let path = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&path).into_owned();
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory {
            continue;
        }
        if !is_plain(&name) {
            return Err(bad(format!("{name:?} is no plain name for a part of an image")));
        }
        let member = match kind {
            EntryType::Regular | EntryType::Continuous => {
                Member::Bytes { at: entry.raw_file_position(), size: entry.size() }
            }
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name().map_err(|e| broken(&e))?.unwrap_or_default().into_owned();
                Member::Same(resolved(&name, &target, kind).ok_or_else(|| {
                    bad(format!("{name} is a link to {}, which is outside the archive", target.display()))
                })?)
            }
            _ => return Err(bad(format!("{name} is neither a file nor a link"))),
        };
        io::copy(&mut entry, &mut io::sink()).map_err(|e| broken(&e))?;
        if members.insert(name.clone(), member).is_some() {
            return Err(bad(format!("{name} is in the archive twice")));
        }
    }
    Ok(members)
}

fn broken(error: &io::Error) -> Unusable {
    match Spent::behind(error) {
        Some(spent) => bad(format!("the archive {spent}")),
        None => bad(format!("no image archive: {error}")),
    }
}

/// Whether every reader takes the name for the same: no way up, no way round, nothing to clean.
fn is_plain(name: &str) -> bool {
    name.len() <= 255
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':'))
}

/// The member that a link means; symbolic links start from their own folder.
fn resolved(name: &str, target: &Path, kind: EntryType) -> Option<String> {
    let mut parts: Vec<&str> = match kind {
        EntryType::Symlink => name.split('/').collect::<Vec<_>>().split_last().map(|(_, above)| above.to_vec())?,
        _ => Vec::new(),
    };
    for part in target.to_str()?.split('/') {
        match part {
            "" => return None,
            "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn check_unlisted(members: &BTreeMap<String, Member>, image: &Listed) -> Result<(), Unusable> {
    let mut named: BTreeSet<&str> = image.layers.iter().map(String::as_str).collect();
    named.extend([LIST, image.config.as_str()]);
    let targets: Vec<&str> = named
        .iter()
        .filter_map(|name| match members.get(*name) {
            Some(Member::Same(target)) => Some(target.as_str()),
            _ => None,
        })
        .collect();
    named.extend(targets);
    match members.keys().find(|name| !named.contains(name.as_str())) {
        Some(other) => Err(bad(format!("the archive holds {other}, which its {LIST} does not name"))),
        None => Ok(()),
    }
}

/// Where the bytes of a member are. A link to a link has none.
fn bytes_of(members: &BTreeMap<String, Member>, name: &str) -> Result<(u64, u64), Unusable> {
    let found = match members.get(name) {
        Some(Member::Same(target)) => members.get(target),
        found => found,
    };
    match found {
        Some(Member::Bytes { at, size }) => Ok((*at, *size)),
        _ => Err(bad(format!("{name} is not in the archive"))),
    }
}

fn text_of(sent: &File, members: &BTreeMap<String, Member>, name: &str) -> Result<Vec<u8>, Unusable> {
    let (at, size) = bytes_of(members, name)?;
    if size > LONGEST_TEXT {
        return Err(bad(format!("{name} has {size} bytes, {LONGEST_TEXT} are the most")));
    }
    let mut text = Vec::new();
    Part { file: sent, at, size }.reader().read_to_end(&mut text).map_err(Unusable::Disk)?;
    Ok(text)
}

/// Engines unpack a layer by its first bytes, whatever its name says: so is it read here, and goes on unpacked.
fn append_layer(
    written: &mut tar::Builder<&mut File>,
    name: &str,
    part: &Part<'_>,
    layer: &str,
    budget: &Budget,
) -> Result<(), Unusable> {
    let mut magic = [0; 6];
    let known = part.size.min(6) as usize;
    part.file.read_exact_at(&mut magic[..known], part.at).map_err(Unusable::Disk)?;
    let packing = match magic {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
        [0x42, 0x5a, 0x68, ..] | [0xfd, b'7', b'z', b'X', b'Z', 0] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            return Err(bad(format!(
                "layer {layer} is compressed in a way that is not taken; gzip, zstd and none are"
            )));
        }
        _ => return append(written, name, part.size, budget.counted(part.reader())),
    };
    let damaged = |e: io::Error| match Spent::behind(&e) {
        Some(spent) => bad(format!("layer {layer} {spent}")),
        None => bad(format!("layer {layer} is damaged: {e}")),
    };
    // A header tells the size before the contents, so it is unpacked twice.
    let once = unpacked(packing, part.reader()).map_err(damaged)?;
    let size = io::copy(&mut budget.counted(once), &mut io::sink()).map_err(damaged)?;
    let again = unpacked(packing, part.reader()).map_err(damaged)?;
    append(written, name, size, budget.counted(again))
}

#[derive(Clone, Copy)]
enum Packing {
    Gzip,
    Zstd,
}

fn unpacked<'a>(packing: Packing, input: PartReader<'a>) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match packing {
        Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
        Packing::Zstd => Box::new(ruzstd::decoding::StreamingDecoder::new(input).map_err(io::Error::other)?),
    })
}

fn append(written: &mut tar::Builder<&mut File>, name: &str, size: u64, contents: impl Read) -> Result<(), Unusable> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    written.append_data(&mut header, name, contents).map_err(|e| match Spent::behind(&e) {
        Some(spent) => bad(format!("the archive {spent}")),
        None => Unusable::Disk(e),
    })
}

/// Some bytes of a file, wherever others have moved its own position.
struct Part<'a> {
    file: &'a File,
    at: u64,
    size: u64,
}

struct PartReader<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl<'a> Part<'a> {
    fn reader(&self) -> PartReader<'a> {
        PartReader { file: self.file, at: self.at, left: self.size }
    }
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        (self.at, self.left) = (self.at + read as u64, self.left - read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
