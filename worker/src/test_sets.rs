//! Test sets, decoded, each once for all programs that are judged against it.
//!
//! Stands between the blobs and the evaluations of a worker. Bounded by bytes; the set that was not used for longest
//! goes first, and its memory with the last evaluation that still has it. Two that ask for a set at once wait for one
//! loading of it; when the one that loads goes away, the other goes on with its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use roundhouse_proto::{Case, Digest, Failure, TestSet};
use tokio::sync::OnceCell;

use crate::recent::Recent;

/// Bytes of test sets that stay decoded.
const TEST_SETS_BYTES_MAX: usize = 256 << 20;

/// The test sets that are decoded now.
#[derive(Debug)]
pub(crate) struct TestSets(Mutex<Held>);

/// A set, or the wait for it.
type Place = OnceCell<Arc<TestSet>>;

#[derive(Debug)]
struct Held {
    sets: Recent<Digest, Arc<TestSet>>,
    /// Those that somebody loads; the others are dropped when the next one comes.
    loading: HashMap<Digest, Weak<Place>>,
}

impl Default for TestSets {
    fn default() -> Self {
        Self(Mutex::new(Held {
            // What a set takes at least bounds their number.
            sets: Recent::bounded(TEST_SETS_BYTES_MAX, usize::MAX),
            loading: HashMap::new(),
        }))
    }
}

impl TestSets {
    /// The set at an address; made by `load` unless it is there or on its way.
    ///
    /// # Errors
    /// What `load` says.
    ///
    /// # Cancel safety
    /// Nothing is lost but the work of its own `load`.
    pub(crate) async fn find(
        &self,
        digest: Digest,
        load: impl Future<Output = Result<TestSet, Failure>>,
    ) -> Result<Arc<TestSet>, Failure> {
        let place = match self.held().reuse(digest) {
            Ok(set) => return Ok(set),
            Err(place) => place,
        };
        let set = place
            .get_or_try_init(async || load.await.map(Arc::new))
            .await
            .map(Arc::clone)?;
        let bytes = bytes_of(&set);
        self.held().sets.keep(digest, Arc::clone(&set), bytes);
        Ok(set)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The set, or where to wait for it.
    fn reuse(&mut self, digest: Digest) -> Result<Arc<TestSet>, Arc<Place>> {
        if let Some(set) = self.sets.find(digest) {
            return Ok(set);
        }
        self.loading.retain(|_, place| place.strong_count() > 0);
        if let Some(place) = self.loading.get(&digest).and_then(Weak::upgrade) {
            return Err(place);
        }
        let place = Arc::new(Place::new());
        self.loading.insert(digest, Arc::downgrade(&place));
        Err(place)
    }
}

/// About how much memory a set takes.
fn bytes_of(set: &TestSet) -> usize {
    let of_case = |case: &Case| size_of::<Case>() + case.input.len() + case.expected.len();
    // Its key in two maps as well.
    size_of::<TestSet>() + 4 * size_of::<Digest>() + set.cases.iter().map(of_case).sum::<usize>()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use roundhouse_proto::{FailureClass, Tier};
    use tokio::sync::Semaphore;

    use super::*;

    fn set(input: &str) -> TestSet {
        TestSet {
            cases: vec![Case {
                tier: Tier::Private,
                input: Bytes::copy_from_slice(input.as_bytes()),
                expected: Bytes::new(),
            }],
        }
    }

    fn failure() -> Failure {
        Failure {
            class: FailureClass::InfraRetry,
            message: "told to".to_owned(),
        }
    }

    #[tokio::test]
    async fn set_that_many_ask_for_at_once_is_loaded_once_and_shared() {
        let sets = TestSets::default();
        let (loads, go_on) = (AtomicU32::new(0), Semaphore::new(0));
        let find = || {
            sets.find(Digest::of(b"a"), async {
                loads.fetch_add(1, Ordering::Relaxed);
                let _permit = go_on.acquire().await.unwrap();
                Ok(set("1"))
            })
        };
        let (one, two, ()) = tokio::join!(find(), find(), async { go_on.add_permits(9) });
        let three = find().await.unwrap();
        assert_eq!(*three, set("1"));
        assert!(Arc::ptr_eq(&one.unwrap(), &three) && Arc::ptr_eq(&two.unwrap(), &three));
        assert_eq!(loads.into_inner(), 1);
    }

    #[tokio::test]
    async fn loading_that_fails_or_is_dropped_leaves_nothing_and_the_next_one_loads() {
        let sets = TestSets::default();
        let digest = Digest::of(b"a");
        let failed = sets.find(digest, async { Err(failure()) }).await;
        assert_eq!(failed, Err(failure()));
        let mut dropped = Box::pin(sets.find(digest, std::future::pending()));
        let waiting = tokio::select! {
            biased;
            _ = &mut dropped => false,
            () = std::future::ready(()) => true,
        };
        assert!(waiting);
        let next = sets.find(digest, async { Ok(set("1")) });
        drop(dropped);
        assert_eq!(*next.await.unwrap(), set("1"));
        // Asked for another one, it forgets those that nobody loads any more.
        sets.find(Digest::of(b"b"), async { Ok(set("2")) }).await.unwrap();
        let held = sets.held();
        assert_eq!((held.loading.len(), held.sets.held().0.len()), (1, 2));
    }

    #[test]
    fn set_counts_with_all_its_inputs() {
        assert_eq!(bytes_of(&set("12345")), bytes_of(&set("")) + 5);
    }
}
