//! A local user against the directory and the server of a drill.
