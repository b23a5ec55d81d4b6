//! What is known of each table, whether it is taken or not.

use hubvault_postgres::{ForeignKey, Relation};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One table.
#[derive(Clone, Debug, Default)]
pub struct RelationFacts {
    /// Heap and TOAST, in bytes.
    pub bytes: u64,
    /// The tables that its foreign keys refer to.
    pub refers_to: BTreeSet<String>,
}

/// All of them, by the name for people.
pub(super) fn relation_facts(
    relations: &[Relation],
    keys: &[ForeignKey],
) -> BTreeMap<String, RelationFacts> {
    let names: HashMap<u32, String> = relations
        .iter()
        .map(|relation| (relation.oid, relation.name.to_string()))
        .collect();
    let mut facts: BTreeMap<String, RelationFacts> = BTreeMap::new();
    for relation in relations {
        let of = facts.entry(relation.name.to_string()).or_default();
        of.bytes = relation.heap_bytes + relation.toast_bytes;
    }
    for key in keys {
        let ends = names.get(&key.table).zip(names.get(&key.references));
        if let Some((table, references)) = ends
            && let Some(of) = facts.get_mut(table)
        {
            of.refers_to.insert(references.clone());
        }
    }
    facts
}
