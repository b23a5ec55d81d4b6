//! The unit of export: one table, one range of its pages, or one window query.

use super::closure::among;
use hubvault_archive::{Columns, Coverage};
use hubvault_model::{RowFormat, TableName, counted, quote_ident};
use hubvault_postgres::{PageRange, Relation, RowAddress, copy_option, copy_options};
use std::collections::BTreeSet;

/// What one extent should hold, in bytes of heap and TOAST. Small enough that a few of them in
/// memory, compressed, stay far below the memory limit; large enough that a query's start-up
/// costs nothing beside it.
pub(crate) const EXTENT_BYTES: u64 = 24 << 20;

/// One table of the plan.
#[derive(Clone, Debug)]
pub struct PlannedTable {
    /// The table; of a partitioned table, the leaf.
    pub name: TableName,
    /// Where its rows are loaded: in itself, or through a table above it.
    pub place: TableName,
    /// The extension that it belongs to.
    pub extension: Option<String>,
    /// Whether all of its rows are taken.
    pub coverage: Coverage,
    /// The condition on the rows, as SQL, for a window.
    pub filter: Option<String>,
    /// Whether the configuration gives that condition as SQL, instead of a column and a duration.
    pub own_condition: bool,
    /// The columns in their order, without generated ones.
    pub columns: Columns,
    /// Generated columns that functions of users compute: they are compared after a restore, and are not inside.
    pub computed: Columns,
    /// The format of the rows.
    pub format: RowFormat,
    /// The encoding of the rows, where it is not UTF-8.
    pub encoding: Option<String>,
    /// The planner's estimate; `None` when the table was never analyzed.
    pub estimated_rows: Option<u64>,
    /// Heap and TOAST, in bytes.
    pub estimated_bytes: u64,
    /// Rows that are included because others reference them.
    pub added_rows: u64,
    /// The number of its extents.
    pub extents: usize,
}

impl PlannedTable {
    /// The columns as an SQL list.
    pub fn column_list(&self) -> String {
        list(&self.columns)
    }
}

fn list(columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|c| quote_ident(c)).collect();
    columns.join(", ")
}

/// One COPY.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Index into the plan's tables.
    pub table: usize,
    /// The pages, when the table is cut.
    pub pages: Option<PageRange>,
    /// Only these rows, because others reference them.
    pub rows: Option<Vec<RowAddress>>,
    /// The expected size, in bytes of heap and TOAST.
    pub estimated_bytes: u64,
}

impl Extent {
    /// The statement that exports it. `ONLY`, because children are tables of their own.
    pub fn copy_sql(&self, table: &PlannedTable) -> String {
        let list = table.column_list();
        let options = options(table);
        let conditions = self.conditions(table);
        if conditions.is_empty() {
            let columns = if list.is_empty() {
                String::new()
            } else {
                format!(" ({list})")
            };
            return format!("COPY {}{columns} TO STDOUT{options}", table.name.sql());
        }
        let query = Self::query(&list, table, &conditions);
        format!("COPY ({query}) TO STDOUT{options}")
    }

    /// The statement that reads what functions of users computed of the same rows; `None` where there is nothing.
    pub(crate) fn computed_sql(&self, table: &PlannedTable) -> Option<String> {
        let query = Self::query(&list(&table.computed), table, &self.conditions(table));
        let sql = format!("COPY ({query}) TO STDOUT{}", options(table));
        (!table.computed.is_empty()).then_some(sql)
    }

    /// The same rows as a query.
    pub(crate) fn rows_sql(&self, table: &PlannedTable) -> String {
        Self::query(&table.column_list(), table, &self.conditions(table))
    }

    fn conditions(&self, table: &PlannedTable) -> Vec<String> {
        let mut conditions = Vec::new();
        conditions.extend(self.pages.map(PageRange::condition));
        if let Some(rows) = &self.rows {
            conditions.push(among(rows));
        } else if let Some(filter) = &table.filter {
            conditions.push(format!("({filter})"));
        }
        conditions
    }

    /// The rows of a window as a query, for the planner's estimate.
    pub(crate) fn window_query(table: &PlannedTable) -> String {
        let condition = table.filter.as_ref().map(|filter| format!("({filter})"));
        Self::query(&table.column_list(), table, &Vec::from_iter(condition))
    }

    fn query(list: &str, table: &PlannedTable, conditions: &[String]) -> String {
        let conditions = match conditions {
            [] => String::new(),
            some => format!(" WHERE {}", some.join(" AND ")),
        };
        format!("SELECT {list} FROM ONLY {}{conditions}", table.name.sql())
    }
}

/// What follows a COPY of a table's rows.
fn options(table: &PlannedTable) -> String {
    let csv = (table.format == RowFormat::Csv).then(|| "FORMAT csv".to_owned());
    copy_options(&[csv, table.encoding.as_deref().map(copy_option)])
}

