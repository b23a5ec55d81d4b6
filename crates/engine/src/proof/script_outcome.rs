//! What a run of `restore.sh` in a drill showed, by its output.

use crate::command::Ended;
use hubvault_model::one_line;

/// What only a superuser may make, or what is there before the script begins: its failures are not the script's.
const OF_SUPERUSERS: [&str; 10] = [
    "ACCESS METHOD ",
    "CAST ",
    "EVENT TRIGGER ",
    "EXTENSION ",
    "FOREIGN DATA WRAPPER ",
    "OPERATOR CLASS ",
    "OPERATOR FAMILY ",
    "PUBLICATION ",
    "SCHEMA ",
    "SUBSCRIPTION ",
];

/// Of these what other objects need, each with how a server says that it is missing, besides by its name.
const NEEDED: [(&str, &[&str]); 4] = [
    ("ACCESS METHOD ", &[]),
    ("CAST ", &["cannot cast type "]),
    (
        "OPERATOR CLASS ",
        &["has no default operator class", "could not identify a"],
    ),
    ("OPERATOR FAMILY ", &[]),
];

/// What a run of the script showed, for people.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ran {
    /// What it could not do.
    pub(super) problems: Vec<String>,
    /// What it could not show, as it needs what only a superuser may make.
    pub(super) unshown: Vec<String>,
}

impl Ran {
    /// Whether it did not begin for want of a program. The database's own texts come after the name of an object.
    pub(super) fn lacks_a_program(&self) -> bool {
        let is_lack = |why: &String| {
            why.starts_with("restore.sh: ") && why.ends_with(" is needed and was not found")
        };
        !self.problems.is_empty() && self.problems.iter().all(is_lack)
    }

    /// Sorts out what `ended` says: an object that lacks what the server permits to superusers only, or lacks such an object,
    /// is no fault of the script.
    pub(super) fn of(ended: &Ended) -> Self {
        let mut ran = Self {
            problems: problems(ended),
            unshown: Vec::new(),
        };
        if ended.code != Some(3) {
            return ran;
        }
        let refused = listed(&ended.output).filter(|line| is_refused(line));
        let (mut signs, mut names): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
        for line in refused {
            let known = NEEDED.iter().find(|(kind, _)| line.starts_with(kind));
            if let Some((kind, said)) = known {
                signs.extend(*said);
                names.extend(name_of(&line[kind.len()..]));
            }
        }
        loop {
            let is_follow_up = |why: &String| {
                signs.iter().any(|sign| why.contains(sign))
                    || names.iter().any(|name| is_missing(name, why))
            };
            let (found, left): (Vec<_>, Vec<_>) = ran.problems.into_iter().partition(is_follow_up);
            ran.problems = left;
            if found.is_empty() {
                return ran;
            }
            for line in &found {
                names.extend(line.split_once(' ').and_then(|(_, rest)| name_of(rest)));
            }
            ran.unshown.extend(found);
        }
    }
}

