//! Who gets an answer may have it, and has it whole: byte for byte what the origin gave.

use super::history::{Asked, Got, History, Request};
use super::law;
use crate::coalesce::sent::{Directive, Sent};
use sluice_emulator::Answer;
use std::time::Duration;

/// Answers that went to the wrong client, or are not what the origin gave.
#[must_use]
pub fn wrong(history: &History<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for request in &history.requests {
        if let Some(problem) = problem(history, request) {
            let sent = request.sent;
            found.push(format!("#{} ({sent}) {problem}", request.place));
        }
    }
    found
}

fn problem(history: &History<'_>, request: &Request<'_>) -> Option<String> {
    match &request.got {
        Got::Nothing => None,
        Got::Gateway(answer) => gateway(history, request, answer),
        Got::Number {
            number,
            confirmed,
            answer,
        } => {
            let Some(asked) = history.asked.iter().find(|asked| asked.number == *number) else {
                return Some(format!("got answer {number}, which the origin never gave"));
            };
            if asked.entry.exchange == Some(request.place) {
                return differs(request, asked, answer);
            }
            others(history, request, asked, *confirmed)
                .map(|why| format!("got answer {number}, but {why}"))
                .or_else(|| differs(request, asked, answer))
        }
    }
}

/// Why an answer to another's request is not for this one.
fn others(
    history: &History<'_>,
    request: &Request<'_>,
    asked: &Asked<'_>,
    confirmed: Option<usize>,
) -> Option<String> {
    let (policy, sent) = (history.policy, request.sent);
    let text = |why: &str| Some(why.to_owned());
    if asked.uri != request.uri {
        return Some(format!("that is of {}", asked.uri));
    }
    if let Some(why) = law::bypass(policy, sent) {
        return Some(format!("has {why}"));
    }
    if asked.method != "GET" {
        return text("that answers no GET");
    }
    // A call of the gateway's own is made in the name of a request, which has the same fields.
    let authorized = asked.entry.request.get("authorization").is_some();
    let authorized = authorized || sent.authorization.is_some();
    let status = asked.entry.reply.status;
    if let Some(why) = law::unshared(policy, asked.nature, status, authorized) {
        return text(why);
    }
    if asked.entry.reply.trouble.is_some() {
        return text("that broke off");
    }
    let by = asked.request.or_else(|| namesake(history, asked));
    if let Some(by) = by {
        if law::bypass(policy, by).is_some() {
            return text("that was asked for by one who shares nothing");
        }
        if let Some(why) = law::apart(policy, asked.nature, by, sent) {
            return text(why);
        }
    }
    let own = confirmed.is_some() && confirmed == request.asked;
    if asked.nature.no_cache && !own {
        return text("nobody asked the origin whether it is still so");
    }
    newer(history, request, asked, confirmed)
}

/// A request like the one for which the gateway asked by itself.
fn namesake<'a>(history: &'a History<'_>, asked: &Asked<'_>) -> Option<&'a Sent> {
    let same = |request: &&Request<'_>| {
        let own = request.sent.request();
        request.uri == asked.uri
            && law::bypass(history.policy, request.sent).is_none()
            && ["authorization", "cookie", "x-user", "accept-language"]
                .iter()
                .all(|name| own.headers.get(name) == asked.entry.request.get(name))
    };
    history
        .requests
        .iter()
        .find(same)
        .map(|request| request.sent)
}

/// Who wants what is asked for after the request gets nothing older.
fn newer(
    history: &History<'_>,
    request: &Request<'_>,
    asked: &Asked<'_>,
    confirmed: Option<usize>,
) -> Option<String> {
    let directive = law::directive(history.policy, request.sent);
    if !matches!(directive, Directive::NoCache | Directive::MaxAge(0)) {
        return None;
    }
    // By so much it was taken for younger.
    let back = history.run.case.faults.redis_back();
    let confirmed = confirmed.and_then(|number| history.run.book.get(number));
    let at = confirmed.map_or(asked.entry.at, |entry| entry.at);
    (at + Duration::from_millis(1) + back < request.exchange.sent)
        .then(|| format!("it wants nothing of before {:?}", request.exchange.sent))
}

/// An answer that is not what the origin gave.
fn differs(request: &Request<'_>, asked: &Asked<'_>, answer: &Answer) -> Option<String> {
    let number = asked.number;
    let reply = &asked.entry.reply;
    let body = reply.body.concat();
    let part = body.get(..4).unwrap_or(&body);
    let (status, expected): (u16, &[u8]) = match answer.status {
        _ if request.sent.method == "HEAD" => (answer.status, b""),
        304 if request.sent.condition.is_some() => (304, b""),
        206 if request.sent.range && reply.status == 200 => (206, part),
        _ => (reply.status, &body),
    };
    if answer.status != status {
        return Some(format!(
            "got status {} of answer {number}, which has {}",
            answer.status, reply.status
        ));
    }
    if answer.body != expected {
        return Some(format!(
            "got {} bytes of answer {number}, not its {} bytes",
            answer.body.len(),
            expected.len()
        ));
    }
    let own = asked.entry.exchange == Some(request.place);
    let missing = reply.headers.iter().find(|(name, value)| {
        let kept = own || !matches!(*name, b"content-length" | b"age");
        let of_body = *name == b"content-type" && (answer.status == 304 || body.is_empty());
        kept && !of_body && !answer.headers.get_all(name).any(|own| own == *value)
    });
    missing.map(|(name, _)| {
        let name = String::from_utf8_lossy(name);
        format!("lacks the field {name} of answer {number}")
    })
}

/// The gateway answers by itself only what it has to.
fn gateway(history: &History<'_>, request: &Request<'_>, answer: &Answer) -> Option<String> {
    let sent = request.sent;
    let right = match answer.status {
        204 => sent.is_purge(),
        504 if law::directive(history.policy, sent) == Directive::OnlyIfCached => true,
        200 if sent.method == "OPTIONS" => true,
        503 | 504 => {
            let reply = request
                .asked
                .and_then(|number| history.run.book.get(number));
            let troubled = reply.is_some_and(|entry| {
                let late = entry.reply.after + 6 * history.run.case.faults.latency();
                let timeout = Duration::from_millis(history.policy.upstream_timeout_ms);
                entry.reply.trouble.is_some() || late >= timeout
            });
            troubled
                || history.run.refused.contains(&request.place)
                || history.run.case.faults.crashes(sent.gateway)
        }
        _ => false,
    };
    (!right).then(|| format!("was told {} by the gateway", answer.status))
}
