//! Definitions that only a superuser can create, for a drill on a shared server: parsed from the text of `pg_restore`
//! and generated again, so that nothing else of an archive is run over the superuser's login.

use hubvault_model::{quote_ident, quote_literal};

/// Kinds of objects that are created this way. Creating them runs no code of the database.
pub(crate) const KINDS: [&str; 2] = ["EXTENSION ", "EVENT TRIGGER "];

/// A parsed statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Privileged {
    Extension { name: String, schema: String },
    EventTrigger { name: String, sql: String },
}

impl Privileged {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        let (Self::Extension { name, .. } | Self::EventTrigger { name, .. }) = self;
        name
    }

    /// The statement that makes it.
    pub(crate) fn sql(&self) -> String {
        match self {
            Self::Extension { name, schema } => {
                let (name, schema) = (quote_ident(name), quote_ident(schema));
                format!("CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA {schema};\n")
            }
            Self::EventTrigger { sql, .. } => sql.clone(),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// As it stands there.
    Bare(String),
    /// What quotes hold.
    Quoted(String),
    Literal(String),
    Mark(char),
}

/// All known statements in `text`; others are skipped. `None` when it cannot be parsed.
pub(crate) fn read(text: &str) -> Option<Vec<Privileged>> {
    // A name never begins a line with either: pg_restore puts names into comments without their line ends.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("--") && !line.starts_with('\\'));
    let words = words(&lines.collect::<Vec<_>>().join("\n"))?;
    let statements = words.split(|word| *word == Word::Mark(';'));
    Some(statements.filter_map(statement).collect())
}

fn statement(words: &[Word]) -> Option<Privileged> {
    let mut words = Words(words);
    if words.keywords("CREATE EXTENSION IF NOT EXISTS") {
        let name = words.name()?;
        let schema = words.keywords("WITH SCHEMA").then(|| words.name())??;
        return words
            .0
            .is_empty()
            .then_some(Privileged::Extension { name, schema });
    }
    if !words.keywords("CREATE EVENT TRIGGER") {
        return None;
    }
    let (name, sql) = event_trigger(&mut words)?;
    words
        .0
        .is_empty()
        .then_some(Privileged::EventTrigger { name, sql })
}

/// Its name and its statements: it fires for nobody. Others may log in there as superusers, which alone fires one since 17.
fn event_trigger(words: &mut Words<'_>) -> Option<(String, String)> {
    let name = words.name()?;
    let event = words.keywords("ON").then(|| words.name())??;
    let quoted = quote_ident(&name);
    let mut sql = format!("CREATE EVENT TRIGGER {quoted} ON {}", quote_ident(&event));
    if words.keywords("WHEN TAG IN") {
        let mut tags = Vec::new();
        let mut before = '(';
        while words.mark(before) {
            tags.push(quote_literal(&words.literal()?));
            before = ',';
        }
        words.mark(')').then_some(())?;
        sql += &format!(" WHEN TAG IN ({})", tags.join(", "));
    }
    (words.keywords("EXECUTE FUNCTION") || words.keywords("EXECUTE PROCEDURE")).then_some(())?;
    let mut function = quote_ident(&words.name()?);
    if words.mark('.') {
        function = format!("{function}.{}", quote_ident(&words.name()?));
    }
    (words.mark('(') && words.mark(')')).then_some(())?;
    sql += &format!(" EXECUTE FUNCTION {function}(); ALTER EVENT TRIGGER {quoted} DISABLE;\n");
    Some((name, sql))
}

/// The last statement of a function's definition, where it gives the function to a predefined role and does nothing else.
pub(crate) fn given_to_predefined(text: &str) -> Option<String> {
    let line = text.lines().rfind(|line| line.starts_with("ALTER "))?;
    let all = words(line)?;
    let (end, inside) = all.split_last()?;
    let mut start = Words(inside);
    let is_of_routine = start.keywords("ALTER")
        && ["FUNCTION", "PROCEDURE", "AGGREGATE"]
            .iter()
            .any(|kind| start.keywords(kind));
    let is_plain = |word: &Word| match word {
        Word::Mark(mark) => ".,()[]*".contains(*mark),
        word => !matches!(word, Word::Literal(_)),
    };
    let is_given = match start.0 {
        [.., Word::Mark(')'), owner, to, Word::Bare(role)] => {
            [owner, to] == [&Word::Bare("OWNER".into()), &Word::Bare("TO".into())]
                && role.starts_with("pg_")
        }
        _ => false,
    };
    let is_whole = *end == Word::Mark(';') && start.0.iter().all(is_plain);
    (is_of_routine && is_given && is_whole).then(|| line.to_owned())
}

/// Words that are left of a statement.
struct Words<'a>(&'a [Word]);

