//! `hubvault demo`: a sample hub backed up and brought back, on a server of its own.

mod compare;
mod mailbox;
mod tools;
mod s3;
mod new_machine;
mod kept;

use super::Exit;
use super::backup::{record_text, take};
use super::diff::diff_text;
use super::plan::plan_text;
use super::restored::put_back_text;
use crate::text::print;
use crate::{progress, signals};
use anyhow::{Context, Result, bail};
use clap::Args;
use hubvault_archive::{Archive, Identities};
use hubvault_config::{Environment, Inputs, Settings};
use hubvault_engine::backup;
use hubvault_engine::job::{AttachWhen, Delivery, FileSource, IfMissing, Job, MailOptions};
use hubvault_engine::restore::{self, Conditions, TableDiff};
use hubvault_engine::run::{Run, RunRequest};
use hubvault_model::{ByteSize, Cancel};
use hubvault_notify::{Security, SmtpSettings};
use hubvault_postgres::{ConnectSettings, Session, ThrowawayOptions, ThrowawayServer, sweep};
use kept::Kept;
use mailbox::Mailbox;
use new_machine::Machine;
use s3::S3Server;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// `hubvault demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the archive goes
    #[arg(long, default_value = "demo-backups")]
    pub(crate) dir: PathBuf,
    /// How many users the sample hub has
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(10..=5_000_000))]
    pub(crate) users: u32,
    /// Also keep a copy in an S3 server and restore from it alone: the path of `SeaweedFS`'s program `weed`
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) s3_server: Option<PathBuf>,
    /// Go on with the service, whose page shows the sample hub, until Ctrl-C
    #[arg(long)]
    pub(crate) keep: bool,
    /// No progress bar and no progress lines
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// What the demonstration backs up of its database.
const CONFIGURATION: &str = r#"
[scope]
tables = ["users", "user_roles", "exchange_rates", "system_settings", "roles", "permissions", "role_permissions"]
[[scope.window]]
tables = ["credit_transactions", "point_transactions", "purchases"]
column = "created_at"
length = "3 months"
cut = "midnight"
"#;

const HUB: &str = include_str!("hub.sql");
const SOURCE: &str = "hub";
const TARGET: &str = "hub_restored";

/// What no backup of definitions alone would survive: users and all that hangs on them.
const MISHAP: &str = "
    SET search_path = public;
    CREATE TEMP TABLE gone AS SELECT id FROM users u
        WHERE NOT EXISTS (SELECT FROM users i WHERE i.invited_by = u.id) ORDER BY id LIMIT 1000;
    DELETE FROM credit_transactions WHERE user_id IN (SELECT id FROM gone);
    DELETE FROM point_transactions WHERE user_id IN (SELECT id FROM gone);
    DELETE FROM purchases WHERE user_id IN (SELECT id FROM gone);
    DELETE FROM payments WHERE user_id IN (SELECT id FROM gone);
    DELETE FROM credit_accounts WHERE user_id IN (SELECT id FROM gone);
    DELETE FROM point_accounts WHERE user_id IN (SELECT id FROM gone);
    DELETE FROM users WHERE id IN (SELECT id FROM gone)";

