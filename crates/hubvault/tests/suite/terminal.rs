//! A command on a terminal of so many columns.

use crate::hub::Hub;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

/// What the command writes to a terminal, and its exit code. Its lines end as in a file.
pub(crate) fn on_terminal(hub: &Hub, columns: u16, arguments: &[&str]) -> (String, Option<i32>) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits() as i32)
        .open(name.to_str().unwrap())
        .unwrap();
    let size = Winsize {
        ws_row: 50,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size).unwrap();
    let mut command = hub.command(arguments);
    command.env("TERM", "xterm-256color");
    let mut child = command
        .stdout(slave.try_clone().unwrap())
        .stderr(Stdio::from(slave))
        .spawn()
        .unwrap();
    // The command's copies of the terminal end with it.
    drop(command);
    let mut text = Vec::new();
    let mut master = File::from(master);
    let mut buffer = [0; 4096];
    loop {
        match master.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Nobody has the other side open any more.
            Err(_) => break,
        }
    }
    let code = child.wait().unwrap().code();
    let text = String::from_utf8(text).unwrap();
    (text.replace("\r\n", "\n"), code)
}
