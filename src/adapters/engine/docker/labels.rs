//! Which labels of a container count, and the proof by which we know our own.
//!
//! An image's labels become its containers'. What an image says of route and port counts; who a container is, and
//! whose, only the one who starts it says. What we start gets every label of ours that its image has written over.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::core::container::label;
use crate::ports::engine::EngineError;
use crate::ports::seal::Seal;

/// Labels of ours that an image has; shared between its containers.
pub type ImageLabels = Arc<BTreeMap<String, String>>;

/// Labels of ours that are kept of one container or image, and how long a name and a value may be. What is longer
/// is cut, one character beyond what any reader takes.
const LABELS: usize = 64;
const NAME: usize = 128;
const VALUE: usize = 8193;

/// What is read from the labels of a container.
#[derive(Debug, Default, PartialEq)]
pub struct Read {
    pub labels: BTreeMap<String, String>,
    pub of_image: Vec<Arc<str>>,
    pub ours: bool,
}

/// The labels of ours among all that an image or a container has.
pub fn ours(all: HashMap<String, String>) -> BTreeMap<String, String> {
    let mut ours: Vec<_> = all.into_iter().filter(|(name, _)| name.starts_with(label::PREFIX)).collect();
    // Those that mean something come first, so that no number of others can push them out.
    ours.sort_by_key(|(name, _)| (!label::ALL.contains(&name.as_str()), name.clone()));
    let cut = |text: String, most: usize| match text.char_indices().nth(most) {
        Some((at, _)) => text.get(..at).unwrap_or_default().to_owned(),
        None => text,
    };
    ours.into_iter().take(LABELS).map(|(name, value)| (cut(name, NAME), cut(value, VALUE))).collect()
}

/// Tells a container's own labels from its image's; `None` where the image could not be asked: then only what an
/// image may say counts.
pub fn read(written: BTreeMap<String, String>, image: Option<&ImageLabels>, seal: Option<&Arc<dyn Seal>>) -> Read {
    let is_of_image = |name: &str, value: &str| image.is_none_or(|i| i.get(name).is_some_and(|own| own == value));
    let proof = written.get(label::PROOF).filter(|proof| image.is_none_or(|i| i.get(label::PROOF) != Some(proof)));
    let ours = proof.zip(seal).is_some_and(|(proof, seal)| seal.is_marked(&proven(&written), proof));
    if ours {
        return Read { labels: written, of_image: Vec::new(), ours };
    }
    let mut read = Read::default();
    for (name, value) in written {
        match label::OF_IMAGES.contains(&name.as_str()) || !is_of_image(&name, &value) {
            true => _ = read.labels.insert(name, value),
            false => read.of_image.push(name.into()),
        }
    }
    read
}

/// The labels of a container that we make: with the proof, and with nothing of ours left to its image.
///
/// # Errors
/// There are no random numbers.
pub fn stamp(
    mut labels: BTreeMap<String, String>,
    image: &ImageLabels,
    seal: Option<&Arc<dyn Seal>>,
) -> Result<HashMap<String, String>, EngineError> {
    for name in label::PROVEN.into_iter().chain(image.keys().map(String::as_str)) {
        labels.entry(name.to_owned()).or_default();
    }
    if let Some(seal) = seal {
        let proof = seal.mark(&proven(&labels)).map_err(EngineError::Refused)?;
        labels.insert(label::PROOF.to_owned(), proof);
    }
    Ok(labels.into_iter().collect())
}

/// What a proof is about. None of our values holds a line end.
fn proven(labels: &BTreeMap<String, String>) -> String {
    let value = |name: &str| labels.get(name).map_or("", String::as_str).replace('\n', " ");
    label::PROVEN.map(value).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::seal::KeptSeal;

    fn map(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn seal() -> Option<Arc<dyn Seal>> {
        Some(Arc::new(KeptSeal::new("a secret").unwrap()))
    }

    #[test]
    fn of_an_images_labels_only_route_and_port_count() {
        let said = [(label::APP, "shop"), (label::ROUTE, "true"), (label::PORT, "80"), (label::OWNER, "other")];
        let image = ImageLabels::new(map(&said));
        let got = read(map(&said), Some(&image), None);
        assert_eq!(got.labels, map(&[(label::ROUTE, "true"), (label::PORT, "80")]));
        assert_eq!(got.of_image, [label::APP.into(), Arc::from(label::OWNER)]);
        let own = read(map(&[(label::APP, "blog")]), Some(&image), None);
        assert_eq!(own.labels, map(&[(label::APP, "blog")]), "said by who started it");
        assert!(read(map(&said), None, None).labels.len() == 2, "an image that cannot be asked is believed no more");
    }

    #[test]
    fn what_we_start_is_known_by_its_proof_and_nothing_of_its_image_is_left() {
        let image = ImageLabels::new(map(&[(label::PORT, "http"), ("platformer.x", "y"), (label::DEPLOYMENT, "d")]));
        let labels = map(&[(label::APP, "shop"), (label::VERSION, "1.0"), (label::OWNER, "me")]);
        let made: BTreeMap<_, _> = stamp(labels.clone(), &image, seal().as_ref()).unwrap().into_iter().collect();
        for name in [label::PORT, "platformer.x", label::DEPLOYMENT] {
            assert_eq!(made.get(name).map(String::as_str), Some(""), "{name}");
        }
        assert!(read(made.clone(), Some(&image), seal().as_ref()).ours);
        assert!(!read(labels, Some(&image), seal().as_ref()).ours, "an owner's name proves nothing");
        for name in label::PROVEN {
            let other = made.clone().into_iter().chain(map(&[(name, "else")])).collect();
            assert!(!read(other, Some(&image), seal().as_ref()).ours, "{name} is proven");
        }
        // An image made from one of our containers has all of its labels.
        let copied = ImageLabels::new(made.clone());
        assert!(!read(made, Some(&copied), seal().as_ref()).ours);
    }

    #[test]
    fn no_number_and_length_of_labels_pushes_out_those_that_mean_something() {
        let many = (0..1000).map(|n| (format!("platformer.a{n}"), "x".repeat(1 << 14)));
        let all = many.chain([(label::APP.to_owned(), "shop".to_owned()), ("other".into(), "x".into())]).collect();
        let kept = ours(all);
        assert_eq!((kept.len(), kept.get(label::APP).map(String::as_str)), (LABELS, Some("shop")));
        assert!(kept.values().all(|value| value.len() <= VALUE) && !kept.contains_key("other"));
    }
}
