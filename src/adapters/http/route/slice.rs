//! A part of a list: `?limit=N&offset=N`, and how many there are in all.

use axum::http::HeaderName;
use serde::Deserialize;

/// The header with the number of entries before a limit was applied.
pub const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Slice {
    pub limit: Option<usize>,
    pub offset: usize,
}

impl Slice {
    /// The part that was asked for, and how many there were.
    pub fn of<T>(self, all: impl IntoIterator<Item = T>) -> (Vec<T>, usize) {
        let all: Vec<T> = all.into_iter().collect();
        let total = all.len();
        (all.into_iter().skip(self.offset).take(self.limit.unwrap_or(usize::MAX)).collect(), total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_out_and_the_whole_is_counted() {
        let slice = |limit, offset| Slice { limit, offset }.of(1..=5);
        assert_eq!(slice(None, 0), (vec![1, 2, 3, 4, 5], 5));
        assert_eq!(slice(Some(2), 1), (vec![2, 3], 5));
        assert_eq!(slice(Some(2), 9), (vec![], 5));
    }
}
