//! Every page that links lead to, for each role, with names that somebody chose to do harm; and every table of them in the
//! orders of its addresses.

use crate::hub::Hub;
use crate::keys::Pair;
use crate::page::{Browser, is_page};
use crate::page_operations::start;
use crate::page_restore::{form, preview};
use crate::page_rooms::unescaped;
use crate::service_process::{Answer, ServiceProcess};
use hubvault_testkit::{Database, HttpSink, database_with, wait_for};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// More pages than these would be links that lead to ever new ones.
const MOST: usize = 500;
/// Tables in an order of their own: beside a chart, the last few of a list, the stages of a run, the rows of an archive.
const FIXED: [&str; 6] = [
    "Archives by day",
    "Days by month",
    "Runs",
    "Operations",
    "",
    "Rows",
];
const NAMES: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x>",
    "a'b\" onclick=\"c",
    "new\nline\ttab",
    "\u{202e}turned\u{7}",
];

/// What links lead to: addresses and pages.
type Pages = BTreeMap<String, String>;

/// A table as it is in a page.
struct Table {
    label: String,
    heads: Vec<Head>,
    /// What each row is known by.
    rows: Vec<String>,
}

struct Head {
    name: String,
    href: Option<String>,
    order: Option<String>,
}

/// A hub with all that pages show, two backups of which the second is sealed, and what is to be kept for it.
fn hub() -> (Hub, String, PathBuf, (HttpSink, Database)) {
    let mut sql = String::from(
        "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'a'), (2, 'b');
         CREATE TABLE left_out (id int);",
    );
    for (at, name) in NAMES.iter().enumerate() {
        let quoted = name.replace('"', "\"\"");
        let value = name.replace('\'', "''");
        sql += &format!(
            "CREATE TABLE \"{quoted}\" (id int PRIMARY KEY REFERENCES users, \"{quoted}\" text);
             INSERT INTO \"{quoted}\" SELECT id, repeat('{value}', {at} * 100 + 1) FROM users;
             CREATE TABLE t{at} AS SELECT generate_series(0, {at}) AS id;"
        );
    }
    let database = database_with(&sql);
    let mut hub = Hub::whole(&database);
    hub.set("BACKUP_SCHEDULE", "0 0 29 2 *");
    hub.set("HTTP_RESTORE_LIVING", "true");
    let hook = HttpSink::start([]);
    hub.set("WEBHOOK_URL", hook.url("/x"));
    let mut toml = String::new();
    for (at, name) in NAMES.iter().enumerate() {
        let path = hub.config().join(name.replace('/', ""));
        std::fs::write(&path, name.repeat(at + 1)).unwrap();
        // A string of TOML is written as one of JSON is.
        let path = serde_json::json!(path.to_str().unwrap());
        toml += &format!("[[file]]\nsource = {path}\n");
    }
    toml += "[scope]\ntables = [\"*\"]\nexclude = [\"left_*\"]\nwindow = []\n[[check]]\nname = \"flag\"\n\
             command = \"echo '<script>alert(1)</script>'; exit 1\"\n";
    hub.write(&toml);
    let (record, archive) = hub.backup();
    let name = database.name().to_owned();
    hub.set("POSTGRES_DB", "<b onclick=\"x\">&");
    hub.run_expecting(1, &["backup"]);
    hub.set("POSTGRES_DB", name);
    let keys = tempfile::tempdir().unwrap();
    hub.set("BACKUP_RECIPIENTS", Pair::age(keys.path(), "alice").public);
    hub.backup();
    let id = record["id"].as_str().unwrap().to_owned();
    (hub, id, archive, (hook, database))
}

/// A page; more requests than a few a second of one token are refused for a moment.
fn get(browser: &Browser<'_>, path: &str) -> Answer {
    loop {
        let answer = browser.get(path);
        let wait = answer
            .header("retry-after")
            .filter(|_| answer.status == 429);
        let Some(seconds) = wait else { return answer };
        std::thread::sleep(Duration::from_secs(seconds.parse().unwrap()));
    }
}

