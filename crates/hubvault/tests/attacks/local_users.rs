//! A local user against state, configuration and files.
