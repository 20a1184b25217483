//! The system-call filter: which calls of a program the kernel answers, as a program that the kernel runs per call.
//!
//! Made once per cage by the init, put up by the child right before it executes a program (`sys::put_up`). What is
//! allowed and why is `calls`; here the list becomes instructions. Written here and not taken from a crate: three
//! answers in one filter instead of one filter for each, and a search tree instead of a chain of comparisons. The
//! kernel translates a filter anew for every process that puts it up, so that its length is paid for by every run.

mod calls;

use std::collections::BTreeMap;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

use calls::{Check, GROUPS, OLDER, Rule};

/// The kernel's number of the machine whose calls are listed; none where there is no list.
#[cfg(target_arch = "x86_64")]
const MACHINE: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const MACHINE: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const MACHINE: Option<u32> = None;

/// Where the call's number stands in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
/// Where the machine's number stands.
const MACHINE_AT: u32 = 4;
/// Where the low half of the first argument stands; both machines are little-endian.
const ARGUMENTS_AT: u32 = 16;
/// Calls of another form of the machine with 32-bit addresses are marked by this bit.
#[cfg(target_arch = "x86_64")]
const SHORT_ADDRESSES: Option<(u32, u32)> = Some((0x4000_0000, 0x8000_0000));
#[cfg(not(target_arch = "x86_64"))]
const SHORT_ADDRESSES: Option<(u32, u32)> = None;

/// The filter, as the kernel takes it.
#[derive(Debug)]
pub(crate) struct Filter {
    program: Vec<sock_filter>,
}

impl Filter {
    /// The filter for this machine; `None` where its calls are not listed.
    pub(crate) fn new() -> Option<Self> {
        let machine = MACHINE?;
        let mut program = vec![
            load(MACHINE_AT),
            jump(BPF_JEQ, machine, 1, 0),
            answer(libc::SECCOMP_RET_KILL_PROCESS),
            load(NUMBER_AT),
        ];
        program.extend(tree(&ranges()));
        Some(Self { program })
    }

    /// Its instructions.
    pub(crate) fn program(&self) -> &[sock_filter] {
        &self.program
    }
}

/// Numbers of calls by ranges: where one starts, and the rule up to the next; neighbours have different rules.
fn ranges() -> Vec<(u32, Rule)> {
    let listed = || {
        GROUPS.iter().chain(OLDER).flat_map(|group| {
            let numbers = group.calls.iter();
            numbers.map(|number| (u32::try_from(*number).unwrap_or(u32::MAX), group.rule))
        })
    };
    let mut starts = BTreeMap::from([(0, Rule::Unknown)]);
    starts.extend(listed().map(|(number, _)| (number.saturating_add(1), Rule::Unknown)));
    starts.extend(listed());
    if let Some((from, to)) = SHORT_ADDRESSES {
        starts.extend([(from, Rule::Kill), (to, Rule::Unknown)]);
    }
    let mut ranges: Vec<_> = starts.into_iter().collect();
    ranges.dedup_by_key(|(_, rule)| *rule);
    ranges
}

