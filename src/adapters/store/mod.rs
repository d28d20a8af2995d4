//! The ledger: SQLite in the state folder, write-ahead log, with a schema version.

mod events;
mod file;
mod kv;
mod tokens;

pub use events::Events;
pub use kv::Keys;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::core::container::ContainerId;
use crate::core::deploy::{Deployment, Entry};
use crate::core::names::AppName;
use crate::core::service::Service;
use crate::core::world::{Intent, Write};
use crate::ports::ledger::{Complain, Ledger, LedgerError};
use file::Rows;

/// Raised with every change of the tables; an older file is migrated, a newer one refused.
const SCHEMA: i64 = 5;

/// Every table; those of an older schema are there already.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS intents (app TEXT PRIMARY KEY, intent TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS deployments (id TEXT PRIMARY KEY, app TEXT NOT NULL, deployment TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, entry TEXT NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS history_of_app ON history (app, id);
    CREATE TABLE IF NOT EXISTS services (name TEXT PRIMARY KEY, service TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS inherited (id TEXT PRIMARY KEY, containers TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS tokens (id TEXT PRIMARY KEY, session_of TEXT, token TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, at INTEGER NOT NULL, request TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
";

pub struct Store {
    connection: Mutex<Connection>,
    path: String,
    rows: Rows,
}

/// What helps where a row that only tells of the past is bad.
const PAST: &str = "nothing has to be done: it only told of the past";

impl Store {
    /// Opens the ledger in `folder`, or makes it.
    pub fn open(folder: &Path, complain: Complain) -> Result<Self, LedgerError> {
        let path = folder.join("ledger.sqlite");
        let connection = file::open(&path, SCHEMA, TABLES).map_err(|e| e.explained(&path))?;
        let rows = Rows { file: "ledger.sqlite", complain };
        Ok(Self { connection: Mutex::new(connection), path: path.display().to_string(), rows })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, LedgerError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|error| self.broken(error.to_string()))
    }

    /// Keys with what is kept of each as JSON, in the order of the query; bad rows are left out.
    fn read<T: serde::de::DeserializeOwned>(
        &self,
        table: &str,
        remedy: &str,
        query: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<(String, T)>, LedgerError> {
        self.with(|connection| {
            let mut statement = connection.prepare(query)?;
            let rows = statement.query_map(parameters, |row| Ok(self.rows.value(table, remedy, row)))?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// The same, by the app or service that the key names.
    fn named<T: serde::de::DeserializeOwned>(
        &self,
        table: &str,
        remedy: &str,
        query: &str,
    ) -> Result<BTreeMap<AppName, T>, LedgerError> {
        let rows = self.read(table, remedy, query, [])?;
        let named = rows.into_iter().filter_map(|(key, value)| {
            let name = AppName::parse(&key).map_err(|e| e.to_string());
            Some((self.rows.kept(table, &key, remedy, name)?, value))
        });
        Ok(named.collect())
    }

    fn text(&self, value: &impl serde::Serialize) -> Result<String, LedgerError> {
        serde_json::to_string(value).map_err(|e| self.broken(e.to_string()))
    }

    fn row<'w>(&self, write: &'w Write) -> Result<Row<'w>, LedgerError> {
        Ok(match write {
            Write::Decision(record) => {
                let deployments = record.ended.iter().chain(&record.intent.deployment);
                Row::Decision {
                    app: record.app.as_str(),
                    intent: self.text(&*record.intent)?,
                    deployments: deployments.map(|d| Ok((&*d.id, self.text(&**d)?))).collect::<Result<_, _>>()?,
                    entries: record.entries.iter().map(|entry| self.text(entry)).collect::<Result<_, _>>()?,
                }
            }
            Write::Service { name, service, .. } => Row::Service {
                name: name.as_str(),
                service: service.as_ref().map(|service| self.text(service)).transpose()?,
            },
            Write::Inherited(containers) => Row::Inherited(self.text(containers)?),
        })
    }

    fn broken(&self, reason: String) -> LedgerError {
        LedgerError::Broken { path: self.path.clone(), reason }
    }
}

/// What is written down, as texts.
enum Row<'w> {
    Decision {
        app: &'w str,
        intent: String,
        /// Each with its id.
        deployments: Vec<(&'w str, String)>,
        entries: Vec<String>,
    },
    Service {
        name: &'w str,
        service: Option<String>,
    },
    Inherited(String),
}

impl Row<'_> {
    fn put(&self, change: &Connection) -> Result<(), rusqlite::Error> {
        match self {
            Row::Decision { app, intent, deployments, entries } => {
                change.execute("INSERT OR REPLACE INTO intents (app, intent) VALUES (?1, ?2)", [*app, intent])?;
                for (id, text) in deployments {
                    let insert = "INSERT OR REPLACE INTO deployments (id, app, deployment) VALUES (?1, ?2, ?3)";
                    change.execute(insert, [*id, *app, text])?;
                }
                for entry in entries {
                    change.execute("INSERT INTO history (app, entry) VALUES (?1, ?2)", [*app, entry])?;
                }
            }
            Row::Service { name, service: Some(service) } => {
                let insert = "INSERT OR REPLACE INTO services (name, service) VALUES (?1, ?2)";
                change.execute(insert, [*name, service])?;
            }
            Row::Service { name, service: None } => {
                change.execute("DELETE FROM services WHERE name = ?1", [*name])?;
            }
            Row::Inherited(containers) => {
                let insert = "INSERT OR REPLACE INTO inherited (id, containers) VALUES ('1', ?1)";
                change.execute(insert, [containers])?;
            }
        }
        Ok(())
    }
}

impl Ledger for Store {
    fn recall(&self) -> Result<BTreeMap<AppName, Intent>, LedgerError> {
        let remedy = "the app is taken for a new one: `platformer deploy APP@VERSION` decides which version serves";
        self.named("intents", remedy, "SELECT app, intent FROM intents")
    }

    fn write(&self, writes: &[Write]) -> Result<(), LedgerError> {
        let rows: Vec<Row> = writes.iter().map(|write| self.row(write)).collect::<Result<_, _>>()?;
        self.with(|connection| {
            // Rolled back when it is dropped before the commit.
            let change = connection.unchecked_transaction()?;
            rows.iter().try_for_each(|row| row.put(&change))?;
            change.commit()
        })
    }

    fn services(&self) -> Result<BTreeMap<AppName, Service>, LedgerError> {
        self.named("services", "register the service again", "SELECT name, service FROM services")
    }

    fn inherited(&self) -> Result<Option<BTreeSet<ContainerId>>, LedgerError> {
        let remedy = "it is asked anew which containers are the platform's";
        let rows = self.read("inherited", remedy, "SELECT id, containers FROM inherited", [])?;
        Ok(rows.into_iter().next().map(|(_, containers)| containers))
    }

    fn history(&self, app: &AppName, limit: usize) -> Result<Vec<Entry>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = "SELECT id, entry FROM history WHERE app = ?1 ORDER BY id DESC LIMIT ?2";
        let rows = self.read("history", PAST, query, (app.as_str(), limit))?;
        Ok(rows.into_iter().map(|(_, entry)| entry).collect())
    }

    fn deployments(&self, app: Option<&AppName>, limit: usize) -> Result<Vec<Deployment>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // A bad row has no moment, which comes last.
        let query = "SELECT id, deployment FROM deployments WHERE ?1 IS NULL OR app = ?1 \
                     ORDER BY iif(json_valid(deployment), deployment ->> 'started_at', '') DESC, id DESC LIMIT ?2";
        let rows = self.read("deployments", PAST, query, (app.map(AppName::as_str), limit))?;
        Ok(rows.into_iter().map(|(_, deployment)| deployment).collect())
    }

    fn deployment(&self, id: &str) -> Result<Option<Deployment>, LedgerError> {
        let query = "SELECT id, deployment FROM deployments WHERE id = ?1";
        Ok(self.read("deployments", PAST, query, [id])?.pop().map(|(_, deployment)| deployment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::app::Strategy;
    use crate::core::deploy::Stage;
    use crate::core::names::Version;
    use crate::core::world::Record;
    use jiff::Timestamp;
    use std::sync::Arc;

    fn opened(folder: &Path) -> Result<Store, LedgerError> {
        Store::open(folder, Arc::new(|flaw| panic!("{flaw:?}")))
    }

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
        let record = Record::new(app.clone(), intent.clone(), vec![entry(1), entry(2)]);
        opened(folder.path()).unwrap().write(&[Write::Decision(record)]).unwrap();
        let store = opened(folder.path()).unwrap();
        assert_eq!(store.recall().unwrap(), BTreeMap::from([(app.clone(), intent)]));
        assert_eq!(store.history(&app, 9).unwrap(), [entry(2), entry(1)]);
        assert_eq!(store.history(&app, 1).unwrap(), [entry(2)]);
        assert!(store.deployment("shop-1").unwrap().is_none());
    }

    #[test]
    fn what_was_inherited_is_kept_once_it_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(folder.path()).unwrap();
        assert_eq!(store.inherited().unwrap(), None);
        for ids in [BTreeSet::new(), BTreeSet::from([ContainerId("a".into())])] {
            store.write(&[Write::Inherited(ids.clone())]).unwrap();
            assert_eq!(opened(folder.path()).unwrap().inherited().unwrap(), Some(ids));
        }
    }

    #[test]
    fn deployments_are_listed_from_the_newest_on_and_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(folder.path()).unwrap();
        let first = crate::core::testing::deployment(Strategy::Rolling, Stage::Done);
        for (n, app) in [(1, "blog"), (2, "shop"), (3, "blog"), (1, "blog")] {
            let (app, id) = (AppName::parse(app).unwrap(), format!("{app}-{n}").into());
            let started_at = crate::core::testing::at(n);
            let deployment = Deployment { id, app: app.clone(), started_at, ..first.clone() };
            let intent = Intent { deployment: Some(Arc::new(deployment)), ..Intent::new(started_at) };
            store.write(&[Write::Decision(Record::new(app, intent, Vec::new()))]).unwrap();
        }
        let ids = |app: Option<&str>, limit| {
            let app = app.map(|app| AppName::parse(app).unwrap());
            let found = store.deployments(app.as_ref(), limit).unwrap();
            found.iter().map(|d| d.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(None, 9), ["blog-3", "shop-2", "blog-1"]);
        assert_eq!(ids(Some("blog"), 1), ["blog-3"]);
        // What another one takes the place of ends with the same record, in the list too.
        let draining = Arc::new(Deployment { id: "cart-1".into(), stage: Stage::Draining, ..first.clone() });
        let ended = Arc::new(draining.at(Stage::Done, "cart-2 takes its place", crate::core::testing::at(9)));
        let next = Arc::new(Deployment { id: "cart-2".into(), ..first.clone() });
        let cart = AppName::parse("cart").unwrap();
        for (current, ended) in [(draining, Vec::new()), (next, vec![ended])] {
            let intent = Intent { deployment: Some(current), ..Intent::new(crate::core::testing::at(0)) };
            store.write(&[Write::Decision(Record { ended, ..Record::new(cart.clone(), intent, Vec::new()) })]).unwrap();
        }
        let first = store.deployment("cart-1").unwrap().unwrap();
        assert_eq!((first.stage, first.ended_at), (Stage::Done, Some(crate::core::testing::at(9))));
    }

    #[test]
    fn a_state_of_a_newer_version_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(opened(folder.path()).unwrap());
        let file = folder.path().join("ledger.sqlite");
        Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(opened(folder.path()), Err(LedgerError::Newer { found: 99, .. })));
        let version: i64 =
            Connection::open(&file).unwrap().pragma_query_value(None, "user_version", |r| r.get(0)).unwrap();
        assert_eq!(version, 99);
    }

    #[test]
    fn a_file_that_is_no_database_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ledger.sqlite"), "no database at all, and long enough to be read as one")
            .unwrap();
        let error = opened(folder.path()).err().unwrap().to_string();
        assert!(error.contains("ledger.sqlite") && error.contains("put a copy back, or move it away"), "{error}");
    }

    #[test]
    fn a_bad_row_costs_that_row_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (app, other) = (AppName::parse("shop").unwrap(), AppName::parse("blog").unwrap());
        let deployment = crate::core::testing::deployment(Strategy::Rolling, Stage::Done);
        let id = deployment.id.to_string();
        let intent = Intent { deployment: Some(Arc::new(deployment)), ..Intent::new(Timestamp::UNIX_EPOCH) };
        let store = opened(folder.path()).unwrap();
        for name in [&app, &other] {
            store.write(&[Write::Decision(Record::new(name.clone(), intent.clone(), Vec::new()))]).unwrap();
        }
        drop(store);
        let spoiled = Connection::open(folder.path().join("ledger.sqlite")).unwrap();
        spoiled
            .execute_batch(
                "UPDATE intents SET intent = 'no JSON' WHERE app = 'shop';
                 INSERT INTO intents VALUES ('No Name', (SELECT intent FROM intents WHERE app = 'blog'));
                 INSERT INTO services VALUES ('s', '{}');
                 INSERT INTO tokens VALUES ('t', NULL, CAST(x'ff00' AS TEXT));
                 INSERT INTO history (app, entry) VALUES ('shop', '[]');
                 INSERT INTO deployments VALUES ('bad', 'shop', '{');",
            )
            .unwrap();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let tell = told.clone();
        let store = Store::open(folder.path(), Arc::new(move |flaw| tell.lock().unwrap().push(flaw.subject))).unwrap();
        assert_eq!(store.recall().unwrap().into_keys().collect::<Vec<_>>(), [other]);
        assert!(store.services().unwrap().is_empty() && store.history(&app, 9).unwrap().is_empty());
        assert!(crate::ports::tokens::Tokens::all(&store).unwrap().is_empty());
        assert_eq!(store.deployments(None, 9).unwrap().len(), 1);
        assert!(store.deployment("bad").unwrap().is_none() && store.deployment(&id).unwrap().is_some());
        let expected = [
            ("shop", "intents"),
            ("No Name", "intents"),
            ("s", "services"),
            ("1", "history"),
            ("t", "tokens"),
            ("bad", "deployments"),
        ];
        for (row, table) in expected {
            let subject = format!("state ledger.sqlite, row {row} of {table}");
            assert!(told.lock().unwrap().contains(&subject), "{subject}: {told:?}");
        }
    }
}
