//! Routes → nginx text.
//!
//! In: [`Routes`](crate::core::routes::Routes) of checked names, the frame they stand in, templates. Out: the files of one generation.
//! Templates see only checked values, so nothing needs escaping; what they make is nginx's to judge.

mod markers;
mod renderer;
mod split;
mod upstream;
mod view;

pub use markers::app_at_line;
pub use renderer::Renderer;
pub use view::{Features, Frame, Listeners, release_of};

/// A generation as text: the block for nginx's `http {}`, and the main file around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub http: String,
    pub main: String,
}

/// A template that cannot be used: which, and what Tera says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {template}: {reason}")]
pub struct RenderError {
    pub template: String,
    pub reason: String,
}
