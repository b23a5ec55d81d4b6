//! Where copies of backups live. A store holds objects under keys and knows nothing of what is in them.
//!
//! [`Store`] is the contract; `tests/contract` holds every implementation to it. Calls block.
//!
//! ```
//! use hubvault_store::{Key, LocalDirectory, Store};
//!
//! let directory = tempfile::tempdir().unwrap();
//! let store = LocalDirectory::open(directory.path()).unwrap();
//! let key = Key::parse("2026/november.tar.gz").unwrap();
//! store.put(&key, &mut &b"archive"[..]).unwrap();
//! assert_eq!(store.head(&key).unwrap().unwrap().bytes, 7);
//! ```

mod key;
mod error;
mod usage;
mod location;
mod options;
mod store;
mod bounds;
mod runtime;
mod local;
mod sftp;
mod faulty;
mod object;
mod open;
mod address;

pub use address::Address;
pub use error::{ErrorKind, StoreError};
pub use faulty::{Call, Fault, Faulty};
pub use key::{InvalidKey, Key};
pub use local::LocalDirectory;
pub use location::{Bucket, InvalidLocation, Location, Server};
pub use open::open;
pub use options::{Credentials, Encryption, Lock, LockMode, ObjectOptions, Options, SftpOptions};
pub use sftp::Sftp;
pub use store::{Filesystem, Object, Store, Stored, Unfinished};
pub use usage::Requests;
