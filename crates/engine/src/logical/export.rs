//! Exports the tables' rows from the snapshot into the archive over several connections.

use super::extent::{Extent, PlannedTable};
use super::output::Writer;
use super::plan::Plan;
use super::throttle::Throttle;
use super::{computed, extensions};
use crate::job::{Job, ProofWhen, SourceDigest};
use crate::pool::Pool;
use crate::progress::Progress;
use crate::run::BackupError;
use hubvault_archive::{
    Compression, Computed, EntryBuilder, EntryKind, EntryMeta, RowData, TableSummary, Window,
};
use hubvault_model::{Cancel, RowDigest, RowDigester, RowFormat, Warning};
use hubvault_postgres::{
    CopySession, Invitation, PERMIT_VIEWS, PgError, REFUSE_VIEWS, ServerDigest, copy_option,
    copy_options,
};
use jiff::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An entry is closed at the end of a row once it has this size, compressed: this bounds the memory of a
/// worker, whatever the planner's estimate.
const ENTRY_STORED_BYTES: u64 = 12 << 20;
/// And once it has this size before compression, so that an entry stays a small unit of restore when
/// rows compress very well.
const ENTRY_RAW_BYTES: u64 = 64 << 20;
/// A row that makes an entry larger than this is one of the few that one worker alone may hold at a time.
const LARGE_STORED_BYTES: u64 = ENTRY_STORED_BYTES + (4 << 20);
/// Bytes between two progress reports.
const TELL_BYTES: u64 = 256 << 10;

/// State that the workers share.
struct Shared<'a> {
    plan: &'a Plan,
    writer: &'a Mutex<Writer>,
    pool: Pool<'a, &'a Extent>,
    totals: Vec<Mutex<TableTotals>>,
    compression: Compression,
    source_digest: SourceDigest,
    taken_at: Timestamp,
    /// Held by the worker whose entry is larger than entries usually are.
    large: Mutex<()>,
    progress: &'a dyn Progress,
    throttle: Throttle,
}

/// Totals of one table.
#[derive(Default)]
struct TableTotals {
    digest: RowDigest,
    /// The server's digest, where it was requested.
    source: Option<ServerDigest>,
    /// Of the columns that functions of users compute.
    computed: RowDigest,
    /// Why the server cannot read these.
    unread: Option<String>,
    bytes: u64,
    parts: u32,
    entries: Vec<String>,
}

