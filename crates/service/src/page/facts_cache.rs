//! What the overview says, for some seconds: reading a long history takes longer than a page may.

use super::job_facts::JobFacts;
use crate::http::of_job::OfJob;
use anyhow::Result;
use hubvault_engine::state::StateDir;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So long nothing is read again, unless the catalog was written.
const FRESH: Duration = Duration::from_secs(10);
/// So old it may be while another request reads.
const USABLE: Duration = Duration::from_mins(1);

/// Where a file of `SQLite` counts its changes.
const CHANGE_COUNTER: u64 = 24;

struct Known {
    at: Instant,
    change: u32,
    facts: Arc<JobFacts>,
}

/// By jobs.
#[derive(Default)]
pub(super) struct FactsCache {
    known: Mutex<HashMap<String, Known>>,
    reading: Mutex<()>,
}

impl FactsCache {
    /// What is known of a job. One request reads at a time; others get what was known before.
    pub(super) fn of(&self, of: &OfJob) -> Result<Arc<JobFacts>> {
        let name = of.job.name();
        let change = change(&of.job.state());
        if let Some(facts) = self.younger(&name, FRESH, change) {
            return Ok(facts);
        }
        let _reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(_) => match self.younger(&name, USABLE, None) {
                Some(facts) => return Ok(facts),
                None => lock(&self.reading),
            },
        };
        // Another request may have read it meanwhile.
        if let Some(facts) = self.younger(&name, FRESH, change) {
            return Ok(facts);
        }
        let facts = Arc::new(JobFacts::read(of)?);
        let mut known = lock(&self.known);
        // Removed jobs go.
        known.retain(|_, known| known.at.elapsed() < USABLE);
        let new = Known {
            at: Instant::now(),
            change: change.unwrap_or_default(),
            facts: Arc::clone(&facts),
        };
        known.insert(name, new);
        Ok(facts)
    }

    fn younger(&self, job: &str, than: Duration, change: Option<u32>) -> Option<Arc<JobFacts>> {
        let known = lock(&self.known);
        let known = known.get(job)?;
        let is_current = change.is_none_or(|change| change == known.change);
        (is_current && known.at.elapsed() < than).then(|| Arc::clone(&known.facts))
    }
}

/// How often the catalog was written; `None` where there is none.
fn change(state: &StateDir) -> Option<u32> {
    let file = File::open(state.path().join("catalog.sqlite")).ok()?;
    let mut counter = [0; 4];
    file.read_exact_at(&mut counter, CHANGE_COUNTER).ok()?;
    Some(u32::from_be_bytes(counter))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
