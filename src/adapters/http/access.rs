//! Who may call the API: one middleware for every route, open ones listed here and nowhere else.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Context;
use super::error::Problem;

/// What needs no token.
pub const OPEN: [&str; 2] = ["/healthz", "/"];

/// Refuses foreign hosts (DNS rebinding) and callers without the token.
pub async fn check(State(context): State<Context>, request: Request, next: Next) -> Response {
    if !is_allowed_host(request.headers(), &context.allowed_hosts) {
        let detail = "this Host header is not one of the API's; api.allowed_hosts adds more";
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, "foreign-host", detail).into_response();
    }
    if !OPEN.contains(&request.uri().path()) && !has_token(request.headers(), &context.token) {
        let detail = "send the token from STATE/token as `Authorization: Bearer …`; the command line finds it in PLATFORMER_TOKEN or the state folder";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "no-token", detail);
        return ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response();
    }
    next.run(request).await
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given =
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    // Comparing digests takes the same time whatever the guess has in common with the token.
    given.is_some_and(|given| Sha256::digest(given.trim()) == Sha256::digest(token))
}

fn is_allowed_host(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(name, "localhost" | "127.0.0.1" | "::1")
        || name.ends_with(".localhost")
        || allowed.iter().any(|a| a == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn only_our_own_hosts_are_answered() {
        let allowed = ["ops.example".to_owned()];
        for (host, expected) in [
            ("127.0.0.1:7700", true),
            ("localhost", true),
            ("[::1]:7700", true),
            ("dashboard.localhost", true),
            ("ops.example:7700", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_allowed_host(&headers(header::HOST, host), &allowed), expected, "{host}");
        }
        assert!(!is_allowed_host(&HeaderMap::new(), &allowed));
    }

    #[test]
    fn only_the_whole_token_opens() {
        for (value, expected) in [
            ("Bearer secret", true),
            ("Bearer secre", false),
            ("Bearer ", false),
            ("Basic secret", false),
            ("secret", false),
        ] {
            assert_eq!(has_token(&headers(header::AUTHORIZATION, value), "secret"), expected, "{value}");
        }
    }
}
