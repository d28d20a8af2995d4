//! What finds out whether instances can take requests. Verdicts arrive as facts.

use crate::core::world::ProbeTarget;

pub trait Prober: Send + Sync {
    /// From now on exactly these are probed. Only changes of verdict are reported, and each first one.
    fn probe(&self, targets: &[ProbeTarget]);
}
