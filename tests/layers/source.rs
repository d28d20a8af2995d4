//! Files below `src/` as the guard sees them: without what is behind `#[cfg(test)]`, comments and strings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::visit_mut::VisitMut;

/// The segments of a path, such as `crate`, `core`, `names`.
pub type Names = Vec<String>;

/// One file.
pub struct Source {
    /// Below `src/`, such as `core/plan/zone.rs`.
    pub path: String,
    pub lines: usize,
    /// Its modules that stand in it, itself first, by their whole names.
    pub modules: Vec<Module>,
    /// Behind `#[cfg(test)]`, by itself or by what declares it.
    pub is_test: bool,
    /// Functions of more lines than are allowed without a word: name and lines.
    pub long: Vec<(String, usize)>,
    /// The code alone, its tokens apart by blanks.
    pub code: String,
}

/// A module and what is seen from inside it.
#[derive(Default)]
pub struct Module {
    pub name: Names,
    /// Functions, types, constants, traits, macros of its own, and its child modules.
    pub items: Vec<String>,
    pub imports: Vec<Import>,
    /// Every `a::b::c` in its code.
    pub paths: Vec<Names>,
    /// Child modules of other files that are only there for tests.
    pub test_children: Vec<String>,
}

/// What one `use` brings under one name.
pub struct Import {
    /// `*` for everything.
    pub name: String,
    pub path: Names,
    /// A re-export is a signpost: who follows it depends on what it leads to, and who puts it up on nothing.
    pub is_public: bool,
}

