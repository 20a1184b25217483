//! How the driver ends.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use roundhouse_core::Timing;
use roundhouse_core::record::Stored;
use roundhouse_proto::link::Hello;
use roundhouse_proto::{Role, WorkerId};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::store::committer::{Patience, QUEUE_MAX};
use crate::store::memory::Fault;
use crate::store::{MemoryStore, StoreError};

/// How long a test waits for what must come.
const WAIT_MAX: Duration = Duration::from_secs(10);

struct Bench {
    events: Events,
    written: mpsc::Sender<Event>,
    stop: oneshot::Sender<Infallible>,
    driving: JoinHandle<bool>,
}

/// A driver whose store takes no write any more.
async fn driver_of_a_failing_store() -> Bench {
    let store = MemoryStore::new();
    store.fail_after(0, Fault::Lost);
    let patience = Patience {
        pause_min: Duration::from_millis(1),
        pause_max: Duration::from_millis(4),
        close_max: Duration::from_millis(50),
    };
    let reopen = || Err(StoreError::InUse { dir: "memory".into() });
    let committer = Committer::start_with(patience, store, reopen, |_| {}).unwrap();
    let clock = Clock::start();
    let mut first = Outbox::default();
    let core = Coordinator::start(
        Timing::default(),
        Stored::default(),
        &BTreeMap::new(),
        clock.now(),
        &mut first,
    );
    let channels = DriverChannels::new();
    let written = channels.written();
    let (driver, events) = Driver::new(core, first, clock, committer, channels).await;
    let (stop, stopped) = oneshot::channel();
    let driving = tokio::spawn(driver.run(stopped));
    Bench {
        events,
        written,
        stop,
        driving,
    }
}

/// An event that commands something.
fn joined(link: usize) -> Event {
    Event::Joined {
        link: LinkId(link as u64),
        hello: Box::new(Hello {
            protocol_min: 1,
            protocol_max: 1,
            build: "test".to_owned(),
            worker: WorkerId(Uuid::from_u128(link as u128)),
            name: "test".to_owned(),
            slots: BTreeMap::from([(Role::Gen, 1)]),
            languages: Vec::new(),
            isolation: None,
            cores: 1,
            boot_id: "boot".to_owned(),
            labels: BTreeMap::new(),
            endpoints: Vec::new(),
            time_limit_ms: None,
        }),
    }
}

async fn ends(driving: JoinHandle<bool>) {
    let ended = tokio::time::timeout(WAIT_MAX, driving).await;
    ended.expect("the driver ends").unwrap();
}

#[tokio::test]
async fn driver_that_waits_for_a_store_that_fails_stops_when_it_is_told_to() {
    let bench = driver_of_a_failing_store().await;
    // So many that neither the committer nor the driver takes any more.
    let mut link = 0;
    let full = async {
        while link <= QUEUE_MAX + EVENTS_MAX && bench.events.send(joined(link)).await {
            link += 1;
        }
    };
    tokio::time::timeout(WAIT_MAX, full)
        .await
        .expect("there is so much room");
    assert!(link > QUEUE_MAX + EVENTS_MAX, "{link}");
    // Full it is as well: nothing was stored meanwhile.
    let no_more = tokio::time::timeout(Duration::from_millis(300), async {
        while bench.events.send(joined(link)).await {
            link += 1;
        }
    });
    assert!(no_more.await.is_err());
    drop(bench.stop);
    ends(bench.driving).await;
    assert!(!bench.events.send(joined(0)).await);
    assert!(bench.written.is_closed());
}

#[tokio::test]
async fn driver_ends_when_the_file_writer_has_ended() {
    let bench = driver_of_a_failing_store().await;
    drop(bench.written);
    ends(bench.driving).await;
}
