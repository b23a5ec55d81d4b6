//! A server that ends with the test, however the test ends.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// Runs a program until its own standard input ends, which it does when the test process is gone, too; then removes the
/// files that the program leaves elsewhere, and its directory. `$1`: the directory, `$2`: those files.
const SUPERVISOR: &str = r#"
directory=$1 left=$2; shift 2
exec 3<&0
"$@" </dev/null >"$directory/log" 2>&1 3<&- &
server=$!
(cat <&3 >/dev/null; kill -9 $server 2>/dev/null) &
wait $server
rm -rf $left "$directory"
"#;

/// A server's process and directory.
pub(crate) struct Supervised {
    child: Child,
    directory: TempDir,
}

impl Supervised {
    /// Starts `program`; `left` are files that it leaves outside of its directory, as a shell reads them.
    pub(crate) fn start(directory: TempDir, left: &str, program: &[String]) -> Self {
        let child = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(directory.path())
            .arg(left)
            .args(program)
            // One volume a bucket and not seven.
            .env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1")
            // What the store encrypts with a key of its own.
            .env("WEED_S3_SSE_KEY", "a passphrase for tests")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("starting a server: {error}"));
        Self { child, directory }
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Its directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A program that `tools/fetch-stores.sh` fetched.
pub(crate) fn program(path: &str) -> String {
    let stores = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/stores");
    let program: PathBuf = stores.join(path);
    assert!(
        program.exists(),
        "{} is missing; run tools/fetch-stores.sh",
        program.display()
    );
    program.display().to_string()
}

/// Ports of loopback that nobody listens on. They lie below those that the kernel gives to whoever asks for any, so
/// that only another server like this one can take one meanwhile.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    std::array::from_fn(|_| {
        loop {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let port =
                12_000 + (std::process::id().wrapping_mul(97) as u16).wrapping_add(step) % 20_000;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}
