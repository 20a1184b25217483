//! What a coordinator says, to the wire and back.

use super::{lease, protocol_range};
use crate::link::{CoordMsg, JobGrant};
use crate::wire::bounds::GRANTS_MAX;
use crate::wire::fields::cut;
use crate::wire::{Fields, WireError, v1};
use crate::work::Priority;

impl From<CoordMsg> for v1::CoordMsg {
    fn from(msg: CoordMsg) -> Self {
        use v1::coord_msg::Msg;
        let msg = match msg {
            CoordMsg::Welcome {
                epoch,
                lease_ms,
                ping_ms,
            } => Msg::Welcome(v1::Welcome {
                epoch: epoch.into(),
                lease_ms,
                ping_ms,
            }),
            CoordMsg::Reject {
                reason,
                protocol_min,
                protocol_max,
            } => Msg::Reject(v1::Reject {
                reason: cut(reason),
                protocol_min: protocol_min.into(),
                protocol_max: protocol_max.into(),
            }),
            CoordMsg::Jobs(grants) => Msg::Jobs(v1::Jobs {
                grants: grants.into_iter().map(Into::into).collect(),
            }),
            CoordMsg::Ack { lease, seq } => Msg::Ack(v1::Ack {
                lease: Some(lease.into()),
                seq,
            }),
            CoordMsg::TestReport { lease, round, report } => Msg::TestReport(v1::TestReport {
                lease: Some(lease.into()),
                round: round.into(),
                outcome: Some(match report {
                    Ok(report) => v1::test_report::Outcome::Report(report.into()),
                    Err(failure) => v1::test_report::Outcome::Failed(failure.into()),
                }),
            }),
            CoordMsg::Cancel { lease, reason } => Msg::Cancel(v1::Cancel {
                lease: Some(lease.into()),
                reason: cut(reason),
            }),
            CoordMsg::Adopt { old, new } => Msg::Adopt(v1::Adopt {
                old: Some(old.into()),
                new: Some(new.into()),
            }),
            CoordMsg::Forget { lease } => Msg::Forget(v1::Forget {
                lease: Some(lease.into()),
            }),
            CoordMsg::Share {
                endpoint,
                limit,
                valid_ms,
            } => Msg::Share(v1::Share {
                endpoint,
                limit: limit.into(),
                valid_ms,
            }),
            CoordMsg::Drain { last } => Msg::Drain(v1::Drain { last }),
            CoordMsg::Restarting { retry_after_ms } => Msg::Restarting(v1::Restarting { retry_after_ms }),
            CoordMsg::Pong { seq } => Msg::Pong(v1::Pong { seq }),
            CoordMsg::Cages { n } => Msg::Cages(v1::Cages { n: n.into() }),
        };
        Self { msg: Some(msg) }
    }
}

impl TryFrom<v1::CoordMsg> for CoordMsg {
    type Error = WireError;
    fn try_from(msg: v1::CoordMsg) -> Result<Self, WireError> {
        use v1::coord_msg::Msg;
        let fields = Fields::of("CoordMsg");
        match msg.msg.ok_or_else(|| fields.missing("msg"))? {
            Msg::Welcome(welcome) => fields.part("welcome", welcome),
            Msg::Reject(reject) => fields.part("reject", reject),
            Msg::Jobs(jobs) => fields.part("jobs", jobs),
            Msg::Ack(ack) => fields.part("ack", ack),
            Msg::TestReport(report) => fields.part("test_report", report),
            Msg::Cancel(cancel) => fields.part("cancel", cancel),
            Msg::Adopt(adopt) => fields.part("adopt", adopt),
            Msg::Forget(forget) => fields.part("forget", forget),
            Msg::Share(share) => fields.part("share", share),
            Msg::Drain(v1::Drain { last }) => Ok(Self::Drain { last }),
            Msg::Restarting(v1::Restarting { retry_after_ms }) => Ok(Self::Restarting { retry_after_ms }),
            Msg::Pong(v1::Pong { seq }) => Ok(Self::Pong { seq }),
            Msg::Cages(v1::Cages { n }) => {
                let fields = Fields::of("Cages");
                match fields.number("n", n)? {
                    0 => Err(fields.refuse("n", "at least 1", 0)),
                    n => Ok(Self::Cages { n }),
                }
            }
        }
    }
}