/// From `public the name owner: ERROR:  ...` the name of an object.
fn name_of(line: &str) -> Option<String> {
    let (object, _) = line.split_once(": ")?;
    let (_, name_and_owner) = object.split_once(' ')?;
    let (name, _) = name_and_owner.rsplit_once(' ')?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Whether an error says that an object of this name is not there, with its schema or without.
fn is_missing(name: &str, why: &str) -> bool {
    ["\"", "."]
        .iter()
        .any(|before| why.contains(&format!("{before}{name}\" does not exist")))
}

/// How a server says that a role may not do something.
const REFUSED: [&str; 3] = ["permission denied", "must be superuser", "must be owner"];

fn is_refused(line: &str) -> bool {
    REFUSED.iter().any(|said| line.contains(said))
}

/// The objects at the end of its output that it did not make or load.
fn listed(output: &str) -> impl Iterator<Item = &str> {
    let lines = output.lines();
    let lines = lines.skip_while(|line| *line != "not rebuilt:" && *line != "not loaded:");
    lines.filter_map(|line| line.strip_prefix("  "))
}

/// What the end of its output says is wrong, but for what needs a superuser.
fn problems(ended: &Ended) -> Vec<String> {
    let of_superuser = |line: &str| {
        let object = line.strip_prefix("COMMENT - ").unwrap_or(line);
        OF_SUPERUSERS.iter().any(|kind| object.starts_with(kind)) || is_refused(line)
    };
    match ended.code {
        Some(0) => Vec::new(),
        Some(3) => listed(&ended.output)
            .filter(|line| !of_superuser(line))
            .map(|line| one_line(line).into_owned())
            .collect(),
        _ if ended.timed_out => vec!["it did not end in time".to_owned()],
        _ => {
            let last = ended.output.lines().rfind(|line| !line.trim().is_empty());
            vec![one_line(last.unwrap_or("it was ended")).into_owned()]
        }
    }
}

/// How many are named.
const NAMED: usize = 5;

/// A note for what the script did not show.
pub(super) fn not_shown(unshown: &[String]) -> Option<String> {
    let named: Vec<&str> = unshown.iter().take(NAMED).map(String::as_str).collect();
    let more = match unshown.len() - named.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    (!named.is_empty()).then(|| {
        format!(
            "a drill runs restore.sh without superuser rights, and some objects need what only a superuser may make; run over a \
             superuser's login it makes them, too: {}{more}",
            named.join("; ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_script_could_not_do_is_its_problem() {
        let ended = |code, output: &str| Ended {
            code: Some(code),
            timed_out: false,
            output: output.to_owned(),
            seconds: 1.0,
        };
        let said = "came back NOT VALID, as rows of the archive break it:\n  k on t: 1 row breaks it\nnot rebuilt:\n  \
            SCHEMA - a b: ERROR:  schema \"a\" already exists\n  INDEX public i o: ERROR:  division by zero\n  \
            FUNCTION public f() o: ERROR:  permission denied for language c\nrestored into x: every row count equal\n";
        assert_eq!(
            problems(&ended(3, said)),
            ["INDEX public i o: ERROR:  division by zero"]
        );
        assert!(problems(&ended(0, said)).is_empty());
        assert_eq!(
            problems(&ended(1, "== rows\nrestore.sh: no\n")),
            ["restore.sh: no"]
        );
        // Without an exit code it was ended: at its time limit, or by somebody else.
        let cut_off = |timed_out| Ended {
            code: None,
            timed_out,
            ..ended(0, "== rows\n\n")
        };
        assert_eq!(problems(&cut_off(true)), ["it did not end in time"]);
        assert_eq!(problems(&cut_off(false)), ["== rows"]);
    }

    #[test]
    fn what_the_script_did_not_show_is_a_note_with_the_first_names() {
        let named = |count: u32| {
            let all: Vec<String> = (1..=count).map(|n| format!("index i{n}")).collect();
            not_shown(&all)
        };
        assert!(named(0).is_none());
        let five = named(5).unwrap();
        assert!(five.ends_with("index i4; index i5"), "{five}");
        let seven = named(7).unwrap();
        assert!(seven.ends_with("index i5; and 2 more"), "{seven}");
    }

    #[test]
    fn what_lacks_an_object_of_superusers_is_not_shown_and_all_else_is_a_problem() {
        let sorted = |lines: &[&str]| {
            let ended = Ended {
                code: Some(3),
                timed_out: false,
                output: format!("not rebuilt:\n  {}\n", lines.join("\n  ")),
                seconds: 1.0,
            };
            let ran = Ran::of(&ended);
            (ran.problems.len(), ran.unshown.len())
        };
        let class = "OPERATOR CLASS public by rank o: ERROR:  must be superuser to create an operator class";
        let index = "INDEX public i o: ERROR:  operator class \"public.by rank\" does not exist for access method \"btree\"";
        let comment = "COMMENT public INDEX i o: ERROR:  relation \"public.i\" does not exist";
        let default = "INDEX public j o: ERROR:  data type public.t has no default operator class for access method \"btree\"";
        let other = "VIEW public v o: ERROR:  relation \"public.w\" does not exist";
        let there =
            "OPERATOR CLASS public by rank o: ERROR:  operator class \"by rank\" already exists";
        assert_eq!(sorted(&[class, index, comment, default]), (0, 3));
        assert_eq!(sorted(&[comment, index, class]), (0, 2));
        // Nothing follows from it.
        assert_eq!(sorted(&[class, index, other]), (1, 1));
        assert_eq!(sorted(&[class, comment]), (1, 0));
        // Without the refusal nothing does.
        assert_eq!(sorted(&[index, default]), (2, 0));
        assert_eq!(sorted(&[there, index]), (1, 0));
        let cast = "CAST - CAST (text AS public.t) : ERROR:  must be owner of type text or type t";
        let view = "VIEW public v o: ERROR:  cannot cast type text to public.t";
        assert_eq!(sorted(&[cast, view]), (0, 1));
        assert_eq!(sorted(&[class, view]), (1, 0));
    }
}
