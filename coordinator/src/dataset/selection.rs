//! Which problems of a data set a run is about: `--ids`, `--filter`, `--limit`.

use std::collections::{HashMap, HashSet};

use roundhouse_proto::Problem;

use super::quote::quoted;

/// Near names that an error offers for one unknown id.
const SUGGESTIONS_MAX: usize = 3;

/// Pieces between commas that are tried as one id, since an id may hold commas itself.
const PIECES_MAX: usize = 16;

/// Characters of an id that are compared when near ones are looked for.
const COMPARED_CHARS_MAX: usize = 64;

/// No run can be about this selection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// `--ids` names what is not there.
    #[error("no problem is called {}", unknown(ids))]
    UnknownIds {
        /// Each with the ids that are nearest to it.
        ids: Vec<(String, Vec<String>)>,
        /// Positions of the first and the last problem.
        positions: (u32, u32),
    },
    /// `--limit 0`.
    #[error("`--limit 0` leaves no problem")]
    LimitZero,
    /// Nothing is left.
    #[error(
        "none of the {candidates} problems has {} in its id (`--filter`)",
        quoted(filter)
    )]
    Filtered {
        /// The text looked for.
        filter: String,
        /// Problems that were looked at.
        candidates: usize,
    },
    /// There was no problem to begin with.
    #[error("there are no problems to select from")]
    NoProblems,
}

impl SelectionError {
    /// What the user can do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownIds {
                positions: (first, last),
                ..
            } => Some(format!(
                "`--ids` takes ids of the data set, names like `problem_007`, or positions from {first} to {last}; \
                 `coordinator dataset show FILE` lists them"
            )),
            Self::Filtered { .. } => Some("`coordinator dataset show FILE` lists the ids".to_owned()),
            Self::LimitZero => Some("leave `--limit` out for all problems".to_owned()),
            Self::NoProblems => None,
        }
    }
}

/// The problems a run is about, in data-set order with the positions they have in the whole data set.
///
/// `ids` are the pieces of `--ids` between commas: the data set's own ids, names like `problem_007`, or positions,
/// tried in this order; none means all. `filter` keeps those whose own id holds it, in any case. `limit` keeps
/// the first ones of what is left.
///
/// # Errors
/// If an id is unknown, or if nothing is left.
pub fn select<'p>(
    problems: &'p [Problem],
    limit: Option<usize>,
    ids: &[String],
    filter: Option<&str>,
) -> Result<Vec<&'p Problem>, SelectionError> {
    if problems.is_empty() {
        return Err(SelectionError::NoProblems);
    }
    if limit == Some(0) {
        return Err(SelectionError::LimitZero);
    }
    let wanted = if ids.is_empty() {
        None
    } else {
        Some(positions_of(problems, ids)?)
    };
    let mut selected: Vec<&Problem> = problems
        .iter()
        .filter(|problem| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&problem.position))
        })
        .collect();
    if let Some(filter) = filter {
        let candidates = selected.len();
        let lower = filter.to_lowercase();
        selected.retain(|problem| problem.source_id.to_lowercase().contains(&lower));
        if selected.is_empty() {
            return Err(SelectionError::Filtered {
                filter: filter.to_owned(),
                candidates,
            });
        }
    }
    selected.truncate(limit.unwrap_or(usize::MAX));
    Ok(selected)
}

fn positions_of(problems: &[Problem], pieces: &[String]) -> Result<HashSet<u32>, SelectionError> {
    let by_id: HashMap<&str, u32> = problems
        .iter()
        .map(|problem| (problem.source_id.as_str(), problem.position))
        .collect();
    let known: HashSet<u32> = problems.iter().map(|problem| problem.position).collect();
    let find = |id: &str| {
        let id = id.trim();
        let number = id.strip_prefix("problem_").unwrap_or(id);
        by_id
            .get(id)
            .copied()
            .or_else(|| number.parse().ok().filter(|position| known.contains(position)))
    };
    let mut positions = HashSet::new();
    let mut unknown = Vec::new();
    let mut rest = pieces;
    while let Some((piece, others)) = rest.split_first() {
        let joined = || {
            (2..=rest.len().min(PIECES_MAX))
                .find_map(|count| find(&rest[..count].join(",")).map(|position| (position, &rest[count..])))
        };
        if let Some((position, others)) = find(piece).map(|position| (position, others)).or_else(joined) {
            positions.insert(position);
            rest = others;
        } else {
            if !piece.trim().is_empty() {
                unknown.push((piece.trim().to_owned(), near(problems, piece.trim())));
            }
            rest = others;
        }
    }
    if unknown.is_empty() && !positions.is_empty() {
        return Ok(positions);
    }
    if unknown.is_empty() {
        unknown.push((String::new(), Vec::new()));
    }
    let first = known.iter().min().copied().unwrap_or(0);
    let last = known.iter().max().copied().unwrap_or(0);
    Err(SelectionError::UnknownIds {
        ids: unknown,
        positions: (first, last),
    })
}

