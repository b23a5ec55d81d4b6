//! What `hubvault backup --dry-run` prints.

use super::seal::sealed_text;
use crate::text::{Align, about, about_rows, bullets, columns, grid, limit, plain};
use hubvault_engine::job::{Job, ProofWhen};
use hubvault_engine::logical::{Plan, describe_coverage};
use hubvault_model::{ByteSize, Warning, counted, indented};
use serde_json::json;

/// What a run would do, for people.
pub(crate) fn plan_text(job: &Job, plan: &Plan, warnings: &[Warning]) -> String {
    let mut out = format!(
        "Plan for {} (PostgreSQL {}, database {})\n\n",
        job.name,
        plain(&plan.snapshot.server_version),
        plain(&plan.snapshot.database)
    );
    let rows: Vec<Vec<String>> = plan
        .tables
        .iter()
        .map(|table| {
            vec![
                table.name.to_string(),
                about(table.estimated_rows),
                ByteSize(table.estimated_bytes).to_string(),
                table.extents.to_string(),
                describe_coverage(table),
            ]
        })
        .collect();
    let header = [
        ("table", Align::Wrap),
        ("rows (est.)", Align::Right),
        ("size (est.)", Align::Right),
        ("extents", Align::Detail),
        ("rows taken", Align::Wrap),
    ];
    out += &columns(&header, &rows);
    let number = |count: usize, noun| counted(count as u64, noun);
    let whole = format!(
        "{}, {}, about {} on {}; {}; the definitions of the whole database",
        number(plan.tables.len(), "table"),
        number(plan.extents.len(), "extent"),
        ByteSize(plan.estimated_bytes()),
        number(job.workers, "connection"),
        number(plan.sequences.len(), "sequence")
    );
    out += &format!("\n{}", grid(&[vec![" ".to_owned(), whole]], &[1]));
    for (n, file) in job.files.iter().enumerate() {
        out += if n == 0 { "\nFiles\n" } else { "" };
        let required = if file.is_required() {
            " (required)"
        } else {
            ""
        };
        out += &format!("  {} -> {}{required}\n", file.source.display(), file.name);
    }
    out += &commands_text(job);
    out += &left_out_text(plan);
    if plan.missing().next().is_some() {
        out += "\nMissing privileges; run as a superuser or the owner:\n";
        for statement in plan.grants(&job.database.user) {
            out += &format!("  {}\n", plain(&statement));
        }
    }
    out += &advice_text(plan);
    if !job.seal.is_empty() {
        let keys: Vec<String> = job.seal.iter().map(ToString::to_string).collect();
        out += &format!("\nThe archive is {}", sealed_text(&keys, true));
    }
    out += &drill_text(job);
    out + &warnings_text(warnings) + "\nNothing was written (dry run).\n"
}

fn drill_text(job: &Job) -> String {
    let proof = &job.proof;
    if proof.when == ProofWhen::Off {
        return String::new();
    }
    let memory = (proof.memory.as_ref()).filter(|_| proof.server.is_none());
    let memory = memory.map(|at| format!(" (a small one in {})", at.display()));
    format!(
        "\nDrill: {}, in {}{}, for at most {}\n",
        proof.when.as_str(),
        proof.directory.display(),
        memory.unwrap_or_default(),
        limit(proof.time_limit)
    )
}

fn advice_text(plan: &Plan) -> String {
    let Some(advice) = &plan.advice else {
        return String::new();
    };
    let mut out = format!(
        "\nRole: {}; create one with fewer rights:\n",
        plain(&advice.problem)
    );
    for statement in &advice.statements {
        out += &format!("  {}\n", plain(statement));
    }
    out
}

