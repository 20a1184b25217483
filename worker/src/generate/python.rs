//! Python text as far as a session must understand it: where comments and strings are, and what starts a
//! statement. No parser: a program that does not compile is found out when it is run.

/// The text with every comment and every string blanked out, line for line and character for character.
///
/// f-strings stay as they are: names inside them are used.
pub(crate) fn without_text(program: &str) -> String {
    blanked(program, Strings::Blanked)
}

/// The text with every comment blanked out, line for line and character for character.
pub(crate) fn without_comments(program: &str) -> String {
    blanked(program, Strings::Kept)
}

/// What becomes of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strings {
    Kept,
    Blanked,
}

fn blanked(program: &str, strings: Strings) -> String {
    let chars: Vec<char> = program.chars().collect();
    let mut shown = String::with_capacity(program.len());
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '#' => {
                while at < chars.len() && chars[at] != '\n' {
                    shown.push(' ');
                    at += 1;
                }
            }
            '"' | '\'' => {
                let end = string_end(&chars, at);
                let is_kept = strings == Strings::Kept || is_formatted(&chars[..at]);
                for &inside in &chars[at..end] {
                    shown.push(if is_kept || inside == '\n' { inside } else { ' ' });
                }
                at = end;
            }
            other => {
                shown.push(other);
                at += 1;
            }
        }
    }
    shown
}

/// Whether the string that starts after `before` has an `f` in its prefix.
fn is_formatted(before: &[char]) -> bool {
    let prefix = || before.iter().rev().take_while(|letter| letter.is_alphanumeric());
    prefix().count() <= 2 && prefix().any(|letter| matches!(letter, 'f' | 'F'))
}

/// Where the string that starts at `start` ends: after its closing quote, at the end of the line if it has none
/// there, at the end of the text for an open triple quote.
fn string_end(chars: &[char], start: usize) -> usize {
    let quote = chars[start];
    let triple = chars[start..].starts_with(&[quote; 3]);
    let mut at = start + if triple { 3 } else { 1 };
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 1,
            '\n' if !triple => return at,
            found if found == quote && !triple => return at + 1,
            found if found == quote && chars[at..].starts_with(&[quote; 3]) => return at + 3,
            _ => {}
        }
        at += 1;
    }
    chars.len()
}

/// How often `name` stands in `text` as a whole word; not as an attribute, unless `attributes` are counted too.
pub(crate) fn uses_of(text: &str, name: &str, attributes: Attributes) -> usize {
    text.match_indices(name)
        .filter(|(at, _)| {
            let (before, after) = (&text[..*at], &text[at + name.len()..]);
            !before.ends_with(is_word)
                && !after.starts_with(is_word)
                && (attributes == Attributes::Counted || !before.ends_with('.'))
        })
        .count()
}

/// Whether `a.name` is a use of `name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attributes {
    /// It is.
    Counted,
    /// It is not.
    Ignored,
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Whether `word` is a plain name.
pub(crate) fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_') && word.chars().all(is_word)
}

/// Names that code uses and that are no attributes and no names of arguments, each time that it does.
pub(crate) fn names_used(code: &str) -> Vec<String> {
    let letters: Vec<char> = code.chars().collect();
    let shown: Vec<char> = without_text(code).chars().collect();
    let mut names = Vec::new();
    let mut at = 0;
    while at < shown.len() {
        let end = at + shown[at..].iter().take_while(|letter| is_word(**letter)).count();
        if end == at {
            at += 1;
            continue;
        }
        let name: String = shown[at..end].iter().collect();
        let before = shown[..at].iter().rev().find(|letter| !letter.is_whitespace());
        let mut after = shown[end..].iter().filter(|letter| !letter.is_whitespace());
        let is_argument = after.next() == Some(&'=') && after.next() != Some(&'=');
        let is_prefix = matches!(letters.get(end), Some('"' | '\''));
        if is_name(&name) && before != Some(&'.') && !is_argument && !is_prefix {
            names.push(name);
        }
        at = end;
    }
    names
}

/// `code` with the name `from` written `to`, where it stands as a whole word, in text too.
pub(crate) fn with_name(code: &str, from: &str, to: &str) -> String {
    let mut written = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(from).filter(|_| !from.is_empty()) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let is_whole = !before.ends_with(is_word)
            && !written_ends_in_word(&written, before)
            && !after.starts_with(is_word);
        written.push_str(before);
        written.push_str(if is_whole { to } else { from });
        rest = after;
    }
    written.push_str(rest);
    written
}

/// Whether what is written so far ends in a word that a match without anything before it goes on with.
fn written_ends_in_word(written: &str, before: &str) -> bool {
    before.is_empty() && written.ends_with(is_word)
}

/// Whether a line begins an import.
pub(crate) fn is_import_statement(line: &str) -> bool {
    starts_statement(&[line]) && (line.starts_with("import ") || line.starts_with("from "))
}

/// The names that an import statement binds.
pub(crate) fn names_imported(statement: &str) -> Vec<&str> {
    let list = match statement.split_once("import") {
        Some((_, list)) => list.trim().trim_matches(['(', ')']),
        None => return Vec::new(),
    };
    let is_from = statement.trim_start().starts_with("from ");
    list.split(',')
        .filter_map(|item| {
            let mut words = item.split_whitespace();
            let first = words.next()?;
            let module = if is_from { first } else { first.split('.').next()? };
            Some(words.next().and(words.next()).unwrap_or(module))
        })
        .collect()
}

