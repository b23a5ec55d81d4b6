//! The contents of a dump, as `pg_restore --list` prints them, and the lines that a step of a restore uses.

use crate::dump::tools::{self, Finished};
use crate::error::PgError;
use hubvault_model::Cancel;
use std::collections::BTreeSet;
use std::process::Command;

/// Before the number of objects, in the head of a list.
const COUNT: &str = ";     TOC Entries: ";

/// What `--verbose` adds under an object.
pub(crate) const DEPENDS: &str = ";\tdepends on: ";

/// A step of creating the definitions after the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Indexes, and the constraints that are indexes.
    Indexes,
    /// Partitions' indexes become parts of the index above. One after the other: two at once, on two
    /// levels, do not see each other, and the index above stays invalid.
    Attach,
    /// What reads rows or contains expressions. A foreign key to a partitioned table needs the index that
    /// only the step before makes valid, which `pg_restore` does not know when it works in parallel.
    Checks,
    /// Indexes of materialized views: some of these views group by a primary key and are made with the step before.
    IndexesOfViews,
    /// All else, of which some only a superuser can make.
    Rest,
    /// Event triggers, which fire for all that comes before.
    Events,
}

impl Step {
    /// Whether several connections may do it.
    pub(crate) fn is_parallel(self) -> bool {
        matches!(self, Self::Indexes | Self::Checks | Self::IndexesOfViews)
    }
}

/// The list of a dump that `pg_restore` is given on its standard input, or by a path that `command` names.
///
/// The list has no last line that would show a lost end, and a successful exit status is not enough: a wrapper may
/// hide an error. The head says how many objects the dump has, and `--verbose` names every one of them.
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
pub(crate) fn is_object(line: &str) -> bool {
    line.split_once("; ")
        .is_some_and(|(id, _)| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a list names no object.
pub(crate) fn names_nothing(list: &[u8]) -> bool {
    !String::from_utf8_lossy(list).lines().any(is_object)
}

/// Comments out the lines whose object is one of the foreign keys `oids`, with the comments on them, and leaves out who
/// needs whom.
pub(crate) fn without(list: &[u8], oids: &[u32]) -> Vec<u8> {
    let text = String::from_utf8_lossy(list);
    let mut out = String::with_capacity(text.len() + oids.len());
    let mut is_skipped = false;
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
        if !is_about_another(kind_of(line)) {
            is_skipped = matches!(object, Some(("2606", oid, "FK")) if oids.contains(&oid));
        }
        if is_skipped {
            out.push(';');
        }
        out.push_str(line);
        out.push('\n');
    }
    out.into_bytes()
}

/// The lines that belong to one of some steps, in their order. A comment, a label or privileges go with the object before
/// them: `pg_restore` takes them for a part of that object's section. `of_views` are [`indexes_of_views`].
pub(crate) fn lines_of(list: &[u8], steps: &[Step], of_views: &BTreeSet<&str>) -> Vec<u8> {
    let text = String::from_utf8_lossy(list);
    let mut lines = String::new();
    let mut step = Step::Rest;
    for line in text.lines().filter(|line| !line.starts_with(';')) {
        let kind = kind_of(line);
        if of_views.contains(id_of(line)) {
            step = Step::IndexesOfViews;
        } else if !is_about_another(kind) && !kind.starts_with("ACL ") {
            step = step_of(kind);
        }
        if steps.contains(&step) {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    // An empty list would mean everything.
    lines.push_str("; the end\n");
    lines.into_bytes()
}

/// The number of an object.
pub(crate) fn id_of(line: &str) -> &str {
    line.split(';').next().unwrap_or_default()
}

/// The numbers of the indexes of materialized views, by a list that says who needs whom.
pub(crate) fn indexes_of_views(list: &str) -> BTreeSet<&str> {
    let (mut views, mut indexes) = (BTreeSet::new(), BTreeSet::new());
    let mut index = None;
    for line in list.lines() {
        if let Some(needs) = line.strip_prefix(DEPENDS) {
            let is_of_view = needs.split(' ').any(|id| views.contains(id));
            indexes.extend(index.filter(|_| is_of_view));
        } else if is_object(line) {
            let kind = kind_of(line);
            index = kind.starts_with("INDEX ").then(|| id_of(line));
            if kind.starts_with("MATERIALIZED VIEW ") {
                views.insert(id_of(line));
            }
        }
    }
    indexes
}

/// Kinds of objects whose owner must be a superuser, and stay one while they are made ("CREATE EVENT TRIGGER",
/// "ALTER FOREIGN DATA WRAPPER", "CREATE PUBLICATION", "CREATE SUBSCRIPTION").
const OF_SUPERUSERS: [&str; 4] = [
    "EVENT TRIGGER ",
    "FOREIGN DATA WRAPPER ",
    "PUBLICATION ",
    "SUBSCRIPTION ",
];

/// Those of `roles` that own what only a superuser may own. An owner ends a line, and any name may hold blanks: one
/// that ends like another counts, too.
pub(crate) fn superusers<'a>(list: &[u8], roles: &'a [String]) -> Vec<&'a String> {
    let text = String::from_utf8_lossy(list);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            let kind = kind_of(line);
            OF_SUPERUSERS.iter().any(|known| kind.starts_with(known))
        })
        .collect();
    let owns = |role: &String| {
        let end = |line: &&str| {
            line.strip_suffix(role.as_str())
                .is_some_and(|rest| rest.ends_with(' '))
        };
        lines.iter().any(end)
    };
    roles.iter().filter(|role| owns(role)).collect()
}

