//! What a restore compares at once.

use hubvault_archive::{Manifest, TableSummary};
use hubvault_model::TableName;
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
}

impl Unit<'_> {
    /// What of a relation is read: the rows of partitions are not their parent's own.
    pub(crate) fn only(&self) -> &'static str {
        if self.is_tree { "" } else { "ONLY " }
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
            (computed, _) => *computed = None,
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
