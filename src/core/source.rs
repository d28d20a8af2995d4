//! What was found at an app's source, and which version of it is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::app::Source;
use super::names::Version;

/// What was found at an app's source at one moment. A part is `None` where the app names no such place.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub at: Timestamp,
    pub images: Option<Result<Images, String>>,
    pub git: Option<Result<Git, String>>,
}

impl Look {
    pub fn images(&self) -> Option<&Images> {
        self.images.as_ref()?.as_ref().ok()
    }

    pub fn git(&self) -> Option<&Git> {
        self.git.as_ref()?.as_ref().ok()
    }

    /// Why places could not be looked at.
    pub fn errors(&self) -> impl Iterator<Item = &String> {
        let images = self.images.as_ref().and_then(|found| found.as_ref().err());
        images.into_iter().chain(self.git.as_ref().and_then(|found| found.as_ref().err()))
    }
}

/// The newest version that is meant for everyone.
pub fn newest_release<'v>(versions: impl IntoIterator<Item = &'v Version>) -> Option<&'v Version> {
    versions.into_iter().filter(|version| version.is_release()).max()
}

/// The tags of an image that are versions. Digests are asked only of those that matter.
pub type Images = BTreeMap<Version, Option<Arc<str>>>;

/// What a git repository has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Git {
    /// Tags that are versions.
    pub tags: Vec<Version>,
    /// The commit that the main branch is at, 40 or 64 hex digits.
    pub head: Option<Arc<str>>,
    /// Commits on the main branch that are in no such tag.
    pub untagged: Option<u32>,
}

/// A version that an app is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub version: Version,
    /// Of the image's manifest or of the artefact; empty where it is not known.
    pub digest: String,
    /// What is missing before it can be deployed.
    pub waits_for: Option<&'static str>,
}

/// The version that the places tell of, or the one that is pinned. `artefacts` are the repository's, with their
/// SHA-256. Without a pin only what is a release counts: `2.0.0-rc1` is looked at by hand.
pub fn wanted(
    source: &Source,
    found: Option<&Look>,
    artefacts: &BTreeMap<Version, Arc<str>>,
    pin: Option<&Version>,
) -> Option<Wanted> {
    let images = found.and_then(Look::images);
    let version = match (pin, &source.git, &source.image) {
        (Some(pin), ..) => pin.clone(),
        (None, Some(_), _) => newest_release(&found.and_then(Look::git)?.tags)?.clone(),
        (None, None, Some(_)) => newest_release(images?.keys())?.clone(),
        (None, None, None) => artefacts.keys().next_back()?.clone(),
    };
    // A tag of git may be spelled otherwise than the image's, by which it is pulled.
    let spelled = |there: &Version| if *there == version { there.clone() } else { version.clone() };
    let (version, digest, waits_for) = match &source.image {
        Some(_) => match images.and_then(|images| images.get_key_value(&version.base())) {
            Some((tag, digest)) => (spelled(tag), digest.as_deref().unwrap_or_default().to_owned(), None),
            None => (version, String::new(), Some("image")),
        },
        None => match artefacts.get_key_value(&version.base()) {
            Some((folder, sha256)) => (spelled(folder), sha256.to_string(), None),
            None => (version, String::new(), Some("artefact")),
        },
    };
    Some(Wanted { version, digest, waits_for })
}

/// Whether two texts name the same git repository: `https://host/a/b.git` and `git@host:a/b` do.
pub fn is_same_repository(a: &str, b: &str) -> bool {
    let plain = |text: &str| {
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
        let rest = rest.trim_end_matches('/').trim_end_matches(".git").to_ascii_lowercase();
        match text.contains("://") {
            true => rest,
            false => rest.replacen(':', "/", 1),
        }
    };
    !a.is_empty() && plain(a) == plain(b)
}

/// A repository of images in full, with the registry that Docker means where none is named.
pub fn full_image(repository: &str) -> String {
    let first = repository.split('/').next().unwrap_or_default();
    match repository.split_once('/') {
        Some(_) if first.contains(['.', ':']) || first == "localhost" => repository.to_owned(),
        Some(_) => format!("docker.io/{repository}"),
        None => format!("docker.io/library/{repository}"),
    }
}