/// Runs the whole demonstration; only the archive stays.
pub(crate) fn run(inputs: &Inputs, args: &DemoArgs) -> Result<Exit> {
    let begun = Instant::now();
    let cancel = Cancel::new();
    let leftover: Arc<OnceLock<PathBuf>> = Arc::default();
    let last = Arc::clone(&leftover);
    let _signals = signals::watch(cancel.clone(), move || {
        // The server dies with this process; what stays is swept by the next demonstration.
        let _ = last.get().map(fs::remove_dir_all);
    })?;
    let directory = std::path::absolute(&args.dir)?;
    fs::create_dir_all(&directory)
        .with_context(|| format!("creating the demo's directory {}", directory.display()))?;
    let store = store(inputs, args, &cancel)?;
    let settings = &settings(inputs, &directory, store.as_ref())?;

    say("1. A throwaway PostgreSQL with a sample hub in it")?;
    let server = start(&settings.temp_dir, &cancel)?;
    let _ = leftover.set(server.directory().to_owned());
    server.create_database(SOURCE)?;
    fill(&server.settings(SOURCE), args.users, &cancel)?;
    let key = tools::key(&directory)?;
    let mailbox = Mailbox::open(server.directory().join("message.eml"))?;
    let job = Arc::new(Job {
        seal: vec![key.public.parse()?],
        delivery: delivery(&mailbox),
        ..job(settings, &server)?
    });

    say("2. The plan (hubvault backup --dry-run)")?;
    let (plan, warnings) = backup::plan(&job, &cancel)?;
    print(&plan_text(&job, &plan, &warnings))?;

    say("3. The backup, sealed to an administrator's key and mailed (hubvault backup)")?;
    let progress = progress::choose(args.no_progress);
    let request = RunRequest::by_hand();
    let run = Run::new(request, settings.zone.clone(), cancel.clone(), progress);
    let record = take(&job, run)?;
    print(&record_text(&record))?;
    let archive = record.file().context("the backup has no archive")?;

    restore_by_hand(&server, &mailbox, &key.file, &cancel)?;
    let open = Archive::open_path(archive, &Identities::read(&key.file)?)?;
    let left = compare_and_put_back(&open, &job, &server, &cancel)?;
    if !left.iter().all(TableDiff::is_equal) {
        bail!("the rows that were put back differ from the archive's");
    }
    let kept = match (&store, job.destinations.others().first()) {
        (Some(store), Some(bucket)) => {
            let machine = Machine::new(store, inputs.environment.text("PATH"))?;
            new_machine::recover(&machine, &server, open.manifest(), &key.file, &cancel)?;
            new_machine::fetch(bucket, &directory, archive)?
        }
        _ => archive.to_owned(),
    };
    drop(store);
    finish(args, &kept, &key.file, begun)?;
    if args.keep {
        let kept = Kept {
            directory: &directory,
            server: &server,
            key: &key,
            temp_dir: &settings.temp_dir,
            path: inputs.environment.text("PATH").unwrap_or_default(),
        };
        kept.serve(&cancel)?;
    }
    server.stop()?;
    Ok(Exit::Done)
}

/// The S3 server, where its program is named.
fn store(inputs: &Inputs, args: &DemoArgs, cancel: &Cancel) -> Result<Option<S3Server>> {
    let temp_dir = inputs.environment.temp_dir();
    let program = args.s3_server.as_deref();
    program
        .map(|program| S3Server::start(program, &temp_dir, cancel))
        .transpose()
}

/// Says what stays, and how to see what was left out.
fn finish(args: &DemoArgs, archive: &Path, key: &Path, begun: Instant) -> Result<()> {
    print(&format!(
        "\nKept: the archive {}{}\nand the key that opens it {}\nEverything else {}. The demonstration took {:.1} s.\n",
        archive.display(),
        if args.s3_server.is_some() {
            ", out of the bucket"
        } else {
            ""
        },
        key.display(),
        if args.keep {
            "is removed at the end"
        } else {
            "was removed"
        },
        begun.elapsed().as_secs_f64()
    ))?;
    if !args.keep {
        print("`hubvault demo --keep` goes on with the page of this hub, until Ctrl-C.\n")?;
    }
    if args.s3_server.is_none() {
        print(
            "With SeaweedFS's program, `hubvault demo --s3-server weed` also restores from an S3 server alone.\n",
        )?;
    }
    Ok(())
}

/// The demonstration is the same whatever is configured here. With a store, archives are made on a machine that gets
/// lost, and copied to the bucket.
fn settings(inputs: &Inputs, directory: &Path, store: Option<&S3Server>) -> Result<Settings> {
    let local = store.map_or_else(|| directory.to_owned(), new_machine::lost);
    let mut bare =
        Environment::bare(&inputs.environment).with("BACKUP_DIR", local.to_string_lossy());
    if let Some(store) = store {
        bare = bare.with("BACKUP_DESTINATIONS", s3::URL);
        for (name, value) in store.environment() {
            bare = bare.with(name, value);
        }
    }
    Ok(Settings::load(
        &Inputs::with_text(bare, CONFIGURATION.into()),
        None,
    )?)
}

