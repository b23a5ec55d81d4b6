//! Pins beside archives in a store: `<archive>.pinned`.

use crate::catalog::Pin;
use crate::catalog::pin::{ENDING, LIMIT};
use hubvault_model::BackupId;
use hubvault_store::{ErrorKind, Key, Object, Store, StoreError};
use std::collections::HashSet;
use std::io::{self, Read};

/// The key of an archive's pin.
pub(crate) fn pin_key(archive: &Key) -> Result<Key, StoreError> {
    let text = format!("{archive}{ENDING}");
    Key::parse(&text)
        .map_err(|error| StoreError::new("naming the pin of", text, io::Error::other(error)))
}

/// Stores a pin, unless the backup has one there. It is never locked where the store can do that.
pub(crate) fn put_pin(
    store: &dyn Store,
    archive: &Key,
    id: BackupId,
    pin: &Pin,
) -> Result<(), StoreError> {
    let key = pin_key(archive)?;
    let text = pin
        .text(id)
        .map_err(|error| StoreError::new("writing", key.as_str(), error))?;
    let is_there = match store.put_if_absent(&key, &mut text.as_slice()) {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => stored_pin(store, archive, id)?.is_some(),
        Err(error) if error.kind == ErrorKind::Unsupported => false,
        Err(error) => return Err(error),
    };
    if !is_there {
        store.put(&key, &mut text.as_slice())?;
    }
    Ok(())
}

/// The pin of a backup; `None` where there is none, or only another backup's.
pub(crate) fn stored_pin(
    store: &dyn Store,
    archive: &Key,
    id: BackupId,
) -> Result<Option<Pin>, StoreError> {
    let key = pin_key(archive)?;
    let mut text = Vec::new();
    match store.read_range(&key, 0, LIMIT) {
        Ok(content) => content
            .take(LIMIT)
            .read_to_end(&mut text)
            .map(|_| Pin::parse(&text, id))
            .map_err(|error| StoreError::new("reading", key.as_str(), error)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which of these backups are pinned at a store where this was listed.
pub(crate) fn stored_pins(
    store: &dyn Store,
    listed: &[Object],
    of: &[(BackupId, Key)],
) -> Result<Vec<(BackupId, Pin)>, StoreError> {
    let listed: HashSet<&Key> = listed.iter().map(|object| &object.key).collect();
    let mut found = Vec::new();
    for (id, key) in of {
        if listed.contains(&pin_key(key)?)
            && let Some(pin) = stored_pin(store, key, *id)?
        {
            found.push((*id, pin));
        }
    }
    Ok(found)
}

/// Deletes the pin of an archive; `Ok` also where there is none.
pub(crate) fn delete_pin(store: &dyn Store, archive: &Key) -> Result<(), StoreError> {
    store.delete(&pin_key(archive)?)
}
