//! `hubvault demo`: a sample hub backed up and brought back, on a server of its own.

mod compare;
mod tools;

use crate::cli::backup::{plan_text, record_text, take};
use crate::cli::{DemoArgs, Exit};
use crate::config::Settings;
use crate::progress;
use anyhow::{Context, Result};
use hubvault_archive::Archive;
use hubvault_engine::backup;
use hubvault_engine::job::{FileSource, Job};
use hubvault_model::Cancel;
use hubvault_postgres::{ConnectSettings, Session, ThrowawayOptions, ThrowawayServer, sweep};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

const HUB: &str = include_str!("hub.sql");
const SOURCE: &str = "hub";
const TARGET: &str = "hub_restored";

/// Runs the whole demonstration; only the archive stays.
pub(crate) fn run(settings: &Settings, args: &DemoArgs) -> Result<Exit> {
    let begun = Instant::now();
    let directory = std::path::absolute(&args.dir)?;
    fs::create_dir_all(&directory)
        .with_context(|| format!("making the demo's directory {}", directory.display()))?;
    let scratch = Scratch::make(&settings.temp_dir)?;

    say("1. A throwaway PostgreSQL with a sample hub in it");
    let server = start(&settings.temp_dir)?;
    server.create_database(SOURCE)?;
    fill(&server.settings(SOURCE), args.users)?;
    let job = job(settings, &server, &directory, &scratch)?;

    say("2. The plan (hubvault backup --dry-run)");
    let (plan, warnings) = backup::plan(&job, &Cancel::new())?;
    print!("{}", plan_text(&job, &plan, &warnings));

    say("3. The backup (hubvault backup)");
    let record = take(&job, Cancel::new(), progress::choose(args.no_progress))?;
    print!("{}", record_text(&record));
    let archive = record.file.clone().context("the backup has no archive")?;

    say("4. What is inside (tar -tzf)");
    print!("{}", tools::list(&archive)?);

    say("5. Back into an empty database with tar and the archive's own restore.sh");
    server.create_database(TARGET)?;
    let unpacked = scratch.path.join("unpacked");
    fs::create_dir(&unpacked)?;
    tools::extract(&archive, &unpacked)?;
    print!(
        "{}",
        tools::restore(&unpacked, &server.settings(TARGET), server.bin_dir())?
    );

    say("6. Source and restored, side by side");
    let manifest = Archive::open_path(&archive)?.manifest().clone();
    let equal = compare::print(
        &manifest,
        &server.settings(SOURCE),
        &server.settings(TARGET),
    )?;
    server.stop()?;

    println!("\nThe archive stays: {}", archive.display());
    println!(
        "Everything else is gone. The whole took {:.1} s.",
        begun.elapsed().as_secs_f64()
    );
    if equal {
        Ok(Exit::Done)
    } else {
        anyhow::bail!("the restored tables differ from the source")
    }
}

fn say(title: &str) {
    println!("\n== {title}\n");
}

fn start(parent_dir: &Path) -> Result<ThrowawayServer> {
    for leftover in sweep(parent_dir)? {
        println!("removed {}, left by a run that died", leftover.display());
    }
    let options = ThrowawayOptions {
        min_major: 13,
        parent_dir: parent_dir.to_owned(),
        settings: Vec::new(),
        superuser: "postgres".into(),
    };
    Ok(ThrowawayServer::start(&options, &Cancel::new())?)
}

fn fill(source: &ConnectSettings, users: u32) -> Result<()> {
    let begun = Instant::now();
    let mut session = Session::connect(source, &Cancel::new())?;
    session.simple("setting the schema", "SET search_path = public")?;
    session.simple(
        "filling the sample hub",
        &HUB.replace("{{users}}", &users.to_string()),
    )?;
    println!(
        "{users} users and their year in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The job that the defaults make, pointed at the sample and at a few sample files.
fn job(
    settings: &Settings,
    server: &ThrowawayServer,
    directory: &Path,
    scratch: &Scratch,
) -> Result<Job> {
    let config = scratch.path.join("config");
    fs::create_dir_all(config.join("ssl"))?;
    fs::write(
        config.join(".env.production"),
        "APP_NAME=sample-hub\nAPP_KEY=only-a-sample\n",
    )?;
    fs::write(
        config.join("docker-compose.prod.yml"),
        "services:\n  app:\n    image: hub\n",
    )?;
    fs::write(
        config.join("nginx.prod.conf"),
        "server { listen 443 ssl; }\n",
    )?;
    fs::write(
        config.join("ssl/fullchain.pem"),
        "a certificate would be here\n",
    )?;
    let names = [
        ".env.production",
        "docker-compose.prod.yml",
        "nginx.prod.conf",
        "ssl",
    ];
    let files = names.map(|name| FileSource {
        source: config.join(name),
        name: format!("config/{name}"),
        required: false,
    });
    Ok(Job {
        name: SOURCE.to_owned(),
        database: server.settings(SOURCE),
        directory: directory.to_owned(),
        files: files.into(),
        ..settings.job()
    })
}

/// A directory that goes away with the demo.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn make(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("hubvault-demo-{}", std::process::id()));
        fs::create_dir(&path)
            .with_context(|| format!("making a scratch directory {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("warning: {} stays behind: {error}", self.path.display());
        }
    }
}
