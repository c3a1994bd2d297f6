//! What was said of an object while its status could not be written, so that the next attempt does not say it
//! again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// An Event's type and reason.
pub type Said = (&'static str, &'static str);

/// By the object's uid. Only objects whose last status write failed are in it.
#[derive(Debug, Default)]
pub struct Unwritten(Mutex<HashMap<String, Vec<Said>>>);

impl Unwritten {
    /// What was said of this object since its status was last written.
    #[must_use]
    pub fn of(&self, uid: &str) -> Vec<Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default()
    }

    /// Adds what was said, or forgets all once the status was written (`None`).
    pub fn note(&self, uid: &str, said: Option<&Vec<Said>>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match said {
            Some(said) if !said.is_empty() => all.entry(uid.to_owned()).or_default().extend(said),
            Some(_) => {}
            None => {
                all.remove(uid);
            }
        }
    }
}
