//! Archives that somebody else wrote.
