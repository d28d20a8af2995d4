//! The last events, in a file of their own: losing the newest few to a power cut is no harm, so that noting one
//! does not wait for the disk.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::core::event::Event;
use crate::ports::journal::Journal;
use crate::ports::ledger::LedgerError;
use crate::ports::snapshot::KEPT;

const SCHEMA: i64 = 1;
const TABLES: &str = "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, event TEXT NOT NULL) STRICT;";
/// Older ones are deleted each time so many have come.
const TIDY: u64 = 500;

pub struct Events {
    connection: Mutex<Connection>,
}

impl Events {
    /// Opens `events.sqlite` in the folder, or makes it. Also returns the events that were kept, oldest first.
    pub fn open(folder: &Path) -> Result<(Self, Vec<Event>), LedgerError> {
        let path = folder.join("events.sqlite").display().to_string();
        let broken = |reason: String| LedgerError::Broken { path: path.clone(), reason };
        let connection = super::connect(&path, SCHEMA, TABLES)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(|e| broken(e.to_string()))?;
        let texts = {
            let all = || -> Result<Vec<String>, rusqlite::Error> {
                let mut statement = connection.prepare("SELECT event FROM events ORDER BY id DESC LIMIT ?1")?;
                statement.query_map([KEPT], |row| row.get(0))?.collect()
            };
            all().map_err(|e| broken(e.to_string()))?
        };
        let kept = texts.iter().rev().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>();
        let kept = kept.map_err(|e| broken(format!("an event: {e}")))?;
        Ok((Self { connection: Mutex::new(connection) }, kept))
    }
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

    #[test]
    fn the_last_events_survive_and_older_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let event = |id| Event {
            id,
            at: jiff::Timestamp::UNIX_EPOCH,
            kind: "test".into(),
            subject: "app shop".into(),
            message: format!("event {id}"),
            level: None,
            about: Vec::new(),
        };
        let last = u64::from(KEPT) + TIDY;
        {
            let (events, kept) = Events::open(folder.path()).unwrap();
            assert!(kept.is_empty());
            (1..=last).for_each(|id| events.note(&event(id)));
        }
        let (events, kept) = Events::open(folder.path()).unwrap();
        assert_eq!(
            (kept.len(), kept.first(), kept.last()),
            (KEPT as usize, Some(&event(TIDY + 1)), Some(&event(last)))
        );
        let count: i64 =
            events.connection.lock().unwrap().query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
        assert_eq!(count, i64::from(KEPT));
    }
}
