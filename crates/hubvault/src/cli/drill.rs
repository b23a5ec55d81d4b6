//! `hubvault drill`: old archives restored into a throwaway server and compared.

use super::Exit;
use super::proof::proof_text;
use super::seal::{IdentityArgs, witness};
use super::select::resolve;
use crate::progress::{self, Of};
use crate::text::{chain, print};
use crate::{answer, signals};
use anyhow::{Context, Result, bail};
use clap::Args;
use hubvault_archive::Identities;
use hubvault_config::Settings;
use hubvault_engine::catalog;
use hubvault_engine::catalog::{BackupRecord, Catalog, Contents, ProofRecord, State, contents};
use hubvault_engine::progress::{Progress, Stage};
use hubvault_engine::proof::{DrillError, drill as engine};
use hubvault_engine::state::StateDir;
use hubvault_model::{Cancel, counted};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(super) const EXAMPLES: &str = "Examples:
  hubvault drill latest
  hubvault drill --all --sample 2    # a random sample of two

Exit codes: 0 proven; 1 an archive could not be restored or differs; 2 bad usage or
configuration; 3 unproven, a constraint came back NOT VALID, or with --all an archive is sealed and
--identity does not open it.";

/// `hubvault drill`
#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    /// An id, an unambiguous prefix of one, `latest`, or a file (with a / or the ending of an archive)
    #[arg(conflicts_with = "all")]
    pub(crate) backup: Option<String>,
    /// Every archive in the catalog
    #[arg(long)]
    pub(crate) all: bool,
    /// Only a random sample of N of them
    #[arg(long, value_name = "N", requires = "all")]
    pub(crate) sample: Option<usize>,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// No progress bar and no progress lines
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// Drills one archive, all, or a random sample.
pub(crate) fn run(settings: &Settings, args: &DrillArgs) -> Result<Exit> {
    let paths = match (&args.backup, args.all) {
        (Some(backup), _) => vec![resolve(settings, backup)?],
        (None, true) => sample(archives(settings)?, args.sample),
        (None, false) => bail!("name a backup, or add --all"),
    };
    let identities = args.identity.read()?;
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let bar = progress::choose_for(settings, Of::Drill, args.no_progress);
    let mut all = Vec::new();
    for path in &paths {
        let (bar, all_of_them) = (bar.as_ref(), args.all);
        let one = one_of(settings, path, &identities, bar, &cancel, all_of_them)?;
        if !answer::is_json() {
            print(&format!("{}: {}", path.display(), one.text()))?;
        }
        all.push(one);
    }
    if answer::is_json() {
        answer::json(&all.iter().map(Drilled::as_json).collect::<Vec<_>>())?;
    }
    let rejected = all.iter().filter(|one| one.is_rejected()).count();
    if rejected > 0 {
        bail!(
            "{rejected} of {} failed the drill",
            counted(all.len() as u64, "archive")
        );
    }
    Ok(if all.iter().all(Drilled::is_proven) {
        Exit::Done
    } else {
        Exit::Warnings
    })
}

/// Whether an archive is proven and nothing of it came back `NOT VALID`.
pub(crate) fn leaves_nothing(proof: &ProofRecord) -> bool {
    proof.proven && proof.drill.iter().all(|drill| drill.not_valid.is_empty())
}

/// The result for one archive.
struct Drilled {
    path: PathBuf,
    result: Outcome,
}

enum Outcome {
    Judged(Box<ProofRecord>),
    Sealed,
    Rejected(String),
}

impl Drilled {
    fn is_rejected(&self) -> bool {
        matches!(self.result, Outcome::Rejected(_))
    }

    /// And nothing came back `NOT VALID`.
    fn is_proven(&self) -> bool {
        let Outcome::Judged(proof) = &self.result else {
            return false;
        };
        leaves_nothing(proof)
    }

