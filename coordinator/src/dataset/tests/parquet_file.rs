//! Facts about parquet files, written by the test with the schema of the public ones.

use std::sync::Arc;

use parquet::basic::{Compression as PageCompression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::*;

const SCHEMA: &str = "message schema {
    OPTIONAL BYTE_ARRAY name (UTF8);
    OPTIONAL BYTE_ARRAY description (UTF8);
    OPTIONAL group public_tests {
        OPTIONAL group input (LIST) { REPEATED group list { OPTIONAL BYTE_ARRAY element (UTF8); } }
        OPTIONAL group output (LIST) { REPEATED group list { OPTIONAL BYTE_ARRAY element (UTF8); } }
    }
    OPTIONAL group generated_tests {
        OPTIONAL group input (LIST) { REPEATED group list { OPTIONAL BYTE_ARRAY item (UTF8); } }
        OPTIONAL group output (LIST) { REPEATED group list { OPTIONAL BYTE_ARRAY item (UTF8); } }
    }
    OPTIONAL INT64 source;
    OPTIONAL group solutions {
        OPTIONAL group language (LIST) { REPEATED group list { OPTIONAL INT64 element; } }
        OPTIONAL group solution (LIST) { REPEATED group list { OPTIONAL BYTE_ARRAY element (UTF8); } }
    }
    OPTIONAL group incorrect_solutions {
        OPTIONAL group language (LIST) { REPEATED group list { OPTIONAL INT64 element; } }
        OPTIONAL group solution (LIST) { REPEATED group list { OPTIONAL BYTE_ARRAY element (UTF8); } }
    }
    OPTIONAL group time_limit { OPTIONAL INT64 seconds; OPTIONAL INT64 nanos; }
    OPTIONAL INT64 memory_limit_bytes;
}";

type List<T> = Vec<Option<T>>;

/// A row as it is written; `None` is null.
#[derive(Clone, Default)]
struct TestRow {
    name: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
    public_tests: (List<Vec<u8>>, List<Vec<u8>>),
    generated_tests: (List<Vec<u8>>, List<Vec<u8>>),
    solutions: (List<i64>, List<Vec<u8>>),
    incorrect_solutions: (List<i64>, List<Vec<u8>>),
    time_limit: Option<(i64, i64)>,
    memory_limit_bytes: i64,
}

fn texts(texts: &[&str]) -> List<Vec<u8>> {
    texts.iter().map(|text| Some(text.as_bytes().to_vec())).collect()
}

fn row() -> TestRow {
    TestRow {
        name: Some("1_A. Añadir".into()),
        description: Some("Add.".into()),
        public_tests: (texts(&["1 2\n"]), texts(&["3\n"])),
        generated_tests: (texts(&["5 6", "\n"]), texts(&["11", ""])),
        solutions: (
            vec![Some(2), Some(3), Some(4), Some(3)],
            texts(&["int main(){}", "print(3)", "class A{}", "print(4)"]),
        ),
        incorrect_solutions: (vec![Some(1), Some(3)], texts(&["print 1", "print(0)"])),
        time_limit: Some((2, 500_000_000)),
        memory_limit_bytes: 256_000_000,
    }
}

fn named(name: &str) -> TestRow {
    TestRow {
        name: Some(name.into()),
        ..row()
    }
}

fn write_scalars<T: parquet::data_type::DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[Option<T::T>],
    levels: (i16, i16),
) {
    let mut column = group.next_column().unwrap().unwrap();
    let present: Vec<T::T> = values.iter().flatten().cloned().collect();
    let defined: Vec<i16> = values
        .iter()
        .map(|value| if value.is_some() { levels.1 } else { levels.0 })
        .collect();
    column
        .typed::<T>()
        .write_batch(&present, Some(&defined), None)
        .unwrap();
    column.close().unwrap();
}

