//! The share of an app's traffic that each release carries, exact to a hundredth of a percent.
//!
//! In: shares as people write them. Out: a [`Split`] that adds up to 100, or an error that says by how much
//! it does not. nginx's `split_clients` knows two decimals, so nothing finer is accepted.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::{NameError, Version};

/// A share of the traffic in hundredths of a percent, 0 to 10,000. Written `25` or `33.33`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u16);

impl Percent {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(10_000);

    /// Parses `0` to `100` with at most two decimals.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fail = |reason| NameError::new("share", text, reason);
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || whole.len() > 3 {
            return Err(fail("write a number from 0 to 100, such as 25 or 33.33"));
        }
        if decimals.len() > 2 {
            return Err(fail("two decimals are the most"));
        }
        // Both are two or three digits, so that nothing is out of range here.
        let number = |t: &str| t.parse::<u32>().unwrap_or(u32::from(u16::MAX));
        let value = u16::try_from(number(whole) * 100 + number(&format!("{decimals:0<2}"))).unwrap_or(u16::MAX);
        if value > Self::ALL.0 { Err(fail("100 is the most")) } else { Ok(Self(value)) }
    }

    /// The share that `part` is of `whole`, rounded; nothing of nothing.
    pub fn of(part: u64, whole: u64) -> Self {
        match whole {
            0 => Self::NONE,
            _ => Self(u16::try_from((part * 20_000 / whole).div_ceil(2)).unwrap_or(Self::ALL.0).min(Self::ALL.0)),
        }
    }

    pub fn rest(self) -> Self {
        Self(Self::ALL.0 - self.0)
    }

    /// Between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::ALL.0)
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}"),
        }
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 100 {
            0 => serializer.serialize_u16(self.0 / 100),
            _ => serializer.serialize_f64(f64::from(self.0) / 100.0),
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        Self::parse(&number.to_string()).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error(transparent)]
    Share(#[from] NameError),
    #[error("{0:?} is no share: write VERSION=PERCENT, such as 1.0.1=25")]
    Form(String),
    #[error("{0} is named twice")]
    Twice(Version),
    #[error("the shares add up to {0}, not to 100")]
    Sum(String),
}

/// Shares that add up to 100. Empty where an app has no release yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Split(BTreeMap<Version, Percent>);

impl Split {
    pub fn all(version: Version) -> Self {
        Self([(version, Percent::ALL)].into())
    }

    /// `candidate` has its share, `stable` the rest.
    pub fn between(stable: Option<&Version>, candidate: &Version, share: Percent) -> Self {
        match stable.filter(|stable| *stable != candidate) {
            Some(stable) => Self([(stable.clone(), share.rest()), (candidate.clone(), share)].into()),
            None => Self([(candidate.clone(), share)].into()),
        }
    }

    pub fn new(shares: impl IntoIterator<Item = (Version, Percent)>) -> Result<Self, SplitError> {
        let mut split = BTreeMap::new();
        for (version, share) in shares {
            if split.insert(version.clone(), share).is_some() {
                return Err(SplitError::Twice(version));
            }
        }
        let sum: u32 = split.values().map(|p| u32::from(p.0)).sum();
        if sum != u32::from(Percent::ALL.0) {
            return Err(SplitError::Sum(format!("{}", f64::from(sum) / 100.0)));
        }
        Ok(Self(split))
    }

