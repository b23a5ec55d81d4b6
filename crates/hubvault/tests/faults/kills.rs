//! Killed with SIGKILL at every stage; the next command finds everything in order.
