//! The tables against each other, and that there is no third place with sentences of theirs.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::path::{Path, PathBuf};

use super::*;

/// Whether a character is of the Chinese script or its punctuation.
fn is_chinese(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}')
}

/// Every field of a table as `(name, sentence)`: a field that is added is in it, too.
fn fields(texts: &Texts) -> Vec<(String, String)> {
    let shown = format!("{texts:#?}");
    let mut fields = Vec::new();
    for line in shown.lines().map(str::trim) {
        if let Some((name, value)) = line.split_once(": \"") {
            let value = value
                .strip_suffix("\",")
                .unwrap()
                .replace("\\u{fe0f}", "\u{fe0f}");
            fields.push((name.to_owned(), value));
        }
    }
    fields
}

/// What stands before the first word: the indent, the sign, places for values.
fn beginning(sentence: &str) -> &str {
    let end = sentence.find(|c: char| is_chinese(c) || c.is_ascii_alphabetic());
    &sentence[..end.unwrap_or(sentence.len())]
}

#[test]
fn filled_text_takes_braces_of_a_value_as_they_are() {
    assert_eq!(fill("[{}/{}] {}", &[&1, &2, &"{}{x}"]), "[1/2] {}{x}");
}

#[test]
fn english_has_every_sentence_with_the_same_places_for_values_and_no_chinese() {
    let (chinese, english) = (fields(&ZH), fields(&EN));
    assert_eq!(chinese.len(), english.len());
    assert!(chinese.len() > 60, "fields are found: {}", chinese.len());
    for ((name, zh), (same, en)) in chinese.iter().zip(&english) {
        assert_eq!(name, same);
        assert!(!en.is_empty() && !en.contains(is_chinese), "{name}: {en}");
        // What has no Chinese in it needs no translation.
        assert_eq!(zh != en, zh.contains(is_chinese), "{name}: {en}");
        assert_eq!(zh.matches("{}").count(), en.matches("{}").count(), "{name}: {en}");
        assert_eq!(beginning(zh), beginning(en), "{name}");
    }
    for texts in [&ZH, &EN] {
        for sentence in [texts.evaluation_time, texts.compare_evaluation] {
            assert!(sentence.contains(texts.evaluation_time_name), "{sentence}");
        }
    }
}

#[test]
fn table_of_a_language_is_its_own() {
    assert_eq!(Texts::of(Lang::Zh).report.total_time, "  - 总耗时: {} 秒");
    assert_eq!(Texts::of(Lang::En).report.total_time, "  - Total time: {} s");
    assert_eq!(fields(Texts::of(Lang::default())), fields(&ZH));
}

#[test]
fn each_searched_string_stands_in_one_sentence_of_a_report() {
    for (texts, searched) in [(&ZH, ["Pass@1", "总耗时"]), (&EN, ["Pass@1", "Total time"])] {
        let of_report = format!("{:#?}", texts.report);
        for string in searched {
            assert_eq!(of_report.matches(string).count(), 1, "{string}");
            assert!(SEARCHED.iter().any(|(known, _)| *known == string));
        }
    }
    for (string, harmless) in SEARCHED {
        assert!(
            !SEARCHED.iter().any(|(searched, _)| harmless.contains(searched)),
            "{string}"
        );
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn chinese_stands_nowhere_in_this_program_but_in_the_tables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let is_of_tests = |path: &Path| {
        let names = ["tests.rs", "fixture.rs", "conformance.rs"];
        let in_tests = path.components().any(|part| part.as_os_str() == "tests");
        in_tests || names.iter().any(|name| path.ends_with(name))
    };
    let mut looked_at = 0;
    for path in &found {
        let path = path.strip_prefix(&root).unwrap();
        if is_of_tests(path) || path == Path::new("console/text.rs") {
            continue;
        }
        looked_at += 1;
        let text = std::fs::read_to_string(root.join(path)).unwrap();
        // The tests of a file stand at its end.
        let program = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        for (n, line) in program.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            assert!(
                is_comment || !line.contains(is_chinese),
                "{}:{}: a sentence for people belongs in `console/text.rs`: {line}",
                path.display(),
                n + 1
            );
        }
    }
    assert!(looked_at > 50, "the sources are found: {looked_at}");
}
