//! The objects of a list, page after page.

use super::backend::Page;
use super::failure::{Answer, Failure};
use crate::bounds::{Bounds, Endless, LARGEST_OBJECT};
use crate::error::ErrorKind;
use crate::key::Key;
use crate::store::Object;
use hubvault_model::excerpt;
use std::io;
use std::time::Duration;

/// Why a list is not believed that says twice where it goes on.
pub(crate) const REPEATED: &str = "its list repeats itself, so that nothing is known of what is there; ask the store's administrator";
/// The longest key that is shown.
const LONGEST: usize = 100;

impl From<Endless> for Failure {
    fn from(endless: Endless) -> Self {
        let mut failure = Self::new(endless.kind, endless.text);
        if failure.kind == ErrorKind::Unavailable {
            failure.cause = io::ErrorKind::TimedOut;
        }
        failure
    }
}

/// What is below a prefix, as far as it came.
#[derive(Debug)]
pub(crate) struct Listing {
    prefix: String,
    objects: Vec<Object>,
    bounds: Bounds,
    next: Option<String>,
}

impl Listing {
    /// Of what is below `prefix`, at a store that is waited for so long.
    pub(crate) fn new(prefix: &str, patience: Duration) -> Self {
        Self {
            prefix: prefix.to_owned(),
            objects: Vec::new(),
            bounds: Bounds::new(patience),
            next: None,
        }
    }

    /// Where the next page begins.
    pub(crate) fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// Takes a page; whether there is one more.
    pub(crate) fn add(&mut self, page: Page) -> Answer<bool> {
        let length = |(key, _, version): &(String, u64, Option<String>)| {
            key.len() + version.as_ref().map_or(0, String::len)
        };
        let text = page.objects.iter().map(length).sum();
        self.bounds.add(page.objects.len(), text)?;
        for (whole, bytes, version) in page.objects {
            // What others have put there is no object of this store.
            let key = whole.strip_prefix(&self.prefix).map(Key::parse);
            if let Some(Ok(key)) = key {
                check_size(key.as_str(), bytes)?;
                self.objects.push(Object {
                    version,
                    ..Object::plain(key, bytes)
                });
            }
        }
        if page.next.is_some() && page.next == self.next {
            return Err(Failure::new(ErrorKind::Failed, REPEATED));
        }
        self.next = page.next;
        Ok(self.next.is_some())
    }

    /// All that came, in the order of the keys.
    pub(crate) fn into_objects(self) -> Vec<Object> {
        let mut objects = self.objects;
        objects.sort_by(|one, other| one.key.cmp(&other.key));
        objects.dedup_by(|one, other| one.key == other.key);
        objects
    }
}

/// Refuses a size that no object has: what counts sizes would go wrong.
pub(crate) fn check_size(key: &str, bytes: u64) -> Answer<()> {
    if bytes <= LARGEST_OBJECT {
        return Ok(());
    }
    let key = excerpt(key, LONGEST);
    let text = format!("it says that {key} has {bytes} bytes, which no object has");
    Err(Failure::new(ErrorKind::Failed, text))
}
