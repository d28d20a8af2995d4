//! The repository on disk: scanned, watched, changed.

mod archive;
mod beneath;
mod contents;
mod library;
mod scan;
mod templates;
mod watch;

pub use library::Tree;
pub use templates::load as load_templates;
pub use watch::watch;
