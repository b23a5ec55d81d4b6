//! Whose files are on a server.

use super::failure::Failure;
use super::session::Session;
use russh_sftp::protocol::FileAttributes;

const ROOT: u32 = 0;

impl Session {
    /// The user who made a file in the store's directory, if the server says that and it is neither root, nor who logs in,
    /// nor whose the directory is.
    pub(super) async fn stranger(
        &self,
        directory: &str,
        of: &FileAttributes,
    ) -> Result<Option<u32>, Failure> {
        let Some(user) = of.uid.filter(|user| *user != ROOT) else {
            return Ok(None);
        };
        let known = self
            .owners
            .get_or_try_init(|| self.owners(directory))
            .await?;
        let is_strange = !known.is_empty() && !known.contains(&user);
        Ok(is_strange.then_some(user))
    }

    /// Who is believed beside root; nobody where the server names no users.
    async fn owners(&self, directory: &str) -> Result<Vec<u32>, Failure> {
        let (directory, home) = tokio::join!(
            self.ask(self.sftp.stat(directory)),
            // Where a login begins is the home of who logs in.
            self.ask(self.sftp.stat("."))
        );
        let Some(owner) = directory?.attrs.uid else {
            return Ok(Vec::new());
        };
        let own = home.ok().and_then(|answer| answer.attrs.uid);
        Ok(std::iter::once(owner).chain(own).collect())
    }
}