/// The search for the range in which a number lies; the number is what was loaded last.
fn tree(ranges: &[(u32, Rule)]) -> Vec<sock_filter> {
    if let [(_, rule)] = ranges {
        return leaf(*rule);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let Some((start, _)) = upper.first() else {
        return leaf(Rule::Unknown);
    };
    let (below, above) = (tree(lower), tree(upper));
    // A conditional jump goes no further than a byte says, an unconditional one does.
    let mut program = match u8::try_from(below.len()) {
        Ok(length) => vec![jump(BPF_JGE, *start, length, 0)],
        Err(_) => vec![
            jump(BPF_JGE, *start, 0, 1),
            jump(BPF_JA, below.len() as u32, 0, 0),
        ],
    };
    program.extend(below);
    program.extend(above);
    program
}

fn leaf(rule: Rule) -> Vec<sock_filter> {
    let error = |errno: i32| answer(libc::SECCOMP_RET_ERRNO | errno as u32);
    match rule {
        Rule::Allow => vec![answer(libc::SECCOMP_RET_ALLOW)],
        Rule::Refuse => vec![error(libc::EPERM)],
        Rule::Unknown => vec![error(libc::ENOSYS)],
        Rule::Kill => vec![answer(libc::SECCOMP_RET_KILL_PROCESS)],
        Rule::When(checks, errno) => {
            let mut program: Vec<_> = checks
                .iter()
                .flat_map(|check| unless(check, error(errno)))
                .collect();
            program.push(answer(libc::SECCOMP_RET_ALLOW));
            program
        }
    }
}

/// Goes on behind these instructions when the check holds, and answers `otherwise` when not.
fn unless(check: &Check, otherwise: sock_filter) -> Vec<sock_filter> {
    let mut program = vec![load(ARGUMENTS_AT + 8 * check.argument)];
    if check.mask != u32::MAX {
        program.push(instruction(BPF_ALU | BPF_AND | BPF_K, check.mask, 0, 0));
    }
    // From each comparison over those behind it and the answer.
    let distances = (1..=check.wanted.len() as u8).rev();
    let comparisons = check.wanted.iter().zip(distances);
    program.extend(comparisons.map(|(wanted, distance)| jump(BPF_JEQ, *wanted, distance, 0)));
    program.push(otherwise);
    program
}

fn load(at: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, at, 0, 0)
}

fn answer(value: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, value, 0, 0)
}

fn jump(condition: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    instruction(BPF_JMP | condition | BPF_K, value, if_true, if_false)
}

