//! What a worker says, to the wire and back.

use super::{lease, protocol_range};
use crate::ids::WorkerId;
use crate::link::{EndpointOffer, Hello, JobResult, RunningLease, WorkerMsg};
use crate::problem::Language;
use crate::wire::bounds::{LEASES_MAX, TRAITS_MAX};
use crate::wire::fields::{cut, number_of};
use crate::wire::{Fields, WireError, v1};
use crate::work::Role;

impl From<WorkerMsg> for v1::WorkerMsg {
    fn from(msg: WorkerMsg) -> Self {
        use v1::worker_msg::Msg;
        let msg = match msg {
            WorkerMsg::Hello(hello) => Msg::Hello(hello.into()),
            WorkerMsg::Inventory { running, spooled } => Msg::Inventory(v1::Inventory {
                running: running.into_iter().map(Into::into).collect(),
                spooled: spooled.into_iter().map(Into::into).collect(),
            }),
            WorkerMsg::Credit { role, n } => Msg::Credit(v1::Credit {
                role: number_of::<_, v1::Role>(role),
                n: n.into(),
            }),
            WorkerMsg::Ping { seq } => Msg::Ping(v1::Ping { seq }),
            WorkerMsg::Started { lease } => Msg::Started(v1::Started {
                lease: Some(lease.into()),
            }),
            WorkerMsg::Session {
                job,
                lease,
                seq,
                event,
            } => Msg::Session(v1::SessionMsg {
                job: Some(job.into()),
                lease: Some(lease.into()),
                seq,
                event: Some(event.into()),
            }),
            WorkerMsg::Result { job, lease, result } => Msg::Result(v1::ResultMsg {
                job: Some(job.into()),
                lease: Some(lease.into()),
                result: Some(result.into()),
            }),
            WorkerMsg::Benched { endpoint, reason } => Msg::Benched(v1::Benched {
                endpoint,
                reason: cut(reason),
            }),
            WorkerMsg::Nack {
                lease,
                reason,
                unaccounted,
            } => Msg::Nack(v1::Nack {
                lease: Some(lease.into()),
                reason: cut(reason),
                unaccounted: unaccounted.into(),
            }),
            WorkerMsg::Goodbye { reason } => Msg::Goodbye(v1::Goodbye { reason: cut(reason) }),
        };
        Self { msg: Some(msg) }
    }
}

impl TryFrom<v1::WorkerMsg> for WorkerMsg {
    type Error = WireError;
    fn try_from(msg: v1::WorkerMsg) -> Result<Self, WireError> {
        use v1::worker_msg::Msg;
        let fields = Fields::of("WorkerMsg");
        match msg.msg.ok_or_else(|| fields.missing("msg"))? {
            Msg::Hello(hello) => Ok(Self::Hello(fields.part("hello", hello)?)),
            Msg::Inventory(inventory) => fields.part("inventory", inventory),
            Msg::Credit(credit) => fields.part("credit", credit),
            Msg::Ping(v1::Ping { seq }) => Ok(Self::Ping { seq }),
            Msg::Started(started) => fields.part("started", started),
            Msg::Session(session) => fields.part("session", session),
            Msg::Result(result) => fields.part("result", result),
            Msg::Nack(nack) => fields.part("nack", nack),
            Msg::Goodbye(goodbye) => fields.part("goodbye", goodbye),
            Msg::Benched(benched) => fields.part("benched", benched),
        }
    }
}

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            protocol_min: hello.protocol_min.into(),
            protocol_max: hello.protocol_max.into(),
            build: hello.build,
            worker: hello.worker.into(),
            name: hello.name,
            slots: hello.slots.into_iter().map(Into::into).collect(),
            languages: hello.languages.into_iter().map(Into::into).collect(),
            isolation: hello.isolation.map(number_of::<_, v1::Isolation>),
            cores: hello.cores.into(),
            boot_id: hello.boot_id,
            labels: hello.labels.into_iter().map(Into::into).collect(),
            endpoints: hello.endpoints.into_iter().map(Into::into).collect(),
            time_limit_ms: hello.time_limit_ms,
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = WireError;
    fn try_from(hello: v1::Hello) -> Result<Self, WireError> {
        let fields = Fields::of("Hello");
        let (protocol_min, protocol_max) = protocol_range(fields, hello.protocol_min, hello.protocol_max)?;
        Ok(Self {
            protocol_min,
            protocol_max,
            build: fields.name("build", hello.build)?,
            worker: WorkerId(fields.uuid("worker", &hello.worker)?),
            name: fields.name("name", hello.name)?,
            slots: fields.map("slots", hello.slots, TRAITS_MAX)?,
            languages: fields.each("languages", hello.languages, TRAITS_MAX)?,
            isolation: hello
                .isolation
                .map(|number| fields.choice::<v1::Isolation, _>("isolation", number))
                .transpose()?,
            cores: fields.number("cores", hello.cores)?,
            boot_id: fields.name("boot_id", hello.boot_id)?,
            labels: fields.map("labels", hello.labels, TRAITS_MAX)?,
            endpoints: fields.each("endpoints", hello.endpoints, TRAITS_MAX)?,
            time_limit_ms: hello.time_limit_ms,
        })
    }
}

