//! Selects the live rows that an archive's window covers. SQL from an archive is run only when the configuration
//! contains the same, or when the user trusts it.

use super::error::RestoreError;
use crate::job::{Scope, WindowRows};
use hubvault_archive::{Coverage, TableSummary, Window};

/// Which conditions of an archive may be run as SQL.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// Those of the configuration.
    configured: &'a Scope,
    /// Any: the user has read them.
    trusted: bool,
}

impl<'a> Conditions<'a> {
    /// Only those that the configuration contains too, unless the archive's are `trusted`.
    pub fn new(configured: &'a Scope, trusted: bool) -> Self {
        Self {
            configured,
            trusted,
        }
    }

    /// The live rows that should be in the archive, as SQL: of a window, those of the window. `None` when that
    /// is unknown.
    pub(super) fn living(self, table: &TableSummary) -> Result<Option<String>, RestoreError> {
        match (table.coverage, table.window()) {
            (Coverage::Whole, _) => Ok(Some("true".to_owned())),
            (Coverage::Window, Some(Window::Where(condition))) => {
                let same = |rows: &WindowRows| matches!(rows, WindowRows::Where(configured) if *configured == condition);
                let configured = self.configured.windows.iter().any(|it| same(&it.rows));
                if configured || self.trusted {
                    return Ok(Some(condition));
                }
                Err(RestoreError::ForeignCondition {
                    table: table.name.clone(),
                    condition,
                })
            }
            (Coverage::Window, Some(recent)) => Ok(Some(recent.sql())),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{MissingPolicy, ReferencePolicy, Window as Configured};
    use serde_json::json;

    fn table(filter: &str) -> TableSummary {
        serde_json::from_value(json!({
            "schema": "public", "name": "users", "coverage": "window", "filter": filter, "columns": ["id"],
            "format": "csv", "rows": 0, "digest": "0".repeat(32), "bytes": 0, "entries": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_condition_is_run_when_the_configuration_says_it_too_or_somebody_read_it() {
        let scope = Scope {
            windows: vec![Configured {
                tables: Vec::new(),
                rows: WindowRows::Where("state = 'open'".to_owned()),
                references: ReferencePolicy::Warn,
                by_default: false,
            }],
            tables: Vec::new(),
            exclude: Vec::new(),
            missing: MissingPolicy::Warn,
            by_default: false,
        };
        let living = |filter: &str, trusted| {
            let conditions = Conditions::new(&scope, trusted);
            conditions
                .living(&table(filter))
                .map_err(|error| error.to_string())
        };
        let open = Ok(Some("state = 'open'".to_owned()));
        assert_eq!(living("state = 'open'", false), open);
        let said = living("state = 'open' ", false).unwrap_err();
        assert!(
            said.contains("state = 'open' ") && said.contains("--trust-conditions"),
            "{said}"
        );
        assert_eq!(living("f()", true), Ok(Some("f()".to_owned())));
        let recent = "at >= '2026-01-01 00:00:00+00' OR at IS NULL";
        assert_eq!(living(recent, false), Ok(Some(recent.to_owned())));
    }
}
