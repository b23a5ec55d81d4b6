//! The archives of a store: which there are, and which one is named.

use super::error::{RemoteError, hint};
use super::fetch::{Patience, fetch, retried};
use super::marks::{MarkNames, read_marks};
use super::object::StoredObject;
use super::owner::sidecar_key;
use super::pins::stored_pin;
use crate::catalog::found_mark::latest;
use crate::catalog::sidecar::{ENDING, Sidecar};
use crate::catalog::{Marks, Pin, is_archive_name, pin};
use crate::job::Destination;
use crate::pool::Pool;
use hubvault_archive::Source;
use hubvault_model::{BackupId, Cancel};
use hubvault_store::{Key, Location, Object, Requests, Store, StoreError};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Sidecars that are fetched at once, if they are no larger than this, in bytes.
const AT_ONCE: usize = 8;
const SMALL: u64 = 4 << 20;
/// With so many digits, the first backup that fits an id's beginning is meant.
const CERTAIN: usize = 8;
/// The newest backup.
const LATEST: &str = "latest";

/// A store with archives. Clones share it.
#[derive(Clone, Debug)]
pub struct Archives {
    pub(super) destination: Destination,
    store: Arc<dyn Store>,
    patience: Patience,
    pub(super) cancel: Cancel,
}

/// An archive in a store.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The archive.
    pub object: Object,
    pub(super) sidecar: Option<Object>,
    /// Whether a pin is beside it.
    pub(crate) is_pinned: bool,
    /// The names of the marks of drills beside it.
    pub(crate) marks: Vec<String>,
    /// The backup that it must hold: its sidecar said so when it was selected. Who names the archive itself gets it as
    /// it is.
    pub(super) wanted: Option<BackupId>,
}

impl Listed {
    /// When it was made, by its name: `20260131_020000`.
    pub fn moment(&self) -> &str {
        moment(&self.object.key)
    }

    fn wanted(self, id: BackupId) -> Self {
        Self {
            wanted: Some(id),
            ..self
        }
    }
}

/// The last two of the parts that end at the first dot.
fn moment(key: &Key) -> &str {
    let name = name_of(key);
    let stem = name.split('.').next().unwrap_or(name);
    let mut breaks = stem.rmatch_indices('_').map(|(at, _)| at + 1);
    let begin = breaks.nth(1).unwrap_or_default();
    &stem[begin..]
}

fn name_of(key: &Key) -> &str {
    let text = key.as_str();
    text.rsplit_once('/').map_or(text, |(_, name)| name)
}

impl Archives {
    /// Opens the store of a destination. Once `cancel` is requested, nothing more is asked of it.
    pub fn open(destination: &Destination, cancel: &Cancel) -> Result<Self, RemoteError> {
        let store = Arc::from(destination.open()?);
        Ok(Self::of(destination, store, cancel))
    }

    /// The same of a store that is open.
    pub fn of(destination: &Destination, store: Arc<dyn Store>, cancel: &Cancel) -> Self {
        Self {
            destination: destination.clone(),
            store,
            patience: Patience::default(),
            cancel: cancel.clone(),
        }
    }

    /// The same that asks again for as long as this.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Where it is, for people.
    pub fn place(&self) -> &Location {
        &self.destination.location
    }

    /// Where an archive of it is, for people.
    pub fn shown(&self, key: &Key) -> String {
        format!("{}/{key}", self.place())
    }

    fn retried<T>(&self, call: impl FnMut() -> Result<T, StoreError>) -> Result<T, RemoteError> {
        Ok(retried(self.patience, &self.cancel, call)?)
    }

    /// The object of this key.
    pub(crate) fn head(&self, key: &Key) -> Result<Option<Object>, RemoteError> {
        self.retried(|| self.store.head(key))
    }

    /// Whether there is the sidecar of an archive.
    pub(crate) fn has_sidecar(&self, archive: &Key) -> Result<bool, RemoteError> {
        sidecar_key(archive).map_or(Ok(false), |key| Ok(self.head(&key)?.is_some()))
    }

    /// What was asked of the store since it was opened.
    pub fn requests(&self) -> Requests {
        self.store.requests()
    }

