//! What the definitions of an archive require of the server that gets them.

use crate::dump::contents;
use crate::dump::pg_restore::SchemaRestore;
use crate::error::PgError;
use hubvault_model::Cancel;

impl SchemaRestore {
    /// Those of `roles` that own what only superusers may own.
    pub fn superusers(&self, roles: &[String], cancel: &Cancel) -> Result<Vec<String>, PgError> {
        let superusers = contents::superusers(self.contents(cancel)?, roles);
        Ok(superusers.into_iter().cloned().collect())
    }

    /// The names of the extensions that the definitions make.
    pub fn extensions(&self, cancel: &Cancel) -> Result<Vec<String>, PgError> {
        let list = self.contents(cancel)?;
        let text = String::from_utf8_lossy(list);
        // `2; 3079 16386 EXTENSION - citext`
        let name = |line: &str| {
            let (_, name) = line.split_once(" EXTENSION - ")?;
            (!line.starts_with(';') && !line.contains(" COMMENT - "))
                .then(|| name.trim().to_owned())
        };
        Ok(text.lines().filter_map(name).collect())
    }

    /// Whether the definitions hold security labels.
    pub fn has_labels(&self, cancel: &Cancel) -> Result<bool, PgError> {
        let labels = contents::lines_of_kinds(self.contents(cancel)?, &["SECURITY LABEL "], false);
        Ok(!contents::names_nothing(&labels))
    }
}
