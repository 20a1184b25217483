//! The same for what worker and coordinator say on the link.

use super::{long, refusal, short};
use crate::link::{CoordMsg, Hello, JobGrant, JobResult, RunningLease, WorkerMsg};
use crate::wire::tests::samples;
use crate::wire::{NAME_MAX_BYTES, REASON_MAX_BYTES, TRAITS_MAX, v1};

#[test]
fn unreadable_hello_is_refused_by_name() {
    let label = v1::Label::from(("rack".to_owned(), "b".to_owned()));
    let slots = v1::RoleSlots { role: 1, n: 1 };
    refused!(samples::hello(), Hello, v1::Hello:
        protocol_min = 0 => "field `protocol_min` of {}: expected 1 to 4294967295, got 0",
        protocol_max = 0 => "field `protocol_max` of {}: expected at least 1, got 0",
        build = long(NAME_MAX_BYTES) => "field `build` of {}: expected at most 256 bytes, got 257",
        worker = short() => "field `worker` of {}: expected 16 bytes, got 3",
        name = long(NAME_MAX_BYTES) => "field `name` of {}: expected at most 256 bytes, got 257",
        slots = vec![v1::RoleSlots { role: 0, n: 1 }]
            => "field `slots[0].role` of {}: expected one of Gen, Eval, got 0",
        slots = vec![v1::RoleSlots { role: 1, n: 1 << 32 }]
            => "field `slots[0].n` of {}: expected 0 to 4294967295, got 4294967296",
        slots = vec![slots, slots] => "field `slots[1]` of {}: expected each key once, got one again",
        languages = vec![v1::InstalledLanguage { language: 0, version: String::new() }]
            => "field `languages[0].language` of {}: expected one of Python3, got 0",
        isolation = Some(0) => "field `isolation` of {}: expected one of None, Partial, FullNocg, Full, got 0",
        cores = 1 << 32 => "field `cores` of {}: expected 0 to 4294967295, got 4294967296",
        boot_id = long(NAME_MAX_BYTES) => "field `boot_id` of {}: expected at most 256 bytes, got 257",
        labels = vec![label.clone(), label] => "field `labels[1]` of {}: expected each key once, got one again",
        labels = vec![v1::Label { key: long(NAME_MAX_BYTES), value: String::new() }]
            => "field `labels[0].key` of {}: expected at most 256 bytes, got 257",
        labels = vec![v1::Label { key: String::new(), value: long(NAME_MAX_BYTES) }]
            => "field `labels[0].value` of {}: expected at most 256 bytes, got 257",
        endpoints = vec![v1::EndpointOffer { name: long(NAME_MAX_BYTES), benched: None }]
            => "field `endpoints[0].name` of {}: expected at most 256 bytes, got 257",
        endpoints = vec![v1::EndpointOffer { name: String::new(), benched: Some(long(REASON_MAX_BYTES)) }]
            => "field `endpoints[0].benched` of {}: expected at most 4096 bytes, got 4097",
        endpoints = vec![v1::EndpointOffer::default(); TRAITS_MAX + 1]
            => "field `endpoints` of {}: expected at most 64 entries, got 65",
    );
}

fn worker_msg(msg: v1::worker_msg::Msg) -> String {
    let msg = v1::WorkerMsg { msg: Some(msg) };
    WorkerMsg::try_from(msg).expect_err("was spoilt").to_string()
}

