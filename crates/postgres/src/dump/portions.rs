//! Splits the definitions before the rows by the login that creates them: what may run code of the owners is not created
//! over a superuser's login.

use crate::dump::contents::{DEPENDS, id_of, is_about_another, is_object, kind_of};
use std::collections::BTreeSet;

/// Kinds of definitions that hold expressions and whose making may run functions of the database's owners: a literal
/// of a composite type or an array is read at once, with the CHECKs of its domains, also where it is a function's default
/// argument, in its body (`BEGIN ATOMIC`), or an aggregate's first value; partition keys, bounds and generated columns are
/// evaluated as far as they are constant, and CHECKs of a partition when it is attached.
const RUN_CODE: [&str; 9] = [
    "AGGREGATE ",
    "DEFAULT ",
    "DOMAIN ",
    "FOREIGN TABLE ",
    "FUNCTION ",
    "MATERIALIZED VIEW ",
    "PROCEDURE ",
    "TABLE ",
    "VIEW ",
];

/// Kinds whose expressions may use a cast that nothing says they need: a dump lists casts before them.
const USE_CASTS: [&str; 6] = [
    "DEFAULT ",
    "DOMAIN ",
    "FOREIGN TABLE ",
    "MATERIALIZED VIEW ",
    "TABLE ",
    "VIEW ",
];

/// Kinds that can be made over either login.
const OF_EITHER: [&str; 1] = ["SEQUENCE "];

/// Kinds that come after the rows.
const AFTER_ROWS: [&str; 14] = [
    "CHECK CONSTRAINT ",
    "CONSTRAINT ",
    "DEFAULT ACL ",
    "EVENT TRIGGER ",
    "FK CONSTRAINT ",
    "INDEX ",
    "MATERIALIZED VIEW DATA ",
    "POLICY ",
    "PUBLICATION ",
    "ROW SECURITY ",
    "RULE ",
    "STATISTICS ",
    "SUBSCRIPTION ",
    "TRIGGER ",
];

/// A part of a list that is made over one login.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Portion {
    /// Whether it is made over a login that is no superuser's.
    pub(crate) lesser: bool,
    /// Its lines.
    pub(crate) list: Vec<u8>,
}

/// An object that comes before the rows, with what is said about it.
struct Object<'a> {
    id: &'a str,
    kind: &'a str,
    lines: Vec<&'a str>,
    needs: Vec<&'a str>,
}

impl Object<'_> {
    /// Whether it is made over this kind of login.
    fn is_made(&self, lesser: bool) -> bool {
        let is_one_of = |kinds: &[&str]| kinds.iter().any(|known| self.kind.starts_with(known));
        is_one_of(&OF_EITHER) || is_one_of(&RUN_CODE) == lesser
    }
}

/// What comes before the rows, cut where the login changes, and the privileges on all that, without the numbers
/// `after_rows`. The login changes as seldom as what needs what allows.
pub(crate) fn portions(list: &[u8], after_rows: &BTreeSet<String>) -> (Vec<Portion>, Vec<u8>) {
    let text = String::from_utf8_lossy(list);
    let (mut left, mut privileges) = before_rows(&text, after_rows);
    let mut portions = Vec::new();
    let mut portion = Portion::default();
    while !left.is_empty() {
        let mut waiting: BTreeSet<&str> = left.iter().map(|object| object.id).collect();
        let mut later = Vec::new();
        for object in left {
            let is_free = object.needs.iter().all(|id| !waiting.contains(id));
            if is_free && object.is_made(portion.lesser) {
                waiting.remove(object.id);
                append(&mut portion.list, &object.lines);
            } else {
                later.push(object);
            }
        }
        left = later;
        let lesser = !portion.lesser;
        if portion.list.is_empty() && !left.iter().any(|object| is_next(object, lesser, &waiting)) {
            // They need each other: in the list's order then.
            let object = left.remove(0);
            portion.lesser = !object.is_made(false);
            append(&mut portion.list, &object.lines);
            portions.push(std::mem::take(&mut portion));
            continue;
        }
        if !portion.list.is_empty() {
            portions.push(std::mem::take(&mut portion));
        }
        portion.lesser = lesser;
    }
    // An empty list would mean everything.
    privileges.extend_from_slice(b"; the end\n");
    (portions, privileges)
}

fn is_next(object: &Object<'_>, lesser: bool, waiting: &BTreeSet<&str>) -> bool {
    object.is_made(lesser) && object.needs.iter().all(|id| !waiting.contains(id))
}

fn append(list: &mut Vec<u8>, lines: &[&str]) {
    for line in lines {
        list.extend_from_slice(line.as_bytes());
        list.push(b'\n');
    }
}

