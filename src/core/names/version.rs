//! Versions of releases: which texts name the same one, and which comes first.
//!
//! A *numbered* version is one to many numbers with dots between them, after an optional `v`; with a dot something may
//! follow them, such as `-rc1`. Numbers compare as numbers, whether padded with zeros or not, so `v1.2.3` is `1.2.3` and
//! `2025.09` is `2025.9`. Each place keeps its own spelling; equality, order and hash do not see it.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::checked_name;

checked_name! {
    /// The version of a release: 1 to 64 of letters, digits, `.`, `_`, `-`, beginning with a letter or digit.
    /// It is part of file paths, container names and image tags, so it can be no path and no option.
    Version, "version", check, with an equality of its own
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

    /// Whether it is meant for everyone: two numbers at least, and nothing behind them.
    pub fn is_release(&self) -> bool {
        let read = Reading::of(self.split_revision().0);
        read.numbers.is_some_and(|numbers| numbers.contains('.')) && read.rest.is_empty()
    }

    /// The version without its revision: what the artefact's folder is called.
    pub fn base(&self) -> Self {
        match self.split_revision() {
            (_, 0) => self.clone(),
            (base, _) => Self(base.into()),
        }
    }

    /// The same version released once more, since its image, config or declaration changed: `1.0.0-r2`.
    pub fn revised(&self, revision: u32) -> Result<Self, super::NameError> {
        Self::parse(&format!("{}-r{revision}", self.base()))
    }

    /// One spelling for all that are equal, for names that only the platform reads.
    pub fn plain(&self) -> String {
        let (base, revision) = self.split_revision();
        let Reading { numbers: Some(numbers), rest } = Reading::of(base) else { return self.to_string() };
        let numbers: Vec<&str> =
            numbers.split('.').map(|number| if unpadded(number).is_empty() { "0" } else { unpadded(number) }).collect();
        let revision = if revision == 0 { String::new() } else { format!("-r{revision}") };
        format!("{}{rest}{revision}", numbers.join("."))
    }

    fn split_revision(&self) -> (&str, u32) {
        let split = self.as_str().rsplit_once("-r").filter(|(_, n)| !n.starts_with('0'));
        let split = split.and_then(|(base, n)| Some((base, n.parse::<u32>().ok()?)));
        split.filter(|(base, n)| !base.is_empty() && *n > 1).unwrap_or((self.as_str(), 0))
    }
}

/// A version without its revision, taken apart.
struct Reading<'t> {
    /// Digits and dots; `None` where it is no numbered version.
    numbers: Option<&'t str>,
    /// What follows them, or all of it.
    rest: &'t str,
}

impl<'t> Reading<'t> {
    fn of(text: &'t str) -> Self {
        let other = Self { numbers: None, rest: text };
        let plain = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let end = plain.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(plain.len());
        let (numbers, rest) = plain.split_at(end);
        if !numbers.starts_with(|c: char| c.is_ascii_digit()) {
            return other;
        }
        // A dot before a word belongs to the word: `1.0.Final`.
        let numbers = numbers.trim_end_matches('.');
        let rest = plain.get(numbers.len()..).unwrap_or(rest);
        // A single number with something behind it is a date, or the beginning of a commit.
        match rest.is_empty() || numbers.contains('.') {
            true => Self { numbers: Some(numbers), rest },
            false => other,
        }
    }
}

fn unpadded(number: &str) -> &str {
    number.trim_start_matches('0')
}