    fn text(&self) -> String {
        match &self.result {
            Outcome::Judged(proof) => proof_text(proof),
            Outcome::Sealed => format!("{SEALED}\n"),
            Outcome::Rejected(why) => format!("REJECTED: {why}\n"),
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let (word, reason, proof) = match &self.result {
            Outcome::Judged(proof) if proof.proven => ("proven", None, Some(proof)),
            Outcome::Judged(proof) => ("unproven", proof.reason.as_deref(), Some(proof)),
            Outcome::Sealed => ("sealed", Some(SEALED), None),
            Outcome::Rejected(why) => ("rejected", Some(why.as_str()), None),
        };
        json!({ "file": self.path, "result": word, "reason": reason, "proof": proof })
    }
}

const SEALED: &str =
    "sealed, not drilled; add --identity with the file of a recipient's private key";

/// Drills one of several archives, or the one that was named: a failure of the drill is its result.
fn one_of(
    settings: &Settings,
    path: &Path,
    identities: &Identities,
    progress: &dyn Progress,
    cancel: &Cancel,
    of_several: bool,
) -> Result<Drilled> {
    let mut proof = ProofRecord::default();
    let done = drill(settings, path, identities, progress, cancel, &mut proof);
    let is_sealed = |error: &anyhow::Error| error.downcast_ref().is_some_and(DrillError::is_sealed);
    let result = match done {
        Ok(()) => Outcome::Judged(Box::new(proof)),
        // Not a failure of the archive; it is one of the command if the archive was named.
        Err(error) if is_sealed(&error) && of_several => Outcome::Sealed,
        Err(error) if is_sealed(&error) => return Err(error),
        Err(error) if error.is::<DrillError>() && !cancel.is_requested() => {
            disprove(settings, path, identities, &error)?;
            Outcome::Rejected(error.to_string())
        }
        Err(error) => return Err(error),
    };
    let path = path.to_owned();
    Ok(Drilled { path, result })
}

/// Drills one archive and records the result if the archive is in the catalog.
pub(crate) fn drill(
    settings: &Settings,
    path: &Path,
    identities: &Identities,
    progress: &dyn Progress,
    cancel: &Cancel,
    proof: &mut ProofRecord,
) -> Result<()> {
    progress.stage(Stage::Drill, None);
    let job = settings.job();
    let verdict = engine::drill(
        path,
        identities,
        &job.proof,
        job.workers,
        false,
        progress,
        cancel,
    )?;
    proof.judged(verdict);
    let known =
        contents(path, identities).with_context(|| format!("opening {}", path.display()))?;
    witness(settings, &known.opened_by);
    remember(settings, path, known, proof)
}

fn archives(settings: &Settings) -> Result<Vec<PathBuf>> {
    let job = settings.job();
    let records = catalog::current(job)?.list()?;
    let there = records
        .into_iter()
        .filter_map(|record| record.archive().map(Path::to_owned));
    let found: Vec<PathBuf> = there.collect();
    if found.is_empty() {
        bail!("no archives in {}", job.local_directory().display());
    }
    Ok(found)
}

/// A random sample of `number`, or all.
fn sample(mut paths: Vec<PathBuf>, number: Option<usize>) -> Vec<PathBuf> {
    let number = number.unwrap_or(paths.len()).min(paths.len());
    let mut chosen = Vec::new();
    while chosen.len() < number {
        let chance = hubvault_model::BackupId::random().to_u128();
        chosen.push(paths.swap_remove((chance % paths.len() as u128) as usize));
    }
    chosen
}

/// Records that a drill rejected an archive: it is unproven from now on.
fn disprove(
    settings: &Settings,
    path: &Path,
    identities: &Identities,
    error: &anyhow::Error,
) -> Result<()> {
    let proof = ProofRecord {
        reason: Some(format!("rejected by a drill: {}", chain(error))),
        ..ProofRecord::default()
    };
    if let Ok(known) = contents(path, identities) {
        return remember(settings, path, known, &proof);
    }
    // It cannot be opened; its record names its file.
    let catalog = Catalog::open(&StateDir::open(settings.job().state_root())?)?;
    let is_it = |record: &&BackupRecord| {
        let file = record.file().and_then(|it| it.canonicalize().ok());
        file.is_some() && file == path.canonicalize().ok()
    };
    if let Some(record) = catalog.list()?.iter().find(is_it) {
        catalog.finish(&BackupRecord {
            state: State::Unproven,
            proof,
            ..record.clone()
        })?;
    }
    Ok(())
}

/// Records the proof if the archive is in the catalog.
fn remember(settings: &Settings, path: &Path, known: Contents, proof: &ProofRecord) -> Result<()> {
    let job = settings.job();
    let ours = path
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.parent()?.to_owned()));
    if ours.is_none() || job.local_directory().canonicalize().ok() != ours {
        return Ok(());
    }
    let catalog = Catalog::open(&StateDir::open(job.state_root())?)?;
    let Some(record) = catalog.find(&known.manifest.id.to_string())? else {
        return Ok(());
    };
    let sidecar = known.into_sidecar(proof.clone(), record.pinned);
    sidecar
        .write(path)
        .with_context(|| format!("writing the sidecar manifest of {}", path.display()))?;
    let state = if proof.proven {
        State::Proven
    } else {
        State::Unproven
    };
    catalog.finish(&BackupRecord {
        state,
        proof: proof.clone(),
        ..record
    })?;
    Ok(())
}
