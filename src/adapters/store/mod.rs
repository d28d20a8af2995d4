//! The ledger: SQLite in the state folder, write-ahead log, with a schema version.

mod events;
mod kv;
mod tokens;

pub use events::Events;
pub use kv::Keys;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};

use crate::core::deploy::{Deployment, Entry};
use crate::core::names::AppName;
use crate::core::service::Service;
use crate::core::world::Intent;
use crate::ports::ledger::{Ledger, LedgerError};

/// Raised with every change of the tables; an older file is migrated, a newer one refused.
const SCHEMA: i64 = 4;

/// Every table; those of an older schema are there already.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS intents (app TEXT PRIMARY KEY, intent TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS deployments (id TEXT PRIMARY KEY, app TEXT NOT NULL, deployment TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, entry TEXT NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS history_of_app ON history (app, id);
    CREATE TABLE IF NOT EXISTS services (name TEXT PRIMARY KEY, service TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS tokens (id TEXT PRIMARY KEY, session_of TEXT, token TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, at INTEGER NOT NULL, request TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
";

pub struct Store {
    connection: Mutex<Connection>,
    path: String,
}

impl Store {
    /// Opens the ledger in `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join("ledger.sqlite").display().to_string();
        let connection = connect(&path, SCHEMA, TABLES)?;
        Ok(Self { connection: Mutex::new(connection), path })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, LedgerError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|error| self.broken(error.to_string()))
    }

    /// Names with what is kept of each, as JSON.
    fn read<T: serde::de::DeserializeOwned>(&self, query: &str) -> Result<BTreeMap<AppName, T>, LedgerError> {
        let rows: Vec<(String, String)> = self.with(|connection| {
            let mut statement = connection.prepare(query)?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })?;
        rows.into_iter()
            .map(|(name, text)| {
                let value = serde_json::from_str(&text).map_err(|e| self.broken(format!("{name}: {e}")))?;
                Ok((AppName::parse(&name).map_err(|e| self.broken(e.to_string()))?, value))
            })
            .collect()
    }

    fn text(&self, value: &impl serde::Serialize) -> Result<String, LedgerError> {
        serde_json::to_string(value).map_err(|e| self.broken(e.to_string()))
    }

    fn broken(&self, reason: String) -> LedgerError {
        LedgerError::Broken { path: self.path.clone(), reason }
    }
}

/// Opens a file whose tables are of this schema, or makes it; an older one gets the tables that it lacks.
fn connect(path: &str, schema: i64, tables: &str) -> Result<Connection, LedgerError> {
    let broken = |error: rusqlite::Error| LedgerError::Broken { path: path.to_owned(), reason: error.to_string() };
    let connection = Connection::open(path).map_err(broken)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(broken)?;
    // What is recorded is acted on, or answered, so the record must survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL").map_err(broken)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(broken)?;
    if found > schema {
        return Err(LedgerError::Newer { path: path.to_owned(), found, known: schema });
    }
    if found < schema {
        connection.execute_batch(tables).map_err(broken)?;
        connection.pragma_update(None, "user_version", schema).map_err(broken)?;
    }
    Ok(connection)
}

impl Ledger for Store {
    fn recall(&self) -> Result<BTreeMap<AppName, Intent>, LedgerError> {
        self.read("SELECT app, intent FROM intents")
    }

    fn record(&self, app: &AppName, intent: &Intent, entries: &[Entry]) -> Result<(), LedgerError> {
        let intent_text = self.text(intent)?;
        let deployment = intent.deployment.as_ref().map(|d| Ok((&d.id, self.text(&**d)?))).transpose()?;
        let entries: Vec<String> = entries.iter().map(|entry| self.text(entry)).collect::<Result<_, _>>()?;
        self.with(|connection| {
            // Rolled back when it is dropped before the commit.
            let change = connection.unchecked_transaction()?;
            change.execute(
                "INSERT OR REPLACE INTO intents (app, intent) VALUES (?1, ?2)",
                [app.as_str(), &intent_text],
            )?;
            if let Some((id, text)) = &deployment {
                let values = [&***id, app.as_str(), text.as_str()];
                change
                    .execute("INSERT OR REPLACE INTO deployments (id, app, deployment) VALUES (?1, ?2, ?3)", values)?;
            }
            for entry in &entries {
                change.execute("INSERT INTO history (app, entry) VALUES (?1, ?2)", [app.as_str(), entry.as_str()])?;
            }
            change.commit()
        })
    }

