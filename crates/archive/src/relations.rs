//! Consistency checks of a manifest, made before anything in it is used.

use crate::manifest::{EntryKind, EntryRecord, Manifest, RowData, TableSummary};
use crate::window::is_moment;
use crate::writer::MANIFEST;
use crate::{ArchiveError, Codec, Coverage, Window};
use hubvault_model::{RowDigest, TableName};
use jiff::Timestamp;
use std::collections::HashSet;

/// Most bytes before and after the rows of an entry, which are the COPY statement for `psql`.
const AROUND_ROWS: u64 = 1 << 20;
/// Longest path, in bytes: longer than any file system allows.
const NAME_LIMIT: usize = 8 << 10;
/// Deepest path, in directories.
const DEPTH_LIMIT: usize = 256;
/// A name of PostgreSQL has at most 63 bytes in a usual build.
const IDENTIFIER_LIMIT: usize = 1 << 10;
/// A table has at most 1,600 columns (PostgreSQL manual, appendix K).
const COLUMNS_LIMIT: usize = 1_664;
/// Larger than any disk: sums below it cannot overflow.
const RAW_LIMIT: u64 = 1 << 60;
/// The year 9000, in seconds: a later time may not be representable after an addition.
const LAST_MOMENT: i64 = 221_845_392_000;
/// -1, which makes `chown` change nothing.
const NO_OWNER: u32 = u32::MAX;

/// The entries of a manifest in the order of their names.
pub(crate) type ByName = Vec<usize>;

impl Manifest {
    /// Compares all values of the manifest that depend on each other: offsets and sizes of entries, tables
    /// and their entries, files and their entries, names and numbers. The entries' content is not read.
    pub fn check(&self) -> Result<(), ArchiveError> {
        self.by_name().map(|_| ())
    }

    /// Does that, and returns an index of the entries by name.
    pub(crate) fn by_name(&self) -> Result<ByName, ArchiveError> {
        self.places().map_err(ArchiveError::Manifest)?;
        let by_name = sorted(&self.entries);
        self.related(&by_name).map_err(ArchiveError::Manifest)?;
        Ok(by_name)
    }

    /// The end of the last entry. Entries follow one another without gaps from the first byte.
    pub fn end_of_entries(&self) -> u64 {
        (self.entries.last()).map_or(0, |entry| entry.offset.saturating_add(entry.stored_bytes))
    }

    fn places(&self) -> Result<(), String> {
        let (mut at, mut raw) = (0_u64, 0_u64);
        for entry in &self.entries {
            if entry.offset != at {
                return Err(format!(
                    "entry {} does not begin where the last one ends",
                    entry.name
                ));
            }
            at = (at.checked_add(entry.stored_bytes))
                .ok_or_else(|| format!("entry {} has no end", entry.name))?;
            let most = entry.stored_bytes.saturating_mul(ratio(self.codec));
            raw = raw.saturating_add(entry.raw_bytes);
            if entry.raw_bytes > most || raw > RAW_LIMIT {
                return Err(format!(
                    "entry {} claims {} bytes, more than can be stored in {}",
                    entry.name, entry.raw_bytes, entry.stored_bytes
                ));
            }
        }
        Ok(())
    }

    fn related(&self, by_name: &[usize]) -> Result<(), String> {
        let names = || by_name.iter().map(|at| self.entries[*at].name.as_str());
        let twice = names().zip(names().skip(1)).find(|(a, b)| a == b);
        let odd = names().find(|name| !is_entry_name(name));
        if let Some(name) = twice.map(|(name, _)| name).or(odd) {
            return Err(format!("entry {name:?} has a name that is not allowed"));
        }
        self.tables_add_up(by_name)?;
        for entry in &self.entries {
            alone(entry).map_err(|what| format!("entry {}: {what}", entry.name))?;
        }
        self.files_add_up(by_name)?;
        let moments = [self.started_at, self.finished_at, self.snapshot.taken_at];
        let known = |at: &Timestamp| (0..LAST_MOMENT).contains(&at.as_second());
        if let Some(at) = moments.iter().find(|at| !known(at)) {
            return Err(format!("nothing was backed up at {at}"));
        }
        let others = (self.sequences.iter().map(|it| &it.name))
            .chain(&self.refresh)
            .chain(&self.load_order.after_tables)
            .chain(&self.load_order.after_indexes)
            .chain(self.load_order.late_checks.iter().map(|it| &it.owner))
            .chain((self.load_order.through.iter()).flat_map(|it| [&it.partition, &it.table]))
            .chain(self.left_out.iter().map(|it| &it.name))
            .chain(
                self.not_valid
                    .iter()
                    .flat_map(|it| [&it.table, &it.references]),
            );
        for name in others {
            identifiers(name)?;
        }
        let collations = self.needs.collations.iter();
        let mut needs = (self.needs.tablespaces.iter().chain(&self.needs.row_roles))
            .chain(collations.flat_map(|it| [&it.schema, &it.name]));
        needs.try_for_each(|word| identifier(word))?;
        let mut words = self
            .roles
            .iter()
            .chain(&self.load_order.search_path)
            .chain(&self.load_order.bound_by_policies)
            .chain(self.load_order.late_checks.iter().map(|it| &it.constraint))
            .chain(self.not_valid.iter().map(|it| &it.name));
        words.try_for_each(|word| identifier(word))
    }

