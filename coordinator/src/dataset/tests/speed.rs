//! How long a data set of the size of CodeContests' test split takes.

use super::*;

/// 165 problems with 200 tests of about 1 KiB, as JSON Lines.
fn synthetic() -> String {
    let body: String = (0..180).map(|i| format!("{}\\n", i * 1_777 % 100_000)).collect();
    let test = |number: usize| format!("{number}\\n{body}");
    (0..165)
        .map(|problem| {
            let inputs: Vec<_> = (0..200).map(|i| format!("\"{}\"", test(problem * 200 + i))).collect();
            let outputs: Vec<_> = (0..200).map(|i| format!("\"{}\\n\"", i * problem)).collect();
            format!(
                "{{\"problem_id\":\"{problem}\",\"description\":\"d\",\"all_test_cases\":{{\"inputs\":[{}],\"outputs\":[{}]}}}}\n",
                inputs.join(","),
                outputs.join(",")
            )
        })
        .collect()
}

#[test]
fn a_data_set_of_33_000_tests_is_loaded_whole() {
    let rows = synthetic();
    for (name, bytes) in [
        ("json lines", rows.clone().into_bytes()),
        ("zstd", zstd(rows.as_bytes())),
    ] {
        let file = Written::new(&bytes);
        let start = std::time::Instant::now();
        let loaded = load(&file.path()).unwrap();
        eprintln!("{name}: {} bytes in {:?}", bytes.len(), start.elapsed());
        let tests: usize = loaded
            .problems
            .iter()
            .map(|problem| problem.tests.cases.len())
            .sum();
        assert_eq!((loaded.problems.len(), tests), (165, 33_000));
    }
}
