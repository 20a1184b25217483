//! Public data sets, where a directory of them is named by `ROUNDHOUSE_SHARED`.

use super::*;

fn real(name: &str) -> Option<PathBuf> {
    let Some(shared) = std::env::var_os("ROUNDHOUSE_SHARED") else {
        eprintln!("LEFT OUT: {name} is not read, since ROUNDHOUSE_SHARED is not set");
        return None;
    };
    Some(PathBuf::from(shared).join("data").join(name))
}

fn tests(problems: &[Problem], tier: Tier) -> usize {
    problems
        .iter()
        .flat_map(|problem| &problem.tests.cases)
        .filter(|case| case.tier == tier)
        .count()
}

#[test]
fn parquet_and_json_lines_of_the_test_split_give_equal_problems() {
    let (Some(parquet), Some(json)) = (
        real("code_contests/test.parquet"),
        real("code_contests/test.jsonl"),
    ) else {
        return;
    };
    let (parquet, json) = (load(&parquet).unwrap(), load(&json).unwrap());
    assert_eq!(parquet.problems, json.problems);
    assert_eq!((parquet.problems.len(), parquet.warnings.len()), (16, 0));
    assert_eq!(tests(&parquet.problems, Tier::Public), 30);
    assert_eq!(tests(&parquet.problems, Tier::Private), 0);
    assert_eq!(tests(&parquet.problems, Tier::Generated), 2_952);
    assert_eq!(parquet.problems[4].time_limit_ms, Some(2_500));
    assert_eq!(parquet.problems[0].solutions.len(), 4);
}

#[test]
fn parquet_and_json_lines_of_the_training_split_give_equal_problems() {
    let (Some(parquet), Some(json)) = (
        real("code_contests/train_human.parquet"),
        real("code_contests/train_human.jsonl"),
    ) else {
        return;
    };
    let (parquet, json) = (load(&parquet).unwrap(), load(&json).unwrap());
    assert_eq!(parquet.problems, json.problems);
    assert_eq!(parquet.problems.len(), 150);
    assert!(
        parquet
            .problems
            .iter()
            .all(|problem| problem.time_limit_ms.is_none())
    );
    assert_eq!(
        parquet
            .problems
            .iter()
            .map(|problem| problem.solutions.len())
            .sum::<usize>(),
        150
    );
}

#[test]
fn apps_problems_have_two_tiers() {
    let Some(path) = real("apps/problems.jsonl") else {
        return;
    };
    let apps = load(&path).unwrap();
    assert_eq!((apps.info.format, apps.problems.len()), (Format::Apps, 25));
    assert_eq!(
        (
            tests(&apps.problems, Tier::Public),
            tests(&apps.problems, Tier::Private)
        ),
        (50, 289)
    );
    assert_eq!(
        apps.problems[0].tests.cases[0],
        case(Tier::Public, "1 1\n.\n", "1\n")
    );
}

#[test]
fn human_eval_is_read_with_one_hidden_case_and_one_program_each() {
    let Some(path) = real("humaneval/HumanEval.jsonl") else {
        return;
    };
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(
        (loaded.info.format, loaded.problems.len()),
        (Format::HumanEval, 164)
    );
    assert_eq!(tests(&loaded.problems, Tier::Private), 164);
    for problem in &loaded.problems {
        assert_eq!(problem.tests.cases.len(), 1, "{}", problem.source_id);
        assert_eq!(problem.solutions.len(), 1, "{}", problem.source_id);
        let entry_point = problem.entry_point.as_deref().unwrap();
        let signature = format!("def {entry_point}(");
        assert!(problem.statement.contains(&signature), "{}", problem.source_id);
        assert!(problem.solutions[0].source.starts_with(&problem.statement));
    }
}

/// Damage in real pages, which are larger and of more kinds than those the other tests write.
#[test]
fn no_damaged_public_parquet_file_panics() {
    let Some(path) = real("code_contests/test.parquet") else {
        return;
    };
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = 0;
    for round in 0..60 {
        let mut bytes = whole.clone();
        let place = 4 + round * (bytes.len() - 8) / 60;
        bytes[place] ^= 0xff;
        let end = bytes.len() - 8 - round * 37;
        bytes[end] ^= 1 << (round % 8);
        damaged += usize::from(container::read(&path, &bytes.into(), Bounds::DEFAULT).is_err());
    }
    assert!(damaged > 30, "only {damaged} of 60 damaged files were noticed");
}
