//! What goes wrong with pins, marks and retention.

use crate::catalog::CatalogError;
use hubvault_store::StoreError;

/// The archives could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The record of runs.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