/// The registry of an image's repository, by the name under which `docker login` keeps its credentials.
pub fn login_of(repository: &str) -> String {
    match full_image(repository).split_once('/') {
        Some(("docker.io", _)) | None => "https://index.docker.io/v1/".to_owned(),
        Some((registry, _)) => registry.to_owned(),
    }
}

/// The tags that are versions; others, such as `latest`, name no release.
pub fn versions<T: AsRef<str>>(tags: impl IntoIterator<Item = T>) -> impl Iterator<Item = Version> {
    let parsed = tags.into_iter().filter_map(|tag| Version::parse(tag.as_ref()).ok());
    parsed.filter(|version| Version::looks_like_version(version.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::app::GitUrl;
    use crate::core::names::ImageRef;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn found(images: &[&str], tags: Option<&[&str]>) -> Look {
        Look {
            at: Timestamp::UNIX_EPOCH,
            images: Some(Ok(images.iter().map(|v| (version(v), Some(format!("sha256:{v}").into()))).collect())),
            git: tags.map(|tags| Ok(Git { tags: tags.iter().map(|t| version(t)).collect(), ..Git::default() })),
        }
    }

    #[test]
    fn the_newest_release_is_wanted_and_waits_for_its_image() {
        let image = Source { image: ImageRef::parse("r:5000/shop").ok(), ..Source::default() };
        let both = Source { git: GitUrl::parse("/srv/shop.git").ok(), ..image.clone() };
        let none = BTreeMap::new();
        let of = |source: &Source, found: &Look, pin: Option<&str>| {
            let pin = pin.map(version);
            let wanted = wanted(source, Some(found), &none, pin.as_ref())?;
            Some((wanted.version.to_string(), wanted.waits_for))
        };
        let some = |version: &str, waits: Option<&'static str>| Some((version.to_owned(), waits));
        assert_eq!(of(&image, &found(&["0.9.0", "0.10.0", "1.0.0-rc1"], None), None), some("0.10.0", None));
        assert_eq!(of(&image, &found(&["0.9.0", "0.10.0"], None), Some("0.9.0")), some("0.9.0", None));
        assert_eq!(of(&image, &found(&[], None), None), None);
        assert_eq!(of(&both, &found(&["0.0.4"], Some(&["0.0.4", "0.0.5"])), None), some("0.0.5", Some("image")));
        assert_eq!(of(&both, &found(&["0.0.5", "0.0.9"], Some(&["0.0.5"])), None), some("0.0.5", None));
        assert_eq!(of(&both, &found(&["0.0.5"], None), None), None, "git has not been looked at");
        assert_eq!(of(&both, &found(&["3.5.0"], Some(&["v3.5.0"])), None), some("3.5.0", None), "the image's own tag");
        let by_date = ["2025.09.3", "2025.12.31", "2026.01.2", "2026.02.0"];
        assert_eq!(of(&image, &found(&by_date, None), None), some("2026.02.0", None));
        let artefacts = BTreeMap::from([(version("2.0"), Arc::from("abc"))]);
        let from_repository = wanted(&Source::default(), None, &artefacts, None).unwrap();
        assert_eq!((from_repository.version, from_repository.digest.as_str()), (version("2.0"), "abc"));
    }

    #[test]
    fn the_same_repository_is_known_in_each_spelling() {
        for (a, b, same) in [
            ("https://host/org/app.git", "git@host:org/app", true),
            ("https://host/org/app", "ssh://git@host/org/app.git", true),
            ("https://host/org/app", "https://HOST/Org/App/", true),
            ("https://host/org/app", "https://host/org/other", false),
            ("https://host/org/app", "https://evil/org/app", false),
            ("", "", false),
        ] {
            assert_eq!(is_same_repository(a, b), same, "{a} {b}");
        }
        assert_eq!(full_image("org/app"), "docker.io/org/app");
        assert_eq!(full_image("nginx"), "docker.io/library/nginx");
        assert_eq!(full_image("r:5000/app"), "r:5000/app");
    }

    #[test]
    fn only_tags_that_are_versions_count() {
        let read: Vec<String> =
            versions(["1.0", "v1.2.3", "latest", "../../x", "-v", "main", "2024-01"]).map(|v| v.to_string()).collect();
        assert_eq!(read, ["1.0", "v1.2.3"]);
    }
}
