//! The kept inputs of every fuzz target, in a normal test: all that once went wrong stays right.

mod oracles;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| {
        entry
            .unwrap()
            .path()
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    });
    names.collect()
}

#[test]
fn every_target_has_its_oracle_and_its_inputs() {
    let known: BTreeSet<String> = oracles::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("targets")), known);
    assert_eq!(names(&folder("corpus")), known);
}

#[test]
fn what_has_to_hold_does_of_the_kept_inputs() {
    for (name, check) in oracles::ALL {
        let inputs = fs::read_dir(folder("corpus").join(name)).unwrap();
        let mut inputs: Vec<PathBuf> = inputs.map(|input| input.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{name}");
        for input in inputs {
            // told if it panics
            println!("{}", input.display());
            check(&fs::read(&input).unwrap());
        }
        check(b"");
    }
}
