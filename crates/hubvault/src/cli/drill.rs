//! `hubvault drill`: old archives restored into a throwaway server and compared.

use super::Exit;
use super::drill_answer::{others_text, rejection_text};
use super::proof::proof_text;
use super::seal::{IdentityArgs, witness};
use super::select::{FromArgs, backup_of};
use crate::progress::{self, Of};
use crate::text::{chain, print};
use crate::{answer, signals};
use anyhow::{Result, bail};
use clap::Args;
use hubvault_archive::Identities;
use hubvault_config::Settings;
use hubvault_engine::catalog;
use hubvault_engine::catalog::{Catalog, Contents, ProofRecord};
use hubvault_engine::job::LOCAL;
use hubvault_engine::progress::{Progress, Stage};
use hubvault_engine::proof::{DrillError, IntegrityError, drill as engine};
use hubvault_engine::publish::{Rejection, drill_rejected};
use hubvault_engine::remote::{Backup, RemoteError};
use hubvault_engine::retain;
use hubvault_engine::state::StateDir;
use hubvault_model::{BackupId, Cancel, counted};
use serde_json::json;
use std::path::Path;

pub(super) const EXAMPLES: &str = "Examples:
  hubvault drill latest
  hubvault drill --all --sample 2    # a random sample of two

Exit codes: 0 proven; 1 an archive could not be restored or differs; 2 bad usage or \
configuration; 3 unproven, a constraint came back NOT VALID, or with --all an archive is sealed and \
--identity does not open it.";

/// `hubvault drill`
#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    /// An id, an unambiguous prefix of one, `latest`, a file (with a / or the ending of an archive), or a URL
    /// (`s3://bucket/prefix/latest`)
    #[arg(conflicts_with = "all")]
    pub(crate) backup: Option<String>,
    #[command(flatten)]
    pub(crate) from: FromArgs,
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
    let cancel = Cancel::new();
    let _signals = signals::watch(cancel.clone(), || {})?;
    let backups = match (&args.backup, args.all) {
        (Some(word), _) => vec![backup_of(settings, &args.from, word, &cancel)?],
        (None, true) if args.from.destination.is_some() => {
            bail!("--all drills the archives of the catalog; leave --destination out")
        }
        (None, true) => sample(archives(settings)?, args.sample),
        (None, false) => bail!("name a backup, or add --all"),
    };
    let identities = args.identity.read()?;
    let bar = progress::choose_for(settings, Of::Drill, args.no_progress);
    learn(settings);
    let mut all = Vec::new();
    for backup in &backups {
        let (bar, all_of_them) = (bar.as_ref(), args.all);
        let one = one_of(settings, backup, &identities, bar, &cancel, all_of_them)?;
        if !answer::is_json() {
            print(&format!("{}: {}", one.place, one.text()))?;
        }
        all.push(one);
    }
    store(settings);
    for one in &mut all {
        one.others = others(settings, one.backup, one.came_back());
        if let Some(others) = one.others.as_ref().filter(|_| !answer::is_json()) {
            print(&format!("{}: {others}\n", one.place))?;
        }
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
    place: String,
    result: Outcome,
    /// The backup that the catalog knows it is a copy of.
    backup: Option<BackupId>,
    /// Why the backup is not proven, or may not be, by drills of others.
    others: Option<String>,
}

enum Outcome {
    Judged(Box<ProofRecord>),
    Sealed,
    Rejected(String, Option<Rejection>),
}

impl Drilled {
    fn is_rejected(&self) -> bool {
        matches!(self.result, Outcome::Rejected(..))
    }

    fn came_back(&self) -> bool {
        matches!(&self.result, Outcome::Judged(proof) if proof.proven)
    }

    /// And nothing came back `NOT VALID`, and no drill of others says otherwise.
    fn is_proven(&self) -> bool {
        let Outcome::Judged(proof) = &self.result else {
            return false;
        };
        leaves_nothing(proof) && self.others.is_none()
    }

