//! What a run is asked to do, as it comes from a client: read, and checked before anything is made of it.
//!
//! What passes can be stored, granted to workers and written: names are safe, numbers and lengths within bounds. Whether
//! a blob holds what it should is seen by the worker that reads it; the job is then an error, and the run goes on.

use std::collections::BTreeSet;
use std::fmt;

use roundhouse_core::run::{
    EvaluationSettings, MemoryRule, ModelAt, ProblemSpec, Quarantine, RunSpec, TimeRule,
};
use roundhouse_proto::wire::{
    CASES_MAX, Fields, NAME_MAX_BYTES, REASON_MAX_BYTES, TEMPLATES_MAX, WireError, v1,
};
use roundhouse_proto::{Comparator, Digest, Limits, RunId, SessionSettings, Tier};
use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use tonic::Status;

use crate::report::line::one_line;
use crate::run_dir::name;

/// Problems of a run.
const PROBLEMS_MAX: usize = 100_000;
/// Rounds of a session, as `--max-rounds` has it.
const ROUNDS_MAX: u32 = 64;
/// Slots that a run asks for, as `--workers` has it.
const SLOTS_MAX: u32 = 4_096;
/// Attempts of a job, as `--attempts-max` has it.
const ATTEMPTS_MAX: u32 = 100;
/// Time that one test may take, in milliseconds.
const TEST_TIME_MAX_MS: u64 = 24 * 60 * 60 * 1_000;
/// Memory and output that one test may take, in bytes.
const TEST_BYTES_MAX: u64 = 1 << 40;
/// Processes that one test may have.
const TEST_PROCESSES_MAX: u32 = 65_536;
/// Factor of a problem's time limit, in thousandths.
const FACTOR_MAX: u32 = 1_000_000;
/// Characters of a text around the place where it cannot be read.
const NEAR_CHARS: usize = 40;

/// Reads what a run is asked to do.
///
/// # Errors
/// This version cannot read it, or knows no such field; the status says which.
pub(super) fn read(text: &[u8]) -> Result<RunSpec, Status> {
    let spec: RunSpec = serde_json::from_slice(text)
        .map_err(|error| cannot_read(&format!("{error}{}", near(text, error.column()))))?;
    let encoded = serde_json::to_vec(&spec).map_err(|error| cannot_read(&error.to_string()))?;
    let (given, known) = (fields(text), fields(&encoded));
    match given.and_then(|given| Ok((given, known?))) {
        Ok((given, known)) => match given.difference(&known).next() {
            None => Ok(spec),
            Some(field) => {
                let field = one_line(field.trim_start_matches('.'), NAME_MAX_BYTES);
                Err(cannot_read(&format!("it does not know the field `{field}`")))
            }
        },
        Err(error) => Err(cannot_read(&error.to_string())),
    }
}

fn cannot_read(why: &str) -> Status {
    Status::failed_precondition(format!(
        "this coordinator ({}) cannot read what the run is asked to do: {why}\nhint: use the same release of client \
         and coordinator",
        env!("CARGO_PKG_VERSION")
    ))
}

/// The text before the place where it cannot be read: the error itself does not name the field.
fn near(text: &[u8], column: usize) -> String {
    let read = text.get(..column).unwrap_or(text);
    let start = read.len().saturating_sub(NEAR_CHARS);
    let near = String::from_utf8_lossy(&read[start..]);
    format!(", after `{}`", one_line(&near, NEAR_CHARS))
}

