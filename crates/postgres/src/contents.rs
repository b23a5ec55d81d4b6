//! The list of what a dump holds, as `pg_restore --list` gives it, and the lines of it that a step of a restore takes.

use crate::error::PgError;
use crate::tools::{self, Finished};
use hubvault_model::Cancel;
use std::process::Command;

/// Before the number of objects, in the head of a list.
const COUNT: &str = ";     TOC Entries: ";

/// What `--verbose` adds under an object.
const DEPENDS: &str = ";\tdepends on: ";

/// A step of building what comes after the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Indexes, and the constraints that are indexes.
    Indexes,
    /// Partitions' indexes become parts of the index above. One after the other: two at once, on two
    /// levels, do not see each other, and the index above stays invalid.
    Attach,
    /// All else. A foreign key to a partitioned table needs the index that only the step before
    /// makes valid, which `pg_restore` does not know when it works in parallel.
    Rest,
}

/// The list of a dump that `pg_restore` is given on its standard input, or by a path that `command` names.
///
/// The list has no last line by which a lost end could be told, and an exit status of success is not enough: a
/// wrapper may lose it. The head says how many objects the dump has, and `--verbose` names every one of them.
pub(crate) fn list(
    mut command: Command,
    dump: &[u8],
    cancel: &Cancel,
) -> Result<Finished, PgError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.args(["--list", "--verbose"]);
    let said = tools::run(command, dump, cancel)?;
    if !is_whole(&said.stdout) {
        let why = "its output of --list is not whole".to_owned();
        return Err(PgError::Tool { program, why });
    }
    Ok(said)
}

fn is_whole(list: &[u8]) -> bool {
    let text = String::from_utf8_lossy(list);
    let told = text.lines().find_map(|line| line.strip_prefix(COUNT));
    let told = told.and_then(|count| count.parse::<usize>().ok());
    text.ends_with('\n') && told == Some(text.lines().filter(|line| is_object(line)).count())
}

/// `dump id; oid of the catalog table, oid of the object, description` ("`pg_restore`", `-L`).
fn is_object(line: &str) -> bool {
    line.split_once("; ")
        .is_some_and(|(id, _)| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Comments out the lines whose object is one of the foreign keys `oids`, and leaves out who needs whom.
pub(crate) fn without(list: &[u8], oids: &[u32]) -> Vec<u8> {
    let text = String::from_utf8_lossy(list);
    let mut out = String::with_capacity(text.len() + oids.len());
    for line in text.lines().filter(|line| !line.starts_with(DEPENDS)) {
        let object = line.split_once("; ").and_then(|(_, rest)| {
            let mut words = rest.split(' ');
            (
                words.next()?,
                words.next()?.parse::<u32>().ok()?,
                words.next()?,
            )
                .into()
        });
        if matches!(object, Some(("2606", oid, "FK")) if oids.contains(&oid)) {
            out.push(';');
        }
        out.push_str(line);
        out.push('\n');
    }
    out.into_bytes()
}

/// The lines that belong to a step.
pub(crate) fn lines_of(list: &[u8], step: Step) -> Vec<u8> {
    let text = String::from_utf8_lossy(list);
    let mut lines: String = text
        .lines()
        .filter(|line| !line.starts_with(';') && step_of(line) == step)
        .fold(String::new(), |lines, line| lines + line + "\n");
    // An empty list would mean everything.
    lines.push_str("; the end\n");
    lines.into_bytes()
}

/// `3456; 1259 16412 INDEX public users_idx postgres` ("`pg_restore`", `-l`).
fn step_of(line: &str) -> Step {
    let kind = line.splitn(4, ' ').nth(3).unwrap_or_default();
    if kind.starts_with("INDEX ATTACH ") {
        Step::Attach
    } else if kind.starts_with("INDEX ") || kind.starts_with("CONSTRAINT ") {
        Step::Indexes
    } else {
        Step::Rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_cut_is_not_taken_wherever_that_was() {
        let whole = ";\n;     dbname: a\n;     TOC Entries: 3\n;\n; Selected TOC Entries:\n;\n\
            3353; 0 0 ENCODING - ENCODING \n215; 1259 16385 TABLE public a postgres\n\
            3205; 2604 16388 DEFAULT public a id postgres\n;\tdepends on: 215\n";
        // Who needs whom is of no use here.
        let needed = whole.len() - ";\tdepends on: 215\n".len();
        for end in 0..=whole.len() {
            let cut = &whole[..end];
            let all = end >= needed && cut.ends_with('\n');
            assert_eq!(is_whole(cut.as_bytes()), all, "{cut}");
        }
        assert!(
            !String::from_utf8(without(whole.as_bytes(), &[]))
                .unwrap()
                .contains("depends")
        );
    }

    #[test]
    fn indexes_are_told_from_what_needs_them() {
        for (line, step) in [
            (
                "3456; 1259 16412 INDEX public users_idx postgres",
                Step::Indexes,
            ),
            (
                "3458; 2606 16412 CONSTRAINT public users users_pkey postgres",
                Step::Indexes,
            ),
            (
                "3457; 0 0 INDEX ATTACH public parts_pkey postgres",
                Step::Attach,
            ),
            (
                "3459; 2606 16413 FK CONSTRAINT public a a_b_fkey postgres",
                Step::Rest,
            ),
            (
                "3460; 2620 16414 TRIGGER public a INDEX postgres",
                Step::Rest,
            ),
        ] {
            assert_eq!(step_of(line), step, "{line}");
        }
    }

    #[test]
    fn only_the_foreign_keys_that_are_named_are_commented_out() {
        let list = b";\n; Archive\n215; 1259 16386 TABLE public users postgres\n\
            3357; 2606 16395 FK CONSTRAINT public a a_b_fkey postgres\n\
            3358; 2606 16396 FK CONSTRAINT public a a_c_fkey postgres\n";
        let text = String::from_utf8(without(list, &[16395, 16386])).unwrap();
        assert!(text.contains("\n;3357; 2606 16395 FK"));
        assert!(text.contains("\n3358; 2606 16396 FK"));
        assert!(text.contains("\n215; 1259 16386 TABLE"));
    }
}
