//! How people name a run: by its id, the beginning of it, its directory, or `last`.

use std::fmt::Write as _;

use roundhouse_proto::RunId;

use super::seen::SeenRun;
use super::{Client, RUNS_MAX};
use crate::report::line::{NAME_CHARS_MAX, one_line};

/// The name of the newest run.
pub const LAST: &str = "last";
/// Characters of an id that at least are asked for: fewer are too easily those of another run some day.
const PREFIX_CHARS_MIN: usize = 4;
/// Characters of an id that are printed at least.
const SHORT_CHARS_MIN: usize = 8;
/// Characters of a whole id.
const ID_CHARS: usize = 36;
/// Runs that are listed where a name fits several.
const LISTED_MAX: usize = 10;

/// Why no run is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// None is called that.
    #[error(
        "no run `{asked}` is known{}\nhint: `coordinator status` lists the runs; one is named by its id, the first \
         {PREFIX_CHARS_MIN} or more characters of it, its directory, or `{LAST}`",
        older(*more)
    )]
    None {
        /// What was asked for.
        asked: String,
        /// Whether there are runs that were not looked at.
        more: bool,
    },
    /// Several are.
    #[error("`{asked}` fits {n} runs: name one by more of its id{listed}")]
    Several {
        /// What was asked for.
        asked: String,
        /// How many.
        n: usize,
        /// The first of them, a line each.
        listed: String,
    },
}

fn older(more: bool) -> String {
    if more {
        format!(" among the newest {RUNS_MAX}")
    } else {
        String::new()
    }
}

/// The run that is meant.
///
/// # Errors
/// None or several are, or the coordinator does not answer.
pub async fn find(client: &Client, asked: &str) -> anyhow::Result<SeenRun> {
    if let Ok(id) = asked.parse::<RunId>()
        && let Some(run) = client.run(id).await?
    {
        return Ok(run);
    }
    let (runs, more) = client.runs().await?;
    Ok(pick(asked, &runs, more)?.clone())
}

/// The run among these, newest first, that is meant.
///
/// # Errors
/// None or several are.
pub fn pick<'a>(asked: &str, runs: &'a [SeenRun], more: bool) -> Result<&'a SeenRun, FindError> {
    let none = || FindError::None {
        asked: one_line(asked, NAME_CHARS_MAX),
        more,
    };
    if asked == LAST {
        return runs.first().ok_or_else(none);
    }
    let mut found = by_id(asked, runs);
    if found.is_empty() {
        found = by_dir(asked, runs);
    }
    match found[..] {
        [] => Err(none()),
        [run] => Ok(run),
        _ => {
            let mut listed = String::new();
            for run in found.iter().take(LISTED_MAX) {
                // Writing to a String cannot fail.
                let _ = write!(listed, "\n  {} {} {}", run.run, run.started, run.dir);
            }
            Err(FindError::Several {
                asked: one_line(asked, NAME_CHARS_MAX),
                n: found.len(),
                listed,
            })
        }
    }
}

fn by_id<'a>(asked: &str, runs: &'a [SeenRun]) -> Vec<&'a SeenRun> {
    let asked = asked.to_ascii_lowercase();
    if asked.len() < PREFIX_CHARS_MIN {
        return Vec::new();
    }
    let fits = |run: &&SeenRun| {
        let id = run.run.to_string();
        id.starts_with(&asked) || id.replace('-', "").starts_with(&asked)
    };
    runs.iter().filter(fits).collect()
}

/// Those whose directory has the name that the path ends in; of several, those that share most of the path.
fn by_dir<'a>(asked: &str, runs: &'a [SeenRun]) -> Vec<&'a SeenRun> {
    let shared = |run: &SeenRun| {
        let parts = |path: &str| -> Vec<String> {
            path.split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .map(str::to_owned)
                .collect()
        };
        let (asked, dir) = (parts(asked), parts(&run.dir));
        let same = asked.iter().rev().zip(dir.iter().rev());
        same.take_while(|(a, b)| a == b).count()
    };
    let most = runs.iter().map(shared).max().unwrap_or(0);
    runs.iter()
        .filter(|run| most > 0 && shared(run) == most)
        .collect()
}

