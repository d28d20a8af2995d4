//! Who depends on whom, and the circles in it.

use std::collections::{BTreeMap, BTreeSet};

/// Names with the names that each depends on, and what for.
#[derive(Default)]
pub struct Graph(BTreeMap<String, BTreeMap<String, String>>);

impl Graph {
    /// Nothing depends on itself.
    pub fn add(&mut self, from: &str, to: &str, what: &str) {
        if from != to {
            self.0.entry(from.to_owned()).or_default().insert(to.to_owned(), what.to_owned());
        }
    }

    /// Each circle with the arrows that make it one.
    pub fn circles(&self) -> Vec<String> {
        let told = |circle: Vec<&str>| {
            let all = circle.iter().filter_map(|name| Some((name, self.0.get(*name)?)));
            let arrows = all.flat_map(|(from, needs)| needs.iter().map(move |(to, what)| (from, to, what)));
            let inside = arrows.filter(|(_, to, _)| circle.contains(&to.as_str()));
            let arrows: String =
                inside.map(|(from, to, what)| format!("\n    {from} takes {what} from {to}")).collect();
            format!("{}{arrows}", circle.join(", "))
        };
        self.groups().into_iter().map(told).collect()
    }

    /// Those in which each reaches each, in the order of their names.
    fn groups(&self) -> Vec<Vec<&str>> {
        let reached: BTreeMap<&str, BTreeSet<&str>> = self.0.keys().map(|name| (&**name, self.reached(name))).collect();
        let mut circles = BTreeSet::new();
        for (name, all) in &reached {
            if all.contains(name) {
                let back = |other: &&str| reached.get(other).is_some_and(|from| from.contains(name));
                circles.insert(all.iter().copied().filter(back).collect::<Vec<_>>());
            }
        }
        circles.into_iter().collect()
    }

    fn reached<'g>(&'g self, from: &'g str) -> BTreeSet<&'g str> {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
        while let Some(at) = todo.pop() {
            todo.extend(
                self.0
                    .get(at)
                    .into_iter()
                    .flat_map(BTreeMap::keys)
                    .map(|next| &**next)
                    .filter(|next| seen.insert(*next)),
            );
        }
        seen
    }
}
