//! The tokens there are, and who calls with which of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::adapters::http::error::Problem;
use crate::core::access::{Right, Scope, Token, allows};
use crate::core::digest::sha256;
use crate::core::names::AppName;
use crate::ports::ledger::LedgerError;
use crate::ports::limits::one_of;
use crate::ports::tokens::Tokens;

/// So many wrong tokens from one address within [`WINDOW`] are answered with 401; the next ones with 429.
const TRIES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose wrong tokens are counted; with more of them in one window, the counting begins anew.
const ADDRESSES: usize = 2_000;

/// Who is answered for long is looked at again this often.
const LOOK: Duration = Duration::from_secs(5);

/// Open at once for one token; of more the oldest ends.
pub const SESSIONS: usize = 20;
/// Valid at once.
pub const TOKENS: usize = 1000;

/// Who calls, by the token that came with the request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// As the audit and the history name it.
    pub name: String,
    pub scopes: Vec<Scope>,
    /// `None` for the token in the state folder, which may also say whom it acts for.
    pub token: Option<String>,
    /// The token that everything hangs on that is opened with this one: itself, or what its session was opened with.
    pub root: String,
    /// When that token ends.
    pub until: Option<Timestamp>,
    pub session: bool,
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
    /// The token in the state folder, by its digest, and what its sessions name it.
    root: String,
    root_id: String,
    tokens: RwLock<Vec<Token>>,
    /// Changes when one of them is ended.
    ended: watch::Sender<()>,
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
        let root = sha256(root);
        // Of a digest of the digest: another token in the folder has other sessions, and an id tells nothing of it.
        let root_id = format!("root-{}", sha256(&root).chars().take(8).collect::<String>());
        Ok(Self { store, random, root, root_id, tokens, ended: watch::Sender::new(()), wrong: Mutex::default() })
    }

    /// Whose token this is. Only digests are compared, so that the time it takes tells nothing of the text.
    pub fn caller(&self, text: &str, now: Timestamp) -> Option<Caller> {
        let given = sha256(text.trim());
        if given == self.root {
            return Some(self.of_root());
        }
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.iter().find(|token| token.digest == given && !token.is_expired(now))?;
        match &token.session_of {
            None => Some(self.bearer(token)),
            Some(root) => {
                let root = self.root(&tokens, root, now)?;
                Some(Caller { token: Some(token.id.clone()), session: true, ..root })
            }
        }
    }

    /// Whether what the caller came with is still valid.
    pub fn stands(&self, caller: &Caller, now: Timestamp) -> bool {
        let Some(id) = &caller.token else { return true };
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.iter().any(|token| token.id == *id && self.is_valid(token, &tokens, now))
    }

    /// Whether a token's time is not over, nor that of the one it hangs on.
    fn is_valid(&self, token: &Token, tokens: &[Token], now: Timestamp) -> bool {
        let hangs = |root: &String| self.root(tokens, root, now).is_some();
        !token.is_expired(now) && token.session_of.as_ref().is_none_or(hangs)
    }

    /// Waits until what the caller came with is valid no more: at once when it is revoked, within [`LOOK`] when its
    /// time is over.
    pub async fn outlived(&self, caller: &Caller) {
        let mut ended = self.ended.subscribe();
        while self.stands(caller, Timestamp::now()) {
            // The sender lives as long as `self`.
            let _ = timeout(LOOK, ended.changed()).await;
        }
    }

    /// Who a link or a session was made by, as long as that token is valid: what hangs on it ends with it.
    pub fn holder(&self, root: &str, now: Timestamp) -> Option<Caller> {
        self.root(&self.tokens.read().unwrap_or_else(PoisonError::into_inner), root, now)
    }

    fn root(&self, tokens: &[Token], id: &str, now: Timestamp) -> Option<Caller> {
        if id == self.root_id {
            return Some(Caller { name: "token root".into(), ..self.of_root() });
        }
        // A session is no root: nothing hangs on it.
        let root = tokens.iter().find(|t| t.id == id && t.session_of.is_none() && !t.is_expired(now))?;
        Some(self.bearer(root))
    }

    fn of_root(&self) -> Caller {
        let root = self.root_id.clone();
        Caller { name: "api".into(), scopes: vec![Scope::Admin], token: None, root, until: None, session: false }
    }

    fn bearer(&self, token: &Token) -> Caller {
        Caller {
            name: format!("token {}", token.id),
            scopes: token.scopes.clone(),
            token: Some(token.id.clone()),
            root: token.id.clone(),
            until: token.expires_at,
            session: false,
        }
    }

    /// Counts a wrong token. Too many from one address are refused before they are looked at.
    pub fn wrong(&self, from: IpAddr) -> Result<(), Problem> {
        let from = one_of(from);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() > ADDRESSES {
            wrong.retain(|_, (_, since)| since.elapsed() <= WINDOW);
        }
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

    /// Makes a token that ends no later than its maker's. Its text is returned once and kept nowhere.
    pub fn create(
        &self,
        scopes: Vec<Scope>,
        expires_at: Option<Timestamp>,
        by: &Caller,
        now: Timestamp,
    ) -> Result<(String, Token), Problem> {
        let made = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        if made.iter().filter(|token| token.session_of.is_none() && !token.is_expired(now)).count() >= TOKENS {
            let detail =
                format!("{TOKENS} tokens are valid, more are not kept; revoke some with `platformer token revoke ID`");
            return Err(Problem::new(StatusCode::CONFLICT, "too-many-tokens", detail));
        }
        drop(made);
        self.keep(scopes, earlier(expires_at, by.until), &by.name, None, now)
    }

    /// Opens a session with a token: it ends with that, and makes no others. Of too many the oldest ends.
    pub fn open_session(&self, by: &Caller, until: Option<Timestamp>, now: Timestamp) -> Result<String, Problem> {
        if by.session {
            let detail = "a session opens no others; log in with the token itself, or with a link that it made";
            return Err(Problem::new(StatusCode::FORBIDDEN, "is-session", detail));
        }
        let until = earlier(until, by.until);
        let (text, _) = self.keep(by.scopes.clone(), until, &by.name, Some(by.root.clone()), now)?;
        let own: Vec<String> =
            self.sessions(now).into_iter().filter(|t| t.session_of.as_ref() == Some(&by.root)).map(|t| t.id).collect();
        for oldest in own.iter().take(own.len().saturating_sub(SESSIONS)) {
            self.revoke(oldest)?;
        }
        Ok(text)
    }

    fn keep(
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
        let ended = tokens.iter().filter(|t| !self.is_valid(t, &tokens, now));
        let ended: Vec<String> = ended.map(|t| t.id.clone()).collect();
        for id in &ended {
            self.store.revoke(id)?;
        }
        tokens.retain(|t| !ended.contains(&t.id));
        tokens.push(token.clone());
        Ok((text, token))
    }

    /// The tokens that people made, oldest first.
    pub fn list(&self) -> Vec<Token> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.iter().filter(|token| token.session_of.is_none()).cloned().collect()
    }

    /// The sessions that are open, oldest first.
    pub fn sessions(&self, now: Timestamp) -> Vec<Token> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let is_open = |t: &&Token| t.session_of.is_some() && self.is_valid(t, &tokens, now);
        tokens.iter().filter(is_open).cloned().collect()
    }

    /// Ends a token with the sessions that were opened with it, or one session.
    pub fn revoke(&self, id: &str) -> Result<bool, Problem> {
        let found = self.store.revoke(id)?;
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|token| token.id != id && token.session_of.as_deref() != Some(id));
        drop(tokens);
        self.ended.send_replace(());
        Ok(found)
    }
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    [a, b].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::tokens::Answered;

    #[derive(Default)]
    struct Kept(Mutex<Vec<Token>>);

    impl Tokens for Kept {
        fn all(&self) -> Result<Vec<Token>, LedgerError> {
            Ok(self.0.lock().unwrap().clone())
        }
        fn keep(&self, token: &Token) -> Result<(), LedgerError> {
            self.0.lock().unwrap().push(token.clone());
            Ok(())
        }
        fn revoke(&self, id: &str) -> Result<bool, LedgerError> {
            let mut kept = self.0.lock().unwrap();
            let before = kept.len();
            kept.retain(|t| t.id != id && t.session_of.as_deref() != Some(id));
            Ok(kept.len() < before)
        }
        fn answered(&self, _: &str) -> Result<Option<Answered>, LedgerError> {
            Ok(None)
        }
        fn answer(&self, _: &str, _: &Answered) -> Result<(), LedgerError> {
            Ok(())
        }
    }

    fn random() -> std::io::Result<String> {
        static NEXT: Mutex<u32> = Mutex::new(0);
        let mut next = NEXT.lock().unwrap();
        *next += 1;
        Ok(sha256(next.to_string()))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn keyring(store: &Arc<Kept>, root: &str) -> Keyring {
        Keyring::open(store.clone(), root, random).unwrap()
    }

    #[test]
    fn a_session_ends_with_its_token_by_time_or_by_revocation() {
        let store = Arc::new(Kept::default());
        let ring = keyring(&store, "root");
        let root = ring.caller("root", at(0)).unwrap();
        let (text, token) = ring.create(vec![Scope::Read], Some(at(5)), &root, at(0)).unwrap();
        let session = ring.open_session(&ring.caller(&text, at(1)).unwrap(), Some(at(100)), at(1)).unwrap();
        let caller = ring.caller(&session, at(4)).unwrap();
        assert!(caller.session && caller.root == token.id && caller.name == format!("token {}", token.id));
        assert!(ring.caller(&session, at(5)).is_none() && ring.sessions(at(5)).is_empty());
        assert!(ring.holder(&token.id, at(4)).is_some() && ring.holder(&token.id, at(5)).is_none());
        let (text, token) = ring.create(vec![Scope::Read], None, &root, at(6)).unwrap();
        let session = ring.open_session(&ring.caller(&text, at(6)).unwrap(), Some(at(100)), at(6)).unwrap();
        assert_eq!(ring.sessions(at(7)).len(), 1);
        assert!(ring.revoke(&token.id).unwrap());
        assert!(ring.caller(&session, at(7)).is_none() && ring.holder(&token.id, at(7)).is_none());
        // Sessions of the state folder's token end when that is another.
        let session = ring.open_session(&root, Some(at(100)), at(7)).unwrap();
        assert_eq!(keyring(&store, "root").caller(&session, at(8)).unwrap().name, "token root");
        assert!(keyring(&store, "another").caller(&session, at(8)).is_none());
    }

    #[test]
    fn a_caller_stands_as_long_as_its_token_and_what_that_hangs_on() {
        let store = Arc::new(Kept::default());
        let ring = keyring(&store, "root");
        let root = ring.caller("root", at(0)).unwrap();
        let (text, token) = ring.create(vec![Scope::Read], Some(at(5)), &root, at(0)).unwrap();
        let caller = ring.caller(&text, at(1)).unwrap();
        let session = ring.open_session(&caller, Some(at(100)), at(1)).unwrap();
        let session = ring.caller(&session, at(1)).unwrap();
        let stand = |now| [&root, &caller, &session].map(|caller| ring.stands(caller, at(now)));
        assert_eq!((stand(4), stand(5)), ([true; 3], [true, false, false]));
        ring.revoke(&token.id).unwrap();
        assert_eq!(stand(4), [true, false, false]);
    }

    #[test]
    fn nothing_that_a_token_opens_outlives_or_multiplies_it() {
        let store = Arc::new(Kept::default());
        let ring = keyring(&store, "root");
        let root = ring.caller("root", at(0)).unwrap();
        let (text, _) = ring.create(vec![Scope::Admin], Some(at(50)), &root, at(0)).unwrap();
        let admin = ring.caller(&text, at(0)).unwrap();
        for asked in [None, Some(at(1000))] {
            assert_eq!(ring.create(vec![Scope::Admin], asked, &admin, at(1)).unwrap().1.expires_at, Some(at(50)));
        }
        let session = ring.open_session(&admin, Some(at(30)), at(1)).unwrap();
        let session = ring.caller(&session, at(2)).unwrap();
        assert_eq!(ring.open_session(&session, None, at(2)).unwrap_err().code, "is-session");
        assert_eq!(ring.create(vec![Scope::Read], None, &session, at(2)).unwrap().1.expires_at, Some(at(50)));
    }

    #[test]
    fn the_oldest_of_too_many_sessions_ends_and_each_can_be_ended() {
        let store = Arc::new(Kept::default());
        let ring = keyring(&store, "root");
        let root = ring.caller("root", at(0)).unwrap();
        let opened: Vec<String> =
            (0..=SESSIONS).map(|n| ring.open_session(&root, None, at(n as i64)).unwrap()).collect();
        assert_eq!(ring.sessions(at(99)).len(), SESSIONS);
        assert!(ring.caller(&opened[0], at(99)).is_none() && ring.caller(&opened[1], at(99)).is_some());
        let last = ring.caller(&opened[SESSIONS], at(99)).unwrap().token.unwrap();
        assert!(ring.revoke(&last).unwrap());
        assert!(ring.caller(&opened[SESSIONS], at(99)).is_none() && ring.caller(&opened[1], at(99)).is_some());
        assert_eq!(store.0.lock().unwrap().len(), SESSIONS - 1);
    }
}
