//! The way of a run through its stages: each is announced to whoever watches, with the hooks of the
//! configuration on both sides of it.

use crate::catalog::BackupRecord;
use crate::job::{Hook, HookWhen, Job};
use crate::progress::{Progress, Stage};
use crate::run::BackupError;
use crate::run::Run;
use crate::run::command::{environment, fault, last_words, variables};
use hubvault_model::{Cancel, Warning};

/// Where a run is, and what its hooks left to say.
pub(super) struct Stages<'a> {
    job: &'a Job,
    run: &'a Run,
    current: Option<Stage>,
    warnings: Vec<Warning>,
}

impl<'a> Stages<'a> {
    /// Before the first stage.
    pub(super) fn new(job: &'a Job, run: &'a Run) -> Self {
        Self {
            job,
            run,
            current: None,
            warnings: Vec::new(),
        }
    }

    /// Runs the hooks before the whole run.
    pub(super) fn begin(&mut self) -> Result<(), BackupError> {
        self.hooks(None, HookWhen::Before)
    }

    /// The stage before went well, this one begins; `expected_bytes` as [`Progress::stage`] has it.
    pub(super) fn enter(
        &mut self,
        stage: Stage,
        expected_bytes: Option<u64>,
    ) -> Result<(), BackupError> {
        if let Some(last) = self.current.take() {
            self.hooks(Some(last), HookWhen::After)?;
        }
        self.run.progress.stage(stage, expected_bytes);
        self.hooks(Some(stage), HookWhen::Before)?;
        self.current = Some(stage);
        Ok(())
    }

    /// The archive has its name; nothing that a hook does can be the run's failure any more.
    pub(super) fn published(&mut self) {
        if let Some(last) = self.current.take() {
            self.harmless(Some(last), &[], &self.run.cancel.clone());
        }
    }

    /// What the hooks left to say since this was asked last.
    pub(super) fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// Runs the hooks after the whole run, which ended as `record` says, and puts down there what
    /// went wrong with any hook.
    pub(super) fn ended(mut self, record: &mut BackupRecord) {
        let file = record.file();
        let outcome = variables([
            ("HUBVAULT_STATE", record.state.as_str().to_owned()),
            (
                "HUBVAULT_FILE",
                file.map_or_else(String::new, |file| file.display().to_string()),
            ),
            ("HUBVAULT_ERROR", record.error.clone().unwrap_or_default()),
        ]);
        // A run that was stopped is tidied up after all, for as long as the process is there.
        self.harmless(None, &outcome, &Cancel::new());
        record.warnings.append(&mut self.warnings);
    }

    /// The first hook that fails and must not ends the run.
    fn hooks(&mut self, stage: Option<Stage>, when: HookWhen) -> Result<(), BackupError> {
        for hook in of(self.job, stage, when) {
            let what = run_hook(hook, self.job, self.run, &[], &self.run.work);
            if self.run.work.is_requested() {
                return Err(BackupError::Cancelled);
            }
            match what {
                Some(what) if hook.fails => return Err(BackupError::Hook { what }),
                Some(what) => self.warn(hook, what),
                None => {}
            }
        }
        Ok(())
    }

    /// Hooks after something that cannot fail any more.
    fn harmless(&mut self, stage: Option<Stage>, more: &[(String, String)], cancel: &Cancel) {
        for hook in of(self.job, stage, HookWhen::After) {
            if let Some(what) = run_hook(hook, self.job, self.run, more, cancel) {
                self.warn(hook, what);
            }
        }
    }

    fn warn(&mut self, hook: &Hook, what: String) {
        let subject = format!("{} {}", hook.when.as_str(), hook.stage_text());
        self.warnings
            .push(Warning::new("hook-failed", subject, what));
    }
}

fn of(job: &Job, stage: Option<Stage>, when: HookWhen) -> impl Iterator<Item = &Hook> {
    let all = job.hooks.iter();
    all.filter(move |hook| hook.stage == stage && hook.when == when)
}

/// Runs one; what is wrong with how it ended, in a sentence.
fn run_hook(
    hook: &Hook,
    job: &Job,
    run: &Run,
    more: &[(String, String)],
    cancel: &Cancel,
) -> Option<String> {
    let (when, stage) = (hook.when.as_str(), hook.stage_text());
    let mut told = environment(job, run);
    told.extend(variables([
        ("HUBVAULT_STAGE", stage.to_owned()),
        ("HUBVAULT_WHEN", when.to_owned()),
    ]));
    told.extend_from_slice(more);
    let masks = &job.delivery.masks;
    let ended = hook.command.run(&told, hook.timeout, cancel);
    if let Ok(ended) = &ended {
        tracing::debug!(
            "the hook {when} {stage} ran {:.1} s: {}",
            ended.seconds,
            last_words(ended, masks)
        );
    }
    let what = fault(&ended, hook.timeout, masks)?;
    Some(format!("the hook {when} {stage} ({}) {what}", hook.command))
}
