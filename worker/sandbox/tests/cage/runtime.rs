//! What programs see of a runtime that is most of a directory.

use std::path::PathBuf;

use roundhouse_sandbox::{Cage, Level};

use crate::stand::{Stand, config};

/// As an interpreter's library with packages in the midst of it: each module is named, one package, and nothing else.
#[test]
fn of_a_directory_that_is_shown_in_hundreds_of_parts_no_other_part_is_seen() {
    let test = "of_a_directory_that_is_shown_in_hundreds_of_parts_no_other_part_is_seen";
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let library = home.path().join("library");
    for directory in ["packages/offered", "packages/hidden", "test"] {
        std::fs::create_dir_all(library.join(directory)).unwrap();
        std::fs::write(library.join(directory).join("file"), "text").unwrap();
    }
    let modules: Vec<PathBuf> = (0..200).map(|n| library.join(format!("m{n:03}"))).collect();
    for module in &modules {
        std::fs::write(module, "text").unwrap();
    }
    let mut config = config();
    config.runtime.extend(modules);
    config.runtime.push(library.join("packages/offered"));
    let cage = Cage::start(&config).unwrap();
    if cage.containment().level != Level::Namespaces {
        eprintln!("LEFT OUT: {test}: {}", cage.containment());
        return;
    }
    let mut stand = Stand::with(cage);
    let path = |inside: &str| library.join(inside).into_os_string().into_string().unwrap();
    let [first, last, offered, hidden, tests] = [
        "m000",
        "m199",
        "packages/offered/file",
        "packages/hidden",
        "test/file",
    ]
    .map(path);
    let said = stand.say(&["open", &first, &last, &offered, &hidden, &tests]);
    assert_eq!(said, format!("{:?}", [&first, &last, &offered]));
    assert_eq!(stand.say(&["list", &path("packages")]), r#"["offered"]"#);
    assert_eq!(stand.say(&["list", &path("test")]), "[]");
    let places = ["", "test", "packages", "packages/offered"].map(path);
    let words: Vec<_> = ["write"]
        .into_iter()
        .chain(places.iter().map(String::as_str))
        .collect();
    assert_eq!(stand.say(&words), "[]");
}