/// The objects before the rows, comments and labels with what they are about, and the lines of all privileges.
fn before_rows<'a>(text: &'a str, after_rows: &BTreeSet<String>) -> (Vec<Object<'a>>, Vec<u8>) {
    let mut objects: Vec<Object<'_>> = Vec::new();
    let (mut privileges, mut casts) = (Vec::new(), Vec::new());
    // Whether what follows is about the last of the objects.
    let mut is_last = false;
    // Whether it is what that object needs: comments and privileges need what they are about.
    let mut are_needs = false;
    for line in text.lines() {
        let last = objects.last_mut().filter(|_| are_needs);
        if let (Some(needs), Some(object)) = (line.strip_prefix(DEPENDS), last) {
            object.needs.extend(needs.split(' '));
        }
        if !is_object(line) {
            continue;
        }
        are_needs = false;
        if after_rows.contains(id_of(line)) {
            is_last = false;
            continue;
        }
        let kind = kind_of(line);
        if kind.starts_with("ACL ") {
            append(&mut privileges, &[line]);
        } else if is_about_another(kind) {
            if let (Some(object), true) = (objects.last_mut(), is_last) {
                object.lines.push(line);
            }
        } else {
            is_last = !comes_after_rows(line);
            are_needs = is_last;
            if is_last {
                let id = id_of(line);
                if kind.starts_with("CAST ") {
                    casts.push(id);
                }
                let uses_casts = USE_CASTS.iter().any(|known| kind.starts_with(known));
                objects.push(Object {
                    id,
                    kind,
                    lines: vec![line],
                    needs: if uses_casts {
                        casts.clone()
                    } else {
                        Vec::new()
                    },
                });
            }
        }
    }
    (objects, privileges)
}

/// A schema may have a name that reads like a part of a kind: the catalog's number tells them apart.
fn comes_after_rows(line: &str) -> bool {
    let kind = kind_of(line);
    let known = AFTER_ROWS.iter().find(|known| kind.starts_with(**known));
    match (known, line.split(' ').nth(1)) {
        (Some(&"MATERIALIZED VIEW DATA "), Some(catalog)) => catalog == "0",
        (Some(&"DEFAULT ACL "), Some(catalog)) => catalog != "2604",
        (known, _) => known.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comments_and_privileges_need_is_not_what_their_object_needs() {
        let list = b"1; 2615 2200 SCHEMA - app postgres\n\
            2; 0 0 ACL - SCHEMA app postgres\n;\tdepends on: 1\n\
            3; 1259 16385 TABLE app a postgres\n;\tdepends on: 1\n\
            4; 0 0 ACL app TABLE a postgres\n;\tdepends on: 3\n\
            5; 1259 16386 TABLE app b postgres\n;\tdepends on: 3 1\n\
            6; 0 0 COMMENT app TABLE b postgres\n;\tdepends on: 5\n\
            7; 0 0 ACL app TABLE b postgres\n;\tdepends on: 5\n";
        let (portions, _) = portions(list, &BTreeSet::new());
        let lines = portions
            .iter()
            .map(|it| (it.lesser, it.list.split(|byte| *byte == b'\n').count() - 1));
        // More portions are more processes.
        assert_eq!(lines.collect::<Vec<_>>(), [(false, 1), (true, 3)]);
    }

    #[test]
    fn tables_are_made_over_a_lesser_login_and_privileges_come_last() {
        let list = b"; head\n\
            1; 2615 2200 SCHEMA - DATA postgres\n\
            2; 0 0 ACL - SCHEMA \"DATA\" postgres\n\
            3; 1255 16390 FUNCTION public f() postgres\n\
            4; 1259 16385 TABLE DATA a app\n\
            ;\tdepends on: 1\n\
            5; 0 0 COMMENT DATA TABLE a app\n\
            6; 1259 16387 VIEW public v app\n\
            7; 0 0 TABLE ATTACH public part app\n\
            8; 2617 16391 OPERATOR public @@@ postgres\n\
            ;\tdepends on: 4 1\n\
            9; 2606 16412 CONSTRAINT public users users_pkey postgres\n\
            10; 0 0 COMMENT public CONSTRAINT users_pkey ON users postgres\n\
            11; 1255 16392 FUNCTION public early() postgres\n\
            12; 1259 16393 TABLE public of_late app\n\
            ;\tdepends on: 8\n\
            13; 1259 16394 MATERIALIZED VIEW DATA m app\n\
            14; 2605 16395 CAST - CAST (public.a AS integer) \n;\tdepends on: 3 4\n\
            15; 1259 16396 TABLE public after_cast app\n\
            16; 1259 16395 MATERIALIZED VIEW public by_key app\n\
            17; 0 0 ACL public TABLE by_key app\n";
        let after_rows = ["16", "17"].map(str::to_owned).into();
        let (portions, privileges) = portions(list, &after_rows);
        assert_eq!(
            String::from_utf8_lossy(&privileges),
            "2; 0 0 ACL - SCHEMA \"DATA\" postgres\n; the end\n"
        );
        let said = portions.iter().map(|portion| {
            let ids = String::from_utf8_lossy(&portion.list);
            let ids: Vec<&str> = ids
                .lines()
                .filter_map(|line| line.split(';').next())
                .collect();
            (portion.lesser, ids.join(" "))
        });
        let expected = [
            (false, "1"),
            (true, "3 4 5 6 7 11 13"),
            (false, "8 14"),
            (true, "12 15"),
        ];
        let expected = expected.map(|(lesser, ids)| (lesser, ids.to_owned()));
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }
}
