//! Which file a name in the code means.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Import, Module, Names, Source};

/// So many signposts are followed for one name.
const SIGNPOSTS: usize = 8;

/// All modules by their names, each with the file in which it stands.
pub struct Index<'s>(BTreeMap<&'s [String], (&'s Source, &'s Module)>);

impl<'s> Index<'s> {
    pub fn new(sources: &'s [Source]) -> Self {
        let all = sources.iter().filter(|source| source.path != "main.rs");
        Self(all.flat_map(|source| source.modules.iter().map(move |m| (&m.name[..], (source, m)))).collect())
    }

    /// The files that the code of this one needs, each with one name that it takes from there: where it is defined,
    /// whatever re-exports lie between.
    pub fn needs<'n>(&self, source: &'n Source) -> BTreeMap<&'s str, &'n str> {
        let mut needs = BTreeMap::new();
        let last = |path: &'n Names| path.last().map_or("", String::as_str);
        for module in &source.modules {
            for import in module.imports.iter().filter(|import| !import.is_public) {
                let file = self.file(&module.name, &import.path, SIGNPOSTS, import.name == "*");
                needs.extend(file.map(|file| (file, last(&import.path))));
            }
            for path in module.paths.iter().filter(|path| path.len() > 1) {
                needs.extend(self.file(&module.name, path, SIGNPOSTS, false).map(|file| (file, last(path))));
            }
        }
        needs.remove(&*source.path);
        needs
    }

    /// The crates that the code of a file names, by the first part of what leads out of it.
    pub fn crates<'n>(&self, source: &'n Source) -> BTreeSet<&'n str> {
        let mut crates = BTreeSet::new();
        for module in &source.modules {
            let own = |name: &str| self.looks_up(&module.name, name).is_some();
            let imported = module.imports.iter().map(|import| &import.path);
            let named = module.paths.iter().filter(|path| path.len() > 1);
            let outside = imported.chain(named).filter_map(|path| path.first()).filter(|first| !own(first));
            crates.extend(outside.map(String::as_str));
        }
        crates
    }

    /// Where in the crate a name leads that stands first in a path.
    fn looks_up(&self, module: &[String], first: &str) -> Option<Names> {
        match first {
            "crate" | "platformer" => Some(vec!["crate".to_owned()]),
            "self" => Some(module.to_vec()),
            "super" => Some(module[..module.len() - 1].to_vec()),
            name => {
                let (_, there) = self.0.get(module)?;
                let child = [module, &[name.to_owned()]].concat();
                if self.0.contains_key(&child[..]) {
                    return Some(child);
                }
                let import = there.imports.iter().find(|import| import.name == name)?;
                // `use tokio::fs` names a crate, unless it is a name of ours.
                let first = import.path.first()?;
                (first != name && self.looks_up(module, first).is_some())
                    .then(|| self.absolute(module, &import.path))?
            }
        }
    }

    /// The path from the crate's root; none where it leads out of the crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        let mut names = self.looks_up(module, first)?;
        for name in rest {
            if name == "super" {
                names.pop();
            } else {
                names.push(name.clone());
            }
        }
        Some(names)
    }

    fn file(&self, module: &[String], path: &[String], signposts: usize, whole: bool) -> Option<&'s str> {
        let names = self.absolute(module, path)?;
        self.defined(&names, signposts, whole)
    }

    /// The file that defines what a path from the root means. The module alone needs nothing: what is taken from it
    /// does; `whole`, if all of it is taken.
    fn defined(&self, names: &[String], signposts: usize, whole: bool) -> Option<&'s str> {
        let depth = (1..=names.len()).rev().find(|n| self.0.contains_key(&names[..*n]))?;
        let (source, module) = self.0.get(&names[..depth])?;
        let Some(name) = names.get(depth) else {
            return whole.then_some(&*source.path);
        };
        if module.items.contains(name) || signposts == 0 {
            return Some(&source.path);
        }
        let leads = |import: &&Import| import.name == *name;
        if let Some(import) = module.imports.iter().find(leads) {
            let rest = [&import.path[..], &names[depth + 1..]].concat();
            return self.file(&module.name, &rest, signposts - 1, whole);
        }
        let mut globs = module.imports.iter().filter(|import| import.name == "*");
        let behind = |import: &Import| {
            let path = [&import.path[..], &names[depth..]].concat();
            self.file(&module.name, &path, signposts - 1, whole)
        };
        globs.find_map(behind).or(Some(&source.path))
    }
}
