//! The last events, in a file of their own: losing the newest few to a power cut is no harm, so that noting one
//! does not wait for the disk.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::Connection;

use super::file::{self, Rows, Unopened};
use crate::core::event::Event;
use crate::core::flaw::Flaw;
use crate::ports::journal::Journal;
use crate::ports::ledger::{Complain, LedgerError};
use crate::ports::snapshot::KEPT;

const SCHEMA: i64 = 1;
const TABLES: &str = "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, event TEXT NOT NULL) STRICT;";
/// Older ones are deleted each time so many have come.
const TIDY: u64 = 500;

pub struct Events {
    connection: Mutex<Connection>,
}

impl Events {
    /// Opens `events.sqlite` in the folder, or makes it. Also returns the events that were kept, oldest first. Events
    /// may be lost: a damaged file is set aside, and where none can be opened they are kept in memory.
    pub fn open(folder: &Path, complain: &Complain, now: Timestamp) -> Result<(Self, Vec<Event>), LedgerError> {
        let path = folder.join("events.sqlite");
        let rows = Rows { file: "events.sqlite", complain: complain.clone() };
        let first = read(&path, &rows);
        let failed = match first {
            Ok((connection, kept)) => return Ok((Self { connection: Mutex::new(connection) }, kept)),
            Err(newer @ Unopened::Newer { .. }) => return Err(newer.explained(&path)),
            Err(failed) => failed,
        };
        let told = |reason: String, remedy: &str| {
            complain(Flaw { subject: "state events.sqlite".into(), reason, remedy: remedy.to_owned() });
        };
        if failed.is_damage(&path) {
            let Unopened::Sqlite(error) = failed else { return Err(failed.explained(&path)) };
            let number = u64::try_from(now.as_second()).unwrap_or_default();
            match file::set_aside(&path, number) {
                Ok(aside) => {
                    let reason =
                        format!("it was damaged ({error}) and is set aside as {aside}; earlier events are lost");
                    told(reason, "nothing has to be done: new events are kept; delete the file");
                    if let Ok((connection, kept)) = read(&path, &rows) {
                        return Ok((Self { connection: Mutex::new(connection) }, kept));
                    }
                }
                Err(aside) => tracing::warn!(error = %aside, "damaged events cannot be set aside"),
            }
        } else if let Unopened::Sqlite(error) = &failed {
            let reason = format!("it cannot be opened: {error}; events are kept until the next start only");
            told(reason, "free disk space in the state folder, and restart the platform");
        }
        let broken = |e: rusqlite::Error| Unopened::Sqlite(e).explained(&path);
        let connection = Connection::open_in_memory().map_err(broken)?;
        connection.execute_batch(TABLES).map_err(broken)?;
        Ok((Self { connection: Mutex::new(connection) }, Vec::new()))
    }
}

fn read(path: &Path, rows: &Rows) -> Result<(Connection, Vec<Event>), Unopened> {
    let connection = file::open(path, SCHEMA, TABLES)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let mut kept = {
        let mut statement = connection.prepare("SELECT id, event FROM events ORDER BY id DESC LIMIT ?1")?;
        let remedy = "nothing has to be done: it only told of the past";
        let read = statement.query_map([KEPT], |row| Ok(rows.value("events", remedy, row)))?;
        let read: Vec<(String, Event)> = read.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        read.into_iter().map(|(_, event)| event).collect::<Vec<_>>()
    };
    kept.reverse();
    Ok((connection, kept))
}

