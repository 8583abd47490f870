//! Sets. Members are listed in order, where Redis has none.

use super::{Answer, Call, DENY_OOM, Spec, WRITE};
use crate::reply::{Failure, Reply};
use crate::value::Set;

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("sadd", -3, WRITE | DENY_OOM, sadd),
    Spec::data("srem", -3, WRITE, srem),
    Spec::data("smembers", 2, 0, |call| {
        look(call, |set| Reply::bulks(set.iter().cloned()))
    }),
    Spec::data("sismember", 3, 0, |call| {
        let member = call.word(2);
        look(call, |set| Reply::Integer(i64::from(set.contains(member))))
    }),
    Spec::data("scard", 2, 0, |call| {
        look(call, |set| Reply::count(set.len()))
    }),
];

fn look(call: &mut Call<'_>, look: impl FnOnce(&Set) -> Reply) -> Answer {
    let (db, key) = (call.db(), call.word(1));
    let none = Set::default();
    let set = call.state.store.read::<Set>(db, key)?;
    Ok(look(set.unwrap_or(&none)))
}

fn change(
    call: &mut Call<'_>,
    mut each: impl FnMut(&mut Set, &Vec<u8>) -> bool,
) -> Result<Reply, Failure> {
    let (db, key, members) = (call.db(), call.word(1), call.rest(2));
    call.state.store.edit(db, key, |set| {
        let changed = members.iter().filter(|member| each(set, member)).count();
        Ok((changed > 0, Reply::count(changed)))
    })
}

fn sadd(call: &mut Call<'_>) -> Answer {
    change(call, |set, member| set.insert(member.clone()))
}

fn srem(call: &mut Call<'_>) -> Answer {
    change(call, |set, member| set.remove(member))
}
