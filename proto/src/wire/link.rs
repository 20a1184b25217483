//! What worker and coordinator say on the link, to the wire and back: the two envelopes and what both use.
//!
//! The messages of each side are in [`worker`] and [`coord`].

mod coord;
mod worker;

use super::v1;
use super::{Fields, WireError};
use crate::ids::LeaseId;

/// The range of wire versions that a peer understands, oldest and newest.
fn protocol_range(fields: Fields, oldest: u64, newest: u64) -> Result<(u32, u32), WireError> {
    let oldest = fields.number_from_1("protocol_min", oldest)?;
    let newest = fields.number("protocol_max", newest)?;
    if newest < oldest {
        return Err(fields.refuse("protocol_max", format_args!("at least {oldest}"), newest));
    }
    Ok((oldest, newest))
}

fn lease(fields: Fields, lease: Option<v1::LeaseId>) -> Result<LeaseId, WireError> {
    fields.required("lease", lease)
}
