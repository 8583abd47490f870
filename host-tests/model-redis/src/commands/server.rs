//! What the server says about itself.

use super::scan::matches;
use super::{Answer, Call, LOADING, NO_SCRIPT, STALE, Spec, lower};
use crate::reply::{Failure, Reply};
use crate::state::Mode;
use crate::store::DATABASES;

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("time", 1, LOADING | STALE, time),
    Spec::data("info", -1, LOADING | STALE, info),
    Spec::data("role", 1, NO_SCRIPT | LOADING | STALE, role),
    Spec::data("wait", 3, NO_SCRIPT, wait),
    Spec::data("waitaof", 4, NO_SCRIPT, wait_aof),
    Spec::data("command", 1, LOADING | STALE, |_| {
        Ok(Reply::Array(Vec::new()))
    }),
    Spec::data("command|count", 2, LOADING | STALE, |_| {
        Ok(Reply::count(super::TABLE.len()))
    }),
    Spec::data("command|docs", -2, LOADING | STALE, |_| {
        Ok(Reply::Array(Vec::new()))
    }),
    Spec::data("config|get", -3, NO_SCRIPT | LOADING | STALE, config_get),
    Spec::data("config|set", -4, NO_SCRIPT | LOADING | STALE, config_set),
];

/// The version whose behaviour this is.
pub(super) const VERSION: &str = "7.0.15";

fn time(call: &mut Call<'_>) -> Answer {
    let now = call.state.store.now_micros();
    let parts = [now / 1_000_000, now % 1_000_000];
    Ok(Reply::bulks(
        parts.map(|part| part.to_string().into_bytes()),
    ))
}

fn info(call: &mut Call<'_>) -> Answer {
    let state = &call.state;
    let role = if state.is_replica() {
        "slave"
    } else {
        "master"
    };
    let mut text = format!(
        "# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\n\r\n\
         # Memory\r\nused_memory:{}\r\nmaxmemory:{}\r\nmaxmemory_policy:noeviction\r\n\r\n\
         # Persistence\r\nloading:{}\r\n\r\n\
         # Replication\r\nrole:{role}\r\nconnected_slaves:{}\r\n\r\n# Keyspace\r\n",
        state.store.memory(),
        state.settings.max_memory.unwrap_or(0),
        u8::from(state.mode == Mode::Loading),
        state.settings.replicas,
    );
    for db in 0..DATABASES {
        let keys = state.store.live(db).count();
        let expires = state.store.live(db).filter(|(_, e)| e.expires.is_some());
        if keys > 0 {
            let expires = expires.count();
            text.push_str(&format!(
                "db{db}:keys={keys},expires={expires},avg_ttl=0\r\n"
            ));
        }
    }
    Ok(Reply::bulk(text))
}

fn role(call: &mut Call<'_>) -> Answer {
    if call.state.is_replica() {
        let link = if call.state.mode == Mode::MasterDown {
            "connect"
        } else {
            "connected"
        };
        return Ok(Reply::Array(vec![
            Reply::bulk("slave"),
            Reply::bulk("127.0.0.1"),
            Reply::Integer(6379),
            Reply::bulk(link),
            Reply::Integer(0),
        ]));
    }
    Ok(Reply::Array(vec![
        Reply::bulk("master"),
        Reply::Integer(0),
        Reply::Array(Vec::new()),
    ]))
}

/// How many replicas have all writes; there is no waiting here, so those that lag are as good as timed out.
fn replicas_with_all(call: &mut Call<'_>) -> usize {
    if !call.state.replicas_follow {
        return 0;
    }
    if call.state.settings.replicas > 0 {
        // What a replica has said to have, a failover (to the one that has most) does not lose.
        call.state.store.settle();
    }
    call.state.settings.replicas
}

fn check_timeout(timeout: &[u8]) -> Result<(), Failure> {
    match super::integer(timeout) {
        Ok(0..) => Ok(()),
        Ok(_) => Err(Failure::new("ERR timeout is negative")),
        Err(_) => Err(Failure::new(
            "ERR timeout is not an integer or out of range",
        )),
    }
}

fn wait(call: &mut Call<'_>) -> Answer {
    if call.state.is_replica() {
        return Err(Failure::new(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica \
             is configured to be writable (which is not the default) writes to replicas are just local and are \
             not propagated.",
        ));
    }
    call.integer(1)?;
    check_timeout(call.word(2))?;
    Ok(Reply::count(replicas_with_all(call)))
}

/// As Redis 7.2 has it.
fn wait_aof(call: &mut Call<'_>) -> Answer {
    let local = call.integer(1)?;
    call.integer(2)?;
    check_timeout(call.word(3))?;
    if !(0..=1).contains(&local) {
        return Err(Failure::new(
            "ERR value is out of range, value must between 0 and 1",
        ));
    }
    let append_only = call.state.settings.append_only;
    if local == 1 && !append_only {
        return Err(Failure::new(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    Ok(Reply::Array(vec![
        Reply::Integer(i64::from(append_only)),
        Reply::count(replicas_with_all(call)),
    ]))
}

fn config_get(call: &mut Call<'_>) -> Answer {
    let settings = &call.state.settings;
    let append_only = if settings.append_only { "yes" } else { "no" };
    let all = [
        ("appendonly", append_only.to_owned()),
        ("maxmemory", settings.max_memory.unwrap_or(0).to_string()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("databases", DATABASES.to_string()),
    ];
    let mut items = Vec::new();
    for (name, value) in all {
        let asked = call.rest(2).iter();
        if asked
            .map(|word| lower(word))
            .any(|word| matches(word.as_bytes(), name.as_bytes()))
        {
            items.extend([name.into(), value.into_bytes()]);
        }
    }
    Ok(Reply::bulks(items))
}

/// `maxmemory`, in bytes, only.
fn config_set(call: &mut Call<'_>) -> Answer {
    let (pairs, _) = call.rest(2).as_chunks::<2>();
    for [name, value] in pairs {
        let most = super::integer(value)
            .ok()
            .and_then(|most| usize::try_from(most).ok());
        match (lower(name).as_str(), most) {
            ("maxmemory", Some(most)) => {
                call.state.settings.max_memory = (most > 0).then_some(most);
            }
            _ => {
                return Err(Failure(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                    String::from_utf8_lossy(name)
                )));
            }
        }
    }
    Ok(Reply::ok())
}