impl From<EndpointOffer> for v1::EndpointOffer {
    fn from(offer: EndpointOffer) -> Self {
        Self {
            name: offer.name,
            benched: offer.benched.map(cut),
        }
    }
}

impl TryFrom<v1::EndpointOffer> for EndpointOffer {
    type Error = WireError;
    fn try_from(offer: v1::EndpointOffer) -> Result<Self, WireError> {
        let fields = Fields::of("EndpointOffer");
        Ok(Self {
            name: fields.name("name", offer.name)?,
            benched: offer
                .benched
                .map(|text| fields.reason("benched", text))
                .transpose()?,
        })
    }
}

impl From<(Role, u32)> for v1::RoleSlots {
    fn from((role, n): (Role, u32)) -> Self {
        Self {
            role: number_of::<_, v1::Role>(role),
            n: n.into(),
        }
    }
}

impl TryFrom<v1::RoleSlots> for (Role, u32) {
    type Error = WireError;
    fn try_from(slots: v1::RoleSlots) -> Result<Self, WireError> {
        let fields = Fields::of("RoleSlots");
        Ok((
            fields.choice::<v1::Role, _>("role", slots.role)?,
            fields.number("n", slots.n)?,
        ))
    }
}

impl From<(Language, String)> for v1::InstalledLanguage {
    fn from((language, version): (Language, String)) -> Self {
        Self {
            language: number_of::<_, v1::Language>(language),
            version,
        }
    }
}

impl TryFrom<v1::InstalledLanguage> for (Language, String) {
    type Error = WireError;
    fn try_from(installed: v1::InstalledLanguage) -> Result<Self, WireError> {
        let fields = Fields::of("InstalledLanguage");
        Ok((
            fields.choice::<v1::Language, _>("language", installed.language)?,
            fields.name("version", installed.version)?,
        ))
    }
}

impl From<(String, String)> for v1::Label {
    fn from((key, value): (String, String)) -> Self {
        Self { key, value }
    }
}

impl TryFrom<v1::Label> for (String, String) {
    type Error = WireError;
    fn try_from(label: v1::Label) -> Result<Self, WireError> {
        let fields = Fields::of("Label");
        Ok((fields.name("key", label.key)?, fields.name("value", label.value)?))
    }
}

impl From<RunningLease> for v1::RunningLease {
    fn from(running: RunningLease) -> Self {
        Self {
            job: Some(running.job.into()),
            lease: Some(running.lease.into()),
            last_seq: running.last_seq,
            running_ms: running.running_ms,
        }
    }
}

impl TryFrom<v1::RunningLease> for RunningLease {
    type Error = WireError;
    fn try_from(running: v1::RunningLease) -> Result<Self, WireError> {
        let fields = Fields::of("RunningLease");
        Ok(Self {
            job: fields.required("job", running.job)?,
            lease: lease(fields, running.lease)?,
            last_seq: running.last_seq,
            running_ms: running.running_ms,
        })
    }
}

impl TryFrom<v1::Inventory> for WorkerMsg {
    type Error = WireError;
    fn try_from(inventory: v1::Inventory) -> Result<Self, WireError> {
        let fields = Fields::of("Inventory");
        Ok(Self::Inventory {
            running: fields.each("running", inventory.running, LEASES_MAX)?,
            spooled: fields.each("spooled", inventory.spooled, LEASES_MAX)?,
        })
    }
}

impl TryFrom<v1::Credit> for WorkerMsg {
    type Error = WireError;
    fn try_from(credit: v1::Credit) -> Result<Self, WireError> {
        let fields = Fields::of("Credit");
        Ok(Self::Credit {
            role: fields.choice::<v1::Role, _>("role", credit.role)?,
            n: fields.number("n", credit.n)?,
        })
    }
}

