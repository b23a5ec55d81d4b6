//! What the target of a restore lacks, and what was done instead.

use hubvault_model::one_line;

/// Tells where the tables of tablespaces went that the target lacks.
pub(super) fn tablespaces(lacking: &[String]) -> Option<String> {
    let names: Vec<String> = lacking
        .iter()
        .map(|name| one_line(name).into_owned())
        .collect();
    let (what, verb, whose) = match names.len() {
        0 => return None,
        1 => ("tablespace", "is", "its"),
        _ => ("tablespaces", "are", "their"),
    };
    Some(format!(
        "{what} {} {verb} not on the target, or not usable by the role: {whose} tables and indexes were restored into \
         the default one",
        names.join(", ")
    ))
}

/// Tells which passwords the archive does not have, as its makers chose.
pub(super) fn passwords(masked: &[String]) -> Option<String> {
    let names: Vec<String> = masked
        .iter()
        .map(|name| one_line(name).into_owned())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "passwords that are masked in the archive were neither restored nor compared, and have to be set again: {}",
            names.join(", ")
        )
    })
}