    fn services(&self) -> Result<BTreeMap<AppName, Service>, LedgerError> {
        self.read("SELECT name, service FROM services")
    }

    fn keep_service(&self, name: &AppName, service: Option<&Service>) -> Result<(), LedgerError> {
        let text = service.map(|service| self.text(service)).transpose()?;
        self.with(|connection| match &text {
            Some(text) => {
                let insert = "INSERT OR REPLACE INTO services (name, service) VALUES (?1, ?2)";
                connection.execute(insert, [name.as_str(), text])
            }
            None => connection.execute("DELETE FROM services WHERE name = ?1", [name.as_str()]),
        })?;
        Ok(())
    }

    fn history(&self, app: &AppName, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<String> = self.with(|connection| {
            let mut statement =
                connection.prepare("SELECT entry FROM history WHERE app = ?1 ORDER BY id DESC LIMIT ?2")?;
            statement.query_map((app.as_str(), limit), |row| row.get(0))?.collect()
        })?;
        rows.iter()
            .map(|text| serde_json::from_str(text).map_err(|e| self.broken(format!("history of {app}: {e}"))))
            .collect()
    }

    fn deployments(&self, app: Option<&AppName>, limit: usize) -> Result<Vec<Deployment>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<String> = self.with(|connection| {
            let query = "SELECT deployment FROM deployments WHERE ?1 IS NULL OR app = ?1 \
                         ORDER BY deployment ->> 'started_at' DESC, id DESC LIMIT ?2";
            let mut statement = connection.prepare(query)?;
            statement.query_map((app.map(AppName::as_str), limit), |row| row.get(0))?.collect()
        })?;
        rows.iter()
            .map(|text| serde_json::from_str(text).map_err(|e| self.broken(format!("deployments: {e}"))))
            .collect()
    }

    fn deployment(&self, id: &str) -> Result<Option<Deployment>, LedgerError> {
        let text: Option<String> = self.with(|connection| {
            let query = "SELECT deployment FROM deployments WHERE id = ?1";
            connection.query_row(query, [id], |row| row.get(0)).optional()
        })?;
        text.map(|text| serde_json::from_str(&text).map_err(|e| self.broken(format!("deployment {id}: {e}"))))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::app::Strategy;
    use crate::core::deploy::Stage;
    use crate::core::names::Version;
    use jiff::Timestamp;
    use std::sync::Arc;

    #[test]
    fn decisions_and_their_history_survive() {
        let folder = tempfile::tempdir().unwrap();
        let app = AppName::parse("shop").unwrap();
        let intent = Intent { stable: Version::parse("1.0").ok(), ..Intent::new(Timestamp::UNIX_EPOCH) };
        let entry = |n: i64| Entry {
            at: Timestamp::UNIX_EPOCH,
            by: "test".into(),
            action: format!("act {n}"),
            release: None,
            state: None,
            reason: String::new(),
            numbers: BTreeMap::new(),
        };
        Store::open(folder.path()).unwrap().record(&app, &intent, &[entry(1), entry(2)]).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.recall().unwrap(), BTreeMap::from([(app.clone(), intent)]));
        assert_eq!(store.history(&app, 9).unwrap(), [entry(2), entry(1)]);
        assert_eq!(store.history(&app, 1).unwrap(), [entry(2)]);
        assert!(store.deployment("shop-1").unwrap().is_none());
    }

    #[test]
    fn deployments_are_listed_from_the_newest_on_and_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let first = crate::core::testing::deployment(Strategy::Rolling, Stage::Done);
        for (n, app) in [(1, "blog"), (2, "shop"), (3, "blog"), (1, "blog")] {
            let (app, id) = (AppName::parse(app).unwrap(), format!("{app}-{n}").into());
            let started_at = crate::core::testing::at(n);
            let deployment = Deployment { id, app: app.clone(), started_at, ..first.clone() };
            let intent = Intent { deployment: Some(Arc::new(deployment)), ..Intent::new(started_at) };
            store.record(&app, &intent, &[]).unwrap();
        }
        let ids = |app: Option<&str>, limit| {
            let app = app.map(|app| AppName::parse(app).unwrap());
            let found = store.deployments(app.as_ref(), limit).unwrap();
            found.iter().map(|d| d.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(None, 9), ["blog-3", "shop-2", "blog-1"]);
        assert_eq!(ids(Some("blog"), 1), ["blog-3"]);
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
