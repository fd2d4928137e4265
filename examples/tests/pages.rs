//! The pages of the repository name only files that exist.

use std::fs;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const PAGES: [&str; 4] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"];

/// The paths of files and folders between backticks, or in the targets of links.
fn paths(text: &str) -> Vec<&str> {
    let in_code = text.split('`').skip(1).step_by(2);
    let in_links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let is_path = |path: &&str| {
        let is_name = |c: char| c.is_alphanumeric() || "_-./".contains(c);
        path.chars().all(is_name) && (path.contains('/') || path.ends_with(".rs") || path.ends_with(".md"))
    };
    in_code.chain(in_links).map(|path| path.trim_end_matches('/')).filter(is_path).collect()
}

#[test]
fn name_files_that_are_there() {
    let root = Path::new(ROOT);
    let mut found = 0;
    for page in PAGES {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for path in paths(&text) {
            let is_there = root.join(path).exists() || root.join("src").join(path).exists();
            assert!(is_there, "{page} names {path}, which is not there");
            found += 1;
        }
    }
    assert!(found > 60, "only {found} are found");
}

/// The README and the crate's documentation show the program that `examples/tests/quickstart.rs` runs.
#[test]
fn show_the_example_quickstart() {
    let root = Path::new(ROOT);
    let read = |path| fs::read_to_string(root.join(path)).unwrap();
    let example = read("examples/quickstart.rs");
    let program = example.split_once("\n\n").expect("a line of documentation, and the program").1;
    assert!(read("README.md").contains(program));
    let docs = read("src/lib.rs").replace("//! ", "").replace("//!\n", "\n");
    assert!(docs.contains(program));
}

/// Each public item has an example, or refers to one.
#[test]
fn each_public_item_has_an_example() {
    let src = Path::new(ROOT).join("src");
    let mut folders = vec![src];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let mut docs = String::new();
            for line in text.lines().map(str::trim_start) {
                if line.starts_with("///") {
                    docs.push_str(line);
                } else if !line.starts_with("#[") {
                    let is_public = ["pub fn ", "pub const fn ", "pub struct ", "pub enum ", "pub type "];
                    if is_public.iter().any(|start| line.starts_with(start)) {
                        let shows = docs.contains("```") || docs.contains("example");
                        assert!(shows, "{}: {line}", path.display());
                        count += 1;
                    }
                    docs.clear();
                }
            }
        }
    }
    assert!(count > 150, "only {count} are found");
}
