//! Adds to a program what models often forget: an import, or the call of its own entry point; to the program of a
//! function task what its statement gives and the reply left out.
//!
//! The patched program is what is run, in rounds and at the end; what the coder wrote is kept as it is. Each
//! addition is named, so that a report can say what was changed.

use crate::generate::python::{self, Attributes};
use crate::generate::signature::{Signature, defined};

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
    let mut patched = with_imports(program);
    let shown = python::without_text(program);
    let call = ENTRY_POINTS
        .iter()
        .find(|name| is_never_called(&shown, name))
        .map(|name| format!("{name}()"));
    if let Some(call) = call {
        if !patched.program.ends_with('\n') {
            patched.program.push('\n');
        }
        patched.program.push_str(&call);
        patched.program.push('\n');
        patched.added.push(call);
    }
    patched
}

/// Adds missing imports to Python code.
pub(crate) fn with_imports(code: &str) -> Patched {
    let shown = python::without_text(code);
    let missing = IMPORTS
        .iter()
        .filter(|(_, module, name)| needs_import(&shown, module, name))
        .map(|(line, _, _)| ((*line).to_owned(), (*line).to_owned()));
    with_first(code, missing)
}

/// Adds to the program of a function task what its statement gives and the program does not have: the signature, where
/// the reply is the rest of the function only; imports; other functions. Then missing imports. The function is not
/// called: its cases do that.
pub fn patch_function(program: &str, entry_point: &str, signature: &Signature) -> Patched {
    let mut added = Vec::new();
    let mut whole = program.to_owned();
    let is_indented = program
        .lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.starts_with([' ', '\t']));
    if is_indented && !signature.head.is_empty() && !defines(program, entry_point) {
        whole = format!("{}\n{program}", signature.head.trim_end());
        added.push(format!("def {entry_point}"));
    }
    let shown = joined_imports(&python::without_text(&whole));
    let imports = signature.imports.iter().filter(|import| {
        let names = python::names_imported(import);
        !names.iter().all(|name| is_given(&shown, "", name))
    });
    let imports = imports.map(|import| (import.clone(), import.replace('\n', " ")));
    let helpers = signature.helpers.iter();
    let helpers = helpers.filter(|helper| !is_given(&shown, "", &helper.name));
    let helpers = helpers.map(|helper| {
        let text = format!("\n\n{}\n", helper.text);
        (text, format!("def {}", helper.name))
    });
    let given = with_first(&whole, imports.chain(helpers));
    added.extend(given.added);
    let Patched {
        program,
        added: imports,
    } = with_imports(&given.program);
    added.extend(imports);
    Patched { program, added }
}

/// Whether a program has this function at its top level.
fn defines(program: &str, name: &str) -> bool {
    let shown = python::without_text(program);
    shown.lines().any(|line| defined(line) == Some(name))
}

/// Puts texts, each with what it is called, where a program's imports may stand.
fn with_first(program: &str, texts: impl Iterator<Item = (String, String)>) -> Patched {
    let shown = python::without_text(program);
    let (head, body) = program.split_at(imports_at(program, &shown));
    let mut text = String::with_capacity(program.len() + 64);
    text.push_str(head);
    let mut added = Vec::new();
    for (first, name) in texts {
        text.push_str(&first);
        text.push('\n');
        added.push(name);
    }
    text.push_str(body);
    Patched { program: text, added }
}

/// Whether a statement of the program makes `name` known; `shown` has its imports on one line each.
fn is_given(shown: &str, module: &str, name: &str) -> bool {
    let mut statements = shown.lines().flat_map(|line| line.split(';')).map(str::trim);
    statements.any(|statement| gives(statement, module, name))
}

/// Whether `name` is used somewhere and neither imported nor defined anywhere.
fn needs_import(shown: &str, module: &str, name: &str) -> bool {
    let joined = joined_imports(shown);
    let mut statements = joined.lines().flat_map(|line| line.split(';')).map(str::trim);
    let is_used = statements.any(|statement| {
        let is_import = statement.starts_with("import ") || statement.starts_with("from ");
        !is_import && python::uses_of(statement, name, Attributes::Ignored) > 0
    });
    is_used && !is_given(&joined, module, name)
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

    const STATEMENT: &str = "import math\nfrom typing import List\n\n\ndef helper(x):\n    return math.floor(x)\n\n\n\
                             def wanted(xs: List[int]) -> int:\n    \"\"\" Sums.\n    \"\"\"\n";

    fn patched_function(program: &str) -> (String, Vec<String>) {
        let signature = Signature::of(STATEMENT, "wanted");
        let Patched { program, added } = patch_function(program, "wanted", &signature);
        (program, added)
    }

    #[test]
    fn function_gets_what_its_statement_gives_and_the_reply_left_out() {
        assert_eq!(
            patched_function("from typing import List, Tuple\n\ndef wanted(xs):\n    return helper(sum(xs))\n"),
            (
                "import math\n\n\ndef helper(x):\n    return math.floor(x)\n\n\nfrom typing import List, Tuple\n\n\
                 def wanted(xs):\n    return helper(sum(xs))\n"
                    .to_owned(),
                vec!["import math".to_owned(), "def helper".to_owned()]
            )
        );
        let whole = format!("{STATEMENT}    return sum(xs)\n");
        assert_eq!(patched_function(&whole), (whole.clone(), Vec::new()));
    }

    #[test]
    fn body_of_a_function_gets_its_signature() {
        let (program, added) = patched_function("    main = sys.maxsize\n    return main\n");
        assert_eq!(
            program,
            "import sys\nimport math\nfrom typing import List\n\n\ndef helper(x):\n    return math.floor(x)\n\n\n\
             def wanted(xs: List[int]) -> int:\n    \"\"\" Sums.\n    \"\"\"\n    main = sys.maxsize\n    return main\n"
        );
        assert_eq!(
            added,
            [
                "def wanted",
                "import math",
                "from typing import List",
                "def helper",
                "import sys"
            ]
        );
    }

    #[test]
    fn function_called_main_is_not_called() {
        let program = "def main():\n    return 1\n";
        assert_eq!(
            patch_function(program, "main", &Signature::default()),
            Patched {
                program: program.to_owned(),
                added: Vec::new()
            }
        );
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