/// Every page that links lead to from the overview. What is one more view of a page is not gone on from.
fn walk(browser: &Browser<'_>, is_right: impl Fn(&str, u16) -> bool) -> Pages {
    let (mut pages, mut wrong) = (Pages::new(), Vec::new());
    let mut queue = vec![("/".to_owned(), "nowhere".to_owned())];
    while let Some((path, from)) = queue.pop() {
        if pages.contains_key(&path) {
            continue;
        }
        let answer = get(browser, &path);
        let page = is_page(&answer, answer.status);
        assert!(
            is_right(&path, answer.status),
            "{path} from {from}: {} {page}",
            answer.status
        );
        let raw = [
            "<img src=x",
            "<b onclick",
            "\" onclick=\"",
            "\u{202e}",
            "\u{7}",
        ];
        // What a form sends back is as it was.
        let fields = page.split(" value=\"").enumerate();
        let shown = fields.map(|(at, part)| match part.split_once('"') {
            Some((_, rest)) if at > 0 => rest,
            _ => part,
        });
        let shown: String = shown.collect();
        for raw in raw.into_iter().filter(|raw| shown.contains(raw)) {
            let (before, _) = shown.split_once(raw).unwrap();
            wrong.push(format!(
                "{path} from {from}: {raw:?} after {:?}",
                tail(before)
            ));
        }
        if !["sort=", "up=", "take=", "day=", "from="]
            .iter()
            .any(|part| path.contains(part))
        {
            queue.extend(links(&path, &page).map(|link| (link, path.clone())));
        }
        pages.insert(path, page);
        assert!(pages.len() < MOST, "{:?}", pages.keys());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    pages
}

/// The end of a text.
fn tail(text: &str) -> &str {
    text.char_indices()
        .rev()
        .nth(80)
        .map_or(text, |(at, _)| &text[at..])
}

/// Where the links of a page lead, but for those into the page itself.
fn links(path: &str, page: &str) -> impl Iterator<Item = String> {
    let tags = page
        .split("<a ")
        .skip(1)
        .map(|rest| rest.split('>').next().unwrap());
    let hrefs = tags.filter_map(|tag| value(tag, "href"));
    hrefs
        .filter_map(|href| resolved(path, &href))
        .collect::<BTreeSet<String>>()
        .into_iter()
}

/// An attribute of a tag.
fn value(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    Some(unescaped(rest.split('"').next().unwrap()))
}

/// The address that a link of a page means.
fn resolved(from: &str, href: &str) -> Option<String> {
    let href = href.split('#').next().unwrap();
    if href.is_empty() {
        return None;
    }
    let (path, query) = href.split_once('?').unwrap_or((href, ""));
    let here = from.split('?').next().unwrap();
    let mut parts: Vec<&str> = here.split('/').collect();
    if !path.is_empty() {
        parts.pop();
    }
    for part in path.split('/').filter(|_| !path.is_empty()) {
        match part {
            "." => {}
            ".." => assert!(parts.len() > 1 && parts.pop().is_some(), "{href} on {from}"),
            part => parts.push(part),
        }
    }
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    Some(parts.join("/") + &query)
}

/// The text of HTML, without what changes from one second to the next.
fn text(html: &str) -> String {
    let mut text = String::new();
    for (at, part) in html.split('<').enumerate() {
        match part.split_once('>') {
            Some((tag, rest)) if at > 0 => {
                text.push_str(if tag.starts_with("time") { "" } else { rest });
            }
            _ => text.push_str(part),
        }
    }
    text.replace(['↑', '↓'], "").trim().to_owned()
}

fn between<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
    let rest = html.split_once(from).map_or("", |(_, rest)| rest);
    rest.split_once(to).map_or(rest, |(inner, _)| inner)
}

