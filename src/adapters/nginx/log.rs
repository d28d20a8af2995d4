//! What nginx says of a configuration, and logs kept small.
//!
//! Its verdict is in the log of the main context, which requests never reach: what they log, and clients may write
//! there what they like, goes to the log of `http {}`. And only lines count that the master itself has written.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::ports::balancer::BalancerError;

/// nginx cuts what it logs at 2,048 bytes (NGX_MAX_ERROR_STR): what a longer line ends with is not what was meant.
const CUT: usize = 2040;
/// What a log may grow to; as much again of what was in it before is kept beside it.
const LARGEST: u64 = 8 << 20;

/// Where the log ends now, in bytes. What is in it has been read: a large one is emptied.
pub fn end(path: &Path) -> u64 {
    keep_small(path, 1 << 20);
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// The first refusal that the process `master` has logged after `offset`.
pub fn refusal(path: &Path, offset: u64, master: i32) -> Option<BalancerError> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut bytes = Vec::new();
    file.take(1 << 20).read_to_end(&mut bytes).ok()?;
    // `2026/11/21 09:00:00 [emerg] 7#7: unknown directive …`
    let begin = format!(" [emerg] {master}#");
    let text = String::from_utf8_lossy(&bytes);
    let said = text.lines().filter_map(|line| line.get(19..)?.strip_prefix(&begin)?.split_once(": "));
    said.map(|(_, message)| verdict(message)).next()
}

/// Finds a refusal in what nginx wrote to standard error, such as `nginx: [emerg] unknown directive …`.
pub fn parse(text: &str) -> Option<BalancerError> {
    text.lines().find_map(|line| line.split_once("nginx: [emerg] ")).map(|(_, message)| verdict(message.trim()))
}

fn verdict(message: &str) -> BalancerError {
    if message.contains("bind() to") || message.contains("still could not bind") {
        return BalancerError::Trouble(message.to_owned());
    }
    let place = message.rsplit_once(" in ").filter(|_| message.len() < CUT);
    let numbered = place.and_then(|(reason, place)| {
        let (file, number) = place.rsplit_once(':')?;
        Some((reason, file, number.parse().ok()?))
    });
    match numbered {
        Some((reason, file, line)) => {
            let line = Some(line).filter(|_| file.ends_with("/platformer.conf"));
            BalancerError::Refused { reason: reason.to_owned(), line }
        }
        None => BalancerError::Refused { reason: message.chars().take(300).collect(), line: None },
    }
}

/// Empties a log that has grown, keeping what was in it beside it. nginx appends, so it goes on in the emptied file,
/// and so do workers of older generations, which no signal would reach.
pub fn bound(path: &Path) {
    keep_small(path, LARGEST);
}

fn keep_small(path: &Path, largest: u64) {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > largest) {
        // That it cannot be kept is no reason to let it grow.
        let _ = fs::copy(path, path.with_extension("log.old"));
        if let Err(error) = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(0)) {
            tracing::warn!(%error, "{} cannot be emptied", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn refused(reason: &str, line: Option<usize>) -> Option<BalancerError> {
        Some(BalancerError::Refused { reason: reason.into(), line })
    }

    fn logged(bytes: &[u8]) -> Option<BalancerError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, bytes).unwrap();
        refusal(&path, 0, 7)
    }

    #[test]
    fn a_refusal_tells_reason_and_line() {
        let log = "2026/11/21 09:00:00 [notice] 7#7: reconfiguring\n\
                   2026/11/21 09:00:00 [emerg] 7#7: unknown directive \"bogus\" in /s/nginx/current/platformer.conf:45\n";
        assert_eq!(logged(log.as_bytes()), refused("unknown directive \"bogus\"", Some(45)));
        let hash = "could not build server_names_hash, you should increase server_names_hash_bucket_size: 32";
        assert_eq!(
            parse(&format!("nginx: [emerg] {hash}\nnginx: configuration file x test failed\n")),
            refused(hash, None)
        );
        assert_eq!(parse("2026/11/21 09:00:00 [notice] 7#7: signal 1"), None);
    }

    #[test]
    fn only_what_the_master_itself_says_is_its_verdict() {
        for other in [
            "2026/11/21 09:00:00 [emerg] 8#8: unknown directive \"bogus\" in /platformer.conf:45\n",
            "2026/11/21 09:00:00 [error] 7#7: *1 too large body, referrer: \"[emerg] 7#7: pwned\"\n",
            "2026/11/21 09:00:00 [error] 7#7: *1 x\n [emerg] 7#7: pwned in /platformer.conf:1\n",
        ] {
            assert_eq!(logged(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_hide_nothing_and_a_line_that_was_cut_names_no_place() {
        let mut log = b"2026/11/21 09:00:00 [error] 7#7: *1 \xff\xfe\n".to_vec();
        log.extend(b"2026/11/21 09:00:00 [emerg] 7#7: bad \xff in /s/platformer.conf:9\n");
        assert_eq!(logged(&log), refused("bad \u{fffd}", Some(9)));
        let long = format!("2026/11/21 09:00:00 [emerg] 7#7: {} in /s/platformer.conf:2", "x".repeat(2100));
        assert!(matches!(logged(long.as_bytes()), Some(BalancerError::Refused { line: None, .. })));
    }

    #[test]
    fn a_taken_port_is_no_refusal_of_the_text() {
        let log = "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)";
        assert!(matches!(parse(log), Some(BalancerError::Trouble(reason)) if reason.contains("0.0.0.0:80")));
    }

    #[test]
    fn a_log_is_emptied_before_it_is_large_and_goes_on_in_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.log");
        let mut nginx = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        for text in ["old\n", "new\n"] {
            nginx.write_all(text.as_bytes()).unwrap();
            keep_small(&path, 3);
            nginx.write_all(b"on\n").unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "on\n");
        assert_eq!(fs::read_to_string(folder.path().join("error.log.old")).unwrap(), "on\nnew\n");
    }
}
