//! Adds to a program what models often forget: an import, or the call of its own entry point.
//!
//! The patched program is what is run, in rounds and at the end; what the coder wrote is kept as it is. Each
//! addition is named, so that a report can say what was changed.

use crate::generate::python::{self, Attributes};

/// Imports that are added, the module, the name that needs them.
const IMPORTS: [(&str, &str, &str); 3] = [
    ("import sys", "sys", "sys"),
    ("import math", "math", "math"),
    ("from functools import cmp_to_key", "functools", "cmp_to_key"),
];

/// Entry points that are called when nothing else names them; at most one call is added.
const ENTRY_POINTS: [&str; 2] = ["main", "solve"];

/// A program as it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patched {
    /// Its text.
    pub program: String,
    /// What was added, in order, such as `import sys` or `main()`; empty when the text is unchanged.
    pub added: Vec<String>,
}

/// Adds missing imports and a missing call of `main()` or `solve()` to a Python program.
pub fn patch(program: &str) -> Patched {
    let shown = python::without_text(program);
    let imports: Vec<&str> = IMPORTS
        .iter()
        .filter(|(_, module, name)| needs_import(&shown, module, name))
        .map(|(line, _, _)| *line)
        .collect();
    let call = ENTRY_POINTS
        .iter()
        .find(|name| is_never_called(&shown, name))
        .map(|name| format!("{name}()"));
    let mut text = String::with_capacity(program.len() + 64);
    let (head, body) = program.split_at(imports_at(program, &shown));
    text.push_str(head);
    for import in &imports {
        text.push_str(import);
        text.push('\n');
    }
    text.push_str(body);
    if let Some(call) = &call {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(call);
        text.push('\n');
    }
    let added = imports.into_iter().map(str::to_owned).chain(call).collect();
    Patched { program: text, added }
}

/// Whether `name` is used somewhere and neither imported nor defined anywhere.
fn needs_import(shown: &str, module: &str, name: &str) -> bool {
    let mut used = false;
    for line in joined_imports(shown).lines() {
        for statement in line.split(';').map(str::trim) {
            if gives(statement, module, name) {
                return false;
            }
            let is_import = statement.starts_with("import ") || statement.starts_with("from ");
            used |= !is_import && python::uses_of(statement, name, Attributes::Ignored) > 0;
        }
    }
    used
}

/// The text with every parenthesised import on one line.
fn joined_imports(shown: &str) -> String {
    let mut joined = String::with_capacity(shown.len());
    let mut is_open = false;
    for line in shown.lines() {
        is_open =
            (is_open || line.trim_start().starts_with("from ") && line.contains('(')) && !line.contains(')');
        joined.push_str(line);
        joined.push(if is_open { ' ' } else { '\n' });
    }
    joined
}

/// Whether this statement makes `name` known.
fn gives(statement: &str, module: &str, name: &str) -> bool {
    let names = |list: &str| {
        list.split(',').any(|item| {
            let mut words = item.trim().trim_matches(['(', ')']).split_whitespace();
            let first = words.next().unwrap_or("");
            let known = words.next().and(words.next()).unwrap_or(first);
            known == name
        })
    };
    let statement = statement.split_once(':').map_or(statement, |(before, after)| {
        if after.trim_start().starts_with("import ") {
            after.trim_start()
        } else {
            before
        }
    });
    if let Some(list) = statement.strip_prefix("import ") {
        return names(list);
    }
    if let Some((from, list)) = statement
        .strip_prefix("from ")
        .and_then(|rest| rest.split_once(" import"))
    {
        return (from.trim() == module && list.trim() == "*") || names(list);
    }
    let assigned = statement.strip_prefix(name).map_or("", str::trim_start);
    if assigned.starts_with('=') && !assigned.starts_with("==") {
        return true;
    }
    let defined = statement
        .strip_prefix("def ")
        .or(statement.strip_prefix("class "));
    defined.is_some_and(|rest| rest.trim_start().split(['(', ':']).next().map(str::trim) == Some(name))
}

/// Where imports may stand: after the comments at the top, and after every `from __future__`.
fn imports_at(program: &str, shown: &str) -> usize {
    let mut at = 0;
    let mut after_comments = None;
    let mut after_future = None;
    let mut future_is_open = false;
    for (line, shown_line) in program.split_inclusive('\n').zip(shown.split_inclusive('\n')) {
        let is_comment = line.trim().is_empty() || line.starts_with('#');
        if !is_comment && after_comments.is_none() {
            after_comments = Some(at);
        }
        at += line.len();
        if shown_line.starts_with("from __future__") || future_is_open {
            future_is_open = (future_is_open || shown_line.contains('(')) && !shown_line.contains(')');
            after_future = Some(at);
        }
    }
    after_future.or(after_comments).unwrap_or(0)
}

