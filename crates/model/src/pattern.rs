//! Patterns that match tables: a name or a glob, with or without a schema.

use crate::TableName;
use globset::{GlobBuilder, GlobMatcher};
use std::fmt;
use std::str::FromStr;

/// A pattern for table names, as written in a scope.
///
/// `users` and `user_*` mean the schema `public`; `sales.*` means a schema; `*` alone means every
/// table of the database. Names fold to lower case unless quoted, as in SQL; inside quotes nothing
/// is a wildcard: `"Odd Name"`, `sales."Order.Lines"`.
#[derive(Clone, Debug)]
pub struct TablePattern {
    text: String,
    schema: Option<Part>,
    name: Part,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Glob(GlobMatcher),
}

/// A text is not a table pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is empty.
    #[error("a table pattern is empty")]
    Empty,
    /// An unclosed quote.
    #[error("the quote in {0:?} is not closed")]
    OpenQuote(String),
    /// More than `schema.table`.
    #[error("{0:?} has more than a schema and a table name; quote a name that holds a dot")]
    TooManyParts(String),
    /// Not a glob.
    #[error("{pattern:?} is not a pattern: {why}")]
    Glob {
        /// What was written.
        pattern: String,
        /// The error of the glob library.
        why: String,
    },
}

impl TablePattern {
    /// Whether `table` matches.
    pub fn matches(&self, table: &TableName) -> bool {
        self.name.matches(&table.name)
            && self
                .schema
                .as_ref()
                .is_none_or(|schema| schema.matches(&table.schema))
    }

    /// The only table that matches when the pattern has no wildcard.
    pub fn exact(&self) -> Option<TableName> {
        match (&self.schema, &self.name) {
            (Some(Part::Literal(schema)), Part::Literal(name)) => {
                Some(TableName::new(schema, name))
            }
            _ => None,
        }
    }
}

impl Part {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::Glob(glob) => glob.is_match(text),
        }
    }

    fn parse(text: &str, quoted: bool, whole: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if quoted {
            return Ok(Self::Literal(text.to_owned()));
        }
        let folded = text.to_lowercase();
        if !folded.contains(['*', '?', '[', '{']) {
            return Ok(Self::Literal(folded));
        }
        GlobBuilder::new(&folded)
            .literal_separator(false)
            .build()
            .map(|glob| Self::Glob(glob.compile_matcher()))
            .map_err(|e| PatternError::Glob {
                pattern: whole.to_owned(),
                why: e.kind().to_string(),
            })
    }
}

/// Cuts at dots outside quotes; each part with whether it was quoted.
fn parts(text: &str) -> Result<Vec<(String, bool)>, PatternError> {
    let mut parts = Vec::new();
    let (mut part, mut quoted, mut inside) = (String::new(), false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if inside && chars.peek() == Some(&'"') => {
                part.push('"');
                chars.next();
            }
            '"' => {
                inside = !inside;
                quoted = true;
            }
            '.' if !inside => {
                parts.push((std::mem::take(&mut part), std::mem::take(&mut quoted)));
            }
            c => part.push(c),
        }
    }
    if inside {
        return Err(PatternError::OpenQuote(text.to_owned()));
    }
    parts.push((part, quoted));
    Ok(parts)
}

impl FromStr for TablePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let parse = |(part, quoted): &(String, bool)| Part::parse(part, *quoted, text);
        let (schema, name) = match parts(text)?.as_slice() {
            [name] if name.0 == "*" && !name.1 => (None, parse(name)?),
            [name] => (Some(Part::Literal("public".to_owned())), parse(name)?),
            [schema, name] => (Some(parse(schema)?), parse(name)?),
            _ => return Err(PatternError::TooManyParts(text.to_owned())),
        };
        Ok(Self {
            text: text.to_owned(),
            schema,
            name,
        })
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for TablePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(pattern: &str, schema: &str, name: &str) -> bool {
        pattern
            .parse::<TablePattern>()
            .unwrap()
            .matches(&TableName::new(schema, name))
    }

    #[test]
    fn plain_names_fold_and_mean_public() {
        assert!(means("Users", "public", "users"));
        assert!(!means("users", "sales", "users"));
        assert!(means("\"Users\"", "public", "Users"));
        assert!(!means("\"Users\"", "public", "users"));
    }

    #[test]
    fn globs_and_the_whole_database() {
        assert!(means("*", "sales", "anything at all"));
        assert!(means("user_*", "public", "user_roles"));
        assert!(!means("user_*", "sales", "user_roles"));
        assert!(means("sales.*", "sales", "Order.Lines"));
        assert!(means("*.users", "sales", "users"));
        assert!(!means("\"*\"", "public", "users"));
    }

    #[test]
    fn a_quoted_dot_is_part_of_the_name() {
        assert!(means("sales.\"Order.Lines\"", "sales", "Order.Lines"));
        assert!(means("\"a \"\"b\"\".c\"", "public", "a \"b\".c"));
        let exact = "sales.\"Order.Lines\""
            .parse::<TablePattern>()
            .unwrap()
            .exact();
        assert_eq!(exact, Some(TableName::new("sales", "Order.Lines")));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let fails = |text: &str| text.parse::<TablePattern>().unwrap_err();
        assert_eq!(fails("  "), PatternError::Empty);
        assert_eq!(fails("a.b.c"), PatternError::TooManyParts("a.b.c".into()));
        assert_eq!(fails("\"open"), PatternError::OpenQuote("\"open".into()));
        assert!(matches!(fails("a[b"), PatternError::Glob { .. }));
    }
}
