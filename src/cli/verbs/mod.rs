//! One file a verb, or a few that share their shape.

pub mod apps;
pub mod config;
pub mod dashboard;
pub mod deploy;
pub mod dns;
pub mod doctor;
pub mod down;
pub mod history;
pub mod kv;
pub mod logs;
pub mod push;
pub mod render;
pub mod repository;
pub mod resolver;
pub mod services;
pub mod shell;
pub mod status;
pub mod steer;
pub mod token;
pub mod up;
pub mod watch;
pub mod why;