impl TryFrom<v1::Welcome> for CoordMsg {
    type Error = WireError;
    fn try_from(welcome: v1::Welcome) -> Result<Self, WireError> {
        Ok(Self::Welcome {
            epoch: Fields::of("Welcome").number_from_1("epoch", welcome.epoch)?,
            lease_ms: welcome.lease_ms,
            ping_ms: welcome.ping_ms,
        })
    }
}

impl TryFrom<v1::Reject> for CoordMsg {
    type Error = WireError;
    fn try_from(reject: v1::Reject) -> Result<Self, WireError> {
        let fields = Fields::of("Reject");
        let (protocol_min, protocol_max) = protocol_range(fields, reject.protocol_min, reject.protocol_max)?;
        Ok(Self::Reject {
            reason: fields.reason("reason", reject.reason)?,
            protocol_min,
            protocol_max,
        })
    }
}

impl TryFrom<v1::Jobs> for CoordMsg {
    type Error = WireError;
    fn try_from(jobs: v1::Jobs) -> Result<Self, WireError> {
        let grants = Fields::of("Jobs").each("grants", jobs.grants, GRANTS_MAX)?;
        Ok(Self::Jobs(grants))
    }
}

impl From<JobGrant> for v1::JobGrant {
    fn from(grant: JobGrant) -> Self {
        Self {
            job: Some(grant.job.into()),
            lease: Some(grant.lease.into()),
            attempt: grant.attempt.into(),
            priority: grant.priority.0.into(),
            work: Some(grant.work.into()),
        }
    }
}

impl TryFrom<v1::JobGrant> for JobGrant {
    type Error = WireError;
    fn try_from(grant: v1::JobGrant) -> Result<Self, WireError> {
        let fields = Fields::of("JobGrant");
        Ok(Self {
            job: fields.required("job", grant.job)?,
            lease: lease(fields, grant.lease)?,
            attempt: fields.number_from_1("attempt", grant.attempt)?,
            priority: u8::try_from(grant.priority)
                .map(Priority)
                .map_err(|_| fields.refuse("priority", "0 to 255", grant.priority))?,
            work: fields.required("work", grant.work)?,
        })
    }
}

impl TryFrom<v1::Ack> for CoordMsg {
    type Error = WireError;
    fn try_from(ack: v1::Ack) -> Result<Self, WireError> {
        Ok(Self::Ack {
            lease: lease(Fields::of("Ack"), ack.lease)?,
            seq: ack.seq,
        })
    }
}

impl TryFrom<v1::TestReport> for CoordMsg {
    type Error = WireError;
    fn try_from(report: v1::TestReport) -> Result<Self, WireError> {
        use v1::test_report::Outcome;
        let fields = Fields::of("TestReport");
        Ok(Self::TestReport {
            lease: lease(fields, report.lease)?,
            round: fields.number("round", report.round)?,
            report: match report.outcome.ok_or_else(|| fields.missing("outcome"))? {
                Outcome::Report(report) => Ok(fields.part("report", report)?),
                Outcome::Failed(failure) => Err(fields.part("failed", failure)?),
            },
        })
    }
}

impl TryFrom<v1::Cancel> for CoordMsg {
    type Error = WireError;
    fn try_from(cancel: v1::Cancel) -> Result<Self, WireError> {
        let fields = Fields::of("Cancel");
        Ok(Self::Cancel {
            lease: lease(fields, cancel.lease)?,
            reason: fields.reason("reason", cancel.reason)?,
        })
    }
}

impl TryFrom<v1::Adopt> for CoordMsg {
    type Error = WireError;
    fn try_from(adopt: v1::Adopt) -> Result<Self, WireError> {
        let fields = Fields::of("Adopt");
        Ok(Self::Adopt {
            old: fields.required("old", adopt.old)?,
            new: fields.required("new", adopt.new)?,
        })
    }
}

impl TryFrom<v1::Forget> for CoordMsg {
    type Error = WireError;
    fn try_from(forget: v1::Forget) -> Result<Self, WireError> {
        Ok(Self::Forget {
            lease: lease(Fields::of("Forget"), forget.lease)?,
        })
    }
}

impl TryFrom<v1::Share> for CoordMsg {
    type Error = WireError;
    fn try_from(share: v1::Share) -> Result<Self, WireError> {
        let fields = Fields::of("Share");
        Ok(Self::Share {
            endpoint: fields.name("endpoint", share.endpoint)?,
            limit: fields.number("limit", share.limit)?,
            valid_ms: share.valid_ms,
        })
    }
}
