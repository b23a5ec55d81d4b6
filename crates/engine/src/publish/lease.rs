//! A lease: of several machines with the same job at most one runs it.
//!
//! It is a small object of a store with conditional writes. Who holds it has a number that only grows; a holder that was
//! stopped and goes on later notices by it that another one came, and what it writes can be told from what that one wrote.
//! No clock is compared with another machine's: a lease has ended once nobody renewed it for its whole length, as the one
//! that waits for it measures it.

use hubvault_store::{ErrorKind, Key, Object, Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::{self, Read};
use uuid::Uuid;

/// The most bytes of a lease that are read.
const LARGEST: u64 = 64 << 10;
/// The longest a lease lasts without a renewal: nobody waits longer for what somebody wrote by hand.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// How often it is tried for while others take it, too.
const TRIES: u8 = 4;

/// What is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Counts the holders, from 1.
    number: u64,
    /// Who holds it, for people, and another text for each run.
    holder: String,
    /// Until when, by its holder's clock: for people alone.
    until: Timestamp,
    /// Its length: nobody else takes it before it was not renewed for so long.
    lasts: SignedDuration,
    /// Whether it was given back.
    #[serde(default)]
    released: bool,
    /// What a newer version wrote.
    #[serde(flatten)]
    further: Map<String, Value>,
}

/// A lease that this process holds, unless it ended meanwhile.
#[derive(Debug)]
pub struct Lease {
    key: Key,
    version: String,
    record: Record,
}

/// Who holds a lease that was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// As it called itself.
    pub name: String,
    /// Until when by its clock, unless it is renewed.
    pub until: Timestamp,
    /// How long it must not be renewed before it has ended.
    pub lasts: SignedDuration,
    /// Another one after each renewal.
    version: String,
}

impl Holder {
    /// Whether neither the holder nor the lease changed in between.
    pub fn is_unchanged(&self, later: &Self) -> bool {
        self.version == later.version
    }
}

/// What asking for a lease gives.
#[derive(Debug)]
pub enum Taken {
    /// It is held now.
    Held(Lease),
    /// Another one has it.
    By(Holder),
}