/// Whether the first of `lines` starts a statement of a program rather than a sentence of prose.
pub(crate) fn starts_statement(lines: &[&str]) -> bool {
    let Some((line, rest)) = lines.split_first() else {
        return false;
    };
    let line = line.trim_end();
    if line.starts_with(char::is_whitespace) {
        return false;
    }
    let (first, others) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let others = others.trim();
    let block_follows = || {
        line.ends_with(':')
            && rest
                .iter()
                .find(|next| !next.trim().is_empty())
                .is_some_and(|next| next.starts_with([' ', '\t']))
    };
    match first {
        "import" => others.split(',').all(is_import),
        "from" => others
            .split_once(" import ")
            .is_some_and(|(module, _)| is_dotted(module.trim())),
        "def" | "class" | "async" => others.contains(':') && others.contains(is_word),
        "if" | "for" | "while" | "with" => block_follows(),
        "try:" => block_follows(),
        _ if line.starts_with('@') => is_dotted(line[1..].split('(').next().unwrap_or("")),
        _ if line.starts_with("\"\"\"") || line.starts_with("'''") => true,
        _ => is_assignment(line) || is_call(line),
    }
}

fn is_dotted(module: &str) -> bool {
    !module.is_empty() && module.trim_start_matches('.').split('.').all(is_name)
}

fn is_import(item: &str) -> bool {
    let mut words = item.split_whitespace();
    let module = words.next().is_some_and(is_dotted);
    let alias = match (words.next(), words.next()) {
        (None, _) => true,
        (Some("as"), Some(name)) => is_name(name),
        (Some(_), _) => false,
    };
    module && alias && words.next().is_none()
}

/// `a = …`, `a, b = …`, `a[i] += …`, `a: int = …`.
fn is_assignment(line: &str) -> bool {
    let Some(equals) = line.find('=').filter(|at| *at > 0) else {
        return false;
    };
    if line[equals + 1..].starts_with('=') || line[equals + 1..].trim().is_empty() {
        return false;
    }
    let target = line[..equals]
        .trim_end()
        .trim_end_matches(['+', '-', '*', '/', '%', '|', '&', '^', '<', '>', ':']);
    let target = target.split(':').next().unwrap_or("");
    target.split(',').all(|part| {
        let part = part.trim().trim_start_matches(['*', '(']).trim_end_matches(')');
        let name = part.split('[').next().unwrap_or("");
        is_dotted(name.trim_end()) && (name.len() == part.len() || part.ends_with(']'))
    })
}

/// `main()`, `sys.stdin.read()`, `print(` … on its own line.
fn is_call(line: &str) -> bool {
    line.split_once('(').is_some_and(|(name, rest)| {
        is_dotted(name)
            && (rest.is_empty() || rest.ends_with([')', '(', '[', '{', ',']) || rest.contains(") #"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked_and_f_strings_stay() {
        let program = "a = 'it\\'s # x'  # main\nb = \"\"\"m\n'\"q\"\"\"\nc = f'{math.pi}'\nd = 'open\ne";
        let blank = |n| " ".repeat(n);
        let shown = format!(
            "a = {}\nb = {}\n{}\nc = f'{{math.pi}}'\nd = {}\ne",
            blank(19),
            blank(4),
            blank(6),
            blank(5)
        );
        assert_eq!(without_text(program), shown);
        assert_eq!(without_comments("a = '#'  # é\nb"), "a = '#'     \nb");
    }

    #[test]
    fn names_are_counted_as_whole_words() {
        let text = "main remain main_ self.main xmain (main)";
        assert_eq!(uses_of(text, "main", Attributes::Ignored), 2);
        assert_eq!(uses_of(text, "main", Attributes::Counted), 3);
    }

    #[test]
    fn used_names_are_neither_attributes_nor_arguments_nor_in_text() {
        let code = "assert sorted(f(x.y, key=len), reverse = True) == [b'a', 0x1F, 1e5, f\"{z}\"]  # w";
        assert_eq!(
            names_used(code),
            ["assert", "sorted", "f", "x", "len", "True", "z"]
        );
    }

    #[test]
    fn name_is_written_otherwise_where_it_is_a_whole_word() {
        assert_eq!(with_name("f(f1, of, ff, 'f')", "f", "g"), "g(f1, of, ff, 'g')");
        assert_eq!(with_name("f", "", "g"), "f");
    }

    #[test]
    fn imports_bind_the_names_that_they_give() {
        for (statement, names) in [
            ("import os.path, sys as system", &["os", "system"][..]),
            (
                "from typing import (\n    List,\n    Tuple as T,\n)",
                &["List", "T"],
            ),
            ("from a.b import c", &["c"]),
        ] {
            assert!(
                is_import_statement(statement.lines().next().unwrap_or("")),
                "{statement}"
            );
            assert_eq!(names_imported(statement), names);
        }
        assert!(!is_import_statement("import the module first"));
        assert!(!is_import_statement("x = 1"));
    }

    #[test]
    fn statements_are_told_from_prose() {
        for code in [
            "import sys",
            "import os.path as p, math",
            "from collections import deque",
            "t = int(input())",
            "a, b = map(int, input().split())",
            "grid[i][j] += 1",
            "x: int = 3",
            "print(sum(a))",
            "main()",
            "def f(x):",
            "class Node:",
            "@lru_cache(None)",
            "\"\"\"Solves it.\"\"\"",
        ] {
            assert!(starts_statement(&[code]), "{code}");
        }
        assert!(starts_statement(&["for _ in range(3):", "", "    pass"]));
        for prose in [
            "",
            "Request timed out.",
            "'gbk' codec can't encode character '\\u22c5' in position 1201",
            "Error code: 400 - {'error': {'message': 'no channels'}}",
            "import the module first",
            "from the statement we see that",
            "for example, take this:",
            "if n == 1:",
            "The answer (see above) is 3",
            "x == 3",
            "python",
            "    t = 3",
        ] {
            assert!(!starts_statement(&[prose, "next"]), "{prose}");
        }
    }
}
