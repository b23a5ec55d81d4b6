//! The table of contents of a custom-format dump, read from its bytes.
//!
//! `pg_restore` prints it only as text, in which a name can look like anything. Its form (`pg_backup_archiver.c`,
//! `ReadHead` and `ReadToc`) is the same from PostgreSQL 12 (1.14) to 18 (1.16) but for two fields.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use std::ops::Range;

/// One object of a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// `TABLE`, `COMMENT`, `ACL` …
    pub kind: String,
    /// The schema; empty where there is none.
    pub schema: String,
    /// The name, for some kinds with the table or the arguments.
    pub name: String,
    /// The owner; empty where the object of it has one.
    pub owner: String,
    /// The statements.
    pub sql: String,
    /// The tablespace and the access method, which are no part of the statements.
    pub storage: [String; 2],
    /// The object's oid at the source.
    pub oid: u32,
}

/// Objects of a dump, and what wrote it.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The major version of the server.
    pub server: u32,
    /// The major version of `pg_dump`.
    pub pg_dump: u32,
    /// The objects, in their order.
    pub definitions: Vec<Definition>,
}

/// Longest text, in bytes; the whole file is no longer.
const LONGEST: u64 = 256 << 20;

/// Reads the objects that `is_kept`, which sees all of them, in the table of contents at the start of a dump.
pub(crate) fn read(
    dump: impl Read,
    mut is_kept: impl FnMut(&Definition) -> bool,
) -> io::Result<Contents> {
    let mut definitions = Vec::new();
    let see = |_, definition| {
        if is_kept(&definition) {
            definitions.push(definition);
        }
    };
    let contents = each(dump, see)?;
    Ok(Contents {
        definitions,
        ..contents
    })
}

/// Shows `see` every object in the table of contents at the start of a dump, with its number; returns what wrote it.
pub(crate) fn each(dump: impl Read, mut see: impl FnMut(u32, Definition)) -> io::Result<Contents> {
    let mut file = Toc::new(dump);
    let mut contents = Contents::default();
    file.head(&mut contents)?;
    for _ in 0..file.int()? {
        let Object { id, definition, .. } = file.object()?;
        see(id, definition);
    }
    Ok(contents)
}

/// The numbers of the objects that are wanted, of what needs one of these (its indexes, defaults, comments, grants), of
/// all that these need in turn, and of every schema and extension.
pub(crate) fn closure(
    dump: impl Read,
    is_wanted: impl Fn(&Definition) -> bool,
) -> io::Result<BTreeSet<u32>> {
    let mut file = Toc::new(dump);
    file.head(&mut Contents::default())?;
    let (mut needs, mut wanted, mut todo) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for _ in 0..file.int()? {
        let object = file.object()?;
        if is_wanted(&object.definition) {
            wanted.insert(object.id);
        }
        if ["SCHEMA", "EXTENSION"].contains(&object.definition.kind.as_str()) {
            todo.push(object.id);
        }
        needs.insert(object.id, object.needs);
    }
    let belongs = |(_, needs): &(&u32, &Vec<u32>)| needs.iter().any(|id| wanted.contains(id));
    todo.extend(needs.iter().filter(belongs).map(|(id, _)| *id));
    todo.extend(&wanted);
    let mut closure = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if closure.insert(id) {
            todo.extend(needs.get(&id).into_iter().flatten());
        }
    }
    Ok(closure)
}

/// The dump with other statements for the objects for which `change`, called with their kind and statements, gives some;
/// and these objects. A dump of definitions alone has no positions in it.
pub(crate) fn rewritten(
    dump: &[u8],
    change: impl Fn(&str, &[u8]) -> Option<Vec<u8>>,
) -> io::Result<(Vec<u8>, Vec<Definition>)> {
    let mut file = Toc::new(dump);
    file.head(&mut Contents::default())?;
    let (mut out, mut done) = (Vec::with_capacity(dump.len()), 0);
    let mut changed = Vec::new();
    for _ in 0..file.int()? {
        let Object {
            definition, sql, ..
        } = file.object()?;
        let head = sql.start + 1 + file.integer;
        let old = dump.get(head..sql.end).unwrap_or_default();
        let Some(new) = change(&definition.kind, old) else {
            continue;
        };
        out.extend_from_slice(&dump[done..sql.start]);
        out.push(0);
        out.extend_from_slice(&(new.len() as u64).to_le_bytes()[..file.integer]);
        out.extend_from_slice(&new);
        done = sql.end;
        changed.push(definition);
    }
    out.extend_from_slice(&dump[done..]);
    Ok((out, changed))
}

