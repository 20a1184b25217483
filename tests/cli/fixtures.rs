//! Problem files that are broken in one way each, and a good one.

use std::fs;
use std::path::Path;

use roundhouse_proto::Digest;

fn row(id: &str, inputs: &[&str], outputs: &[&str]) -> String {
    serde_json::json!({
        "name": id,
        "description": "Print the number.",
        "public_tests": {"input": inputs, "output": outputs},
        "private_tests": {"input": [], "output": []},
        "generated_tests": {"input": [], "output": []},
        "solutions": {"language": [3], "solution": ["print(input())\n"]},
        "incorrect_solutions": {"language": [], "solution": []},
    })
    .to_string()
        + "\n"
}

/// Makes them in a directory.
pub(crate) fn make(dir: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
    let good = row("one", &["1\n"], &["1\n"]) + &row("two", &["2\n"], &["2\n"]);
    write("good.jsonl", good.as_bytes());
    write(
        "page.jsonl",
        b"<!DOCTYPE html><html><body>Not found</body></html>\n",
    );
    write("empty.jsonl", b"");
    write("cut.parquet", b"PAR1\x15\x04\x15\x10 the rest did not arrive");
    write(
        "cut.jsonl.gz",
        &[
            0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xab, 0x56,
        ],
    );
    let mut bad_utf8 = good.clone().into_bytes();
    let at = good.find("Print").unwrap();
    bad_utf8[at] = 0xff;
    write("bad_utf8.jsonl", &bad_utf8);
    write("uneven.jsonl", row("one", &["1\n", "2\n"], &["1\n"]).as_bytes());
    write(
        "duplicate.jsonl",
        (row("one", &["1\n"], &["1\n"]) + &row("one", &["2\n"], &["2\n"])).as_bytes(),
    );
    write("cut.jsonl", &good.as_bytes()[..good.len() - 40]);
    write("unknown.jsonl", b"{\"question_id\": 7, \"text\": \"?\"}\n");
    write("not_an_object.jsonl", b"[1, 2]\n");
    write("number.jsonl", b"{\"problem_id\": \"a\", \"description\": 5, \"all_test_cases\": {\"inputs\": [], \"outputs\": []}}\n");
    write(
        "cases.jsonl",
        b"{\"id\": 1, \"language\": \"cobol\", \"source\": \"\", \"input\": \"\", \"expected\": \"\"}\n",
    );
    write("newer_recording.jsonl", b"{\"roundhouse_recording\": 2}\n");
    let head = serde_json::json!({
        "roundhouse_recording": 1,
        "run_id": "r",
        "model": "m",
        "data_set": {"name": "CodeContests", "sha256": "0".repeat(64)},
        "settings": {
            "method": "self-collaboration", "max_rounds": 2, "tester": "cases", "final_program": "last",
            "sampling": {"temperature": 0.0, "top_p": 0.95, "max_tokens": 4096}, "patch": true,
            "comparator": "code-contests",
        },
    });
    let call = "{\"source_id\": \"one\", \"position\": 1, \"speaker\": \"critic\"}\n";
    write("bad_recording.jsonl", format!("{head}\n{call}").as_bytes());
    write("recording.jsonl", format!("{head}\n").as_bytes());
    let quarantine = |name: &str, sha256: &str, kind: &str| {
        let problem = serde_json::json!({"position": 2, "source_id": "two", "kind": kind});
        let file = serde_json::json!({
            "roundhouse_quarantine": 1, "data_set": {"sha256": sha256}, "problems": [problem],
        });
        write(name, file.to_string().as_bytes());
    };
    let sha256 = Digest::of(good.as_bytes()).to_string();
    quarantine("quarantine_of_other.json", &"0".repeat(64), "limit");
    quarantine("quarantine_bad.json", &sha256, "slow");
    fs::create_dir(dir.join("directory")).unwrap();
    let template = |dir_name: &str, name: &str, text: &[u8]| {
        fs::create_dir(dir.join(dir_name)).unwrap();
        write(&format!("{dir_name}/{name}"), text);
    };
    template("prompts_unknown", "codr.j2", b"Write the program.\n");
    template("prompts_broken", "coder.j2", b"Solve it.\n{{ statment }}\n");
    template("prompts_bytes", "coder.j2", b"\xff");
}
