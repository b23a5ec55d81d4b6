//! A directory of another machine by SFTP.
//!
//! An object is written beside its key under an unfinished name, made durable and renamed. No link inside the directory
//! is followed: whether there is one is asked before each call, as SFTP cannot open a path step by step; who may write
//! there on the server could put one in between.
//!
//! Some servers are OpenSSH and some are not: what an extension is needed for is done without it where that is safe.

mod failure;
mod known_hosts;
mod login;
mod session;
mod owners;
mod upload;
mod download;
mod tree;
mod naming;

use crate::bounds::LARGEST_OBJECT;
use crate::error::{ErrorKind, StoreError};
use crate::key::Key;
use crate::location::Server;
use crate::options::SftpOptions;
use crate::runtime::runtime;
use crate::store::{Filesystem, Object, Store, Stored, Unfinished};
use download::Download;
use failure::Failure;
use jiff::Timestamp;
use naming::{link, may_link, replace, sync, unfinished};
use russh_sftp::protocol::{FileAttributes, OpenFlags};
use session::Session;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use tokio::sync::Mutex;
use tree::{Found, directories, find, join, make_above, walk};
use upload::{Broken, Upload, create};

/// Who logs in at a server; `None` where the user of this process has no name.
pub(crate) fn user(server: &Server) -> Option<String> {
    login::user(server).ok()
}

/// A directory of another machine, of which every regular file is an object. It must exist.
pub struct Sftp {
    server: Server,
    options: SftpOptions,
    /// The directory as the server is asked for it.
    root: String,
    session: Mutex<Option<Arc<Session>>>,
}

impl Sftp {
    /// Connects when something is asked for.
    pub fn new(server: &Server, options: &SftpOptions) -> Self {
        let root = match server.path.strip_prefix("/~") {
            Some("") => ".".to_owned(),
            // Where a login begins is the home.
            Some(below) if below.starts_with('/') => below[1..].to_owned(),
            _ => server.path.clone(),
        };
        Self {
            server: server.clone(),
            options: options.clone(),
            root,
            session: Mutex::new(None),
        }
    }

    fn place(&self, key: &Key) -> String {
        format!("{}/{key}", self.server)
    }

    fn failed(&self, doing: &'static str, key: &Key) -> impl Fn(Failure) -> StoreError {
        let place = self.place(key);
        move |failure| failure.at(doing, place.clone())
    }

    /// The connection, and whether it was made just now.
    async fn session(&self) -> Result<(Arc<Session>, bool), Failure> {
        let mut kept = self.session.lock().await;
        if let Some(session) = kept.as_ref().filter(|session| session.is_usable()) {
            return Ok((Arc::clone(session), false));
        }
        *kept = None;
        let session = Arc::new(Session::open(&self.server, &self.options).await?);
        *kept = Some(Arc::clone(&session));
        Ok((session, true))
    }

    /// Does what may be done twice: over a new connection, where the one before was lost unnoticed.
    fn run<T>(&self, work: impl AsyncFn(Arc<Session>) -> Result<T, Failure>) -> Result<T, Failure> {
        runtime()?.block_on(async {
            let (session, is_new) = self.session().await?;
            match work(session).await {
                Err(failure) if failure.is_lost && !is_new => work(self.session().await?.0).await,
                done => done,
            }
        })
    }

    /// Writes an unfinished object beside its key.
    fn write(
        &self,
        key: &Key,
        content: &mut dyn Read,
        may: impl Fn(&Session) -> Result<(), Failure>,
    ) -> Result<Written, StoreError> {
        let failed = self.failed("writing", key);
        let runtime = runtime().map_err(|error| failed(error.into()))?;
        let begun = self.run(async |session| {
            may(&session)?;
            make_above(&session, &self.root, key.as_str()).await?;
            let path = unfinished(&join(&self.root, key.as_str()));
            match create(&session, &path).await {
                Ok(handle) => Ok((session, path, handle)),
                Err(failure) => Err(session.why_not_written(failure, &self.root).await),
            }
        });
        let (session, path, handle) = begun.map_err(&failed)?;
        let upload = Upload {
            runtime,
            session: &session,
            handle,
        };
        let sent = upload.send(content).map_err(|broken| match broken {
            Broken::Content(error) => {
                StoreError::new("reading what is to be stored as", self.place(key), error)
                    .of_kind(ErrorKind::Content)
            }
            // Asked before what was written is removed, which makes room.
            Broken::Server(failure) => {
                failed(runtime.block_on(session.why_not_written(failure, &self.root)))
            }
        });
        match sent {
            Ok(bytes) => Ok(Written {
                session,
                path,
                bytes,
            }),
            Err(error) => {
                runtime.block_on(session.drop_file(&path));
                Err(error)
            }
        }
    }

