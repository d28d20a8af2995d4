//! Who may do what: scopes that a token has, rights that a route asks for, and whether the one covers the other.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::{AppName, NameError};

/// What a token allows its bearer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// To look at everything but secrets.
    Read,
    /// To release and steer one app, and to look at everything.
    Deploy(AppName),
    /// Everything.
    Admin,
}

impl Scope {
    /// `read`, `deploy:APP` or `admin`.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let name = |reason: NameError| ScopeError { text: text.chars().take(80).collect(), reason: reason.to_string() };
        match text {
            "read" => Ok(Self::Read),
            "admin" => Ok(Self::Admin),
            _ => match text.strip_prefix("deploy:") {
                Some(app) => AppName::parse(app).map(Self::Deploy).map_err(name),
                None => Err(ScopeError {
                    text: text.chars().take(80).collect(),
                    reason: "scopes are read, deploy:APP and admin".into(),
                }),
            },
        }
    }

    fn covers(&self, right: Right, app: Option<&AppName>) -> bool {
        match (self, right) {
            (_, Right::Open | Right::Read) | (Self::Admin, _) => true,
            (Self::Deploy(_), Right::Change) => true,
            (Self::Read, Right::Change) => false,
            (Self::Deploy(own), Right::Deploy) => app == Some(own),
            (Self::Read, Right::Deploy | Right::Admin) | (Self::Deploy(_), Right::Admin) => false,
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Deploy(app) => write!(f, "deploy:{app}"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;
    fn try_from(text: String) -> Result<Self, ScopeError> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scope {text:?}: {reason}")]
pub struct ScopeError {
    text: String,
    reason: String,
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Nothing: it is harmless, or the request brings its own proof.
    Open,
    Read,
    /// To change something; what exactly, only the body tells, and is looked at there.
    Change,
    /// To steer the app that the path names.
    Deploy,
    Admin,
}

impl Right {
    /// The scope that opens it, as a person would write it.
    pub fn wanted(self, app: Option<&AppName>) -> String {
        match (self, app) {
            (Self::Open, _) => "no token".into(),
            (Self::Read, _) => "read".into(),
            (Self::Change, _) => "deploy:APP or admin".into(),
            (Self::Deploy, Some(app)) => format!("deploy:{app}"),
            (Self::Deploy, None) | (Self::Admin, _) => "admin".into(),
        }
    }
}

/// A token as it is kept: never the text itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: String,
    /// SHA-256 of the text, in hex.
    pub digest: String,
    pub scopes: Vec<Scope>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    /// The token that a browser's session was opened with; it ends with that.
    pub session_of: Option<String>,
}

impl Token {
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Whether one of the scopes covers the right, for the app that the path names.
pub fn allows(scopes: &[Scope], right: Right, app: Option<&AppName>) -> bool {
    right == Right::Open || scopes.iter().any(|scope| scope.covers(right, app))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_opens_what_it_says_and_nothing_else() {
        let shop = AppName::parse("shop").unwrap();
        let blog = AppName::parse("blog").unwrap();
        for (scope, right, app, expected) in [
            ("read", Right::Read, None, true),
            ("read", Right::Deploy, Some(&shop), false),
            ("read", Right::Admin, None, false),
            ("deploy:shop", Right::Read, None, true),
            ("deploy:shop", Right::Deploy, Some(&shop), true),
            ("deploy:shop", Right::Deploy, Some(&blog), false),
            ("deploy:shop", Right::Deploy, None, false),
            ("deploy:shop", Right::Admin, Some(&shop), false),
            ("admin", Right::Admin, None, true),
            ("admin", Right::Deploy, Some(&blog), true),
        ] {
            assert_eq!(allows(&[Scope::parse(scope).unwrap()], right, app), expected, "{scope} {right:?} {app:?}");
        }
        assert!(allows(&[], Right::Open, None) && !allows(&[], Right::Read, None));
    }

    #[test]
    fn scopes_read_back_as_they_are_written_and_others_are_refused() {
        for text in ["read", "admin", "deploy:shop"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "Read", "deploy", "deploy:", "deploy:../x", "admin "] {
            assert!(Scope::parse(text).is_err(), "{text:?}");
        }
    }
}
