//! Names in a run directory: which are allowed, and how a data set's own ids become some.

use std::collections::{BTreeMap, BTreeSet};

use super::RunDirError;

/// Most characters of a name made from an id; a file system takes 255 bytes.
const CHARS_MAX: usize = 80;

/// The system's own bound, in bytes.
const BYTES_MAX: usize = 255;

/// Refuses a name that leads to another directory or hides: empty, with a `/`, with a control character, or
/// beginning with a dot.
pub(crate) fn check(name: &str) -> Result<(), RunDirError> {
    let refused = name.is_empty()
        || name.len() > BYTES_MAX
        || name.starts_with('.')
        || name.contains(|c: char| c == '/' || c == '\\' || c.is_control());
    if refused {
        return Err(RunDirError::Name {
            name: name.escape_debug().to_string(),
        });
    }
    Ok(())
}

/// A data set's own id as the name of a directory: ASCII letters, digits, `-` and `.` stay, everything between them
/// becomes one `_`.
pub fn safe_name(source_id: &str) -> String {
    let mut name = String::new();
    for c in source_id.chars() {
        if name.len() >= CHARS_MAX {
            break;
        }
        if c.is_ascii_alphanumeric() || c == '-' || c == '.' {
            name.push(c);
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_matches(['_', '.']);
    if name.is_empty() {
        "problem".to_owned()
    } else {
        name.to_owned()
    }
}

/// Names for the problems of a data set, given as (1-based position, own id). Ids that give the same name, or one
/// that a file of the run has, get their position behind it. Give all rows, not only those that are run, and a
/// problem has the same name in every run.
pub fn safe_names(problems: &[(u32, &str)]) -> Vec<String> {
    // Some file systems take upper and lower case for the same.
    let plain: Vec<String> = problems.iter().map(|(_, id)| safe_name(id)).collect();
    let mut uses: BTreeMap<String, u32> = BTreeMap::new();
    for name in &plain {
        *uses.entry(name.to_ascii_lowercase()).or_default() += 1;
    }
    let mut taken: BTreeSet<String> = OF_FILES.map(str::to_owned).into();
    taken.extend(
        uses.iter()
            .filter(|(_, n)| **n == 1)
            .map(|(name, _)| name.clone()),
    );
    let mut names = Vec::with_capacity(problems.len());
    for (name, (position, _)) in plain.into_iter().zip(problems) {
        let lower = name.to_ascii_lowercase();
        if uses.get(&lower) == Some(&1) && !OF_FILES.contains(&lower.as_str()) {
            names.push(name);
            continue;
        }
        let mut numbered = format!("{name}_{position:03}");
        // Ends: each turn makes it longer than before, and finitely many are taken.
        while !taken.insert(numbered.to_ascii_lowercase()) {
            numbered.push_str(&format!("_{position:03}"));
        }
        names.push(numbered);
    }
    names
}

/// Names of the run's own files, in lower case.
pub(crate) const OF_FILES: [&str; 4] = [
    "summary.json",
    "report.txt",
    "eval_checkpoint.json",
    "console.log",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_name_keeps_what_can_be_read_and_nothing_that_leads_elsewhere() {
        for (id, name) in [
            (
                "1575_A. Another Sorting Problem",
                "1575_A._Another_Sorting_Problem",
            ),
            ("1552_B. Running for Gold?", "1552_B._Running_for_Gold"),
            ("p00001 Alice's", "p00001_Alice_s"),
            ("HumanEval/0", "HumanEval_0"),
            ("../../etc/passwd", "etc_passwd"),
            (".hidden", "hidden"),
            ("a\0b\n/c", "a_b_c"),
            ("Pass@1 总耗时", "Pass_1"),
            ("题目", "problem"),
            ("", "problem"),
            ("..", "problem"),
        ] {
            assert_eq!(safe_name(id), name, "{id:?}");
            assert!(check(name).is_ok());
        }
        assert_eq!(safe_name(&"x".repeat(500)).len(), CHARS_MAX);
    }

    #[test]
    fn safe_names_are_unique_also_without_regard_to_case() {
        let ids = [
            (1, "a/b"),
            (2, "a b"),
            (3, "c"),
            (4, "A?B"),
            (5, "a_b_001"),
            (6, "summary.json"),
            (7, "REPORT.txt"),
        ];
        assert_eq!(
            safe_names(&ids),
            [
                "a_b_001_001",
                "a_b_002",
                "c",
                "A_B_004",
                "a_b_001",
                "summary.json_006",
                "REPORT.txt_007"
            ]
        );
    }

    #[test]
    fn name_that_leads_elsewhere_is_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "/etc",
            ".state",
            "a\nb",
            "a\\b",
            &"x".repeat(256),
        ] {
            assert!(matches!(check(name), Err(RunDirError::Name { .. })), "{name:?}");
        }
    }
}