    /// Gives what was written its name, as `name` does, and makes that durable.
    fn name<T>(
        &self,
        key: &Key,
        written: &Written,
        name: &impl AsyncFn(&Session, &str, &str) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let Written { session, path, .. } = written;
        let named = runtime().map_err(Failure::from).and_then(|runtime| {
            runtime.block_on(async {
                let to = join(&self.root, key.as_str());
                let named = name(session, path, &to).await;
                match named {
                    Ok(_) => sync(session, &directories(&self.root, key.as_str())).await?,
                    Err(_) => session.drop_file(path).await,
                }
                named
            })
        });
        named.map_err(|failure| self.unsure("naming", key, failure))
    }

    /// Reads a range of an object, of this size where one is given.
    fn read(
        &self,
        key: &Key,
        bytes: Option<u64>,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        let failed = self.failed("reading", key);
        let runtime = runtime().map_err(|error| failed(error.into()))?;
        let opened = self.run(async |session| {
            let Found::File(_) = find(&session, &self.root, key.as_str()).await? else {
                return Err(Failure::no_object());
            };
            let (handle, size) = open(&session, &join(&self.root, key.as_str())).await?;
            Ok((session, handle, size))
        });
        let (session, handle, size) = opened.map_err(&failed)?;
        let range = offset.min(size)..offset.saturating_add(length).min(size);
        let place = self.place(key);
        // Whatever comes of it, the file is closed with this.
        let download = Download::new(runtime, session, handle, place, range);
        match bytes {
            Some(bytes) if bytes != size => Err(failed(Failure::replaced())),
            _ => Ok(Box::new(download)),
        }
    }

    /// What the server says of a file.
    async fn object(
        &self,
        session: &Session,
        key: Key,
        attributes: &FileAttributes,
    ) -> Result<Object, Failure> {
        let bytes = attributes.size.ok_or_else(Failure::no_size)?;
        let stranger = session.stranger(&self.root, attributes).await?;
        Ok(Object {
            stranger,
            ..Object::plain(key, possible(bytes)?)
        })
    }

    /// A failure of what may have been done, where the connection was lost.
    fn unsure(&self, doing: &'static str, key: &Key, failure: Failure) -> StoreError {
        let is_lost = failure.is_lost;
        let error = failure.at(doing, self.place(key));
        if is_lost { error.uncertain() } else { error }
    }
}

/// A file that was written whole and has no name yet.
struct Written {
    session: Arc<Session>,
    path: String,
    bytes: u64,
}

impl Store for Sftp {
    fn put(&self, key: &Key, content: &mut dyn Read) -> Result<Stored, StoreError> {
        let written = self.write(key, content, |_| Ok(()))?;
        self.name(key, &written, &replace)?;
        Ok(Stored {
            object: Object::plain(key.clone(), written.bytes),
            // A server says how much it has, and not what.
            is_confirmed: false,
        })
    }

    fn put_if_absent(
        &self,
        key: &Key,
        content: &mut dyn Read,
    ) -> Result<Option<Object>, StoreError> {
        let written = self.write(key, content, may_link)?;
        let is_new = self.name(key, &written, &async |session, from, to| {
            let is_new = link(session, from, to).await?;
            // The object has its own name now, or will never have one.
            session.drop_file(from).await;
            Ok(is_new)
        })?;
        Ok(is_new.then(|| Object::plain(key.clone(), written.bytes)))
    }

