//! Whoever holds a token, or none.