impl TryFrom<v1::Started> for WorkerMsg {
    type Error = WireError;
    fn try_from(started: v1::Started) -> Result<Self, WireError> {
        Ok(Self::Started {
            lease: lease(Fields::of("Started"), started.lease)?,
        })
    }
}

impl TryFrom<v1::SessionMsg> for WorkerMsg {
    type Error = WireError;
    fn try_from(session: v1::SessionMsg) -> Result<Self, WireError> {
        let fields = Fields::of("SessionMsg");
        if session.seq == 0 {
            return Err(fields.refuse("seq", "at least 1", 0));
        }
        Ok(Self::Session {
            job: fields.required("job", session.job)?,
            lease: lease(fields, session.lease)?,
            seq: session.seq,
            event: fields.required("event", session.event)?,
        })
    }
}

impl TryFrom<v1::ResultMsg> for WorkerMsg {
    type Error = WireError;
    fn try_from(result: v1::ResultMsg) -> Result<Self, WireError> {
        let fields = Fields::of("ResultMsg");
        Ok(Self::Result {
            job: fields.required("job", result.job)?,
            lease: lease(fields, result.lease)?,
            result: fields.required("result", result.result)?,
        })
    }
}

impl TryFrom<v1::Benched> for WorkerMsg {
    type Error = WireError;
    fn try_from(benched: v1::Benched) -> Result<Self, WireError> {
        let fields = Fields::of("Benched");
        Ok(Self::Benched {
            endpoint: fields.name("endpoint", benched.endpoint)?,
            reason: fields.reason("reason", benched.reason)?,
        })
    }
}

impl TryFrom<v1::Nack> for WorkerMsg {
    type Error = WireError;
    fn try_from(nack: v1::Nack) -> Result<Self, WireError> {
        let fields = Fields::of("Nack");
        Ok(Self::Nack {
            lease: lease(fields, nack.lease)?,
            reason: fields.reason("reason", nack.reason)?,
            unaccounted: fields.number("unaccounted", nack.unaccounted)?,
        })
    }
}

impl TryFrom<v1::Goodbye> for WorkerMsg {
    type Error = WireError;
    fn try_from(goodbye: v1::Goodbye) -> Result<Self, WireError> {
        Ok(Self::Goodbye {
            reason: Fields::of("Goodbye").reason("reason", goodbye.reason)?,
        })
    }
}

impl From<JobResult> for v1::JobResult {
    fn from(result: JobResult) -> Self {
        use v1::job_result::Kind;
        Self {
            kind: Some(match result {
                JobResult::Evaluated {
                    report,
                    passed,
                    total,
                    busy_ms,
                    internal_error,
                    audit,
                } => Kind::Evaluated(v1::Evaluated {
                    report: Some(report.into()),
                    passed: passed.into(),
                    total: total.into(),
                    busy_ms,
                    internal_error: internal_error.map(cut),
                    audit: Some(audit.into()),
                }),
                JobResult::Failed { failure, unaccounted } => Kind::Failed(v1::Failed {
                    failure: Some(failure.into()),
                    unaccounted: unaccounted.into(),
                }),
            }),
        }
    }
}

impl TryFrom<v1::JobResult> for JobResult {
    type Error = WireError;
    fn try_from(result: v1::JobResult) -> Result<Self, WireError> {
        use v1::job_result::Kind;
        let fields = Fields::of("JobResult");
        match result.kind.ok_or_else(|| fields.missing("kind"))? {
            Kind::Evaluated(evaluated) => fields.part("evaluated", evaluated),
            Kind::Failed(failed) => fields.part("failed", failed),
        }
    }
}

impl TryFrom<v1::Failed> for JobResult {
    type Error = WireError;
    fn try_from(failed: v1::Failed) -> Result<Self, WireError> {
        let fields = Fields::of("Failed");
        Ok(Self::Failed {
            failure: fields.required("failure", failed.failure)?,
            unaccounted: fields.number("unaccounted", failed.unaccounted)?,
        })
    }
}

impl TryFrom<v1::Evaluated> for JobResult {
    type Error = WireError;
    fn try_from(evaluated: v1::Evaluated) -> Result<Self, WireError> {
        let fields = Fields::of("Evaluated");
        Ok(Self::Evaluated {
            report: fields.required("report", evaluated.report)?,
            passed: fields.number("passed", evaluated.passed)?,
            total: fields.number("total", evaluated.total)?,
            busy_ms: evaluated.busy_ms,
            internal_error: evaluated
                .internal_error
                .map(|text| fields.reason("internal_error", text))
                .transpose()?,
            audit: fields.optional("audit", evaluated.audit)?.unwrap_or_default(),
        })
    }
}