/// Reads the mail, opens the attached archive and restores it with standard programs.
fn restore_by_hand(
    server: &ThrowawayServer,
    mailbox: &Mailbox,
    key: &Path,
    cancel: &Cancel,
) -> Result<()> {
    say("4. The mail that the administrator gets")?;
    let saved = server.directory().join("saved");
    fs::create_dir(&saved)?;
    let (text, attached) = tools::read_mail(&mailbox.message, &saved)?;
    print(&text)?;
    go_on(cancel)?;

    say("5. The attached archive, opened with the key (age -d -i KEY | tar -tvz)")?;
    let opened = saved.join("opened.tar.gz");
    tools::open(key, &attached, &opened)?;
    print(&tools::list(&opened)?)?;
    go_on(cancel)?;

    say("6. Restored into an empty database with tar and the archive's own restore.sh")?;
    server.create_database(TARGET)?;
    let unpacked = server.directory().join("unpacked");
    fs::create_dir(&unpacked)?;
    tools::extract(&opened, &unpacked)?;
    go_on(cancel)?;
    print(&tools::restore(
        &unpacked,
        &server.settings(TARGET),
        server.bin_dir(),
    )?)?;
    go_on(cancel)
}

/// Compares both databases, deletes rows and puts them back. Returns what differs at the end.
fn compare_and_put_back(
    archive: &Archive,
    job: &Job,
    server: &ThrowawayServer,
    cancel: &Cancel,
) -> Result<Vec<TableDiff>> {
    say("7. Source and restored, side by side")?;
    let (source, target) = (server.settings(SOURCE), server.settings(TARGET));
    let (table, equal) = compare::compare(archive.manifest(), &source, &target, cancel)?;
    print(&table)?;
    if !equal {
        bail!("the restored tables differ from the source");
    }

    say("8. Somebody deletes 1,000 users from the live database (hubvault diff)")?;
    Session::connect(&source, cancel)?.simple("deleting users", MISHAP)?;
    let none = progress::choose(true);
    let diff = || {
        let conditions = Conditions::new(&job.scope, false);
        let mut each = |_, _| Ok(());
        restore::diff(
            archive,
            &source,
            &[],
            conditions,
            &mut each,
            none.as_ref(),
            cancel,
        )
    };
    let gone = diff()?;
    print(&diff_text(&gone))?;

    say("9. Only those rows are restored (hubvault restore --missing-rows)")?;
    let done = restore::put_back(archive, &source, &[], (false, None), none.as_ref(), cancel)?;
    print(&put_back_text(&done))?;
    Ok(diff()?)
}

/// Mail to an administrator, over a server on this host.
fn delivery(mailbox: &Mailbox) -> Delivery {
    Delivery {
        mail: Some(MailOptions {
            smtp: SmtpSettings {
                security: Security::Plain,
                ..SmtpSettings::to("127.0.0.1", mailbox.port)
            },
            from: "hubvault <hubvault@hub.example>".to_owned(),
            to: vec!["admin@hub.example".to_owned()],
            attach: AttachWhen::Sealed,
            max_message: ByteSize::from_mib(200),
            split: false,
        }),
        ..Delivery::default()
    }
}

fn say(title: &str) -> Result<()> {
    Ok(print(&format!("\n== {title}\n\n"))?)
}

fn go_on(cancel: &Cancel) -> Result<()> {
    if cancel.is_requested() {
        bail!("stopped on request");
    }
    Ok(())
}

fn start(parent_dir: &Path, cancel: &Cancel) -> Result<ThrowawayServer> {
    let swept = sweep(parent_dir)?;
    for leftover in swept.removed {
        tracing::info!("removed {}, leftover of a crashed run", leftover.display());
    }
    for error in swept.stuck {
        tracing::warn!("could not remove leftovers of a crashed run: {error}");
    }
    let options = ThrowawayOptions::plain(parent_dir);
    Ok(ThrowawayServer::start(&options, cancel)?)
}

fn fill(source: &ConnectSettings, users: u32, cancel: &Cancel) -> Result<()> {
    let begun = Instant::now();
    let mut session = Session::connect(source, cancel)?;
    session.simple("setting the schema", "SET search_path = public")?;
    session.simple(
        "filling the sample hub",
        &HUB.replace("{{users}}", &users.to_string()),
    )?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(print(&format!(
        "{users} users and their year in {seconds:.1} s\n"
    ))?)
}

/// The job that the defaults make, pointed at the sample and at a few sample files.
fn job(settings: &Settings, server: &ThrowawayServer) -> Result<Job> {
    let config = server.directory().join("config");
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
        if_missing: IfMissing::Warn,
        follow: Vec::new(),
    });
    Ok(Job {
        name: SOURCE.to_owned(),
        database: server.settings(SOURCE),
        files: files.into(),
        ..Job::clone(settings.job())
    })
}
