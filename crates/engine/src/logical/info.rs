//! `BACKUP_INFO.txt`: a readable summary of the archive.

use super::extent::{PlannedTable, describe_coverage};
use super::needs::{masked_passwords, restore_needs};
use super::plan::Plan;
use crate::job::Job;
use hubvault_archive::{Codec, Coverage, FileSummary};
use hubvault_model::{BackupId, ByteSize, Warning, counted, one_line};
use hubvault_postgres::{SchemaDump, encoding_of_rows};
use std::fmt::Write;

/// What is inside besides the database.
pub(crate) struct Inside<'a> {
    pub(crate) files: &'a [FileSummary],
    pub(crate) sources: &'a [FileSummary],
}

/// The text. It comes first in the archive, before the rows, and therefore has the planner's row
/// counts; `manifest.json` and the output of `restore.sh` have the exact ones.
pub(crate) fn backup_info(
    job: &Job,
    id: BackupId,
    plan: &Plan,
    inside: &Inside<'_>,
    schema: &SchemaDump,
    warnings: &[Warning],
) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_info(&mut text, job, id, plan, inside, warnings);
    let _ = masked_passwords(&mut text, &schema.masked);
    let pg_dump = &schema.pg_dump_version;
    let encoding = encoding_of_rows(&plan.snapshot.encoding);
    let _ = how_to_restore(&mut text, job, pg_dump, encoding.as_deref());
    text
}

fn write_info(
    out: &mut String,
    job: &Job,
    id: BackupId,
    plan: &Plan,
    inside: &Inside<'_>,
    warnings: &[Warning],
) -> std::fmt::Result {
    let snapshot = &plan.snapshot;
    writeln!(out, "Backup of {}\n", one_line(&job.name))?;
    writeln!(out, "Backup id     {id}")?;
    writeln!(out, "Database      {}", one_line(&snapshot.database))?;
    writeln!(
        out,
        "Moment        {:.0} (one snapshot for all tables)",
        snapshot.taken_at
    )?;
    writeln!(out, "WAL position  {}", snapshot.lsn)?;
    let version = one_line(&snapshot.server_version);
    writeln!(out, "Server        PostgreSQL {version}")?;
    writeln!(
        out,
        "Made by       hubvault {}\n",
        env!("CARGO_PKG_VERSION")
    )?;

    writeln!(out, "WARNINGS ({})\n", warnings.len())?;
    for warning in warnings {
        writeln!(out, "  ! {}", one_line(&warning.to_string()))?;
    }
    if warnings.is_empty() {
        writeln!(out, "  none")?;
    }

    contents(out, plan, inside)?;
    not_inside(out, plan)?;
    let are_masked = job.archive.mask_passwords;
    restore_needs(
        out,
        snapshot.server_version_num,
        &plan.roles,
        &plan.needs,
        are_masked,
    )
}

fn contents(out: &mut String, plan: &Plan, inside: &Inside<'_>) -> std::fmt::Result {
    writeln!(out, "\nINSIDE\n")?;
    writeln!(
        out,
        "  The definitions of the whole database (database/schema.dump)."
    )?;
    writeln!(
        out,
        "  The values of {} (database/sequences.sql).",
        counted(plan.sequences.len() as u64, "sequence")
    )?;
    writeln!(
        out,
        "  The rows of {}; row counts are estimates, the exact",
        counted(plan.tables.len() as u64, "table")
    )?;
    writeln!(
        out,
        "  ones are in manifest.json and restore.sh compares with them:\n"
    )?;
    for table in &plan.tables {
        table_line(out, table)?;
    }
    if !inside.files.is_empty() {
        writeln!(
            out,
            "\n  {} configuration files and directories:\n",
            inside.files.len()
        )?;
    }
    for file in inside.files {
        inside_line(out, file)?;
    }
    if !inside.sources.is_empty() {
        writeln!(
            out,
            "\n  What {} commands of the configuration wrote:\n",
            inside.sources.len()
        )?;
    }
    for source in inside.sources {
        inside_line(out, source)?;
    }
    Ok(())
}

fn inside_line(out: &mut String, file: &FileSummary) -> std::fmt::Result {
    let (name, source) = (one_line(&file.name), one_line(&file.source));
    let bits = if file.left_out_bits == 0 {
        ""
    } else {
        ", without its set-user-ID and set-group-ID bits"
    };
    writeln!(out, "    {name}  (from {source}{bits})")
}

