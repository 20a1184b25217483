//! The calls of a run's sessions: what they used, and what was unusual about them.

use std::collections::BTreeSet;

use roundhouse_proto::{SessionEvent, Usage};

/// Different remarks of a run that people are told; what comes after them is only in the records.
const REMARKS_MAX: usize = 100;

/// What a run's stored calls add up to.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Tokens of all answers that told them.
    pub(super) usage: Usage,
    /// Answers.
    pub(super) answers_n: u32,
    /// Those of them that did not tell their tokens.
    pub(super) uncounted_n: u32,
    /// Tries before an answer that may have been paid and broke before they told their tokens.
    pub(super) broken_n: u32,
    remarks: BTreeSet<String>,
}

impl Calls {
    /// Counts an event; the remarks that are new with it.
    pub(super) fn add(&mut self, event: &SessionEvent) -> Vec<String> {
        match event {
            SessionEvent::Said {
                usage,
                remarks,
                unaccounted,
                ..
            } => {
                self.answers_n += 1;
                self.broken_n = self.broken_n.saturating_add(*unaccounted);
                match usage {
                    Some(usage) => self.add_usage(*usage),
                    None => self.uncounted_n += 1,
                }
                let new = remarks.iter().filter(|remark| self.is_new(remark));
                new.cloned().collect()
            }
            SessionEvent::TestRequest { .. } | SessionEvent::RoundEnd { .. } | SessionEvent::Finished(_) => {
                Vec::new()
            }
        }
    }

    fn add_usage(&mut self, usage: Usage) {
        let Usage {
            input,
            cached_input,
            output,
            reasoning,
        } = usage;
        let sum = &mut self.usage;
        sum.input = sum.input.saturating_add(input);
        sum.cached_input = sum.cached_input.saturating_add(cached_input);
        sum.output = sum.output.saturating_add(output);
        sum.reasoning = sum.reasoning.saturating_add(reasoning);
    }

    fn is_new(&mut self, remark: &str) -> bool {
        self.remarks.len() < REMARKS_MAX && self.remarks.insert(remark.to_owned())
    }
}
