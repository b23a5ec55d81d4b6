//! What a restore needs, for `BACKUP_INFO.txt`, and what keeps a restored subscription from the living one's slot.

use crate::job::Job;
use hubvault_model::{Warning, counted, one_line, quote_literal};
use hubvault_postgres::Requirements;
use std::fmt::Write;

/// The section. Roles and files are named elsewhere, too; who restores reads this first.
pub(crate) fn restore_needs(
    out: &mut String,
    version: u32,
    roles: &[String],
    needs: &Requirements,
    are_masked: bool,
) -> std::fmt::Result {
    writeln!(out, "\nA RESTORE NEEDS\n")?;
    let major = version / 10_000;
    line(
        out,
        "server",
        &[format!("PostgreSQL {major} or newer; {}", needs.locale)],
    )?;
    line(out, "extensions", &needs.extensions)?;
    line(out, "roles", roles)?;
    line(out, "tablespaces", &needs.tablespaces)?;
    line(out, "languages", &needs.languages)?;
    line(out, "collations", &needs.collations)?;
    line(out, "libraries", &needs.libraries)?;
    line(out, "loaded at start", &needs.preloaded)?;
    line(out, "foreign servers", &needs.foreign_servers)?;
    line(out, "subscriptions", &needs.subscriptions)?;
    if !needs.subscriptions.is_empty() {
        writeln!(
            out,
            "\n  Subscriptions come back disabled and without a slot, so that they do not take the living one's. To use one:\n\
             \x20 ALTER SUBSCRIPTION ... SET (slot_name = '...'), ENABLE it and REFRESH PUBLICATION."
        )?;
    }
    if needs.mappings_hidden > 0 {
        writeln!(
            out,
            "\n  The role could not read the options of {}: they come back without user and password. Read as a\n\
             \x20 superuser, or set them again with ALTER USER MAPPING.",
            counted(needs.mappings_hidden.unsigned_abs(), "user mapping")
        )?;
    }
    if let Some(secrets) = secrets(needs).filter(|_| !are_masked) {
        writeln!(
            out,
            "\n  {secrets}: the archive is as secret as they are; seal it."
        )?;
    }
    Ok(())
}

/// Whose passwords were taken out, and how to set them.
pub(crate) fn masked_passwords(out: &mut String, masked: &[String]) -> std::fmt::Result {
    if masked.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n  The passwords of these are not inside (archive.mask_passwords): **** is in their place. Set them after a\n\
         \x20 restore, for example: ALTER USER MAPPING ... OPTIONS (SET password '...'); ALTER SUBSCRIPTION ... CONNECTION '...';\n"
    )?;
    for object in masked {
        writeln!(out, "    {}", one_line(object))?;
    }
    Ok(())
}

/// A warning when passwords lie in an archive that everybody can read who has it.
pub(crate) fn unsealed_passwords(job: &Job, needs: &Requirements) -> Option<Warning> {
    if job.archive.mask_passwords || !job.seal.is_empty() {
        return None;
    }
    let secrets = secrets(needs)?;
    let why = format!(
        "{secrets}, which the archive shows to whoever has it; seal it (seal.recipients), or take passwords out \
         (archive.mask_passwords = true)"
    );
    Some(Warning::new("unsealed-passwords", "archive", why))
}

/// `2 user mappings and 1 subscription hold a password`; `None` where none does.
fn secrets(needs: &Requirements) -> Option<String> {
    let holders: Vec<(u64, String)> = [
        (needs.mappings_with_secret, "user mapping"),
        (needs.subscriptions_with_secret, "subscription"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, noun)| (count.unsigned_abs(), counted(count.unsigned_abs(), noun)))
    .collect();
    let all: u64 = holders.iter().map(|(count, _)| count).sum();
    let names: Vec<&str> = holders.iter().map(|(_, text)| text.as_str()).collect();
    let verb = if all == 1 { "holds" } else { "hold" };
    (all > 0).then(|| format!("{} {verb} a password", names.join(" and ")))
}

fn line(out: &mut String, name: &str, values: &[String]) -> std::fmt::Result {
    if values.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {name:<16}{}", one_line(&values.join(", ")))
}

/// Takes the slot from restored subscriptions: `pg_dump` writes the living one's name, and whoever enabled or dropped such
/// a subscription would take it or drop it. Only for who may: in a drill they are thrown away.
pub(crate) fn without_slots(subscriptions: &[String]) -> Option<String> {
    if subscriptions.is_empty() {
        return None;
    }
    let names: Vec<String> = subscriptions
        .iter()
        .map(|name| quote_literal(name))
        .collect();
    // In one line, as each statement of its file is.
    let names = names.join(", ").replace('\n', "' || E'\\n' || '");
    Some(format!(
        "DO $$ DECLARE s pg_catalog.name; BEGIN \
  FOR s IN SELECT subname FROM pg_catalog.pg_subscription \
    WHERE subname IN ({names}) AND subslotname IS NOT NULL AND NOT subenabled \
      AND subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
      AND (pg_catalog.pg_get_userbyid(subowner) = current_user \
           OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)) \
  LOOP EXECUTE pg_catalog.format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', s); END LOOP; \
         END $$;"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_is_named() {
        let needs = Requirements {
            extensions: vec!["hstore 1.8".to_owned()],
            mappings_with_secret: 2,
            subscriptions_with_secret: 1,
            ..Requirements::default()
        };
        let mut text = String::new();
        restore_needs(&mut text, 150_018, &[], &needs, false).unwrap();
        assert!(
            text.contains("PostgreSQL 15 or newer") && text.contains("hstore 1.8"),
            "{text}"
        );
        assert!(
            text.contains("2 user mappings and 1 subscription hold a password: the archive"),
            "{text}"
        );
        assert!(
            !text.contains("tablespaces") && !text.contains("slot"),
            "{text}"
        );
        assert_eq!(without_slots(&[]), None);
    }
}
