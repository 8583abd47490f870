use super::*;
use crate::redis::pipe::Framing;
use crate::redis::resp;
use crate::shard::published::{Published, Signer};

const S: Ps = PS_PER_S;

fn refresh(version: u64, wait: bool) -> Refresh {
    Refresh::new(Settings {
        place: "sluice:shard-tables:t".to_owned(),
        every: 5 * S,
        signer: None,
        version,
        wait,
        timeout: S / 10,
        limits: Limits {
            max_commands: 10,
            max_bytes: 1_000,
            in_flight: 1,
            framing: Framing::Stream,
        },
        login: Login::default(),
        breaker: breaker::Settings {
            failures: 3,
            open_for: 60 * S,
        },
    })
}

/// The question that is asked now, as its last two arguments.
fn asked(refresh: &mut Refresh, now: Ps) -> Option<(String, String)> {
    let mut body = None;
    let news = refresh.ask(now, |batch| {
        body = Some(String::from_utf8_lossy(&batch.body).into_owned());
        Ok(1)
    });
    assert_eq!(news, None);
    let body = body?;
    let mut lines = body.lines().rev().step_by(2);
    let (skipped, version) = (lines.next()?, lines.next()?);
    Some((version.to_owned(), skipped.to_owned()))
}

fn answered(refresh: &mut Refresh, items: &[&str]) -> Option<News> {
    let items: Vec<&[u8]> = items.iter().map(|item| item.as_bytes()).collect();
    let mut body = Vec::new();
    // A reply looks like a command.
    resp::encode(&mut body, &items);
    refresh.replied(1, Ok(&body), 0, |_| panic!("nothing is to be sent"))
}

fn pair(version: &str, skipped: &str) -> Option<(String, String)> {
    Some((version.to_owned(), skipped.to_owned()))
}

#[test]
fn it_asks_at_once_and_then_from_time_to_time() {
    let mut refresh = refresh(4, true);
    assert_eq!(asked(&mut refresh, S), pair("4", ""));
    // One question at a time.
    assert_eq!(asked(&mut refresh, 7 * S), None);
    assert!(refresh.is_waiting());
    assert_eq!(answered(&mut refresh, &["4"]), None);
    assert!(!refresh.is_waiting());
    assert_eq!(asked(&mut refresh, 5 * S), None);
    assert_eq!(asked(&mut refresh, 6 * S), pair("4", ""));
    assert_eq!(answered(&mut refresh, &[]), None);
    // A clock that was set back.
    assert_eq!(asked(&mut refresh, S), pair("4", ""));
    assert_eq!(refresh.counts, Counts::default());
}

#[test]
fn a_higher_version_is_news_and_a_lower_one_never_is() {
    let mut refresh = refresh(4, true);
    asked(&mut refresh, S);
    let six = Published {
        version: 6,
        tables: b"{}".to_vec(),
    };
    assert_eq!(
        answered(&mut refresh, &["6", "{}", ""]),
        Some(News::Newer(six))
    );
    // Not before it is in force.
    assert!(refresh.is_waiting());
    refresh.adopted(6);
    assert!(!refresh.is_waiting());
    assert_eq!(asked(&mut refresh, 6 * S), pair("6", ""));
    // Redis has lost something.
    assert_eq!(answered(&mut refresh, &["5"]), None);
    asked(&mut refresh, 11 * S);
    assert_eq!(answered(&mut refresh, &[]), None);
    assert_eq!((refresh.version(), refresh.counts.older), (6, 2));
    // Another worker was faster.
    asked(&mut refresh, 16 * S);
    refresh.adopted(9);
    assert_eq!(answered(&mut refresh, &["8", "{}", ""]), None);
    assert_eq!(refresh.version(), 9);
}

