//! The properties of a database: owner, grants, comment, settings. `pg_dump` writes them with the name of the source;
//! they are applied to a database of any name.

use crate::dump::toc::Definition;
use hubvault_model::quote_ident;

/// A statement about a database, around its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    before: String,
    /// After the name; `None` where the statement has none.
    after: Option<String>,
}

/// The properties of a database, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseProperties {
    statements: Vec<Statement>,
    /// Statements that are of no known form, and so belong to no other database.
    pub unknown: Vec<String>,
}

/// The name of the database that psql is connected to.
const CURRENT: &str = ":\"DBNAME\"";

impl DatabaseProperties {
    /// Whether [`DatabaseProperties::of`] needs a definition.
    pub fn are_in(definition: &Definition) -> bool {
        definition.is_of_database() || definition.kind == "STDSTRINGS"
    }

    /// Those in a dump. `pg_dump` creates the database with its encoding and locale; that is not among them.
    pub fn of(definitions: &[Definition]) -> Self {
        let mut properties = Self::default();
        // What pg_dump writes into a string depends on this setting of the database.
        let plain_backslashes = !definitions
            .iter()
            .any(|one| one.kind == "STDSTRINGS" && one.sql.contains("'off'"));
        for definition in definitions.iter().filter(|one| one.is_of_database()) {
            if definition.kind != "DATABASE" {
                properties.read(&independent(&definition.sql, plain_backslashes));
                continue;
            }
            if !definition.owner.is_empty() {
                properties.statements.push(Statement {
                    before: "ALTER DATABASE ".into(),
                    after: Some(format!(" OWNER TO {};", quote_ident(&definition.owner))),
                });
            }
        }
        properties
    }

    fn read(&mut self, sql: &str) {
        for statement in split(sql) {
            match statement.read() {
                Some(known) => self.statements.push(known),
                None => self.unknown.push(statement.text.trim().to_owned()),
            }
        }
    }

    /// The statements for a database of this name.
    pub fn for_database(&self, name: &str) -> Vec<String> {
        let name = quote_ident(name);
        self.statements.iter().map(|one| one.with(&name)).collect()
    }

    /// The same for psql, whatever database it is connected to.
    pub fn script(&self) -> String {
        let mut script = String::from(
            "-- Owner, grants, comment and settings of the database, for the one that psql is connected to.\n\
             -- hubvault restore --create applies this. After restore.sh: psql -X -d DATABASE -f database/properties.sql\n\
             SET client_encoding = 'UTF8';\n",
        );
        for statement in &self.statements {
            script += &statement.with(CURRENT);
            script.push('\n');
        }
        script
    }
}

impl Statement {
    fn with(&self, name: &str) -> String {
        match &self.after {
            Some(after) => format!("{}{name}{after}", self.before),
            None => self.before.clone(),
        }
    }

    /// Whether it says who may do what.
    fn is_about_roles(&self) -> bool {
        let starts = |word| self.before.starts_with(word);
        let is_owner = |after: &String| after.starts_with(" OWNER TO ");
        starts("GRANT ")
            || starts("REVOKE ")
            || self.after.is_none()
            || self.after.as_ref().is_some_and(is_owner)
    }
}

impl DatabaseProperties {
    /// Whether there is more than an owner.
    pub fn are_special(&self) -> bool {
        let is_owner = |one: &Statement| {
            let after = one.after.as_ref();
            after.is_some_and(|after| after.starts_with(" OWNER TO "))
        };
        !self.statements.iter().all(is_owner)
    }

    /// Only what names no role as owner or in grants.
    #[must_use]
    pub fn without_roles(mut self) -> Self {
        self.statements.retain(|one| !one.is_about_roles());
        self
    }
}

/// A statement with the places of its words.
struct Words<'a> {
    text: &'a str,
    words: Vec<(usize, usize)>,
}

impl Words<'_> {
    fn word(&self, at: usize) -> &str {
        self.words
            .get(at)
            .map_or("", |(from, to)| &self.text[*from..*to])
    }

    fn begins(&self, at: usize, words: &[&str]) -> bool {
        (words.iter().enumerate()).all(|(i, word)| *word == "?" || self.word(at + i) == *word)
    }

    /// The known places of the name.
    fn read(&self) -> Option<Statement> {
        let name = if self.begins(0, &["ALTER", "DATABASE"]) {
            2
        } else if self.begins(0, &["ALTER", "ROLE", "?", "IN", "DATABASE"]) {
            5
        } else if self.begins(0, &["COMMENT", "ON", "DATABASE"]) {
            3
        } else if self.begins(0, &["SECURITY", "LABEL", "FOR", "?", "ON", "DATABASE"]) {
            6
        } else if ["GRANT", "REVOKE"].contains(&self.word(0)) {
            (0..self.words.len()).find(|at| self.begins(*at, &["ON", "DATABASE"]))? + 2
        } else if self.begins(1, &["SESSION", "AUTHORIZATION"]) {
            return Some(Statement {
                before: self.text.trim().to_owned(),
                after: None,
            });
        } else {
            return None;
        };
        let (from, to) = *self.words.get(name)?;
        Some(Statement {
            before: self.text[..from].trim_start().to_owned(),
            after: Some(self.text[to..].trim_end().to_owned()),
        })
    }
}

