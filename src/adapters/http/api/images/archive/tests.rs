//! Archives as an attacker would write them: whatever is in them, what the engine is given names one image, once.

use std::io::Write;

use super::*;
use crate::core::digest::sha256;

const OWN: &str = "platformer-push/hello:9";
const GIVEN: &str = "platformer-loading/0:0";

/// A member as raw as it can be: its name is not looked at.
fn member(name: &[u8], kind: EntryType, link: &str, contents: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(contents.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, contents: &[u8]) -> Vec<u8> {
    member(name.as_bytes(), EntryType::Regular, "", contents)
}

fn list(tags: &str, layers: &str) -> String {
    format!(r#"[{{"Config":"c.json","RepoTags":{tags},"Layers":{layers}}}]"#)
}

fn config(layers: usize) -> Vec<u8> {
    format!(r#"{{"rootfs":{{"diff_ids":{:?}}}}}"#, vec!["sha256:0"; layers]).into_bytes()
}

fn good() -> Vec<Vec<u8>> {
    let list = list(&format!("[{OWN:?}]"), r#"["l"]"#);
    vec![file("c.json", &config(1)), file("l", b"layer"), file("manifest.json", list.as_bytes())]
}

fn rebuilt(parts: &[Vec<u8>]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut bytes = parts.concat();
    bytes.extend([0; 1024]);
    let mut sent = tempfile::tempfile().unwrap();
    sent.write_all(&bytes).unwrap();
    let name = |text: &str| ImageRef::parse(text).unwrap();
    let mut out = tempfile::tempfile().unwrap();
    rebuild(&sent, &sha256(&bytes), &name(OWN), &name(GIVEN), &mut out, &Cancelled::default())
        .map_err(|e| e.to_string())?;
    let mut written = tar::Archive::new(out);
    let read = |entry: io::Result<tar::Entry<'_, File>>| {
        let mut entry = entry.unwrap();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), contents)
    };
    Ok(written.entries().unwrap().map(read).collect())
}

fn refused(parts: &[Vec<u8>], expected: &str) {
    let error = rebuilt(parts).err().unwrap_or_else(|| panic!("taken, though {expected}"));
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
}

#[test]
fn what_is_taken_is_written_anew_under_the_name_that_was_given() {
    let written = rebuilt(&good()).unwrap();
    let names: Vec<_> = written.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["config.json", "layer-0.tar", "manifest.json"]);
    let list = String::from_utf8(written[2].1.clone()).unwrap();
    assert_eq!(list, format!(r#"[{{"Config":"config.json","RepoTags":[{GIVEN:?}],"Layers":["layer-0.tar"]}}]"#));
    assert_eq!((&written[0].1, &*written[1].1), (&config(1), &b"layer"[..]));
}

#[test]
fn layers_that_the_engine_has_may_be_missing_and_only_the_lowest() {
    let listed = |layers| file("manifest.json", list(&format!("[{OWN:?}]"), layers).as_bytes());
    let with = |layers| vec![file("c.json", &config(2)), file("l", b"x"), listed(layers)];
    let names: Vec<_> = rebuilt(&with(r#"["below","l"]"#)).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["config.json", "layer-1.tar", "manifest.json"]);
    refused(&with(r#"["l","above"]"#), "above is not in the archive");
    refused(&with(r#"["l"]"#), "names 1 layers, the image's configuration 2");
}

#[test]
fn a_second_list_is_refused_however_its_name_is_written() {
    let evil = list(r#"["platformer/app-base:latest"]"#, r#"["l"]"#);
    for name in [
        "./manifest.json",
        "manifest.json",
        "x/../manifest.json",
        "/manifest.json",
        "manifest.json/",
        ".//manifest.json",
    ] {
        for parts in
            [[good(), vec![file(name, evil.as_bytes())]].concat(), [vec![file(name, evil.as_bytes())], good()].concat()]
        {
            assert!(rebuilt(&parts).is_err(), "{name} was taken");
        }
    }
    for name in ["repositories", "index.json", "oci-layout", "blobs/sha256/x", "MANIFEST.JSON"] {
        refused(&[good(), vec![file(name, b"{}")]].concat(), "does not name");
    }
}

#[test]
fn names_from_pax_and_gnu_headers_count_as_names() {
    let evil = list(r#"["platformer/app-base:latest"]"#, r#"["l"]"#);
    let record = "28 path=././././manifest.json\n";
    let record = format!("{} {}", record.len(), &record[3..]);
    let pax = [member(b"p", EntryType::XHeader, "", record.as_bytes()), file("harmless", evil.as_bytes())].concat();
    refused(&[good(), vec![pax]].concat(), "no plain name");
    let long = [member(b"././@LongLink", EntryType::GNULongName, "", b"./manifest.json\0"), file("x", evil.as_bytes())];
    refused(&[good(), vec![long.concat()]].concat(), "no plain name");
    let endless = member(b"././@LongLink", EntryType::GNULongName, "", &vec![b'a'; 2 << 20]);
    refused(&[good(), vec![endless, file("x", b"")]].concat(), "holds a name of more than");
}

#[test]
fn an_archive_that_is_another_one_unpacked_is_read_as_what_it_is() {
    // Its first bytes are a gzip header whose extra field ends where the small archive begins.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&list(r#"["platformer/app-base:latest"]"#, "[]").into_bytes()).unwrap();
    let name = [b"\x1f\x8b\x08\x04\0\0\0\0\0\x03".as_slice(), &[0xff, 0x01]].concat();
    let polyglot = member(&name, EntryType::Regular, "", &gzip.finish().unwrap());
    refused(&[vec![polyglot], good()].concat(), "no plain name");
}

#[test]
fn what_is_no_file_is_no_part_of_an_image() {
    for kind in [EntryType::Fifo, EntryType::Char, EntryType::Block] {
        refused(&[good(), vec![member(b"x", kind, "", b"")]].concat(), "neither a file nor a link");
    }
    assert!(rebuilt(&[good(), vec![member(b"x", EntryType::GNUSparse, "", b"")]].concat()).is_err());
    for (kind, target) in [(EntryType::Symlink, "/etc/shadow"), (EntryType::Symlink, "../l"), (EntryType::Link, "../x")]
    {
        let layer = member(b"l", kind, target, b"");
        refused(&[file("c.json", &config(1)), layer, good().remove(2)], "outside the archive");
    }
}

#[test]
fn a_layer_that_is_another_one_again_is_a_link_to_it() {
    let list = list(&format!("[{OWN:?}]"), r#"["a/l","b/l"]"#);
    let link = member(b"b/l", EntryType::Symlink, "../a/l", b"");
    let parts = [file("c.json", &config(2)), file("a/l", b"same"), link, file("manifest.json", list.as_bytes())];
    let written = rebuilt(&parts).unwrap();
    assert_eq!((&*written[1].1, &*written[2].1), (&b"same"[..], &b"same"[..]));
    let round = member(b"a/l", EntryType::Symlink, "../b/l", b"");
    refused(&[parts[0].clone(), round, parts[2].clone(), parts[3].clone()], "is not in the archive");
}

#[test]
fn a_layer_goes_on_unpacked_and_a_bomb_goes_nowhere() {
    let packed = |bytes: &mut dyn Read| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        io::copy(bytes, &mut gzip).unwrap();
        gzip.finish().unwrap()
    };
    let with = |layer: &[u8]| vec![good().remove(0), file("l", layer), good().remove(2)];
    assert_eq!(rebuilt(&with(&packed(&mut &b"a layer"[..]))).unwrap()[1].1, b"a layer");
    refused(&with(&packed(&mut io::repeat(0).take((64 << 20) + 1))), "as only a bomb does");
    refused(&with(b"BZh91AY"), "gzip, zstd and none are");
    refused(&with(b"\x1f\x8b\x08 no gzip at all"), "layer l is damaged");
}

#[test]
fn it_is_one_image_of_that_name_and_what_was_announced() {
    for tags in [r#"["platformer/app-base:latest"]"#, r#"["platformer-push/hello:9","x:1"]"#, "[]", "null"] {
        let list = list(tags, r#"["l"]"#);
        refused(
            &[good().remove(0), good().remove(1), file("manifest.json", list.as_bytes())],
            "named platformer-push/hello:9",
        );
    }
    refused(&[b"nothing of the kind".to_vec()], "no image archive");
    refused(&good()[..2], "manifest.json is not in the archive");
    refused(&good()[1..], "c.json is not in the archive");
    let mut sent = tempfile::tempfile().unwrap();
    sent.write_all(&good().concat()).unwrap();
    let name = ImageRef::parse(OWN).unwrap();
    let mut out = tempfile::tempfile().unwrap();
    let error = rebuild(&sent, &"0".repeat(64), &name, &name, &mut out, &Cancelled::default()).unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
}
