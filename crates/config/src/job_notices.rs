//! Notices about several jobs that are right each by itself.

use super::settings::Settings;
use secrecy::ExposeSecret;

pub(crate) fn notices(jobs: &[Settings]) -> Vec<String> {
    let mut notices = Vec::new();
    for key in ["ping.url", "monitor.ping_url"] {
        let url = |job: &Settings| {
            let secret = job.values.secret(key);
            secret.map(|url| url.expose_secret().to_owned())
        };
        for (n, job) in jobs.iter().enumerate() {
            let own = url(job);
            let mut before = jobs.iter().take(n);
            if let Some(other) = before.find(|other| own.is_some() && url(other) == own) {
                notices.push(format!(
                    "the jobs {} and {} use the same {key}, so that a healthy job hides a failing one; give each a URL \
                     of its own",
                    other.job.name, job.job.name
                ));
            }
        }
    }
    let Some(first) = jobs.first().filter(|first| first.job_name.is_some()) else {
        return notices;
    };
    let shared = &first.service.directory;
    let is_nobodys = jobs.iter().all(|job| job.job.local_directory() != shared);
    if is_nobodys && shared.join(".hubvault/catalog.sqlite").exists() {
        notices.push(format!(
            "{} has archives that belong to no job: nothing lists, checks or prunes them; set [job.archive] \
             directory to it in the job that they belong to",
            shared.display()
        ));
    }
    notices
}
