//! The sequences and their values.

use super::{NOT_GONE, USER_SCHEMA};
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::TableName;

/// A sequence and its value.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a column of the catalog query"
)]
pub struct Sequence {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its name.
    pub name: TableName,
    /// Its value; `None` when the role may not read it, and before it is read.
    pub last_value: Option<i64>,
    /// Whether that value was used (`is_called`).
    pub is_called: bool,
    /// Whether the role may read it.
    pub can_read: bool,
    /// Whether an extension made it.
    pub extension_member: bool,
    /// Whether its extension says that its value is the user's, or it numbers rows that are.
    pub is_config: bool,
    /// Its owner.
    pub owner: String,
    /// The table of the column that it numbers.
    pub of_table: Option<u32>,
    /// Whether a default or a view uses it.
    pub is_used: bool,
}

impl Sequence {
    /// Whether the role may not read it, and nothing that is restored needs it.
    pub fn can_be_spared(&self) -> bool {
        !self.can_read && !self.extension_member && self.of_table.is_none() && !self.is_used
    }
}

/// Every sequence, without its value.
pub fn sequences(session: &mut Session) -> Result<Vec<Sequence>, PgError> {
    let rows = session.rows(
        "listing the sequences",
        &format!(
            "SELECT n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text,
                    has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'),
                    EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                              AND d.deptype = 'e'), c.oid,
                    EXISTS (SELECT FROM pg_extension e
                            WHERE c.oid = ANY (e.extconfig)
                               OR EXISTS (SELECT FROM pg_depend d
                                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                            AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
                                            AND d.refobjid = ANY (e.extconfig))),
                    (SELECT d.refobjid FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') LIMIT 1),
                    EXISTS (SELECT FROM pg_depend d
                            WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.deptype = 'n')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {USER_SCHEMA} AND {NOT_GONE}
             ORDER BY 1, 2"
        ),
    )?;
    Ok(rows
        .iter()
        .map(|row| Sequence {
            oid: row.get(5),
            name: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            last_value: None,
            is_called: false,
            can_read: row.get(3),
            extension_member: row.get(4),
            is_config: row.get(6),
            owner: row.get(2),
            of_table: row.get(7),
            is_used: row.get(8),
        })
        .collect())
}

const READING: &str = "reading the sequences";

impl Sequence {
    /// Whether its value belongs into a backup.
    pub fn is_taken(&self) -> bool {
        !self.extension_member || (self.is_config && self.can_read)
    }
}

/// Reads the values of those that the role may read, in a transaction at the source. Values are not part of a
/// snapshot: they are at least as high as the snapshot's rows need.
///
/// Reading anything but a sequence could run its owner's code, and anything may have its name by now: a view is
/// refused by the session ([`Session::at_source`]) or lacks the column `tableoid`, which says whether it is the one that
/// was listed. Returns why some were not read.
pub fn read_sequences(
    session: &mut Session,
    sequences: &mut [Sequence],
) -> Result<Vec<String>, PgError> {
    let mut unread = unreadable(sequences);
    let refused = unread.len();
    for batch in sequences.chunks_mut(200) {
        let mut batch: Vec<&mut Sequence> = batch.iter_mut().filter(|s| s.can_read).collect();
        let patience = if unread.len() - refused < MANY {
            WAIT
        } else {
            SHORT_WAIT
        };
        if batch.is_empty() || read_or_undo(session, &mut batch, patience)?.is_none() {
            continue;
        }
        for sequence in batch {
            let one = &mut [&mut *sequence];
            let patience = if unread.len() - refused < MANY {
                WAIT
            } else {
                SHORT_WAIT
            };
            if let Some(why) = read_or_undo(session, one, patience)? {
                let name = &one[0].name;
                unread.push(format!(
                    "the sequence {name} was changed during the backup, and its value is not in the archive: {why}"
                ));
            }
        }
    }
    Ok(unread)
}

/// Why the values of an extension's sequences are not in the archive.
fn unreadable(sequences: &[Sequence]) -> Vec<String> {
    let unread = sequences
        .iter()
        .filter(|it| it.extension_member && it.is_config && !it.can_read);
    unread
        .map(|it| {
            let name = it.name.sql();
            format!(
                "the value of the sequence {}, of an extension, is not in the archive: this role may not read it; \
                 GRANT SELECT ON SEQUENCE {name} TO ...",
                it.name
            )
        })
        .collect()
}

/// How long to wait for who holds the lock of a sequence, in milliseconds. It may be held for as long as he likes,
const WAIT: u32 = 2_000;
/// and once so many could not be read, others of the same owner are not waited for as long.
const MANY: usize = 3;
const SHORT_WAIT: u32 = 50;

/// Reads some; when that failed because definitions changed, rolls back and returns why.
fn read_or_undo(
    session: &mut Session,
    sequences: &mut [&mut Sequence],
    patience: u32,
) -> Result<Option<String>, PgError> {
    let begin = format!("SAVEPOINT sequences; SET LOCAL lock_timeout = {patience}");
    session.simple(READING, &begin)?;
    match read(session, sequences) {
        Ok(()) => {
            session.simple(
                READING,
                "RELEASE SAVEPOINT sequences; SET LOCAL lock_timeout = 0",
            )?;
            Ok(None)
        }
        Err(PgError::Query { why, .. }) if is_of_change(&why) => {
            session.simple(
                READING,
                "ROLLBACK TO SAVEPOINT sequences; RELEASE SAVEPOINT sequences",
            )?;
            Ok(Some(why))
        }
        Err(error) => Err(error),
    }
}

const REPLACED: &str = "another one has its name";

/// Dropped (42P01, 3F000, XX000), locked (55P03), or no sequence any more: a view is refused (55000), has other columns
/// (42703), or is nothing that this role may read (42501).
fn is_of_change(why: &str) -> bool {
    [
        "42P01",
        "3F000",
        "55P03",
        "55000",
        "42703",
        "42501",
        "42809",
        "could not open relation",
        REPLACED,
    ]
    .iter()
    .any(|word| why.contains(word))
}

fn read(session: &mut Session, sequences: &mut [&mut Sequence]) -> Result<(), PgError> {
    let selects: Vec<String> = sequences
        .iter()
        .enumerate()
        .map(|(i, sequence)| {
            let said_twice = format!("concat_ws(' ', {i}, last_value, is_called)");
            format!(
                "SELECT {i}, last_value, is_called, {said_twice}, tableoid FROM {}",
                sequence.name.sql()
            )
        })
        .collect();
    for row in session.rows(READING, &selects.join(" UNION ALL "))? {
        let at: i32 = row.get(0);
        let (value, is_called): (i64, bool) = (row.get(1), row.get(2));
        let flag = if is_called { "t" } else { "f" };
        PgError::check_same_answer(READING, row.get(3), &format!("{at} {value} {flag}"))?;
        let sequence = usize::try_from(at)
            .ok()
            .and_then(|at| sequences.get_mut(at));
        let Some(sequence) = sequence else { continue };
        if row.get::<_, u32>(4) != sequence.oid {
            return Err(PgError::Query {
                doing: READING.to_owned(),
                why: REPLACED.to_owned(),
            });
        }
        sequence.last_value = Some(value);
        sequence.is_called = is_called;
    }
    Ok(())
}