/// Whether a line is a comment or a label on the object before it.
pub(crate) fn is_about_another(kind: &str) -> bool {
    ["COMMENT ", "SECURITY LABEL "]
        .iter()
        .any(|said| kind.starts_with(said))
}

/// The lines of some kinds, in their order, with the comments on them; or all others.
pub(crate) fn lines_of_kinds(list: &[u8], kinds: &[&str], others: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(list);
    let mut lines = String::new();
    for line in text.lines().filter(|line| is_object(line)) {
        let kind = kind_of(line);
        let about = kind.strip_prefix("COMMENT - ").unwrap_or(kind);
        if kinds.iter().any(|known| about.starts_with(known)) != others {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    // An empty list would mean everything.
    lines.push_str("; the end\n");
    lines.into_bytes()
}

/// From `3456; 1259 16412 INDEX public users_idx postgres` all from `INDEX` on ("`pg_restore`", `-l`).
pub(crate) fn kind_of(line: &str) -> &str {
    line.splitn(4, ' ').nth(3).unwrap_or_default()
}

/// Kinds that come after the indexes and belong to tables, or hold expressions that need an index (a view that groups
/// by a primary key, and what uses it).
const OF_TABLES: [&str; 12] = [
    "CHECK CONSTRAINT ",
    "DEFAULT ",
    "FK CONSTRAINT ",
    "FUNCTION ",
    "MATERIALIZED VIEW ",
    "POLICY ",
    "PROCEDURE ",
    "ROW SECURITY ",
    "RULE ",
    "STATISTICS ",
    "TRIGGER ",
    "VIEW ",
];

/// Kinds that never come before the rows.
const AFTER_ROWS: [&str; 11] = [
    "CHECK CONSTRAINT ",
    "CONSTRAINT ",
    "EVENT TRIGGER ",
    "FK CONSTRAINT ",
    "INDEX ",
    "POLICY ",
    "PUBLICATION ",
    "ROW SECURITY ",
    "RULE ",
    "SUBSCRIPTION ",
    "TRIGGER ",
];

/// Whether an object of this kind comes after the rows, whatever it needs.
pub(crate) fn is_surely_after_rows(line: &str) -> bool {
    is_object(line)
        && AFTER_ROWS
            .iter()
            .any(|known| kind_of(line).starts_with(known))
}

fn step_of(kind: &str) -> Step {
    if kind.starts_with("EVENT TRIGGER ") {
        Step::Events
    } else if kind.starts_with("INDEX ATTACH ") {
        Step::Attach
    } else if kind.starts_with("INDEX ") || kind.starts_with("CONSTRAINT ") {
        Step::Indexes
    } else if !kind.starts_with("DEFAULT ACL ")
        && OF_TABLES.iter().any(|known| kind.starts_with(known))
    {
        Step::Checks
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
                Step::Checks,
            ),
            (
                "3461; 2606 16415 CHECK CONSTRAINT public a a_check postgres",
                Step::Checks,
            ),
            (
                "3460; 2620 16414 TRIGGER public a INDEX postgres",
                Step::Checks,
            ),
        ] {
            assert_eq!(step_of(kind_of(line)), step, "{line}");
        }
    }

    #[test]
    fn a_comment_goes_with_what_it_is_about() {
        let list = b"; head\n\
            3458; 2606 16412 CONSTRAINT public users users_pkey postgres\n\
            3500; 0 0 COMMENT public CONSTRAINT users_pkey ON users postgres\n\
            3459; 2606 16413 FK CONSTRAINT public a a_b_fkey postgres\n\
            3501; 0 0 COMMENT public CONSTRAINT a_b_fkey ON a postgres\n\
            3460; 3466 16414 EVENT TRIGGER - t postgres\n";
        let lines = |steps: &[Step]| {
            let lines = lines_of(list, steps, &BTreeSet::new());
            let ids = String::from_utf8(lines).unwrap();
            ids.lines()
                .filter_map(|line| Some(line.split_once(';')?.0.to_owned()))
                .filter(|id| !id.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(lines(&[Step::Indexes]), "3458 3500");
        assert_eq!(lines(&[Step::Checks]), "3459 3501");
        assert_eq!(lines(&[Step::Events]), "3460");
        let none = BTreeSet::new();
        assert!(names_nothing(&lines_of(list, &[Step::Attach], &none)));
        assert!(!names_nothing(&lines_of(list, &[Step::Events], &none)));
        assert_eq!(lines(&[Step::Checks, Step::Events]), "3459 3501 3460");
    }

    #[test]
    fn indexes_and_privileges_of_a_view_that_needs_a_key_come_with_it() {
        let list = "215; 1259 16385 TABLE public a postgres\n\
            3500; 0 0 ACL public TABLE a postgres\n\
            3458; 2606 16412 CONSTRAINT public a a_pkey postgres\n\
            ;\tdepends on: 215\n\
            216; 1259 16386 MATERIALIZED VIEW public m postgres\n\
            ;\tdepends on: 3458 215\n\
            3501; 0 0 ACL public TABLE m postgres\n\
            3459; 1259 16413 INDEX public m_id postgres\n\
            ;\tdepends on: 216 216\n\
            3502; 0 0 COMMENT public INDEX m_id postgres\n\
            3460; 1259 16414 INDEX public a_id postgres\n\
            ;\tdepends on: 215\n";
        let of_views = indexes_of_views(list);
        let lines = |step| {
            let lines = lines_of(list.as_bytes(), &[step], &of_views);
            let text = String::from_utf8(lines).unwrap();
            text.lines()
                .map(|line| id_of(line).to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(lines(Step::Indexes).trim(), "3458 3460");
        assert_eq!(lines(Step::Checks).trim(), "216 3501");
        assert_eq!(lines(Step::IndexesOfViews).trim(), "3459 3502");
        assert_eq!(lines(Step::Rest).trim(), "215 3500");
    }

    #[test]
    fn only_who_owns_what_superusers_own_is_made_one() {
        let list = b"3353; 0 0 ENCODING - ENCODING \n\
            3470; 3466 16500 EVENT TRIGGER - on ddl the boss\n\
            215; 1259 16385 TABLE public a app\n\
            3471; 6104 16501 PUBLICATION - all of it rep\n";
        let roles = ["boss", "the boss", "app", "rep"].map(str::to_owned);
        assert_eq!(superusers(list, &roles), ["boss", "the boss", "rep"]);
    }

    #[test]
    fn only_the_foreign_keys_that_are_named_are_commented_out() {
        let list = b";\n; Archive\n215; 1259 16386 TABLE public users postgres\n\
            3357; 2606 16395 FK CONSTRAINT public a a_b_fkey postgres\n\
            3400; 0 0 COMMENT public CONSTRAINT a_b_fkey ON a postgres\n\
            3358; 2606 16396 FK CONSTRAINT public a a_c_fkey postgres\n";
        let text = String::from_utf8(without(list, &[16395, 16386])).unwrap();
        assert!(text.contains("\n;3357; 2606 16395 FK"));
        assert!(text.contains("\n;3400; 0 0 COMMENT"));
        assert!(text.contains("\n3358; 2606 16396 FK"));
        assert!(text.contains("\n215; 1259 16386 TABLE"));
    }
}