/// A lease could not be taken or kept.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another one has it now: nothing may be written any more.
    #[error("the lease {key} was lost: {holder} took it; this run ends")]
    Lost {
        /// Its key.
        key: Key,
        /// Who has it.
        holder: String,
    },
    /// The store failed. The lease may still be held.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lease {
    /// Takes the lease of this key, unless another one holds it. A holder that is called like this one is this one. The
    /// caller knows of `ended` that it was not renewed for its whole length.
    pub fn take(
        store: &dyn Store,
        key: &Key,
        holder: &str,
        lasts: SignedDuration,
        now: Timestamp,
        ended: Option<&Holder>,
    ) -> Result<Taken, LeaseError> {
        let mut others = None;
        for _ in 0..TRIES {
            let found = find(store, key)?;
            let record = match &found {
                Some((_, record)) if record.holder == holder => record.clone(),
                Some((object, record)) if !record.released => {
                    let found = record.held_by(version_of(object)?);
                    if !ended.is_some_and(|ended| ended.is_unchanged(&found)) {
                        return Ok(Taken::By(found));
                    }
                    record.next(holder)
                }
                Some((_, record)) => record.next(holder),
                None => {
                    try_out(store)?;
                    Record::first(holder, now)
                }
            };
            let record = Record {
                until: now + lasts,
                lasts,
                released: false,
                ..record
            };
            match write(store, key, found.as_ref().map(|(found, _)| found), &record) {
                Ok(Some(version)) => {
                    if let Some((before, _)) = &found {
                        // Behind the same address another server may answer by now.
                        let before = version_of(before)?;
                        // A version may be what the content is.
                        if before != version {
                            still_has_conditions(store, key, &before, &record)?;
                        }
                    }
                    return Ok(Taken::Held(Self {
                        key: key.clone(),
                        version,
                        record,
                    }));
                }
                Ok(None) => others = None,
                // It may be ours: the next look says.
                Err(error) if error.is_uncertain => others = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(others.unwrap_or_else(|| contested(key)).into())
    }

    /// How many held it, this one included; a part of every name that is written under it.
    pub fn number(&self) -> u64 {
        self.record.number
    }

    /// Keeps it for its whole length from now on.
    pub fn renew(&mut self, store: &dyn Store, now: Timestamp) -> Result<(), LeaseError> {
        let until = now + self.record.lasts;
        self.write(store, until, false)
    }

    /// Gives it back: another one can take it at once. Its number stays.
    pub fn release(mut self, store: &dyn Store, now: Timestamp) -> Result<(), LeaseError> {
        self.write(store, now, true)
    }

    fn write(
        &mut self,
        store: &dyn Store,
        until: Timestamp,
        released: bool,
    ) -> Result<(), LeaseError> {
        let record = Record {
            until,
            released,
            ..self.record.clone()
        };
        let written = store.replace_if(&self.key, &self.version, &mut &*bytes(&self.key, &record)?);
        let (version, record) = match written {
            Ok(Some(object)) => (version_of(&object)?, record),
            // Another one took it, or an answer to this one was lost.
            Ok(None) => self.find_own(store)?,
            Err(error) if error.is_uncertain => self.find_own(store)?,
            Err(error) => return Err(error.into()),
        };
        (self.version, self.record) = (version, record);
        if (self.record.until, self.record.released) == (until, released) {
            return Ok(());
        }
        let why = io::Error::other("the store did not take it; it is tried again");
        let error = StoreError::new("renewing the lease", self.key.as_str(), why);
        Err(error.of_kind(ErrorKind::Unavailable).into())
    }

    /// What is stored, if this one still holds it.
    fn find_own(&self, store: &dyn Store) -> Result<(String, Record), LeaseError> {
        let lost = |holder: &str| LeaseError::Lost {
            key: self.key.clone(),
            holder: holder.to_owned(),
        };
        let (object, record) = find(store, &self.key)?.ok_or_else(|| lost("somebody"))?;
        if (record.number, &record.holder) == (self.record.number, &self.record.holder) {
            return Ok((version_of(&object)?, record));
        }
        Err(lost(&record.holder))
    }
}

impl Record {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if record.number > u64::MAX / 2 {
            return Err(format!("its number {} is no count of runs", record.number));
        }
        if record.lasts.is_negative() || record.lasts > LONGEST {
            return Err(format!("its length {:#} is not within a day", record.lasts));
        }
        Ok(record)
    }

    fn first(holder: &str, now: Timestamp) -> Self {
        Self {
            number: 1,
            holder: holder.to_owned(),
            until: now,
            lasts: SignedDuration::ZERO,
            released: false,
            further: Map::new(),
        }
    }

    fn next(&self, holder: &str) -> Self {
        Self {
            number: self.number + 1,
            holder: holder.to_owned(),
            ..self.clone()
        }
    }

    fn held_by(&self, version: String) -> Holder {
        Holder {
            name: self.holder.clone(),
            until: self.until,
            lasts: self.lasts,
            version,
        }
    }
}

/// Whether the lease of this key can be read and renewed. One that is there shows it without a further object.
pub fn check(store: &dyn Store, key: &Key) -> Result<(), StoreError> {
    let Some((object, record)) = find(store, key)? else {
        return try_out(store);
    };
    let version = version_of(&object)?;
    // Of the same form, as some stores refuse others.
    let Some(at) = version.rfind(|c: char| c.is_ascii_digit()) else {
        return try_out(store);
    };
    let other = if &version[at..=at] == "0" { "1" } else { "0" };
    let another = [&version[..at], other, &version[at + 1..]].concat();
    still_has_conditions(store, key, &another, &record)
}

