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

/// Of these what other objects need.
const NEEDED: [&str; 4] = [
    "ACCESS METHOD ",
    "CAST ",
    "OPERATOR CLASS ",
    "OPERATOR FAMILY ",
];
/// How a server says that something is missing which another object needs.
const MISSING: [&str; 4] = [
    " does not exist",
    "has no default operator class",
    "could not identify a",
    "cannot cast type ",
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
    /// Moves what may only be missing because a superuser would have to make it, which the server said then.
    pub(super) fn sort_out(mut self, ended: &Ended) -> Self {
        let is_needed = |line: &str| {
            NEEDED.iter().any(|kind| line.starts_with(kind))
                && REFUSED.iter().any(|said| line.contains(said))
        };
        if ended.code != Some(3) || !listed(&ended.output).any(is_needed) {
            return self;
        }
        let is_follow_up = |why: &String| MISSING.iter().any(|words| why.contains(words));
        (self.unshown, self.problems) = self.problems.into_iter().partition(is_follow_up);
        self
    }
}

/// How a server says that a role may not do something.
const REFUSED: [&str; 3] = ["permission denied", "must be superuser", "must be owner"];

/// The objects at the end of its output that it did not make or load.
fn listed(output: &str) -> impl Iterator<Item = &str> {
    let lines = output.lines();
    let lines = lines.skip_while(|line| *line != "not rebuilt:" && *line != "not loaded:");
    lines.filter_map(|line| line.strip_prefix("  "))
}

/// What the end of its output says is wrong, but for what needs a superuser.
pub(super) fn problems(ended: &Ended) -> Vec<String> {
    let of_superuser = |line: &str| {
        let object = line.strip_prefix("COMMENT - ").unwrap_or(line);
        OF_SUPERUSERS.iter().any(|kind| object.starts_with(kind))
            || REFUSED.iter().any(|said| line.contains(said))
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
        let sorted = |said: &str| {
            let ended = ended(3, said);
            let problems = problems(&ended);
            let ran = Ran {
                problems,
                ..Ran::default()
            }
            .sort_out(&ended);
            (ran.problems.len(), ran.unshown.len())
        };
        let class =
            "  OPERATOR CLASS public c o: ERROR:  must be superuser to create an operator class\n";
        let index =
            "not rebuilt:\n  INDEX public i o: ERROR:  operator class \"c\" does not exist\n";
        assert_eq!(sorted(&format!("{index}{class}")), (0, 1));
        assert_eq!(sorted(index), (1, 0));
        assert_eq!(sorted(&format!("{said}{class}")), (1, 0));
        assert_eq!(
            problems(&ended(1, "== rows\nrestore.sh: no\n")),
            ["restore.sh: no"]
        );
    }
}
