//! `tinyproxy`, by which a client reaches other servers.

use super::azure::started;
use super::supervised::Supervised;

/// A real proxy on loopback; it is gone when dropped, and when the test process ends.
pub struct ForwardProxy {
    server: Supervised,
    port: u16,
}

impl ForwardProxy {
    /// The only user that it knows, where it wants one.
    pub const USER: &'static str = "hub";
    /// The user's password.
    pub const PASSWORD: &'static str = "proxy-hunter2";

    /// Starts one for everybody, or for its user alone.
    ///
    /// # Panics
    /// When it does not come up, and where Debian's `tinyproxy-bin` is missing.
    pub fn start(wants_login: bool) -> Self {
        let (user, password) = (Self::USER, Self::PASSWORD);
        let login = if wants_login {
            format!("BasicAuth {user} {password}")
        } else {
            String::new()
        };
        Self::with(&login)
    }

    /// Starts one that makes tunnels to the mail's port alone.
    ///
    /// # Panics
    /// When it does not come up, and where Debian's `tinyproxy-bin` is missing.
    pub fn start_refusing() -> Self {
        Self::with("ConnectPort 25")
    }

    fn with(rule: &str) -> Self {
        let (server, port) = started("hv-proxy-", |directory, port| {
            let config = directory.path().join("tinyproxy.conf");
            let text =
                format!("Listen 127.0.0.1\nPort {port}\nTimeout 600\nMaxClients 100\n{rule}\n");
            std::fs::write(&config, text).unwrap_or_else(|e| panic!("{e}"));
            let config = config.display().to_string();
            ["tinyproxy", "-d", "-c", &config]
                .map(String::from)
                .to_vec()
        });
        Self { server, port }
    }

    /// Its address with these words before it, such as `user:password@`.
    pub fn url(&self, login: &str) -> String {
        format!("http://{login}127.0.0.1:{}", self.port)
    }

    /// What it logged: a line a request, such as `CONNECT localhost:9000 HTTP/1.1`.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.server.directory().join("log")).unwrap_or_default()
    }
}
