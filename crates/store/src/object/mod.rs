//! Buckets: S3, Google's and Azure's stores.

mod cause;
mod failure;
mod parts;
mod waiting;
mod client;
mod backend;
mod listing;
mod tries;
mod s3;
mod cloud;
mod cloud_open;
mod upload;
mod reader;
mod bucket;

use crate::error::StoreError;
use crate::location::Bucket;
use crate::options::Options;
use crate::store::Store;
use bucket::BucketStore;
use s3::S3;

/// Opens a bucket of Google's.
pub(crate) fn open_google(
    bucket: &Bucket,
    options: &Options,
) -> Result<Box<dyn Store>, StoreError> {
    let place = format!("gs://{}", bucket.name);
    let backend = cloud_open::google(bucket, options);
    let backend = backend.map_err(|failure| failure.into_error("opening", &place))?;
    Ok(Box::new(BucketStore::new(backend, place, bucket, false)))
}

/// Opens a container of Azure's.
pub(crate) fn open_azure(bucket: &Bucket, options: &Options) -> Result<Box<dyn Store>, StoreError> {
    let place = format!("az://{}", bucket.name);
    let backend = cloud_open::azure(bucket, options);
    let backend = backend.map_err(|failure| failure.into_error("opening", &place))?;
    Ok(Box::new(BucketStore::new(backend, place, bucket, false)))
}

/// Opens a bucket of an S3 store.
pub(crate) fn open_s3(bucket: &Bucket, options: &Options) -> Result<Box<dyn Store>, StoreError> {
    let place = format!("s3://{}", bucket.name);
    let backend =
        S3::open(bucket, options).map_err(|failure| failure.into_error("opening", &place))?;
    Ok(Box::new(BucketStore::new(
        backend,
        place,
        bucket,
        options.lock.is_some(),
    )))
}
