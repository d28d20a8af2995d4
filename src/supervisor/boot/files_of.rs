//! Files of people that are followed: the repository and the templates.

use std::path::PathBuf;
use std::sync::Arc;

use crate::adapters::files::{self, Tree};
use crate::core::templates::Templates;
use crate::core::world::Fact;
use crate::ports::inbox::Inbox;
use crate::supervisor::tasks::Tasks;

/// Scans the repository anew whenever it changes.
pub(super) fn watch_repository(tasks: &mut Tasks, tree: Tree) {
    tasks.renewed("watch the repository", move || {
        let tree = tree.clone();
        async move {
            let scanned = tree.clone();
            files::watch(tree.root(), move || scanned.rescan(false)).await
        }
    });
}

pub(super) async fn watch_templates(folder: PathBuf, first: Arc<Templates>, inbox: Inbox) -> String {
    let last = Arc::new(std::sync::Mutex::new(first));
    let path = folder.clone();
    files::watch(&folder, move || {
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match files::load_templates(&path) {
            Ok(read) if read != **last => {
                *last = Arc::new(read);
                inbox.tell(Fact::TemplatesLoaded(last.clone()));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "templates cannot be read, the last ones stay in use"),
        }
    })
    .await
}
