//! A link to the archive that a message is about.

use super::facts::{Facts, LinkFacts};
use super::notifier::Notifier;
use crate::catalog::{BackupRecord, State};
use crate::overview::{archive, moment};
use crate::state::link::{LinkKey, Maker};
use hubvault_model::Warning;
use jiff::{SignedDuration, Timestamp};

impl Notifier<'_> {
    /// What a template may say, with a link to the archive where links are made and it is there. Without
    /// the key there is none, and a warning says so.
    pub(super) fn linked_facts(
        &self,
        kind: &str,
        record: &BackupRecord,
    ) -> (Facts, Option<Warning>) {
        let mut facts = self.facts(kind, record);
        let (link, trouble) = match self.link(record) {
            Ok(link) => (link, None),
            Err(trouble) => (None, Some(trouble)),
        };
        if let Some(archive) = &mut facts.archive {
            archive.link = link;
        }
        (facts, trouble)
    }

    fn link(&self, record: &BackupRecord) -> Result<Option<LinkFacts>, Warning> {
        let (Some(links), Some(catalog)) = (&self.delivery().links, self.catalog) else {
            return Ok(None);
        };
        let is_there = archive(record).is_some();
        let is_sealed = !record.sealed_to.is_empty();
        if record.state == State::Failed || !is_there || links.sealed_only && !is_sealed {
            return Ok(None);
        }
        let key = LinkKey::of(catalog.state())
            .map_err(|error| Warning::new("link", "http.public_url", error.to_string()))?;
        let lasts = SignedDuration::try_from(links.lasts).unwrap_or_default();
        let expires_at = Timestamp::now() + lasts;
        Ok(Some(LinkFacts {
            url: format!(
                "{}{}",
                links.base,
                key.path(record.id, expires_at, &Maker::Message)
            ),
            ends: moment(expires_at, self.zone),
            // As it is signed: whole seconds.
            expires_at: format!("{expires_at:.0}"),
        }))
    }
}
