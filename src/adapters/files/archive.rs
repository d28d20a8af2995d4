//! Whether an archive can be unpacked, and only below the folder it is unpacked in.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};

/// What an archive may unpack to, in bytes: more is a mistake or a bomb.
const LARGEST: u64 = 8 << 30;

/// Reads an archive to its end. The name tells its kind; the error is a reason for people.
pub fn check(location: &Path, name: &str) -> Result<(), String> {
    let broken = |e: io::Error| format!("{name} is damaged or cut off: {e}");
    let file = File::open(location).map_err(broken)?;
    if name.ends_with(".zip") {
        check_zip(file, name)
    } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        check_tar(flate2::read::MultiGzDecoder::new(file), name)
    } else if name.ends_with(".tar.zst") {
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(file).map_err(|e| format!("{name} is no zstd archive: {e}"))?;
        check_tar(decoder, name)
    } else if name.ends_with(".tar") {
        check_tar(file, name)
    } else {
        Err(format!("{name} is no archive by its name; .tar, .tar.gz, .tgz, .tar.zst and .zip are"))
    }
}

fn check_tar(input: impl Read, name: &str) -> Result<(), String> {
    let broken = |e: io::Error| format!("{name} is damaged or cut off: {e}");
    let mut archive = tar::Archive::new(input.take(LARGEST));
    let mut entries = 0;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        is_inside(&path, name)?;
        if let Some(target) = entry.link_name().map_err(broken)? {
            let base = if entry.header().entry_type().is_symlink() {
                path.parent().unwrap_or(Path::new(""))
            } else {
                Path::new("")
            };
            is_inside(&base.join(target), name)?;
        }
        io::copy(&mut entry, &mut io::sink()).map_err(broken)?;
        entries += 1;
    }
    // The end of the compressed stream carries its checksum.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    if entries == 0 { Err(format!("{name} is empty")) } else { Ok(()) }
}

fn check_zip(file: File, name: &str) -> Result<(), String> {
    let broken = |e: zip::result::ZipError| format!("{name} is damaged or cut off: {e}");
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    if archive.is_empty() {
        return Err(format!("{name} is empty"));
    }
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(broken)?;
        let path = entry.name().map_err(broken)?.into_owned();
        is_inside(Path::new(&path), name)?;
        io::copy(&mut entry, &mut io::sink()).map_err(|e| format!("{name} is damaged or cut off: {e}"))?;
    }
    Ok(())
}

/// Refuses paths that lead out of the folder the archive is unpacked in.
fn is_inside(path: &Path, name: &str) -> Result<(), String> {
    let mut depth = 0i32;
    for part in path.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => depth = -1,
        }
        if depth < 0 {
            return Err(format!("{name} holds {}, which would be unpacked outside its folder", path.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};

    fn tgz(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *data).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn checked(bytes: &[u8], name: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upload");
        std::fs::write(&path, bytes).unwrap();
        check(&path, name)
    }

    #[test]
    fn whole_archives_pass_and_damaged_ones_do_not() {
        let noise: Vec<u8> = (0..40_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let good = tgz(&[("./app.py", b"print()"), ("data", &noise)]);
        assert_eq!(checked(&good, "a.tgz"), Ok(()));
        for cut in [1, 20, good.len() / 2, good.len() - 4] {
            assert!(checked(&good[..cut], "a.tgz").is_err(), "cut at {cut} of {}", good.len());
        }
        assert!(
            checked(b"<html>", "a.tgz").is_err()
                && checked(b"", "a.zip").is_err()
                && checked(b"PK", "a.tar.zst").is_err()
        );
        assert!(checked(&good, "a.exe").is_err());
    }

    #[test]
    fn nothing_is_unpacked_outside() {
        for path in ["../x", "/etc/x", "a/../../x"] {
            let error = checked(&tgz(&[(path, b"x")]), "a.tgz").unwrap_err();
            assert!(error.contains("outside"), "{path}: {error}");
        }
        assert_eq!(checked(&tgz(&[("a/../b", b"x")]), "a.tgz"), Ok(()));
    }
}
