//! The pipeline against every way in which a batch can end.

use super::*;

const SETTINGS: Settings = Settings {
    failures: 2,
    open_for: 1_000,
};

fn pipe_with(login: &Login) -> Pipe<u32> {
    let limits = Limits {
        max_commands: 3,
        max_bytes: 10_000,
        in_flight: 2,
        framing: Framing::Whole,
    };
    Pipe::new(limits, login, SETTINGS, vec![Script::new("return 1")])
}

fn pipe() -> Pipe<u32> {
    pipe_with(&Login::default())
}

fn push(pipe: &mut Pipe<u32>, tag: u32) -> Result<(), Trouble> {
    pipe.push(Command::new(0, 0), tag, 100, 50)
}

fn send(pipe: &mut Pipe<u32>, token: u32, now: Ps) -> (usize, String) {
    let batch = pipe
        .next_batch(now, |tag, _| panic!("{tag} is late"))
        .unwrap();
    let sent = (
        batch.len(),
        String::from_utf8_lossy(&batch.body).into_owned(),
    );
    pipe.sent(token, batch);
    sent
}

fn reply(
    pipe: &mut Pipe<u32>,
    token: u32,
    body: Result<&[u8], Trouble>,
) -> Vec<(u32, Result<i64, Trouble>)> {
    let mut out = Vec::new();
    pipe.replied(token, body, 50, |tag, result| {
        let result = result.map(|reply| match reply {
            Reply::Integer(number) => number,
            other => panic!("{other:?}"),
        });
        out.push((tag, result));
    });
    out
}

#[test]
fn what_arrives_while_callouts_are_in_flight_goes_out_together() {
    let mut pipe = pipe();
    push(&mut pipe, 1).unwrap();
    assert_eq!(send(&mut pipe, 10, 0).0, 1);
    push(&mut pipe, 2).unwrap();
    assert_eq!(send(&mut pipe, 11, 0).0, 1);
    for tag in 3..8 {
        push(&mut pipe, tag).unwrap();
    }
    assert!(!pipe.is_ready(), "two are in flight");
    assert_eq!(reply(&mut pipe, 10, Ok(b":7\r\n+OK\r\n")), [(1, Ok(7))]);
    assert_eq!(send(&mut pipe, 12, 0).0, 3, "a batch holds three at most");
    assert_eq!(
        reply(&mut pipe, 12, Ok(b":1\r\n:2\r\n:3\r\n+OK\r\n")),
        [(3, Ok(1)), (4, Ok(2)), (5, Ok(3))]
    );
}

/// Of these the first leaves; then so many are pushed.
fn one_under_way(limits: impl FnOnce(&mut Limits), others: u32) -> Pipe<u32> {
    let mut pipe = pipe();
    limits(&mut pipe.limits);
    push(&mut pipe, 0).unwrap();
    assert_eq!(send(&mut pipe, 10, 0).0, 1);
    for tag in 1..=others {
        push(&mut pipe, tag).unwrap();
    }
    pipe
}

#[test]
fn a_batch_that_is_half_full_does_not_wait_for_another() {
    let eight = |limits: &mut Limits| limits.max_commands = 8;
    assert!(!one_under_way(eight, 3).is_ready());
    let mut pipe = one_under_way(eight, 4);
    assert_eq!(send(&mut pipe, 11, 0).0, 4);
    for tag in 5..20 {
        push(&mut pipe, tag).unwrap();
    }
    assert!(!pipe.is_ready(), "two are in flight");
}

#[test]
fn a_batch_of_half_the_bytes_does_not_wait_for_another() {
    let size = Command::new(0, 0).size();
    let bytes = |limits: &mut Limits| (limits.max_commands, limits.max_bytes) = (100, 8 * size);
    assert!(!one_under_way(bytes, 3).is_ready());
    assert!(one_under_way(bytes, 4).is_ready());
}

#[test]
fn the_only_place_is_for_one_batch_however_many_wait() {
    let one = |limits: &mut Limits| limits.in_flight = 1;
    let mut pipe = one_under_way(one, 20);
    assert!(!pipe.is_ready());
    assert_eq!(reply(&mut pipe, 10, Ok(b":7\r\n+OK\r\n")), [(0, Ok(7))]);
    assert!(pipe.is_ready());
}

