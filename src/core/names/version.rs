//! Versions of releases, ordered as people order them: by semver where they are one, else by number and text.

use std::cmp::Ordering;

use super::checked_name;

checked_name! {
    /// The version of a release: 1 to 64 of letters, digits, `.`, `_`, `-`, beginning with a letter or digit.
    /// It is part of file paths, container names and image tags, so it can be no path and no option.
    Version, "version", check
}

fn check(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 64 {
        return Err(format!("it has {} characters, 1 to 64 are allowed", text.len()));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("it must begin with a letter or a digit".into());
    }
    if text.contains("..") {
        return Err("it may not contain '..'".into());
    }
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-')) {
        Some(c) => Err(format!("{c:?} is not allowed, only letters, digits, '.', '_' and '-' are")),
        None => Ok(()),
    }
}

impl Version {
    /// Stands in where neither label, name nor image tag tells the version.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// Whether the text reads as a version rather than as a bare ordinal: it has a dot between digits.
    pub fn looks_like_version(text: &str) -> bool {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts = text.split('.');
        let number = |part: Option<&str>| part.is_some_and(|p| p.starts_with(|c: char| c.is_ascii_digit()));
        number(parts.next()) && number(parts.next()) && check(text).is_ok()
    }

    /// Whether it is meant for everyone: a semver version without a pre-release part.
    pub fn is_release(&self) -> bool {
        Self::semver(self.base().as_str()).is_some_and(|version| version.pre.is_empty())
    }

    /// The version without its revision: what the artefact's folder is called.
    pub fn base(&self) -> Self {
        match self.split_revision() {
            (_, 0) => self.clone(),
            (base, _) => Self(base.into()),
        }
    }

    /// The same version released once more, since its config or declaration changed: `1.0.0-r2`.
    pub fn revised(&self, revision: u32) -> Result<Self, super::NameError> {
        Self::parse(&format!("{}-r{revision}", self.base()))
    }

    fn split_revision(&self) -> (&str, u32) {
        let split = self.as_str().rsplit_once("-r").and_then(|(base, n)| Some((base, n.parse::<u32>().ok()?)));
        split.filter(|(base, n)| !base.is_empty() && *n > 1).unwrap_or((self.as_str(), 0))
    }

    fn semver(text: &str) -> Option<semver::Version> {
        let text = text.strip_prefix('v').unwrap_or(text);
        semver::Version::parse(text).or_else(|_| semver::Version::parse(&format!("{text}.0"))).ok()
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    /// Semver precedence; whatever is no semver comes before all that is, so that `latest` never counts as newest.
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0 == other.0 {
            return Ordering::Equal;
        }
        let ((base, revision), (other_base, other_revision)) = (self.split_revision(), other.split_revision());
        match (Self::semver(base), Self::semver(other_base)) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            (None, None) => natural(base, other_base),
        }
        .then_with(|| revision.cmp(&other_revision))
        .then_with(|| self.as_str().cmp(other.as_str()))
    }
}

/// Compares runs of digits as numbers and everything else as text: `build9` before `build10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (head_a, rest_a) = run(a);
        let (head_b, rest_b) = run(b);
        let order = match (head_a.parse::<u128>(), head_b.parse::<u128>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => head_a.cmp(head_b),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}

/// Splits off the leading run of characters that are all digits or all not.
fn run(text: &str) -> (&str, &str) {
    let digit = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn versions_order_by_semver_then_by_number() {
        let ordered = [
            "build9",
            "build10",
            "latest",
            "0.0.9",
            "0.0.10",
            "1.0.0-rc1",
            "1.0.0",
            "1.0.0-r2",
            "1.0.0-r10",
            "1.1",
            "v1.2.0",
            "2.0.0",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} is not before {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn what_could_be_a_path_or_an_option_is_no_version() {
        for bad in ["", ".", "..", "-v", "a/b", "1..2", "a b", "1\n", "$x", &"1".repeat(65), "é", "1+2"] {
            assert!(Version::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_ordinal_is_not_a_version() {
        assert!(Version::looks_like_version("1.0.1") && Version::looks_like_version("v2.0"));
        assert!(
            !Version::looks_like_version("2")
                && !Version::looks_like_version("web")
                && !Version::looks_like_version("v")
        );
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[a-z0-9][a-z0-9.]{0,6}", b in "[a-z0-9][a-z0-9.]{0,6}", c in "[a-z0-9][a-z0-9.]{0,6}") {
            let parsed: Result<Vec<_>, _> = [a, b, c].iter().map(|t| Version::parse(t)).collect();
            if let Ok(mut v) = parsed {
                v.sort();
                prop_assert!(v[0] <= v[1] && v[1] <= v[2] && v[0] <= v[2]);
                prop_assert_eq!(v[0].cmp(&v[1]).reverse(), v[1].cmp(&v[0]));
            }
        }
    }
}
