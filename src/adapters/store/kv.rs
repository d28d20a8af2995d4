//! The key-value store in a file of its own: read from memory, written by one thread that takes what waits
//! together, so that many writers share one wait for the disk.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::file::{self, Rows};
use crate::core::kv::{Op, Outcome, Pair, Tree};
use crate::ports::kv::{Kv, KvError};
use crate::ports::ledger::{Complain, LedgerError};

const SCHEMA: i64 = 1;
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS pairs (key TEXT PRIMARY KEY, value BLOB NOT NULL, flags INTEGER NOT NULL, created INTEGER NOT NULL, modified INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS last (one INTEGER PRIMARY KEY CHECK (one = 1), \"index\" INTEGER NOT NULL) STRICT;
";
/// Batches that are kept together at most.
const TOGETHER: usize = 512;

type Job = (Vec<Op>, oneshot::Sender<Result<Outcome, KvError>>);

pub struct Keys {
    tree: Arc<RwLock<Tree>>,
    jobs: Sender<Job>,
    changed: watch::Receiver<u64>,
}

impl Keys {
    /// Opens `kv.sqlite` in the folder, or makes it.
    pub fn open(folder: &Path, complain: Complain) -> Result<Self, LedgerError> {
        let file = folder.join("kv.sqlite");
        let path = file.display().to_string();
        let broken = |error: rusqlite::Error| LedgerError::Broken { path: path.clone(), reason: error.to_string() };
        let connection = file::open(&file, SCHEMA, TABLES).map_err(|e| e.explained(&file))?;
        let tree = recall(&connection, &Rows { file: "kv.sqlite", complain }).map_err(broken)?;
        let tree = Arc::new(RwLock::new(tree));
        let (jobs, waiting) = channel();
        let (told, changed) = watch::channel(0);
        let writer = Writer { connection, tree: tree.clone(), told };
        let started = std::thread::Builder::new().name("keys".into()).spawn(move || writer.run(&waiting));
        started.map_err(|error| LedgerError::Broken { path, reason: error.to_string() })?;
        Ok(Self { tree, jobs, changed })
    }
}

#[async_trait::async_trait]
impl Kv for Keys {
    fn read(&self, look: &mut dyn FnMut(&Tree)) {
        look(&self.tree.read().unwrap_or_else(PoisonError::into_inner));
    }

    async fn write(&self, ops: Vec<Op>) -> Result<Outcome, KvError> {
        let ended = || KvError::Broken("its writer has ended".into());
        let (reply, answer) = oneshot::channel();
        self.jobs.send((ops, reply)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

fn recall(connection: &Connection, rows: &Rows) -> Result<Tree, rusqlite::Error> {
    let number = |n: i64| u64::from_ne_bytes(n.to_ne_bytes());
    let mut statement = connection.prepare("SELECT key, value, flags, created, modified FROM pairs")?;
    let remedy = "set the key again";
    let pairs = statement.query_map([], |row| {
        let Some(key) = rows.kept("pairs", "?", remedy, file::text(row, 0)) else { return Ok(None) };
        let rest = || -> Result<Pair, rusqlite::Error> {
            let value: Vec<u8> = row.get(1)?;
            Ok(Pair {
                key: key.as_str().into(),
                value: value.into(),
                flags: number(row.get(2)?),
                created: number(row.get(3)?),
                modified: number(row.get(4)?),
            })
        };
        Ok(rows.kept("pairs", &key, remedy, rest().map_err(|e| e.to_string())))
    })?;
    let pairs: Vec<Pair> = pairs.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    let last: Option<i64> = connection.query_row("SELECT max(\"index\") FROM last", [], |row| row.get(0))?;
    // No index is given out twice, also where the last one was lost.
    let newest = pairs.iter().map(|pair| pair.modified).max().unwrap_or_default();
    Ok(Tree::new(pairs, number(last.unwrap_or_default()).max(newest)))
}

struct Writer {
    connection: Connection,
    /// What readers see: only what the disk has.
    tree: Arc<RwLock<Tree>>,
    told: watch::Sender<u64>,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Job>) {
        let mut working = self.tree.read().unwrap_or_else(PoisonError::into_inner).clone();
        while let Ok(first) = waiting.recv() {
            let jobs: Vec<Job> = std::iter::once(first).chain(waiting.try_iter().take(TOGETHER - 1)).collect();
            let done: Vec<_> =
                jobs.into_iter().map(|(ops, reply)| (working.apply(&ops).map_err(KvError::from), reply)).collect();
            let outcomes: Vec<&Outcome> = done.iter().filter_map(|(result, _)| result.as_ref().ok()).collect();
            let kept = self.keep(&outcomes);
            if kept.is_err() {
                // What could not be kept has not happened.
                working = self.tree.read().unwrap_or_else(PoisonError::into_inner).clone();
            }
            for (result, reply) in done {
                let result = result.and_then(|outcome| kept.clone().map(|()| outcome));
                // Whoever asked may have gone; what he asked for stands.
                let _ = reply.send(result);
            }
        }
    }

    fn keep(&mut self, outcomes: &[&Outcome]) -> Result<(), KvError> {
        let Some(index) = outcomes.iter().filter(|o| !o.changes.is_empty()).map(|o| o.index).max() else {
            return Ok(());
        };
        self.write(outcomes, index).map_err(|error| KvError::Broken(error.to_string()))?;
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        outcomes.iter().for_each(|outcome| tree.take(&outcome.changes, outcome.index));
        drop(tree);
        self.told.send_replace(index);
        Ok(())
    }

    fn write(&mut self, outcomes: &[&Outcome], index: u64) -> Result<(), rusqlite::Error> {
        let number = |n: u64| i64::from_ne_bytes(n.to_ne_bytes());
        let change = self.connection.transaction()?;
        for (key, pair) in outcomes.iter().flat_map(|outcome| &outcome.changes) {
            match pair {
                Some(pair) => change
                    .prepare_cached("INSERT OR REPLACE INTO pairs (key, value, flags, created, modified) VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute((&**key, &*pair.value, number(pair.flags), number(pair.created), number(pair.modified)))?,
                None => change.prepare_cached("DELETE FROM pairs WHERE key = ?1")?.execute([&**key])?,
            };
        }
        change.execute("INSERT OR REPLACE INTO last (one, \"index\") VALUES (1, ?1)", [number(index)])?;
        change.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(folder: &Path) -> Result<Keys, LedgerError> {
        Keys::open(folder, Arc::new(|flaw| panic!("{flaw:?}")))
    }

    #[tokio::test]
    async fn a_bad_row_costs_that_key_and_a_damaged_file_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        opened(folder.path()).unwrap().write([set("a", b"1"), set("b", b"2")].concat()).await.unwrap();
        let spoil = "INSERT INTO pairs VALUES (CAST(x'ff' AS TEXT), x'00', 0, 1, 1); DELETE FROM last;";
        Connection::open(folder.path().join("kv.sqlite")).unwrap().execute_batch(spoil).unwrap();
        let told: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let tell = told.clone();
        let keys = Keys::open(folder.path(), Arc::new(move |flaw| tell.lock().unwrap().push(flaw.subject))).unwrap();
        keys.read(&mut |tree| assert!(tree.get("a").is_some() && tree.get("b").is_some()));
        assert_eq!(*told.lock().unwrap(), ["state kv.sqlite, row ? of pairs"]);
        assert!(keys.write(set("c", b"3")).await.unwrap().index > 1);
        drop(keys);
        for part in ["", "-wal", "-shm"] {
            std::fs::write(folder.path().join(format!("kv.sqlite{part}")), [b'x'; 5000]).unwrap();
        }
        let error = opened(folder.path()).err().unwrap().to_string();
        assert!(error.contains("kv.sqlite.damaged)"), "{error}");
    }

    fn set(key: &str, value: &[u8]) -> Vec<Op> {
        vec![Op::Set { key: key.into(), value: value.into(), flags: u64::MAX }]
    }

    #[tokio::test]
    async fn pairs_and_their_indexes_survive() {
        let folder = tempfile::tempdir().unwrap();
        {
            let keys = opened(folder.path()).unwrap();
            keys.write(set("a", &[0, 255])).await.unwrap();
            keys.write(set("b", b"gone")).await.unwrap();
            keys.write(vec![Op::Delete("b".into())]).await.unwrap();
        }
        let keys = opened(folder.path()).unwrap();
        keys.read(&mut |tree| {
            let pair = tree.get("a").unwrap();
            assert_eq!((&*pair.value, pair.flags, pair.modified), (&[0, 255][..], u64::MAX, 1));
            assert!(tree.get("b").is_none() && tree.index_of("b") >= 3);
        });
        assert_eq!(keys.write(set("c", b"x")).await.unwrap().index, 4, "no index is given out twice");
    }

    #[tokio::test]
    async fn many_writers_at_once_each_get_their_answer() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(opened(folder.path()).unwrap());
        let only_one = Op::Cas { key: "lock".into(), value: [1].into(), flags: 0, index: 0 };
        let writers: Vec<_> = (0..200)
            .map(|n| {
                let (keys, only_one) = (keys.clone(), only_one.clone());
                tokio::spawn(async move {
                    keys.write(set(&format!("k{n}"), b"v")).await.unwrap();
                    keys.write(vec![only_one]).await.is_ok()
                })
            })
            .collect();
        let mut won = 0;
        for writer in writers {
            won += u32::from(writer.await.unwrap());
        }
        let mut count = 0;
        keys.read(&mut |tree| count = tree.below("").count());
        assert_eq!((won, count), (1, 201));
        assert!(*keys.changed().borrow() >= 201);
    }
}
