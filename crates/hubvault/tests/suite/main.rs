//! The promises of hubvault, kept through its binary against a real `PostgreSQL`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod hub;
mod keys;

mod comes_back_equal;
mod one_moment;
mod connection;
mod configuration;
mod bad_input;
mod interrupted;
mod damaged_archives;
mod catalog;
mod files;
mod drill;
mod drill_breaks;
mod drill_lies;
mod restore;
mod references;
mod retention;
mod overview;
mod monitor;
mod alerts;
mod seal;
mod post_office;
mod mail;
mod mail_trouble;
mod mail_words;
mod secrets;
mod shown;
mod watch;
mod seal_check;
mod service_at_work;
mod http;
mod http_strangers;
mod links;
mod daemon;
mod service;
mod jobs;
mod commands;
mod extending;
mod operations;
mod pages;
mod drop_in;
mod examples;
mod modes;
