//! Problems, test sets and reference material to the wire and back.

use super::bounds::{CASES_MAX, PROGRAMS_MAX};
use super::fields::{number_of, same_words};
use super::{BLOB_VERSION, Fields, WireError, v1};
use crate::problem::{Case, Problem, Program, ReferenceMaterial, TestSet, Tier};

same_words!(Tier {
    Public,
    Private,
    Generated
});

fn all<D, W: From<D>>(list: Vec<D>) -> Vec<W> {
    list.into_iter().map(W::from).collect()
}

impl From<Case> for v1::Case {
    fn from(case: Case) -> Self {
        Self {
            tier: number_of::<_, v1::Tier>(case.tier),
            input: case.input,
            expected: case.expected,
        }
    }
}

impl TryFrom<v1::Case> for Case {
    type Error = WireError;
    fn try_from(case: v1::Case) -> Result<Self, WireError> {
        Ok(Self {
            tier: Fields::of("Case").choice::<v1::Tier, _>("tier", case.tier)?,
            input: case.input,
            expected: case.expected,
        })
    }
}

impl From<TestSet> for v1::TestSet {
    fn from(tests: TestSet) -> Self {
        Self {
            version: BLOB_VERSION,
            cases: all(tests.cases),
        }
    }
}

impl TryFrom<v1::TestSet> for TestSet {
    type Error = WireError;
    fn try_from(tests: v1::TestSet) -> Result<Self, WireError> {
        let fields = Fields::of("TestSet");
        fields.version(tests.version, BLOB_VERSION)?;
        Ok(Self {
            cases: fields.each("cases", tests.cases, CASES_MAX)?,
        })
    }
}

impl From<ReferenceMaterial> for v1::ReferenceMaterial {
    fn from(material: ReferenceMaterial) -> Self {
        Self {
            version: BLOB_VERSION,
            program: material.program,
            cases: all(material.cases),
        }
    }
}

impl TryFrom<v1::ReferenceMaterial> for ReferenceMaterial {
    type Error = WireError;
    fn try_from(material: v1::ReferenceMaterial) -> Result<Self, WireError> {
        let fields = Fields::of("ReferenceMaterial");
        fields.version(material.version, BLOB_VERSION)?;
        Ok(Self {
            program: material
                .program
                .map(|text| fields.text("program", text))
                .transpose()?,
            cases: fields.each("cases", material.cases, CASES_MAX)?,
        })
    }
}

impl From<Program> for v1::Program {
    fn from(program: Program) -> Self {
        Self {
            index: program.index.into(),
            language: number_of::<_, v1::Language>(program.language),
            source: program.source,
        }
    }
}

impl TryFrom<v1::Program> for Program {
    type Error = WireError;
    fn try_from(program: v1::Program) -> Result<Self, WireError> {
        let fields = Fields::of("Program");
        Ok(Self {
            index: fields.number("index", program.index)?,
            language: fields.choice::<v1::Language, _>("language", program.language)?,
            source: fields.text("source", program.source)?,
        })
    }
}

impl From<Problem> for v1::Problem {
    fn from(problem: Problem) -> Self {
        Self {
            position: problem.position.into(),
            source_id: problem.source_id,
            statement: problem.statement,
            tests: Some(problem.tests.into()),
            time_limit_ms: problem.time_limit_ms,
            memory_limit_bytes: problem.memory_limit_bytes,
            solutions: all(problem.solutions),
            incorrect_solutions: all(problem.incorrect_solutions),
            entry_point: problem.entry_point,
        }
    }
}

impl TryFrom<v1::Problem> for Problem {
    type Error = WireError;
    fn try_from(problem: v1::Problem) -> Result<Self, WireError> {
        let fields = Fields::of("Problem");
        Ok(Self {
            position: fields.number_from_1("position", problem.position)?,
            source_id: fields.name("source_id", problem.source_id)?,
            statement: fields.text("statement", problem.statement)?,
            tests: fields.required("tests", problem.tests)?,
            time_limit_ms: problem.time_limit_ms,
            memory_limit_bytes: problem.memory_limit_bytes,
            solutions: fields.each("solutions", problem.solutions, PROGRAMS_MAX)?,
            incorrect_solutions: fields.each(
                "incorrect_solutions",
                problem.incorrect_solutions,
                PROGRAMS_MAX,
            )?,
            entry_point: fields.optional_name("entry_point", problem.entry_point)?,
        })
    }
}
