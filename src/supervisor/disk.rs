//! How much room is left where the platform keeps things: looked at every few seconds, told when it has changed.

use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::time::sleep;

use super::tasks::Tasks;
use crate::core::disk::Disk;
use crate::core::world::Fact;
use crate::ports::inbox::Inbox;
use crate::settings::Settings;

const INTERVAL: Duration = Duration::from_secs(2);

pub fn follow(tasks: &mut Tasks, settings: &Settings, inbox: Inbox) {
    let places = [("state", settings.state.clone()), ("repository", settings.repository.path.clone())];
    tasks.renewed("look at the disks", move || {
        let (places, inbox) = (places.clone(), inbox.clone());
        async move {
            let mut told = None;
            loop {
                let looked = places.clone();
                let look = move || looked.iter().filter_map(|(what, path)| disk(what, path)).collect::<Vec<_>>();
                // A file system whose server is away may block.
                let Ok(found) = tokio::task::spawn_blocking(look).await else { return "looking failed".into() };
                if told.as_ref() != Some(&told_of(&found)) {
                    told = Some(told_of(&found));
                    inbox.tell(Fact::Disks(found));
                }
                sleep(INTERVAL).await;
            }
        }
    });
}

/// What people would be told of the disks.
fn told_of(disks: &[Disk]) -> Vec<Option<String>> {
    disks.iter().map(|disk| disk.shortage().map(|shortage| disk.reason(shortage))).collect()
}

/// The disk of a folder; `None` where that cannot be told.
pub fn disk(what: &str, path: &Path) -> Option<Disk> {
    let found = statvfs(path).ok()?;
    Some(Disk {
        place: format!("the {what} folder {}", path.display()).into(),
        free: found.blocks_available().saturating_mul(found.fragment_size()),
        total: found.blocks().saturating_mul(found.fragment_size()),
        free_files: found.files_available(),
        files: found.files(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_folder_is_found_and_that_of_none_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let found = disk("state", folder.path()).unwrap();
        assert!(found.total > 0 && found.free <= found.total && found.place.contains("state"));
        assert!(disk("state", &folder.path().join("missing")).is_none());
    }
}
