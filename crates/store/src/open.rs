//! A store from where it is and how it is opened.

use crate::error::{ErrorKind, StoreError};
use crate::local::LocalDirectory;
use crate::location::Location;
use crate::object;
use crate::options::Options;
use crate::sftp::Sftp;
use crate::store::Store;
use std::io;

/// Opens a store. Nothing is asked of a server yet that could wait: [`Store::check`] does.
pub fn open(location: &Location, options: &Options) -> Result<Box<dyn Store>, StoreError> {
    match location {
        Location::Directory(path) => match LocalDirectory::open(path) {
            Ok(store) => Ok(Box::new(store)),
            Err(error) if error.kind == ErrorKind::NotFound => {
                let text = format!("{}; create or mount the directory", error.source);
                let source = io::Error::new(error.source.kind(), text);
                Err(StoreError::new(error.doing, error.place, source))
            }
            Err(error) => Err(error),
        },
        Location::Sftp(_) if options.lock.is_some() => {
            let why = io::Error::new(
                io::ErrorKind::Unsupported,
                "SFTP cannot lock objects; remove the lock, or use an object store",
            );
            Err(StoreError::new("opening", location.to_string(), why))
        }
        Location::Sftp(server) => Ok(Box::new(Sftp::new(server, &options.sftp))),
        Location::S3(bucket) => object::open_s3(bucket, options),
        Location::Gcs(bucket) => object::open_google(bucket, options),
        Location::Azure(bucket) => object::open_azure(bucket, options),
    }
}