#[test]
fn a_batch_is_login_commands_quit() {
    let login = Login {
        username: Some("u".into()),
        password: Some("p w".into()),
        database: 3,
    };
    let mut pipe = pipe_with(&login);
    push(&mut pipe, 1).unwrap();
    let (_, body) = send(&mut pipe, 1, 0);
    let sha1 = Script::new("return 1").sha1().to_owned();
    assert_eq!(
        body,
        format!(
            "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\np w\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n\
             *3\r\n$7\r\nEVALSHA\r\n$40\r\n{sha1}\r\n$1\r\n0\r\n*1\r\n$4\r\nQUIT\r\n"
        )
    );
    assert_eq!(
        reply(&mut pipe, 1, Ok(b"+OK\r\n+OK\r\n:1\r\n+OK\r\n")),
        [(1, Ok(1))]
    );
}

#[test]
fn a_wrong_password_fails_the_batch_whatever_follows() {
    let mut pipe = pipe_with(&Login {
        password: Some("p".into()),
        ..Login::default()
    });
    push(&mut pipe, 1).unwrap();
    send(&mut pipe, 1, 0);
    let body = b"-WRONGPASS no\r\n-NOAUTH Authentication required.\r\n+OK\r\n";
    assert_eq!(reply(&mut pipe, 1, Ok(body)), [(1, Err(Trouble::Auth))]);
}

#[test]
fn a_body_that_is_short_garbled_or_long_fails_every_command() {
    for (body, trouble) in [
        (&b""[..], Trouble::Truncated),
        (b":1\r\n:2\r\n", Trouble::Truncated),
        (b":1\r\n:2\r\n+O", Trouble::Truncated),
        (b":1\r\n+OK\r\n", Trouble::Truncated),
        (
            b"-ERR Protocol error: unauthenticated multibulk length\r\n",
            Trouble::Auth,
        ),
        (b"no healthy upstream", Trouble::Malformed),
        (b":1\r\n:2\r\n:3\r\n+OK\r\n", Trouble::Malformed),
        (b":1\r\n:2\r\n+OK\r\n+OK\r\n", Trouble::Malformed),
        (
            b"-LOADING x\r\n-LOADING x\r\n-LOADING x\r\n",
            Trouble::Loading,
        ),
    ] {
        let mut pipe = pipe();
        push(&mut pipe, 1).unwrap();
        push(&mut pipe, 2).unwrap();
        send(&mut pipe, 1, 0);
        assert_eq!(
            reply(&mut pipe, 1, Ok(body)),
            [(1, Err(trouble)), (2, Err(trouble))],
            "{}",
            String::from_utf8_lossy(body)
        );
    }
}

#[test]
fn an_error_reply_concerns_its_own_command() {
    let mut pipe = pipe();
    push(&mut pipe, 1).unwrap();
    push(&mut pipe, 2).unwrap();
    send(&mut pipe, 1, 0);
    let body = b"-OOM command not allowed\r\n:2\r\n+OK\r\n";
    assert_eq!(
        reply(&mut pipe, 1, Ok(body)),
        [(1, Err(Trouble::OutOfMemory)), (2, Ok(2))]
    );
}

#[test]
fn noscript_is_sent_again_whole_and_only_once() {
    let mut pipe = pipe();
    push(&mut pipe, 1).unwrap();
    send(&mut pipe, 1, 0);
    assert_eq!(
        reply(
            &mut pipe,
            1,
            Ok(b"-NOSCRIPT No matching script.\r\n+OK\r\n")
        ),
        []
    );
    let (_, body) = send(&mut pipe, 2, 0);
    assert!(body.contains("EVAL\r\n$8\r\nreturn 1"), "{body}");
    assert_eq!(
        reply(
            &mut pipe,
            2,
            Ok(b"-NOSCRIPT No matching script.\r\n+OK\r\n")
        ),
        [(1, Err(Trouble::NoScript))]
    );
    assert!(pipe.is_idle());
}