#[test]
fn what_does_not_fit_is_told_once_and_not_fetched_again_and_the_next_one_is() {
    let mut refresh = refresh(4, true);
    refresh.settings.signer = Signer::new(b"0123456789abcdef", "here");
    asked(&mut refresh, S);
    let unfit = Some(News::Unfit(Unfit::Signature));
    assert_eq!(answered(&mut refresh, &["9", "{}", "forged"]), unfit);
    // It says nothing of what was published before.
    assert!(refresh.is_waiting());
    assert_eq!(asked(&mut refresh, 6 * S), pair("4", "9"));
    assert_eq!(answered(&mut refresh, &["9"]), None);
    assert!(refresh.is_waiting());
    asked(&mut refresh, 11 * S);
    assert_eq!(answered(&mut refresh, &["10", "{}", "forged"]), unfit);
    asked(&mut refresh, 16 * S);
    let five = Published {
        version: 5,
        tables: b"{}".to_vec(),
    };
    let signature = refresh.settings.signer.as_ref().unwrap().sign(&five);
    let mut body = Vec::new();
    resp::encode(&mut body, &[b"5", b"{}", &signature]);
    let news = refresh.replied(1, Ok(&body), 0, |_| panic!("nothing is to be sent"));
    assert_eq!(news, Some(News::Newer(five)));
    // Signed, and no tables of this policy.
    refresh.refused(5);
    assert_eq!(asked(&mut refresh, 21 * S), pair("4", "5"));
}

#[test]
fn a_redis_that_does_not_answer_is_asked_again_soon_only_while_nothing_is_known() {
    let mut refresh = refresh(4, true);
    refresh.needed();
    let post = |_: &Batch<()>| Err(Trouble::Connect);
    assert_eq!(refresh.ask(S, post), Some(News::Failed(Trouble::Connect)));
    assert_eq!(asked(&mut refresh, 3 * S / 2), None);
    // Told once.
    assert_eq!(refresh.ask(2 * S, post), None);
    assert_eq!(asked(&mut refresh, 3 * S), pair("4", ""));
    let news = refresh.replied(1, Err(Trouble::Timeout), 3 * S, |_| panic!());
    assert_eq!((news, refresh.counts.failed), (None, 3));
    // The breaker is open by now: that is one more.
    assert_eq!(asked(&mut refresh, 4 * S), None);
    assert_eq!((refresh.counts.failed, refresh.is_waiting()), (4, true));
    assert_eq!(asked(&mut refresh, 63 * S), pair("4", ""));
    answered(&mut refresh, &[]);
    assert_eq!(
        refresh.ask(68 * S, post),
        Some(News::Failed(Trouble::Connect))
    );
    assert_eq!(asked(&mut refresh, 70 * S), None);
    assert!(!refresh.is_waiting());
}

#[test]
fn who_has_no_way_to_redis_says_so_when_there_is_a_request() {
    let mut refresh = refresh(4, true);
    let post = |_: &Batch<()>| Err(Trouble::Connect);
    for turn in 1..5 {
        assert_eq!(refresh.ask(turn * S, post), None);
    }
    // The breaker is open.
    assert_eq!(asked(&mut refresh, 5 * S), None);
    assert_eq!(refresh.counts.failed, 0);
    // Whoever gets there and hears nothing has a way.
    asked(&mut refresh, 64 * S);
    let news = refresh.replied(1, Err(Trouble::Timeout), 64 * S, |_| panic!());
    assert_eq!(news, Some(News::Failed(Trouble::Timeout)));
    assert_eq!((refresh.counts.failed, refresh.is_waiting()), (1, true));
    asked(&mut refresh, 125 * S);
    answered(&mut refresh, &[]);
    refresh.needed();
    assert_eq!(
        refresh.ask(130 * S, post),
        Some(News::Failed(Trouble::Connect))
    );
    assert_eq!(refresh.counts.failed, 2);
}

#[test]
fn a_script_that_redis_does_not_know_is_sent_whole() {
    let mut refresh = refresh(4, true);
    asked(&mut refresh, S);
    let mut body = String::new();
    let news = refresh.replied(1, Ok(b"-NOSCRIPT No matching script.\r\n"), S, |batch| {
        body = String::from_utf8_lossy(&batch.body).into_owned();
        Ok(1)
    });
    assert_eq!(news, None);
    assert!(body.contains("HMGET"), "{body}");
    assert_eq!(answered(&mut refresh, &["4"]), None);
    assert!(!refresh.is_waiting());
}

#[test]
fn without_waiting_the_policy_s_own_tables_serve_from_the_start() {
    assert!(!refresh(4, false).is_waiting());
}
