//! The server's own digest of a query's rows, to hold against those that arrived.

use crate::copy::encoding::encoding_of_rows;
use crate::copy::session::CopySession;
use crate::error::PgError;
use std::fmt;
use std::str::FromStr;

/// How the server hashes the text of a row. Other majors hash alike: partitions by hash depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    /// As it stands, in the database's encoding, which is that of its rows in the archive.
    AsItStands,
    /// In UTF-8, by a detour over SHA-256, as `hashtextextended` takes text of the database's own encoding alone.
    Converted,
}

/// The sum of a hash of each row's text, whatever their order. As text it is a number, with `utf8:` before it where
/// the database of the rows is in another encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerDigest {
    sum: i128,
    hash: Hash,
}

impl ServerDigest {
    /// That of the rows of both, which one database made.
    #[must_use]
    pub fn with(self, more: Self) -> Self {
        Self {
            sum: self.sum.wrapping_add(more.sum),
            hash: more.hash,
        }
    }
}

const CONVERTED: &str = "utf8:";

impl fmt::Display for ServerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = match self.hash {
            Hash::AsItStands => "",
            Hash::Converted => CONVERTED,
        };
        write!(f, "{before}{}", self.sum)
    }
}

impl FromStr for ServerDigest {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (hash, sum) = match text.strip_prefix(CONVERTED) {
            Some(sum) => (Hash::Converted, sum),
            None => (Hash::AsItStands, text),
        };
        Ok(Self {
            sum: sum.parse()?,
            hash,
        })
    }
}

impl CopySession {
    /// The server's digest of a query's rows, which can be compared with that of another database.
    pub fn server_digest(&mut self, doing: &str, query: &str) -> Result<ServerDigest, PgError> {
        let hash = match self.answer(doing, "SELECT current_setting('server_encoding')")? {
            encoding if encoding == "UTF8" || encoding_of_rows(&encoding).is_some() => {
                Hash::AsItStands
            }
            _ => Hash::Converted,
        };
        self.digest(doing, query, hash)
    }

    /// The same, made as `like` was in a database whose rows have this encoding. `None` where only such a database can make
    /// it, and this is none.
    pub fn server_digest_like(
        &mut self,
        doing: &str,
        query: &str,
        like: ServerDigest,
        rows_in: &str,
    ) -> Result<Option<ServerDigest>, PgError> {
        let encoding = self.answer(doing, "SELECT current_setting('server_encoding')")?;
        if like.hash == Hash::AsItStands && encoding != rows_in {
            return Ok(None);
        }
        self.digest(doing, query, like.hash).map(Some)
    }

    fn digest(&mut self, doing: &str, query: &str, hash: Hash) -> Result<ServerDigest, PgError> {
        let text = match hash {
            Hash::AsItStands => "r::text",
            Hash::Converted => "encode(sha256(convert_to(r::text, 'UTF8')), 'hex')",
        };
        let sum = self.answer(
            doing,
            &format!("SELECT coalesce(sum(hashtextextended({text}, 0)), 0) FROM ({query}) r"),
        )?;
        let sum = sum.parse().map_err(|_| PgError::Query {
            doing: doing.to_owned(),
            why: format!("the digest {sum:?} is not a number"),
        })?;
        Ok(ServerDigest { sum, hash })
    }

    /// The one word that a query returns.
    fn answer(&mut self, doing: &str, query: &str) -> Result<String, PgError> {
        let mut answer = Vec::new();
        self.copy_out(doing, &format!("COPY ({query}) TO STDOUT"), |piece| {
            answer.extend_from_slice(piece);
            Ok::<_, PgError>(())
        })?;
        Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_says_how_it_was_made() {
        for text in [
            "0",
            "-17",
            "utf8:42",
            "utf8:-170141183460469231731687303715884105728",
        ] {
            assert_eq!(text.parse::<ServerDigest>().unwrap().to_string(), text);
        }
        assert!("utf8:".parse::<ServerDigest>().is_err());
        let (a, b): (ServerDigest, ServerDigest) =
            ("utf8:40".parse().unwrap(), "utf8:2".parse().unwrap());
        assert_eq!(a.with(b).to_string(), "utf8:42");
    }
}