/// Lists below one optional group: 2 is an empty list, 3 a null in a list, 4 a value.
fn write_lists<T: parquet::data_type::DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    rows: &[List<T::T>],
) {
    let mut column = group.next_column().unwrap().unwrap();
    let (mut present, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        if row.is_empty() {
            defined.push(2);
            repeated.push(0);
        }
        for (place, value) in row.iter().enumerate() {
            defined.push(if value.is_some() { 4 } else { 3 });
            repeated.push(i16::from(place > 0));
            present.extend(value.clone());
        }
    }
    column
        .typed::<T>()
        .write_batch(&present, Some(&defined), Some(&repeated))
        .unwrap();
    column.close().unwrap();
}

fn arrays(list: &[Option<Vec<u8>>]) -> List<ByteArray> {
    list.iter()
        .map(|text| text.clone().map(ByteArray::from))
        .collect()
}

fn write(groups: &[&[TestRow]], properties: WriterProperties) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for rows in groups {
        let mut group = writer.next_row_group().unwrap();
        let bytes = |of: fn(&TestRow) -> &Option<Vec<u8>>| -> List<ByteArray> {
            rows.iter()
                .map(|row| of(row).clone().map(ByteArray::from))
                .collect()
        };
        write_scalars::<ByteArrayType>(&mut group, &bytes(|row| &row.name), (0, 1));
        write_scalars::<ByteArrayType>(&mut group, &bytes(|row| &row.description), (0, 1));
        let lists = |of: fn(&TestRow) -> &List<Vec<u8>>| -> Vec<List<ByteArray>> {
            rows.iter().map(|row| arrays(of(row))).collect()
        };
        let numbers = |of: fn(&TestRow) -> &List<i64>| -> Vec<List<i64>> {
            rows.iter().map(|row| of(row).clone()).collect()
        };
        write_lists::<ByteArrayType>(&mut group, &lists(|row| &row.public_tests.0));
        write_lists::<ByteArrayType>(&mut group, &lists(|row| &row.public_tests.1));
        write_lists::<ByteArrayType>(&mut group, &lists(|row| &row.generated_tests.0));
        write_lists::<ByteArrayType>(&mut group, &lists(|row| &row.generated_tests.1));
        write_scalars::<Int64Type>(&mut group, &vec![Some(2); rows.len()], (0, 1));
        write_lists::<Int64Type>(&mut group, &numbers(|row| &row.solutions.0));
        write_lists::<ByteArrayType>(&mut group, &lists(|row| &row.solutions.1));
        write_lists::<Int64Type>(&mut group, &numbers(|row| &row.incorrect_solutions.0));
        write_lists::<ByteArrayType>(&mut group, &lists(|row| &row.incorrect_solutions.1));
        let seconds: List<i64> = rows
            .iter()
            .map(|row| row.time_limit.map(|limit| limit.0))
            .collect();
        let nanos: List<i64> = rows
            .iter()
            .map(|row| row.time_limit.map(|limit| limit.1))
            .collect();
        write_scalars::<Int64Type>(&mut group, &seconds, (0, 2));
        write_scalars::<Int64Type>(&mut group, &nanos, (0, 2));
        let memory: List<i64> = rows.iter().map(|row| Some(row.memory_limit_bytes)).collect();
        write_scalars::<Int64Type>(&mut group, &memory, (0, 1));
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn file(rows: &[TestRow]) -> Vec<u8> {
    write(
        &[rows],
        WriterProperties::builder()
            .set_compression(PageCompression::SNAPPY)
            .build(),
    )
}

#[test]
fn parquet_row_gives_the_same_problem_as_its_json() {
    let bytes = file(&[row()]);
    assert_eq!(
        loaded(&bytes).unwrap(),
        Loaded {
            problems: vec![code_contests()],
            warnings: vec![],
            info: Info {
                format: Format::CodeContests,
                container: Container::Parquet,
                compression: Compression::None,
                sha256: Digest::of(&bytes),
                bytes: bytes.len() as u64,
                rows: 1,
            },
        }
    );
    assert_eq!(loaded(&zstd(&bytes)).unwrap().problems, vec![code_contests()]);
}

#[test]
fn row_groups_pages_encodings_and_compressions_make_no_difference() {
    let rows: Vec<TestRow> = (0..700)
        .map(|i| TestRow {
            time_limit: (i % 3 > 0).then_some((i % 3, 0)),
            generated_tests: (
                texts(&["x\n"; 7][..(i % 8) as usize]),
                texts(&["y"; 7][..(i % 8) as usize]),
            ),
            ..named(&format!("{i}"))
        })
        .collect();
    let expected: Vec<Problem> = (0..700u32)
        .map(|i| Problem {
            position: i + 1,
            source_id: i.to_string(),
            time_limit_ms: (i % 3 > 0).then_some(u64::from(i % 3) * 1_000),
            tests: TestSet {
                cases: std::iter::once(case(Tier::Public, "1 2\n", "3\n"))
                    .chain((0..i % 8).map(|_| case(Tier::Generated, "x\n", "y")))
                    .collect(),
            },
            ..code_contests()
        })
        .collect();
    for compression in [
        PageCompression::UNCOMPRESSED,
        PageCompression::SNAPPY,
        PageCompression::ZSTD(ZstdLevel::default()),
        PageCompression::GZIP(Default::default()),
    ] {
        for (version, dictionary) in [
            (WriterVersion::PARQUET_1_0, true),
            (WriterVersion::PARQUET_1_0, false),
            (WriterVersion::PARQUET_2_0, false),
        ] {
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_writer_version(version)
                .set_dictionary_enabled(dictionary)
                .set_data_page_row_count_limit(50)
                .set_write_batch_size(10)
                .build();
            let bytes = write(&[&rows[..100], &[], &rows[100..101], &rows[101..]], properties);
            assert_eq!(loaded(&bytes).unwrap().problems, expected);
        }
    }
}

#[test]
fn a_parquet_row_that_cannot_be_used_is_named_with_its_row_and_field() {
    let bad = |change: fn(&mut TestRow)| {
        let mut bad = named("bad");
        change(&mut bad);
        failure(&write(
            &[&[named("a")], &[named("b"), bad]],
            WriterProperties::builder().build(),
        ))
    };
    for (text, expected) in [
        (
            bad(|row| row.name = Some("a".into())),
            "its id `a` is that of row 1 too",
        ),
        (bad(|row| row.name = None), "field `name` is missing"),
        (
            bad(|row| row.name = Some("".into())),
            "field `name`: expected a text that is not empty, found an empty text",
        ),
        (
            bad(|row| row.description = None),
            "field `description` is missing",
        ),
        (
            bad(|row| row.description = Some(b"ab\xff".to_vec())),
            "field `description`: byte 2 of the field is not UTF-8",
        ),
        (
            bad(|row| row.generated_tests.1[1] = Some(b"\xc3".to_vec())),
            "field `generated_tests.output[1]`: byte 0 of the field is not UTF-8",
        ),
        (
            bad(|row| row.public_tests.1.clear()),
            "field `public_tests`: 1 inputs but 0 outputs",
        ),
        (
            bad(|row| row.public_tests.0[0] = None),
            "field `public_tests.input.list.element`: expected a list without gaps, found null in it",
        ),
        (
            bad(|row| row.solutions.0.truncate(3)),
            "field `solutions`: 3 languages but 4 solutions",
        ),
        (
            bad(|row| row.time_limit = Some((1, -1))),
            "field `time_limit`: expected seconds of at least 0 and nanoseconds below 1,000,000,000, found 1 s and -1 ns",
        ),
    ] {
        assert_eq!(text, format!("read problems from `FILE`, row 3: {expected}"));
    }
}

#[test]
fn a_parquet_file_with_other_columns_names_them() {
    let write = |schema: &str| {
        let schema = Arc::new(parse_message_type(schema).unwrap());
        SerializedFileWriter::new(Vec::new(), schema, Arc::default())
            .unwrap()
            .into_inner()
            .unwrap()
    };
    let text = failure(&write("message m { REQUIRED BYTE_ARRAY id; REQUIRED INT64 n; }"));
    assert!(
        text.starts_with("`FILE` has rows of an unknown schema, with the fields `id`, `n`; known are"),
        "{text}"
    );
    assert_eq!(
        failure(&write(
            "message m { REQUIRED BYTE_ARRAY prompt; REQUIRED BYTE_ARRAY entry_point; }"
        )),
        "`FILE` holds function tasks of HumanEval in a form that is not supported: those of HumanEval and MBPP are read \
         as JSON or JSON Lines"
    );
    assert_eq!(
        failure(&write(
            "message m { REQUIRED BYTE_ARRAY name; REQUIRED INT64 description; REQUIRED group public_tests {
             REPEATED BYTE_ARRAY input; REPEATED BYTE_ARRAY output; } }"
        )),
        "`FILE`, column `description`: expected a text, found INT64 within 0 lists"
    );
    assert_eq!(
        failure(&write(
            "message m { REQUIRED BYTE_ARRAY name; REQUIRED BYTE_ARRAY description; REQUIRED group public_tests {
             REPEATED BYTE_ARRAY input; } }"
        )),
        "`FILE`, column `public_tests.output`: expected a list, found no such column"
    );
    assert_eq!(
        failure(&write(
            "message m { REQUIRED BYTE_ARRAY name; REQUIRED BYTE_ARRAY description; REQUIRED group public_tests {
             REPEATED BYTE_ARRAY input; REPEATED BYTE_ARRAY output; } }"
        )),
        "`FILE` has no rows"
    );
}