    fn text(&self) -> String {
        match &self.result {
            Outcome::Judged(proof) => proof_text(proof),
            Outcome::Sealed => format!("{SEALED}\n"),
            Outcome::Rejected(why, said) => {
                let said = said.as_ref().map(rejection_text).unwrap_or_default();
                format!("REJECTED: {why}\n{said}")
            }
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let (word, reason, proof) = match &self.result {
            Outcome::Judged(proof) if proof.proven => match &self.others {
                Some(others) => ("unproven", Some(others.as_str()), Some(proof)),
                None => ("proven", None, Some(proof)),
            },
            Outcome::Judged(proof) => ("unproven", proof.reason.as_deref(), Some(proof)),
            Outcome::Sealed => ("sealed", Some(SEALED), None),
            Outcome::Rejected(why, _) => ("rejected", Some(why.as_str()), None),
        };
        let damaged = match &self.result {
            Outcome::Rejected(_, Some(Rejection::Copy { destination, .. })) => Some(destination),
            _ => None,
        };
        json!({
            "file": self.place, "result": word, "reason": reason, "proof": proof, "damaged": damaged,
        })
    }
}

const SEALED: &str =
    "sealed, not drilled; add --identity with the file of a recipient's private key";

/// Drills one of several archives, or the one that was named: a failure of the drill is its result.
fn one_of(
    settings: &Settings,
    backup: &Backup,
    identities: &Identities,
    progress: &dyn Progress,
    cancel: &Cancel,
    of_several: bool,
) -> Result<Drilled> {
    let mut proof = ProofRecord::default();
    let done = drill(settings, backup, identities, progress, cancel, &mut proof);
    let is_sealed = |error: &anyhow::Error| error.downcast_ref().is_some_and(DrillError::is_sealed);
    let mut known = None;
    let result = match done {
        Ok(id) => {
            known = id;
            Outcome::Judged(Box::new(proof))
        }
        // Not a failure of the archive; it is one of the command if the archive was named.
        Err(error) if is_sealed(&error) && of_several => Outcome::Sealed,
        Err(error) if is_sealed(&error) => return Err(error),
        Err(error) if error.is::<DrillError>() && !cancel.is_requested() => {
            let said = disprove(settings, backup, &error, cancel);
            Outcome::Rejected(error.to_string(), said)
        }
        Err(error) => return Err(error),
    };
    Ok(Drilled {
        place: backup.place(),
        result,
        backup: known,
        others: None,
    })
}

/// Drills one archive and records the result if the archive is in the catalog: the backup of that record.
pub(crate) fn drill(
    settings: &Settings,
    backup: &Backup,
    identities: &Identities,
    progress: &dyn Progress,
    cancel: &Cancel,
    proof: &mut ProofRecord,
) -> Result<Option<BackupId>> {
    progress.stage(Stage::Drill, None);
    let job = settings.job();
    let (options, workers) = (&job.proof, job.workers);
    let archive = backup.open(identities).map_err(not_opened)?;
    proof.judged(engine::drill_open(
        &archive, options, workers, false, progress, cancel,
    )?);
    let known = backup.contents(identities)?;
    witness(settings, &known.opened_by);
    let is_here = is_here(settings, backup);
    match remember(settings, backup, known, proof) {
        // The catalog may not know an archive that is elsewhere.
        Err(error) if !is_here => {
            tracing::warn!("could not record what the drill showed: {}", chain(&error));
            Ok(None)
        }
        done => done,
    }
}

/// Whether it is in the directory in which archives are made.
fn is_here(settings: &Settings, backup: &Backup) -> bool {
    let directory = settings.job().local_directory().canonicalize().ok();
    let file = backup.file().and_then(|file| file.canonicalize().ok());
    directory.is_some() && file.as_deref().and_then(Path::parent) == directory.as_deref()
}

/// Looks for drills of other machines, so that this one counts rather than those.
pub(crate) fn learn(settings: &Settings) {
    let job = settings.job();
    let learned = writable_catalog(settings).and_then(|catalog| {
        let learned = catalog.map(|catalog| retain::learn_drills(job, &catalog));
        Ok(learned.transpose()?.unwrap_or_default())
    });
    // An archive may be drilled wherever it is, and nothing else has to be whole for that.
    let problems = learned.unwrap_or_else(|error| vec![chain(&error)]);
    for problem in problems {
        tracing::warn!("{problem}");
    }
}

/// Stores what drills showed beside the copies.
pub(crate) fn store(settings: &Settings) {
    let job = settings.job();
    let stored = writable_catalog(settings).and_then(|catalog| {
        let stored = catalog.map(|catalog| retain::store_drills(job, &catalog, None));
        Ok(stored.transpose()?.unwrap_or_default())
    });
    for one in stored.unwrap_or_else(|error| {
        tracing::warn!("{}", chain(&error));
        Vec::new()
    }) {
        tracing::warn!(
            "{}: backup {}: {}; the next run or hubvault copies sync tries again",
            one.destination,
            one.backup.short(),
            one.problem
        );
    }
}

fn writable_catalog(settings: &Settings) -> Result<Option<Catalog>> {
    Ok(catalog_of(settings)?.filter(|catalog| !catalog.is_read_only()))
}

/// The catalog, where there is one: an archive may be drilled where nothing is configured.
fn catalog_of(settings: &Settings) -> Result<Option<Catalog>> {
    let job = settings.job();
    let state = StateDir::of(job.state_root());
    if !state.file("catalog.sqlite").is_file() {
        return Ok(None);
    }
    let catalog = Catalog::open(&state)?.of_job(&job.name, &job.destinations);
    Ok(Some(catalog))
}

/// An archive that cannot be opened failed its drill, wherever it is.
pub(crate) fn not_opened(error: RemoteError) -> anyhow::Error {
    match error {
        RemoteError::Archive { place, source } => DrillError::Archive {
            path: place.into(),
            source,
        }
        .into(),
        other => other.into(),
    }
}

fn archives(settings: &Settings) -> Result<Vec<Backup>> {
    let job = settings.job();
    let mut found = Vec::new();
    catalog::current(job)?.each_summary(None, |summary| {
        found.extend((summary.run.archive()).map(|path| Backup::at(path.to_owned())));
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    if found.is_empty() {
        bail!("no archives in {}", job.local_directory().display());
    }
    Ok(found)
}

/// A random sample of `number`, or all.
fn sample(mut all: Vec<Backup>, number: Option<usize>) -> Vec<Backup> {
    let number = number.unwrap_or(all.len()).min(all.len());
    let mut chosen = Vec::new();
    while chosen.len() < number {
        let chance = hubvault_model::BackupId::random().to_u128();
        chosen.push(all.swap_remove((chance % all.len() as u128) as usize));
    }
    chosen
}

/// Records what a drill that rejected an archive, or reading it back for one, says of it or of its backup. What a store did
/// not deliver says nothing.
pub(crate) fn disprove(
    settings: &Settings,
    backup: &Backup,
    error: &anyhow::Error,
    cancel: &Cancel,
) -> Option<Rejection> {
    let of_drill = error.downcast_ref::<DrillError>();
    let of_reading = error.downcast_ref::<IntegrityError>();
    let is_of_file = match (of_drill, of_reading) {
        (Some(error), _) if !error.is_sealed() => error.is_of_file(),
        (None, Some(IntegrityError::Archive { .. } | IntegrityError::OtherManifest)) => true,
        _ => return None,
    };
    let why = chain(error);
    let record = || -> Result<Option<Rejection>> {
        let Some(catalog) = writable_catalog(settings)? else {
            return Ok(None);
        };
        let said = (is_of_file, why.as_str());
        Ok(drill_rejected(
            settings.job(),
            &catalog,
            backup,
            said,
            cancel,
        )?)
    };
    record().unwrap_or_else(|failed| {
        tracing::warn!("could not record that the drill failed: {}", chain(&failed));
        None
    })
}

/// Why a backup is not proven by a drill that proved it, or may not be: those of others.
pub(super) fn others(
    settings: &Settings,
    backup: Option<BackupId>,
    is_proven: bool,
) -> Option<String> {
    let catalog = catalog_of(settings).ok()??;
    let record = catalog.find(&backup?.to_string()).ok()??;
    others_text(record, is_proven)
}

/// Records the proof if the archive is a copy that the catalog knows: the backup of that record.
fn remember(
    settings: &Settings,
    backup: &Backup,
    known: Contents,
    proof: &ProofRecord,
) -> Result<Option<BackupId>> {
    let Some(catalog) = catalog_of(settings)? else {
        return Ok(None);
    };
    let Some(record) = catalog.find(&known.manifest.id.to_string())? else {
        return Ok(None);
    };
    let destinations = &settings.job().destinations;
    let Some(at) = backup.copy_of(&record, destinations) else {
        return Ok(None);
    };
    let of_here = (at == LOCAL).then_some(known);
    retain::record_drill(&catalog, record.id, proof, of_here)?;
    Ok(Some(record.id))
}
