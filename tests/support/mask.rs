//! Takes out of a text what differs from run to run: times and the name of the run directory.

/// Every number before `秒`, every share of time, and every `run_…` name, replaced by a fixed word.
pub fn run(text: &str) -> String {
    text.lines().map(|line| line_of(line) + "\n").collect()
}

fn line_of(line: &str) -> String {
    let mut line = words(line);
    if let Some((head, _)) = line.split_once("运行时间: ") {
        line = format!("{head}运行时间: TIME");
    }
    if line.contains(" 秒")
        && let Some((head, tail)) = line.split_once(": ")
    {
        let share = if tail.contains('%') { " (SHARE)" } else { "" };
        line = format!("{head}: SECONDS 秒{share}");
    }
    if let Some((head, _)) = line.split_once("CPU 核心数: ") {
        line = format!("{head}CPU 核心数: CORES");
    }
    line
}

fn words(line: &str) -> String {
    let Some(at) = line.find("run_2") else {
        return line.to_owned();
    };
    let name: usize = line[at + 4..]
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '_')
        .map(char::len_utf8)
        .sum();
    format!("{}RUN{}", &line[..at], &line[at + 4 + name..])
}