#[test]
fn a_parquet_file_beyond_the_bounds_is_refused_before_its_pages_are_read() {
    let bytes = file(&[named("a"), named("b")]);
    let bounds = Bounds::DEFAULT;
    assert_eq!(
        failure_within(
            &bytes,
            Bounds {
                values_max: 20,
                ..bounds
            }
        ),
        format!(
            "`FILE` unpacks to more than {} bytes: it is damaged, or made to exhaust memory",
            bounds.decoded_bytes_max
        )
    );
    assert_eq!(
        failure_within(
            &bytes,
            Bounds {
                decoded_bytes_max: 300,
                ..bounds
            }
        ),
        "`FILE` unpacks to more than 300 bytes: it is damaged, or made to exhaust memory"
    );
    assert_eq!(
        failure_within(
            &bytes,
            Bounds {
                rows_max: 1,
                ..bounds
            }
        ),
        "`FILE` has more than 1 rows"
    );
}

#[test]
fn a_parquet_file_cut_anywhere_is_truncated() {
    let bytes = file(&[row()]);
    for length in (4..bytes.len()).step_by(7) {
        assert_eq!(
            failure(&bytes[..length]),
            "`FILE` is truncated: a parquet file ends with `PAR1` and this one does not"
        );
    }
}

/// Small files of every kind that writers make: compressed or not, with a dictionary or not, of both versions.
pub(super) fn small_files() -> Vec<Vec<u8>> {
    let rows: Vec<TestRow> = (0..3).map(|i| named(&i.to_string())).collect();
    let properties = [
        WriterProperties::builder().set_compression(PageCompression::SNAPPY),
        WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Page),
        WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(PageCompression::ZSTD(ZstdLevel::default())),
        WriterProperties::builder().set_compression(PageCompression::GZIP(Default::default())),
        WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(PageCompression::LZ4_RAW),
    ];
    let written = properties.map(|properties| write(&[&rows[..1], &rows[1..]], properties.build()));
    written.into()
}