    /// Every entry with rows belongs to one table, which has its columns and format and the sum of its rows.
    fn tables_add_up(&self, by_name: &[usize]) -> Result<(), String> {
        let mut names = HashSet::new();
        let mut left: Vec<bool> = self.entries.iter().map(|it| it.rows.is_some()).collect();
        for table in &self.tables {
            identifiers(&table.name)?;
            (table.extension.as_deref()).map_or(Ok(()), identifier)?;
            (table.encoding.as_deref()).map_or(Ok(()), identifier)?;
            // Restored rows could make anybody a superuser; no backup contains these tables.
            if table.name.schema.starts_with("pg_") || table.name.schema == "information_schema" {
                return Err(format!("{} is a table of PostgreSQL's own", table.name));
            }
            if !names.insert(&table.name) {
                return Err(format!("{} is listed twice", table.name));
            }
            let wrong = |what: String| Err(format!("{}: {what}", table.name));
            let (mut sum, mut bytes) = (RowDigest::default(), 0);
            for name in &table.entries {
                let at = find(&self.entries, by_name, name);
                let at = at.filter(|at| std::mem::take(&mut left[*at]));
                let entry = at.map(|at| &self.entries[at]);
                let rows = entry.and_then(|it| Some((it, it.rows.as_ref()?)));
                let Some((entry, rows)) = rows.filter(|(_, rows)| rows.table == table.name) else {
                    return wrong(format!(
                        "its entry {name} is missing or belongs to another table"
                    ));
                };
                let alike = rows.columns == table.columns && rows.encoding == table.encoding;
                if !alike || rows.format != table.format {
                    return wrong(format!(
                        "its entry {name} has different columns or a different format"
                    ));
                }
                bytes += row_bytes(entry, rows).map_err(|what| format!("entry {name}: {what}"))?;
                sum.merge(rows.digest);
            }
            sums(table, sum, bytes).or_else(wrong)?;
            condition(table).or_else(wrong)?;
        }
        let nobodys = self.entries.iter().zip(left).find(|(_, left)| *left);
        match nobodys.and_then(|(entry, _)| entry.rows.as_ref()) {
            Some(rows) => Err(format!(
                "{}: holds rows in an entry that the manifest's tables do not name",
                rows.table
            )),
            None => Ok(()),
        }
    }

    /// Every file has an entry, and both agree.
    fn files_add_up(&self, by_name: &[usize]) -> Result<(), String> {
        let mut names = HashSet::new();
        for file in &self.files {
            let name = &file.name;
            let at = find(&self.entries, by_name, name).filter(|_| names.insert(name));
            let entry = at.map(|at| &self.entries[at]);
            let Some(entry) =
                entry.filter(|entry| entry.is_bare() || entry.kind == EntryKind::Config)
            else {
                return Err(format!("the file {name} is not in the archive"));
            };
            if file.sha256.as_ref().is_some_and(|sum| *sum != entry.sha256) {
                return Err(format!("the checksum of the file {name} differs"));
            }
            let unowned = |(user, group)| user == NO_OWNER || group == NO_OWNER;
            if file.bytes != entry.raw_bytes
                || file.mode != entry.mode
                || file.owner.is_some_and(unowned)
            {
                return Err(format!(
                    "the size, mode or owner of the file {name} does not match its entry"
                ));
            }
        }
        Ok(())
    }
}

/// The highest compression ratio. Deflate: 258 bytes in 2 bits. Zstandard: a member of ours is a
/// frame of 1 MiB in blocks of 128 KiB, each of at least 4 bytes.
fn ratio(codec: Codec) -> u64 {
    match codec {
        Codec::Gzip => 1_040,
        Codec::Zstd => 32_768,
    }
}

fn sorted(entries: &[EntryRecord]) -> ByName {
    let mut by_name: ByName = (0..entries.len()).collect();
    by_name.sort_by(|a, b| entries[*a].name.cmp(&entries[*b].name));
    by_name
}

/// The index of an entry in the manifest's list.
pub(crate) fn find(entries: &[EntryRecord], by_name: &[usize], name: &str) -> Option<usize> {
    let found = by_name.binary_search_by(|at| entries[*at].name.as_str().cmp(name));
    found.ok().map(|place| by_name[place])
}

