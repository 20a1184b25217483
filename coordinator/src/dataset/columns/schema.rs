//! Where CodeContests' fields are among the columns of a parquet file.

use parquet::basic::Type as PhysicalType;
use parquet::schema::types::SchemaDescriptor;
use roundhouse_proto::Tier;

use super::super::Format;
use super::super::container::Origin;
use super::super::error::DatasetError;
use super::super::rows;

/// A leaf column: its place among all leaves.
pub(super) type Leaf = usize;

const TEXT: &[PhysicalType] = &[PhysicalType::BYTE_ARRAY];
const WHOLE: &[PhysicalType] = &[PhysicalType::INT32, PhysicalType::INT64];

/// Where the fields of a row are. Of a pair of lists either both are there or neither.
pub(super) struct Columns {
    pub(super) name: Leaf,
    pub(super) description: Leaf,
    /// Inputs and outputs, in the order of the tiers.
    pub(super) tests: Vec<(Tier, &'static str, Leaf, Leaf)>,
    pub(super) seconds: Option<Leaf>,
    pub(super) nanos: Option<Leaf>,
    pub(super) memory_limit: Option<Leaf>,
    /// Languages and texts.
    pub(super) solutions: Option<(Leaf, Leaf)>,
    /// Languages and texts.
    pub(super) incorrect_solutions: Option<(Leaf, Leaf)>,
}

impl Columns {
    pub(super) fn find(origin: Origin<'_>, schema: &SchemaDescriptor) -> Result<Self, DatasetError> {
        let fields = schema.root_schema().get_fields();
        match rows::recognise(|name| fields.iter().any(|field| field.name() == name)) {
            Some(Format::CodeContests) => {}
            Some(format @ (Format::HumanEval | Format::Mbpp)) => {
                return Err(DatasetError::FunctionTasks {
                    path: origin.path.to_owned(),
                    of: format.title(),
                });
            }
            // As JSON these formats are read.
            Some(Format::AllTestCases | Format::Apps) | None => {
                return Err(DatasetError::UnknownSchema {
                    path: origin.path.to_owned(),
                    fields: fields.iter().map(|field| field.name().to_owned()).collect(),
                });
            }
        }
        let search = Search { origin, schema };
        let mut tests = Vec::new();
        for (field, tier) in [
            ("public_tests", Tier::Public),
            ("private_tests", Tier::Private),
            ("generated_tests", Tier::Generated),
        ] {
            if let Some((inputs, outputs)) = search.lists(field, ("input", TEXT), "output")? {
                tests.push((tier, field, inputs, outputs));
            }
        }
        Ok(Self {
            name: search.text("name")?,
            description: search.text("description")?,
            tests,
            seconds: search.leaf("time_limit", Some("seconds"), 0, WHOLE)?,
            nanos: search.leaf("time_limit", Some("nanos"), 0, WHOLE)?,
            memory_limit: search.leaf("memory_limit_bytes", None, 0, WHOLE)?,
            solutions: search.lists("solutions", ("language", WHOLE), "solution")?,
            incorrect_solutions: search.lists("incorrect_solutions", ("language", WHOLE), "solution")?,
        })
    }

    /// Every column that is read.
    pub(super) fn all(&self) -> impl Iterator<Item = Leaf> {
        let scalars = [self.seconds, self.nanos, self.memory_limit]
            .into_iter()
            .flatten();
        let tests = self
            .tests
            .iter()
            .flat_map(|(_, _, inputs, outputs)| [*inputs, *outputs]);
        let programs = [self.solutions, self.incorrect_solutions].into_iter().flatten();
        [self.name, self.description]
            .into_iter()
            .chain(scalars)
            .chain(tests)
            .chain(programs.flat_map(<[Leaf; 2]>::from))
    }
}

struct Search<'a> {
    origin: Origin<'a>,
    schema: &'a SchemaDescriptor,
}

impl Search<'_> {
    /// The leaf under `field`, and under `part` if the field has parts; the names of what is between them differ
    /// between writers.
    fn leaf(
        &self,
        field: &str,
        part: Option<&str>,
        lists: i16,
        types: &[PhysicalType],
    ) -> Result<Option<Leaf>, DatasetError> {
        let Some(leaf) = self.schema.columns().iter().position(|column| {
            let mut parts = column.path().parts().iter();
            parts.next().is_some_and(|first| first == field)
                && part.is_none_or(|part| parts.any(|name| name == part))
        }) else {
            return Ok(None);
        };
        let column = &self.schema.columns()[leaf];
        if column.max_rep_level() == lists && types.contains(&column.physical_type()) {
            return Ok(Some(leaf));
        }
        Err(DatasetError::Column {
            path: self.origin.path.to_owned(),
            column: column.path().string(),
            expected: match (types == TEXT, lists) {
                (true, 0) => "a text",
                (true, _) => "a list of texts",
                (false, 0) => "a whole number",
                (false, _) => "a list of whole numbers",
            },
            found: format!(
                "{} within {} lists",
                column.physical_type(),
                column.max_rep_level()
            ),
        })
    }

    fn text(&self, field: &str) -> Result<Leaf, DatasetError> {
        self.leaf(field, None, 0, TEXT)?
            .ok_or_else(|| self.missing(field.to_owned(), "a text"))
    }

    /// Two lists of a field; the second one has texts.
    fn lists(
        &self,
        field: &str,
        (left, types): (&str, &[PhysicalType]),
        right: &str,
    ) -> Result<Option<(Leaf, Leaf)>, DatasetError> {
        let fields = self.schema.root_schema().get_fields();
        if !fields.iter().any(|column| column.name() == field) {
            return Ok(None);
        }
        let missing = |part| self.missing(format!("{field}.{part}"), "a list");
        let left = self
            .leaf(field, Some(left), 1, types)?
            .ok_or_else(|| missing(left))?;
        let right = self
            .leaf(field, Some(right), 1, TEXT)?
            .ok_or_else(|| missing(right))?;
        Ok(Some((left, right)))
    }

    fn missing(&self, column: String, expected: &'static str) -> DatasetError {
        let found = "no such column".to_owned();
        DatasetError::Column {
            path: self.origin.path.to_owned(),
            column,
            expected,
            found,
        }
    }
}
