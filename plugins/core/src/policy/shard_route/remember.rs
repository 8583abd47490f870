//! What is remembered of writes: all that any route of the table wants to know of them.

use std::sync::Arc;

use super::{By, RoleRule, Route, ShardRoute, Sticky};

/// Tells the tables what their routes want to know. Routes that know of a write in the same way have one window, the
/// longest: a write does not say for which of them it is.
pub(super) fn gather(policy: &mut ShardRoute) {
    for (place, table) in policy.tables.iter_mut().enumerate() {
        let mut all: Vec<Arc<Sticky>> = Vec::new();
        for sticky in of(&mut policy.routes, place) {
            match all.iter_mut().find(|other| is_same(&other.by, &sticky.by)) {
                Some(other) if other.window < sticky.window => *other = sticky.clone(),
                Some(_) => {}
                None => all.push(sticky.clone()),
            }
        }
        for sticky in of(&mut policy.routes, place) {
            if let Some(longest) = all.iter().find(|other| is_same(&other.by, &sticky.by)) {
                *sticky = longest.clone();
            }
        }
        table.remember = all.into();
    }
}

/// What the routes of this table want to know.
fn of(routes: &mut [Route], table: usize) -> impl Iterator<Item = &mut Arc<Sticky>> {
    let targets = routes
        .iter_mut()
        .filter_map(|route| route.target.as_mut())
        .filter(move |target| target.table == table);
    targets.filter_map(|target| match target.role.as_mut()? {
        RoleRule::Split { sticky, .. } => sticky.as_mut(),
        RoleRule::Primary | RoleRule::Replica => None,
    })
}

fn is_same(one: &By, other: &By) -> bool {
    match (one, other) {
        (By::SharedData, By::SharedData) => true,
        (
            By::Cookie { name, secret, .. },
            By::Cookie {
                name: other_name,
                secret: other_secret,
                ..
            },
        ) => name == other_name && secret == other_secret,
        _ => false,
    }
}
