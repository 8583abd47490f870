//! What a client says about itself and its connection, transactions included.

use super::{Answer, Call, LOADING, NO_AUTH, NO_SCRIPT, SESSION, STALE, Spec};
use crate::reply::{Failure, Reply};
use crate::session::{Session, Transaction};

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("ping", -1, 0, ping),
    Spec::data("echo", 2, LOADING | STALE, |call| {
        Ok(Reply::bulk(call.word(1)))
    }),
    Spec::data("auth", -2, SESSION | NO_AUTH, auth),
    Spec::data("hello", -1, SESSION | NO_AUTH, hello),
    Spec::data("quit", -1, SESSION | NO_AUTH, quit),
    Spec::data("reset", 1, SESSION | NO_AUTH, reset),
    Spec::data("client|id", 2, CLIENT, |call| {
        Ok(Reply::Integer(call.session.id))
    }),
    Spec::data("client|setname", 3, CLIENT, set_name),
    Spec::data("client|getname", 2, CLIENT, get_name),
    Spec::data("client|no-evict", 3, CLIENT, |_| Ok(Reply::ok())),
    Spec::data("multi", 1, SESSION, multi),
    Spec::data("discard", 1, SESSION, discard),
    Spec::data("watch", -2, SESSION, watch),
    Spec::data("unwatch", 1, SESSION, unwatch),
];

const CLIENT: u16 = NO_SCRIPT | LOADING | STALE;

fn ping(call: &mut Call<'_>) -> Answer {
    match call.words.len() {
        1 => Ok(Reply::status("PONG")),
        2 => Ok(Reply::bulk(call.word(1))),
        _ => Err(Failure::arity("ping")),
    }
}

fn auth(call: &mut Call<'_>) -> Answer {
    let (user, password) = match call.words.len() {
        2 => {
            if call.state.settings.password.is_none() {
                return Err(Failure::new(
                    "ERR AUTH <password> called without any password configured for the default user. \
                     Are you sure your configuration is correct?",
                ));
            }
            (&b"default"[..], call.word(1))
        }
        3 => (call.word(1), call.word(2)),
        _ => return Err(Failure::syntax()),
    };
    log_in(call, user, password)?;
    Ok(Reply::ok())
}

fn log_in(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> Result<(), Failure> {
    let settings = &call.state.settings;
    let known = user == b"default" || settings.user.as_deref().map(str::as_bytes) == Some(user);
    // A default user without a password takes any.
    let right = settings
        .password
        .as_deref()
        .is_none_or(|right| right.as_bytes() == password);
    if !(known && right) {
        return Err(Failure::new(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    call.session.authenticated = true;
    Ok(())
}

/// RESP2 only: a client that wants RESP3 is told that this server cannot.
fn hello(call: &mut Call<'_>) -> Answer {
    if call.words.len() > 1 {
        let version = call
            .integer(1)
            .map_err(|_| Failure::new("ERR Protocol version is not an integer or out of range"))?;
        if version != 2 {
            return Err(Failure::new("NOPROTO unsupported protocol version"));
        }
    }
    let mut at = 2;
    while let Some(option) = call.option(at) {
        match (option.as_str(), call.words.len() - at) {
            ("auth", 3..) => {
                log_in(call, call.word(at + 1), call.word(at + 2))?;
                at += 3;
            }
            ("setname", 2..) => {
                call.session.name = call.word(at + 1).to_vec();
                at += 2;
            }
            _ => {
                return Err(Failure(format!(
                    "ERR Syntax error in HELLO option '{}'",
                    String::from_utf8_lossy(call.word(at))
                )));
            }
        }
    }
    if !call.session.authenticated {
        return Err(Failure::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
             version at the same time",
        ));
    }
    let role = if call.state.is_replica() {
        "replica"
    } else {
        "master"
    };
    Ok(Reply::Array(vec![
        Reply::bulk("server"),
        Reply::bulk("redis"),
        Reply::bulk("version"),
        Reply::bulk(super::server::VERSION),
        Reply::bulk("proto"),
        Reply::Integer(2),
        Reply::bulk("id"),
        Reply::Integer(call.session.id),
        Reply::bulk("mode"),
        Reply::bulk("standalone"),
        Reply::bulk("role"),
        Reply::bulk(role),
        Reply::bulk("modules"),
        Reply::Array(Vec::new()),
    ]))
}

fn quit(call: &mut Call<'_>) -> Answer {
    call.session.closing = true;
    Ok(Reply::ok())
}

fn reset(call: &mut Call<'_>) -> Answer {
    *call.session = Session {
        id: call.session.id,
        authenticated: call.state.settings.password.is_none(),
        ..Session::default()
    };
    Ok(Reply::status("RESET"))
}

fn set_name(call: &mut Call<'_>) -> Answer {
    let name = call.word(2);
    if !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Err(Failure::new(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ));
    }
    call.session.name = name.to_vec();
    Ok(Reply::ok())
}

fn get_name(call: &mut Call<'_>) -> Answer {
    let name = call.session.name.clone();
    Ok(Reply::bulk_or_nil((!name.is_empty()).then_some(name)))
}

fn multi(call: &mut Call<'_>) -> Answer {
    if call.session.transaction.is_some() {
        return Err(Failure::new("ERR MULTI calls can not be nested"));
    }
    call.session.transaction = Some(Transaction::default());
    Ok(Reply::ok())
}

fn discard(call: &mut Call<'_>) -> Answer {
    if call.session.transaction.take().is_none() {
        return Err(Failure::new("ERR DISCARD without MULTI"));
    }
    call.session.watched.clear();
    Ok(Reply::ok())
}

fn watch(call: &mut Call<'_>) -> Answer {
    if call.session.transaction.is_some() {
        return Err(Failure::new("ERR WATCH inside MULTI is not allowed"));
    }
    let db = call.db();
    for key in call.rest(1) {
        let revision = call.state.store.revision(db, key);
        call.session.watched.push((db, key.clone(), revision));
    }
    Ok(Reply::ok())
}

fn unwatch(call: &mut Call<'_>) -> Answer {
    call.session.watched.clear();
    Ok(Reply::ok())
}
