//! Python text as far as a session must understand it: where comments and strings are, and what starts a
//! statement. No parser: a program that does not compile is found out when it is run.

/// The text with every comment and every string blanked out, line for line and character for character.
///
/// f-strings stay as they are: names inside them are used.
pub(crate) fn without_text(program: &str) -> String {
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
                let formatted = is_formatted(&chars[..at]);
                for &inside in &chars[at..end] {
                    shown.push(if formatted || inside == '\n' { inside } else { ' ' });
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
    }

    #[test]
    fn names_are_counted_as_whole_words() {
        let text = "main remain main_ self.main xmain (main)";
        assert_eq!(uses_of(text, "main", Attributes::Ignored), 2);
        assert_eq!(uses_of(text, "main", Attributes::Counted), 3);
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
