//! The tables of an app file, each with its defaults (DESIGN: files and settings) and its limits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::names::{HostName, ImageRef, NameError, checked_name};
use crate::core::split::Percent;

/// A length of time as people write it: `10s`, `2m`, `1h 30m`; 1 ms to 7 days, or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(Duration);

impl Period {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    pub const fn get(self) -> Duration {
        self.0
    }

    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fail = |reason: &str| NameError::new("duration", text, reason);
        let signed: jiff::SignedDuration =
            text.parse().map_err(|_| fail("write a number with its unit, such as 500ms, 10s, 2m or 1h"))?;
        let duration = Duration::try_from(signed).map_err(|_| fail("it may not be negative"))?;
        if duration > Duration::from_secs(7 * 86_400) {
            return Err(fail("seven days are the most"));
        }
        Ok(Self(duration))
    }
}

impl TryFrom<String> for Period {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(signed) => write!(f, "{signed:#}"),
            Err(_) => write!(f, "{:?}", self.0),
        }
    }
}

impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}

checked_name! {
    /// A number of bytes as nginx writes it: digits with an optional `k`, `m` or `g`; `0` means no limit.
    Size, "size", check_size
}

impl Size {
    /// The size in bytes.
    pub fn bytes(&self) -> u64 {
        let text = self.as_str();
        let (digits, factor) = match text.as_bytes().last() {
            Some(b'k') => (&text[..text.len() - 1], 1 << 10),
            Some(b'm') => (&text[..text.len() - 1], 1 << 20),
            Some(b'g') => (&text[..text.len() - 1], 1 << 30),
            _ => (text, 1),
        };
        digits.parse::<u64>().unwrap_or(0) * factor
    }
}

fn check_size(text: &str) -> Result<(), String> {
    let digits = text.strip_suffix(['k', 'm', 'g']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("write a whole number with k, m or g, such as 64m".into());
    }
    Ok(())
}

checked_name! {
    /// A mount: `/host/path:/in/container`, `volume-name:/in/container`, with `:ro` behind it if read-only.
    Volume, "volume", check_volume
}

impl Volume {
    /// Whether an instance may write to it: two instances at once then might corrupt it.
    pub fn is_writable(&self) -> bool {
        !self.as_str().ends_with(":ro")
    }
}