fn instruction(code: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: if_true,
        jf: if_false,
        k: value,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use super::*;

    /// Most instructions that the kernel takes.
    const INSTRUCTIONS_MAX: usize = 4096;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// What the kernel would do with a call, as far as the instructions used here go.
    fn answered(filter: &Filter, machine: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_le_bytes());
        data.extend(machine.to_le_bytes());
        data.extend([0; 8]);
        arguments
            .iter()
            .for_each(|argument| data.extend(argument.to_le_bytes()));
        let (mut at, mut loaded) = (0, 0);
        for _ in 0..INSTRUCTIONS_MAX {
            let step = &filter.program()[at];
            at += 1;
            let (code, value) = (u32::from(step.code), step.k);
            let turn = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match code {
                _ if code == BPF_LD | BPF_W | BPF_ABS => {
                    let bytes = data[value as usize..][..4].try_into().unwrap();
                    loaded = u32::from_le_bytes(bytes);
                }
                _ if code == BPF_ALU | BPF_AND | BPF_K => loaded &= value,
                _ if code == BPF_JMP | BPF_JEQ | BPF_K => at += turn(loaded == value),
                _ if code == BPF_JMP | BPF_JGE | BPF_K => at += turn(loaded >= value),
                _ if code == BPF_JMP | BPF_JA | BPF_K => at += value as usize,
                _ if code == BPF_RET | BPF_K => return value,
                other => panic!("instruction {other:#x} is never made"),
            }
        }
        panic!("the filter does not end");
    }

    fn asked(number: i64, arguments: [u64; 6]) -> u32 {
        let filter = Filter::new().unwrap();
        answered(
            &filter,
            MACHINE.unwrap(),
            u32::try_from(number).unwrap(),
            arguments,
        )
    }

    #[test]
    fn every_number_gets_the_answer_of_its_group_and_no_call_is_in_two() {
        let filter = Filter::new().unwrap();
        let machine = MACHINE.unwrap();
        for number in (0..1024).chain([u32::MAX, u32::MAX - 1]) {
            let rules: Vec<_> = GROUPS
                .iter()
                .chain(OLDER)
                .filter(|group| group.calls.contains(&i64::from(number)))
                .map(|group| group.rule)
                .collect();
            // With every argument at a value that no check wants.
            let found = answered(&filter, machine, number, [0x1234_5678; 6]);
            let expected = match rules.as_slice() {
                [] | [Rule::Unknown] => UNKNOWN,
                [Rule::Allow] => ALLOW,
                [Rule::Refuse] => REFUSE,
                [Rule::Kill] => KILL,
                [Rule::When(_, errno)] => libc::SECCOMP_RET_ERRNO | *errno as u32,
                many => panic!("call {number} is in {} groups", many.len()),
            };
            assert_eq!(found, expected, "call {number}");
        }
    }

    #[test]
    fn calls_of_another_machine_are_fatal() {
        let filter = Filter::new().unwrap();
        // i386, whose number 1 is `exit`.
        assert_eq!(answered(&filter, 0x4000_0003, 1, [0; 6]), KILL);
        if SHORT_ADDRESSES.is_some() {
            assert_eq!(asked(0x4000_0000 | libc::SYS_read, [0; 6]), KILL);
        }
    }

    #[test]
    fn arguments_decide_where_they_must() {
        let on = |number, arguments: &[u64]| {
            let mut all = [0; 6];
            all[..arguments.len()].copy_from_slice(arguments);
            asked(number, all)
        };
        let flags = |flags: i32| flags as u32 as u64;
        let threads = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_THREAD;
        assert_eq!(on(libc::SYS_clone, &[flags(threads)]), ALLOW);
        assert_eq!(on(libc::SYS_clone, &[flags(libc::SIGCHLD)]), ALLOW);
        for new in [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWCGROUP,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
        ] {
            assert_eq!(on(libc::SYS_clone, &[flags(new | libc::SIGCHLD)]), REFUSE);
        }
        let sibling = flags(libc::CLONE_PARENT | libc::SIGCHLD);
        assert_eq!(on(libc::SYS_clone, &[sibling]), REFUSE);
        let stream = flags(libc::SOCK_STREAM | libc::SOCK_CLOEXEC);
        assert_eq!(on(libc::SYS_socketpair, &[1, stream]), ALLOW);
        assert_eq!(on(libc::SYS_socketpair, &[1, flags(libc::SOCK_SEQPACKET)]), ALLOW);
        assert_eq!(on(libc::SYS_socketpair, &[1, flags(libc::SOCK_DGRAM)]), REFUSE);
        assert_eq!(on(libc::SYS_socketpair, &[2, stream]), REFUSE);
        let mode = |kind: u32| u64::from(kind | 0o644);
        assert_eq!(on(libc::SYS_mknodat, &[0, 0, mode(libc::S_IFIFO)]), ALLOW);
        assert_eq!(on(libc::SYS_mknodat, &[0, 0, mode(libc::S_IFCHR)]), REFUSE);
        assert_eq!(on(libc::SYS_mknodat, &[0, 0, mode(libc::S_IFBLK)]), REFUSE);
        assert_eq!(on(libc::SYS_setpriority, &[0, 0, 5]), ALLOW);
        assert_eq!(on(libc::SYS_setpriority, &[0, 7, 5]), REFUSE);
        assert_eq!(on(libc::SYS_setpriority, &[2, 0, 5]), REFUSE);
        assert_eq!(on(libc::SYS_personality, &[0]), ALLOW);
        assert_eq!(on(libc::SYS_personality, &[u64::from(u32::MAX)]), ALLOW);
        assert_eq!(on(libc::SYS_personality, &[0x0040_0000]), REFUSE);
        let error = |errno: i32| libc::SECCOMP_RET_ERRNO | errno as u32;
        assert_eq!(on(libc::SYS_ioctl, &[0, libc::TCGETS]), ALLOW);
        // The kernel reads the low half of the number only, and so must the filter.
        assert_eq!(on(libc::SYS_ioctl, &[0, 1 << 32 | libc::TCGETS]), ALLOW);
        assert_eq!(
            on(libc::SYS_ioctl, &[0, 1 << 32 | libc::TIOCSTI]),
            error(libc::ENOTTY)
        );
        assert_eq!(on(libc::SYS_prctl, &[libc::PR_SET_NAME as u64]), ALLOW);
        assert_eq!(
            on(libc::SYS_prctl, &[libc::PR_SET_SECCOMP as u64]),
            error(libc::EINVAL)
        );
    }

    #[test]
    fn a_filter_is_short() {
        let length = Filter::new().unwrap().program().len();
        assert!(length < 512, "{length} instructions");
    }
}
