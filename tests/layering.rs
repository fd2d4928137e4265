//! The table of modules in `src/lib.rs` lists every file, and a file uses only files above it.

use std::fs;
use std::path::{Path, PathBuf};

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules in the order of the table: files, by their paths without the extension.
fn modules() -> Vec<String> {
    let lib = fs::read_to_string(src().join("lib.rs")).unwrap();
    let rows = lib.lines().filter_map(|line| line.strip_prefix("// | `"));
    rows.filter_map(|row| row.split_once("` |")).map(|(module, _)| module.to_owned()).collect()
}

/// The module to which a path of modules or of a file leads: the one with the longest matching path.
fn module_of<'a>(modules: &'a [String], path: &str) -> Option<&'a String> {
    let leads_to = |module: &&String| {
        path.strip_prefix(module.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    modules.iter().filter(leads_to).max_by_key(|module| module.len())
}

/// Every source file except `lib.rs`: its path without the extension, and its text.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![src()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(src()).unwrap().with_extension("").to_str().unwrap().to_owned();
            if name != "lib" {
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

/// The module paths that a file uses through `crate::`, outside of comments.
fn used(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    // `pub(in crate::...)` states where the file may be used, and not what the file uses.
    let code = code.map(|line| line.replace("pub(in crate::", "pub("));
    let paths: Vec<_> =
        code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>()).collect();
    paths
        .iter()
        .map(|path| {
            let end =
                path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(path.len());
            path[..end].trim_end_matches(':').replace("::", "/")
        })
        .collect()
}

#[test]
fn every_file_is_in_the_table() {
    let modules = modules();
    assert!(modules.len() > 10, "the table was not found: {modules:?}");
    for (file, _) in files() {
        // A file in the folder of a module that is a single row belongs to that row. Other folders need a row for each file.
        let module = module_of(&modules, &file).unwrap_or_else(|| panic!("{file} is not in the table"));
        let is_folder = modules.iter().any(|other| other.starts_with(&format!("{module}/")));
        assert!(*module == file || !is_folder, "{file} is not in the table");
    }
    for module in modules {
        assert!(src().join(format!("{module}.rs")).exists(), "{module} is in the table, but does not exist");
    }
}

#[test]
fn files_use_only_files_above_them() {
    let modules = modules();
    let floor = |module: &String| modules.iter().position(|other| other == module);
    for (file, text) in files() {
        let here = module_of(&modules, &file).unwrap();
        for used in used(&text) {
            let there = module_of(&modules, &used)
                .unwrap_or_else(|| panic!("{file} uses {used}, which is not in the table"));
            assert!(floor(there) <= floor(here), "{file} uses {used}, which is below it");
        }
    }
}

#[test]
fn only_sync_names_atomics_and_mutexes() {
    for (file, text) in files() {
        let names = ["sync::atomic", "sync::Mutex", "sync::RwLock"];
        let own = text.replace("crate::sync::", "");
        let foreign = names.iter().find(|name| own.contains(*name));
        assert!(file.starts_with("sync") || foreign.is_none(), "{file} names {foreign:?}");
    }
}
