//! Creates a database like another one.

use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::{DatabaseFacts, one_line, quote_ident, quote_literal};

/// Makes an empty database from `template0`, through another database of the same server: with the encoding and locale
/// of `like` where they are known. Returns what is different about it where the server does not have that locale.
pub fn create_database(
    session: &mut Session,
    name: &str,
    like: Option<&DatabaseFacts>,
) -> Result<Option<String>, PgError> {
    create_by(session, name, like, "")
}

/// The same on a server of our own, by copying files: that is a fifth of the work, and makes a checkpoint, which nobody
/// waits for there.
pub fn copy_database(
    session: &mut Session,
    name: &str,
    like: Option<&DatabaseFacts>,
) -> Result<Option<String>, PgError> {
    // Older servers know no other way.
    let is_named = session.server_version_num() >= 150_000;
    let strategy = if is_named { " STRATEGY file_copy" } else { "" };
    create_by(session, name, like, strategy)
}

fn create_by(
    session: &mut Session,
    name: &str,
    like: Option<&DatabaseFacts>,
    strategy: &str,
) -> Result<Option<String>, PgError> {
    let mut create = |with: &str| {
        let name = quote_ident(name);
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0{strategy}{with}");
        session.simple("creating a database", &sql)
    };
    let Some(like) = like else {
        return create("").map(|()| None);
    };
    let Err(error) = create(&encoding_and_locale(like)) else {
        return Ok(None);
    };
    // C goes with every encoding, so that the last error is never about the locale.
    let mut last = None;
    for locale in ["C.UTF-8", "C"] {
        let instead = DatabaseFacts {
            provider: "libc".to_owned(),
            collate: locale.to_owned(),
            ctype: locale.to_owned(),
            locale: None,
            icu_rules: None,
            ..like.clone()
        };
        match create(&encoding_and_locale(&instead)) {
            Err(error) => last = Some(error),
            Ok(()) => {
                return Ok(Some(format!(
                    "the locale {} of the source's database is not available on this server ({error}): the database \
                     was created with {locale} instead, which sorts text differently and may treat letters outside of \
                     ASCII differently",
                    like.locale_shown()
                )));
            }
        }
    }
    Err(last.unwrap_or(error))
}

/// Moves a new database into the tablespace of `like`; why it stays in the default one.
pub fn set_tablespace(
    session: &mut Session,
    name: &str,
    like: Option<&DatabaseFacts>,
) -> Result<Option<String>, PgError> {
    let Some(tablespace) = like.and_then(|like| like.tablespace.as_ref()) else {
        return Ok(None);
    };
    let (name, to) = (quote_ident(name), quote_ident(tablespace));
    let sql = format!("ALTER DATABASE {name} SET TABLESPACE {to}");
    match session.simple("setting the tablespace of the database", &sql) {
        Err(PgError::Query { why, .. }) => Ok(Some(format!(
            "the database is in the default tablespace and not in {}: {why}",
            one_line(tablespace)
        ))),
        result => result.map(|()| None),
    }
}

/// The options of "CREATE DATABASE" that give a database this encoding and locale, with their values. Servers before 15
/// do not know providers; there is only one.
pub fn create_options(like: &DatabaseFacts) -> Vec<(&'static str, &str)> {
    let mut options = vec![
        ("ENCODING", like.encoding.as_str()),
        ("LC_COLLATE", &like.collate),
        ("LC_CTYPE", &like.ctype),
    ];
    let name_of_locale = match like.provider.as_str() {
        "icu" => "ICU_LOCALE",
        "builtin" => "BUILTIN_LOCALE",
        _ => return options,
    };
    options.push(("LOCALE_PROVIDER", &like.provider));
    for (name, value) in [
        (name_of_locale, &like.locale),
        ("ICU_RULES", &like.icu_rules),
    ] {
        options.extend(value.as_deref().map(|value| (name, value)));
    }
    options
}

fn encoding_and_locale(like: &DatabaseFacts) -> String {
    let option = |(name, value)| format!(" {name} {}", quote_literal(value));
    create_options(like).into_iter().map(option).collect()
}

/// Gives a database its properties; the statements that the server refused, each with the reason.
pub fn set_properties(
    session: &mut Session,
    statements: &[String],
) -> Result<Vec<String>, PgError> {
    run_each(session, "setting a property of the database", statements)
}

/// Runs statements; those that the server refused, each with the reason.
pub(crate) fn run_each(
    session: &mut Session,
    doing: &str,
    statements: &[String],
) -> Result<Vec<String>, PgError> {
    let mut refused = Vec::new();
    for statement in statements {
        match session.simple(doing, statement) {
            Err(PgError::Query { why, .. }) => {
                refused.push(format!("{} ({why})", one_line(statement)));
            }
            result => result?,
        }
    }
    Ok(refused)
}