/// Every file below `src/`, in the order of their paths.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let texts = files.iter().map(|file| {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        (path, fs::read_to_string(file).unwrap())
    });
    read(&texts.collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Files by their paths below `src/`, with their texts.
pub fn read(texts: &BTreeMap<String, String>) -> Vec<Source> {
    let mut sources: Vec<Source> = texts.iter().map(|(path, text)| parse(path, text)).collect();
    let tests: Vec<Names> = sources.iter().flat_map(|s| &s.modules).flat_map(test_files).collect();
    for source in &mut sources {
        source.is_test = tests.iter().any(|test| source.modules[0].name.starts_with(test));
    }
    sources
}

fn test_files(module: &Module) -> impl Iterator<Item = Names> {
    module.test_children.iter().map(|child| [&module.name[..], std::slice::from_ref(child)].concat())
}

fn parse(path: &str, text: &str) -> Source {
    let mut file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let long = Lengths::of(&file);
    let (mut modules, mut test_children) = (Vec::new(), Vec::new());
    for item in &file.items {
        if let syn::Item::Mod(module) = item
            && module.content.is_none()
            && is_for_tests(&module.attrs)
        {
            test_children.push(module.ident.to_string());
        }
    }
    WithoutTests.visit_file_mut(&mut file);
    module(names_of(path), &file.items, &mut modules);
    modules[0].test_children = test_children;
    let code = file.to_token_stream().to_string();
    Source { path: path.to_owned(), lines: text.lines().count(), modules, is_test: false, long, code }
}

/// `core/plan/mod.rs` is `crate::core::plan`.
fn names_of(path: &str) -> Names {
    let parts = path.trim_end_matches(".rs").split('/').filter(|part| !["mod", "lib", "main"].contains(part));
    std::iter::once("crate").chain(parts).map(str::to_owned).collect()
}

fn module(name: Names, items: &[syn::Item], modules: &mut Vec<Module>) {
    let at = modules.len();
    modules.push(Module { name: name.clone(), ..Module::default() });
    for item in items {
        match item {
            syn::Item::Use(import) => {
                let is_public = !matches!(import.vis, syn::Visibility::Inherited);
                imports(&import.tree, Vec::new(), is_public, &mut modules[at].imports);
            }
            syn::Item::Mod(inner) => {
                modules[at].items.push(inner.ident.to_string());
                if let Some((_, items)) = &inner.content {
                    module([&name[..], &[inner.ident.to_string()]].concat(), items, modules);
                }
            }
            other => {
                modules[at].items.extend(ident(other));
                paths(other.to_token_stream(), &mut modules[at].paths);
            }
        }
    }
}

fn ident(item: &syn::Item) -> Option<String> {
    let ident = match item {
        syn::Item::Const(i) => &i.ident,
        syn::Item::Enum(i) => &i.ident,
        syn::Item::Fn(i) => &i.sig.ident,
        syn::Item::Macro(i) => i.ident.as_ref()?,
        syn::Item::Static(i) => &i.ident,
        syn::Item::Struct(i) => &i.ident,
        syn::Item::Trait(i) => &i.ident,
        syn::Item::Type(i) => &i.ident,
        syn::Item::Union(i) => &i.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn imports(tree: &syn::UseTree, mut before: Names, is_public: bool, found: &mut Vec<Import>) {
    let (name, last) = match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            return imports(&path.tree, before, is_public, found);
        }
        syn::UseTree::Group(group) => {
            return group.items.iter().for_each(|tree| imports(tree, before.clone(), is_public, found));
        }
        syn::UseTree::Name(name) => (name.ident.to_string(), Some(name.ident.to_string())),
        syn::UseTree::Rename(rename) => (rename.rename.to_string(), Some(rename.ident.to_string())),
        syn::UseTree::Glob(_) => ("*".to_owned(), None),
    };
    // `use a::{self}` is `use a`.
    let is_self = last.as_deref() == Some("self");
    let name = if is_self && name == "self" { before.last().cloned().unwrap_or_default() } else { name };
    before.extend(last.filter(|_| !is_self));
    found.push(Import { name, path: before, is_public });
}

/// Every run of names with `::` between them, also inside of macros.
fn paths(tokens: TokenStream, found: &mut Vec<Names>) {
    let mut path = Names::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                colons += 1;
                continue;
            }
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    found.extend(Some(std::mem::take(&mut path)).filter(|path| !path.is_empty()));
                }
                path.push(ident.to_string());
            }
            other => {
                found.extend(Some(std::mem::take(&mut path)).filter(|path| !path.is_empty()));
                if let TokenTree::Group(group) = other {
                    paths(group.stream(), found);
                }
            }
        }
        colons = 0;
    }
    found.extend(Some(path).filter(|path| !path.is_empty()));
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| {
        a.path().is_ident("test")
            || a.path().is_ident("cfg") && a.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// Takes out what is behind `#[cfg(test)]`.
struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| !is_for_tests(attributes(item)));
        syn::visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| !is_for_tests(attributes(item)));
        }
        syn::visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
        item.items.retain(|item| match item {
            syn::ImplItem::Fn(function) => !is_for_tests(&function.attrs),
            syn::ImplItem::Const(constant) => !is_for_tests(&constant.attrs),
            _ => true,
        });
        syn::visit_mut::visit_item_impl_mut(self, item);
    }

    /// Comments are no code: not even those that are shown.
    fn visit_attributes_mut(&mut self, attributes: &mut Vec<syn::Attribute>) {
        attributes.retain(|a| !a.path().is_ident("doc"));
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(i) => &i.attrs,
        syn::Item::Enum(i) => &i.attrs,
        syn::Item::Fn(i) => &i.attrs,
        syn::Item::Impl(i) => &i.attrs,
        syn::Item::Macro(i) => &i.attrs,
        syn::Item::Mod(i) => &i.attrs,
        syn::Item::Static(i) => &i.attrs,
        syn::Item::Struct(i) => &i.attrs,
        syn::Item::Trait(i) => &i.attrs,
        syn::Item::Type(i) => &i.attrs,
        syn::Item::Use(i) => &i.attrs,
        _ => &[],
    }
}

/// Functions that are longer than one screen, and say nothing about why.
struct Lengths(Vec<(String, usize)>);

impl Lengths {
    const SCREEN: usize = 60;

    fn of(file: &syn::File) -> Vec<(String, usize)> {
        let mut lengths = Self(Vec::new());
        lengths.visit_file(file);
        lengths.0
    }

    fn note(&mut self, signature: &syn::Signature, block: &syn::Block, attributes: &[syn::Attribute]) {
        let lines = block.span().end().line - signature.span().start().line + 1;
        if lines > Self::SCREEN && !attributes.iter().any(|a| a.path().is_ident("doc")) {
            self.0.push((signature.ident.to_string(), lines));
        }
    }
}

impl<'ast> Visit<'ast> for Lengths {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block, &function.attrs);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block, &function.attrs);
        syn::visit::visit_impl_item_fn(self, function);
    }
}