/// Refuses what could not be stored, granted or written.
///
/// # Errors
/// Says which field is not as it should be.
pub(super) fn check(spec: &RunSpec, run: RunId) -> Result<(), WireError> {
    let fields = Fields::of("RunSpec");
    if spec.run != run {
        return Err(fields.refuse("run", run, spec.run));
    }
    plain_text(fields, "version", &spec.version, NAME_MAX_BYTES)?;
    check_session(fields, &spec.session)?;
    match &spec.model_at {
        ModelAt::Offline | ModelAt::Endpoint { name: None } => {}
        ModelAt::Endpoint { name: Some(name) } => {
            plain_name(fields, "model_at.endpoint.name", name)?;
        }
    }
    fields.bounded("prompts", spec.prompts.len(), TEMPLATES_MAX, "entries")?;
    for name in spec.prompts.keys() {
        plain_name(fields, "prompts", name)?;
    }
    check_evaluation(fields, &spec.evaluation)?;
    // 0 for a run that takes what joins.
    for (field, slots) in [("workers", spec.workers), ("eval_workers", spec.eval_workers)] {
        if slots > SLOTS_MAX {
            return Err(fields.refuse(field, format!("at most {SLOTS_MAX}"), slots));
        }
    }
    in_range(fields, "attempts_max", spec.attempts_max, ATTEMPTS_MAX)?;
    plain_text(fields, "data_set.name", &spec.data_set.name, NAME_MAX_BYTES)?;
    plain_text(fields, "data_set.path", &spec.data_set.path, REASON_MAX_BYTES)?;
    plain_text(fields, "data_set.format", &spec.data_set.format, NAME_MAX_BYTES)?;
    if !(1..=PROBLEMS_MAX).contains(&spec.problems.len()) {
        let expected = format!("1 to {PROBLEMS_MAX} entries");
        return Err(fields.refuse("problems", expected, spec.problems.len()));
    }
    let mut positions = BTreeSet::new();
    let mut names: BTreeSet<String> = name::OF_FILES.map(str::to_owned).into();
    for (i, problem) in spec.problems.iter().enumerate() {
        check_problem(problem).map_err(|error| error.inside("RunSpec", &format!("problems[{i}]")))?;
        if !positions.insert(problem.position) {
            let field = format!("problems[{i}].position");
            return Err(fields.refuse(&field, "each position once", problem.position));
        }
        // Some file systems take upper and lower case for the same.
        if !names.insert(problem.name.to_lowercase()) {
            let field = format!("problems[{i}].name");
            let got = format!("`{}`", problem.name);
            return Err(fields.refuse(&field, "a name that no other problem and no file has", got));
        }
    }
    if let Some(quarantine) = &spec.quarantine {
        check_quarantine(fields, quarantine, positions)?;
    }
    Ok(())
}

fn check_session(fields: Fields, session: &SessionSettings) -> Result<(), WireError> {
    // What workers read is what they are sent.
    SessionSettings::try_from(v1::SessionSettings::from(session.clone()))
        .map_err(|error| error.inside("RunSpec", "session"))?;
    plain_name(fields, "session.model", &session.model)?;
    for model in session.model_for.values() {
        plain_name(fields, "session.model_for", model)?;
    }
    in_range(fields, "session.max_rounds", session.max_rounds, ROUNDS_MAX)?;
    in_range(
        fields,
        "session.sampling.max_tokens",
        session.sampling.max_tokens,
        u32::MAX,
    )?;
    check_limits(fields, "session.limits", &session.limits)
}

fn check_evaluation(fields: Fields, evaluation: &EvaluationSettings) -> Result<(), WireError> {
    let tiers = &evaluation.tiers;
    let each_once: BTreeSet<&Tier> = tiers.iter().collect();
    if tiers.is_empty() || each_once.len() < tiers.len() {
        let expected = "at least one tier, each once";
        return Err(fields.refuse("evaluation.tiers", expected, format!("{tiers:?}")));
    }
    check_limits(fields, "evaluation.limits", &evaluation.limits)?;
    let audited = evaluation.execution.audit_per_mille;
    if audited > 1_000 {
        let field = "evaluation.execution.audit_per_mille";
        return Err(fields.refuse(field, "at most 1000", audited));
    }
    if let TimeRule::Problem { factor_per_mille } = evaluation.limits_rule.time {
        let field = "evaluation.limits_rule.time.factor_per_mille";
        in_range(fields, field, factor_per_mille, FACTOR_MAX)?;
    }
    if let MemoryRule::Problem { floor_bytes } = evaluation.limits_rule.memory
        && !(1..=TEST_BYTES_MAX).contains(&floor_bytes)
    {
        let field = "evaluation.limits_rule.memory.floor_bytes";
        return Err(fields.refuse(field, format!("1 to {TEST_BYTES_MAX}"), floor_bytes));
    }
    Ok(())
}

/// Only problems of the run, each once.
fn check_quarantine(
    fields: Fields,
    quarantine: &Quarantine,
    mut positions: BTreeSet<u32>,
) -> Result<(), WireError> {
    for (i, problem) in quarantine.problems.iter().enumerate() {
        if !positions.remove(&problem.position) {
            let field = format!("quarantine.problems[{i}].position");
            return Err(fields.refuse(&field, "the position of a problem, each once", problem.position));
        }
    }
    Ok(())
}

