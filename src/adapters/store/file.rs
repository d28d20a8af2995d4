//! One file of SQLite: opened with its schema, and read so that a bad row costs that row.

use std::fs;
use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, Row};
use serde::de::DeserializeOwned;

use crate::core::flaw::Flaw;
use crate::ports::ledger::{Complain, LedgerError};

/// Damaged files that are kept for whoever wants to look; older ones are deleted.
const ASIDE: usize = 3;

/// Why a file cannot be opened.
#[derive(Debug)]
pub enum Unopened {
    /// A later version wrote it.
    Newer {
        found: i64,
        known: i64,
    },
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Unopened {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Unopened {
    /// Whether the file itself is bad, and not the disk, or who may read it.
    pub fn is_damage(&self, path: &Path) -> bool {
        let Self::Sqlite(error) = self else { return false };
        match error.sqlite_error_code() {
            Some(
                ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed,
            ) => false,
            Some(ErrorCode::CannotOpen) => path.is_dir(),
            _ => true,
        }
    }

    /// For people, with what helps.
    pub fn explained(self, path: &Path) -> LedgerError {
        let is_damage = self.is_damage(path);
        let shown = path.display().to_string();
        match self {
            Self::Newer { found, known } => LedgerError::Newer { path: shown, found, known },
            Self::Sqlite(error) if is_damage => LedgerError::Broken {
                reason: format!(
                    "{error}; put a copy back, or move it away (mv {shown} {shown}.damaged) and start with nothing decided: apps that run are taken over, what else the file held is lost"
                ),
                path: shown,
            },
            Self::Sqlite(error) => {
                let is_full = statvfs(path.parent().unwrap_or(path)).is_ok_and(|found| found.blocks_available() == 0);
                let why = if is_full { "the disk is full, free some: " } else { "" };
                LedgerError::Broken { path: shown, reason: format!("{why}{error}") }
            }
        }
    }
}

/// Opens a file whose tables are of this schema, or makes it; an older one gets the tables that it lacks.
pub fn open(path: &Path, schema: i64, tables: &str) -> Result<Connection, Unopened> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What is recorded is acted on, or answered, so the record must survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > schema {
        return Err(Unopened::Newer { found, known: schema });
    }
    if found < schema {
        connection.execute_batch(tables)?;
        connection.pragma_update(None, "user_version", schema)?;
    }
    Ok(connection)
}

/// Moves a damaged file out of the way, with what belongs to it. Returns its new name.
pub fn set_aside(path: &Path, number: u64) -> io::Result<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(path);
    let aside = format!("{name}.damaged-{number}");
    fs::rename(path, folder.join(&aside))?;
    for part in ["-wal", "-shm"] {
        // Mostly there is none; what stayed would be taken for the new file's.
        match fs::rename(folder.join(format!("{name}{part}")), folder.join(format!("{aside}{part}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let prefix = format!("{name}.damaged-");
    let mut numbers: Vec<u64> = fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok())
        .collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    for old in numbers.iter().skip(ASIDE) {
        for part in ["", "-wal", "-shm"] {
            let old = folder.join(format!("{prefix}{old}{part}"));
            // What stays costs space only.
            let _ = if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
        }
    }
    Ok(aside)
}

/// Reads rows of one file, and complains of those that cannot be read.
#[derive(Clone)]
pub struct Rows {
    /// The file's name, for people.
    pub file: &'static str,
    pub complain: Complain,
}

impl Rows {
    /// The value in a row: its key is in column 0 and its JSON in column 1. `None` for a bad one.
    pub fn value<T: DeserializeOwned>(&self, table: &str, remedy: &str, row: &Row<'_>) -> Option<(String, T)> {
        let key = shown(row.get_ref(0).ok());
        self.kept(
            table,
            &key,
            remedy,
            text(row, 1).and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string())),
        )
        .map(|value| (key, value))
    }

    /// What was read of a row, or `None` and a complaint.
    pub fn kept<T>(&self, table: &str, key: &str, remedy: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|reason| {
            (self.complain)(Flaw {
                subject: format!("state {}, row {key} of {table}", self.file),
                reason: format!("it cannot be read and is left out: {reason}"),
                remedy: remedy.to_owned(),
            });
        })
        .ok()
    }
}

/// A column as text, whatever was put there.
pub fn text(row: &Row<'_>, column: usize) -> Result<String, String> {
    let bytes = row.get_ref(column).map_err(|e| e.to_string())?.as_bytes().map_err(|_| "it is no text".to_owned())?;
    String::from_utf8(bytes.to_vec()).map_err(|_| "it is not UTF-8".to_owned())
}

fn shown(value: Option<ValueRef<'_>>) -> String {
    match value {
        Some(ValueRef::Integer(number)) => number.to_string(),
        Some(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => "?".into(),
    }
}
