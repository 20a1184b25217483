//! Regenerates the wire code.
fn main() {}
