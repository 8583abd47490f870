//! What names a URI's answers, with the normalisation that a policy opts in to.

use super::*;
use proptest::prelude::*;

fn key(target: &str, query: &Query) -> Vec<u8> {
    uri_key(&get(&[]), target.as_bytes(), query)
}

fn all_but(names: &[&str]) -> Query {
    Query {
        sorted: false,
        parameters: Parameters::AllBut(names.iter().map(|name| (*name).to_owned()).collect()),
    }
}

#[test]
fn sorting_ignores_the_order_of_names_but_not_of_one_names_values() {
    let sorted = Query {
        sorted: true,
        parameters: Parameters::All,
    };
    assert_eq!(key("/x?b=2&a=1", &sorted), key("/x?a=1&b=2", &sorted));
    assert_ne!(key("/x?a=2&a=1", &sorted), key("/x?a=1&a=2", &sorted));
    assert_ne!(key("/x?a=1", &sorted), key("/x?a=2", &sorted));
    assert_eq!(key("/x?a=1&&b=2&", &sorted), key("/x?a=1&b=2", &sorted));
}

#[test]
fn parameters_that_change_nothing_are_dropped() {
    let query = all_but(&["utm_*", "gclid"]);
    let plain = key("/x?a=1", &query);
    for other in [
        "/x?a=1&utm_source=y",
        "/x?utm_=1&a=1&gclid=2",
        "/x?a=1&ut%6D_x=1",
        "/x?gclid&a=1",
    ] {
        assert_eq!(plain, key(other, &query), "{other}");
    }
    for other in [
        "/x?a=2",
        "/x?a=1&b=2",
        "/x?a=1&utm=1",
        "/x?a=1&GCLID=1",
        "/x",
    ] {
        assert_ne!(plain, key(other, &query), "{other}");
    }
    assert_eq!(key("/x?gclid=1", &query), key("/x", &query));
    let only = Query {
        sorted: false,
        parameters: Parameters::Only(vec!["q".to_owned()]),
    };
    assert_eq!(key("/x?q=1&page=2", &only), key("/x?session=3&q=1", &only));
    assert_ne!(key("/x?q=1", &only), key("/x?q=2", &only));
}

#[test]
fn a_fragment_is_no_part_of_the_name() {
    assert_eq!(
        key("/x?a=1#y", &Query::default()),
        key("/x?a=1", &Query::default())
    );
}

#[test]
fn parts_cannot_run_into_each_other() {
    let of = |host: &str, target: &str| {
        let request = Headers::from_pairs(&[(":scheme", "http"), (":authority", host)]);
        uri_key(&request, target.as_bytes(), &Query::default())
    };
    assert_ne!(of("a", "b/c"), of("ab", "/c"));
    assert_ne!(of("a", "/x?y"), of("a", "/x%3Fy"));
}

proptest! {
    #[test]
    fn other_targets_have_other_keys(a in "/[a-z?&=%#]{0,12}", b in "/[a-z?&=%#]{0,12}") {
        let name = |target: &str| target.split('#').next().unwrap().to_owned();
        let same = name(&a) == name(&b);
        prop_assert_eq!(key(&a, &Query::default()) == key(&b, &Query::default()), same);
    }

    #[test]
    fn any_target_is_named_without_a_panic(target: Vec<u8>, sorted: bool) {
        let query = Query { sorted, parameters: Parameters::AllBut(vec!["a*".to_owned()]) };
        let _ = uri_key(&get(&[]), &target, &query);
    }
}
