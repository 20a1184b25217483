//! How the cores of one host are divided among the evaluation workers on it.
//!
//! Between [`super::Fleet`], which knows who is joined, and what each worker is told. Only those that are joined have a
//! share. A worker whose link is lost while others of its host keep theirs has most likely died, and one that has not
//! is told its share anew when it returns.

use std::collections::BTreeMap;

use roundhouse_proto::WorkerId;

/// The share of each worker, from 1. `most` says how many programs each could run at once if the host were its own.
///
/// As even as that allows: nobody has more than it can use while another has fewer by two and could use one more. What
/// cannot be divided goes to those whose ids come first. Together the shares never exceed the cores, unless there are
/// more workers than cores: then each has 1.
pub(super) fn divide(cores: u32, most: &BTreeMap<WorkerId, u32>) -> BTreeMap<WorkerId, u32> {
    // Those that can use least come first: what they leave over is there for the others.
    let mut workers: Vec<(u32, WorkerId)> = most.iter().map(|(id, most)| (*most, *id)).collect();
    workers.sort_unstable();
    let mut cores_left = cores;
    let mut workers_left = u32::try_from(workers.len()).unwrap_or(u32::MAX);
    let mut shares = BTreeMap::new();
    for (most, id) in workers {
        let share = cores_left.div_ceil(workers_left).min(most).max(1);
        cores_left = cores_left.saturating_sub(share);
        workers_left -= 1;
        shares.insert(id, share);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shares of workers that can run so many programs at once, in the order of their ids.
    fn divided(cores: u32, most: &[u32]) -> Vec<u32> {
        let id = |n: usize| {
            let id = format!("00000000-0000-4000-9000-{n:012x}");
            id.parse::<WorkerId>().expect("it has the form of a uuid")
        };
        let most = most.iter().enumerate().map(|(n, most)| (id(n), *most)).collect();
        divide(cores, &most).into_values().collect()
    }

    #[test]
    fn cores_are_divided_evenly_and_what_is_left_goes_to_those_that_can_use_it() {
        for (cores, most, shares) in [
            (8, &[][..], &[][..]),
            (8, &[8], &[8]),
            (8, &[3], &[3]),
            (8, &[8, 8], &[4, 4]),
            (8, &[8, 8, 8], &[3, 3, 2]),
            (8, &[8, 1], &[7, 1]),
            (8, &[2, 8, 8], &[2, 3, 3]),
            (7, &[2, 8, 8], &[2, 3, 2]),
            (2, &[2, 2, 2], &[1, 1, 1]),
            (0, &[4], &[1]),
            (4, &[0], &[1]),
        ] {
            assert_eq!(divided(cores, most), shares, "{cores} cores among {most:?}");
        }
    }

    #[test]
    fn shares_exceed_the_cores_only_where_there_are_more_workers() {
        for cores in 0..12 {
            for a in 0..6 {
                for b in 0..6 {
                    for c in 0..6 {
                        let sum: u32 = divided(cores, &[a, b, c]).iter().sum();
                        assert!(sum <= cores.max(3), "{cores} cores among {:?}", [a, b, c]);
                    }
                }
            }
        }
        assert_eq!(divided(u32::MAX, &[u32::MAX, u32::MAX]), [1 << 31, (1 << 31) - 1]);
    }
}