#[test]
fn the_breaker_opens_and_one_probe_closes_it() {
    let mut pipe = pipe();
    for token in 0..2 {
        push(&mut pipe, 1).unwrap();
        send(&mut pipe, token, 0);
        assert_eq!(
            reply(&mut pipe, token, Err(Trouble::Timeout)),
            [(1, Err(Trouble::Timeout))]
        );
    }
    assert_eq!(push(&mut pipe, 1), Err(Trouble::BreakerOpen));
    let later = 2_000;
    assert_eq!(pipe.push(Command::new(0, 0), 5, later + 100, later), Ok(()));
    assert_eq!(
        pipe.push(Command::new(0, 0), 6, later + 100, later),
        Err(Trouble::BreakerOpen),
        "one probe only"
    );
    send(&mut pipe, 9, later);
    assert_eq!(reply(&mut pipe, 9, Ok(b":1\r\n+OK\r\n")), [(5, Ok(1))]);
    assert_eq!(push(&mut pipe, 1), Ok(()));
}

#[test]
fn a_command_whose_deadline_has_passed_is_never_sent() {
    let mut pipe = pipe();
    push(&mut pipe, 1).unwrap();
    let mut late = Vec::new();
    assert!(
        pipe.next_batch(100, |tag, trouble| late.push((tag, trouble)))
            .is_none()
    );
    assert_eq!(late, [(1, Trouble::Timeout)]);
    assert!(pipe.is_idle());
}

#[test]
fn a_batch_the_gateway_refuses_fails_at_once() {
    let mut pipe = pipe();
    push(&mut pipe, 1).unwrap();
    let batch = pipe.next_batch(0, |_, _| ()).unwrap();
    let mut done = Vec::new();
    pipe.not_sent(batch, 0, |tag, trouble| done.push((tag, trouble)));
    assert_eq!(done, [(1, Trouble::Connect)]);
    assert!(pipe.is_idle());
}

#[test]
fn the_queue_is_bounded() {
    let mut pipe = pipe();
    for tag in 0..MOST_WAITING as u32 {
        push(&mut pipe, tag).unwrap();
    }
    assert_eq!(push(&mut pipe, 0), Err(Trouble::Overloaded));
}

#[test]
fn bytes_are_bounded_too_but_one_command_always_goes() {
    let mut pipe = pipe();
    pipe.limits.max_bytes = 1;
    push(&mut pipe, 1).unwrap();
    push(&mut pipe, 2).unwrap();
    assert_eq!(send(&mut pipe, 1, 0).0, 1);
    assert_eq!(send(&mut pipe, 2, 0).0, 1);
}

#[test]
fn replies_that_may_be_long_are_asked_for_a_few_at_a_time() {
    let mut pipe = pipe();
    for (tag, reply) in [
        (1, 20 << 20),
        (2, 20 << 20),
        (3, 10 << 20),
        (4, 40 << 20),
        (5, 0),
    ] {
        let mut command = Command::new(0, 0);
        command.reply = reply;
        pipe.push(command, tag, 100, 50).unwrap();
    }
    let sizes = [1, 2, 3, 4].map(|token| {
        let (size, _) = send(&mut pipe, token, 50);
        pipe.replied(token, Err(Trouble::Timeout), 50, |_, _| ());
        size
    });
    assert_eq!(sizes, [1, 2, 1, 1]);
}

#[test]
fn a_reply_to_an_unknown_callout_is_ignored() {
    assert_eq!(reply(&mut pipe(), 77, Ok(b"+OK\r\n")), []);
}

#[test]
fn on_a_connection_that_stays_a_batch_is_its_commands_alone() {
    let mut pipe = pipe_with(&Login {
        password: Some("p".into()),
        ..Login::default()
    });
    pipe.limits.framing = Framing::Stream;
    assert_eq!(pipe.login(), (&b"*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n"[..], 1));
    push(&mut pipe, 1).unwrap();
    let (_, body) = send(&mut pipe, 1, 0);
    assert!(
        body.starts_with("*3\r\n$7\r\nEVALSHA") && !body.contains("QUIT"),
        "{body}"
    );
    assert_eq!(reply(&mut pipe, 1, Ok(b":5\r\n")), [(1, Ok(5))]);
}

