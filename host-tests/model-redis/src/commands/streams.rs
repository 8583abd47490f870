//! Streams, without consumer groups.

use std::ops::Bound;

use super::stream_id::{self, Wanted};
use super::{Answer, Call, DENY_OOM, Spec, WRITE};
use crate::reply::{Failure, Reply};
use crate::value::{Bytes, Stream, StreamId};

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("xadd", -5, WRITE | DENY_OOM, xadd),
    Spec::data("xlen", 2, 0, xlen),
    Spec::data("xrange", -4, 0, |call| xrange(call, false)),
    Spec::data("xrevrange", -4, 0, |call| xrange(call, true)),
    Spec::data("xdel", -3, WRITE, xdel),
    Spec::data("xtrim", -4, WRITE, xtrim),
];

/// Entries that Redis keeps together by default; `~` only drops such a group as a whole.
const GROUP: usize = 100;

/// What XADD and XTRIM leave.
struct Trim {
    rule: Rule,
    about: bool,
}

enum Rule {
    MaxLen(usize),
    MinId(StreamId),
}

impl Trim {
    /// Reads `MAXLEN|MINID [=|~] threshold [LIMIT count]` at `at`; returns where it ends.
    fn read(call: &Call<'_>, at: usize) -> Result<(Self, usize), Failure> {
        let by_length = call.option(at).as_deref() == Some("maxlen");
        let mut at = at + 1;
        let about = call.word(at) == b"~";
        if about || call.word(at) == b"=" {
            at += 1;
        }
        let rule = if by_length {
            let most = usize::try_from(call.integer(at)?)
                .map_err(|_| Failure::new("ERR The MAXLEN argument must be >= 0."))?;
            Rule::MaxLen(most)
        } else {
            Rule::MinId(stream_id::read(call.word(at), 0)?)
        };
        at += 1;
        if call.option(at).as_deref() == Some("limit") {
            call.integer(at + 1)?;
            if !about {
                return Err(Failure::new(
                    "ERR syntax error, LIMIT cannot be used without the special ~ option",
                ));
            }
            at += 2;
        }
        Ok((Self { rule, about }, at))
    }

    /// Drops the oldest entries; says how many.
    fn apply(&self, stream: &mut Stream) -> usize {
        let mut excess = match self.rule {
            Rule::MaxLen(most) => stream.entries.len().saturating_sub(most),
            Rule::MinId(id) => stream.entries.range(..id).count(),
        };
        if self.about {
            excess -= excess % GROUP;
        }
        for _ in 0..excess {
            stream.entries.pop_first();
        }
        excess
    }
}

fn xadd(call: &mut Call<'_>) -> Answer {
    let (mut at, mut make, mut trim) = (2, true, None);
    loop {
        match call.option(at).as_deref() {
            Some("nomkstream") => {
                make = false;
                at += 1;
            }
            Some("maxlen" | "minid") => {
                let (rule, end) = Trim::read(call, at)?;
                trim = Some(rule);
                at = end;
            }
            _ => break,
        }
    }
    let wanted = Wanted::read(call.word(at))?;
    let (fields, odd) = call.rest(at + 1).as_chunks::<2>();
    if fields.is_empty() || !odd.is_empty() {
        return Err(Failure::arity("xadd"));
    }
    let now = call.state.store.now_micros() / 1000;
    let (db, key) = (call.db(), call.word(1));
    if !make && call.state.store.read::<Stream>(db, key)?.is_none() {
        return Ok(Reply::Nil);
    }
    call.state.store.edit(db, key, |stream: &mut Stream| {
        let id = wanted.after(stream.last, now)?;
        let fields = fields.iter().map(|[f, v]| (f.clone(), v.clone()));
        stream.entries.insert(id, fields.collect());
        stream.last = id;
        if let Some(trim) = trim {
            trim.apply(stream);
        }
        Ok((true, Reply::Bulk(stream_id::write(id))))
    })
}

fn xlen(call: &mut Call<'_>) -> Answer {
    let (db, key) = (call.db(), call.word(1));
    let stream = call.state.store.read::<Stream>(db, key)?;
    Ok(Reply::count(
        stream.map_or(0, |stream| stream.entries.len()),
    ))
}

fn xrange(call: &mut Call<'_>, backwards: bool) -> Answer {
    let (from, to) = if backwards { (3, 2) } else { (2, 3) };
    let from = stream_id::bound(call.word(from), false)?;
    let to = stream_id::bound(call.word(to), true)?;
    let count = match call.option(4).as_deref() {
        None => usize::MAX,
        Some("count") if call.words.len() == 6 => usize::try_from(call.integer(5)?).unwrap_or(0),
        _ => return Err(Failure::syntax()),
    };
    let (db, key) = (call.db(), call.word(1));
    let Some(stream) = call.state.store.read::<Stream>(db, key)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    if count == 0 {
        return Ok(Reply::NilArray);
    }
    if empty(&from, &to) {
        return Ok(Reply::Array(Vec::new()));
    }
    let mut within: Vec<_> = stream.entries.range((from, to)).collect();
    if backwards {
        within.reverse();
    }
    let entries = within.into_iter().take(count);
    Ok(Reply::Array(entries.map(entry).collect()))
}

/// Whether nothing can lie between; such a range may not be asked for.
fn empty(from: &Bound<StreamId>, to: &Bound<StreamId>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (
            Bound::Included(from) | Bound::Excluded(from),
            Bound::Included(to) | Bound::Excluded(to),
        ) => from >= to,
        _ => false,
    }
}

fn entry((id, fields): (&StreamId, &Vec<(Bytes, Bytes)>)) -> Reply {
    let fields = fields.iter().flat_map(|(f, v)| [f.clone(), v.clone()]);
    Reply::Array(vec![
        Reply::Bulk(stream_id::write(*id)),
        Reply::bulks(fields),
    ])
}

fn xdel(call: &mut Call<'_>) -> Answer {
    let ids = call.rest(2).iter().map(|id| stream_id::read(id, 0));
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let (db, key) = (call.db(), call.word(1));
    if call.state.store.read::<Stream>(db, key)?.is_none() {
        return Ok(Reply::Integer(0));
    }
    call.state.store.edit(db, key, |stream: &mut Stream| {
        let gone = ids.iter().filter(|id| stream.entries.remove(id).is_some());
        let gone = gone.count();
        Ok((gone > 0, Reply::count(gone)))
    })
}

fn xtrim(call: &mut Call<'_>) -> Answer {
    if !matches!(call.option(2).as_deref(), Some("maxlen" | "minid")) {
        return Err(Failure::syntax());
    }
    let (trim, end) = Trim::read(call, 2)?;
    if end < call.words.len() {
        return Err(Failure::syntax());
    }
    let (db, key) = (call.db(), call.word(1));
    if call.state.store.read::<Stream>(db, key)?.is_none() {
        return Ok(Reply::Integer(0));
    }
    call.state.store.edit(db, key, |stream: &mut Stream| {
        let gone = trim.apply(stream);
        Ok((gone > 0, Reply::count(gone)))
    })
}