/// A definition with what its dump says besides.
struct Object {
    id: u32,
    definition: Definition,
    /// Where its statements are, from their length on.
    sql: Range<usize>,
    /// The numbers of the objects that it needs.
    needs: Vec<u32>,
}

struct Toc<R> {
    from: BufReader<R>,
    /// Bytes that were read.
    at: usize,
    /// Of the format's version.
    minor: u8,
    /// Bytes of an integer, after its sign.
    integer: usize,
    /// Bytes of a position in the file.
    offset: usize,
}

impl<R: Read> Toc<R> {
    fn new(dump: R) -> Self {
        Self {
            from: BufReader::new(dump),
            at: 0,
            minor: 0,
            integer: 4,
            offset: 8,
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.at += bytes.len();
        self.from.read_exact(bytes)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn head(&mut self, contents: &mut Contents) -> io::Result<()> {
        let [
            b'P',
            b'G',
            b'D',
            b'M',
            b'P',
            1,
            minor @ 14..=16,
            _,
            integer,
            offset,
            1,
        ] = self.bytes()?
        else {
            return Err(bad("the format of this version of pg_dump is not known"));
        };
        if !(4..=8).contains(&integer) || offset > 8 {
            return Err(bad("its numbers have an unknown size"));
        }
        (self.minor, self.integer, self.offset) = (minor, integer.into(), offset.into());
        if minor >= 15 {
            self.bytes::<1>()?;
        } else {
            self.int()?;
        }
        // The moment in seven numbers, and the name of the database.
        for _ in 0..7 {
            self.int()?;
        }
        self.text()?;
        contents.server = major(&self.text()?);
        contents.pg_dump = major(&self.text()?);
        Ok(())
    }

    fn object(&mut self) -> io::Result<Object> {
        let id = u32::try_from(self.int()?).map_err(|_| bad("an object has no number"))?;
        // Whether there are rows.
        self.int()?;
        self.text()?;
        let oid = self.text()?.parse().unwrap_or(0);
        let (name, kind) = (self.text()?, self.text()?);
        self.int()?;
        let from = self.at;
        let sql = self.text()?;
        let place = from..self.at;
        // The statements to drop it, and to load rows.
        self.text()?;
        self.text()?;
        let schema = self.text()?;
        let storage = [self.text()?, self.text()?];
        if self.minor >= 16 {
            self.int()?;
        }
        let owner = self.text()?;
        self.text()?;
        // What it needs, up to an absent text.
        let mut needs = Vec::new();
        while let Some(id) = self.optional()? {
            needs.extend(id.parse::<u32>());
        }
        let mut position = [0; 9];
        let length = self.offset + 1;
        self.fill(&mut position[..length])?;
        let definition = Definition {
            kind,
            schema,
            name,
            owner,
            sql,
            storage,
            oid,
        };
        Ok(Object {
            id,
            definition,
            sql: place,
            needs,
        })
    }

    fn int(&mut self) -> io::Result<i64> {
        let [negative] = self.bytes::<1>()?;
        let mut bytes = [0; 8];
        let length = self.integer;
        self.fill(&mut bytes[..length])?;
        let value = i64::from_le_bytes(bytes);
        Ok(if negative == 0 { value } else { -value })
    }

    fn optional(&mut self) -> io::Result<Option<String>> {
        let Ok(length) = u64::try_from(self.int()?) else {
            return Ok(None);
        };
        if length > LONGEST {
            return Err(bad("a text is longer than the file may be"));
        }
        let mut bytes = Vec::new();
        self.at += self.from.by_ref().take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // What is no UTF-8 stays different from all that differs from it.
        let text = String::from_utf8(bytes);
        Ok(Some(text.unwrap_or_else(|error| {
            error.into_bytes().into_iter().map(char::from).collect()
        })))
    }

    fn text(&mut self) -> io::Result<String> {
        Ok(self.optional()?.unwrap_or_default())
    }
}

/// Of `15.20 (Debian 15.20-0+deb12u1)`.
fn major(version: &str) -> u32 {
    let end = version.find(|c: char| !c.is_ascii_digit());
    version[..end.unwrap_or(version.len())].parse().unwrap_or(0)
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}