impl Journal for Events {
    fn note(&self, event: &Event) {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
        let note = || {
            let text = serde_json::to_string(event).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
            connection
                .prepare_cached("INSERT OR REPLACE INTO events (id, event) VALUES (?1, ?2)")?
                .execute((number(event.id), text))?;
            if event.id.is_multiple_of(TIDY) {
                connection
                    .execute("DELETE FROM events WHERE id <= ?1", [number(event.id.saturating_sub(u64::from(KEPT)))])?;
            }
            Ok::<_, rusqlite::Error>(())
        };
        if let Err(error) = note() {
            tracing::warn!(%error, "an event cannot be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// What was opened at a second, and what was complained of.
    fn opened(folder: &Path, second: i64) -> ((Events, Vec<Event>), Vec<Flaw>) {
        let told: Arc<Mutex<Vec<Flaw>>> = Arc::default();
        let tell = told.clone();
        let complain: Complain = Arc::new(move |flaw| tell.lock().unwrap().push(flaw));
        let events = Events::open(folder, &complain, Timestamp::from_second(second).unwrap()).unwrap();
        (events, told.lock().unwrap().drain(..).collect())
    }

    fn event(id: u64) -> Event {
        Event {
            id,
            at: Timestamp::UNIX_EPOCH,
            kind: "test".into(),
            subject: "app shop".into(),
            message: format!("event {id}"),
            level: None,
            about: Vec::new(),
        }
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_no_more_than_three_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.sqlite");
        let good = || {
            let ((events, kept), told) = opened(folder.path(), 0);
            events.note(&event(1));
            (kept.len(), told.len())
        };
        good();
        let whole = std::fs::read(&path).unwrap();
        let spoiled: [&dyn Fn(); 6] = [
            &|| std::fs::write(&path, [b'x'; 9000]).unwrap(),
            &|| std::fs::write(&path, &whole[..whole.len() / 2]).unwrap(),
            &|| std::fs::write(&path, [&whole[..100], &[0xff; 9000][..]].concat()).unwrap(),
            &|| Connection::open(&path).unwrap().execute_batch("DROP TABLE events").unwrap(),
            &|| std::fs::write(&path, "short").unwrap(),
            &|| std::fs::create_dir(&path).unwrap(),
        ];
        for (n, spoil) in spoiled.iter().enumerate() {
            for part in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(folder.path().join(format!("events.sqlite{part}")));
            }
            if n == 3 {
                good();
            }
            spoil();
            let ((_, kept), told) = opened(folder.path(), n as i64);
            assert!(kept.is_empty() && told.len() == 1, "{n}: {told:?}");
            assert!(told[0].reason.contains(&format!("events.sqlite.damaged-{n}")), "{told:?}");
            assert_eq!(good(), (0, 0), "{n}");
            assert_eq!(good(), (1, 0), "{n}: what comes after it is kept");
        }
        let names = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut aside: Vec<_> =
            names.filter(|name| name.contains("damaged") && !name.contains("-wal") && !name.contains("-shm")).collect();
        aside.sort();
        assert_eq!(aside, ["events.sqlite.damaged-3", "events.sqlite.damaged-4", "events.sqlite.damaged-5"]);
    }

    #[test]
    fn a_bad_row_costs_that_event() {
        let folder = tempfile::tempdir().unwrap();
        let ((events, _), _) = opened(folder.path(), 0);
        (1..=3).for_each(|id| events.note(&event(id)));
        let spoil = "UPDATE events SET event = '{' WHERE id = 2";
        events.connection.lock().unwrap().execute_batch(spoil).unwrap();
        drop(events);
        let ((_, kept), told) = opened(folder.path(), 0);
        assert_eq!(kept, [event(1), event(3)]);
        assert_eq!(told[0].subject, "state events.sqlite, row 2 of events");
    }

    #[test]
    fn the_last_events_survive_and_older_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let last = u64::from(KEPT) + TIDY;
        {
            let (events, kept) = opened(folder.path(), 0).0;
            assert!(kept.is_empty());
            (1..=last).for_each(|id| events.note(&event(id)));
        }
        let (events, kept) = opened(folder.path(), 0).0;
        assert_eq!(
            (kept.len(), kept.first(), kept.last()),
            (KEPT as usize, Some(&event(TIDY + 1)), Some(&event(last)))
        );
        let count: i64 =
            events.connection.lock().unwrap().query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
        assert_eq!(count, i64::from(KEPT));
    }
}
