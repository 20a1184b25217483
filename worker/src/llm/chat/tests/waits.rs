//! How long a server is waited for.

use super::*;

/// Impatient in one respect; a single try, so that what is waited for is waited for once.
fn impatient(patience: Patience) -> Manner {
    let retries = Retries {
        tries_max: 1,
        ..RETRIES
    };
    Manner {
        patience,
        retries,
        ..manner()
    }
}

const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn server_that_says_nothing_is_given_up_and_may_be_paid() {
    let patience = Patience {
        first: SHORT,
        ..PATIENCE
    };
    let called = call_in(impatient(patience), [Answer::Hang]).await;
    let expected = "endpoint `test`, model `m-1`: nothing came for 0.5 s (1 tries)";
    assert_eq!(called.failure(), (expected, 1));
}

/// A server that works on one request after the other says nothing to those that wait.
#[tokio::test]
async fn silence_before_the_answer_is_waited_for_longer_than_silence_in_it() {
    let patience = Patience {
        idle: SHORT,
        ..PATIENCE
    };
    let called = call_in(impatient(patience), [slow(1, Duration::from_millis(3_000))]).await;
    // The comment came after three seconds, which was no fault, and nothing for half a second after it.
    let expected = "endpoint `test`, model `m-1`: nothing came for 0.5 s (1 tries)";
    assert_eq!(called.failure(), (expected, 1));
}

fn slow(comments: usize, pause: Duration) -> Answer {
    Answer::Slow {
        reply: Scripted::text("late").with_dialect(Dialect::Silent),
        comments,
        pause,
    }
}

#[tokio::test]
async fn signs_of_life_keep_a_request_waiting_but_not_for_ever() {
    let pause = Duration::from_millis(50);
    let patience = Patience {
        first: SHORT,
        ..PATIENCE
    };
    let called = call_in(impatient(patience), [slow(1_000, pause)]).await;
    let expected = "endpoint `test`, model `m-1`: nothing but signs of life came for 0.5 s (1 tries)";
    assert_eq!(called.failure(), (expected, 1));

    // Together much longer than the idle bound; each alone much shorter.
    let patience = Patience {
        idle: Duration::from_secs(3),
        ..PATIENCE
    };
    let called = call_in(impatient(patience), [slow(40, Duration::from_millis(100))]).await;
    assert_eq!(called.reply(1), &reply("late"));
}

#[tokio::test]
async fn answer_that_does_not_end_is_given_up() {
    let patience = Patience {
        attempt: SHORT,
        ..PATIENCE
    };
    let called = call_in(impatient(patience), [slow(1_000, Duration::from_millis(50))]).await;
    let expected = "endpoint `test`, model `m-1`: the answer did not end within 0.5 s (1 tries)";
    assert_eq!(called.failure(), (expected, 1));
}
