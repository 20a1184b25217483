//! What clients are told, over the wire and from a store on disk.

#![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

mod bench;

use std::collections::BTreeMap;

use bytes::Bytes;
use roundhouse_core::run::{ModelAt, RunSpec};
use roundhouse_proto::link::{CoordMsg, Hello, PROTOCOL_VERSION, WorkerMsg};
use roundhouse_proto::wire::v1::blobs_client::BlobsClient;
use roundhouse_proto::wire::v1::control_client::ControlClient;
use roundhouse_proto::wire::v1::link_client::LinkClient;
use roundhouse_proto::wire::v1::problem_update::Step;
use roundhouse_proto::wire::v1::run_update::What;
use roundhouse_proto::{Digest, GenerationOutcome, Role, SessionEvent, StopReason, WorkerId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use uuid::Uuid;

use self::bench::*;
use super::*;
use crate::report::fixture::Fixture;
use crate::server::{Server, Setting, State};

/// How long a test waits for what must come.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A coordinator on a port of this host.
#[tokio::test]
async fn run_is_taken_in_once_its_blobs_are_there_and_a_repeat_is_the_same_run() {
    let mut bench = Bench::new().await;
    let spec = spec(1);
    let reply = bench.submit(&spec, "").await.unwrap();
    let mut missing: Vec<Bytes> = STATEMENTS
        .iter()
        .map(|text| Digest::of(text.as_bytes()).into())
        .collect();
    missing.sort();
    assert_eq!(
        (reply.repeated, reply.missing, reply.dir.as_str()),
        (false, missing, "")
    );
    assert_eq!(bench.get(spec.run).await.unwrap_err().code(), Code::NotFound);
    assert!(!bench.dir.path().join("outputs").exists(), "nothing was taken in");

    let first = bench.submit_whole(&spec, "").await;
    assert!(!first.repeated && first.missing.is_empty());
    let outputs = bench.dir.path().join("outputs");
    assert_eq!(Path::new(&first.dir).parent(), Some(outputs.as_path()));
    assert!(Path::new(&first.dir).ends_with("run_20260209_153045"));
    let status = bench.get(spec.run).await.unwrap();
    assert_eq!((status.dir.as_str(), status.problems_n), (first.dir.as_str(), 2));
    assert_eq!(status.started, "2026-02-09 15:30:45");

    let again = bench.submit(&spec, "elsewhere").await.unwrap();
    assert_eq!((again.repeated, &again.dir), (true, &first.dir));
    let other = RunSpec {
        workers: 9,
        ..spec.clone()
    };
    let refused = bench.submit(&other, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(std::fs::read_dir(&outputs).unwrap().count(), 1);
}

#[tokio::test]
async fn runs_are_written_below_the_output_directory_each_in_its_own() {
    let mut bench = Bench::new().await;
    let outputs = bench.dir.path().join("outputs");
    let mut dirs = Vec::new();
    for (n, name) in [(1, ""), (2, ""), (3, "nightly"), (4, "nightly")] {
        dirs.push(bench.submit_whole(&spec(n), name).await.dir);
    }
    let expected = [
        "run_20260209_153045",
        "run_20260209_153045_2",
        "nightly/run_20260209_153045",
        "nightly/run_20260209_153045_2",
    ];
    assert_eq!(dirs, expected.map(|dir| outputs.join(dir).display().to_string()));
    for name in [
        "..",
        ".",
        "/tmp",
        "a/b",
        "../x",
        ".hidden",
        "run_1",
        "a\0",
        "a\\b",
        &"x".repeat(300),
    ] {
        let refused = bench.submit(&spec(9), name).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{name:?}");
        assert!(
            refused.message().starts_with("field `name` of SubmitRequest"),
            "{refused}"
        );
    }
    let runs = bench
        .control
        .list_runs(v1::ListRunsRequest { limit: 3 })
        .await
        .unwrap();
    let v1::ListRunsReply { runs, more } = runs.into_inner();
    let listed: Vec<_> = runs.iter().map(|run| run.dir.as_str()).collect();
    assert_eq!((listed, more), (vec![dirs[3].as_str(), &dirs[2], &dirs[1]], true));
    for limit in [0, 1_025] {
        let refused = bench.control.list_runs(v1::ListRunsRequest { limit }).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn run_that_may_not_be_so_is_refused_and_leaves_nothing() {
    let mut bench = Bench::new().await;
    let mut hostile = spec(1);
    hostile.problems[0].name = "../../etc".to_owned();
    let refused = bench.submit(&hostile, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("`problems[0].name`"), "{refused}");

    let text = Bytes::from(
        serde_json::to_string(&spec(1))
            .unwrap()
            .replacen('{', "{\"budget\":5,", 1),
    );
    bench.put(text.clone()).await;
    let mut request = v1::SubmitRequest {
        run: spec(1).run.into(),
        name: String::new(),
        spec: Digest::of(&text).into(),
    };
    let refused = bench.control.submit(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("`budget`"), "{refused}");

    // A specification that is not there is missing like any other blob.
    request.spec = Digest::of(b"not there").into();
    let reply = bench.control.submit(request.clone()).await.unwrap().into_inner();
    assert_eq!(reply.missing, [request.spec.clone()]);
    request.run = Bytes::from_static(b"short");
    let refused = bench.control.submit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(!bench.dir.path().join("outputs").exists());
    assert!(bench.server.registry.entries().is_empty());
}

#[tokio::test]
async fn watcher_from_the_start_and_one_who_comes_late_are_told_the_same() {
    let mut bench = Bench::new().await;
    let spec = spec(1);
    let dir = bench.submit_whole(&spec, "").await.dir;
    let mut early = bench.watch(spec.run).await;
    let Some(What::Status(first)) = next(&mut early).await.unwrap() else {
        panic!("the first is how it stands");
    };
    assert_eq!((&first.dir, first.generated_n, first.problems_n), (&dir, 0, 2));
    join_idle_worker(&bench.channel).await;
    let mut seen = steps(&mut early, 7).await;
    let place = |steps: &[String], step: &str| steps.iter().position(|s| s == step).unwrap();
    assert!(place(&seen, "1 started") < place(&seen, "1 generated false"));
    seen.sort();
    assert_eq!(seen, all_steps());

    let mut late = bench.watch(spec.run).await;
    let Some(What::Status(first)) = next(&mut late).await.unwrap() else {
        panic!("the first is how it stands");
    };
    assert_eq!((first.generated_n, first.failed_n), (2, 2));
    let mut seen = steps(&mut late, 7).await;
    seen.sort();
    assert_eq!(seen, all_steps());

    let workers = bench
        .control
        .list_workers(v1::ListWorkersRequest {})
        .await
        .unwrap();
    let workers = workers.into_inner().workers;
    let [worker] = &workers[..] else {
        panic!("{workers:?}");
    };
    assert_eq!(
        (worker.name.as_str(), worker.state()),
        ("writer", v1::WorkerState::Joined)
    );
    let role = v1::Role::Gen.into();
    assert_eq!(
        worker.roles,
        [v1::RoleLoad {
            role,
            slots: 4,
            busy: 0
        }]
    );
}

/// What is told after all steps: how the run came out, whether its reports are written, and the end.
async fn end(updates: &mut Streaming<v1::RunUpdate>) -> (v1::RunState, bool) {
    let (mut state, mut is_written) = (v1::RunState::Unspecified, false);
    while let Some(what) = next(updates).await.unwrap() {
        match what {
            What::Status(status) => state = status.state(),
            What::ReportsWritten(written) => is_written = written,
            What::Problem(_) | What::Notice(_) | What::GenerationDoneMs(_) => {}
        }
    }
    (state, is_written)
}

#[tokio::test]
async fn stream_ends_when_the_run_has_ended_and_its_reports_are_written() {
    let mut bench = Bench::new().await;
    let spec = spec(1);
    let dir = bench.submit_whole(&spec, "").await.dir;
    let mut early = bench.watch(spec.run).await;
    join_idle_worker(&bench.channel).await;
    assert_eq!(end(&mut early).await, (v1::RunState::Complete, true));
    assert!(Path::new(&dir).join("REPORT.txt").is_file());
    let mut late = bench.watch(spec.run).await;
    assert_eq!(end(&mut late).await, (v1::RunState::Complete, true));

    let request = v1::FetchRequest {
        run: spec.run.into(),
        under: String::new(),
    };
    let mut files = bench.control.fetch(request).await.unwrap().into_inner();
    let mut fetched = BTreeMap::<String, Vec<u8>>::new();
    while let Some(chunk) = files.message().await.unwrap() {
        fetched.entry(chunk.path).or_default().extend(chunk.data);
    }
    for (path, bytes) in &fetched {
        assert_eq!(&std::fs::read(Path::new(&dir).join(path)).unwrap(), bytes);
    }
    assert!(fetched.contains_key("summary.json") && fetched.contains_key("REPORT.txt"));
    assert!(
        fetched.contains_key("problem_001/problem_statement.txt"),
        "{:?}",
        fetched.keys()
    );
}

#[tokio::test]
async fn run_that_is_cancelled_ends_and_goes_on_when_it_is_tried_again() {
    let mut bench = Bench::new().await;
    let run = spec(1).run;
    bench.submit_whole(&spec(1), "").await;
    let mut updates = bench.watch(run).await;
    let reason = "too\u{1b}[2J dear".to_owned();
    for _ in 0..2 {
        let request = v1::CancelRequest {
            run: run.into(),
            reason: reason.clone(),
        };
        let status = bench.control.cancel(request).await.unwrap().into_inner();
        assert_eq!(status.state(), v1::RunState::Cancelled);
        assert_eq!(status.reason, "too [2J dear");
    }
    assert_eq!(end(&mut updates).await, (v1::RunState::Cancelled, true));

    let request = v1::RetryRequest { run: run.into() };
    let reply = bench.control.retry(request.clone()).await.unwrap().into_inner();
    assert_eq!(reply.problems_n, 2);
    assert_eq!(bench.get(run).await.unwrap().state(), v1::RunState::Active);
    let again = bench.control.retry(request).await.unwrap().into_inner();
    assert_eq!(again.problems_n, 0, "they are queued already");
    let mut updates = bench.watch(run).await;
    join_idle_worker(&bench.channel).await;
    assert_eq!(end(&mut updates).await, (v1::RunState::Complete, true));
}

#[tokio::test]
async fn run_that_cannot_move_says_so_with_the_command_that_helps() {
    let mut bench = Bench::new().await;
    bench.submit_whole(&spec(1), "").await;
    let mut updates = bench.watch(spec(1).run).await;
    // At once to those who ask, and unasked after a while.
    let asked = bench.get(spec(1).run).await.unwrap().warnings;
    let told = loop {
        match next(&mut updates).await.unwrap().unwrap() {
            What::Status(status) if !status.warnings.is_empty() => break status.warnings,
            What::Status(_) | What::Problem(_) | What::Notice(_) => {}
            what @ (What::GenerationDoneMs(_) | What::ReportsWritten(_)) => panic!("{what:?}"),
        }
    };
    assert_eq!(asked, told);
    assert!(
        told[0].starts_with("no generation worker is joined\nhint: `worker join --role gen "),
        "{told:?}"
    );
}

#[tokio::test]
async fn run_that_was_taken_in_is_there_after_a_restart_also_without_a_record() {
    let mut bench = Bench::new().await;
    bench.submit_whole(&spec(1), "").await;
    // As after a crash between the registry and the store.
    let unstored = spec(2);
    let text = Bytes::from(serde_json::to_vec(&unstored).unwrap());
    bench.put(text.clone()).await;
    let dir = bench.dir.path().join("outputs/run_of_2");
    bench
        .server
        .registry
        .add(crate::registry::Entry {
            run: unstored.run,
            spec: Digest::of(&text),
            dir: dir.clone(),
            name: String::new(),
        })
        .unwrap();
    let mut bench = bench.restarted().await;
    join_idle_worker(&bench.channel).await;
    for run in [spec(1).run, spec(2).run] {
        let mut updates = bench.watch(run).await;
        let mut seen = steps(&mut updates, 7).await;
        seen.sort();
        assert_eq!(seen, all_steps());
    }
    assert!(bench.submit(&unstored, "").await.unwrap().repeated);
    assert_eq!(
        bench.get(unstored.run).await.unwrap().dir,
        dir.display().to_string()
    );
}

#[tokio::test]
async fn run_that_was_entered_and_not_told_is_known_once_somebody_asks_for_it_again() {
    let mut bench = Bench::new().await;
    bench.submit_whole(&spec(1), "").await;
    let untold = spec(2);
    let text = Bytes::from(serde_json::to_vec(&untold).unwrap());
    bench.put(text.clone()).await;
    let entry = crate::registry::Entry {
        run: untold.run,
        spec: Digest::of(&text),
        dir: bench.dir.path().join("outputs/run_of_2"),
        name: String::new(),
    };
    bench.server.registry.add(entry).unwrap();
    assert_eq!(bench.get(untold.run).await.unwrap_err().code(), Code::NotFound);
    let mut later = untold.clone();
    later.started.unix_us += 1;
    let refused = bench.submit(&later, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(bench.get(untold.run).await.unwrap().problems_n, 2);
}

#[tokio::test]
async fn watcher_who_leaves_a_run_that_cannot_move_makes_room_for_another() {
    let mut bench = Bench::new().await;
    bench.submit_whole(&spec(1), "").await;
    let mut updates = bench.watch(spec(1).run).await;
    assert!(matches!(next(&mut updates).await, Ok(Some(What::Status(_)))));
    assert_eq!(bench.server.activity.idle_for(), None, "somebody watches");
    drop(updates);
    let has_left = async {
        while bench.server.activity.idle_for().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, has_left).await.unwrap();
}

#[tokio::test]
async fn files_of_a_run_that_was_just_cancelled_are_sent_with_its_reports() {
    let mut bench = Bench::new().await;
    let run: Bytes = spec(1).run.into();
    bench.submit_whole(&spec(1), "").await;
    let reason = String::new();
    let cancel = v1::CancelRequest {
        run: run.clone(),
        reason,
    };
    bench.control.cancel(cancel).await.unwrap();
    let under = "summary.json".to_owned();
    let request = v1::FetchRequest { run, under };
    let mut files = bench.control.fetch(request).await.unwrap().into_inner();
    let chunk = files.message().await.unwrap().unwrap();
    assert_eq!(chunk.path, "summary.json");
}

#[tokio::test]
async fn coordinator_stops_soon_while_links_and_watchers_are_open() {
    let mut bench = Bench::new().await;
    bench.submit_whole(&spec(1), "").await;
    let mut updates = bench.watch(spec(1).run).await;
    assert!(matches!(next(&mut updates).await, Ok(Some(What::Status(_)))));
    let Bench { server, .. } = bench;
    assert_eq!(server.activity.idle_for(), None, "somebody watches");
    assert!(tokio::time::timeout(WAIT_MAX, server.stop()).await.unwrap());
    let mut last = next(&mut updates).await;
    while let Ok(Some(_)) = last {
        last = next(&mut updates).await;
    }
    assert_eq!(last, Err(Code::Unavailable), "the watcher is to come back");
}

#[tokio::test]
async fn run_nobody_knows_is_said_to_be_unknown_whatever_is_asked() {
    let mut bench = Bench::new().await;
    let run: Bytes = spec(7).run.into();
    let control = &mut bench.control;
    let codes = [
        control
            .get_run(v1::GetRunRequest { run: run.clone() })
            .await
            .err(),
        control
            .watch_run(v1::WatchRunRequest { run: run.clone() })
            .await
            .err(),
        control.retry(v1::RetryRequest { run: run.clone() }).await.err(),
        control
            .fetch(v1::FetchRequest {
                run: run.clone(),
                under: String::new(),
            })
            .await
            .err(),
        control
            .cancel(v1::CancelRequest {
                run,
                reason: String::new(),
            })
            .await
            .err(),
    ];
    for status in codes {
        let status = status.unwrap();
        assert_eq!(status.code(), Code::NotFound);
        assert!(
            status.message().contains("\nhint: `coordinator status`"),
            "{status}"
        );
    }
}

#[tokio::test]
async fn coordinator_of_one_run_answers_and_takes_no_other_in() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run_1");
    std::fs::create_dir(&run_dir).unwrap();
    std::fs::write(run_dir.join("console.log"), "hello\n").unwrap();
    let run_dir = crate::run_dir::RunDir::open(&run_dir).unwrap();
    let state = State::open(&dir.path().join("data")).unwrap();
    for blob in blobs() {
        state.blobs.put(&blob).unwrap();
    }
    let (mut server, socket) = Server::start(state, &run_dir, dir.path()).await.unwrap();
    let (_, nobody) = mpsc::channel(1);
    let mut progress = std::mem::replace(&mut server.progress, nobody);
    tokio::spawn(async move { while progress.recv().await.is_some() {} });
    let spec = spec(1);
    let run = spec.run;
    let event = Event::Submitted {
        spec: Arc::new(spec),
        spec_blob: Digest::of(b"spec"),
    };
    assert!(server.events.send(event).await);

    let address = roundhouse_proto::CoordinatorAddress::Unix(socket);
    let mut control = ControlClient::new(address.channel());
    let request = v1::SubmitRequest {
        run: run.into(),
        name: String::new(),
        spec: Digest::of(b"spec").into(),
    };
    let refused = control.submit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let status = control
        .get_run(v1::GetRunRequest { run: run.into() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(status.dir, run_dir.shown());
    let request = v1::FetchRequest {
        run: run.into(),
        under: "console.log".to_owned(),
    };
    let mut files = control.fetch(request).await.unwrap().into_inner();
    let chunk = files.message().await.unwrap().unwrap();
    assert_eq!(
        (chunk.path.as_str(), &chunk.data[..]),
        ("console.log", &b"hello\n"[..])
    );
    assert!(server.stop().await);
}
