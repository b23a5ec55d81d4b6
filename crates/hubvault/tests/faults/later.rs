//! A command under another clock (libfaketime).

use crate::hub::Hub;
use jiff::Timestamp;
use std::fs;
use std::process::Output;

/// The library that makes a process believe in another clock.
pub(crate) fn library() -> String {
    ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|place| format!("/usr/lib/{place}/faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|path| fs::exists(path).unwrap())
        .unwrap_or_else(|| panic!("libfaketime is needed: make tools installs it"))
}

/// Runs a command that believes that it is so late when it begins; its clock goes on from there.
pub(crate) fn at(hub: &Hub, at: &str, arguments: &[&str]) -> Output {
    let at: Timestamp = at.parse().unwrap();
    let ahead = at.as_second() - Timestamp::now().as_second();
    hub.command(arguments)
        .env("LD_PRELOAD", library())
        .env("FAKETIME", format!("{ahead:+}"))
        // What is waited for is waited for really.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .output()
        .unwrap()
}
