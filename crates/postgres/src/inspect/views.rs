//! Materialized views, in the order in which they can be filled.

use super::USER_SCHEMA;
use crate::connect::session::Session;
use crate::error::PgError;
use hubvault_model::TableName;
use std::collections::{HashMap, HashSet};

/// The materialized views that hold rows, each after those that it reads, also through views.
///
/// The order is made here and not on the server: views can form circles and wide diamonds, and a recursive query follows
/// every path through them.
pub fn materialized_views(session: &mut Session) -> Result<Vec<TableName>, PgError> {
    let doing = "listing the materialized views";
    let filled = format!(
        "SELECT c.oid, n.nspname::text, c.relname::text
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'm' AND c.relispopulated AND {USER_SCHEMA} ORDER BY 2, 3"
    );
    let mut filled: Vec<(u32, TableName)> = session
        .rows(doing, &filled)?
        .iter()
        .map(|row| {
            (
                row.get(0),
                TableName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
            )
        })
        .collect();
    if filled.is_empty() {
        return Ok(Vec::new());
    }
    let mut reads: HashMap<u32, Vec<u32>> = HashMap::new();
    for row in session.rows(doing, READS)? {
        reads.entry(row.get(0)).or_default().push(row.get(1));
    }
    let start: Vec<u32> = filled.iter().map(|(oid, _)| *oid).collect();
    let order = in_order(&start, &reads);
    let place: HashMap<u32, usize> = order
        .iter()
        .enumerate()
        .map(|(at, oid)| (*oid, at))
        .collect();
    filled.sort_by_key(|(oid, _)| place.get(oid).copied());
    Ok(filled.into_iter().map(|(_, name)| name).collect())
}

/// Roles with whose rights materialized views are filled and whom policies bind: owners of views and of `SECURITY DEFINER`
/// functions. None where no materialized view or no table with policies is there.
pub fn bound_by_policies(session: &mut Session) -> Result<Vec<String>, PgError> {
    let rows = session.rows(
        "listing the owners of views whom policies bind",
        "SELECT r.rolname::text FROM pg_roles r
         WHERE NOT r.rolsuper AND NOT r.rolbypassrls
           AND r.oid IN (SELECT relowner FROM pg_class WHERE relkind IN ('v', 'm') AND oid >= 16384
                         UNION SELECT proowner FROM pg_proc WHERE prosecdef AND oid >= 16384)
           AND EXISTS (SELECT FROM pg_class WHERE relkind = 'm')
           AND EXISTS (SELECT FROM pg_class WHERE relrowsecurity)
         ORDER BY 1",
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Which view reads which view, directly.
const READS: &str = "
    SELECT DISTINCT r.ev_class, d.refobjid
    FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    JOIN pg_class c ON c.oid = d.refobjid AND c.relkind IN ('v', 'm')
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class AND r.ev_class >= 16384
    ORDER BY 1, 2";

/// `start` and what can be reached from it, each after what it reads. A circle has no such order: one of it comes before
/// the others. Every edge is followed once, without recursion.
fn in_order(start: &[u32], reads: &HashMap<u32, Vec<u32>>) -> Vec<u32> {
    let (mut seen, mut order) = (HashSet::new(), Vec::new());
    for first in start {
        let mut path: Vec<(u32, usize)> = Vec::new();
        if seen.insert(*first) {
            path.push((*first, 0));
        }
        while let Some((view, next)) = path.last_mut() {
            if let Some(below) = reads.get(view).and_then(|below| below.get(*next)) {
                *next += 1;
                if seen.insert(*below) {
                    path.push((*below, 0));
                }
            } else {
                order.push(*view);
                path.pop();
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_end_and_diamonds_are_walked_once() {
        let circle = HashMap::from([(1, vec![2]), (2, vec![3]), (3, vec![1, 4])]);
        assert_eq!(in_order(&[1, 5], &circle), [4, 3, 2, 1, 5]);
        // Two views of each level read both of the level below: 2^100 paths.
        let mut diamond = HashMap::new();
        for level in 1..=100 {
            let below = vec![10 * level - 10, 10 * level - 9];
            diamond.insert(10 * level, below.clone());
            diamond.insert(10 * level + 1, below);
        }
        let order = in_order(&[1000, 1001], &diamond);
        assert_eq!(order.len(), 202);
        let at = |view| order.iter().position(|one| *one == view);
        assert!((1..=100).all(|level| at(10 * level - 10) < at(10 * level + 1)));
    }

    #[test]
    fn a_deep_chain_needs_no_stack() {
        let chain = (0..200_000).map(|view| (view, vec![view + 1])).collect();
        assert_eq!(in_order(&[0], &chain).first(), Some(&200_000));
    }
}
