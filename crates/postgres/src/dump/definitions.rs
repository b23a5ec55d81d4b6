//! Compares the definitions of two dumps, object by object.

use crate::dump::toc::Definition;
use hubvault_model::one_line;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How a restored database differs from its source.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DefinitionDifferences {
    /// What is missing, for people.
    pub missing: Vec<String>,
    /// What is there besides, and whose owner differs.
    pub other: Vec<String>,
    /// Objects that are there with other statements: as the source has them, and as they were restored.
    pub texts: Vec<(Definition, Definition)>,
}

impl DefinitionDifferences {
    /// Compares everything but the database itself. Objects of one name (operators, functions of other tables) are
    /// told apart by their statements.
    pub fn between(source: &[Definition], restored: &[Definition]) -> Self {
        let mut by_name: BTreeMap<Key<'_>, [Vec<&Definition>; 2]> = BTreeMap::new();
        for (side, definitions) in [source, restored].into_iter().enumerate() {
            for definition in definitions.iter().filter(|one| is_object(one)) {
                by_name.entry(key(definition)).or_default()[side].push(definition);
            }
        }
        let mut differences = Self::default();
        for [mut source, mut restored] in by_name.into_values() {
            source.retain(|one| {
                let equal = restored.iter().position(|other| is_equal(one, other));
                equal.map(|at| restored.remove(at)).is_none()
            });
            while let (Some(_), Some(_)) = (source.last(), restored.last()) {
                if let (Some(one), Some(other)) = (source.pop(), restored.pop()) {
                    differences.pair(one, other);
                }
            }
            let missing = source
                .iter()
                .map(|one| format!("{} is missing", shown(one)));
            differences.missing.extend(missing);
            let more = restored.iter();
            let more = more.map(|one| format!("{} is not in the source", shown(one)));
            differences.other.extend(more);
        }
        differences
    }

    fn pair(&mut self, source: &Definition, restored: &Definition) {
        if !is_of_one_owner(source, restored) {
            self.other.push(format!(
                "{} belongs to {} instead of {}",
                shown(source),
                one_line(&restored.owner),
                one_line(&source.owner)
            ));
        }
        if source.sql != restored.sql || source.storage != restored.storage {
            self.texts.push((source.clone(), restored.clone()));
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.other.is_empty() && self.texts.is_empty()
    }
}

type Key<'a> = (&'a str, &'a str, &'a str);

fn key(definition: &Definition) -> Key<'_> {
    (&definition.kind, &definition.schema, &definition.name)
}

/// Grants have the owner of their object, which is compared by itself; that of an extension's is whoever creates it.
fn is_of_one_owner(one: &Definition, other: &Definition) -> bool {
    one.owner == other.owner || one.kind == "ACL"
}

fn is_equal(one: &Definition, other: &Definition) -> bool {
    is_of_one_owner(one, other) && one.sql == other.sql && one.storage == other.storage
}

/// Settings of the dump itself are no objects, and the database is compared by itself.
fn is_object(definition: &Definition) -> bool {
    let of_the_dump = ["ENCODING", "STDSTRINGS", "SEARCHPATH"];
    !of_the_dump.contains(&definition.kind.as_str()) && !definition.is_of_database()
}

/// What two definitions have in common that are the same, of the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Definition {
    /// Its fingerprint; the oid is no part of it.
    pub fn fingerprint(&self) -> Fingerprint {
        let owner = if self.kind == "ACL" { "" } else { &self.owner };
        let [tablespace, method] = &self.storage;
        let mut hash = Sha256::new();
        for text in [
            &self.kind,
            &self.schema,
            &self.name,
            owner,
            &self.sql,
            tablespace,
            method,
        ] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        Fingerprint(hash.finalize().into())
    }

    /// Whether it is of the same object.
    pub fn is_of(&self, other: &Self) -> bool {
        key(self) == key(other)
    }

    /// Whether it is the database, or a property of it.
    pub fn is_of_database(&self) -> bool {
        let about = ["ACL", "COMMENT", "SECURITY LABEL"].contains(&self.kind.as_str());
        ["DATABASE", "DATABASE PROPERTIES"].contains(&self.kind.as_str())
            || (about && self.schema.is_empty() && self.name.starts_with("DATABASE "))
    }
}

/// An object for people: `comment on constraint a_pkey on public.a`, `trigger t on public.a`.
pub fn shown(definition: &Definition) -> String {
    let (kind, name) = (definition.kind.as_str(), definition.name.as_str());
    let about = match kind {
        "ACL" => "grants on ",
        "COMMENT" => "comment on ",
        "SECURITY LABEL" => "security label on ",
        _ => "",
    };
    let (kind, name) = if about.is_empty() {
        // A user mapping's name begins with its kind.
        (kind, name.strip_prefix("USER MAPPING ").unwrap_or(name))
    } else {
        kind_and_name(name)
    };
    let schema = |name: &str| match definition.schema.as_str() {
        "" => name.to_owned(),
        schema => format!("{schema}.{name}"),
    };
    let of_table = [
        "CHECK CONSTRAINT",
        "CONSTRAINT",
        "DEFAULT",
        "FK CONSTRAINT",
        "POLICY",
        "RULE",
        "TRIGGER",
    ];
    let name = match (name.rsplit_once(" ON "), name.split_once(' ')) {
        (Some((name, table)), _) if !about.is_empty() => {
            format!("{name} on {}", schema(table))
        }
        (_, Some((table, name))) if about.is_empty() && of_table.contains(&kind) => {
            format!("{name} on {}", schema(table))
        }
        _ => schema(name),
    };
    let text = format!("{about}{} {name}", kind.to_lowercase());
    one_line(&text).into_owned()
}