fn commands_text(job: &Job) -> String {
    let mut out = String::new();
    if !job.sources.is_empty() {
        out += "\nSources\n";
    }
    for source in &job.sources {
        let command = source.command.to_string();
        let optional = if source.required { "" } else { " (optional)" };
        out += &format!("  {command} -> {}{optional}\n", source.name);
    }
    if !job.hooks.is_empty() {
        out += "\nHooks\n";
    }
    for hook in &job.hooks {
        let command = hook.command.to_string();
        let (when, stage) = (hook.when.as_str(), hook.stage_text());
        out += &format!("  {when} {stage}: {command}\n");
    }
    out
}

fn left_out_text(plan: &Plan) -> String {
    let mut out = String::from("\nLeft out (restored empty)\n");
    let left_out = || plan.references.left_out.iter().chain(&plan.of_extensions);
    for left in left_out() {
        let rows = about_rows(left.estimated_rows);
        let (name, reason) = (plain(&left.name), plain(&left.reason));
        out += &format!("  {name}, {rows}, {reason}\n");
    }
    let others: Vec<String> = plan.outside.iter().map(|left| plain(&left.name)).collect();
    if !others.is_empty() {
        out += &format!("  {}\n", others.join(", "));
    }
    if left_out().next().is_none() && others.is_empty() {
        out += if plan.unreadable.is_empty() {
            "  nothing: every table is included\n"
        } else {
            "  nothing\n"
        };
    }
    if !plan.unreadable.is_empty() {
        out += "\nNot readable and new (missing after a restore)\n";
    }
    for left in &plan.unreadable {
        let rows = about_rows(left.estimated_rows);
        out += &format!("  {}, {rows}\n", plain(&left.name));
    }
    if !plan.references.not_valid.is_empty() {
        out += "\nForeign keys restored as NOT VALID\n";
        for key in &plan.references.not_valid {
            let (name, table, reason) = (plain(&key.name), plain(&key.table), plain(&key.reason));
            out += &format!("  {name} on {table}: {reason}\n");
        }
    }
    out
}

/// All warnings, in words; empty text for none.
pub(crate) fn warnings_text(warnings: &[Warning]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let texts = warnings.iter().map(|one| indented(&one.to_string()));
    format!("\nWarnings ({})\n", warnings.len()) + &bullets(texts)
}

/// The same for programs.
pub(super) fn plan_json(job: &Job, plan: &Plan, warnings: &[Warning]) -> serde_json::Value {
    json!({
        "job": job.name,
        "snapshot": {
            "database": plan.snapshot.database,
            "server_version": plan.snapshot.server_version,
            "taken_at": plan.snapshot.taken_at,
        },
        "tables": plan.tables.iter().map(|table| json!({
            "name": table.name.to_string(),
            "coverage": table.coverage,
            "filter": table.filter,
            "estimated_rows": table.estimated_rows,
            "estimated_bytes": table.estimated_bytes,
            "extents": table.extents,
        })).collect::<Vec<_>>(),
        "role": plan.advice.as_ref().map(|advice| json!({
            "problem": advice.problem, "statements": advice.statements,
        })),
        "estimated_bytes": plan.estimated_bytes(),
        "sequences": plan.sequences.len(),
        "files": job.files.iter().map(|file| json!({
            "source": file.source, "name": file.name, "required": file.is_required(),
        })).collect::<Vec<_>>(),
        "sources": job.sources.iter().map(|source| json!({
            "name": source.name, "required": source.required,
            "command": source.command.to_string(),
        })).collect::<Vec<_>>(),
        "hooks": job.hooks.iter().map(|hook| json!({
            "stage": hook.stage_text(), "when": hook.when.as_str(), "fails": hook.fails,
            "command": hook.command.to_string(),
        })).collect::<Vec<_>>(),
        "left_out": plan.references.left_out.iter().chain(&plan.of_extensions).collect::<Vec<_>>(),
        "outside": plan.outside.iter().map(|left| left.name.to_string()).collect::<Vec<_>>(),
        "not_valid": plan.references.not_valid,
        "unreadable": plan.unreadable,
        "privileges": plan.missing().map(|p| &p.statement).collect::<Vec<_>>(),
        "warnings": warnings,
    })
}
