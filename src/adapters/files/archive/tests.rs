//! Archives as people and attackers make them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::EntryType;
use zip::write::SimpleFileOptions;

use super::check;
use crate::ports::budget::{Cancelled, Waiting};

type Entry<'a> = (&'a str, EntryType, &'a str, &'a [u8]);

fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, link, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (path, data) in entries {
        writer.start_file(*path, SimpleFileOptions::default()).unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn checked(bytes: &[u8], name: &str) -> Result<(), String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    check(&file, name, &Cancelled::default())
}

fn refused(bytes: &[u8], name: &str, expected: &str) {
    let error = checked(bytes, name).err().unwrap_or_else(|| panic!("taken, though {expected}"));
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
}

const FILE: EntryType = EntryType::Regular;

#[test]
fn whole_archives_pass_and_damaged_ones_do_not() {
    let noise: Vec<u8> = (0..40_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let good = gz(&tar_of(&[("./app.py", FILE, "", b"print()"), ("data", FILE, "", &noise)]));
    assert_eq!(checked(&good, "a.tgz"), Ok(()));
    for cut in [1, 20, good.len() / 2, good.len() - 4] {
        refused(&good[..cut], "a.tgz", "damaged or cut off");
    }
    assert!(checked(b"<html>", "a.tgz").is_err() && checked(b"", "a.zip").is_err());
    refused(b"PK", "a.tar.zst", "no zstd archive");
    refused(&good, "a.exe", "no archive by its name");
    for nothing in [tar_of(&[]), tar_of(&[("./", EntryType::Directory, "", b"")])] {
        refused(&nothing, "a.tar", "is empty");
    }
}

#[test]
fn nothing_is_unpacked_outside_or_left_out() {
    // GNU tar leaves out what has ".." anywhere in its name, and fails.
    for path in ["../x", "/etc/x", "a/../../x", "a/../b"] {
        refused(&tar_of(&[(path, FILE, "", b"x")]), "a.tar", "outside its folder");
        refused(&zip_of(&[(path, b"x")]), "a.zip", "outside its folder");
    }
}

#[test]
fn links_may_point_anywhere_and_nothing_goes_through_them() {
    let python = ("venv/bin/python3", EntryType::Symlink, "/usr/bin/python3", &b""[..]);
    let up = ("up", EntryType::Symlink, "../../x", &b""[..]);
    assert_eq!(checked(&tar_of(&[python, up, ("venv/bin/pip", FILE, "", b"x")]), "a.tar"), Ok(()));
    let out = ("etc", EntryType::Symlink, "/etc", &b""[..]);
    for through in [("etc/passwd", FILE, "", &b"x"[..]), ("etc/", EntryType::Directory, "", b"")] {
        for entries in [[out, through], [through, out]] {
            refused(&tar_of(&entries), "a.tar", "a link to /etc: they would be put there");
        }
    }
    let second = ("second", EntryType::Link, "etc", &b""[..]);
    refused(&tar_of(&[out, second, ("second/x", FILE, "", b"x")]), "a.tar", "below second");
    let file = ("one", FILE, "", &b"x"[..]);
    assert_eq!(checked(&tar_of(&[file, ("two", EntryType::Link, "./one", b"")]), "a.tar"), Ok(()));
    refused(&tar_of(&[file, ("two", EntryType::Link, "/etc/passwd", b"")]), "a.tar", "outside its folder");
    refused(&tar_of(&[("two", EntryType::Link, "one", b""), file]), "a.tar", "not further up");
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        refused(&tar_of(&[("dev", kind, "", b"")]), "a.tar", "a device");
    }
}

