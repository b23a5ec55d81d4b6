//! What a restore compares at once.

use hubvault_archive::{Manifest, TableSummary};
use hubvault_model::{TableName, one_line};
use hubvault_postgres::{PgError, ServerDigest, Session, target_facts};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// Of a partitioned one.
    pub(crate) partitions: Vec<&'a TableName>,
    /// Whether its generated columns cannot be compared, as they are not known of all partitions, or not the same ones.
    pub(super) is_half_computed: bool,
}

impl Unit<'_> {
    /// What of a relation is read: the rows of partitions are not their parent's own.
    pub(crate) fn only(&self) -> &'static str {
        if self.is_tree { "" } else { "ONLY " }
    }

    /// That its generated columns are not compared, though some of the partitions' could be.
    pub(super) fn half_computed(&self) -> Option<String> {
        let name = one_line(&self.table.name.to_string()).into_owned();
        (self.is_half_computed).then(|| {
            format!("not compared: generated columns of {name}, as not the same ones are known of each of its partitions")
        })
    }

    /// The relations of a database that it is about.
    pub(super) fn relations(&self) -> impl Iterator<Item = &TableName> {
        std::iter::once(&self.table.name).chain(self.partitions.iter().copied())
    }
}

/// The tables of an archive as they are compared after a restore of the whole.
pub(crate) fn units(manifest: &Manifest) -> Vec<Unit<'_>> {
    let order = &manifest.load_order;
    let tables = manifest.tables.iter();
    units_of(tables.map(|table| (table, order.place_of(&table.name))))
}

/// Selected tables as they are restored into the same tables of a database: partitions whose rows come into others than
/// they were in through the table above, where these are all that it has, here and in the archive. New tables of a schema
/// are no partitions.
pub(super) fn chosen_units<'a>(
    session: &mut Session,
    (manifest, into_schema): (&'a Manifest, Option<&str>),
    chosen: &[&'a TableSummary],
) -> Result<Vec<Unit<'a>>, PgError> {
    if into_schema.is_some() {
        return Ok(units_of(chosen.iter().map(|table| (*table, &table.name))));
    }
    let order = &manifest.load_order;
    let mut trees: BTreeMap<&TableName, BTreeSet<&TableName>> = BTreeMap::new();
    for table in &manifest.tables {
        let place = order.place_of(&table.name);
        if *place != table.name {
            trees.entry(place).or_default().insert(&table.name);
        }
    }
    let names: BTreeSet<&TableName> = chosen.iter().map(|table| &table.name).collect();
    trees.retain(|_, partitions| partitions.is_subset(&names));
    let mut whole = BTreeSet::new();
    for (place, partitions) in trees {
        let leaves = target_facts::leaves(session, place)?;
        if leaves.iter().collect::<BTreeSet<_>>() == partitions {
            whole.insert(place);
        }
    }
    let place = |table: &'a TableSummary| {
        let place = order.place_of(&table.name);
        if whole.contains(place) {
            place
        } else {
            &table.name
        }
    };
    Ok(units_of(chosen.iter().map(|table| (*table, place(table)))))
}

/// Of tables, each with the one through which its rows are loaded.
fn units_of<'a>(tables: impl Iterator<Item = (&'a TableSummary, &'a TableName)>) -> Vec<Unit<'a>> {
    let mut units: Vec<Unit<'a>> = Vec::new();
    let mut trees: HashMap<&TableName, usize> = HashMap::new();
    for (table, place) in tables {
        let unit = |table| Unit {
            table,
            is_tree: false,
            tables: 1,
            problem: None,
            partitions: Vec::new(),
            is_half_computed: false,
        };
        if *place == table.name {
            units.push(unit(Cow::Borrowed(table)));
        } else if let Some(at) = trees.get(place) {
            units[*at].add(table);
        } else {
            trees.insert(place, units.len());
            units.push(Unit {
                is_tree: true,
                partitions: vec![&table.name],
                ..unit(Cow::Owned(TableSummary {
                    name: place.clone(),
                    ..table.clone()
                }))
            });
        }
    }
    units
}

