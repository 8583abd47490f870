//! Replies that are none, and refusals by the kinds that an operator tells apart.

use super::model::refusal;
use super::stage::EtcdStage;
use crate::idempotency::etcd::reply::{self, Refusal, Reply};
use crate::idempotency::etcd::request::quoted;
use crate::idempotency::redlock::testing::suite::{claim, commit};
use crate::idempotency::store::Operation;
use crate::redis::trouble::Trouble;
use proptest::prelude::*;

#[test]
fn refusals_by_kind() {
    let trouble = Refusal::Trouble;
    for (status, code, message, kind) in [
        (
            404,
            5,
            "etcdserver: requested lease not found",
            Refusal::NoLease,
        ),
        (
            404,
            5,
            "etcdserver: user not found",
            trouble(Trouble::Error),
        ),
        (401, 16, "etcdserver: invalid auth token", Refusal::NoLogin),
        (
            400,
            3,
            "etcdserver: revision of auth store is old",
            Refusal::NoLogin,
        ),
        (
            400,
            3,
            "etcdserver: user name is empty",
            trouble(Trouble::Auth),
        ),
        (
            400,
            3,
            "etcdserver: authentication failed, invalid user ID or password",
            trouble(Trouble::Auth),
        ),
        (
            403,
            7,
            "etcdserver: permission denied",
            trouble(Trouble::Auth),
        ),
        (
            412,
            9,
            "etcdserver: authentication is not enabled",
            trouble(Trouble::Auth),
        ),
        (
            429,
            8,
            "etcdserver: mvcc: database space exceeded",
            trouble(Trouble::OutOfMemory),
        ),
        (
            429,
            8,
            "etcdserver: too many requests",
            trouble(Trouble::Error),
        ),
        (
            503,
            14,
            "etcdserver: request timed out",
            trouble(Trouble::Timeout),
        ),
        (
            504,
            4,
            "context deadline exceeded",
            trouble(Trouble::Timeout),
        ),
        (503, 14, "etcdserver: no leader", trouble(Trouble::Loading)),
        (
            503,
            14,
            "etcdserver: leader changed",
            trouble(Trouble::Loading),
        ),
        (
            400,
            3,
            "etcdserver: request is too large",
            trouble(Trouble::Error),
        ),
        (500, 2, "panic", trouble(Trouble::Error)),
    ] {
        let answer = refusal(status, code, message);
        let reply = Reply {
            status,
            body: &answer.1,
        };
        assert_eq!(reply::txn(reply), Err(kind), "{message}");
    }
    // The gateway's own words.
    for (status, kind) in [
        (503, Trouble::Connect),
        (504, Trouble::Timeout),
        (404, Trouble::Malformed),
        (200, Trouble::Malformed),
    ] {
        let body = b"upstream connect error or disconnect/reset before headers";
        let reply = Reply { status, body };
        assert_eq!(reply::txn(reply), Err(trouble(kind)), "{status}");
    }
}

/// What a gateway of etcd answers to a request that it does not understand: that nothing was done, and well.
#[test]
fn a_success_without_what_was_done_is_none() {
    for body in [
        r#"{"header":{"revision":"7"},"succeeded":true}"#,
        r#"{"header":{"revision":"7"},"succeeded":true,"responses":[]}"#,
        r#"{"header":{"revision":"7"},"succeeded":true,"responses":[{"response_range":{}}]}"#,
        r#"{"header":{"revision":"x"},"succeeded":true,"responses":[{"response_put":{}}]}"#,
        r#"{"header":{},"succeeded":true,"responses":[{"response_put":{}}]}"#,
        r#"{"succeeded":true,"responses":[{"response_put":{}}]}"#,
        r#"{"header":{"revision":"7"},"responses":[{"response_range":{"kvs":[{"value":"%","create_revision":"1"}]}}]}"#,
        r#"{"header":{"revision":"7"},"responses":[{"response_range":{"kvs":[{"value":"","create_revision":"-"}]}}]}"#,
        "",
        "[]",
        "null",
    ] {
        let reply = Reply {
            status: 200,
            body: body.as_bytes(),
        };
        let malformed = Refusal::Trouble(Trouble::Malformed);
        assert_eq!(reply::txn(reply), Err(malformed), "{body}");
    }
    let body = vec![b' '; 9 << 20];
    let endless = Reply {
        status: 200,
        body: &body,
    };
    assert_eq!(
        reply::txn(endless),
        Err(Refusal::Trouble(Trouble::Malformed))
    );
}

#[test]
fn a_token_that_is_no_header_is_none() {
    for (token, good) in [
        ("abc.1", true),
        ("", false),
        ("a b", false),
        ("a\\r\\nx: y", false),
    ] {
        let body = format!(r#"{{"token":"{token}"}}"#);
        let reply = Reply {
            status: 200,
            body: body.as_bytes(),
        };
        assert_eq!(reply::token(reply).is_ok(), good, "{token}");
    }
}

proptest! {
    #[test]
    fn any_text_is_quoted_as_json(text: String) {
        let quoted = quoted(&text);
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }

    /// Whatever comes back, each operation is answered once, and nothing goes on for ever.
    #[test]
    fn any_reply_is_taken_without_a_panic(
        replies in prop::collection::vec((100..600u16, any::<Vec<u8>>()), 1..30),
    ) {
        let mut stage = EtcdStage::new();
        let mine = claim("k", 1);
        let mut begun = 0;
        for operation in [
            Operation::Acquire(mine.clone()),
            Operation::Renew(mine.clone()),
            commit(&mine, b"made"),
            Operation::Release(mine),
        ] {
            begun += usize::from(stage.start(0, &operation).is_ok());
        }
        let mut answers = Vec::new();
        for answer in replies.iter().cycle().take(40) {
            for (token, _) in stage.send(0) {
                stage.hear(0, token, Ok(answer));
            }
            answers.extend(stage.answered(0));
        }
        prop_assert_eq!(answers.len(), begun);
        prop_assert!(answers.iter().all(Result::is_err));
    }
}