fn table_line(out: &mut String, table: &PlannedTable) -> std::fmt::Result {
    let rows = table
        .estimated_rows
        .map_or("?".to_owned(), |rows| rows.to_string());
    let size = ByteSize(table.estimated_bytes);
    write!(
        out,
        "    {:<32} about {rows} rows, {size}",
        one_line(&table.name.to_string())
    )?;
    if table.coverage != Coverage::Whole {
        let coverage = describe_coverage(table);
        let coverage = one_line(&coverage);
        write!(out, "\n      rows taken: {coverage}")?;
    }
    writeln!(out)
}

fn not_inside(out: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(out, "\nNOT INSIDE\n")?;
    writeln!(
        out,
        "  The rows of these tables; they are empty after a restore:\n"
    )?;
    let left_out = || plan.references.left_out.iter().chain(&plan.of_extensions);
    for left in left_out() {
        let rows = left
            .estimated_rows
            .map_or("?".to_owned(), |rows| rows.to_string());
        writeln!(
            out,
            "    {} (about {rows} rows; {})",
            one_line(&left.name.to_string()),
            one_line(&left.reason)
        )?;
    }
    for left in &plan.outside {
        writeln!(out, "    {}", one_line(&left.name.to_string()))?;
    }
    let none = left_out().next().is_none() && plan.outside.is_empty();
    if none && plan.unreadable.is_empty() {
        writeln!(out, "    none: every table is inside")?;
    } else if none {
        writeln!(out, "    none")?;
    }
    if !plan.unreadable.is_empty() {
        writeln!(
            out,
            "\n  These tables, which are missing after a restore: the backup's role may not read them.\n"
        )?;
    }
    for left in &plan.unreadable {
        writeln!(out, "    {}", one_line(&left.name.to_string()))?;
    }
    writeln!(
        out,
        "\n  Roles and their passwords (restore.sh names those it needs), other"
    )?;
    writeln!(
        out,
        "  databases of the server, the server's own configuration, large objects."
    )?;
    if !plan.references.not_valid.is_empty() {
        writeln!(
            out,
            "\n  These foreign keys point to rows outside and come back NOT VALID"
        )?;
        writeln!(
            out,
            "  (checked for new rows, not for the restored ones):\n"
        )?;
        for key in &plan.references.not_valid {
            let line = format!("{} on {}: {}", key.name, key.table, key.reason);
            writeln!(out, "    {}", one_line(&line))?;
        }
    }
    Ok(())
}

/// The steps, exactly as the test suite runs them.
fn how_to_restore(
    out: &mut String,
    job: &Job,
    pg_dump: &str,
    encoding: Option<&str>,
) -> std::fmt::Result {
    let pg_dump = one_line(pg_dump);
    let major = pg_dump.split('.').next().unwrap_or_default();
    writeln!(
        out,
        "\nHOW TO RESTORE\n\n  With standard tools; hubvault is not needed. On a machine with psql and \
         pg_restore\n  {major} or newer (pg_dump {pg_dump} wrote the definitions):\n"
    )?;
    let flag = match job.archive.codec {
        Codec::Gzip => "-xz",
        Codec::Zstd => "--zstd -x",
    };
    if job.seal.is_empty() {
        writeln!(
            out,
            "    1. mkdir restored && tar -xf ARCHIVE -C restored && cd restored"
        )?;
    } else {
        writeln!(
            out,
            "    1. mkdir restored && age -d -i KEY ARCHIVE | tar {flag} -C restored && cd restored\n       \
             (sealed with age to {}; KEY is the private key of one of them)",
            counted(job.seal.len() as u64, "recipient")
        )?;
    }
    out.write_str(
        "    2. createdb hub_restored
    3. PGDATABASE=hub_restored sh restore.sh --create-roles

  restore.sh uses PGHOST, PGPORT, PGUSER and PGPASSWORD as psql does. It refuses a
  database that already holds these tables (--clean drops them first), and ends by
  comparing every row count with this backup's and naming what could not be rebuilt.
  `sh restore.sh --help` names the other options.

  This text was written before the archive was drilled: the result is in ARCHIVE.manifest.json beside
  the archive (proof), and what restore.sh cannot rebuild it lists at its end, with the reason. It was written before
  the rows were read, too: which generated columns the server could not read, so that no restore can compare them,
  restore.sh says at its end.

  One table only: psql runs database/<table>.sql as it is; a .csv file is loaded with
    \\copy <table> (<columns of its first line>) from '<file>' with (format csv, header true)
",
    )?;
    if let Some(encoding) = encoding {
        writeln!(
            out,
            "  The rows are in the encoding of the database, {encoding}: \\copy needs the option encoding '{encoding}'."
        )?;
    }
    Ok(())
}
