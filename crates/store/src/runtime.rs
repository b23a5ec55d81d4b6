//! The runtime of the stores whose libraries are asynchronous.

use std::io;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Runtime};

/// One for the whole process, started by whoever asks first. Its two threads also serve connections while no call waits
/// for them. A call that waits (`block_on`) may not be made from a thread of a runtime.
pub(crate) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("store")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}