/// The same statements for any `standard_conforming_strings`: a string with a backslash gets its `E`.
fn independent(sql: &str, plain_backslashes: bool) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(open) = rest.find(['\'', '"']) {
        let quote = &rest[open..=open];
        // A doubled quote is inside.
        let inside = &rest[open + 1..];
        let mut end = 0;
        while let Some(close) = inside[end..].find(quote) {
            end += close;
            if !inside[end + 1..].starts_with(quote) {
                break;
            }
            end += 2;
        }
        let close = (open + 2 + end).min(rest.len());
        let (before, string) = (&rest[..open], &rest[open..close]);
        out += before;
        if quote == "'" && string.contains('\\') && !before.ends_with('E') {
            out.push('E');
            if plain_backslashes {
                out += &string.replace('\\', "\\\\");
            } else {
                out += string;
            }
        } else {
            out += string;
        }
        rest = &rest[close..];
    }
    out + rest
}

/// Cuts SQL of `pg_dump` into statements, and these into words; what is quoted is one word.
fn split(sql: &str) -> Vec<Words<'_>> {
    let (mut statements, mut words) = (Vec::new(), Vec::new());
    let (mut begin, mut word) = (0, None);
    let mut quote = None;
    for (at, c) in sql.char_indices() {
        if let Some(open) = quote {
            // A doubled quote closes and opens again, within the same word.
            if c == open {
                quote = None;
            }
            continue;
        }
        if c == '\'' || c == '"' {
            quote = Some(c);
        }
        let is_between = c.is_whitespace() || c == ';';
        match (word, is_between) {
            (None, false) => word = Some(at),
            (Some(from), true) => {
                words.push((from - begin, at - begin));
                word = None;
            }
            _ => {}
        }
        if c == ';' {
            let text = &sql[begin..=at];
            let words = std::mem::take(&mut words);
            statements.push(Words { text, words });
            begin = at + 1;
        }
    }
    if !sql[begin..].trim().is_empty() {
        let text = &sql[begin..];
        statements.push(Words { text, words });
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> DatabaseProperties {
        let mut properties = DatabaseProperties::default();
        properties.read(sql);
        properties
    }

    #[test]
    fn the_name_is_replaced_where_it_is_the_name_and_nowhere_else() {
        let sql = "ALTER DATABASE \"o;d \"\"d\n= 'x\" SET search_path TO 'app', 'o;d \"d';\n\
            ALTER ROLE \"IN\" IN DATABASE hub SET \"my.x\" TO 'IN DATABASE hub; it''s';\n\
            COMMENT ON DATABASE hub IS 'ON DATABASE hub;\n:\"DBNAME\" IS';\n\
            SECURITY LABEL FOR \"d x\" ON DATABASE hub IS 'secret';\n\
            REVOKE CONNECT,TEMPORARY ON DATABASE hub FROM PUBLIC;\n\
            SET SESSION AUTHORIZATION hub;\nGRANT ALL ON DATABASE hub TO \"ON DATABASE\" WITH GRANT OPTION;\n\
            RESET SESSION AUTHORIZATION;\n";
        let properties = read(sql);
        assert_eq!(properties.unknown, [""; 0]);
        assert_eq!(
            properties.for_database("n\"w").concat(),
            "ALTER DATABASE \"n\"\"w\" SET search_path TO 'app', 'o;d \"d';\
             ALTER ROLE \"IN\" IN DATABASE \"n\"\"w\" SET \"my.x\" TO 'IN DATABASE hub; it''s';\
             COMMENT ON DATABASE \"n\"\"w\" IS 'ON DATABASE hub;\n:\"DBNAME\" IS';\
             SECURITY LABEL FOR \"d x\" ON DATABASE \"n\"\"w\" IS 'secret';\
             REVOKE CONNECT,TEMPORARY ON DATABASE \"n\"\"w\" FROM PUBLIC;\
             SET SESSION AUTHORIZATION hub;\
             GRANT ALL ON DATABASE \"n\"\"w\" TO \"ON DATABASE\" WITH GRANT OPTION;\
             RESET SESSION AUTHORIZATION;"
        );
        let script = properties.script();
        assert!(
            script.contains("\nREVOKE CONNECT,TEMPORARY ON DATABASE :\"DBNAME\" FROM PUBLIC;\n")
        );
        let settings = properties.without_roles().for_database("x");
        assert_eq!(settings.len(), 4, "{settings:?}");
    }

    #[test]
    fn strings_with_backslashes_mean_the_same_with_any_setting() {
        let sql = |text| {
            format!("COMMENT ON DATABASE \"a'\\b\" IS '{text}';\nSET x TO 'y', E'a\\\\b';\n")
        };
        let on = independent(&sql("it''s \\ a"), true);
        let off = independent(&sql("it''s \\\\ a"), false);
        let expected =
            "COMMENT ON DATABASE \"a'\\b\" IS E'it''s \\\\ a';\nSET x TO 'y', E'a\\\\b';\n";
        assert_eq!([on, off], [expected, expected]);
        assert_eq!(independent("IS 'a", true), "IS 'a");
    }

    #[test]
    fn a_statement_of_another_form_is_named_and_not_run() {
        for sql in [
            "DROP DATABASE hub;",
            "COPY (SELECT 1) TO PROGRAM 'id';",
            "ALTER ROLE a SUPERUSER;",
            "ALTER DATABASE",
        ] {
            let properties = read(sql);
            assert_eq!(properties.unknown, [sql]);
            assert_eq!(properties.for_database("x"), [""; 0]);
        }
    }
}