fn check_limits(fields: Fields, field: &str, limits: &Limits) -> Result<(), WireError> {
    let check = |part: &str, value: u64, most: u64| {
        if (1..=most).contains(&value) {
            Ok(())
        } else {
            Err(fields.refuse(&format!("{field}.{part}"), format!("1 to {most}"), value))
        }
    };
    check("cpu_ms", limits.cpu_ms, TEST_TIME_MAX_MS)?;
    check("wall_ms", limits.wall_ms, TEST_TIME_MAX_MS)?;
    check("memory_bytes", limits.memory_bytes, TEST_BYTES_MAX)?;
    check("output_bytes", limits.output_bytes, TEST_BYTES_MAX)?;
    check("processes", limits.processes.into(), TEST_PROCESSES_MAX.into())
}

fn check_problem(problem: &ProblemSpec) -> Result<(), WireError> {
    let fields = Fields::of("ProblemSpec");
    in_range(fields, "position", problem.position, u32::MAX)?;
    if name::check(&problem.name).is_err() {
        let got = format!("`{}`", problem.name.escape_debug());
        return Err(fields.refuse("name", "one part of a path that does not begin with `.`", got));
    }
    // An id of the data set may be any text; it is made harmless where it is shown.
    fields.bounded("source_id", problem.source_id.len(), REASON_MAX_BYTES, "bytes")?;
    let each_once: BTreeSet<Tier> = problem.tiers.iter().map(|(tier, _)| *tier).collect();
    if each_once.len() < problem.tiers.len() {
        let got = format!("{:?}", problem.tiers);
        return Err(fields.refuse("tiers", "each tier once", got));
    }
    let cases: u64 = problem.tiers.iter().map(|(_, n)| u64::from(*n)).sum();
    if cases > CASES_MAX as u64 {
        return Err(fields.refuse("tiers", format!("at most {CASES_MAX} cases"), cases));
    }
    if problem.tests.is_some() != (cases > 0) {
        let expected = "a digest exactly if `tiers` counts cases";
        let got = problem
            .tests
            .map_or_else(|| "none".to_owned(), |digest| digest.to_string());
        return Err(fields.refuse("tests", expected, got));
    }
    if let Some(entry_point) = &problem.entry_point {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        if entry_point.is_empty() || entry_point.len() > NAME_MAX_BYTES || !entry_point.chars().all(is_part) {
            let got = format!("`{}`", entry_point.escape_debug());
            return Err(fields.refuse("entry_point", "the name of a function", got));
        }
    }
    Ok(())
}

fn in_range(fields: Fields, field: &str, value: u32, most: u32) -> Result<(), WireError> {
    if (1..=most).contains(&value) {
        Ok(())
    } else {
        Err(fields.refuse(field, format!("1 to {most}"), value))
    }
}

/// A name that is not empty and has nothing in it that steers a terminal.
fn plain_name(fields: Fields, field: &str, text: &str) -> Result<(), WireError> {
    if text.is_empty() {
        return Err(fields.refuse(field, "a name", "none"));
    }
    plain_text(fields, field, text, NAME_MAX_BYTES)
}

fn plain_text(fields: Fields, field: &str, text: &str, bytes_max: usize) -> Result<(), WireError> {
    fields.bounded(field, text.len(), bytes_max, "bytes")?;
    if text.chars().any(char::is_control) {
        let got = format!("`{}`", text.escape_debug());
        return Err(fields.refuse(field, "a text without control characters", got));
    }
    Ok(())
}

/// The blobs that a run cannot do without, each once.
pub(super) fn blobs_of(spec: &RunSpec) -> BTreeSet<Digest> {
    let of_problem = |problem: &ProblemSpec| {
        [
            Some(problem.statement),
            problem.tests,
            problem.public_cases,
            problem.reference,
            problem.recording,
        ]
    };
    let of_problems = spec.problems.iter().flat_map(of_problem).flatten();
    let rules = [spec.evaluation.comparator, spec.session.comparator];
    let checkers = rules.into_iter().filter_map(|rule| match rule {
        Comparator::Checker { program } => Some(program),
        Comparator::CodeContests
        | Comparator::Tokens
        | Comparator::Lines
        | Comparator::Exact
        | Comparator::Float { .. }
        | Comparator::UnorderedLines => None,
    });
    of_problems.chain(spec.prompt_set).chain(checkers).collect()
}

/// The ways to all values of a JSON text, but for `null`, with `[]` for any place in a list.
fn fields(text: &[u8]) -> serde_json::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut text = serde_json::Deserializer::from_slice(text);
    Ways {
        at: &mut String::new(),
        found: &mut found,
    }
    .deserialize(&mut text)?;
    Ok(found)
}