/// The file with another footer: its last eight bytes say how long the footer is.
fn with_footer(file: &[u8], change: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (body, end) = file.split_at(file.len() - 8);
    let length = u32::from_le_bytes(end[..4].try_into().unwrap()) as usize;
    let (body, footer) = body.split_at(body.len() - length);
    let footer = change(footer);
    let length = (footer.len() as u32).to_le_bytes();
    [body, &footer, &length, b"PAR1"].concat()
}

/// In a schema a group says how many of the following columns and groups are its own: field 5 after field 4, its name.
fn with_children(file: &[u8], name: &str, children: &[u8]) -> Vec<u8> {
    with_footer(file, |footer| {
        let field = [&[0x18, name.len() as u8], name.as_bytes(), &[0x15]].concat();
        let at = footer
            .windows(field.len())
            .position(|bytes| bytes == field)
            .unwrap()
            + field.len();
        [&footer[..at], children, &footer[at + 1..]].concat()
    })
}

#[test]
fn a_schema_that_promises_more_columns_than_it_has_is_damage_and_takes_no_memory_for_them() {
    let whole = file(&[row()]);
    assert_eq!(
        loaded(&with_children(&whole, "public_tests", &[0x04]))
            .unwrap()
            .problems,
        vec![code_contests()]
    );
    let many = "a group of its schema has more columns than follow";
    // Two thousand million, and one more than there are in the whole file.
    for (children, why) in [(&[0xfe, 0xff, 0xff, 0xff, 0x0f][..], many), (&[0x48], many)] {
        assert_eq!(
            failure(&with_children(&whole, "public_tests", children)),
            format!("`FILE` is damaged: its metadata cannot be read ({why})")
        );
    }
    for children in [0x00, 0x01, 0x02, 0x06, 0x40] {
        let text = failure(&with_children(&whole, "public_tests", &[children]));
        assert!(text.contains("`FILE`"), "{text}");
    }
}

