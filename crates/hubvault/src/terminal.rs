//! The terminal as it was before the first question. A question may turn off its echo and hide its cursor, and a signal
//! that ends the process must not leave it so.

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Remembers how it is, unless that is known.
pub(crate) fn remember() {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if before.is_none() {
        // Where there is no terminal, there is nothing to restore.
        *before = tcgetattr(io::stdin()).ok();
    }
}

/// Makes it as it was, if it was remembered. Never changes it for whoever has it meanwhile.
pub(crate) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(before) = before.as_ref() else {
        return;
    };
    // In the background it would be stopped by SIGTTOU.
    if tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp()) {
        // The process ends, and nobody can do more about it.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        let mut screen = io::stderr();
        if screen.is_terminal() {
            let _ = screen.write_all(b"\x1b[?25h");
        }
    }
}
