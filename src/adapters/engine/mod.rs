//! Engines: Docker. Another one is a folder beside it and a line in `supervisor::boot`.

pub mod docker;