#[test]
fn a_call_that_is_reset_when_its_time_is_up_was_too_late() {
    let deadline = 50 * PS_PER_S / 1_000;
    for (after, expected) in [(2, Trouble::Reset), (49, Trouble::Timeout)] {
        let mut pipe = pipe();
        pipe.push(Command::new(0, 0), 1, deadline, 0).unwrap();
        send(&mut pipe, 10, 0);
        let mut troubles = Vec::new();
        let now = after * PS_PER_S / 1_000;
        pipe.replied(10, Err(Trouble::Reset), now, |_, result| {
            troubles.push(result.err());
        });
        assert_eq!(troubles, [Some(expected)]);
    }
}

#[test]
fn a_callout_that_the_gateway_never_ends_gives_its_place_back() {
    let mut pipe = pipe();
    push(&mut pipe, 1).unwrap();
    send(&mut pipe, 10, 50);
    push(&mut pipe, 2).unwrap();
    send(&mut pipe, 11, 50);
    push(&mut pipe, 3).unwrap();
    assert!(!pipe.is_ready(), "both places are taken");
    assert!(pipe.overdue(100 + GRACE).is_empty());
    let late = pipe.overdue(101 + GRACE);
    assert_eq!(late, [10, 11]);
    assert_eq!(
        reply(&mut pipe, 10, Err(Trouble::Timeout)),
        [(1, Err(Trouble::Timeout))]
    );
    assert!(pipe.is_ready());
    assert!(reply(&mut pipe, 10, Ok(b":1\r\n+OK\r\n")).is_empty());
}

fn durably(pipe: &mut Pipe<u32>, token: u32, body: &[u8]) -> Vec<(u32, bool, Result<(), Trouble>)> {
    let mut out = Vec::new();
    pipe.replied_durably(token, Ok(body), 50, |tag, reply, durable| {
        out.push((tag, reply.is_ok(), durable));
    });
    out
}

#[test]
fn one_wait_is_for_all_durable_commands_of_a_batch_and_for_no_others() {
    let mut pipe = pipe().with_durability(Some(Durability {
        replicas: 1,
        aof: false,
        timeout: std::time::Duration::from_millis(25),
    }));
    let push_durable = |pipe: &mut Pipe<u32>, tag| {
        let mut command = Command::new(0, 0);
        command.durable = true;
        pipe.push(command, tag, 100, 50).unwrap();
    };
    push(&mut pipe, 1).unwrap();
    let (_, body) = send(&mut pipe, 1, 0);
    assert!(!body.contains("WAIT"), "nothing to wait for");
    reply(&mut pipe, 1, Ok(b":1\r\n+OK\r\n"));

    for (token, wait, durable) in [
        (2, &b":1\r\n"[..], Ok(())),
        (3, b":0\r\n", Err(Trouble::NotDurable)),
        (4, b"-ERR unknown command 'WAIT'\r\n", Err(Trouble::Error)),
    ] {
        push_durable(&mut pipe, 1);
        push(&mut pipe, 2).unwrap();
        push_durable(&mut pipe, 3);
        let batch = pipe.next_batch(0, |_, _| panic!("late")).unwrap();
        assert_eq!((batch.len(), batch.replies()), (3, 4));
        let body = String::from_utf8_lossy(&batch.body).into_owned();
        let end = "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$2\r\n25\r\n*1\r\n$4\r\nQUIT\r\n";
        assert!(body.ends_with(end), "{body}");
        pipe.sent(token, batch);
        // An error of a command stands for itself.
        let replies = [b":1\r\n:2\r\n-OOM no\r\n", wait, b"+OK\r\n"].concat();
        assert_eq!(
            durably(&mut pipe, token, &replies),
            [(1, true, durable), (2, true, Ok(())), (3, false, Ok(()))]
        );
        pipe.breaker.succeeded();
    }

    push_durable(&mut pipe, 1);
    send(&mut pipe, 5, 0);
    let cut = b":1\r\n";
    assert_eq!(durably(&mut pipe, 5, cut), [(1, false, Ok(()))]);
}
