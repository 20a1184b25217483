//! What every session and every evaluation comes to, whoever works on it and however often. So what a run comes to
//! does not depend on what happens on the way.

use roundhouse_proto::{
    Digest, Failure, FailureClass, FinishReason, GenerationOutcome, JobId, JobKind, LeaseId, Payload,
    SessionEvent, Speaker, StopReason, Usage,
};

use crate::runs::{CASES, round_cases};

/// How many ways there are in which a problem can go.
pub(crate) const KINDS: u32 = 9;

/// One step of a session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Beat {
    /// The model is asked, which costs.
    Call { speaker: Speaker, round: u32, ask: u32 },
    /// The program of a round is run; the next step needs the report.
    Tests { round: u32 },
    /// A round is over.
    RoundEnd { round: u32 },
    /// The session is over.
    Finish(GenerationOutcome),
    /// The session cannot go on.
    Fail(Failure),
}

/// What a problem goes through.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) beats: Vec<Beat>,
    /// Cases that the final program passes, or why it cannot be judged.
    pub(crate) verdict: Result<u32, Failure>,
    /// Why the tests of its rounds cannot be run, if they cannot.
    pub(crate) tests_fail: Option<Failure>,
    /// Why the programs of its rounds cannot be judged, if they cannot.
    pub(crate) rounds_fail: Option<Failure>,
}

impl Script {
    /// The script of one of [`KINDS`] kinds for a problem.
    pub(crate) fn of(problem: u32, kind: u32) -> Self {
        let call = |speaker, round| Beat::Call {
            speaker,
            round,
            ask: 0,
        };
        let plan = call(Speaker::Analyst, 0);
        let round = |round| {
            [
                call(Speaker::Coder, round),
                call(Speaker::Tester, round),
                Beat::Tests { round },
                Beat::RoundEnd { round },
            ]
        };
        let finish = || Beat::Finish(with_program(problem));
        let beats = match kind {
            0 => [&[plan][..], &round(0), &round(1), &[finish()]].concat(),
            1 => {
                let again = Beat::Call {
                    speaker: Speaker::Coder,
                    round: 0,
                    ask: 1,
                };
                vec![
                    plan,
                    call(Speaker::Coder, 0),
                    again,
                    Beat::Finish(without_program()),
                ]
            }
            2 => vec![call(Speaker::Coder, 0), finish()],
            3 => {
                let gone = Beat::Fail(failure(FailureClass::Model, "the model is gone"));
                [&[plan][..], &round(0)[..3], &[gone]].concat()
            }
            4 => [&round(0)[..], &round(1), &round(2), &[finish()]].concat(),
            // Tests of their own after a round that had none.
            5 => {
                let mut ended = round(0).to_vec();
                ended.swap(2, 3);
                [&[plan][..], &ended, &[finish()]].concat()
            }
            6 | 7 => [&[plan][..], &round(0), &[finish()]].concat(),
            _ => vec![finish()],
        };
        let unreadable = || failure(FailureClass::Job, "the tests cannot be read");
        Self {
            beats,
            verdict: match kind {
                0 | 2 | 8 => Ok(CASES),
                6 => Err(unreadable()),
                _ => Ok(problem % CASES),
            },
            tests_fail: (kind == 7).then(unreadable),
            rounds_fail: problem.is_multiple_of(5).then(unreadable),
        }
    }

    /// Whether a session is to wait, at this step, for the report of a round's tests: which round.
    pub(crate) fn awaits(&self, at: usize) -> Option<u32> {
        match self.beats.get(at.checked_sub(1)?)? {
            Beat::Tests { round } => Some(*round),
            Beat::Call { .. } | Beat::RoundEnd { .. } | Beat::Finish(_) | Beat::Fail(_) => None,
        }
    }

