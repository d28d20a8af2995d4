//! Blocking queries: an answer once the index has passed the one that the client has seen.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::asker::Counted;
use crate::core::app::Period;
use crate::ports::limits::Resource;

/// As long as Consul waits where the client does not say, and at most.
const USUALLY: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(600);

/// Looks, and looks again at each change until the index is past `after` or the time is up.
pub async fn wait<T>(
    context: &Context,
    counted: Counted,
    after: Option<u64>,
    limit: Option<&str>,
    mut look: impl FnMut() -> (u64, T),
) -> Result<(u64, T), Problem> {
    let limit = limit.filter(|text| !text.is_empty()).map(duration).transpose()?.unwrap_or(USUALLY).min(LONGEST);
    let deadline = Instant::now() + limit;
    let (mut keys, mut views) = (context.kv.changed(), context.snapshot.changes());
    let mut held = None;
    loop {
        keys.mark_unchanged();
        views.mark_unchanged();
        let (index, found) = look();
        if after.is_none_or(|after| after == 0 || index > after) {
            return Ok((index, found));
        }
        if held.is_none() {
            held = Some(context.limits.take(Resource::LongPoll, counted.0.clone())?);
        }
        let change = async {
            tokio::select! {
                changed = keys.changed() => changed.is_ok(),
                changed = views.changed() => changed.is_ok(),
            }
        };
        // Whoever stops the platform ends the waiting too.
        if !timeout_at(deadline, change).await.unwrap_or(false) {
            return Ok((index, found));
        }
    }
}

/// A duration as Go writes it, of whole numbers: `10s`, `5m`, `1m30s`, `500ms`; a bare number is in seconds.
fn duration(text: &str) -> Result<Duration, Problem> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    Period::parse(text).map(Period::get).map_err(|error| Problem::bad(format!("wait: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, ms) in [("10s", 10_000), ("1m30s", 90_000), ("500ms", 500), ("7", 7_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text).unwrap().as_millis(), ms, "{text}");
        }
        for text in ["", "s", "10x", "-1s", "99999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
