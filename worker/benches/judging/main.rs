//! How fast programs are judged, beside what one would do without a judge: ratios within one run, since machines are
//! shared and differ. `cargo bench -p roundhouse-worker --bench judging [-- PART...]`; the parts are `tiny`, `mid`,
//! `numpy`, `recorded` (needs `ROUNDHOUSE_SHARED`), `run` and `tools`.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "what was measured is printed")]

mod bare;
mod judged;
mod parts;
mod recorded;
mod whole;

/// The parts in the order in which they are measured.
const PARTS: [&str; 6] = ["tiny", "mid", "numpy", "recorded", "run", "tools"];

fn main() {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    for word in &asked {
        assert!(
            PARTS.contains(&word.as_str()),
            "no part is called `{word}`: expected some of {PARTS:?}"
        );
    }
    let is_asked = |part: &str| asked.is_empty() || asked.iter().any(|word| word == part);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for part in PARTS.into_iter().filter(|part| is_asked(part)) {
            match part {
                "tiny" => parts::tiny().await,
                "mid" => parts::mid().await,
                "numpy" => parts::numpy().await,
                "recorded" => recorded::all().await,
                "run" => whole::run(),
                _ => parts::tools(),
            }
        }
    });
}