#[test]
fn what_tar_packs_of_a_virtual_environment_is_taken_and_unpacks() {
    let folder = tempfile::tempdir().unwrap();
    let (packed, unpacked) = (folder.path().join("a.tgz"), folder.path().join("out"));
    let bin = folder.path().join("app/venv/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir(&unpacked).unwrap();
    symlink("/usr/bin/python3", bin.join("python3")).unwrap();
    symlink("python3", bin.join("python")).unwrap();
    std::fs::write(bin.join("a"), "x").unwrap();
    std::fs::hard_link(bin.join("a"), bin.join("b")).unwrap();
    let tar = |arguments: &[&str]| Command::new("tar").args(arguments).status().unwrap().success();
    let (from, file) = (folder.path().join("app"), packed.to_str().unwrap());
    assert!(tar(&["-czf", file, "-C", from.to_str().unwrap(), "."]));
    assert_eq!(check(&File::open(&packed).unwrap(), "a.tgz", &Cancelled::default()), Ok(()));
    assert!(tar(&["-xzf", file, "-C", unpacked.to_str().unwrap()]));
    assert_eq!(std::fs::read_link(unpacked.join("venv/bin/python3")).unwrap().to_str(), Some("/usr/bin/python3"));
}

#[test]
fn a_zip_that_would_not_unpack_is_refused_with_the_reason() {
    assert_eq!(checked(&zip_of(&[("app/run.py", b"x"), ("b", b"y")]), "a.zip"), Ok(()));
    refused(&zip_of(&[(r"app\run.py", b"x")]), "a.zip", "backslash");
    let mut encrypted = zip_of(&[("a", b"secret")]);
    let central = encrypted.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    (encrypted[6], encrypted[central + 8]) = (1, 1);
    refused(&encrypted, "a.zip", "encrypted");
    let mut other = zip_of(&[("a", b"x")]);
    let central = other.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    (other[8], other[central + 10]) = (12, 12);
    refused(&other, "a.zip", "not every unzip knows");
}

#[test]
fn bombs_of_every_kind_meet_the_same_limits() {
    // 60 members that announce 512 MB each.
    let mut zip = zip_of(&[("x", &b"x"[..])]);
    let central = zip.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let (record, end) = (zip[central..central + 47].to_vec(), zip[central + 47..].to_vec());
    zip.truncate(central);
    for n in 0..60u8 {
        let mut record = record.clone();
        record[24..28].copy_from_slice(&(512u32 << 20).to_le_bytes());
        record[46] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[usize::from(n)];
        zip.extend(record);
    }
    let mut end = end;
    (end[8], end[10]) = (60, 60);
    end[12..16].copy_from_slice(&(60 * 47u32).to_le_bytes());
    zip.extend(end);
    refused(&zip, "a.zip", "unpacks to more than 16 GiB");
    let (mut many, large) = (zip_of(&[("a", b"x")]), 600_000u64);
    let mut record = b"PK\x06\x06".to_vec();
    record.resize(56, 0);
    record[32..40].copy_from_slice(&large.to_le_bytes());
    let end = many.len() - 22;
    many.splice(end..end, record);
    refused(&many, "a.zip", "more than 500000 files");
    // A sparse file is as large as it says.
    let mut header = tar::Header::new_gnu();
    header.set_path("sparse").unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(0);
    header.as_gnu_mut().unwrap().realsize[..].copy_from_slice(b"777777777777");
    let sparse = &mut header.as_gnu_mut().unwrap().sparse[0];
    sparse.offset.copy_from_slice(b"777777777777");
    sparse.numbytes.copy_from_slice(b"000000000000");
    header.set_cksum();
    refused(header.as_bytes(), "a.tar", "unpacks to more than 16 GiB");
    let zeros = vec![0; 70 << 20];
    refused(&gz(&tar_of(&[("zeros", FILE, "", &zeros)])), "a.tgz", "as only a bomb does");
    let name = vec![b'a'; 2 << 20];
    let long = tar_of(&[("././@LongLink", EntryType::GNULongName, "", &name), ("x", FILE, "", b"")]);
    refused(&long, "a.tar", "holds a name of more than");
}

#[test]
fn nobody_unpacks_for_who_has_gone() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&tar_of(&[("a", FILE, "", b"x")])).unwrap();
    let waiting = Waiting::default();
    let cancelled = waiting.cancelled();
    drop(waiting);
    assert!(check(&file, "a.tar", &cancelled).unwrap_err().contains("who sent it has gone"));
}