#[test]
fn unreadable_messages_of_a_worker_are_refused_by_name() {
    use v1::worker_msg::Msg;
    refused!(WorkerMsg::Ping { seq: 1 }, WorkerMsg, v1::WorkerMsg:
        msg = None => "field `msg` of {}: expected a value, got none",
    );
    let (job, lease) = (Some(samples::jobs()[0].into()), Some(samples::lease().into()));
    let event = Some(samples::said().into());
    let (running, result) = (v1::RunningLease::default(), v1::JobResult { kind: None });
    let session = v1::SessionMsg {
        job: job.clone(),
        lease,
        seq: 1,
        event,
    };
    let cut_run = v1::JobId {
        run: short(),
        ..v1::JobId::default()
    };
    let spooled = RunningLease {
        job: samples::jobs()[2],
        ..samples::running()
    };
    for (msg, text) in [
        (
            Msg::Hello(v1::Hello::default()),
            "hello.protocol_min` of WorkerMsg: expected 1 to 4294967295, got 0",
        ),
        (
            Msg::Inventory(v1::Inventory {
                running: vec![running.clone()],
                spooled: vec![],
            }),
            "inventory.running[0].job` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Inventory(v1::Inventory {
                running: vec![],
                spooled: vec![v1::RunningLease {
                    lease: None,
                    ..spooled.into()
                }],
            }),
            "inventory.spooled[0].lease` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Credit(v1::Credit { role: 0, n: 1 }),
            "credit.role` of WorkerMsg: expected one of Gen, Eval, got 0",
        ),
        (
            Msg::Credit(v1::Credit { role: 1, n: 1 << 32 }),
            "credit.n` of WorkerMsg: expected 0 to 4294967295, got 4294967296",
        ),
        (
            Msg::Started(v1::Started { lease: None }),
            "started.lease` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Session(v1::SessionMsg {
                job: Some(cut_run.clone()),
                ..session.clone()
            }),
            "session.job.run` of WorkerMsg: expected 16 bytes, got 3",
        ),
        (
            Msg::Session(v1::SessionMsg {
                lease: None,
                ..session.clone()
            }),
            "session.lease` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Session(v1::SessionMsg {
                seq: 0,
                ..session.clone()
            }),
            "session.seq` of WorkerMsg: expected at least 1, got 0",
        ),
        (
            Msg::Session(v1::SessionMsg {
                event: None,
                ..session
            }),
            "session.event` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Result(v1::ResultMsg {
                job: None,
                lease,
                result: None,
            }),
            "result.job` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Result(v1::ResultMsg {
                job: job.clone(),
                lease: None,
                result: None,
            }),
            "result.lease` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Result(v1::ResultMsg {
                job: job.clone(),
                lease,
                result: None,
            }),
            "result.result` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Result(v1::ResultMsg {
                job,
                lease,
                result: Some(result),
            }),
            "result.result.kind` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Nack(v1::Nack {
                lease: None,
                reason: String::new(),
                unaccounted: 0,
            }),
            "nack.lease` of WorkerMsg: expected a value, got none",
        ),
        (
            Msg::Nack(v1::Nack {
                lease,
                reason: long(REASON_MAX_BYTES),
                unaccounted: 0,
            }),
            "nack.reason` of WorkerMsg: expected at most 4096 bytes, got 4097",
        ),
        (
            Msg::Nack(v1::Nack {
                lease,
                reason: String::new(),
                unaccounted: 1 << 32,
            }),
            "nack.unaccounted` of WorkerMsg: expected 0 to 4294967295, got 4294967296",
        ),
        (
            Msg::Goodbye(v1::Goodbye {
                reason: long(REASON_MAX_BYTES),
            }),
            "goodbye.reason` of WorkerMsg: expected at most 4096 bytes, got 4097",
        ),
    ] {
        assert_eq!(worker_msg(msg), format!("field `{text}"));
    }
}

#[test]
fn unreadable_results_are_refused_by_name() {
    use v1::job_result::Kind;
    let Some(Kind::Evaluated(evaluated)) = v1::JobResult::from(samples::evaluated()).kind else {
        panic!("the sample is an evaluation");
    };
    let kind = |evaluated| Some(Kind::Evaluated(evaluated));
    refused!(samples::evaluated(), JobResult, v1::JobResult:
        kind = None => "field `kind` of {}: expected a value, got none",
        kind = kind(v1::Evaluated { report: None, ..evaluated.clone() })
            => "field `evaluated.report` of {}: expected a value, got none",
        kind = kind(v1::Evaluated { passed: 1 << 32, ..evaluated.clone() })
            => "field `evaluated.passed` of {}: expected 0 to 4294967295, got 4294967296",
        kind = kind(v1::Evaluated { total: 1 << 32, ..evaluated.clone() })
            => "field `evaluated.total` of {}: expected 0 to 4294967295, got 4294967296",
        kind = kind(v1::Evaluated { internal_error: Some(long(REASON_MAX_BYTES)), ..evaluated })
            => "field `evaluated.internal_error` of {}: expected at most 4096 bytes, got 4097",
        kind = Some(Kind::Failed(v1::Failed { failure: Some(v1::Failure::default()), unaccounted: 0 }))
            => "field `failed.failure.class` of {}: expected one of Model, Job, InfraRetry, InfraFatal, Cancelled, got 0",
    );
}

