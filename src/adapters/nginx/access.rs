//! nginx's access log: what each release answered, counted as it is written.
//!
//! A buffered file is free and complete, where a syslog socket loses lines (DESIGN §6). It is read from where it
//! ended when we came, and replaced before it grows large: nginx reopens it, and the old one is read to its end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::folder::Folder;
use super::log;
use super::process::Master;
use crate::core::deploy::{Counted, Tally};
use crate::core::render::release_of;

/// nginx writes its buffer out this often; asking more often finds nothing.
const POLL: Duration = Duration::from_millis(500);
const LARGEST: u64 = 64 << 20;
/// Workers of older generations keep the renamed file open; after this nobody writes to it any more.
const LINGER: Duration = Duration::from_secs(5);

/// By the generation that answered and the upstream's name: what release that is, is found out once per reading
/// instead of once per line.
type Counts = BTreeMap<Option<u64>, BTreeMap<String, Tally>>;

/// Reads the log on. One reader per process.
pub struct AccessLog {
    path: PathBuf,
    current: Option<Reader>,
    /// The one before, until nobody writes to it.
    old: Option<(Reader, Instant)>,
    largest: u64,
}

struct Reader {
    file: BufReader<File>,
    /// A line whose end is not written yet.
    partial: Vec<u8>,
}

impl AccessLog {
    /// Begins at the present end of the log.
    pub fn new(path: PathBuf) -> Self {
        let current = Reader::open(&path, SeekFrom::End(0));
        Self { path, current, old: None, largest: LARGEST }
    }

    /// Waits until something was counted.
    pub async fn counted(&mut self, folder: &Folder) -> Vec<Counted> {
        loop {
            sleep(POLL).await;
            let counts = self.read();
            log::bound(&folder.error_log());
            self.rotate(|| Master::find(folder).is_some_and(|master| master.process().signal(Signal::SIGUSR1)));
            let released = of_releases(counts);
            if !released.is_empty() {
                return released;
            }
        }
    }

    fn read(&mut self) -> Counts {
        let mut counts = Counts::new();
        if let Some((old, since)) = &mut self.old {
            old.read(&mut counts);
            if since.elapsed() > LINGER {
                self.old = None;
                // A leftover is replaced at the next rotation.
                let _ = fs::remove_file(old_path(&self.path));
            }
        }
        if self.current.is_none() {
            self.current = Reader::open(&self.path, SeekFrom::Start(0));
        }
        if let Some(current) = &mut self.current {
            current.read(&mut counts);
        }
        counts
    }

    fn rotate(&mut self, reopen: impl FnOnce() -> bool) {
        let size = fs::metadata(&self.path).map_or(0, |meta| meta.len());
        if size < self.largest || self.old.is_some() || fs::rename(&self.path, old_path(&self.path)).is_err() {
            return;
        }
        if !reopen() {
            tracing::warn!("nginx cannot be told to reopen its access log");
        }
        self.old = self.current.take().map(|reader| (reader, Instant::now()));
    }
}

fn of_releases(counts: Counts) -> Vec<Counted> {
    let of_release = |(generation, upstream, tally): (_, String, _)| {
        release_of(&upstream).map(|(app, version)| Counted { app, version, generation, tally })
    };
    let each = counts.into_iter().flat_map(|(generation, upstreams)| {
        upstreams.into_iter().map(move |(upstream, tally)| (generation, upstream, tally))
    });
    each.filter_map(of_release).collect()
}

fn old_path(path: &Path) -> PathBuf {
    path.with_extension("log.old")
}

impl Reader {
    fn open(path: &Path, from: SeekFrom) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        file.seek(from).ok()?;
        Some(Self { file: BufReader::with_capacity(1 << 16, file), partial: Vec::new() })
    }

    /// Counts every whole line that has been written since.
    fn read(&mut self, counts: &mut Counts) {
        // An error is as an end: what is there is read the next time.
        while let Ok(1..) = self.file.read_until(b'\n', &mut self.partial) {
            if self.partial.last() != Some(&b'\n') {
                return;
            }
            count(&String::from_utf8_lossy(&self.partial), counts);
            self.partial.clear();
        }
    }
}

