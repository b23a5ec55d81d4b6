//! Names and definitions of a hostile source.
