//! What answers for names.

use std::net::IpAddr;
use std::sync::Arc;

use crate::core::names::HostName;
use crate::core::zone::Zone;

#[async_trait::async_trait]
pub trait Resolver: Send + Sync {
    /// From now on answers come from this zone. Never blocks: readers hold the zone they began with.
    fn publish(&self, zone: Arc<Zone>);
    /// Where a name leads, as this machine sees it: one of ours or any other.
    ///
    /// # Errors
    /// It has no address, or nobody could be asked.
    async fn look_up(&self, name: &HostName) -> Result<IpAddr, String>;
}
