//! The names that everything else is built from, each with one strict parser.
//!
//! In: text from labels, files, the API or the command line. Out: newtypes whose field is private, so a
//! value of the type has been checked. Only these reach a template; nothing downstream escapes anything.

mod host;
mod image;
mod path;
mod version;

pub use host::{AppName, Domain, HostName, RESERVED, is_dns_label};
pub use image::{EnvName, ImageRef};
pub use path::PathPrefix;
pub use version::Version;

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// A text that is not the name it claims to be. Says which, why, and in `reason` what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?}: {reason}")]
pub struct NameError {
    pub kind: &'static str,
    /// The offending text, cut to 80 characters; `{:?}` escapes what a terminal must not see.
    pub value: String,
    pub reason: String,
}

impl NameError {
    pub fn new(kind: &'static str, value: &str, reason: impl Into<String>) -> Self {
        let value =
            if value.chars().count() > 80 { value.chars().take(80).chain(['…']).collect() } else { value.to_owned() };
        Self { kind, value, reason: reason.into() }
    }
}

/// Declares a checked, cheaply cloned string type. `$check` is `fn(&str) -> Result<(), String>`. Two are equal where
/// their texts are, but for one declared `with an equality of its own`.
macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $crate::core::names::checked_name! {
            $(#[$doc])*
            #[derive(PartialEq, Eq, Hash)]
            $name, $kind, $check, with an equality of its own
        }
    };
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path, with an equality of its own) => {
        $(#[$doc])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, $crate::core::names::NameError> {
                $check(text).map_err(|reason| $crate::core::names::NameError::new($kind, text, reason))?;
                Ok(Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::core::names::NameError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::core::names::NameError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}
pub(crate) use checked_name;

/// Derives the order of the text for a `checked_name!` type.
macro_rules! textual_order {
    ($name:ident) => {
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.0.cmp(&other.0)
            }
        }
    };
}
pub(crate) use textual_order;

/// A TCP port that something can listen on: 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u16")]
pub struct Port(NonZeroU16);

impl Port {
    /// 8080: where an app listens unless it says otherwise.
    pub const APP: Port = Port(NonZeroU16::MIN.saturating_add(8079));

    pub fn get(self) -> u16 {
        self.0.get()
    }

    /// Parses decimal digits and nothing else: no sign, no blanks, no `80;`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
        let number = digits.then(|| text.parse::<u64>().ok()).flatten();
        number.and_then(|n| Self::try_from(n).ok()).ok_or_else(|| NameError::new("port", text, PORT_RANGE))
    }
}

const PORT_RANGE: &str = "a port is a whole number from 1 to 65535";

impl TryFrom<u64> for Port {
    type Error = NameError;
    fn try_from(number: u64) -> Result<Self, NameError> {
        u16::try_from(number)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or_else(|| NameError::new("port", &number.to_string(), PORT_RANGE))
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.get()
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The word of `known` that `word` was probably meant to be, if one is near enough to suggest.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3 + 1)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_whole_numbers_in_range() {
        for bad in ["", "0", "65536", "80;", " 80", "-1", "+80", "8e1", "99999999999999999999"] {
            assert!(Port::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(Port::parse("65535").unwrap().get(), 65535);
    }

    #[test]
    fn an_error_names_the_offender_and_hides_control_characters() {
        let error = AppName::parse("a\nb").unwrap_err().to_string();
        assert!(error.contains(r#""a\nb""#) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_typing_mistake_finds_its_word_and_nonsense_finds_none() {
        assert_eq!(nearest("listne", ["listen", "docker", "dns"]), Some("listen"));
        assert_eq!(nearest("zzzzzzzz", ["listen", "docker"]), None);
    }
}