    /// Parses `VERSION=PERCENT` words.
    pub fn parse<'t>(words: impl IntoIterator<Item = &'t str>) -> Result<Self, SplitError> {
        let shares: Result<Vec<_>, SplitError> = words
            .into_iter()
            .map(|word| {
                let (version, share) = word.split_once('=').ok_or_else(|| SplitError::Form(word.to_owned()))?;
                Ok((Version::parse(version)?, Percent::parse(share)?))
            })
            .collect();
        Self::new(shares?)
    }

    pub fn share(&self, version: &Version) -> Percent {
        self.0.get(version).copied().unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Version, Percent)> {
        self.0.iter().map(|(version, share)| (version, *share))
    }

    /// The releases that get any traffic.
    pub fn carriers(&self) -> impl Iterator<Item = (&Version, Percent)> {
        self.iter().filter(|(_, share)| *share > Percent::NONE)
    }

    /// The same split without the releases that get nothing.
    pub fn without_idle(self) -> Self {
        Self(self.0.into_iter().filter(|(_, share)| *share > Percent::NONE).collect())
    }

    /// The same shares among those releases that can serve: what the others had goes to `heir` if that can,
    /// else to the largest. Unchanged where no carrier can serve.
    pub fn among(&self, can_serve: impl Fn(&Version) -> bool, heir: Option<&Version>) -> Self {
        let mut left: BTreeMap<Version, Percent> =
            self.0.iter().filter(|(version, _)| can_serve(version)).map(|(v, s)| (v.clone(), *s)).collect();
        let sum: u16 = left.values().map(|p| p.0).sum();
        let missing = Percent::ALL.0 - sum;
        let largest = left.iter().max_by_key(|(_, share)| **share).map(|(v, share)| (v.clone(), *share));
        let heir = heir.filter(|heir| can_serve(heir)).cloned();
        let heir = heir.or(largest.filter(|(_, share)| *share > Percent::NONE).map(|(v, _)| v));
        match heir {
            Some(heir) => {
                left.entry(heir).or_default().0 += missing;
                Self(left)
            }
            None => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn shares_are_read_to_two_decimals_and_written_as_short_as_they_are() {
        for (text, written) in
            [("0", "0"), ("100", "100"), ("1", "1"), ("33.33", "33.33"), ("2.5", "2.5"), ("7.05", "7.05")]
        {
            assert_eq!(Percent::parse(text).unwrap().to_string(), written);
        }
        for (bad, why) in [
            ("-1", "0 to 100"),
            ("", "0 to 100"),
            ("101", "100 is the most"),
            ("100.01", "100 is the most"),
            ("33.333", "two decimals"),
            ("1e1", "0 to 100"),
            ("NaN", "0 to 100"),
            ("5%", "0 to 100"),
            ("1.", "0 to 100"),
            (".5", "0 to 100"),
        ] {
            let error = Percent::parse(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad:?} gave {error}");
        }
    }

    #[test]
    fn a_split_adds_up_or_says_by_how_much_not() {
        assert!(Split::parse(["0.0.4=67", "0.0.5=33"]).is_ok());
        assert!(Split::parse(["0.0.4=33.33", "0.0.5=33.33", "0.0.6=33.34"]).is_ok());
        for (words, why) in [
            (vec!["0.0.4=67", "0.0.5=34"], "add up to 101"),
            (vec!["0.0.4=67"], "add up to 67"),
            (vec!["0.0.4=50", "0.0.4=50"], "named twice"),
            (vec!["0.0.4"], "VERSION=PERCENT"),
            (vec!["0.0.4=-1", "0.0.5=101"], "share"),
            (vec!["../x=100"], "version"),
        ] {
            let error = Split::parse(words.clone()).unwrap_err().to_string();
            assert!(error.contains(why), "{words:?} gave {error}");
        }
    }

    #[test]
    fn who_cannot_serve_leaves_its_share_to_stable() {
        let (old, new) = (version("1.0"), version("2.0"));
        let split = Split::between(Some(&old), &new, Percent::parse("25").unwrap());
        assert_eq!(split.among(|_| true, Some(&old)), split);
        assert_eq!(split.among(|v| *v == old, Some(&old)).share(&old), Percent::ALL);
        assert_eq!(split.among(|v| *v == new, Some(&old)).share(&new), Percent::ALL);
        assert_eq!(split.among(|_| false, Some(&old)), split, "nobody can: nothing is decided");
        let other = version("1.5");
        assert_eq!(split.among(|v| *v == other, Some(&other)).share(&other), Percent::ALL, "stable need not be named");
        let untested = Split::between(Some(&old), &new, Percent::NONE);
        assert_eq!(untested.among(|v| *v == new, Some(&old)).share(&new), Percent::NONE, "untested stays untested");
    }

    #[test]
    fn a_share_far_over_100_is_no_small_one() {
        // 700 % is 70,000 hundredths, which is 4,464 more than 16 bits hold.
        for text in ["101", "656", "700", "999.99"] {
            assert!(Percent::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn json_has_whole_numbers_where_they_are_whole() {
        let split = Split::parse(["1.0=75", "1.1=24.5", "1.2=0.5"]).unwrap();
        let text = serde_json::to_string(&split).unwrap();
        assert_eq!(text, r#"{"1.0":75,"1.1":24.5,"1.2":0.5}"#);
        assert_eq!(serde_json::from_str::<Split>(&text).unwrap(), split);
        assert!(serde_json::from_str::<Split>(r#"{"1.0": 33.333}"#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_left_among_some_still_adds_up(a in 0u64..=10_000, serving in proptest::bits::u8::between(0, 2)) {
            let versions = [version("1.0"), version("2.0")];
            let split = Split::between(Some(&versions[0]), &versions[1], Percent::of(a, 10_000));
            let left = split.among(|v| serving & (1 << versions.iter().position(|x| x == v).unwrap()) != 0, Some(&versions[0]));
            let sum: u16 = left.iter().map(|(_, share)| share.0).sum();
            prop_assert!(sum == 10_000 || left == split);
        }
    }
}