/// Checks an entry by itself.
fn alone(entry: &EntryRecord) -> Result<(), &'static str> {
    let digits = |sum: &str| {
        sum.len() == 64
            && sum
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    if !digits(&entry.sha256) || !digits(&entry.stored_sha256) {
        return Err("its checksum is not 64 hexadecimal digits");
    }
    if entry.mode > 0o7777 {
        return Err("its mode is more than permission bits");
    }
    if entry.kind == EntryKind::Manifest {
        return Err("only the last entry is a manifest");
    }
    if entry.rows.is_some() && entry.kind != EntryKind::TableData {
        return Err("only an entry of table data has rows");
    }
    let is_link = |link: &str| !link.is_empty() && link.len() <= NAME_LIMIT && !link.contains('\0');
    match (entry.kind, &entry.link) {
        (EntryKind::Link, Some(link)) if is_link(link) => {}
        (EntryKind::Link, _) | (_, Some(_)) => {
            return Err("it is a link without a target, or has one");
        }
        _ => {}
    }
    if entry.is_bare() && entry.raw_bytes > 0 {
        return Err("a directory or link has no content");
    }
    if entry.name.ends_with('/') != (entry.kind == EntryKind::Directory) {
        return Err("a directory's name ends with a slash, and no other");
    }
    Ok(())
}

/// The bytes of an entry that hold rows.
fn row_bytes(entry: &EntryRecord, data: &RowData) -> Result<u64, &'static str> {
    if data.header_bytes > AROUND_ROWS || data.footer_bytes > AROUND_ROWS {
        return Err("what is before or after its rows is larger than any of ours");
    }
    let bytes = entry
        .raw_bytes
        .checked_sub(data.header_bytes + data.footer_bytes);
    let bytes = bytes.ok_or("its header and footer are longer than its content")?;
    // Each ends with a newline, and none adds nothing to the digest.
    let rows = data.digest.rows;
    if rows > bytes || (rows == 0) != (bytes == 0) || (rows == 0 && data.digest.sum != 0) {
        return Err("its number of rows does not fit its size");
    }
    Ok(bytes)
}

/// A window has a condition, and both of its forms agree.
fn condition(table: &TableSummary) -> Result<(), String> {
    let sound = match (&table.window, &table.filter) {
        (Some(window), Some(filter)) => window.sql() == *filter,
        (Some(_), None) => false,
        (None, _) => true,
    };
    if !sound || (table.coverage == Coverage::Window) != table.filter.is_some() {
        return Err("its window and its condition do not say the same".to_owned());
    }
    match &table.window {
        Some(Window::Recent { column, from }) if !is_moment(from) => {
            Err(format!("its window of {column} does not begin at a moment"))
        }
        Some(Window::Recent { column, .. }) => identifier(column.as_str()),
        _ => Ok(()),
    }
}

fn sums(table: &TableSummary, sum: RowDigest, bytes: u64) -> Result<(), String> {
    let mut columns = HashSet::new();
    if table.columns.len() > COLUMNS_LIMIT || !table.columns.iter().all(|it| columns.insert(it)) {
        return Err("it has a column twice, or too many".to_owned());
    }
    table
        .columns
        .iter()
        .try_for_each(|column| identifier(column))?;
    if sum.rows != table.digest.rows {
        return Err(format!(
            "the manifest says {} rows, its entries hold {}",
            table.digest.rows, sum.rows
        ));
    }
    if sum != table.digest {
        return Err("the manifest's row digest is not the sum of its entries'".to_owned());
    }
    // How many bytes is only shown.
    if table.bytes / 2 > bytes.saturating_add(1 << 20) || table.added_rows > sum.rows {
        return Err("its bytes or added rows are more than its entries hold".to_owned());
    }
    Ok(())
}

fn identifiers(name: &TableName) -> Result<(), String> {
    identifier(&name.schema)?;
    identifier(&name.name)
}

fn identifier(word: &str) -> Result<(), String> {
    if word.is_empty() || word.len() > IDENTIFIER_LIMIT || word.contains('\0') {
        let start: String = word.chars().take(63).collect();
        return Err(format!("{start:?} is not a PostgreSQL name"));
    }
    Ok(())
}

/// Whether an entry may have this name: it stays inside the folder that it is unpacked into, and is neither longer nor
/// deeper than a reader takes.
pub fn is_entry_name(name: &str) -> bool {
    let name = name.strip_suffix('/').unwrap_or(name);
    name != MANIFEST
        && name.len() <= NAME_LIMIT
        && name.split('/').count() <= DEPTH_LIMIT
        && !name.contains('\0')
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}
