//! Comparison by lines: white space at the end of a line and empty lines at the end do not count.

use super::{is_space, step};

#[derive(Debug)]
pub(super) struct Lines<'e> {
    /// The line that is being compared, without white space at its end.
    line: &'e [u8],
    /// The lines after it; none if it is the last one that counts.
    rest: Option<&'e [u8]>,
    /// Bytes of `line` that have come.
    seen: usize,
    /// White space that came after them: at the end of the actual line it does not count.
    gap: usize,
    /// Whether that white space is also what follows in `line`.
    gap_agrees: bool,
    lost: bool,
}

impl<'e> Lines<'e> {
    pub(super) fn new(expected: &'e [u8]) -> Self {
        let (line, rest) = first_line(trim_end(expected));
        Self {
            line,
            rest,
            seen: 0,
            gap: 0,
            gap_agrees: true,
            lost: false,
        }
    }

    /// Takes the next piece and says whether agreement is lost.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> bool {
        for &byte in chunk {
            if self.lost {
                break;
            }
            step(1);
            match byte {
                b'\n' => self.end_line(),
                _ if is_space(byte) => {
                    self.gap_agrees &= self.line.get(self.seen + self.gap) == Some(&byte);
                    self.gap += 1;
                }
                _ => {
                    let at = self.seen + self.gap;
                    self.lost = !self.gap_agrees || self.line.get(at) != Some(&byte);
                    self.seen = at + 1;
                    self.gap = 0;
                }
            }
        }
        self.lost
    }

    pub(super) fn finish(self) -> bool {
        !self.lost && self.rest.is_none() && self.seen == self.line.len()
    }

    fn end_line(&mut self) {
        self.lost = self.seen != self.line.len();
        self.gap = 0;
        self.gap_agrees = true;
        // On the last line nothing moves: only white space can still follow.
        if let Some(rest) = self.rest {
            (self.line, self.rest) = first_line(rest);
            self.seen = 0;
        }
    }
}

/// The first line without white space at its end, and what follows its line feed.
fn first_line(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end = text.iter().position(|byte| *byte == b'\n');
    step(end.unwrap_or(text.len()));
    match end {
        Some(end) => (trim_end(&text[..end]), Some(&text[end + 1..])),
        None => (trim_end(text), None),
    }
}

fn trim_end(text: &[u8]) -> &[u8] {
    let kept = text
        .iter()
        .rposition(|byte| !is_space(*byte))
        .map_or(0, |at| at + 1);
    step(text.len() - kept);
    &text[..kept]
}
