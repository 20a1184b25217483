//! The beginning of a function task's program, as its statement may give it: imports, other functions, and the
//! signature of the function that is asked for.
//!
//! Read from a statement that is itself the beginning of a program, as in HumanEval (Chen et al., arXiv 2107.03374);
//! any other statement gives none. Completions are judged behind that beginning there, so it counts as given here too:
//! [`crate::generate::patch`] adds what a program leaves out of it.

use crate::generate::python;

/// What a statement gives of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Import statements, in order.
    pub imports: Vec<String>,
    /// Other functions and classes, in order.
    pub helpers: Vec<Helper>,
    /// From `def` to the end of its documentation; empty where the statement is no program.
    pub head: String,
}

/// A function or class that stands before the one that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Its name.
    pub name: String,
    /// Its text, decorators included.
    pub text: String,
}

impl Signature {
    /// What `statement` gives for the function `entry_point`.
    pub fn of(statement: &str, entry_point: &str) -> Self {
        let mut signature = Self::default();
        for text in top_level(statement) {
            let first = text.lines().find(|line| !line.starts_with('@')).unwrap_or("");
            match defined(first) {
                Some(name) if name == entry_point => {
                    text.clone_into(&mut signature.head);
                    return signature;
                }
                Some(name) => signature.helpers.push(Helper {
                    name: name.to_owned(),
                    text: format!("{}\n", text.trim_end()),
                }),
                None if python::is_import_statement(first) => {
                    signature.imports.push(text.trim_end().to_owned());
                }
                None => {}
            }
        }
        // Without the function, what looks like an import may be prose.
        Self::default()
    }

    /// Names that a program has by it, apart from the function itself.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let imported = self
            .imports
            .iter()
            .flat_map(|import| python::names_imported(import));
        imported.chain(self.helpers.iter().map(|helper| helper.name.as_str()))
    }
}

/// The name of the function or class that a line at the top level begins.
pub(crate) fn defined(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    let rest = line.strip_prefix("def ").or(line.strip_prefix("class "))?;
    let name = rest.trim_start().split(['(', ':', ' ']).next()?;
    python::is_name(name).then_some(name)
}

/// The statements at the top level, each with the lines that belong to it; comments are part of the one before.
fn top_level(program: &str) -> Vec<&str> {
    let shown = python::without_text(program);
    let mut starts = Vec::new();
    let mut at = 0;
    let mut is_decorated = false;
    for (line, shown) in program.split_inclusive('\n').zip(shown.split_inclusive('\n')) {
        if shown.starts_with(|first: char| !first.is_whitespace() && !matches!(first, ')' | ']' | '}')) {
            if !is_decorated {
                starts.push(at);
            }
            is_decorated = shown.starts_with('@');
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([program.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &program[*start..end])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATEMENT: &str = "import math\nfrom typing import (\n    List,\n    Tuple as T,\n)\n\nFIX = \"\"\"\ndef no():\n\"\"\"\n\n\
                             @cache\ndef helper(x):\n    \"\"\" Helps.\n    \"\"\"\n    return x\n\n\n\
                             def wanted(xs: List[int]) -> int:\n    \"\"\" Does it.\n\nimport nothing\n    >>> wanted([])\n    0\n    \"\"\"\n";

    #[test]
    fn beginning_of_a_program_is_taken_apart() {
        let signature = Signature::of(STATEMENT, "wanted");
        let head = &STATEMENT[STATEMENT.find("def wanted").expect("it is there")..];
        let expected = Signature {
            imports: vec![
                "import math".to_owned(),
                "from typing import (\n    List,\n    Tuple as T,\n)".to_owned(),
            ],
            helpers: vec![Helper {
                name: "helper".to_owned(),
                text: "@cache\ndef helper(x):\n    \"\"\" Helps.\n    \"\"\"\n    return x\n".to_owned(),
            }],
            head: head.to_owned(),
        };
        assert_eq!(signature, expected);
        assert_eq!(
            signature.names().collect::<Vec<_>>(),
            ["math", "List", "T", "helper"]
        );
    }

    #[test]
    fn statement_that_is_no_program_gives_nothing() {
        for statement in [
            "",
            "Write a function to add.\nimport math\n\nassert wanted(1) == 2\n",
            "    def wanted(x):\n",
        ] {
            assert_eq!(Signature::of(statement, "wanted"), Signature::default());
        }
    }
}