/// The ids that are most like `id`: those that hold it first, then those a few typing errors away.
fn near(problems: &[Problem], id: &str) -> Vec<String> {
    let id = id.to_lowercase();
    let distance_max = id.chars().count() / 3;
    let mut found: Vec<(usize, &Problem)> = problems
        .iter()
        .filter_map(|problem| {
            let candidate = problem.source_id.to_lowercase();
            if candidate.contains(&id) {
                return Some((0, problem));
            }
            let distance = distance(&id, &candidate);
            (distance <= distance_max).then_some((distance, problem))
        })
        .collect();
    found.sort_by_key(|(distance, problem)| (*distance, problem.position));
    found
        .into_iter()
        .take(SUGGESTIONS_MAX)
        .map(|(_, problem)| problem.source_id.clone())
        .collect()
}

/// Levenshtein's distance of the first [`COMPARED_CHARS_MAX`] characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(COMPARED_CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, left) in left.chars().take(COMPARED_CHARS_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (place, right) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[place + 1];
            row[place + 1] = replaced.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[right.len()]
}

fn unknown(ids: &[(String, Vec<String>)]) -> String {
    let one = |(id, near): &(String, Vec<String>)| {
        if near.is_empty() {
            return quoted(id);
        }
        let near = near.iter().map(|id| quoted(id)).collect::<Vec<_>>().join(", ");
        format!("{} (near it: {near})", quoted(id))
    };
    ids.iter().map(one).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;
    use roundhouse_proto::TestSet;

    fn problems() -> Vec<Problem> {
        [
            "1575_A. Another Sorting Problem",
            "7",
            "Work, Work, Work",
            "1580_A. Portal",
        ]
        .iter()
        .zip([1, 2, 3, 5])
        .map(|(id, position)| Problem {
            position,
            source_id: (*id).to_owned(),
            statement: String::new(),
            tests: TestSet::default(),
            time_limit_ms: None,
            memory_limit_bytes: None,
            solutions: Vec::new(),
            incorrect_solutions: Vec::new(),
            entry_point: None,
        })
        .collect()
    }

    fn positions(
        limit: Option<usize>,
        ids: &[&str],
        filter: Option<&str>,
    ) -> Result<Vec<u32>, SelectionError> {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        select(&problems(), limit, &ids, filter)
            .map(|found| found.iter().map(|problem| problem.position).collect())
    }

    #[test]
    fn ids_may_be_source_ids_names_and_positions_and_come_in_data_set_order() {
        assert_eq!(positions(None, &[], None), Ok(vec![1, 2, 3, 5]));
        assert_eq!(
            positions(None, &["1580_A. Portal", "problem_001", " 3 "], None),
            Ok(vec![1, 3, 5])
        );
        assert_eq!(positions(None, &["3", "3", "problem_3"], None), Ok(vec![3]));
    }

    #[test]
    fn a_source_id_goes_before_a_position_and_may_hold_commas() {
        assert_eq!(positions(None, &["7"], None), Ok(vec![2]));
        assert_eq!(
            positions(None, &["Work", " Work", " Work", "5"], None),
            Ok(vec![3, 5])
        );
    }

    #[test]
    fn filter_ignores_case_and_limit_comes_last() {
        assert_eq!(positions(None, &[], Some("_a. ")), Ok(vec![1, 5]));
        assert_eq!(positions(Some(1), &["5", "2"], Some("PORTAL")), Ok(vec![5]));
        assert_eq!(positions(Some(9), &[], None), Ok(vec![1, 2, 3, 5]));
    }

    #[test]
    fn unknown_ids_are_all_named_with_near_ones() {
        let error = positions(
            None,
            &["1580_A", "2", "1575_A. Another Sortng Problem", "4", "99"],
            None,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no problem is called `1580_A` (near it: `1580_A. Portal`) or `1575_A. Another Sortng Problem` \
             (near it: `1575_A. Another Sorting Problem`) or `4` or `99`"
        );
        assert!(error.hint().unwrap().contains("positions from 1 to 5"));
    }

    #[test]
    fn an_empty_selection_is_an_error_that_says_why() {
        assert_eq!(positions(Some(0), &[], None), Err(SelectionError::LimitZero));
        assert_eq!(
            positions(None, &["7"], Some("portal")).unwrap_err().to_string(),
            "none of the 1 problems has `portal` in its id (`--filter`)"
        );
        assert!(matches!(
            positions(None, &["", " "], None),
            Err(SelectionError::UnknownIds { .. })
        ));
        assert_eq!(select(&[], None, &[], None), Err(SelectionError::NoProblems));
    }
}