fn tables(page: &str) -> Vec<Table> {
    let starts = page.match_indices("<table").map(|(at, _)| at);
    let one = |at: usize| {
        let (before, html) = page.split_at(at);
        let html = between(html, "<table", "</table>");
        let around = before.rsplit_once("<div").map_or("", |(_, tag)| tag);
        let heads = between(html, "<thead", "</thead>").split("<th ").skip(1);
        let rows = between(html, "<tbody>", "</tbody>").split("<tr>").skip(1);
        Table {
            label: value(around, "aria-label").unwrap_or_default(),
            heads: heads
                .map(|head| Head {
                    name: text(&format!("<th {head}")),
                    href: value(head, "href"),
                    order: value(head.split('>').next().unwrap(), "aria-sort"),
                })
                .collect(),
            rows: rows
                .map(|row| match row.split_once("<th scope=\"row\"") {
                    Some((_, head)) => text(&format!("<th{}", head.split("</th>").next().unwrap())),
                    None => text(row),
                })
                .collect(),
        }
    };
    starts.map(one).collect()
}

/// Follows the link of each head of each table of a page, twice: the same rows, and the other way round. Returns how many.
fn orders(browser: &Browser<'_>, path: &str, page: &str) -> usize {
    let mut seen = 0;
    for table in tables(page) {
        let name = format!("{path}: {}", table.label);
        let linked: Vec<&Head> = table
            .heads
            .iter()
            .filter(|head| head.href.is_some())
            .collect();
        assert!(
            !linked.is_empty() || FIXED.contains(&table.label.as_str()),
            "{name} has no order"
        );
        for head in linked {
            let name = format!("{name} by {}", head.name);
            let follow = |from: &str, head: &Head| -> (String, Table, usize) {
                let to = resolved(from, head.href.as_ref().unwrap()).unwrap();
                let page = is_page(&get(browser, &to), 200);
                let found = tables(&page).into_iter().find(|it| it.label == table.label);
                let found = found.unwrap_or_else(|| panic!("{name}: {to} has none: {page}"));
                let at = found.heads.iter().position(|it| it.name == head.name);
                let at = at.unwrap_or_else(|| panic!("{name}: {to}"));
                (to, found, at)
            };
            let (to, one, at) = follow(path, head);
            let (_, other, _) = follow(&to, &one.heads[at]);
            let orders = [&one, &other].map(|it| it.heads[at].order.clone());
            assert!(
                orders[0].is_some() && orders[1].is_some() && orders[0] != orders[1],
                "{name}: {orders:?}"
            );
            let sorted = |table: &Table| {
                let mut rows = table.rows.clone();
                rows.sort();
                rows
            };
            // Each request may be a line more.
            if table.label != "Audit log" {
                assert_eq!(sorted(&one), sorted(&table), "{name}");
            }
            // A run that has no size is the last in both orders.
            if !["Audit log", "Runs"].contains(&table.label.as_str()) {
                let turned: Vec<String> = other.rows.into_iter().rev().collect();
                assert_eq!(one.rows, turned, "{name}");
            }
            seen += 1;
        }
    }
    seen
}

/// Sends every filter of a page with each of its words, and with what is none. Returns how many.
fn filters(browser: &Browser<'_>, path: &str, page: &str) -> usize {
    let hostile = form(&[("", "<script>\"'\u{202e}")]);
    let mut seen = 0;
    for html in page.split("<form class=\"filters\" method=\"get\"").skip(1) {
        let html = html.split("</form>").next().unwrap();
        let action = resolved(path, &value(html, "action").unwrap()).unwrap();
        for select in html.split("<select").skip(1) {
            let name = value(select, "name").unwrap();
            for option in between(select, ">", "</select>").split("<option").skip(1) {
                let word = value(option.split('>').next().unwrap(), "value");
                let word = word.unwrap_or_else(|| unescaped(between(option, ">", "</option>")));
                is_page(
                    &get(
                        browser,
                        &format!("{action}?{}", form(&[(name.as_str(), word.as_str())])),
                    ),
                    200,
                );
                seen += 1;
            }
            is_page(&get(browser, &format!("{action}?{name}{hostile}")), 400);
        }
        for input in html.split("<input ").skip(1) {
            let input = input.split('>').next().unwrap();
            if ["hidden", "checkbox"].contains(&value(input, "type").unwrap_or_default().as_str()) {
                continue;
            }
            let name = value(input, "name").unwrap();
            let answer = get(browser, &format!("{action}?{name}{hostile}"));
            assert!(
                [200, 400].contains(&answer.status),
                "{action} {name}: {}",
                answer.status
            );
            is_page(&answer, answer.status);
            seen += 1;
        }
    }
    seen
}

