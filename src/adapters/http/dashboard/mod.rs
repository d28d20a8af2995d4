//! The dashboard: pages made here from the same snapshot that the API reads, and forms that send the same commands.
//!
//! Every page reads, and every action works, without JavaScript; one small script keeps open pages true.

pub mod act;
pub mod app;
mod assets;
mod chart;
pub mod forms;
mod links;
pub mod live;
pub mod login;
pub mod pages;
mod rows;

pub use assets::{build, file};
pub use links::{LINKS, Links};
