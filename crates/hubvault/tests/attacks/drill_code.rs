//! What the owner of a database puts into it, run by a drill.