#[test]
fn unreadable_messages_of_a_coordinator_are_refused_by_name() {
    use v1::coord_msg::Msg;
    use v1::test_report::Outcome;
    refused!(CoordMsg::Pong { seq: 1 }, CoordMsg, v1::CoordMsg:
        msg = None => "field `msg` of {}: expected a value, got none",
    );
    let lease = Some(samples::lease().into());
    let report = v1::TestReport {
        lease,
        round: 0,
        outcome: Some(Outcome::Failed(v1::Failure::default())),
    };
    let reject = v1::Reject {
        reason: String::new(),
        protocol_min: 1,
        protocol_max: 1,
    };
    for (msg, text) in [
        (
            Msg::Welcome(v1::Welcome::default()),
            "welcome.epoch` of CoordMsg: expected 1 to 4294967295, got 0",
        ),
        (
            Msg::Reject(v1::Reject {
                protocol_min: 0,
                ..reject.clone()
            }),
            "reject.protocol_min` of CoordMsg: expected 1 to 4294967295, got 0",
        ),
        (
            Msg::Reject(v1::Reject {
                protocol_min: 2,
                ..reject.clone()
            }),
            "reject.protocol_max` of CoordMsg: expected at least 2, got 1",
        ),
        (
            Msg::Reject(v1::Reject {
                reason: long(REASON_MAX_BYTES),
                ..reject
            }),
            "reject.reason` of CoordMsg: expected at most 4096 bytes, got 4097",
        ),
        (
            Msg::Jobs(v1::Jobs {
                grants: vec![v1::JobGrant::default()],
            }),
            "jobs.grants[0].job` of CoordMsg: expected a value, got none",
        ),
        (
            Msg::Jobs(v1::Jobs {
                grants: vec![v1::JobGrant::default(); 1_025],
            }),
            "jobs.grants` of CoordMsg: expected at most 1024 entries, got 1025",
        ),
        (
            Msg::Ack(v1::Ack { lease: None, seq: 0 }),
            "ack.lease` of CoordMsg: expected a value, got none",
        ),
        (
            Msg::TestReport(v1::TestReport {
                lease: None,
                ..report.clone()
            }),
            "test_report.lease` of CoordMsg: expected a value, got none",
        ),
        (
            Msg::TestReport(v1::TestReport {
                round: 1 << 32,
                ..report.clone()
            }),
            "test_report.round` of CoordMsg: expected 0 to 4294967295, got 4294967296",
        ),
        (
            Msg::TestReport(v1::TestReport {
                outcome: None,
                ..report.clone()
            }),
            "test_report.outcome` of CoordMsg: expected a value, got none",
        ),
        (
            Msg::TestReport(report),
            "test_report.failed.class` of CoordMsg: expected one of Model, Job, InfraRetry, InfraFatal, Cancelled, \
             got 0",
        ),
        (
            Msg::Cancel(v1::Cancel {
                lease: None,
                reason: String::new(),
            }),
            "cancel.lease` of CoordMsg: expected a value, got none",
        ),
        (
            Msg::Cancel(v1::Cancel {
                lease,
                reason: long(REASON_MAX_BYTES),
            }),
            "cancel.reason` of CoordMsg: expected at most 4096 bytes, got 4097",
        ),
        (
            Msg::Adopt(v1::Adopt {
                old: None,
                new: lease,
            }),
            "adopt.old` of CoordMsg: expected a value, got none",
        ),
        (
            Msg::Adopt(v1::Adopt {
                old: lease,
                new: None,
            }),
            "adopt.new` of CoordMsg: expected a value, got none",
        ),
        (
            Msg::Forget(v1::Forget { lease: None }),
            "forget.lease` of CoordMsg: expected a value, got none",
        ),
        (
            Msg::Share(v1::Share {
                endpoint: long(NAME_MAX_BYTES),
                limit: 1,
                valid_ms: 1,
            }),
            "share.endpoint` of CoordMsg: expected at most 256 bytes, got 257",
        ),
        (
            Msg::Share(v1::Share {
                endpoint: String::new(),
                limit: 1 << 32,
                valid_ms: 1,
            }),
            "share.limit` of CoordMsg: expected 0 to 4294967295, got 4294967296",
        ),
    ] {
        let msg = v1::CoordMsg { msg: Some(msg) };
        let text_got = CoordMsg::try_from(msg).expect_err("was spoilt").to_string();
        assert_eq!(text_got, format!("field `{text}"));
    }
}

#[test]
fn unreadable_grant_is_refused_by_name() {
    let sample = || samples::grant(samples::works().remove(0));
    refused!(sample(), JobGrant, v1::JobGrant:
        job = None => "field `job` of {}: expected a value, got none",
        lease = None => "field `lease` of {}: expected a value, got none",
        lease = Some(v1::LeaseId { epoch: 1, seq: 0 }) => "field `lease.seq` of {}: expected at least 1, got 0",
        attempt = 0 => "field `attempt` of {}: expected 1 to 4294967295, got 0",
        priority = 256 => "field `priority` of {}: expected 0 to 255, got 256",
        work = None => "field `work` of {}: expected a value, got none",
        work = Some(v1::Work { kind: None }) => "field `work.kind` of {}: expected a value, got none",
    );
}
