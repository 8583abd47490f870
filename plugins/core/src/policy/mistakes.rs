//! Files of policies with one mistake each, for the tests: pairs of lines, a patch to something good and the error.
//!
//! A patch is an object whose fields replace those of one item (a limit, a route), or, below a line `# policy`, of the
//! whole policy; a `null` leaves the field out.

use serde_json::Value;

/// Holds each case of a file to its error. `of_item` and `of_policy` make the policy with a patch; gives the number of
/// cases.
pub(super) fn hold(
    cases: &str,
    of_item: impl Fn(&str) -> Value,
    of_policy: impl Fn(&str) -> Value,
    refusal: impl Fn(&Value) -> String,
) -> usize {
    let mut lines = cases.lines();
    let mut whole_policy = false;
    let mut count = 0;
    while let Some(patch) = lines.next() {
        if patch.starts_with('#') || patch.is_empty() {
            whole_policy |= patch == "# policy";
            continue;
        }
        let policy = if whole_policy {
            of_policy(patch)
        } else {
            of_item(patch)
        };
        assert_eq!(Some(refusal(&policy).as_str()), lines.next(), "{patch}");
        count += 1;
    }
    count
}

pub(super) fn patched(mut object: Value, patch: &str) -> Value {
    let patch: Value = serde_json::from_str(patch).unwrap();
    for (name, value) in patch.as_object().unwrap() {
        object[name] = value.clone();
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        }
    }
    object
}
