//! What answers for names.

use std::sync::Arc;

use crate::core::zone::Zone;

pub trait Resolver: Send + Sync {
    /// From now on answers come from this zone. Never blocks: readers hold the zone they began with.
    fn publish(&self, zone: Arc<Zone>);
}
