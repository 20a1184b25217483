//! Which interpreters are the same for a run: those of one implementation and one minor version.
//!
//! A function of the names that workers announce; that a run then stays with one is up to [`crate::Coordinator`].

/// The implementation and the minor version of an interpreter, such as `CPython 3.11` of `CPython 3.11.7`; the whole
/// name where there is no more to it.
pub fn minor(name: &str) -> &str {
    let version_at = name.rfind(' ').map_or(0, |space| space + 1);
    let second_dot = name[version_at..].match_indices('.').nth(1);
    second_dot.map_or(name, |(dot, _)| &name[..version_at + dot])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_version_is_what_stands_before_the_second_dot_of_the_last_word() {
        for (name, expected) in [
            ("CPython 3.11.7", "CPython 3.11"),
            ("CPython 3.13.0rc1", "CPython 3.13"),
            ("PyPy 3.10.14", "PyPy 3.10"),
            ("A. B. C 3.11.7", "A. B. C 3.11"),
            ("CPython 3.11", "CPython 3.11"),
            ("3.11.7", "3.11"),
            ("中文 3.11.7.1", "中文 3.11"),
            ("unknown", "unknown"),
            ("", ""),
        ] {
            assert_eq!(minor(name), expected);
        }
    }
}
