//! The pages are right: links lead to files and headings that exist, commands and their flags exist.

use crate::hub::{coverage, stderr};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Every Markdown file of the root, `docs/` and `examples/`.
fn pages() -> Vec<PathBuf> {
    let files = ["", "docs", "examples"].into_iter().flat_map(|directory| {
        std::fs::read_dir(root().join(directory))
            .unwrap()
            .map(|entry| entry.unwrap().path())
    });
    let pages: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    assert!(pages.len() > 20, "{pages:?}");
    pages
}

/// The lines inside of fenced blocks, or those outside.
fn lines(text: &str, of_blocks: bool) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().map(str::trim_start).filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fence && fenced == of_blocks
    })
}

/// The targets of `[text](target)` and of `<img src="target">`.
fn links(text: &str) -> Vec<String> {
    let all = lines(text, false).collect::<Vec<_>>().join("\n");
    let targets = |before, after| {
        let ends = all.split(before).skip(1);
        ends.filter_map(move |rest| Some(rest.split_once(after)?.0.to_owned()))
    };
    targets("](", ')').chain(targets("src=\"", '"')).collect()
}

/// The anchors that headings get: small letters, digits, hyphens for spaces.
fn anchors(text: &str) -> Vec<String> {
    let headings = lines(text, false).filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let name = page.strip_prefix(root()).unwrap().display().to_string();
        for link in links(&text)
            .into_iter()
            .filter(|link| !link.contains("://"))
        {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            let is_there = target.exists()
                && (anchor.is_empty()
                    || anchors(&std::fs::read_to_string(&target).unwrap())
                        .iter()
                        .any(|known| known == anchor));
            if !is_there {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Every `hubvault ...` of a page, in blocks and between backticks, without what follows it in the line.
fn commands(text: &str) -> BTreeSet<String> {
    let prose = lines(text, false).collect::<Vec<_>>().join(" ");
    let blocks = lines(text, true).filter(|line| line.starts_with("hubvault "));
    let inline = prose
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.starts_with("hubvault "));
    blocks
        .chain(inline)
        .map(|line| {
            let ends = [" #", " \\", " |", " &&", " >", ";", "  "]
                .iter()
                .filter_map(|end| line.find(end));
            line[..ends.min().unwrap_or(line.len())]
                .trim()
                .replace("...", "")
        })
        .filter(|line| !line.contains("COMMAND"))
        .collect()
}

#[test]
fn every_command_of_the_pages_exists() {
    let pages = pages();
    let pages = pages.iter().filter(|page| !page.ends_with("CHANGELOG.md"));
    let all: BTreeSet<String> = pages
        .flat_map(|page| commands(&std::fs::read_to_string(page).unwrap()))
        .collect();
    assert!(all.len() > 60, "{all:?}");
    let program = Path::new(env!("CARGO_BIN_EXE_hubvault"));
    let mut wrong = Vec::new();
    for line in all {
        // The help comes after flags and values were read, and before anything is done.
        let script = format!("{} --help", line.replacen("hubvault", "\"$0\"", 1));
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &script])
            .arg(program)
            .env_clear()
            .envs(coverage());
        let said = stderr(&shell.output().unwrap());
        // Prose may name a flag without its value.
        if !said.is_empty() && !said.contains("a value is required") {
            wrong.push(format!("{line}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_index_of_the_documents() {
    let index = std::fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in pages()
        .iter()
        .filter(|page| page.parent() == Some(&root().join("docs")))
    {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "README.md" || index.contains(&format!("({name}")),
            "{name} is not in docs/README.md"
        );
    }
}

#[test]
fn every_example_of_a_change_applies_and_is_linked() {
    let page = std::fs::read_to_string(root().join("docs/contributing-map.md")).unwrap();
    let mut count = 0;
    for change in std::fs::read_dir(root().join("docs/changes")).unwrap() {
        let name = change.unwrap().file_name().into_string().unwrap();
        assert!(page.contains(&format!("(changes/{name})")), "{name}");
        let mut git = Command::new("git");
        git.args(["apply", "--check", "--whitespace=error"])
            .arg(format!("docs/changes/{name}"))
            .current_dir(root())
            // Paths are those of this tree, also if it is inside of another repository.
            .env("GIT_CEILING_DIRECTORIES", root().parent().unwrap());
        let output = git.output().unwrap();
        let said = stderr(&output);
        assert!(
            output.status.success(),
            "{name} must be updated, as docs/contributing-map.md says: {said}"
        );
        count += 1;
    }
    assert!(count >= 6, "only {count} examples");
}

#[test]
fn the_readme_and_its_pictures_are_small() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 120);
    for picture in std::fs::read_dir(root().join("docs/pictures")).unwrap() {
        let picture = picture.unwrap();
        assert!(picture.metadata().unwrap().len() < 150_000, "{picture:?}");
    }
}

#[test]
fn every_target_of_the_makefile_is_there_once() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let promised: BTreeSet<&str> = makefile
        .lines()
        .find_map(|line| line.strip_prefix(".PHONY: "))
        .unwrap()
        .split(' ')
        .collect();
    let rules: Vec<&str> = makefile
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(':').map(|(target, _)| target))
        .collect();
    let named: BTreeSet<&str> = rules.iter().copied().collect();
    assert_eq!(
        named.len(),
        rules.len(),
        "a target is there twice: {rules:?}"
    );
    assert_eq!(named, promised);
}
