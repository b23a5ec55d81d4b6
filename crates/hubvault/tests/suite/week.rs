//! A week with hubvault, played on one server with one configuration: what a person sees on a terminal, day by day.

mod desk;
mod mask;

use desk::Desk;

#[test]
fn a_week() {
    let mut desk = Desk::new();
    monday(&mut desk);
    tuesday(&mut desk);
    wednesday(&mut desk);
    thursday(&mut desk);
    friday(&mut desk);
    saturday(&mut desk);
    sunday(&mut desk);
    wide(&mut desk);
}

fn monday(desk: &mut Desk) {
    desk.begin("2027-03-01T09:00:00Z");
    desk.hub.set("POSTGRES_HOST", "db.example");
    desk.shell("config check", 0);
    desk.hub.set("POSTGRES_HOST", "127.0.0.1");
    desk.shell("status", 3);
    desk.shell("list", 0);
    desk.shell("check", 1);
    desk.shell("backup --dry-run", 0);
    desk.shell("backup", 0);
    desk.mails();
    desk.shell("status", 0);
    desk.shell("list", 0);
    desk.shell("show latest", 0);
    desk.shell("check", 0);
    desk.shell("diff latest", 0);
    insta::assert_snapshot!("week_1_monday", desk.end());
}

fn tuesday(desk: &mut Desk) {
    desk.begin("2027-03-02T09:00:00Z");
    desk.hub.set("POSTGRES_DB", "shpo");
    desk.shell("backup", 1);
    desk.mails();
    desk.shell("check --alert", 1);
    desk.mails();
    desk.shell("status", 3);
    desk.shell("list --failed", 0);
    desk.shell("logs", 0);
    desk.shell("alert list", 1);
    desk.hub.set("POSTGRES_DB", "shop");
    desk.shell("backup", 0);
    desk.mails();
    desk.shell("check --alert", 0);
    desk.mails();
    desk.toml("[[check]]\nname = \"queue\"\ncommand = \"echo 512 jobs are queued; exit 1\"\n");
    desk.shell("check --alert", 1);
    desk.mails();
    desk.toml("[[check]]\nname = \"queue\"\ncommand = \"echo 2 jobs are queued\"\n");
    desk.shell("check --alert", 0);
    desk.mails();
    insta::assert_snapshot!("week_2_tuesday", desk.end());
}

fn wednesday(desk: &mut Desk) {
    desk.begin("2027-03-03T09:00:00Z");
    let hook = |command: &str| {
        format!("[[hook]]\nstage = \"export\"\nwhen = \"before\"\ncommand = \"{command}\"\n")
    };
    desk.toml(&hook("kill -HUP $PPID"));
    desk.shell("backup", 0);
    desk.toml(&hook("kill -INT $PPID; sleep 60"));
    desk.shell("backup", 130);
    desk.toml("");
    desk.mails();
    desk.shell("check --alert", 0);
    desk.mails();
    desk.shell("list --limit 2", 0);
    desk.shell("status", 0);
    insta::assert_snapshot!("week_3_wednesday", desk.end());
}

fn thursday(desk: &mut Desk) {
    desk.begin("2027-03-04T09:00:00Z");
    desk.sql("CREATE SCHEMA rescue; CREATE TABLE rescue.customers AS SELECT * FROM customers; CREATE TABLE invoices (id serial, customer int REFERENCES customers)");
    desk.shell("backup --dry-run", 3);
    desk.shell("backup", 3);
    desk.mails();
    desk.shell("status", 3);
    desk.sql("GRANT USAGE ON SCHEMA rescue TO shop_backup; GRANT SELECT ON ALL TABLES IN SCHEMA public, rescue TO shop_backup; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO shop_backup");
    desk.shell("backup", 0);
    desk.mails();
    insta::assert_snapshot!("week_4_thursday", desk.end());
}

fn friday(desk: &mut Desk) {
    desk.begin("2027-03-05T09:00:00Z");
    desk.sql("DROP TABLE rescue.customers; ALTER TABLE customers DROP mail, ADD phone text; ALTER TABLE products ALTER price TYPE int; DELETE FROM orders WHERE id <= 3; DELETE FROM products WHERE id = 7; UPDATE customers SET name = 'x' WHERE id = 20");
    desk.shell("diff latest", 1);
    desk.shell("restore latest --missing-rows --dry-run", 3);
    desk.shell("restore latest --missing-rows", 1);
    desk.shell("restore latest --table products --into-schema rescue2", 1);
    let owner = desk.owner();
    desk.shell(
        &format!("restore latest --missing-rows --dry-run {owner}"),
        3,
    );
    desk.shell(&format!("restore latest --missing-rows {owner}"), 1);
    desk.shell(
        &format!("restore latest --table products --into-schema rescue2 {owner}"),
        0,
    );
    desk.sql("DROP SCHEMA rescue2 CASCADE");
    desk.shell("restore latest --create --database shop_copy --dry-run", 3);
    desk.shell("restore latest --clean --dry-run", 3);
    insta::assert_snapshot!("week_5_friday", desk.end());
}

fn saturday(desk: &mut Desk) {
    desk.begin("2027-03-06T09:00:00Z");
    desk.sql("TRUNCATE orders");
    desk.shell("backup", 3);
    desk.mails();
    desk.shell("list", 0);
    desk.shell("prune --dry-run", 0);
    desk.shell("status", 3);
    desk.shell("alert list", 0);
    desk.shell("mail outbox", 0);
    insta::assert_snapshot!("week_6_saturday", desk.end());
}

fn sunday(desk: &mut Desk) {
    desk.begin("2027-03-07T09:00:00Z");
    desk.shell("doctor", 0);
    desk.shell("show nothing", 1);
    desk.shell("show nothing --json", 1);
    desk.shell("lits", 2);
    desk.shell("mail preview digest", 0);
    desk.shell("logs", 0);
    desk.toml("[databse]\nhost = \"x\"\n[monitor]\nmin_free_mb = \"much\"\n");
    desk.shell("config check", 2);
    desk.shell("config check --json", 2);
    desk.toml("");
    insta::assert_snapshot!("week_7_sunday", desk.end());
}

/// The screens of the other days once more, where there is room.
fn wide(desk: &mut Desk) {
    desk.begin("2027-03-08T09:00:00Z");
    desk.columns = 120;
    desk.shell("diff latest", 0);
    desk.sql("DELETE FROM products WHERE id < 20; UPDATE customers SET name = 'y' WHERE id = 3");
    desk.shell("diff latest", 3);
    desk.shell("backup", 0);
    desk.shell("list", 0);
    desk.shell("status", 0);
    desk.shell("check", 0);
    insta::assert_snapshot!("week_8_wide", desk.end());
}
