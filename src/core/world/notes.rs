//! What is noted of the world without anything being seen or recorded.

use crate::core::container::ContainerId;
use crate::core::names::AppName;

/// What changes in the picture of the world by thinking alone.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Instances that are taken out of service from now on.
    pub retire: Vec<ContainerId>,
    /// Apps whose routes are wanted in another way than nginx refused them.
    pub released: Vec<AppName>,
}
