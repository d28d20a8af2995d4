//! The tokens there are, and who calls with which of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use jiff::Timestamp;

use super::error::Problem;
use crate::core::access::{Right, Scope, Token, allows};
use crate::core::digest::sha256;
use crate::core::names::AppName;
use crate::ports::ledger::LedgerError;
use crate::ports::tokens::Tokens;

/// So many wrong tokens from one address within [`WINDOW`] are answered with 401; the next ones with 429.
const TRIES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose wrong tokens are counted; with more of them, the counting begins anew.
const ADDRESSES: usize = 10_000;

/// Who calls, by the token that came with the request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// As the audit and the history name it.
    pub name: String,
    pub scopes: Vec<Scope>,
    /// `None` for the token in the state folder, which may also say whom it acts for.
    pub token: Option<String>,
}

impl Caller {
    /// # Errors
    /// The scope that is missing for this right, on the app that is named.
    pub fn may(&self, right: Right, app: Option<&AppName>) -> Result<(), Problem> {
        if allows(&self.scopes, right, app) {
            return Ok(());
        }
        let has: Vec<String> = self.scopes.iter().map(ToString::to_string).collect();
        let detail = format!("{} has the scope {}, this needs {}", self.name, has.join(", "), right.wanted(app));
        Err(Problem::new(StatusCode::FORBIDDEN, "wrong-scope", detail))
    }
}

pub struct Keyring {
    store: Arc<dyn Tokens>,
    random: fn() -> std::io::Result<String>,
    /// The token in the state folder, by its digest.
    root: String,
    tokens: RwLock<Vec<Token>>,
    wrong: Mutex<HashMap<IpAddr, (u32, Instant)>>,
}

impl Keyring {
    /// `root` is the text of the token in the state folder; `random` makes the text of a new one.
    pub fn open(
        store: Arc<dyn Tokens>,
        root: &str,
        random: fn() -> std::io::Result<String>,
    ) -> Result<Self, LedgerError> {
        let tokens = RwLock::new(store.all()?);
        Ok(Self { store, random, root: sha256(root), tokens, wrong: Mutex::default() })
    }

    /// Whose token this is. Only digests are compared, so that the time it takes tells nothing of the text.
    pub fn caller(&self, text: &str, now: Timestamp) -> Option<Caller> {
        let given = sha256(text.trim());
        if given == self.root {
            return Some(Caller { name: "api".into(), scopes: vec![Scope::Admin], token: None });
        }
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.iter().find(|token| token.digest == given && !token.is_expired(now))?;
        let id = token.session_of.as_ref().unwrap_or(&token.id);
        Some(Caller { name: format!("token {id}"), scopes: token.scopes.clone(), token: Some(token.id.clone()) })
    }

    /// Counts a wrong token. Too many from one address are refused before they are looked at.
    pub fn wrong(&self, from: IpAddr) -> Result<(), Problem> {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() > ADDRESSES {
            wrong.clear();
        }
        let (count, since) = wrong.entry(from).or_insert((0, Instant::now()));
        if since.elapsed() > WINDOW {
            (*count, *since) = (0, Instant::now());
        }
        *count += 1;
        if *count <= TRIES {
            return Ok(());
        }
        let detail = format!("{from} has sent {TRIES} wrong tokens within a minute; wait, then send a right one");
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-tries", detail))
    }

    /// 256 random bits in hex.
    pub fn random(&self) -> Result<String, Problem> {
        let failed =
            |e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no-random", format!("no random numbers: {e}"));
        (self.random)().map_err(failed)
    }

    /// Makes a token. Its text is returned once and kept nowhere.
    pub fn create(
        &self,
        scopes: Vec<Scope>,
        expires_at: Option<Timestamp>,
        by: &str,
        session_of: Option<String>,
        now: Timestamp,
    ) -> Result<(String, Token), Problem> {
        let (text, id) = (self.random()?, self.random()?);
        let token = Token {
            id: id.chars().take(8).collect(),
            digest: sha256(&text),
            scopes,
            created_at: now,
            created_by: by.to_owned(),
            expires_at,
            session_of,
        };
        self.store.keep(&token)?;
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        for expired in tokens.iter().filter(|t| t.is_expired(now)) {
            self.store.revoke(&expired.id)?;
        }
        tokens.retain(|t| !t.is_expired(now));
        tokens.push(token.clone());
        Ok((text, token))
    }

    /// The tokens that people made, oldest first.
    pub fn list(&self) -> Vec<Token> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.iter().filter(|token| token.session_of.is_none()).cloned().collect()
    }

    pub fn revoke(&self, id: &str) -> Result<bool, Problem> {
        let found = self.store.revoke(id)?;
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|token| token.id != id && token.session_of.as_deref() != Some(id));
        Ok(found)
    }
}
