//! The wire form of the domain words, and the fallible way back.
//!
//! Met only at the edges: where a message leaves or arrives, and where a blob is written or read. [`v1`] is generated
//! from `schema/` and checked in. To the wire is `From` and cannot fail; from the wire is `TryFrom`, which checks every
//! length, number and choice and names the field that it refuses. Fields that a newer peer added are left alone.
//! Texts that only people read (reasons, messages, notes) are cut to their bound on the way out, so that a long one
//! never makes a whole message unreadable.

mod bounds;
mod evaluation;
mod fields;
mod ids;
mod link;
mod problem;
mod recording;
mod session;
mod work;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use bounds::*;
pub use fields::Fields;

use crate::evaluation::EvaluationReport;
use crate::problem::{ReferenceMaterial, TestSet};
use crate::recording::Recording;
use crate::work::PromptSet;

/// The generated messages and, with the feature `rpc`, the clients and servers of the services.
pub mod v1 {
    #![allow(
        clippy::all,
        missing_docs,
        unreachable_pub,
        clippy::allow_attributes,
        clippy::needless_pass_by_value,
        reason = "generated"
    )]
    include!("generated/roundhouse.v1.rs");
    #[cfg(feature = "rpc")]
    include!("generated/roundhouse.v1.rpc.rs");
}

/// Bytes or a message that cannot be read as what they should be. Trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field is missing, or its value is not one that it may have.
    #[error("{}: expected {expected}, got {got}", place(message, field))]
    Field {
        /// The outermost message that was read.
        message: &'static str,
        /// The way to the field from there, such as `result.job.run` or `slots[0].role`; empty for the message itself.
        field: String,
        /// What may stand there.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// The bytes are no such message at all.
    #[error("read the bytes of {message}")]
    Encoding {
        /// The message that was expected.
        message: &'static str,
        /// What is wrong with them.
        #[source]
        source: prost::DecodeError,
    },
}

fn place(message: &str, field: &str) -> String {
    if field.is_empty() {
        message.to_owned()
    } else {
        format!("field `{field}` of {message}")
    }
}

impl WireError {
    /// The same error, seen from the message that holds the unreadable one in `field`.
    #[must_use]
    pub fn inside(self, message: &'static str, field: &str) -> Self {
        match self {
            Self::Field {
                field: inner,
                expected,
                got,
                message: _,
            } => Self::Field {
                message,
                field: if inner.is_empty() {
                    field.to_owned()
                } else {
                    format!("{field}.{inner}")
                },
                expected,
                got,
            },
            Self::Encoding { .. } => self,
        }
    }
}

/// Version of the encoded forms of [`TestSet`], [`ReferenceMaterial`], [`EvaluationReport`],
/// [`PromptSet`] and [`Recording`].
pub const BLOB_VERSION: u64 = 1;

fn encode<M: prost::Message>(message: &M) -> Bytes {
    message.encode_to_vec().into()
}

/// Reads `bytes` without copying what the message holds of them.
fn decode<M: prost::Message + Default>(name: &'static str, bytes: Bytes) -> Result<M, WireError> {
    M::decode(bytes).map_err(|source| WireError::Encoding {
        message: name,
        source,
    })
}

macro_rules! blob_form {
    ($name:ident) => {
        impl $name {
            /// The encoded form, as it lies in a blob; the same value always gives the same bytes.
            pub fn to_bytes(&self) -> Bytes {
                encode(&v1::$name::from(self.clone()))
            }

            /// Reads the encoded form; long values share memory with `bytes`.
            ///
            /// # Errors
            /// Says which field is not as it should be, or that the bytes are of another kind or a newer version.
            pub fn from_bytes(bytes: Bytes) -> Result<Self, WireError> {
                decode::<v1::$name>(stringify!($name), bytes)?.try_into()
            }
        }
    };
}
blob_form!(TestSet);
blob_form!(ReferenceMaterial);
blob_form!(EvaluationReport);
blob_form!(PromptSet);
blob_form!(Recording);