/// Collects the ways to values. Only the set grows, however long the text is.
struct Ways<'a> {
    at: &'a mut String,
    found: &'a mut BTreeSet<String>,
}

impl Ways<'_> {
    fn value<E>(self) -> Result<(), E> {
        if !self.found.contains(self.at.as_str()) {
            self.found.insert(self.at.clone());
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Ways<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Ways<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let length = self.at.len();
        while let Some(key) = map.next_key::<String>()? {
            self.at.push('.');
            self.at.push_str(&key);
            map.next_value_seed(Ways {
                at: &mut *self.at,
                found: &mut *self.found,
            })?;
            self.at.truncate(length);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let length = self.at.len();
        self.at.push_str("[]");
        while seq
            .next_element_seed(Ways {
                at: &mut *self.at,
                found: &mut *self.found,
            })?
            .is_some()
        {}
        self.at.truncate(length);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.value()
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.value()
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.value()
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.value()
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.value()
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::sync::Arc;

    use roundhouse_core::run::{LimitsRule, QuarantineReason, QuarantinedProblem};
    use tonic::Code;

    use super::*;
    use crate::report::fixture::Fixture;

    fn good() -> RunSpec {
        Arc::unwrap_or_clone(Fixture::sample().run.spec)
    }

    fn text(spec: &RunSpec) -> String {
        serde_json::to_string(spec).unwrap()
    }

    fn quarantine(positions: &[u32]) -> Quarantine {
        let problem = |position: &u32| QuarantinedProblem {
            position: *position,
            reason: QuarantineReason::Unknown,
        };
        Quarantine {
            sha256: Digest::of(b"q"),
            problems: positions.iter().map(problem).collect(),
        }
    }

    /// What is said of a run that was changed.
    fn refusal(change: impl FnOnce(&mut RunSpec)) -> String {
        let mut spec = good();
        let run = spec.run;
        change(&mut spec);
        let Err(error) = check(&spec, run) else {
            panic!("it is refused");
        };
        error.to_string()
    }

    #[test]
    fn run_that_is_as_it_should_be_is_read_and_passes() {
        let spec = good();
        let read = read(text(&spec).as_bytes()).unwrap();
        assert_eq!(read, spec);
        check(&read, spec.run).unwrap();
        let statements: BTreeSet<Digest> = spec.problems.iter().map(|problem| problem.statement).collect();
        assert!(blobs_of(&spec).is_superset(&statements));
    }

    #[test]
    fn run_with_every_setting_of_the_judge_passes_and_needs_its_checker() {
        let mut spec = good();
        let program = Digest::of(b"a checker");
        spec.evaluation.comparator = Comparator::Checker { program };
        let time = TimeRule::Problem {
            factor_per_mille: FACTOR_MAX,
        };
        let memory = MemoryRule::Problem { floor_bytes: 1 };
        spec.evaluation.limits_rule = LimitsRule { time, memory };
        spec.quarantine = Some(quarantine(&[2, 1]));
        let read = read(text(&spec).as_bytes()).unwrap();
        assert_eq!(read, spec);
        check(&read, spec.run).unwrap();
        assert!(blobs_of(&spec).contains(&program) && !blobs_of(&good()).contains(&program));
    }

    #[test]
    fn run_of_an_older_client_without_newer_fields_is_read() {
        let mut text = text(&good());
        for newer in [
            "\"lang\":\"zh\",",
            ",\"execution\":{\"start\":\"fast\",\"audit_per_mille\":10,\"reuse\":true}",
            ",\"limits_rule\":{\"time\":\"run\",\"memory\":\"run\"}",
            ",\"quarantine\":null",
        ] {
            assert!(text.contains(newer), "{newer} {text}");
            text = text.replacen(newer, "", 1);
        }
        assert_eq!(read(text.as_bytes()).unwrap(), good());
    }

    #[test]
    fn run_that_this_version_cannot_read_is_refused_by_the_field() {
        let good = text(&good());
        for (from, to, named) in [
            ("\"workers\":4", "\"workers\":\"four\"", "`workers\":\"four\"`"),
            ("\"workers\":4,", "", "missing field `workers`"),
            (
                "\"workers\":4",
                "\"workers\":4,\"budget\":{\"tokens\":1}",
                "`budget.tokens`",
            ),
            (
                "\"position\":1,",
                "\"position\":1,\"images\":[1],",
                "`problems[].images[]`",
            ),
            (
                "\"tester\":\"cases\"",
                "\"tester\":\"oracle\"",
                "unknown variant `oracle`",
            ),
        ] {
            assert!(good.contains(from), "{from}");
            let status = read(good.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition);
            let named = named.trim_matches('`');
            assert!(status.message().contains(named), "{to}: {}", status.message());
            assert!(status.message().contains("\nhint: "));
        }
        // A field that is there and says nothing asks for nothing.
        let says_nothing = good.replacen("\"workers\":4", "\"workers\":4,\"budget\":null", 1);
        assert!(read(says_nothing.as_bytes()).is_ok());
        assert!(read(b"").is_err() && read(b"[]").is_err() && read(&[0xff]).is_err());
    }

    #[test]
    fn run_that_could_not_be_stored_granted_or_written_is_refused_by_the_field() {
        type Change = fn(&mut RunSpec);
        let changes: [(&str, Change); 29] = [
            ("`run`", |spec| spec.run = RunId(uuid::Uuid::from_u128(1))),
            ("`problems`", |spec| spec.problems.clear()),
            ("`problems`", |spec| {
                spec.problems = vec![spec.problems[0].clone(); PROBLEMS_MAX + 1];
            }),
            ("`problems[1].position`", |spec| spec.problems[1].position = 1),
            ("`problems[1].position`", |spec| spec.problems[1].position = 0),
            ("`problems[0].name`", |spec| {
                spec.problems[0].name = "../x".to_owned();
            }),
            ("`problems[0].name`", |spec| {
                spec.problems[0].name = ".state".to_owned();
            }),
            ("`problems[0].name`", |spec| {
                spec.problems[0].name = "a/b".to_owned();
            }),
            ("`problems[0].name`", |spec| {
                spec.problems[0].name = "Summary.JSON".to_owned();
            }),
            ("`problems[1].name`", |spec| {
                spec.problems[1].name = spec.problems[0].name.to_uppercase();
            }),
            ("`problems[0].source_id`", |spec| {
                spec.problems[0].source_id = "x".repeat(5_000);
            }),
            ("`problems[0].tiers`", |spec| {
                spec.problems[0].tiers = vec![(Tier::Public, u32::MAX), (Tier::Private, u32::MAX)];
            }),
            ("`problems[0].tiers`", |spec| {
                spec.problems[0].tiers = vec![(Tier::Public, 1), (Tier::Public, 1)];
            }),
            ("`problems[0].tests`", |spec| spec.problems[0].tiers.clear()),
            ("`problems[0].entry_point`", |spec| {
                spec.problems[0].entry_point = Some("f()\nimport os".to_owned());
            }),
            ("`attempts_max`", |spec| spec.attempts_max = 0),
            ("`workers`", |spec| spec.workers = u32::MAX),
            ("`eval_workers`", |spec| spec.eval_workers = 1_000_000),
            ("`session.max_rounds`", |spec| spec.session.max_rounds = 0),
            ("`session.max_rounds`", |spec| spec.session.max_rounds = 65),
            ("`session.sampling.top_p`", |spec| {
                spec.session.sampling.top_p = 2.0;
            }),
            ("`session.model`", |spec| {
                spec.session.model = "a\u{1b}[2J".to_owned();
            }),
            ("`evaluation.tiers`", |spec| spec.evaluation.tiers.clear()),
            ("`evaluation.limits.cpu_ms`", |spec| {
                spec.evaluation.limits.cpu_ms = 0;
            }),
            ("`evaluation.execution.audit_per_mille`", |spec| {
                spec.evaluation.execution.audit_per_mille = 1_001;
            }),
            ("`evaluation.limits_rule.time.factor_per_mille`", |spec| {
                spec.evaluation.limits_rule.time = TimeRule::Problem { factor_per_mille: 0 };
            }),
            ("`evaluation.limits_rule.memory.floor_bytes`", |spec| {
                spec.evaluation.limits_rule.memory = MemoryRule::Problem { floor_bytes: 0 };
            }),
            ("`quarantine.problems[0].position`", |spec| {
                spec.quarantine = Some(quarantine(&[u32::MAX]));
            }),
            ("`quarantine.problems[1].position`", |spec| {
                spec.quarantine = Some(quarantine(&[1, 1]));
            }),
        ];
        for (field, change) in changes {
            let said = refusal(change);
            assert!(
                said.starts_with(&format!("field {field} of RunSpec: expected ")),
                "{said}"
            );
        }
    }
}
