//! Labels of images that were asked for once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::labels::ImageLabels;

/// Images whose labels are remembered: an image never changes.
const IMAGES: usize = 4096;

/// By the ids of images; a name may come to mean another one.
#[derive(Default)]
pub struct Images(Mutex<HashMap<String, ImageLabels>>);

impl Images {
    pub fn get(&self, id: &str) -> Option<ImageLabels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub fn keep(&self, id: String, labels: ImageLabels) {
        let mut images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if images.len() >= IMAGES {
            images.clear();
        }
        images.insert(id, labels);
    }
}
