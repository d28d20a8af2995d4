//! nginx's error log: why a generation was refused.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::ports::balancer::BalancerError;

/// Where the log ends now, in bytes.
pub fn end(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// The first refusal that was logged after `offset`.
pub fn refusal(path: &Path, offset: u64) -> Option<BalancerError> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut text = String::new();
    // A log that is no UTF-8 is read as far as it is.
    let _ = file.take(1 << 20).read_to_string(&mut text);
    parse(&text)
}

/// Finds an `[emerg]` in text that nginx wrote to its log or to standard error.
pub fn parse(text: &str) -> Option<BalancerError> {
    let line = text.lines().find(|line| line.contains("[emerg]"))?;
    let message = line.split("[emerg]").nth(1)?.trim();
    let message = message
        .split_once(": ")
        .filter(|(pid, _)| pid.bytes().all(|b| b.is_ascii_digit() || b == b'#'))
        .map_or(message, |(_, rest)| rest);
    if message.contains("bind() to") || message.contains("still could not bind") {
        return Some(BalancerError::Trouble(message.to_owned()));
    }
    let (reason, place) = message.rsplit_once(" in ").unwrap_or((message, ""));
    let (file, number) = place.rsplit_once(':').unwrap_or((place, ""));
    let line = number.parse().ok().filter(|_| file.ends_with("/platformer.conf"));
    let reason = if number.is_empty() { message } else { reason };
    Some(BalancerError::Refused { reason: reason.to_owned(), line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_reason_and_line() {
        let log = "2026/11/21 09:00:00 [notice] 7#7: reconfiguring\n\
                   2026/11/21 09:00:00 [emerg] 7#7: unknown directive \"bogus\" in /s/nginx/current/platformer.conf:45\n";
        assert_eq!(
            parse(log),
            Some(BalancerError::Refused { reason: "unknown directive \"bogus\"".into(), line: Some(45) })
        );
        let hash =
            "nginx: [emerg] could not build server_names_hash, you should increase server_names_hash_bucket_size: 32";
        assert!(matches!(parse(hash), Some(BalancerError::Refused { line: None, .. })));
        assert_eq!(parse("[notice] 7#7: signal 1"), None);
    }

    #[test]
    fn a_taken_port_is_no_refusal_of_the_text() {
        let log = "[emerg] 7#7: bind() to 0.0.0.0:80 failed (98: Address already in use)";
        assert!(matches!(parse(log), Some(BalancerError::Trouble(reason)) if reason.contains("0.0.0.0:80")));
    }
}
