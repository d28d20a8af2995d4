//! What every request passes on its way to a handler, and what handlers are given of it.

pub mod access;
pub mod asker;
pub mod by;
pub mod cut;
pub mod known;
pub mod once;
pub mod plain;
pub mod sent;
pub mod settled;
pub mod slice;
pub mod table;
