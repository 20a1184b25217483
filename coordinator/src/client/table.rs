//! Tables on standard output: columns aligned with spaces, nothing else.

use std::io::{self, Write};

use anyhow::Context;

/// Spaces between two columns.
const GAP: &str = "  ";

/// A row of a table under its headings, as text; the last column is not padded.
pub fn table<const COLUMNS: usize>(headings: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let mut widths = headings.map(width);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; COLUMNS]| {
        let mut padded = String::new();
        for (cell, widest) in cells.iter().zip(widths) {
            padded.push_str(cell);
            padded.extend(std::iter::repeat_n(' ', widest - width(cell)));
            padded.push_str(GAP);
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    };
    line(headings);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
    text
}

/// Characters, which is how wide a cell is but for scripts with wide ones.
fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// Prints what was asked for. A reader that went away, such as `head`, has what it wanted.
///
/// # Errors
/// Standard output cannot be written to.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("write to standard output")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a value as JSON.
///
/// # Errors
/// Standard output cannot be written to.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value).context("encode the answer")?;
    print(&(text + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_no_line_ends_in_a_space() {
        let rows = [
            ["1", "twelve", ""].map(str::to_owned),
            ["long cell", "2", "é"].map(str::to_owned),
        ];
        let wanted = "\
A          BB      C
1          twelve
long cell  2       é
";
        assert_eq!(table(["A", "BB", "C"], &rows), wanted);
        assert_eq!(table(["A", "BB"], &[]), "A  BB\n");
    }
}