fn check_volume(text: &str) -> Result<(), String> {
    let parts: Vec<_> = text.split(':').collect();
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_control() || c == ',');
    match parts.as_slice() {
        [from, to] | [from, to, "ro" | "rw"] if plain(from) && plain(to) => {
            let absolute = |p: &str| p.starts_with('/') && !p.split('/').any(|s| s == "..");
            let named = from.starts_with(|c: char| c.is_ascii_alphanumeric()) && !from.contains('/');
            if !(absolute(from) || named) {
                return Err("its source must be an absolute path or a volume name".into());
            }
            if !absolute(to) {
                return Err("its place in the container must be an absolute path".into());
            }
            Ok(())
        }
        _ => Err("write SOURCE:/PATH or SOURCE:/PATH:ro".into()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    Rolling,
    BlueGreen,
    Canary,
    Recreate,
    Manual,
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Rolling => "rolling",
            Self::BlueGreen => "blue-green",
            Self::Canary => "canary",
            Self::Recreate => "recreate",
            Self::Manual => "manual",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deploy {
    pub strategy: Strategy,
    /// Instances that may run above the wanted number while they are replaced.
    pub surge: u16,
    /// How long a started instance may take to become ready.
    pub ready_timeout: Period,
    /// How long a new release has to stay ready before it gets any traffic.
    pub monitor: Period,
    /// How long an instance that gets no new requests may finish the old ones.
    pub drain: Period,
    /// Between SIGTERM and SIGKILL.
    pub grace: Period,
    pub bake: Option<Period>,
    pub retain: u16,
    pub auto: bool,
}

impl Default for Deploy {
    fn default() -> Self {
        Self {
            strategy: Strategy::Rolling,
            surge: 1,
            ready_timeout: Period::seconds(120),
            monitor: Period::seconds(5),
            drain: Period::seconds(60),
            grace: Period::seconds(10),
            bake: None,
            retain: 5,
            auto: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Answers 200-399 when the instance can serve. Without it Docker's HEALTHCHECK counts, else a TCP accept.
    pub path: Option<HealthPath>,
    /// The host that it is asked for; without one it is the app's first.
    pub host: Option<HostName>,
    /// Between probes of an instance that is ready; without it 5 s, or 10 s where only a TCP accept is tried: that says
    /// little more than the engine's own events do.
    pub interval: Option<Period>,
    pub timeout: Period,
}

impl Default for Health {
    fn default() -> Self {
        Self { path: None, host: None, interval: None, timeout: Period::seconds(2) }
    }
}

checked_name! {
    /// What a probe asks for: an absolute path, with a query if wanted, of visible ASCII.
    HealthPath, "health path", check_health_path
}

fn check_health_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') || text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("it must begin with '/' and have no blanks, at most 512 characters".into());
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    pub image: ImageRef,
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default = "five_minutes")]
    pub timeout: Period,
}

impl Gate {
    /// The gate that an image alone describes.
    pub fn of(image: ImageRef) -> Self {
        Self { image, command: Vec::new(), timeout: five_minutes() }
    }
}

fn five_minutes() -> Period {
    Period::seconds(300)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Canary {
    /// Percent of the traffic per step, rising; 100 follows by itself.
    pub steps: Vec<Percent>,
    pub step: Period,
    pub requests: u32,
    pub deadline: Period,
}

impl Default for Canary {
    fn default() -> Self {
        Self {
            steps: [500, 2_500, 5_000].map(|share| Percent::of(share, 10_000)).to_vec(),
            step: Period::seconds(60),
            requests: 100,
            deadline: Period::seconds(1800),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StickyMode {
    Visitor,
    Release,
    Instance,
    Off,
}

impl std::fmt::Display for StickyMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Visitor => "visitor",
            Self::Release => "release",
            Self::Instance => "instance",
            Self::Off => "off",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sticky {
    pub mode: StickyMode,
}

impl Default for Sticky {
    fn default() -> Self {
        Self { mode: StickyMode::Visitor }
    }
}

/// How the balancer talks to the app's instances.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// The largest request body, `0` for any.
    pub max_body: Size,
    #[serde(with = "millis")]
    pub connect_timeout: Duration,
    /// Between two reads from the app.
    #[serde(with = "millis")]
    pub read_timeout: Duration,
    /// The largest head of a request or an answer, cookies included.
    pub max_head: Size,
    /// Collect an answer before sending it on: spares the app slow clients, delays streams.
    pub buffering: bool,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            max_body: Size("1g".into()),
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(60),
            max_head: Size("32k".into()),
            buffering: false,
        }
    }
}

/// Periods kept as [`Duration`], written as [`Period`]s.
mod millis {
    use super::{Duration, Period};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        Period(*duration).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Period::deserialize(deserializer).map(Period::get)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub memory: Option<Size>,
    /// CPU cores, such as 0.5.
    pub cpus: Option<f64>,
    pub pids: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_written_with_a_unit() {
        assert_eq!(Period::parse("2m").unwrap(), Period::seconds(120));
        assert_eq!(Period::parse("500ms").unwrap(), Period::millis(500));
        assert_eq!(Period::parse("0s").unwrap(), Period::seconds(0));
        assert_eq!(Period::parse(&Period::seconds(90).to_string()).unwrap(), Period::seconds(90));
        for bad in ["", "10", "-5s", "8d", "1 fortnight", "1e9s"] {
            assert!(Period::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn sizes_and_volumes_are_plain() {
        assert_eq!(Size::parse("64m").unwrap().bytes(), 64 << 20);
        for bad in ["", "m", "1t", "1 m", "-1", "1;", "9999999999"] {
            assert!(Size::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(Volume::parse("data:/var/data").unwrap().is_writable());
        assert!(!Volume::parse("/a:/b:ro").unwrap().is_writable());
        for bad in ["", "a", "a:b", "../a:/b", "/a:/b:rx", "/a/../b:/c", "a/b:/c"] {
            assert!(Volume::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
