//! What follows from the world: routes, names, probes, and the acts that are still to be done.
//!
//! In: the [`World`](crate::core::world::World) and `now`. Out: a [`Plan`]. Pure and repeatable: asked twice, it answers the same; what
//! has been begun is in the world, so nothing is asked for twice.

mod ahead;
mod declared;
mod deploy;
mod diff;
mod due;
mod fleet;
mod gate;
mod networks;
mod outcome;
mod problems;
mod routes;
mod services;
mod zone;

pub use ahead::ahead;
pub use diff::plan;
pub use due::due;
pub use outcome::Plan;