/// Cuts `pages` heap pages that hold `bytes` (with TOAST) into extents of about
/// [`EXTENT_BYTES`]; one whole extent when that is all it takes.
pub(crate) fn cut(table: usize, pages: u64, bytes: u64, may_cut: bool) -> Vec<Extent> {
    let ranges = if may_cut {
        PageRange::cut(pages, bytes, EXTENT_BYTES)
    } else {
        Vec::new()
    };
    let extent = |pages: Option<PageRange>, bytes: u64| Extent {
        table,
        pages,
        rows: None,
        estimated_bytes: bytes,
    };
    if ranges.is_empty() {
        return vec![extent(None, bytes)];
    }
    let each = bytes / ranges.len() as u64;
    ranges
        .into_iter()
        .map(|range| extent(Some(range), each))
        .collect()
}

/// Rows in an extent that is given by addresses.
const ROWS_IN_EXTENT: usize = 20_000;

/// Cuts the rows of a table that others refer to.
pub(crate) fn of_rows(
    table: usize,
    relation: &Relation,
    rows: &BTreeSet<RowAddress>,
) -> Vec<Extent> {
    let all = relation
        .estimated_rows
        .unwrap_or(0)
        .max(rows.len() as u64)
        .max(1);
    let each = (relation.heap_bytes + relation.toast_bytes) / all;
    let rows: Vec<RowAddress> = rows.iter().copied().collect();
    let extent = |rows: &[RowAddress]| Extent {
        table,
        pages: None,
        rows: Some(rows.to_vec()),
        estimated_bytes: each * rows.len() as u64,
    };
    rows.chunks(ROWS_IN_EXTENT).map(extent).collect()
}

/// For reports: `whole`, the window's condition, and what is added to it.
pub fn describe_coverage(table: &PlannedTable) -> String {
    describe_rows(
        table.extension.as_deref(),
        table.coverage,
        table.filter.as_deref(),
        table.added_rows,
    )
}

/// The same of a table in an archive.
pub(super) fn describe_rows(
    extension: Option<&str>,
    coverage: Coverage,
    filter: Option<&str>,
    added_rows: u64,
) -> String {
    let added = match added_rows {
        0 => String::new(),
        rows => format!("{} that others refer to", counted(rows, "row")),
    };
    match (coverage, filter) {
        (_, _) if extension.is_some() => format!(
            "those that the extension {} marks as the user's",
            extension.unwrap_or_default()
        ),
        (Coverage::Window, Some(filter)) if added.is_empty() => filter.to_owned(),
        (Coverage::Window, Some(filter)) => format!("{filter}; and {added}"),
        (Coverage::Referenced, _) => format!("only {added}"),
        _ => "whole".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(filter: Option<&str>, format: RowFormat) -> PlannedTable {
        PlannedTable {
            name: TableName::new("public", "Odd \"name\""),
            place: TableName::new("public", "Odd \"name\""),
            extension: None,
            coverage: Coverage::Whole,
            filter: filter.map(str::to_owned),
            own_condition: false,
            columns: vec!["id".into(), "order".into()].into(),
            computed: Columns::default(),
            format,
            encoding: None,
            estimated_rows: None,
            estimated_bytes: 0,
            added_rows: 0,
            extents: 1,
        }
    }

    fn whole() -> Extent {
        Extent {
            table: 0,
            pages: None,
            rows: None,
            estimated_bytes: 0,
        }
    }

    #[test]
    fn a_whole_table_is_a_plain_copy_and_a_cut_one_a_query() {
        let whole = whole();
        assert_eq!(
            whole.copy_sql(&table(None, RowFormat::Text)),
            "COPY public.\"Odd \"\"name\"\"\" (id, \"order\") TO STDOUT"
        );
        let cut = Extent {
            pages: Some(PageRange {
                from: 8,
                to: Some(16),
            }),
            ..whole
        };
        assert_eq!(
            cut.copy_sql(&table(Some("a > 1 OR b"), RowFormat::Csv)),
            "COPY (SELECT id, \"order\" FROM ONLY public.\"Odd \"\"name\"\"\" WHERE \
             ctid >= '(8,0)' AND ctid < '(16,0)' AND (a > 1 OR b)) TO STDOUT WITH (FORMAT csv)"
        );
    }

    #[test]
    fn a_table_without_columns_has_no_column_list() {
        let mut bare = table(None, RowFormat::Text);
        bare.columns = Columns::default();
        let whole = whole();
        assert_eq!(
            whole.copy_sql(&bare),
            "COPY public.\"Odd \"\"name\"\"\" TO STDOUT"
        );
    }
}