/// `TEXT SEARCH PARSER p` is of the kind TEXT SEARCH PARSER.
fn kind_and_name(tag: &str) -> (&str, &str) {
    let mut end = 0;
    for word in tag.split_inclusive(' ') {
        let kind = word.trim_end();
        let rest = &tag[end + word.len()..];
        if rest.is_empty() || kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_uppercase()) {
            break;
        }
        end += word.len();
    }
    (tag[..end].trim_end(), &tag[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(kind: &str, schema: &str, name: &str, sql: &str) -> Definition {
        Definition {
            kind: kind.into(),
            schema: schema.into(),
            name: name.into(),
            owner: "app".into(),
            sql: sql.into(),
            ..Definition::default()
        }
    }

    #[test]
    fn every_difference_is_named() {
        let table = definition("TABLE", "public", "a", "CREATE TABLE a (x int);");
        let comment = definition("COMMENT", "public", "CONSTRAINT a_pkey ON a", "COMMENT …");
        let trigger = definition("TRIGGER", "public", "a t\n1", "CREATE TRIGGER …");
        let acl = definition("ACL", "", "FOREIGN SERVER s", "GRANT …");
        let plus = |sql| definition("OPERATOR", "public", "+", sql);
        let source = [table.clone(), comment, trigger, acl, plus("1"), plus("2")];
        let other = Definition {
            owner: "boss".into(),
            sql: "CREATE TABLE a ();".into(),
            ..table.clone()
        };
        let view = definition("VIEW", "public", "v", "");
        let restored = [other.clone(), view, plus("2"), plus("1")];
        let found = DefinitionDifferences::between(&source, &restored);
        assert_eq!(
            found.missing,
            [
                "grants on foreign server s is missing",
                "comment on constraint a_pkey on public.a is missing",
                "trigger t\\n1 on public.a is missing",
            ]
        );
        assert_eq!(
            found.other,
            [
                "table public.a belongs to boss instead of app",
                "view public.v is not in the source",
            ]
        );
        assert_eq!(found.texts, [(table, other)]);
        let grants = |owner: &str| Definition {
            owner: owner.into(),
            ..definition("ACL", "", "TABLE of_extension", "GRANT …")
        };
        let found = DefinitionDifferences::between(&[grants("a")], &[grants("b")]);
        assert!(found.is_empty(), "{found:?}");
        assert!(DefinitionDifferences::between(&source, &source).is_empty());
    }

    #[test]
    fn a_label_that_is_lost_or_another_one_is_a_difference() {
        let label = |of: &str, text: &str| {
            let sql = format!("SECURITY LABEL FOR dummy ON {of} IS '{text}';");
            definition("SECURITY LABEL", "public", of, &sql)
        };
        let source = [
            label("TABLE t", "secret"),
            label("COLUMN t.c", "top secret"),
        ];
        let lost = DefinitionDifferences::between(&source, &source[1..]);
        assert_eq!(
            lost.missing,
            ["security label on table public.t is missing"]
        );
        let more = DefinitionDifferences::between(&source[..1], &source);
        assert_eq!(more.other.len(), 1, "{more:?}");
        let other = [source[0].clone(), label("COLUMN t.c", "secret")];
        let changed = DefinitionDifferences::between(&source, &other);
        assert_eq!(changed.texts, [(source[1].clone(), other[1].clone())]);
        assert_ne!(source[1].fingerprint(), other[1].fingerprint());
    }

    #[test]
    fn a_fingerprint_is_of_the_object_and_its_statements() {
        let index = definition("INDEX", "public", "a_x", "CREATE INDEX …");
        let same = Definition {
            oid: 7,
            ..index.clone()
        };
        assert_eq!(index.fingerprint(), same.fingerprint());
        for other in [
            definition("TABLE", "public", "a_x", "CREATE INDEX …"),
            definition("INDEX", "publica", "_x", "CREATE INDEX …"),
            definition("INDEX", "public", "a_x", "CREATE INDEX …;"),
            Definition {
                owner: "boss".into(),
                ..index.clone()
            },
            Definition {
                storage: ["fast".into(), String::new()],
                ..index.clone()
            },
            Definition {
                storage: [String::new(), "fast".into()],
                ..index.clone()
            },
        ] {
            assert_ne!(index.fingerprint(), other.fingerprint(), "{other:?}");
        }
        let grants = |owner: &str| Definition {
            owner: owner.into(),
            ..definition("ACL", "", "TABLE of_extension", "GRANT …")
        };
        assert_eq!(grants("a").fingerprint(), grants("b").fingerprint());
    }

    #[test]
    fn the_database_and_the_settings_of_the_dump_are_no_objects() {
        for (kind, name) in [
            ("ENCODING", "ENCODING"),
            ("DATABASE", "hub"),
            ("DATABASE PROPERTIES", "hub"),
            ("ACL", "DATABASE hub"),
            ("COMMENT", "DATABASE hub"),
        ] {
            assert!(!is_object(&definition(kind, "", name, "")), "{kind}");
        }
        assert!(is_object(&definition("COMMENT", "s", "DATABASE hub", "")));
    }
}