    /// Asserts that `events` are the first of this session.
    pub(crate) fn assert_begins(&self, problem: u32, events: &[SessionEvent]) {
        for (beat, event) in self.beats.iter().zip(events) {
            let usage = match event {
                SessionEvent::Said { usage, .. } => usage.unwrap_or_default(),
                SessionEvent::TestRequest { .. }
                | SessionEvent::RoundEnd { .. }
                | SessionEvent::Finished(_) => Usage::default(),
            };
            assert_eq!(Some(event), beat.event(problem, usage).as_ref());
        }
        assert!(events.len() <= self.beats.len(), "a session has too many events");
    }
}

impl Beat {
    /// What the step leaves behind; none for a failure.
    pub(crate) fn event(&self, problem: u32, usage: Usage) -> Option<SessionEvent> {
        let event = match self {
            Self::Call { speaker, round, ask } => SessionEvent::Said {
                speaker: *speaker,
                round: *round,
                ask: *ask,
                prompt: Payload::text("go on"),
                reply: Payload::text(&format!(
                    "{speaker} on problem {problem}, round {round}, ask {ask}"
                )),
                reasoning: None,
                finish: FinishReason::Stop,
                usage: Some(usage),
                duration_ms: usage.output,
                remarks: Vec::new(),
                unaccounted: 0,
            },
            Self::Tests { round } => SessionEvent::TestRequest {
                round: *round,
                program: round_program(problem, *round),
                cases: round_cases(problem, *round),
                cases_n: CASES,
            },
            Self::RoundEnd { round } => SessionEvent::RoundEnd {
                round: *round,
                code: if round.is_multiple_of(2) {
                    round_program(problem, *round)
                } else {
                    Payload::text("as the coder wrote it")
                },
                program: (!round.is_multiple_of(2)).then(|| round_program(problem, *round)),
                passed: Some(false),
                report: Payload::text("2 of 4 passed"),
                tests_raw: Payload::text("cases"),
                tests_used: None,
            },
            Self::Finish(outcome) => SessionEvent::Finished(outcome.clone()),
            Self::Fail(_) => return None,
        };
        Some(event)
    }
}

/// The program of a round as it is run; of some problems that of the last round is the first one again.
pub(crate) fn round_program(problem: u32, round: u32) -> Payload {
    let round = if problem.is_multiple_of(3) && round == 2 {
        0
    } else {
        round
    };
    Payload::text(&format!("program of problem {problem} in round {round}"))
}

fn with_program(problem: u32) -> GenerationOutcome {
    GenerationOutcome {
        unaccounted: 0,
        // Of every other problem it is that of its first round.
        program: Some(if problem.is_multiple_of(2) {
            round_program(problem, 0)
        } else {
            Payload::text(&format!("final program of problem {problem}"))
        }),
        stop_reason: StopReason::Passed,
        patched: Vec::new(),
        notes: Vec::new(),
    }
}

fn without_program() -> GenerationOutcome {
    GenerationOutcome {
        unaccounted: 0,
        program: None,
        stop_reason: StopReason::NoCode,
        patched: Vec::new(),
        notes: Vec::new(),
    }
}

/// The report of an evaluation; each lease writes another, so that it is known whose counts.
pub(crate) fn report(job: &JobId, lease: LeaseId) -> Payload {
    Payload::text(&format!("report on {job} under lease {lease}"))
}

/// Cases that the program of a round passes.
pub(crate) fn round_verdict(problem: u32, round: u32) -> u32 {
    (problem + round) % (CASES + 1)
}

/// How long a slot is busy with an evaluation under a lease, in milliseconds.
pub(crate) fn busy_ms(lease: LeaseId) -> u64 {
    10 + lease.seq % 90
}

/// The tests of a round of a script.
pub(crate) fn tests_job(session: &JobId, round: u32) -> JobId {
    let program: Digest = round_program(session.problem, round).digest();
    JobId {
        kind: JobKind::RoundTests { round, program },
        ..*session
    }
}

pub(crate) fn failure(class: FailureClass, message: &str) -> Failure {
    Failure {
        class,
        message: message.to_owned(),
    }
}
