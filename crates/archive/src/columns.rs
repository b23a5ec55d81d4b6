//! Lists of columns, of which a manifest has one for each table and each of its entries, mostly equal ones.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;

/// The columns of a table in their order. Copies share one list, and so do equal lists of a manifest that was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Columns(Arc<[String]>);

impl Default for Columns {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Deref for Columns {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl Borrow<[String]> for Columns {
    fn borrow(&self) -> &[String] {
        self
    }
}

impl From<Vec<String>> for Columns {
    fn from(names: Vec<String>) -> Self {
        Self(names.into())
    }
}

impl FromIterator<String> for Columns {
    fn from_iter<T: IntoIterator<Item = String>>(names: T) -> Self {
        Self(names.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Columns {
    type Item = &'a String;
    type IntoIter = std::slice::Iter<'a, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

thread_local! {
    /// The lists of the text that this thread reads.
    static READ: RefCell<Option<HashSet<Columns>>> = const { RefCell::new(None) };
}

/// While this is there, equal lists that its thread reads become one.
pub(crate) struct Sharing;

impl Sharing {
    pub(crate) fn begin() -> Self {
        READ.set(Some(HashSet::new()));
        Self
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        READ.set(None);
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        READ.with_borrow_mut(|read| {
            let Some(read) = read else {
                return Ok(names.into());
            };
            if let Some(known) = read.get(names.as_slice()) {
                return Ok(known.clone());
            }
            let columns = Self::from(names);
            read.insert(columns.clone());
            Ok(columns)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_of_a_text_are_one_and_others_are_not() {
        let text = br#"[["a","b"],["a"],["a","b"],[]]"#;
        let read: Vec<Columns> = crate::from_json(&text[..], 1 << 20).unwrap();
        let names: Vec<Vec<&str>> = read
            .iter()
            .map(|list| list.iter().map(String::as_str).collect())
            .collect();
        assert_eq!(names, [vec!["a", "b"], vec!["a"], vec!["a", "b"], vec![]]);
        assert!(Arc::ptr_eq(&read[0].0, &read[2].0));
        assert_eq!(
            serde_json::to_string(&read).unwrap().as_bytes(),
            text.as_slice()
        );
        // Nothing is kept for the next text.
        assert!(READ.with_borrow(Option::is_none));
    }
}
