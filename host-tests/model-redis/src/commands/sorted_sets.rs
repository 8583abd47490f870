//! Sorted sets.

use super::{Answer, Call, DENY_OOM, Spec, WRITE};
use crate::float;
use crate::reply::{Failure, Reply};
use crate::value::{Bytes, SortedSet};

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("zadd", -4, WRITE | DENY_OOM, zadd),
    Spec::data("zrem", -3, WRITE, zrem),
    Spec::data("zscore", 3, 0, zscore),
    Spec::data("zcard", 2, 0, zcard),
    Spec::data("zcount", 4, 0, zcount),
    Spec::data("zrange", -4, 0, zrange),
    Spec::data("zrangebyscore", -4, 0, zrangebyscore),
    Spec::data("zremrangebyscore", 4, WRITE, zremrangebyscore),
];

fn set(call: &mut Call<'_>) -> Result<SortedSet, Failure> {
    let (db, key) = (call.db(), call.word(1));
    let set = call.state.store.read::<SortedSet>(db, key)?;
    Ok(set.cloned().unwrap_or_default())
}

fn edit(
    call: &mut Call<'_>,
    change: impl FnOnce(&mut SortedSet) -> Result<(bool, Reply), Failure>,
) -> Answer {
    let (db, key) = (call.db(), call.word(1));
    call.state.store.edit(db, key, change)
}

fn zadd(call: &mut Call<'_>) -> Answer {
    let (mut nx, mut xx, mut gt, mut lt, mut ch) = (false, false, false, false, false);
    let mut at = 2;
    while let Some(option) = call.option(at) {
        match option.as_str() {
            "nx" => nx = true,
            "xx" => xx = true,
            "gt" => gt = true,
            "lt" => lt = true,
            "ch" => ch = true,
            _ => break,
        }
        at += 1;
    }
    let (pairs, odd) = call.rest(at).as_chunks::<2>();
    if !odd.is_empty() || pairs.is_empty() {
        return Err(Failure::syntax());
    }
    if nx && xx {
        return Err(Failure::new(
            "ERR XX and NX options at the same time are not compatible",
        ));
    }
    if gt && (nx || lt) || lt && nx {
        return Err(Failure::new(
            "ERR GT, LT, and/or NX options at the same time are not compatible",
        ));
    }
    let mut scores = Vec::new();
    for [score, member] in pairs {
        let score =
            float::read(score).ok_or_else(|| Failure::new("ERR value is not a valid float"))?;
        scores.push((score, member));
    }
    edit(call, |set| {
        let (mut added, mut changed) = (0, 0);
        for (score, member) in scores {
            match set.scores.get_mut(member) {
                None if !xx => {
                    set.scores.insert(member.clone(), score);
                    added += 1;
                }
                Some(old)
                    if !nx && *old != score && !(gt && score < *old || lt && score > *old) =>
                {
                    *old = score;
                    changed += 1;
                }
                _ => {}
            }
        }
        let said = if ch { added + changed } else { added };
        Ok((added + changed > 0, Reply::count(said)))
    })
}

fn zrem(call: &mut Call<'_>) -> Answer {
    let members = call.rest(2);
    edit(call, |set| {
        let gone = members
            .iter()
            .filter(|member| set.scores.remove(*member).is_some())
            .count();
        Ok((gone > 0, Reply::count(gone)))
    })
}

fn zscore(call: &mut Call<'_>) -> Answer {
    let set = set(call)?;
    let score = set.scores.get(call.word(2));
    Ok(Reply::bulk_or_nil(
        score.map(|score| float::write(*score).into_bytes()),
    ))
}

fn zcard(call: &mut Call<'_>) -> Answer {
    Ok(Reply::count(set(call)?.scores.len()))
}

/// A range of scores; `(` before a number leaves the number itself out.
struct Scores {
    from: f64,
    after: bool,
    to: f64,
    before: bool,
}

impl Scores {
    fn read(from: &[u8], to: &[u8]) -> Result<Self, Failure> {
        let bound = |text: &[u8]| {
            let (text, open) = match text {
                [b'(', rest @ ..] => (rest.to_vec(), true),
                _ => (text.to_vec(), false),
            };
            float::read(&text)
                .map(|number| (number, open))
                .ok_or_else(|| Failure::new("ERR min or max is not a float"))
        };
        let ((from, after), (to, before)) = (bound(from)?, bound(to)?);
        Ok(Self {
            from,
            after,
            to,
            before,
        })
    }

    fn has(&self, score: f64) -> bool {
        (score > self.from || score == self.from && !self.after)
            && (score < self.to || score == self.to && !self.before)
    }
}

fn zcount(call: &mut Call<'_>) -> Answer {
    let scores = Scores::read(call.word(2), call.word(3))?;
    let set = set(call)?;
    let within = set.scores.values().filter(|score| scores.has(**score));
    Ok(Reply::count(within.count()))
}

fn listed<'m>(members: impl Iterator<Item = (&'m Bytes, f64)>, with_scores: bool) -> Reply {
    let mut items = Vec::new();
    for (member, score) in members {
        items.push(member.clone());
        if with_scores {
            items.push(float::write(score).into_bytes());
        }
    }
    Reply::bulks(items)
}

/// By place only; BYSCORE and BYLEX are syntax errors here.
fn zrange(call: &mut Call<'_>) -> Answer {
    let with_scores = match call.option(4).as_deref() {
        None => false,
        Some("withscores") if call.words.len() == 5 => true,
        _ => return Err(Failure::syntax()),
    };
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let set = set(call)?;
    let length = i64::try_from(set.scores.len()).unwrap_or(i64::MAX);
    let place = |at: i64| {
        if at < 0 {
            length.saturating_add(at)
        } else {
            at
        }
    };
    let start = usize::try_from(place(start).max(0)).unwrap_or(0);
    let count = (place(end).saturating_add(1)).saturating_sub(i64::try_from(start).unwrap_or(0));
    let members = set.ordered().into_iter().skip(start);
    Ok(listed(
        members.take(usize::try_from(count.max(0)).unwrap_or(0)),
        with_scores,
    ))
}

fn zrangebyscore(call: &mut Call<'_>) -> Answer {
    let (mut with_scores, mut skip, mut take) = (false, 0, -1);
    let mut at = 4;
    while let Some(option) = call.option(at) {
        match option.as_str() {
            "withscores" => with_scores = true,
            "limit" if call.words.len() > at + 2 => {
                (skip, take) = (call.integer(at + 1)?, call.integer(at + 2)?);
                at += 2;
            }
            _ => return Err(Failure::syntax()),
        }
        at += 1;
    }
    let scores = Scores::read(call.word(2), call.word(3))?;
    let set = set(call)?;
    // A negative offset gives nothing, a negative count everything.
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let take = usize::try_from(take).unwrap_or(usize::MAX);
    let within = set.ordered().into_iter().filter(|(_, s)| scores.has(*s));
    Ok(listed(within.skip(skip).take(take), with_scores))
}

fn zremrangebyscore(call: &mut Call<'_>) -> Answer {
    let scores = Scores::read(call.word(2), call.word(3))?;
    edit(call, |set| {
        let before = set.scores.len();
        set.scores.retain(|_, score| !scores.has(*score));
        let gone = before - set.scores.len();
        Ok((gone > 0, Reply::count(gone)))
    })
}