/// A page's header begins with field 1, its kind, and field 2, its size once decompressed.
#[test]
fn a_page_that_says_it_is_larger_than_the_bound_is_refused_before_there_is_room_for_it() {
    let whole = file(&[row()]);
    let start = [0x15, 0x00, 0x15];
    let at = whole.windows(3).position(|bytes| bytes == start).unwrap() + start.len();
    let bounds = Bounds {
        decoded_bytes_max: 1 << 20,
        ..Bounds::DEFAULT
    };
    assert_eq!(
        load_within(&Written::new(&whole).path(), bounds)
            .unwrap()
            .problems,
        vec![code_contests()]
    );
    // The decoder reads the number whatever kind its field is said to have.
    for kind in [0x15, 0x16, 0x18] {
        let larger = [
            &whole[..at - 1],
            &[kind, 0xfe, 0xff, 0xff, 0xff, 0x0f],
            &whole[at + 1..],
        ]
        .concat();
        assert_eq!(
            failure_within(&larger, bounds),
            "`FILE` unpacks to more than 1048576 bytes: it is damaged, or made to exhaust memory"
        );
    }
}

#[test]
fn a_schema_of_groups_without_end_is_damage_and_no_crash() {
    // A file's metadata: field 1, a version, and field 2, a list of so many elements. Each has field 4, its name, and
    // field 5, one child; field 3 says that it is there once, and of the last one field 1 that it is text.
    let of_depth = |depth: usize| {
        let count = u32::try_from(depth + 1).unwrap();
        let count = [count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8];
        let group = [0x35, 0, 0x18, 1, b'g', 0x15, 2, 0];
        let column = [0x15, 0x0c, 0x25, 0, 0x18, 1, b'c', 0];
        let start = [&[0x15, 2, 0x19, 0xfc][..], &count].concat();
        let footer = [
            start,
            group.repeat(depth),
            column.to_vec(),
            vec![0x16, 0, 0x19, 0x0c, 0],
        ]
        .concat();
        with_footer(&file(&[row()]), |_| footer)
    };
    let shallow = failure(&of_depth(5));
    assert!(
        shallow.starts_with("`FILE` has rows of an unknown schema, with the fields `g`"),
        "{shallow}"
    );
    assert_eq!(
        failure(&of_depth(200_000)),
        "`FILE` is damaged: its metadata cannot be read (groups of its schema lie too deep in one another)"
    );
}

#[test]
fn a_panic_while_reading_is_damage_and_the_next_file_is_read() {
    assert_eq!(
        columns::catch_panic(|| std::hint::black_box(Vec::<u8>::new())[1]),
        None
    );
    assert_eq!(columns::catch_panic(|| 7), Some(7));
}
