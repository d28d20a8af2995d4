//! Whether an archive can be unpacked, only below the folder it is unpacked in, and by the app image's programs.

mod damage;
mod layout;
mod tar;
mod zip;

use std::fs::File;
use std::io::{self, BufReader, Seek};

use crate::ports::budget::{Budget, Cancelled};
use damage::reason;

/// Reads an archive to its end. The name tells its kind; the error is a reason for people.
pub fn check(file: &File, name: &str, cancelled: &Cancelled) -> Result<(), String> {
    let broken = |e: io::Error| reason(name, &e);
    let budget = Budget::new(file.metadata().map_err(broken)?.len(), cancelled.clone());
    let mut file = file.try_clone().map_err(broken)?;
    file.rewind().map_err(broken)?;
    let input = BufReader::with_capacity(1 << 16, file);
    if name.ends_with(".zip") {
        zip::check(input, name, &budget)
    } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        tar::check(flate2::bufread::MultiGzDecoder::new(input), name, &budget)
    } else if name.ends_with(".tar.zst") {
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(input).map_err(|e| format!("{name} is no zstd archive: {e}"))?;
        tar::check(decoder, name, &budget)
    } else if name.ends_with(".tar") {
        tar::check(input, name, &budget)
    } else {
        Err(format!("{name} is no archive by its name; .tar, .tar.gz, .tgz, .tar.zst and .zip are"))
    }
}

#[cfg(test)]
mod tests;