/// Compares runs of digits as numbers, however long they are.
fn by_number(a: &str, b: &str) -> Ordering {
    let (a, b) = (unpadded(a), unpadded(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Compares number by number; what is missing is 0, but `1.0` comes before `1.0.0`, which it is not.
fn by_numbers(a: &str, b: &str) -> (Ordering, Ordering) {
    let (count_a, count_b) = (a.split('.').count(), b.split('.').count());
    let zeros = std::iter::repeat("0");
    let pairs = a.split('.').chain(zeros.clone()).zip(b.split('.').chain(zeros)).take(count_a.max(count_b));
    let order = pairs.map(|(a, b)| by_number(a, b)).find(|order| order.is_ne());
    (order.unwrap_or(Ordering::Equal), count_a.cmp(&count_b))
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (base, revision) = self.split_revision();
        let Reading { numbers, rest } = Reading::of(base);
        numbers.into_iter().flat_map(|numbers| numbers.split('.')).for_each(|number| unpadded(number).hash(state));
        (rest, revision).hash(state);
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    /// By the numbers; what has something behind them comes before what has not, as a pre-release does. Whatever is
    /// not numbered comes before all that is, so that `latest` never counts as newest.
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0 == other.0 {
            return Ordering::Equal;
        }
        let ((base, revision), (other_base, other_revision)) = (self.split_revision(), other.split_revision());
        let (a, b) = (Reading::of(base), Reading::of(other_base));
        let rest = || {
            let has_none = a.rest.is_empty().cmp(&b.rest.is_empty());
            has_none.then_with(|| natural(a.rest, b.rest)).then_with(|| a.rest.cmp(b.rest))
        };
        match (a.numbers, b.numbers) {
            (Some(numbers), Some(other_numbers)) => {
                let (order, count) = by_numbers(numbers, other_numbers);
                order.then_with(rest).then(count)
            }
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            (None, None) => rest(),
        }
        .then_with(|| revision.cmp(&other_revision))
    }
}

/// Compares runs of digits as numbers and everything else as text: `build9` before `build10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (head_a, rest_a) = run(a);
        let (head_b, rest_b) = run(b);
        let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let order = match (is_number(head_a), is_number(head_b)) {
            (true, true) => by_number(head_a, head_b),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => head_a.cmp(head_b),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    (!a.is_empty()).cmp(&!b.is_empty())
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

    fn hash(version: &Version) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        version.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn versions_order_by_their_numbers() {
        let ordered = [
            "build9",
            "build10",
            "latest",
            "main",
            "0.0.9",
            "0.0.10",
            "1.0.0-rc2",
            "1.0.0-rc10",
            "1.0.0.Final",
            "1.0",
            "1.0.0",
            "1.0.0-r2",
            "1.0.0-r10",
            "1.1",
            "v1.2.0",
            "1.2.0.1",
            "2",
            "v3",
            "10",
            "2025.09.3",
            "2025.12.31",
            "2026.01.2",
            "2026.02.0",
            "2026.2.0.1",
            "99999999999999999999999999999999999999990",
            "99999999999999999999999999999999999999991",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} is not before {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn the_same_version_is_the_same_in_each_spelling() {
        for (a, b) in [
            ("v1.2.3", "1.2.3"),
            ("V1.2.3", "v1.2.3"),
            ("v1", "1"),
            ("2025.09.03", "2025.9.3"),
            ("v1.0.0-r2", "1.0.0-r2"),
            ("v1.0.0-rc1", "1.0.0-rc1"),
            ("1.00", "1.0"),
        ] {
            let (a, b) = (version(a), version(b));
            assert!(a == b && a.cmp(&b).is_eq() && hash(&a) == hash(&b) && a.plain() == b.plain(), "{a} {b}");
        }
        for (a, b) in [
            ("1.0", "1.0.0"),
            ("1.0.0", "1.0.0-r2"),
            ("1.0.0-rc1", "1.0.0-rc01"),
            ("build7", "build07"),
            ("vine", "ine"),
            ("0a1", "a1"),
        ] {
            assert!(version(a) != version(b), "{a} {b}");
        }
    }

    #[test]
    fn what_is_meant_for_everyone_has_numbers_only() {
        for good in ["1.0", "v3.5.0", "2025.09.3", "1.2.3.4", "1.0.0-r2"] {
            assert!(version(good).is_release(), "{good}");
        }
        for bad in ["1.0.0-rc1", "1.0.0rc1", "latest", "7", "2024-01", "1.0.0-alpine"] {
            assert!(!version(bad).is_release(), "{bad}");
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
        fn the_order_is_total_and_agrees_with_equality_and_hash(
            a in "v?[0-9ar][0-9ar.-]{0,6}", b in "v?[0-9ar][0-9ar.-]{0,6}", c in "v?[0-9ar][0-9ar.-]{0,6}"
        ) {
            let parsed: Result<Vec<_>, _> = [a, b, c].iter().map(|t| Version::parse(t)).collect();
            if let Ok(mut v) = parsed {
                v.sort();
                prop_assert!(v[0] <= v[1] && v[1] <= v[2] && v[0] <= v[2]);
                for pair in v.windows(2) {
                    prop_assert_eq!(pair[0].cmp(&pair[1]).reverse(), pair[1].cmp(&pair[0]));
                    prop_assert_eq!(pair[0] == pair[1], pair[0].plain() == pair[1].plain());
                    prop_assert!(pair[0] != pair[1] || hash(&pair[0]) == hash(&pair[1]));
                }
            }
        }
    }
}
