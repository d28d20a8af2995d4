//! Tokens and answers that must be given again, in the same file as the ledger.

use rusqlite::OptionalExtension;

use super::Store;
use crate::core::access::Token;
use crate::ports::ledger::LedgerError;
use crate::ports::tokens::{Answered, Tokens};

/// Answers are given again for this long.
const DAY: i64 = 24 * 3600;
/// Answers that are kept; of more the oldest is forgotten.
const ANSWERS: i64 = 10_000;

impl Tokens for Store {
    fn all(&self) -> Result<Vec<Token>, LedgerError> {
        let remedy = "it opens nothing any more; `platformer token create` makes another";
        let rows = self.read("tokens", remedy, "SELECT id, token FROM tokens ORDER BY rowid", [])?;
        Ok(rows.into_iter().map(|(_, token)| token).collect())
    }

    fn keep(&self, token: &Token) -> Result<(), LedgerError> {
        let text = self.text(token)?;
        self.with(|connection| {
            let values = (&token.id, &token.session_of, &text);
            connection.execute("INSERT OR REPLACE INTO tokens (id, session_of, token) VALUES (?1, ?2, ?3)", values)
        })?;
        Ok(())
    }

    fn revoke(&self, id: &str) -> Result<bool, LedgerError> {
        let gone =
            self.with(|connection| connection.execute("DELETE FROM tokens WHERE id = ?1 OR session_of = ?1", [id]))?;
        Ok(gone > 0)
    }

    fn answered(&self, key: &str) -> Result<Option<Answered>, LedgerError> {
        self.with(|connection| {
            let query = "SELECT request, status, body FROM answers WHERE key = ?1 AND at > unixepoch() - ?2";
            connection
                .query_row(query, (key, DAY), |row| {
                    Ok(Answered { request: row.get(0)?, status: row.get(1)?, body: row.get(2)? })
                })
                .optional()
        })
    }

    fn answer(&self, key: &str, answer: &Answered) -> Result<(), LedgerError> {
        self.with(|connection| {
            connection.execute("DELETE FROM answers WHERE at <= unixepoch() - ?1", [DAY])?;
            let oldest = "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY at DESC, rowid DESC LIMIT -1 OFFSET ?1)";
            connection.execute(oldest, [ANSWERS - 1])?;
            let values = (key, &answer.request, answer.status, &answer.body);
            connection.execute(
                "INSERT OR REPLACE INTO answers (key, at, request, status, body) VALUES (?1, unixepoch(), ?2, ?3, ?4)",
                values,
            )
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::Scope;
    use jiff::Timestamp;
    use std::sync::Arc;

    #[test]
    fn a_revoked_token_takes_its_sessions_along_and_answers_survive() {
        let folder = tempfile::tempdir().unwrap();
        let token = |id: &str, session_of: Option<&str>| Token {
            id: id.into(),
            digest: format!("digest of {id}"),
            scopes: vec![Scope::Read],
            created_at: Timestamp::UNIX_EPOCH,
            created_by: "test".into(),
            expires_at: None,
            session_of: session_of.map(str::to_owned),
        };
        let answer = Answered { request: "abc".into(), status: 201, body: "{}".into() };
        {
            let store = Store::open(folder.path(), Arc::new(|flaw| panic!("{flaw:?}"))).unwrap();
            for kept in [token("a", None), token("b", None), token("s", Some("a"))] {
                store.keep(&kept).unwrap();
            }
            store.answer("key", &answer).unwrap();
        }
        let store = Store::open(folder.path(), Arc::new(|flaw| panic!("{flaw:?}"))).unwrap();
        assert!(store.revoke("a").unwrap() && !store.revoke("a").unwrap());
        assert_eq!(store.all().unwrap(), [token("b", None)]);
        assert_eq!(store.answered("key").unwrap(), Some(answer));
        assert_eq!(store.answered("other").unwrap(), None);
    }

    #[test]
    fn of_too_many_answers_the_oldest_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Arc::new(|flaw| panic!("{flaw:?}"))).unwrap();
        let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                    INSERT INTO answers (key, at, request, status, body) SELECT 'k' || i, unixepoch(), '', 200, '' FROM n";
        store.with(|connection| connection.execute(many, [ANSWERS])).unwrap();
        let answer = Answered { request: "abc".into(), status: 201, body: "{}".into() };
        store.answer("next", &answer).unwrap();
        assert_eq!((store.answered("k1").unwrap(), store.answered("next").unwrap()), (None, Some(answer)));
        assert!(store.answered("k2").unwrap().is_some());
    }
}
