//! Links that log a browser in once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::core::digest::sha256;

/// A link that nobody followed within this time opens nothing.
pub const LINK: Duration = Duration::from_secs(300);
/// Links of one token that wait to be followed; of more the oldest opens nothing any more.
pub const LINKS: usize = 20;
/// Links that were made and not followed yet, oldest first.
#[derive(Default)]
pub struct Links(Mutex<Vec<Link>>);

struct Link {
    /// Of its code.
    digest: String,
    /// The token that it was made with.
    root: String,
    until: Timestamp,
}

impl Links {
    /// How many wait.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn add(&self, code: &str, root: &str, now: Timestamp) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.until > now);
        if links.iter().filter(|link| link.root == root).count() >= LINKS
            && let Some(oldest) = links.iter().position(|link| link.root == root)
        {
            links.remove(oldest);
        }
        links.push(Link { digest: sha256(code), root: root.to_owned(), until: now + LINK });
    }

    /// The token that the link was made with; it opens nothing any more.
    pub fn take(&self, code: &str, now: Timestamp) -> Option<String> {
        let (mut links, digest) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), sha256(code));
        let at = links.iter().position(|link| link.digest == digest)?;
        let link = links.remove(at);
        (link.until > now).then_some(link.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_not_for_long() {
        let (links, now) = (Links::default(), Timestamp::UNIX_EPOCH);
        links.add("a", "root", now);
        links.add("b", "root", now);
        assert!(links.take("a", now).is_some() && links.take("a", now).is_none());
        assert!(links.take("b", now + LINK).is_none() && links.take("c", now).is_none());
    }

    #[test]
    fn of_too_many_links_of_one_token_the_oldest_is_dead() {
        let (links, now) = (Links::default(), Timestamp::UNIX_EPOCH);
        links.add("other", "b", now);
        (0..=LINKS).for_each(|n| links.add(&n.to_string(), "a", now));
        assert_eq!(links.take("0", now), None);
        assert_eq!((links.take("1", now).as_deref(), links.take("other", now).as_deref()), (Some("a"), Some("b")));
    }
}