/// Whether the store refuses to replace a version that is not there. If it does not, the same is written once more.
fn still_has_conditions(
    store: &dyn Store,
    key: &Key,
    absent: &str,
    record: &Record,
) -> Result<(), StoreError> {
    match store.replace_if(key, absent, &mut &*bytes(key, record)?)? {
        None => Ok(()),
        Some(_) => Err(unsupported(key)),
    }
}

/// Finds out with a tiny object whether a store has the conditional writes that a lease needs. Some accept a condition and
/// ignore it.
pub fn try_out(store: &dyn Store) -> Result<(), StoreError> {
    let name = format!("hubvault-lease-test-{}", Uuid::new_v4().simple());
    let key = Key::parse(&name)
        .map_err(|error| StoreError::new("testing", &name, io::Error::other(error)))?;
    let result = has_conditions(store, &key);
    // By a lock that is the bucket's default, or where the key may delete nothing, it stays.
    let deleted = store.delete(&key);
    result?;
    match deleted {
        Err(error) if !matches!(error.kind, ErrorKind::Locked | ErrorKind::Denied) => Err(error),
        _ => Ok(()),
    }
}

fn has_conditions(store: &dyn Store, key: &Key) -> Result<(), StoreError> {
    let put = || store.put_if_absent(key, &mut &b"1"[..]);
    let first = put()?.ok_or_else(|| unsupported(key))?;
    let version = version_of(&first)?;
    if put()?.is_some() {
        return Err(unsupported(key));
    }
    let replace = || store.replace_if(key, &version, &mut &b"2"[..]);
    if replace()?.is_none() || replace()?.is_some() {
        return Err(unsupported(key));
    }
    Ok(())
}

/// The lease that is stored.
fn find(store: &dyn Store, key: &Key) -> Result<Option<(Object, Record)>, StoreError> {
    for _ in 0..TRIES {
        let Some(object) = store.head(key)? else {
            return Ok(None);
        };
        version_of(&object)?;
        let mut text = Vec::new();
        let read = store.read_object(&object, 0, LARGEST);
        let read = read.and_then(|mut content| {
            let failed = |error| StoreError::new("reading the lease", key.as_str(), error);
            content.read_to_end(&mut text).map_err(failed)
        });
        match read {
            Ok(_) => {
                let record = Record::parse(&text).map_err(|why| {
                    let why = format!("it is no lease ({why}); remove it, if no run is going on");
                    StoreError::new("reading the lease", key.as_str(), io::Error::other(why))
                })?;
                return Ok(Some((object, record)));
            }
            // It was renewed or taken meanwhile.
            Err(error) if matches!(error.kind, ErrorKind::Changed | ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Err(contested(key))
}

/// Writes over what was found, and over nothing else; `None` where something else is there by now.
fn write(
    store: &dyn Store,
    key: &Key,
    found: Option<&Object>,
    record: &Record,
) -> Result<Option<String>, StoreError> {
    let text = bytes(key, record)?;
    let written = match found {
        Some(object) => store.replace_if(key, &version_of(object)?, &mut &*text)?,
        None => store.put_if_absent(key, &mut &*text)?,
    };
    let Some(object) = written else {
        return Ok(None);
    };
    version_of(&object).map(Some).inspect_err(|_| {
        // It can never be renewed: nobody is to take it for one.
        let _ = store.delete(key);
    })
}

fn bytes(key: &Key, record: &Record) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record)
        .map_err(|error| StoreError::new("writing the lease", key.as_str(), error.into()))
}

fn version_of(object: &Object) -> Result<String, StoreError> {
    (object.version.clone()).ok_or_else(|| unsupported(&object.key))
}

fn unsupported(key: &Key) -> StoreError {
    let why = "this store has no conditional writes, without which two machines could hold the lease at once; keep it \
               at a destination that is an object store with them";
    let why = io::Error::new(io::ErrorKind::Unsupported, why);
    StoreError::new("keeping a lease at", key.as_str(), why)
}

fn contested(key: &Key) -> StoreError {
    let why = io::Error::new(io::ErrorKind::ResourceBusy, "others take it all the time");
    StoreError::new("taking the lease", key.as_str(), why)
}