impl<'a> Unit<'a> {
    fn add(&mut self, partition: &'a TableSummary) {
        self.tables += 1;
        self.partitions.push(&partition.name);
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
            (None, None) => {}
            (computed, _) => {
                *computed = None;
                self.is_half_computed = true;
            }
        }
        sum.bytes += partition.bytes;
        sum.entries.extend(partition.entries.iter().cloned());
        let digests = [&sum.source_digest, &partition.source_digest];
        let digests = digests.map(|digest| digest.as_deref()?.parse::<ServerDigest>().ok());
        if let [Some(one), Some(other)] = digests {
            sum.source_digest = Some(one.with(other).to_string());
        } else if sum.source_digest.is_none() {
            sum.source_digest.clone_from(&partition.source_digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_manifest;
    use super::*;
    use hubvault_archive::{LoadOrder, Through};
    use serde_json::json;

    fn manifest(through: &[(&str, &str)], tables: &[serde_json::Value]) -> Manifest {
        let name = |name: &str| TableName::new("public", name);
        let through = through.iter().map(|(partition, table)| Through {
            partition: name(partition),
            table: name(table),
        });
        let load_order = LoadOrder {
            through: through.collect(),
            ..LoadOrder::default()
        };
        test_manifest::manifest(tables, load_order)
    }

    fn table(name: &str, columns: &[&str], rows: u64, sum: u128) -> serde_json::Value {
        let digest = format!("{sum:032x}");
        json!({
            "schema": "public", "name": name, "coverage": "whole", "filter": null, "columns": columns,
            "format": "text", "rows": rows, "digest": digest, "bytes": 10, "entries": [],
            "source_digest": sum.to_string(), "computed": { "columns": ["g"], "rows": rows, "digest": digest },
        })
    }

    #[test]
    fn partitions_that_are_filled_from_above_are_one_with_all_their_sums() {
        let (one, two, alone) = (
            table("p1", &["a", "b"], 2, 1),
            table("p2", &["a", "b"], 3, 4),
            table("alone", &["a"], 7, 5),
        );
        let manifest = manifest(&[("p1", "p"), ("p2", "p")], &[one, alone, two]);
        let units = units(&manifest);
        let [tree, alone] = &units[..] else {
            panic!("{} units", units.len());
        };
        assert_eq!((tree.only(), alone.only()), ("", "ONLY "));
        assert_eq!((tree.tables, alone.tables), (2, 1));
        assert!(tree.problem.is_none());
        let (sums, other) = (&tree.table, &alone.table);
        assert_eq!(sums.name, TableName::new("public", "p"));
        assert_eq!((sums.digest.rows, sums.digest.sum), (5, 5));
        assert_eq!(sums.bytes, 20);
        assert_eq!(sums.source_digest.as_deref(), Some("5"));
        let computed = sums.computed.as_ref().unwrap();
        assert_eq!((computed.digest.rows, computed.digest.sum), (5, 5));
        assert_eq!((other.digest.rows, other.digest.sum), (7, 5));
    }

    #[test]
    fn that_generated_columns_of_some_partitions_are_not_compared_is_said() {
        let (one, mut unread) = (table("p1", &["a"], 2, 1), table("p2", &["a"], 3, 4));
        unread["computed"] = serde_json::Value::Null;
        let through = [("p1", "p"), ("p2", "p")];
        for tables in [[one.clone(), unread.clone()], [unread.clone(), one.clone()]] {
            let manifest = manifest(&through, &tables);
            let units = units(&manifest);
            assert!(units[0].table.computed.is_none());
            let said = units[0].half_computed().unwrap();
            assert!(said.contains("generated columns of p,"), "{said}");
        }
        for same in [one, unread] {
            let manifest = manifest(&through, &[same.clone(), same]);
            assert!(units(&manifest)[0].half_computed().is_none());
        }
    }

    #[test]
    fn of_partitions_with_other_columns_only_the_rows_are_counted() {
        let (one, other) = (
            table("p1", &["a", "b"], 2, 1),
            table("p2", &["b", "a"], 3, 4),
        );
        let manifest = manifest(&[("p1", "p"), ("p2", "p")], &[one, other]);
        let units = units(&manifest);
        assert!(units[0].problem.unwrap().contains("in another order"));
        assert_eq!(units[0].table.digest.rows, 5);
    }
}
