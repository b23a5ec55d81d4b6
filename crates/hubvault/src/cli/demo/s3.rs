//! An S3 server (`SeaweedFS`) on loopback for one demonstration. It ends with the process, however that ends.

use anyhow::{Context, Result, bail};
use hubvault_model::Cancel;
use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where the second copy goes.
pub(super) const URL: &str = "s3://hub-backups/hub";

/// The key of the sample's bucket; the server is only for this host and this demonstration.
const KEY: (&str, &str) = ("DEMO", "only-a-sample");
const KEYS: &str = r#"{"identities": [{"name": "demo", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    "credentials": [{"accessKey": "DEMO", "secretKey": "only-a-sample"}]}]}"#;

/// How long a start may take, and how often it is tried: another process may take a port meanwhile.
const PATIENCE: Duration = Duration::from_mins(1);
const ATTEMPTS: u32 = 3;

/// Runs a program until its own standard input ends, which it also does when the demonstration is killed. Then removes
/// the files that the program leaves elsewhere (`$2`) and its directory (`$1`).
const SUPERVISOR: &str = r#"
directory=$1 left=$2; shift 2
exec 3<&0
"$@" </dev/null >"$directory/log" 2>&1 3<&- &
server=$!
(cat <&3 >/dev/null; kill -9 $server 2>/dev/null) &
wait $server
rm -rf $left "$directory"
"#;

const FLAGS: [&str; 14] = [
    "-logtostderr=true",
    "server",
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-filer",
    "-s3",
    "-s3.iam=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",
    // Small volumes, also where a disk is nearly full.
    "-master.volumeSizeLimitMB=64",
    "-volume.max=100",
    "-volume.minFreeSpace=100MiB",
    "-filer.disableDirListing=true",
];
const PARTS: [&str; 4] = ["master", "volume", "filer", "s3"];

/// The server and the directory that is removed with it.
pub(super) struct S3Server {
    child: Child,
    directory: PathBuf,
    /// Of each of [`PARTS`] one for HTTP, then one for its own protocol.
    ports: [u16; 8],
}

impl S3Server {
    /// Starts `program` in a directory of its own below `parent`, with the bucket of [`URL`].
    pub(super) fn start(program: &Path, parent: &Path, cancel: &Cancel) -> Result<Self> {
        let program = std::path::absolute(program)?;
        for attempt in 1..=ATTEMPTS {
            let name = format!("hubvault-demo-{}-{attempt}", std::process::id());
            let mut server = Self::spawn(&program, parent.join(name))
                .with_context(|| format!("starting the S3 server {}", program.display()))?;
            if server.wait(cancel)? {
                return Ok(server);
            }
        }
        bail!(
            "starting the S3 server {}: it does not answer; pass the program `weed` of SeaweedFS, or run without --s3-server",
            program.display()
        );
    }

    fn spawn(program: &Path, directory: PathBuf) -> Result<Self> {
        DirBuilder::new().mode(0o700).create(&directory)?;
        fs::write(directory.join("keys.json"), KEYS)?;
        let ports = free_ports()?;
        let mut flags = FLAGS.map(str::to_owned).to_vec();
        let mut left = String::new();
        for (part, ports) in PARTS.iter().zip(ports.chunks(2)) {
            let [http, own] = ports else { continue };
            flags.push(format!("-{part}.port={http}"));
            flags.push(format!("-{part}.port.grpc={own}"));
            // It makes these whatever the flags for sockets say.
            left += &format!(
                "/tmp/seaweedfs-{part}-grpc-{http}.sock /tmp/seaweedfs-{part}-grpc-{own}.sock "
            );
        }
        let files = [
            ("dir", "."),
            ("s3.config", "keys.json"),
            ("filer.localSocket", "filer.sock"),
            ("s3.localSocket", "s3.sock"),
        ];
        flags.extend(files.map(|(flag, file)| format!("-{flag}={file}")));
        let child = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .args([directory.as_os_str(), left.as_ref(), program.as_os_str()])
            .args(flags)
            .current_dir(&directory)
            // One volume a bucket and not seven.
            .env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // The terminal's Ctrl-C must not end the supervisor before it has cleaned up.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            child,
            directory,
            ports,
        })
    }

    /// Waits until the bucket takes an object; false when the server ended or took too long.
    fn wait(&mut self, cancel: &Cancel) -> Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            super::go_on(cancel)?;
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if self.make_bucket().unwrap_or(false) {
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(false)
    }

    /// A bucket is a directory of the server's filer. It is ready once it takes a file.
    fn make_bucket(&self) -> io::Result<bool> {
        let [_, _, _, _, filer, _, s3, _] = self.ports;
        TcpStream::connect((Ipv4Addr::LOCALHOST, s3))?;
        Ok(request(filer, "PUT", "x")? && request(filer, "DELETE", "")?)
    }

    /// What the tools of AWS and hubvault read to reach the bucket.
    pub(super) fn environment(&self) -> [(&'static str, String); 4] {
        let [_, _, _, _, _, _, s3, _] = self.ports;
        [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{s3}")),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.0.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", KEY.1.to_owned()),
        ]
    }

    /// The directory that is removed with the server.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The supervisor ends once everything is removed.
        let _ = self.child.wait();
    }
}

/// One request for a file in the bucket; whether it was done.
fn request(port: u16, method: &str, body: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    write!(
        stream,
        "{method} /buckets/hub-backups/ready HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 2"))
}

/// Ports that nobody listens on.
fn free_ports() -> io::Result<[u16; 8]> {
    let mut ports = [0; 8];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
