//! Errors as answers: a status, a stable code, what happened and what helps.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::core::decide::Refusal;
use crate::core::names::NameError;
use crate::core::split::SplitError;
use crate::ports::engine::EngineError;
use crate::ports::inbox::CommandError;
use crate::ports::ledger::LedgerError;
use crate::ports::library::LibraryError;
use crate::ports::limits::Full;

/// A problem document (RFC 9457).
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(skip)]
    pub http: StatusCode,
    pub status: u16,
    pub code: &'static str,
    pub title: &'static str,
    pub detail: String,
}

impl Problem {
    pub fn new(http: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            http,
            status: http.as_u16(),
            code,
            title: http.canonical_reason().unwrap_or("error"),
            detail: detail.into(),
        }
    }

    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.http, [(header::CONTENT_TYPE, "application/problem+json")], Json(&self).into_response().into_body())
            .into_response()
    }
}

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", full.to_string())
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::bad(error.to_string())
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        let (status, code) = match &error {
            CommandError::Refused(Refusal::Unknown { .. }) => (StatusCode::NOT_FOUND, "unknown-app"),
            CommandError::Refused(Refusal::Undeclared { .. }) => (StatusCode::CONFLICT, "undeclared-app"),
            CommandError::Refused(Refusal::State { .. }) => (StatusCode::CONFLICT, "not-now"),
            CommandError::Refused(Refusal::Keys(_)) => (StatusCode::CONFLICT, "makes-no-sense"),
            CommandError::Refused(Refusal::Busy { .. }) => (StatusCode::CONFLICT, "deployment-under-way"),
            CommandError::Refused(Refusal::TooOften { .. }) => (StatusCode::TOO_MANY_REQUESTS, "too-often"),
            CommandError::Refused(Refusal::TooMany { .. }) => (StatusCode::BAD_REQUEST, "bad-request"),
            CommandError::Refused(Refusal::Service { .. }) => (StatusCode::BAD_REQUEST, "bad-service"),
            CommandError::Refused(Refusal::NoService { .. }) => (StatusCode::NOT_FOUND, "unknown-service"),
            CommandError::Refused(Refusal::Closing) | CommandError::Closed => {
                (StatusCode::SERVICE_UNAVAILABLE, "closing")
            }
            CommandError::NotRecorded(_) => (StatusCode::INSUFFICIENT_STORAGE, "not-recorded"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<LibraryError> for Problem {
    fn from(error: LibraryError) -> Self {
        let (status, code) = match &error {
            LibraryError::Bad(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unusable"),
            LibraryError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            LibraryError::Missing(_) => (StatusCode::NOT_FOUND, "missing"),
            LibraryError::Trouble(_) => (StatusCode::INSUFFICIENT_STORAGE, "disk"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let (status, code) = match &error {
            EngineError::Unreachable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "engine-unreachable"),
            EngineError::NotFound(_) => (StatusCode::NOT_FOUND, "missing"),
            EngineError::Refused(_) | EngineError::NameTaken(_) => (StatusCode::BAD_GATEWAY, "engine"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ledger", error.to_string())
    }
}

impl From<SplitError> for Problem {
    fn from(error: SplitError) -> Self {
        Self::bad(error.to_string())
    }
}