impl Words<'_> {
    /// Takes these keywords, if they are next.
    fn keywords(&mut self, keywords: &str) -> bool {
        let wanted: Vec<&str> = keywords.split(' ').collect();
        let is_next = self.0.len() >= wanted.len()
            && (self.0.iter().zip(&wanted))
                .all(|(word, keyword)| matches!(word, Word::Bare(text) if text == keyword));
        if is_next {
            self.0 = &self.0[wanted.len()..];
        }
        is_next
    }

    fn mark(&mut self, mark: char) -> bool {
        let is_next = self.0.first() == Some(&Word::Mark(mark));
        if is_next {
            self.0 = &self.0[1..];
        }
        is_next
    }

    fn name(&mut self) -> Option<String> {
        let (Word::Bare(name) | Word::Quoted(name)) = self.0.first()? else {
            return None;
        };
        self.0 = &self.0[1..];
        Some(name.clone())
    }

    fn literal(&mut self) -> Option<String> {
        let Word::Literal(text) = self.0.first()? else {
            return None;
        };
        self.0 = &self.0[1..];
        Some(text.clone())
    }
}

fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if first == '"' || first == '\'' {
            let (inside, after) = quoted(&rest[1..], first)?;
            words.push(if first == '"' {
                Word::Quoted(inside)
            } else {
                Word::Literal(inside)
            });
            rest = after;
        } else if first.is_alphanumeric() || first == '_' {
            let is_inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let end = rest.find(|c| !is_inside(c)).unwrap_or(rest.len());
            words.push(Word::Bare(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            words.push(Word::Mark(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    Some(words)
}

/// What stands before the closing quote, doubled ones as one, and what comes after it.
pub(crate) fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            inside.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            inside.push(quote);
        } else {
            return Some((inside, &text[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let read = read(text).unwrap();
        read.iter().map(Privileged::sql).collect()
    }

    #[test]
    fn extensions_and_event_triggers_that_fire_for_nobody_are_written_anew() {
        let text = "--\n-- Name: a; Type: EXTENSION\n--\nSET search_path = '';\n\
            SELECT pg_catalog.set_config('search_path', '', false);\n\
            CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA \"Odd \"\"one\";\n\
            COMMENT ON EXTENSION \"uuid-ossp\" IS 'it''s; DROP TABLE x';\n\
            CREATE EVENT TRIGGER watch ON ddl_command_end\n         WHEN TAG IN ('CREATE TABLE', 'DROP TABLE')\n   \
            EXECUTE FUNCTION public.\"Watch\"();\nALTER EVENT TRIGGER watch ENABLE ALWAYS;\n";
        assert_eq!(
            said(text),
            "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA \"Odd \"\"one\";\n\
             CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') \
             EXECUTE FUNCTION public.\"Watch\"(); ALTER EVENT TRIGGER watch DISABLE;\n"
        );
    }

    #[test]
    fn only_a_statement_that_gives_a_function_to_a_predefined_role_is_known() {
        let given =
            "ALTER FUNCTION public.\"a ; b\"(x integer, \"char\"[]) OWNER TO pg_read_server_files;";
        let text =
            format!("CREATE FUNCTION f() AS $$\nALTER ROLE me SUPERUSER;\n$$;\n\n\n{given}\n\n\n");
        assert_eq!(given_to_predefined(&text).as_deref(), Some(given));
        for other in [
            "ALTER FUNCTION f() OWNER TO me;",
            "ALTER ROLE me SUPERUSER; -- (x) OWNER TO pg_monitor;",
            "ALTER FUNCTION f() SET a TO 'x' (x) OWNER TO pg_monitor;",
            "ALTER FUNCTION f() SECURITY DEFINER -- () OWNER TO pg_monitor;",
            "ALTER FUNCTION f() OWNER TO pg_monitor; ALTER ROLE me SUPERUSER () OWNER TO pg_monitor;",
            "ALTER FUNCTION f() OWNER TO \"pg_monitor;",
            "ALTER TABLE f() OWNER TO pg_monitor;",
            "ALTER FUNCTION f() OWNER TO pg_monitor",
        ] {
            assert_eq!(given_to_predefined(other), None, "{other}");
        }
    }

    #[test]
    fn nothing_else_is_run() {
        for text in [
            "ALTER ROLE me SUPERUSER;",
            "CREATE EXTENSION IF NOT EXISTS a WITH SCHEMA b CASCADE;",
            "CREATE EXTENSION IF NOT EXISTS a;",
            "CREATE EVENT TRIGGER a ON b EXECUTE FUNCTION c('x');",
            "ALTER EVENT TRIGGER a OWNER TO me;",
            "ALTER EVENT TRIGGER a ENABLE;",
            "COPY (SELECT 1) TO PROGRAM 'id';",
        ] {
            assert_eq!(said(text), "", "{text}");
        }
        let name =
            "CREATE EXTENSION IF NOT EXISTS \"a\"\"; ALTER ROLE me SUPERUSER; --\" WITH SCHEMA b;";
        assert!(said(name).contains("EXISTS \"a\"\"; ALTER ROLE me SUPERUSER; --\" WITH"));
        assert!(read("CREATE EXTENSION IF NOT EXISTS \"a").is_none());
    }
}
