//! What holds of the wire form as a whole; the messages it is shown on are in [`samples`].

mod hostile;
mod refusal;
mod samples;
mod survival;