    /// The archives, newest first by their names. Those of directories below are other jobs'.
    pub fn list(&self) -> Result<Vec<Listed>, RemoteError> {
        let objects = self.retried(|| self.store.list(""))?;
        let (mut sidecars, mut pins) = (HashMap::new(), HashSet::new());
        let mut marks = MarkNames::default();
        let (mut found, mut below) = (Vec::new(), BTreeSet::new());
        for object in objects {
            let text = object.key.as_str();
            if let Some(archive) = text.strip_suffix(ENDING) {
                sidecars.insert(archive.to_owned(), object);
            } else if let Some(archive) = text.strip_suffix(pin::ENDING) {
                pins.insert(archive.to_owned());
            } else if marks.add(text) || !is_archive_name(Path::new(text)) {
            } else if let Some((directory, _)) = text.rsplit_once('/') {
                below.insert(directory.to_owned());
            } else {
                found.push(object);
            }
        }
        if found.is_empty() {
            return Err(RemoteError::Empty {
                place: self.place().to_string(),
                hint: hint(self.place(), &below),
            });
        }
        let mut found: Vec<Listed> = found
            .into_iter()
            .map(|object| Listed {
                sidecar: sidecars.remove(object.key.as_str()),
                is_pinned: pins.contains(object.key.as_str()),
                marks: marks.take(&object.key),
                object,
                wanted: None,
            })
            .collect();
        found.sort_by(|one, other| {
            let (mine, theirs) = (one.moment(), other.moment());
            theirs
                .cmp(mine)
                .then_with(|| other.object.key.cmp(&one.object.key))
        });
        Ok(found)
    }

    /// The archive that a word names: `latest`, a key, an id, or the beginning of one.
    pub fn find(&self, word: &str) -> Result<Listed, RemoteError> {
        if let Some(named) = self.of_key(word)? {
            return Ok(named);
        }
        if word == LATEST {
            return self.latest();
        }
        let wanted = word.to_ascii_lowercase();
        let is_id = |c: u8| c.is_ascii_hexdigit() || c == b'-';
        if wanted.is_empty() || !wanted.bytes().all(is_id) {
            return Err(self.unknown(word));
        }
        self.of_id(word, &wanted)
    }

    fn unknown(&self, word: &str) -> RemoteError {
        RemoteError::Unknown {
            word: word.to_owned(),
            place: self.place().to_string(),
        }
    }

    /// A key is the name of an archive, also of a renamed one.
    fn of_key(&self, word: &str) -> Result<Option<Listed>, RemoteError> {
        let Some(key) = Key::parse(word).ok().filter(|_| word.contains('.')) else {
            return Ok(None);
        };
        let Some(object) = self.head(&key)? else {
            return Err(self.unknown(word));
        };
        let sidecar = match sidecar_key(&key) {
            Ok(beside) => self.head(&beside)?,
            Err(_) => None,
        };
        let marks = self.retried(|| MarkNames::beside(&*self.store, &key))?;
        Ok(Some(Listed {
            object,
            sidecar,
            is_pinned: false,
            marks,
            wanted: None,
        }))
    }

    /// The newest that is proven; where none is, the newest.
    fn latest(&self) -> Result<Listed, RemoteError> {
        let all = self.list()?;
        let mut newest = None;
        for listed in all {
            let sidecar = self.judged_sidecar(&listed)?;
            let bytes = listed.object.bytes;
            let is_proven =
                (sidecar.as_ref()).is_some_and(|it| it.proof.proven && it.least_bytes() <= bytes);
            let named = match sidecar {
                Some(sidecar) => listed.wanted(sidecar.manifest.id),
                None => listed,
            };
            if is_proven {
                return Ok(named);
            }
            newest.get_or_insert(named);
        }
        newest.ok_or_else(|| self.unknown(LATEST))
    }

    fn of_id(&self, word: &str, wanted: &str) -> Result<Listed, RemoteError> {
        let digits = wanted.bytes().filter(u8::is_ascii_hexdigit).count();
        let mut fits: Vec<(BackupId, Listed)> = Vec::new();
        for part in self.list()?.chunks(AT_ONCE * 4) {
            let id_of = |_: &Listed, sidecar: Option<Sidecar>| Some(sidecar?.manifest.id);
            for (listed, id) in part.iter().zip(self.each_sidecar(part, id_of)?) {
                let id = id.filter(|id| id.to_string().starts_with(wanted));
                fits.extend(id.map(|id| (id, listed.clone().wanted(id))));
            }
            if !fits.is_empty() && digits >= CERTAIN {
                break;
            }
        }
        // A copy of a copy is the same backup.
        fits.dedup_by_key(|(id, _)| *id);
        match fits.len() {
            0 => Err(self.unknown(word)),
            1 => Ok(fits.remove(0).1),
            _ => Err(RemoteError::Ambiguous {
                word: word.to_owned(),
                ids: (fits.iter())
                    .map(|(id, _)| id.to_string()[..13].to_owned())
                    .collect(),
            }),
        }
    }

    /// The pin of a listed backup.
    pub(crate) fn pin(&self, listed: &Listed, id: BackupId) -> Result<Option<Pin>, RemoteError> {
        if !listed.is_pinned {
            return Ok(None);
        }
        self.retried(|| stored_pin(&*self.store, &listed.object.key, id))
    }