/// Exports every extent of the plan into the writer, on the job's connections that see the same moment.
/// Returns a summary of each table in the order of the plan, and what of them will not be compared.
///
/// `first` writes the entries before the rows while the workers already read: each keeps its first
/// finished entry until then. The first error stops all workers.
pub(crate) fn export(
    plan: &Plan,
    snapshot: &Invitation,
    writer: &Mutex<Writer>,
    first: impl FnOnce(&mut Writer) -> Result<(), BackupError>,
    job: &Job,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(Vec<TableSummary>, Vec<Warning>), BackupError> {
    let shared = Shared {
        plan,
        writer,
        pool: Pool::new(&plan.extents, cancel),
        totals: plan.tables.iter().map(|_| Mutex::default()).collect(),
        compression: job.archive.compression(),
        source_digest: asked_for(job),
        taken_at: plan.snapshot.taken_at,
        large: Mutex::new(()),
        progress,
        throttle: Throttle::new(job.gentleness),
    };
    // Taken before the workers start, so that none of them writes before `first`.
    let mut head = locked(writer);
    shared.pool.run_beside(
        job.workers,
        || Ok(snapshot.join()?),
        |session, extent| shared.export(session, extent),
        move || first(&mut head),
    )?;
    let totals = || plan.tables.iter().zip(&shared.totals);
    let warning = |(table, total): (_, &Mutex<TableTotals>)| {
        let why = locked(total).unread.clone()?;
        Some(computed::warning(table, &why))
    };
    let warnings = totals().filter_map(warning).collect();
    let tables = totals().map(|(table, total)| summary(table, &mut locked(total)));
    Ok((tables.collect(), warnings))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn summary(table: &PlannedTable, total: &mut TableTotals) -> TableSummary {
    total.entries.sort();
    TableSummary {
        name: table.name.clone(),
        extension: table.extension.clone(),
        coverage: table.coverage,
        filter: table.filter.clone(),
        window: table.filter.as_deref().map(Window::of),
        columns: table.columns.clone(),
        format: table.format,
        encoding: table.encoding.clone(),
        digest: total.digest,
        added_rows: table.added_rows,
        source_digest: total.source.map(|sum| sum.to_string()),
        computed: (!table.computed.is_empty() && total.unread.is_none()).then(|| Computed {
            columns: table.computed.clone(),
            digest: total.computed,
        }),
        bytes: total.bytes,
        entries: std::mem::take(&mut total.entries),
    }
}

impl Shared<'_> {
    fn export(&self, session: &mut CopySession, extent: &Extent) -> Result<(), BackupError> {
        let own_condition = self.plan.tables[extent.table].own_condition;
        if own_condition {
            session.simple("permitting views", PERMIT_VIEWS)?;
        }
        self.copy(session, extent)?;
        if own_condition {
            session.simple("refusing views", REFUSE_VIEWS)?;
        }
        self.throttle.between(|| self.check_stop())
    }

    fn check_stop(&self) -> Result<(), BackupError> {
        self.pool.check_stop()
    }

    fn copy(&self, session: &mut CopySession, extent: &Extent) -> Result<(), BackupError> {
        let table = &self.plan.tables[extent.table];
        let doing = format!("exporting {}", table.name);
        let mut part = Part::begin(table, self.compression)?;
        let (mut told_rows, mut told_bytes) = (0, 0);
        let mut stored = 0;
        let mut large = None;
        let sent = session.copy_out(&doing, &extent.copy_sql(table), |piece| {
            if part.is_full() && part.rows.at_row_end() {
                let full = std::mem::replace(&mut part, Part::begin(table, self.compression)?);
                stored += full.rows.so_far().rows;
                self.store(extent, full, true)?;
                large = None;
                (told_rows, told_bytes) = (0, 0);
            }
            part.write(piece)?;
            if large.is_none() && part.builder.stored_bytes() >= LARGE_STORED_BYTES {
                large = Some(locked(&self.large));
            }
            if part.bytes - told_bytes >= TELL_BYTES {
                self.check_stop()?;
                self.throttle
                    .passed(part.bytes - told_bytes, || self.check_stop())?;
                let rows = part.rows.so_far().rows;
                self.progress
                    .advance(Some(&table.name), rows - told_rows, part.bytes - told_bytes);
                (told_rows, told_bytes) = (rows, part.bytes);
            }
            Ok::<_, BackupError>(())
        })?;
        let rows = part.rows.so_far().rows;
        PgError::check_row_count(&doing, sent, stored + rows)?;
        self.progress
            .advance(Some(&table.name), rows - told_rows, part.bytes - told_bytes);
        self.store(extent, part, false)?;
        drop(large);
        self.computed(session, extent)?;
        self.ask_the_source(session, extent, &doing)
    }

    /// Reads what functions of users computed of the same rows.
    fn computed(&self, session: &mut CopySession, extent: &Extent) -> Result<(), BackupError> {
        let total = &self.totals[extent.table];
        if locked(total).unread.is_some() {
            return Ok(());
        }
        let table = &self.plan.tables[extent.table];
        let each = |bytes: usize| {
            self.throttle.passed(bytes as u64, || self.check_stop())?;
            self.check_stop()
        };
        match computed::read(session, (extent, table), each)? {
            Ok(digest) => locked(total).computed.merge(digest),
            Err(why) => locked(total).unread = Some(why),
        }
        Ok(())
    }

    /// Requests the server's digest of the rows, in the same snapshot, where the network may have changed them.
    fn ask_the_source(
        &self,
        session: &mut CopySession,
        extent: &Extent,
        doing: &str,
    ) -> Result<(), BackupError> {
        let is_wanted = match self.source_digest {
            SourceDigest::Auto => !session.is_guarded(),
            SourceDigest::Always => true,
            SourceDigest::Never => false,
        };
        if !is_wanted {
            return Ok(());
        }
        let sql = extent.rows_sql(&self.plan.tables[extent.table]);
        let digest = session.server_digest(doing, &sql)?;
        let mut total = locked(&self.totals[extent.table]);
        total.source = Some(total.source.map_or(digest, |sum| sum.with(digest)));
        Ok(())
    }

    /// Names the part, closes it and hands it to the writer.
    fn store(&self, extent: &Extent, part: Part, more_to_come: bool) -> Result<(), BackupError> {
        let table = &self.plan.tables[extent.table];
        let (header_bytes, bytes) = (part.header_bytes, part.bytes);
        let (builder, digest, footer_bytes) = part.end(table)?;
        let name = {
            let mut total = locked(&self.totals[extent.table]);
            total.digest.merge(digest);
            total.bytes += bytes;
            total.parts += 1;
            let alone = table.extents == 1 && total.parts == 1 && !more_to_come;
            let name = entry_name(table, (!alone).then_some(total.parts));
            total.entries.push(name.clone());
            name
        };
        let packed = builder.finish(EntryMeta {
            name,
            kind: EntryKind::TableData,
            mode: 0o600,
            owner: None,
            mtime: self.taken_at,
            link: None,
            rows: Some(RowData {
                table: table.name.clone(),
                columns: table.columns.clone(),
                format: table.format,
                encoding: table.encoding.clone(),
                digest,
                header_bytes,
                footer_bytes,
            }),
        })?;
        let mut writer = locked(self.writer);
        self.check_stop()?;
        writer.append(packed)?;
        Ok(())
    }
}

/// Only a drill compares it.
fn asked_for(job: &Job) -> SourceDigest {
    match job.proof.when {
        ProofWhen::Off => SourceDigest::Never,
        _ => job.proof.source_digest,
    }
}

/// `database/users.sql`, or `database/users.00002.sql` for a part.
fn entry_name(table: &PlannedTable, part: Option<u32>) -> String {
    let ending = match table.format {
        RowFormat::Text => "sql",
        RowFormat::Csv => "csv",
    };
    match part {
        None => format!("database/{}.{ending}", table.name.path()),
        Some(part) => format!("database/{}.{part:05}.{ending}", table.name.path()),
    }
}

/// One archive entry while it fills.
struct Part {
    builder: EntryBuilder,
    rows: RowDigester,
    header_bytes: u64,
    /// COPY bytes, without header and footer.
    bytes: u64,
}

impl Part {
    fn begin(table: &PlannedTable, compression: Compression) -> Result<Self, BackupError> {
        let header = header(table);
        let mut builder = EntryBuilder::new(compression);
        builder.write(header.as_bytes())?;
        let rows = RowDigester::new(table.format);
        Ok(Self {
            builder,
            rows,
            header_bytes: header.len() as u64,
            bytes: 0,
        })
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        self.rows.update(piece);
        self.bytes += piece.len() as u64;
        Ok(self.builder.write(piece)?)
    }

    fn is_full(&self) -> bool {
        self.builder.stored_bytes() >= ENTRY_STORED_BYTES
            || self.builder.raw_bytes() >= ENTRY_RAW_BYTES
    }

    fn end(mut self, table: &PlannedTable) -> Result<(EntryBuilder, RowDigest, u64), BackupError> {
        let footer: &[u8] = match table.format {
            RowFormat::Text => b"\\.\n",
            RowFormat::Csv => b"",
        };
        self.builder.write(footer)?;
        let digest = self.rows.finish().map_err(|unfinished| {
            BackupError::Worker(format!("COPY of {} is not whole: {unfinished}", table.name))
        })?;
        Ok((self.builder, digest, footer.len() as u64))
    }
}

/// The start of the entry, which makes it a usable file: a statement for psql, or the CSV header line.
fn header(table: &PlannedTable) -> String {
    match table.format {
        RowFormat::Text => {
            let list = table.column_list();
            let columns = if list.is_empty() {
                String::new()
            } else {
                format!(" ({list})")
            };
            let options = copy_options(&[table.encoding.as_deref().map(copy_option)]);
            let copy = format!("COPY {}{columns} FROM stdin{options};\n", table.place.sql());
            extensions::replacing(table).unwrap_or_default() + &copy
        }
        RowFormat::Csv => {
            let names: Vec<String> = table.columns.iter().map(|c| csv_field(c)).collect();
            names.join(",") + "\n"
        }
    }
}

fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r', ' ']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
