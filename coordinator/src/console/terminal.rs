//! What the two standard streams are, and what may be drawn on them: the only place that decides on colour and bars.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

/// What the standard streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Whether standard output and standard error are both a terminal, so that bars are in the way of lines.
    pub shared: bool,
    /// Whether standard error may have bars that move.
    pub bars: bool,
    /// Whether standard error may have colours.
    pub colour: bool,
}

impl Terminal {
    /// Looks at the streams of this process and at `NO_COLOR`, `CI` and `TERM`.
    pub fn detect() -> Self {
        Self::decide(io::stdout().is_terminal(), io::stderr().is_terminal(), |name| {
            std::env::var_os(name)
        })
    }

    /// Whoever sets `NO_COLOR` or `CI` to something, or has a terminal that cannot move its cursor, gets plain lines.
    fn decide(
        stdout_is_terminal: bool,
        stderr_is_terminal: bool,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let is_dumb = variable("TERM").is_some_and(|value| value == "dumb");
        let plain = is_set("NO_COLOR") || is_set("CI") || is_dumb;
        Self {
            shared: stdout_is_terminal && stderr_is_terminal,
            bars: stderr_is_terminal && !plain,
            colour: stderr_is_terminal && !plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(stdout: bool, stderr: bool, set: &[(&str, &str)]) -> Terminal {
        Terminal::decide(stdout, stderr, |name| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn terminal_has_bars_unless_something_forbids_them() {
        let drawn = Terminal {
            shared: true,
            bars: true,
            colour: true,
        };
        let plain = Terminal {
            shared: true,
            bars: false,
            colour: false,
        };
        assert_eq!(with(true, true, &[("TERM", "xterm"), ("NO_COLOR", "")]), drawn);
        for forbids in [("NO_COLOR", "1"), ("CI", "true"), ("TERM", "dumb")] {
            assert_eq!(with(true, true, &[forbids]), plain, "{forbids:?}");
        }
        let piped = Terminal {
            shared: false,
            ..drawn
        };
        assert_eq!(with(false, true, &[]), piped);
        let nothing = Terminal {
            shared: false,
            bars: false,
            colour: false,
        };
        assert_eq!(with(true, false, &[]), nothing);
    }
}