    fn read_range(
        &self,
        key: &Key,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        self.read(key, None, offset, length)
    }

    fn read_object(
        &self,
        object: &Object,
        offset: u64,
        length: u64,
    ) -> Result<Box<dyn Read + Send>, StoreError> {
        self.read(&object.key, Some(object.bytes), offset, length)
    }

    fn head(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        let found =
            self.run(
                async |session| match find(&session, &self.root, key.as_str()).await? {
                    Found::File(attributes) => self
                        .object(&session, key.clone(), &attributes)
                        .await
                        .map(Some),
                    Found::Other | Found::Nothing => Ok(None),
                },
            );
        found.map_err(self.failed("looking for", key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let listed = self.run(async |session| {
            let mut objects = Vec::new();
            for entry in walk(&session, &self.root, prefix).await? {
                if let (false, Ok(key)) = (entry.is_unfinished(), Key::parse(&entry.path)) {
                    objects.push(self.object(&session, key, &entry.attributes).await?);
                }
            }
            Ok(objects)
        });
        let mut found = listed.map_err(|failure| failure.at("listing", self.server.to_string()))?;
        found.sort_by(|one, other| one.key.cmp(&other.key));
        found.dedup_by(|one, other| one.key == other.key);
        Ok(found)
    }

    fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let deleted =
            self.run(
                async |session| match find(&session, &self.root, key.as_str()).await? {
                    Found::File(_) => session.remove(&join(&self.root, key.as_str())).await,
                    Found::Other | Found::Nothing => Ok(()),
                },
            );
        deleted.map_err(|failure| self.unsure("removing", key, failure))
    }

    fn remove_unfinished(&self, before: Timestamp) -> Result<Vec<Unfinished>, StoreError> {
        let removed = self.run(async |session| {
            let mut removed = Vec::new();
            let entries = walk(&session, &self.root, "").await?;
            for entry in entries.into_iter().filter(tree::Entry::is_unfinished) {
                let began = entry.attributes.mtime.map(i64::from);
                let Some(began) = began.and_then(|time| Timestamp::from_second(time).ok()) else {
                    continue;
                };
                if began < before {
                    session.remove(&join(&self.root, &entry.path)).await?;
                    removed.push(Unfinished {
                        name: entry.path,
                        began,
                        bytes: entry.attributes.size,
                    });
                }
            }
            Ok(removed)
        });
        removed
            .map_err(|failure| failure.at("removing unfinished files in", self.server.to_string()))
    }

    fn filesystem(&self) -> Result<Option<Filesystem>, StoreError> {
        self.run(async |session| session.filesystem(&self.root).await)
            .map_err(|failure| failure.at("asking for the filesystem of", self.server.to_string()))
    }

    fn check(&self) -> Result<(), StoreError> {
        self.run(async |session| tree::check(&session, &self.root).await)
            .map_err(|failure| failure.at("listing", self.server.to_string()))
    }
}

/// Opens a file; returns the server's name for it and its size.
async fn open(session: &Session, path: &str) -> Result<(String, u64), Failure> {
    let opened = session
        .sftp
        .open(path, OpenFlags::READ, FileAttributes::default());
    let handle = session.ask(opened).await?.handle;
    let size = session.ask(session.sftp.fstat(&handle)).await;
    match size.map(|answer| answer.attrs) {
        Ok(FileAttributes {
            size: Some(size), ..
        }) if size <= LARGEST_OBJECT => Ok((handle, size)),
        other => {
            let _ = session.ask(session.sftp.close(handle)).await;
            Err(match other {
                Err(failure) => failure,
                Ok(attributes) => attributes
                    .size
                    .map_or_else(Failure::no_size, Failure::impossible),
            })
        }
    }
}

fn possible(bytes: u64) -> Result<u64, Failure> {
    if bytes <= LARGEST_OBJECT {
        Ok(bytes)
    } else {
        Err(Failure::impossible(bytes))
    }
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sftp({})", self.server)
    }
}
