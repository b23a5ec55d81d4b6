//! A failing disk under a drill, for hubvault, initdb and the server: the archive is good, and unproven.

use crate::disk::{SMALL, mail_server};
use crate::disk_consistency::{check_backup, next_is_proven};
use crate::disk_fault::{Calls, EACCES, EDQUOT, EIO, ENOSPC, EROFS, Fault, count, inject};
use crate::fault_harness::FaultHarness;
use crate::form::points;
use crate::hub::stderr;
use crate::kills::send_mail_to;
use crate::tally::Tally;
use hubvault_testkit::database_with;

const BACKUP: [&str; 2] = ["backup", "--json"];
const SERVER: &str = "*/hubvault-throwaway-*";
/// The program, the calls, what they fail with, and how many in the long form.
const SITES: [(&str, &str, &[i32], usize); 5] = [
    ("postgres", "write", &[ENOSPC, EIO, EDQUOT], 24),
    ("postgres", "create,open", &[EACCES, ENOSPC, EROFS], 16),
    ("initdb", "create,write", &[ENOSPC, EACCES, EIO], 8),
    ("hubvault", "create,write", &[ENOSPC, EACCES, EROFS], 8),
    ("hubvault", "unlink", &[EACCES, EIO, EROFS], 8),
];

#[test]
fn a_failing_disk_under_a_drill_leaves_a_good_archive_unproven() {
    let database = database_with(SMALL);
    let mail = mail_server();
    let mut harness = FaultHarness::new(&database, "[retention]\ndays = 0\nkeep_last = 2\n");
    harness.make_each_cluster();
    send_mail_to(&mut harness.hub, mail.port);
    harness.hub.backup();
    let mut tally = Tally::new("disk-drill");
    for (program, kinds, errnos, many) in SITES {
        let what = format!("drill: {program} fails to {}", kinds.replace(',', " or "));
        let calls = Calls {
            program,
            kinds,
            place: SERVER.to_owned(),
        };
        let whole = count(&harness.hub, &calls, &BACKUP);
        assert!(whole.output.status.success(), "{}", stderr(&whole.output));
        let all = whole.calls.len();
        assert!(all > 0, "{what}: nothing was seen");
        let wanted = points(1, many).min(all);
        for n in 0..wanted {
            let fault = Fault {
                at: 1 + (2 * n + 1) * all / (2 * wanted),
                errno: errnos[n % errnos.len()],
                stays: n % 2 == 0,
                is_short: kinds == "write" && n % 3 == 0,
            };
            let (before, known) = (harness.proven(), harness.list().unwrap().len());
            let ran = inject(&harness.hub, &calls, fault, &BACKUP);
            let Some(call) = ran.calls.first() else {
                continue;
            };
            // Nothing speaks against an archive that could not be drilled.
            let outcome = check_backup(&harness, &ran, &before, known, &mail);
            let outcome = outcome.and_then(|ended| {
                if ended.starts_with("failed") {
                    return Err(format!("the archive was given up: {}", stderr(&ran.output)));
                }
                next_is_proven(&harness).map(|()| ended)
            });
            println!("{what}: {fault:?} {call}: {outcome:?}");
            match outcome {
                Ok(ended) => tally.passed(&what, &ended),
                Err(why) => tally.failed(&what, &format!("{fault:?} {call}: {why}")),
            }
        }
    }
    tally.finish();
}