#[test]
fn links_lead_to_whole_pages_and_tables_are_sorted_and_filtered_by_their_addresses() {
    let (hub, id, archive, (_hook, database)) = hub();
    let (admin, read) = (hub.token("zoe", "admin"), hub.token("ana", "read"));
    let service = ServiceProcess::start_http(&hub);
    let browser = Browser::of(&service, &admin);
    database
        .client()
        .batch_execute("DELETE FROM t4; UPDATE users SET name = 'c'")
        .unwrap();
    let compared = start(&browser, &id, "compare");
    service.wait_for_page(&browser, &compared, "done, with warnings");
    let asked = preview(&browser, &id, &[("what", "living")]);
    service.wait_for_page(&browser, &asked, "Dropped first");
    // What the service finds and sends of itself has arrived.
    service.wait_for_page(&browser, "/checks", "alert</span> flag");
    let pending = ["</svg> queued<", "</svg> sending<", "Too many requests"];
    let is_sent = || {
        let page = get(&browser, "/recipients").text();
        !pending.iter().any(|word| page.contains(word))
    };
    wait_for(is_sent, || "messages of the first checks".to_owned());

    // Only the rows and files of the sealed backup stay closed.
    let is_right = |path: &str, status: u16| {
        let is_inside = ["/tables/", "/file", "/manifest"]
            .iter()
            .any(|part| path.contains(part));
        status == 200 || (status == 409 && is_inside && !path.contains(&id))
    };
    let pages = walk(&browser, is_right);
    for part in [
        "/tables/",
        "/value?",
        "live=1",
        "/file?",
        "/manifest",
        "/restore",
        "/operations/",
        "/audit",
        "take=",
    ] {
        assert!(
            pages.keys().any(|path| path.contains(part)),
            "{part}: {:?}",
            pages.keys()
        );
    }
    // A reader is offered nothing that is refused.
    let of_reader = walk(&Browser::of(&service, &read), |_, status| status == 200);
    for part in ["/tables/", "/file?", "/tokens", "/audit", "/restore"] {
        assert!(!of_reader.keys().any(|path| path.contains(part)), "{part}");
    }
    // Each page once, and one table of the backup for all.
    let one_of_each = |path: &&String| {
        !path.contains('?') && (!path.contains("/tables/") || path.ends_with("users"))
    };
    let plain: Vec<&String> = pages.keys().filter(one_of_each).collect();
    let (mut ordered, mut filtered) = (0, 0);
    for path in &plain {
        ordered += orders(&browser, path, &pages[*path]);
        filtered += filters(&browser, path, &pages[*path]);
    }
    assert!(ordered > 50 && filtered > 40, "{ordered} {filtered}");

    // The same without the archive: each page says so, and a way on.
    std::fs::remove_file(&archive).unwrap();
    let gone = walk(&browser, |_, status| status < 500);
    let refused = gone
        .values()
        .filter(|page| page.contains("no copy of the archive of backup"));
    assert!(refused.count() > 0, "{:?}", gone.keys());
    // And without a catalog that can be read.
    let catalog = hub.backups().join(".hubvault/catalog.sqlite");
    std::fs::write(&catalog, "no catalog <script> ".repeat(10)).unwrap();
    for path in plain {
        let answer = get(&browser, path);
        let page = is_page(&answer, answer.status);
        assert!(
            [200, 503].contains(&answer.status),
            "{path}: {} {page}",
            answer.status
        );
        assert!(
            answer.status == 200 || page.contains("catalog.sqlite"),
            "{path}: {page}"
        );
    }
    let log = service.stop_and_log();
    assert!(
        !log.contains("panicked") && !log.contains('\u{202e}'),
        "{log}"
    );
}
