//! What a restore compares at once.

use hubvault_archive::{Manifest, TableSummary};
use hubvault_model::TableName;
use hubvault_postgres::ServerDigest;
use std::borrow::Cow;
use std::collections::HashMap;

/// A table, or a partitioned one whose rows come into other partitions than they were in.
pub(crate) struct Unit<'a> {
    /// Of a partitioned one with the sums of all its partitions.
    pub(crate) table: Cow<'a, TableSummary>,
    /// Whether it is a partitioned one.
    pub(crate) is_tree: bool,
    /// How many tables of the archive it stands for.
    pub(crate) tables: usize,
    /// Why its contents cannot be compared, and its rows are counted.
    pub(crate) problem: Option<&'static str>,
}

impl Unit<'_> {
    /// What of a relation is read: the rows of partitions are not their parent's own.
    pub(crate) fn only(&self) -> &'static str {
        if self.is_tree { "" } else { "ONLY " }
    }
}

/// The tables of an archive as they are compared after a restore of the whole.
pub(crate) fn units(manifest: &Manifest) -> Vec<Unit<'_>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut trees: HashMap<&TableName, usize> = HashMap::new();
    for table in &manifest.tables {
        let place = manifest.load_order.place_of(&table.name);
        let unit = |table| Unit {
            table,
            is_tree: false,
            tables: 1,
            problem: None,
        };
        if *place == table.name {
            units.push(unit(Cow::Borrowed(table)));
        } else if let Some(at) = trees.get(place) {
            units[*at].add(table);
        } else {
            trees.insert(place, units.len());
            units.push(Unit {
                is_tree: true,
                ..unit(Cow::Owned(TableSummary {
                    name: place.clone(),
                    ..table.clone()
                }))
            });
        }
    }
    units
}

impl Unit<'_> {
    fn add(&mut self, partition: &TableSummary) {
        self.tables += 1;
        let sum = self.table.to_mut();
        let is_alike = sum.columns == partition.columns
            && (sum.format, &sum.encoding) == (partition.format, &partition.encoding);
        if !is_alike {
            self.problem = Some(
                "its rows may come into other partitions than they were in, which have their columns in another order",
            );
        }
        sum.digest.merge(partition.digest);
        match (&mut sum.computed, &partition.computed) {
            (Some(sum), Some(other)) if sum.columns == other.columns => {
                sum.digest.merge(other.digest);
            }
            (computed, _) => *computed = None,
        }
        sum.bytes += partition.bytes;
        let digests = [&sum.source_digest, &partition.source_digest];
        let digests = digests.map(|digest| digest.as_deref()?.parse::<ServerDigest>().ok());
        if let [Some(one), Some(other)] = digests {
            sum.source_digest = Some(one.with(other).to_string());
        } else if sum.source_digest.is_none() {
            sum.source_digest.clone_from(&partition.source_digest);
        }
    }
}