/// How many characters of the ids tell these runs apart, at least 8.
pub fn short_chars(runs: &[SeenRun]) -> usize {
    let mut ids: Vec<String> = runs.iter().map(|run| run.run.to_string()).collect();
    ids.sort();
    ids.dedup();
    let shared = |a: &String, b: &String| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let chars = ids.windows(2).map(|pair| shared(&pair[0], &pair[1]) + 1).max();
    let chars = chars.unwrap_or(0).max(SHORT_CHARS_MIN);
    // Not with a hyphen at the end.
    let ends_in_hyphen = |chars: &usize| ids.iter().any(|id| id.as_bytes().get(chars - 1) == Some(&b'-'));
    (chars..ID_CHARS)
        .find(|chars| !ends_in_hyphen(chars))
        .unwrap_or(ID_CHARS)
}

/// The first characters of a run's id.
pub fn short(run: RunId, chars: usize) -> String {
    run.to_string().chars().take(chars).collect()
}

/// The first characters of a run's id where no other is about.
pub fn brief(run: RunId) -> String {
    short(run, SHORT_CHARS_MIN)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;
    use crate::client::fake::status;

    fn run(id: u128, dir: &str) -> SeenRun {
        let mut run = status(id);
        run.dir = dir.to_owned();
        run.try_into().unwrap()
    }

    fn runs() -> Vec<SeenRun> {
        vec![
            run(0x1111_2222_0000 << 80, "out/a/run_20260209_153045"),
            run(0x1111_3333_0000 << 80, "out/b/run_20260209_153045"),
            run(0xabcd_ef01_2345 << 80, "out/run_20260209_160000"),
        ]
    }

    fn picked(asked: &str) -> Result<usize, FindError> {
        let runs = runs();
        let found = pick(asked, &runs, false)?.run;
        Ok(runs.iter().position(|run| run.run == found).unwrap())
    }

    #[test]
    fn run_is_found_by_id_prefix_directory_and_as_the_last() {
        for (asked, place) in [
            ("last", 0),
            ("abcd", 2),
            ("ABCDEF012345", 2),
            ("abcdef01-2345", 2),
            ("abcdef01-2345-0000-0000-000000000000", 2),
            ("11113", 1),
            ("run_20260209_160000", 2),
            ("/home/me/elsewhere/run_20260209_160000/", 2),
            ("b/run_20260209_153045", 1),
            ("./out/a/run_20260209_153045", 0),
        ] {
            assert_eq!(picked(asked), Ok(place), "{asked}");
        }
    }

    #[test]
    fn name_that_fits_several_runs_lists_them_and_one_that_fits_none_says_how_to_name_one() {
        let several = FindError::Several {
            asked: "1111".to_owned(),
            n: 2,
            listed: "\n  11112222-0000-0000-0000-000000000000 2026-02-09 15:30:45 out/a/run_20260209_153045\
                     \n  11113333-0000-0000-0000-000000000000 2026-02-09 15:30:45 out/b/run_20260209_153045"
                .to_owned(),
        };
        assert_eq!(picked("1111"), Err(several));
        let by_name = picked("run_20260209_153045").unwrap_err().to_string();
        assert!(
            by_name.starts_with("`run_20260209_153045` fits 2 runs"),
            "{by_name}"
        );
        for asked in ["abc", "", "/", "run_2026", "abcdef0g", "no\x1bwhere"] {
            assert!(matches!(picked(asked), Err(FindError::None { .. })), "{asked:?}");
        }
        let error = pick("last", &[], true).unwrap_err().to_string();
        let wanted = "no run `last` is known among the newest 1024\nhint: `coordinator status` lists the runs; one is \
                      named by its id, the first 4 or more characters of it, its directory, or `last`";
        assert_eq!(error, wanted);
    }

    #[test]
    fn ids_are_shown_as_short_as_they_can_be_told_apart() {
        assert_eq!(short_chars(&runs()), 8);
        assert_eq!(short_chars(&[]), 8);
        let mut close = runs();
        close.push(run(0x1111_2222_0010 << 80, "x"));
        assert_eq!(short_chars(&close), 12);
        assert_eq!(short(close[3].run, 12), "11112222-001");
        close.push(run(0x1111_2223_0000 << 80, "y"));
        assert_eq!(short_chars(&close), 12);
        // One character more than 8 would end in the hyphen.
        let pair = [run(1 << 95, "x"), run(0, "y")];
        assert_eq!(short_chars(&pair), 10);
    }
}