/// One line: upstream, status, the status of each try, seconds, preview secret, the visitor's cookies, his address,
/// the connection's number and the request's on it, the generation; separated by tabs. A template of somebody's own
/// may leave the last one out.
fn count(line: &str, counts: &mut Counts) {
    let line = line.trim_end();
    let generation = line.rsplit_once('\t').and_then(|(_, last)| last.parse().ok());
    let counts = counts.entry(generation).or_default();
    let mut fields = line.split('\t');
    let mut next = || fields.next().unwrap_or_default();
    let (upstream, status, tries, seconds, preview) = (next(), next(), next(), next(), next());
    // nginx writes `-` for each of header and cookie that is not there.
    if !preview.trim_matches('-').is_empty() {
        return;
    }
    if !counts.contains_key(upstream) {
        counts.insert(upstream.to_owned(), Tally::default());
    }
    let Some(tally) = counts.get_mut(upstream) else { return };
    if status == "499" {
        tally.gone += 1;
        return;
    }
    // A retry hides a failure from the client; it is the release's all the same. `-` is a try without an answer, and 009
    // what nginx makes of one that is no HTTP.
    let failed = tries.split([',', ':']).map(str::trim).any(|s| s.starts_with(['5', '0']) || s == "-");
    let (cookies, address, request) = (next(), next(), next());
    // Who has no cookie is given a release anew with each request: every one counts by itself.
    let visitor = if cookies.trim_matches('-').is_empty() { hash(&[request]) } else { hash(&[cookies, address]) };
    tally.count(seconds.parse().unwrap_or(0.0), failed.then_some(visitor));
}

fn hash(words: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn requests(counts: Counts) -> u64 {
        counts.values().flat_map(BTreeMap::values).map(|tally| tally.requests).sum()
    }

    fn counted(lines: &str) -> BTreeMap<String, (u64, u64, u64)> {
        let mut counts = Counts::new();
        lines.lines().for_each(|line| count(line, &mut counts));
        let counts = of_releases(counts).into_iter();
        counts
            .map(|c| (format!("{}@{}", c.app, c.version), (c.tally.requests, c.tally.failures, c.tally.gone)))
            .collect()
    }

    #[test]
    fn every_try_counts_and_who_gave_up_does_not() {
        let lines = "app.shop.1.0\t200\t200\t0.004\t--\n\
                     app.shop.1.0\t200\t502, 200\t0.009\t--\n\
                     app.shop.1.0\t500\t500\t0.001\t\n\
                     app.shop.1.0\t009\t009\t0.001\t\n\
                     app.shop.1.0\t499\t-\t3.000\t\n\
                     app.shop.2.0\t404\t404\t0.001\t\n\
                     app.shop.2.0\t500\t500\t0.001\tsecret-\n\
                     platformer.supervisor\t500\t500\t0.001\t\n\
                     half a line";
        let expected = [("shop@1.0", (4, 3, 1)), ("shop@2.0", (1, 0, 0))];
        assert_eq!(counted(lines), expected.map(|(k, v)| (k.to_owned(), v)).into());
    }

    #[test]
    fn a_line_knows_the_generation_that_answered() {
        let mut counts = Counts::new();
        for (generation, lines) in [("7", 3), ("12", 2)] {
            let line = format!("app.shop.1.0\t200\t200\t0.004\t--\t--\t::1\t31.7\t{generation}\n");
            (0..lines).for_each(|_| count(&line, &mut counts));
        }
        // As a template of somebody's own writes it.
        count("app.shop.1.0\t200\t200\t0.004\t--\t--\t::1\t31.7\n", &mut counts);
        let told: Vec<_> = of_releases(counts).into_iter().map(|c| (c.generation, c.tally.requests)).collect();
        assert_eq!(told, [(None, 1), (Some(7), 3), (Some(12), 2)]);
    }

    #[test]
    fn one_visitor_is_one_however_often_he_fails() {
        let failing = |visitor: &str, n: u32| format!("app.shop.1.0\t500\t500\t0.001\t--\t{visitor}\t::1\tid{n}\n");
        let mut counts = Counts::new();
        (0..5).for_each(|n| count(&failing("abc-", n), &mut counts));
        assert_eq!(counts[&None].values().map(|t| (t.failures, t.met_by.len())).collect::<Vec<_>>(), [(5, 1)]);
        (5..7).for_each(|n| count(&failing("--", n), &mut counts));
        assert_eq!(counts[&None].values().map(|t| (t.failures, t.met_by.len())).collect::<Vec<_>>(), [(7, 3)]);
    }

    #[test]
    fn nothing_is_lost_through_rotation_and_half_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut writer = File::create(&path).unwrap();
        let mut log = AccessLog { largest: 2_000, ..AccessLog::new(path.clone()) };
        let (mut seen, mut written) = (0, 0);
        for round in 0..200 {
            write!(writer, "app.shop.1.0\t200\t200\t0.0").unwrap();
            seen += requests(log.read());
            writeln!(writer, "01\t").unwrap();
            written += 1;
            let mut reopened = false;
            log.rotate(|| {
                reopened = true;
                true
            });
            if reopened {
                // A worker that has not reopened yet goes on writing to the renamed file.
                writeln!(writer, "app.shop.1.0\t200\t200\t0.001\t").unwrap();
                written += 1;
                writer = File::options().create(true).append(true).open(&path).unwrap();
            }
            if round % 7 == 0 {
                seen += requests(log.read());
            }
        }
        seen += requests(log.read());
        assert_eq!(seen, written);
        assert!(old_path(&path).exists(), "it was never rotated");
    }
}