    /// What the marks of these names beside a listed backup say.
    pub(crate) fn marks(
        &self,
        listed: &Listed,
        id: BackupId,
        names: &[String],
    ) -> Result<Marks, RemoteError> {
        let key = &listed.object.key;
        self.retried(|| read_marks(&*self.store, &self.destination, key, id, names))
    }

    /// What the sidecar of an archive says, with what later drills showed.
    pub(super) fn judged_sidecar(&self, listed: &Listed) -> Result<Option<Sidecar>, RemoteError> {
        let Some(mut sidecar) = self.sidecar(listed)? else {
            return Ok(None);
        };
        let marks = self.marks(listed, sidecar.manifest.id, &listed.marks)?;
        if let Some(latest) = latest(&marks.found) {
            sidecar.proof = latest.or_same(&sidecar.proof);
        }
        Ok(Some(sidecar))
    }

    /// What the sidecar of an archive says; `None` where there is none that can be read.
    pub fn sidecar(&self, listed: &Listed) -> Result<Option<Sidecar>, RemoteError> {
        let mut found = self.read_sidecar(listed)?;
        let stranger = listed.sidecar.as_ref().and_then(|object| object.stranger);
        if let (Some(sidecar), Some(user)) = (&mut found, stranger) {
            sidecar.disbelieve(user);
        }
        Ok(found)
    }

    fn read_sidecar(&self, listed: &Listed) -> Result<Option<Sidecar>, RemoteError> {
        if let Some(path) = self.destination.path(&listed.object.key) {
            return Ok(Sidecar::beside(&path));
        }
        let archive_bytes = listed.object.bytes;
        let Some(sidecar) = (listed.sidecar.as_ref())
            .filter(|sidecar| sidecar.bytes <= Sidecar::limit(archive_bytes))
        else {
            return Ok(None);
        };
        if sidecar.bytes <= SMALL {
            let mut json = vec![0; sidecar.bytes as usize];
            let (store, part) = (self.store.as_ref(), (0, json.as_mut_slice()));
            fetch(store, sidecar, part, self.patience, &self.cancel)?;
            return Ok(Sidecar::parse(json.as_slice(), archive_bytes));
        }
        let (store, object) = (Arc::clone(&self.store), sidecar.clone());
        let source = StoredObject::new(store, object, self.patience, &self.cancel);
        source.will_read(0, sidecar.bytes);
        let mut text = Text {
            source,
            at: 0,
            failed: None,
        };
        let parsed = Sidecar::parse(&mut text, archive_bytes);
        match text.failed {
            // Not a sidecar that cannot be read, but a store.
            Some(error) => Err(StoreError::new("reading", sidecar.key.as_str(), error).into()),
            None => Ok(parsed),
        }
    }

    /// What `see` makes of several archives and their sidecars, a few at once. Of large sidecars one at a time is in
    /// memory, and none longer than `see` needs it.
    pub(super) fn each_sidecar<T: Send>(
        &self,
        of: &[Listed],
        see: impl Fn(&Listed, Option<Sidecar>) -> T + Sync,
    ) -> Result<Vec<T>, RemoteError> {
        let seen = Mutex::new(Vec::new());
        let large = Mutex::new(());
        let read = |(): &mut (), at: usize| {
            let listed = &of[at];
            let is_large = (listed.sidecar.as_ref()).is_some_and(|sidecar| sidecar.bytes > SMALL);
            let alone = is_large.then(|| large.lock().unwrap_or_else(PoisonError::into_inner));
            let done = see(listed, self.sidecar(listed)?);
            drop(alone);
            (seen.lock().unwrap_or_else(PoisonError::into_inner)).push((at, done));
            Ok::<_, RemoteError>(())
        };
        Pool::new(0..of.len(), &self.cancel).run(AT_ONCE, || Ok(()), read)?;
        let mut seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        seen.sort_by_key(|(at, _)| *at);
        Ok(seen.into_iter().map(|(_, done)| done).collect())
    }

    /// An archive as it is read in the store.
    pub fn source(&self, listed: &Listed) -> StoredObject {
        let (store, object) = (Arc::clone(&self.store), listed.object.clone());
        StoredObject::new(store, object, self.patience, &self.cancel)
    }
}

/// The text of a large sidecar, which is never in memory as a whole.
struct Text {
    source: StoredObject,
    at: u64,
    failed: Option<io::Error>,
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.source.read_at(buffer, self.at) {
            Ok(n) => {
                self.at += n as u64;
                Ok(n)
            }
            Err(error) => {
                let said = io::Error::other(error.to_string());
                self.failed = Some(error);
                Err(said)
            }
        }
    }
}
