//! The table of rooms in `src/lib.rs` is the truth: every file is in it, and uses only what stands above it.

use std::fs;
use std::path::{Path, PathBuf};

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms, in the order of the table.
fn rooms() -> Vec<String> {
    let lib = fs::read_to_string(src().join("lib.rs")).unwrap();
    let rows = lib.lines().filter_map(|line| line.strip_prefix("// | `"));
    rows.filter_map(|row| row.split_once("` |")).map(|(room, _)| room.to_owned()).collect()
}

/// Every source file but `lib.rs`, with the room it belongs to.
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
            let room = path.strip_prefix(src()).unwrap().iter().next().unwrap().to_str().unwrap();
            let room = room.trim_end_matches(".rs").to_owned();
            if room != "lib" {
                files.push((room, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

/// The rooms that a file names by `crate::`, outside of comments.
fn used(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = code.flat_map(|line| line.split("crate::").skip(1));
    paths.map(|path| path.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap()).collect()
}

#[test]
fn every_file_has_its_room() {
    let rooms = rooms();
    assert!(rooms.len() > 10, "the table was not found: {rooms:?}");
    for (room, _) in files() {
        assert!(rooms.contains(&room), "{room} is not in the table");
    }
    for room in rooms {
        assert!(src().join(format!("{room}.rs")).exists(), "{room} is in the table and not there");
    }
}

#[test]
fn files_use_only_what_stands_above_them() {
    let rooms = rooms();
    let floor = |room: &str| rooms.iter().position(|other| other == room);
    for (room, text) in files() {
        for used in used(&text) {
            let below = floor(used).unwrap_or_else(|| panic!("{room} uses {used}, which is no room"));
            assert!(below <= floor(&room).unwrap(), "{room} uses {used}, which stands below it");
        }
    }
}

#[test]
fn only_sync_names_atomics_and_mutexes() {
    for (room, text) in files() {
        let names = ["sync::atomic", "sync::Mutex", "sync::RwLock"];
        let own = text.replace("crate::sync::", "");
        let foreign = names.iter().find(|name| own.contains(*name));
        assert!(room == "sync" || foreign.is_none(), "{room} names {foreign:?}");
    }
}
