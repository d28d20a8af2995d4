//! Moments as people tell them: how long ago. Programs, and `--time=iso`, keep RFC 3339.

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::Value;

use super::output::cell;

/// How times are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Times {
    /// `3 min ago`
    #[default]
    Ago,
    /// RFC 3339, in UTC
    Iso,
}

impl Times {
    /// A moment of the API as a cell; what is none stays as it is.
    pub fn cell(self, value: &Value) -> String {
        let moment = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        match moment {
            Some(moment) if self == Self::Ago => relative(moment, Timestamp::now()),
            Some(_) | None => cell(value),
        }
    }

    /// A sentence in which moments are told.
    pub fn sentence(self, text: &str) -> String {
        match self {
            Self::Ago => told(text, Timestamp::now()),
            Self::Iso => text.to_owned(),
        }
    }
}

/// `3 min ago`, `in 2 h`, `just now`.
fn relative(moment: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(moment).as_secs();
    match seconds {
        -1..=1 => "just now".into(),
        2.. => format!("{} ago", length(seconds.unsigned_abs())),
        _ => format!("in {}", length(seconds.unsigned_abs())),
    }
}

/// The largest unit of which there are two or more.
fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The text with `since MOMENT` as `for 3 min`, and any other moment as `3 min ago`.
fn told(text: &str, now: Timestamp) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let bare = word.trim_end_matches([',', ';', ':', '.', ')']);
        let moment = Some(bare).filter(|bare| bare.len() >= 20 && bare.contains('T')).and_then(|b| b.parse().ok());
        let Some(moment) = moment else {
            words.push(word.to_owned());
            continue;
        };
        let rest = word.get(bare.len()..).unwrap_or_default();
        match words.last_mut().filter(|last| *last == "since") {
            Some(since) if moment <= now => {
                *since = "for".into();
                words.push(format!("{}{rest}", length(now.duration_since(moment).as_secs().unsigned_abs())));
            }
            Some(_) | None => words.push(format!("{}{rest}", relative(moment, now))),
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_as_people_tell_them() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (moment, expected) in [
            ("2026-11-21T12:00:00.4Z", "just now"),
            ("2026-11-21T11:58:21Z", "99 s ago"),
            ("2026-11-21T11:57:00.605410156Z", "2 min ago"),
            ("2026-11-21T09:00:00Z", "3 h ago"),
            ("2026-11-01T12:00:00Z", "20 days ago"),
            ("2026-11-21T14:00:01Z", "in 2 h"),
        ] {
            assert_eq!(relative(moment.parse().unwrap(), now), expected, "{moment}");
        }
        assert_eq!(told("ready since 2026-11-21T11:57:00.605410156Z", now), "ready for 2 min");
        assert_eq!(told("seen 2026-11-21T11:57:00Z, at 1.0.0", now), "seen 3 min ago, at 1.0.0");
    }
}