/// Whether `name` is a function at the top level without parameters that nothing else in the program names.
fn is_never_called(shown: &str, name: &str) -> bool {
    let defined = shown.lines().any(|line| {
        let parameters = line
            .strip_prefix("def ")
            .and_then(|rest| rest.trim_start().strip_prefix(name))
            .and_then(|rest| rest.trim_start().strip_prefix('('));
        parameters.is_some_and(|rest| rest.trim_start().starts_with(')'))
    });
    defined && python::uses_of(shown, name, Attributes::Counted) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(program: &str) -> (String, Vec<String>) {
        let Patched { program, added } = patch(program);
        (program, added)
    }

    fn unchanged(program: &str) {
        assert_eq!(patched(program), (program.to_owned(), Vec::new()));
    }

    #[test]
    fn missing_imports_are_added_once_and_in_order() {
        assert_eq!(
            patched("n = math.gcd(4, 6)\na.sort(key=cmp_to_key(f))\nsys.exit(n)\n"),
            (
                "import sys\nimport math\nfrom functools import cmp_to_key\n\
                 n = math.gcd(4, 6)\na.sort(key=cmp_to_key(f))\nsys.exit(n)\n"
                    .to_owned(),
                vec![
                    "import sys".to_owned(),
                    "import math".to_owned(),
                    "from functools import cmp_to_key".to_owned()
                ]
            )
        );
    }

    #[test]
    fn imported_names_are_not_imported_again() {
        unchanged("import sys, math\nprint(math.pi, sys.argv)\n");
        unchanged("import os, sys as sys\nsys.exit()\n");
        unchanged("from functools import (lru_cache, cmp_to_key)\na.sort(key=cmp_to_key(f))\n");
        unchanged("from functools import (\n    lru_cache,\n    cmp_to_key,\n)\na.sort(key=cmp_to_key(f))\n");
        unchanged("math = int(input())\nprint(math)\n");
        unchanged("from functools import *\na.sort(key=cmp_to_key(f))\n");
        unchanged("import functools\na.sort(key=functools.cmp_to_key(f))\n");
        unchanged("def cmp_to_key(f):\n    return f\na.sort(key=cmp_to_key(f))\n");
        unchanged("def main():\n    import sys\n    sys.exit()\nmain()\n");
        unchanged("from sys import stdin\nprint(stdin.read())\n");
        unchanged("import math as m; print(m.pi)\n");
    }

    #[test]
    fn name_that_is_bound_to_something_else_is_still_missing() {
        assert_eq!(
            patched("from sys import stdin\nsys.exit()\n").1,
            vec!["import sys".to_owned()]
        );
        assert_eq!(
            patched("import math as m\nprint(math.pi)\n").1,
            vec!["import math".to_owned()]
        );
    }

    #[test]
    fn words_inside_others_in_text_and_behind_a_dot_need_no_import() {
        unchanged("system = 1\nmathematics = 'math and sys'  # sys\nos.sys\n");
        assert_eq!(patched("print(f'{math.pi}')\n").1, vec!["import math".to_owned()]);
    }

    #[test]
    fn imports_stand_after_first_comments_and_after_future() {
        assert_eq!(
            patched("#!/usr/bin/python3\n# coding: utf-8\n\nsys.exit()\n").0,
            "#!/usr/bin/python3\n# coding: utf-8\n\nimport sys\nsys.exit()\n"
        );
        assert_eq!(
            patched("\"\"\"x\"\"\"\nfrom __future__ import (\n    annotations,\n)\nsys.exit()\n").0,
            "\"\"\"x\"\"\"\nfrom __future__ import (\n    annotations,\n)\nimport sys\nsys.exit()\n"
        );
    }

    #[test]
    fn entry_point_that_nothing_names_is_called() {
        assert_eq!(
            patched("def main() -> None:\n    print(1)"),
            (
                "def main() -> None:\n    print(1)\nmain()\n".to_owned(),
                vec!["main()".to_owned()]
            )
        );
        assert_eq!(
            patched("def solve( ):\n    \"\"\"solve it\"\"\"\n    print(1)\n").1,
            vec!["solve()".to_owned()]
        );
        assert_eq!(
            patched("def solve():\n    pass\ndef main():\n    solve()\n").1,
            vec!["main()".to_owned()]
        );
    }

    #[test]
    fn entry_point_with_parameters_or_named_elsewhere_is_left_alone() {
        unchanged("def main(n):\n    print(n)\n");
        unchanged("def main():\n    print(1)\nif __name__ == '__main__':\n    main()\n");
        unchanged("def main():\n    print(1)\nthreading.Thread(target=main).start()\n");
        unchanged("class Solution:\n    def solve():\n        pass\n");
        unchanged("def main():\n    pass\ndef main():\n    pass\n");
        unchanged("print('main')\n");
        unchanged("");
    }

    #[test]
    fn accepted_programs_need_nothing() {
        let Ok(shared) = std::env::var("ROUNDHOUSE_SHARED") else {
            left_out("ROUNDHOUSE_SHARED is not set: no accepted program is patched");
            return;
        };
        let mut accepted = 0;
        for file in ["code_contests/test_verdicts.jsonl", "apps/verdicts.jsonl"] {
            let rows = std::fs::read_to_string(format!("{shared}/data/{file}")).expect("the data is there");
            for row in rows.lines() {
                let row: serde_json::Value = serde_json::from_str(row).expect("a row is JSON");
                if row["accepted"] == true {
                    unchanged(row["code"].as_str().expect("a program is text"));
                    accepted += 1;
                }
            }
        }
        assert!(accepted > 50, "{accepted} programs");
    }

    #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
    fn left_out(why: &str) {
        eprintln!("LEFT OUT: {why}");
    }
}
