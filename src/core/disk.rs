//! How much room is left where the platform keeps things.

use std::sync::Arc;

use jiff::Timestamp;

/// One folder's disk, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// `the state folder /var/lib/platformer`.
    pub place: Arc<str>,
    /// In bytes.
    pub free: u64,
    pub total: u64,
    /// Files that can still be made; 0 of 0 where the file system has no such limit.
    pub free_files: u64,
    pub files: u64,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// It will be full before long.
    Little,
    /// What is written next may not be kept.
    Full,
}

const MB: u64 = 1_000_000;
/// On a large disk this much is enough, whatever its size.
const LITTLE: u64 = 500 * MB;
const FULL: u64 = 16 * MB;

impl Disk {
    /// Less than a twentieth is left, and less than 500 MB; or of the files that can be made.
    pub fn shortage(&self) -> Option<Shortage> {
        let of = |left: u64, all: u64, little: u64, full: u64| match left {
            left if left < (all / 200).min(full) => Some(Shortage::Full),
            0 if all > 0 => Some(Shortage::Full),
            left if left < (all / 20).min(little) => Some(Shortage::Little),
            _ => None,
        };
        let bytes = of(self.free, self.total, LITTLE, FULL);
        bytes.max(of(self.free_files, self.files, u64::MAX, 1000))
    }

    /// With numbers that change only when they mean something else.
    pub fn reason(&self, shortage: Shortage) -> String {
        let (free, total) = (rounded(self.free / MB), self.total / MB);
        let what = match shortage {
            Shortage::Little => "is nearly full",
            Shortage::Full => "is full: what is decided or sent next may not be kept",
        };
        let percent = (self.free.saturating_mul(100)).checked_div(self.total).unwrap_or_default();
        let files = match self.files > 0 && self.free_files < self.files / 20 {
            true => format!(", and room for {} more files", rounded(self.free_files)),
            false => String::new(),
        };
        format!("the disk of {} {what}; {free} of {total} MB are free ({percent} %){files}", self.place)
    }
}

/// Takes in what was found, each with the moment since when it is as short of room as it is.
pub fn renew(known: &mut Vec<(Disk, Timestamp)>, found: Vec<Disk>, now: Timestamp) {
    let since = |disk: &Disk| {
        let before = known.iter().find(|(old, _)| old.place == disk.place && old.shortage() == disk.shortage());
        before.map_or(now, |(_, since)| *since)
    };
    *known = found.into_iter().map(|disk| (since(&disk), disk)).map(|(since, disk)| (disk, since)).collect();
}

/// To its first digit.
fn rounded(number: u64) -> u64 {
    let unit = 10u64.pow(number.checked_ilog10().unwrap_or_default());
    number / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(free: u64, total: u64) -> Disk {
        Disk { place: "the state folder".into(), free, total, free_files: 0, files: 0 }
    }

    #[test]
    fn a_disk_is_short_before_it_is_full_whatever_its_size() {
        for (free, total, expected) in [
            (0, 8 * MB, Some(Shortage::Full)),
            (MB / 4, 8 * MB, Some(Shortage::Little)),
            (MB, 8 * MB, None),
            (499 * MB, 10_000_000 * MB, Some(Shortage::Little)),
            (501 * MB, 10_000_000 * MB, None),
            (15 * MB, 10_000_000 * MB, Some(Shortage::Full)),
            (0, 0, None),
        ] {
            assert_eq!(disk(free, total).shortage(), expected, "{free} of {total}");
        }
        let files = |free_files| Disk { free_files, files: 10_000, ..disk(900 * MB, 1000 * MB) };
        assert_eq!(files(5000).shortage(), None);
        assert_eq!(files(400).shortage(), Some(Shortage::Little));
        assert_eq!(files(0).shortage(), Some(Shortage::Full));
    }

    #[test]
    fn the_reason_has_numbers_and_is_the_same_until_they_mean_something_else() {
        let reason = |free| disk(free, 10_000 * MB).reason(Shortage::Little);
        assert_eq!(reason(423 * MB), "the disk of the state folder is nearly full; 400 of 10000 MB are free (4 %)");
        assert_eq!(reason(423 * MB), reason(429 * MB));
    }
}
