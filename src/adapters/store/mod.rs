//! The ledger: SQLite in the state folder, write-ahead log, with a schema version.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::core::names::AppName;
use crate::core::world::Intent;
use crate::ports::ledger::{Ledger, LedgerError};

/// Raised with every change of the tables; an older file is migrated, a newer one refused.
const SCHEMA: i64 = 1;

pub struct Store {
    connection: Mutex<Connection>,
    path: String,
}

impl Store {
    /// Opens the ledger in `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join("ledger.sqlite").display().to_string();
        let broken = |error: rusqlite::Error| LedgerError::Broken { path: path.clone(), reason: error.to_string() };
        let connection = Connection::open(&path).map_err(broken)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(broken)?;
        // A decision is acted on once it is recorded, so the record must survive a power cut.
        connection.pragma_update(None, "synchronous", "FULL").map_err(broken)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(broken)?;
        if found > SCHEMA {
            return Err(LedgerError::Newer { path, found, known: SCHEMA });
        }
        if found < SCHEMA {
            connection
                .execute_batch(
                    "CREATE TABLE IF NOT EXISTS intents (app TEXT PRIMARY KEY, intent TEXT NOT NULL) STRICT;",
                )
                .map_err(broken)?;
            connection.pragma_update(None, "user_version", SCHEMA).map_err(broken)?;
        }
        Ok(Self { connection: Mutex::new(connection), path })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, LedgerError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|error| self.broken(error.to_string()))
    }

    fn broken(&self, reason: String) -> LedgerError {
        LedgerError::Broken { path: self.path.clone(), reason }
    }
}

impl Ledger for Store {
    fn recall(&self) -> Result<BTreeMap<AppName, Intent>, LedgerError> {
        let rows: Vec<(String, String)> = self.with(|connection| {
            let mut statement = connection.prepare("SELECT app, intent FROM intents")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        rows.into_iter()
            .map(|(app, intent)| {
                let name = AppName::parse(&app).map_err(|e| self.broken(e.to_string()))?;
                let intent = serde_json::from_str(&intent).map_err(|e| self.broken(format!("intent of {app}: {e}")))?;
                Ok((name, intent))
            })
            .collect()
    }

    fn record(&self, app: &AppName, intent: Option<&Intent>) -> Result<(), LedgerError> {
        match intent {
            None => self.with(|c| c.execute("DELETE FROM intents WHERE app = ?1", [app.as_str()]))?,
            Some(intent) => {
                let text = serde_json::to_string(intent).map_err(|e| self.broken(e.to_string()))?;
                self.with(|c| {
                    c.execute("INSERT OR REPLACE INTO intents (app, intent) VALUES (?1, ?2)", [app.as_str(), &text])
                })?
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::names::Version;
    use jiff::Timestamp;

    #[test]
    fn decisions_survive_and_are_forgotten_on_demand() {
        let folder = tempfile::tempdir().unwrap();
        let app = AppName::parse("shop").unwrap();
        let intent = Intent { stable: Version::parse("1.0").ok(), ..Intent::new(Timestamp::UNIX_EPOCH) };
        Store::open(folder.path()).unwrap().record(&app, Some(&intent)).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.recall().unwrap(), BTreeMap::from([(app.clone(), intent)]));
        store.record(&app, None).unwrap();
        assert!(store.recall().unwrap().is_empty());
    }

    #[test]
    fn a_state_of_a_newer_version_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        let file = folder.path().join("ledger.sqlite");
        Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(LedgerError::Newer { found: 99, .. })));
        let version: i64 =
            Connection::open(&file).unwrap().pragma_query_value(None, "user_version", |r| r.get(0)).unwrap();
        assert_eq!(version, 99);
    }

    #[test]
    fn a_file_that_is_no_database_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ledger.sqlite"), "no database at all, and long enough to be read as one")
            .unwrap();
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("ledger.sqlite"), "{error}");
    }
}
