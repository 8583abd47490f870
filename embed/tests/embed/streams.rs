//! What a filter sees of a stream, and what becomes of the stream: by Envoy's rules.

use crate::common::{Gateway, module, request};
use sluice_embed::{
    Action, Attributes, BodyEdit, Effect, HeaderEdit, Headers, Hold, Map, Plugin, Side, VmOptions,
};

/// Says how `proxy_get_header_map_value` of a map answers, in a callback.
const LOOK: &str = r#"
    (data (i32.const 100) ":path")
    (func $look (call $say (call $header (i32.const 0) (i32.const 100) (i32.const 5) (i32.const 16) (i32.const 20))))
"#;

#[test]
fn a_map_is_gone_once_its_phase_went_on_and_stays_while_it_is_held() {
    let filter = |status: u32| {
        format!(
            r#"{LOOK}
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (call $look) (i32.const {status}))
            (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (call $look) (i32.const 0))
            (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $look)
                (drop (call $resume (i32.const 1))) (call $look) (i32.const 0))
            (func (export "proxy_on_log") (param i32) (call $look))
            (func (export "proxy_on_done") (param i32) (result i32) (call $look) (i32.const 1))"#
        )
    };
    let play = |status: u32| {
        let mut gateway = Gateway::new(&filter(status));
        let stream = gateway.open();
        let _ = gateway
            .vm
            .request_headers(stream, request(), false)
            .unwrap();
        let _ = gateway.vm.request_body(stream, b"piece", true).unwrap();
        let outcome =
            gateway
                .vm
                .response_headers(stream, Headers::from([(":status", "200")]), true);
        assert_eq!(outcome.unwrap().effects, [Effect::ResumeResponse(stream)]);
        gateway.end(stream);
        gateway.said()
    };
    // Went on: gone from the body on, there again for the log only.
    assert_eq!(play(0), ["00", "02", "02", "02", "00", "02"]);
    // Held: there until something is resumed, were it the response.
    assert_eq!(play(1), ["00", "00", "00", "02", "00", "02"]);
}

#[test]
fn a_pause_means_what_envoy_makes_of_it() {
    let filter = module(
        r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 1))
        (func (export "proxy_on_request_trailers") (param i32 i32) (result i32) (i32.const 1))"#,
    );
    for (stop_iteration, hold) in [(false, Hold::AllAndWatermark), (true, Hold::Iteration)] {
        let plugin = Plugin {
            allow_on_headers_stop_iteration: stop_iteration,
            ..Plugin::default()
        };
        let mut gateway = Gateway::with(&filter, &VmOptions::default(), &plugin);
        let stream = gateway.open();
        let mut action = gateway
            .vm
            .request_headers(stream, request(), false)
            .unwrap()
            .action;
        assert_eq!(action, Action::Pause(hold));
        action = gateway
            .vm
            .request_body(stream, b"one", false)
            .unwrap()
            .action;
        assert_eq!(action, Action::Pause(Hold::Buffer));
        action = gateway
            .vm
            .request_body(stream, b"two", true)
            .unwrap()
            .action;
        assert_eq!(action, Action::Pause(Hold::Buffer));
        assert_eq!(gateway.vm.body(stream, Side::Request), Some(&b"onetwo"[..]));
        action = gateway
            .vm
            .request_trailers(stream, Headers::new())
            .unwrap()
            .action;
        assert_eq!(action, Action::Pause(Hold::Iteration));
        // A filter that has no callback for it lets it pass.
        action = gateway
            .vm
            .response_headers(stream, Headers::new(), true)
            .unwrap()
            .action;
        assert_eq!(action, Action::Continue);
    }
}

#[test]
fn edits_are_made_in_place_and_listed() {
    let mut gateway = Gateway::new(
        r#"(data (i32.const 100) "X-Onevalue")
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $say (call $add_header (i32.const 0) (i32.const 100) (i32.const 5) (i32.const 105) (i32.const 5)))
            (call $say (call $replace_header (i32.const 0) (i32.const 105) (i32.const 5) (i32.const 100) (i32.const 1)))
            (call $say (call $remove_header (i32.const 0) (i32.const 200) (i32.const 0)))
            (call $say (call $add_header (i32.const 2) (i32.const 100) (i32.const 5) (i32.const 105) (i32.const 5)))
            (call $say (call $add_header (i32.const 8) (i32.const 100) (i32.const 5) (i32.const 105) (i32.const 5)))
            (i32.const 0))"#,
    );
    let stream = gateway.open();
    let outcome = gateway.vm.request_headers(stream, request(), true).unwrap();
    // The response headers are not there yet; a ninth map never is.
    assert_eq!(gateway.said(), ["00", "00", "00", "02", "02"]);
    let edit = |edit| Effect::EditHeaders {
        stream,
        map: Map::RequestHeaders,
        edit,
    };
    let bytes = |text: &str| text.as_bytes().to_vec();
    assert_eq!(
        outcome.effects,
        [
            edit(HeaderEdit::Add {
                name: bytes("x-one"),
                value: bytes("value")
            }),
            Effect::ClearRouteCache(stream),
            edit(HeaderEdit::Replace {
                name: bytes("value"),
                value: bytes("X")
            }),
            edit(HeaderEdit::Remove { name: bytes("") }),
        ]
    );
    let headers = gateway.vm.headers(stream, Map::RequestHeaders).unwrap();
    assert_eq!(
        headers.get_all(b"x-one").collect::<Vec<_>>(),
        [&b"1"[..], b"value"]
    );
    assert_eq!(headers.get("value"), Some(&b"X"[..]));
}

#[test]
fn a_body_can_be_prepended_appended_and_replaced_as_a_whole() {
    // start, length, answer
    let cases = [
        (0, 0, "00"),
        (99, 0, "00"),
        (0, 99, "00"),
        (0, 2, "02"),
        (2, 1, "02"),
    ];
    for (start, length, answer) in cases {
        let mut gateway = Gateway::new(&format!(
            r#"(data (i32.const 100) "new")
            (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
                (call $say (call $set_buffer (i32.const 0) (i32.const {start}) (i32.const {length})
                    (i32.const 100) (i32.const 3)))
                (call $say (call $set_buffer (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 3)))
                (call $say (call $buffer (i32.const 0) (i32.const 1) (i32.const -1) (i32.const 16) (i32.const 20)))
                (call $say_text (i32.const 16))
                (i32.const 0))"#
        ));
        let stream = gateway.requested();
        let outcome = gateway.vm.request_body(stream, b"body", true).unwrap();
        let (body, edit) = match (start, length) {
            (0, 0) => ("newbody", Some(BodyEdit::Prepend(b"new".to_vec()))),
            (99, 0) => ("bodynew", Some(BodyEdit::Append(b"new".to_vec()))),
            (0, 99) => ("new", Some(BodyEdit::Replace(b"new".to_vec()))),
            _ => ("body", None),
        };
        assert_eq!(gateway.said(), [answer, "02", "00", &body[1..]]);
        assert_eq!(gateway.vm.take_body(stream, Side::Request), body.as_bytes());
        let edit = edit.map(|edit| Effect::EditBody {
            stream,
            side: Side::Request,
            edit,
        });
        assert_eq!(outcome.effects, edit.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_local_reply_overrules_the_status_of_the_callback_that_runs() {
    // The second stream's callback answers the first one.
    let mut gateway = Gateway::new(
        r#"(data (i32.const 100) "some details")
        (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
            (if (i32.eq (local.get $id) (i32.const 3)) (then
                (call $say (call $act_on (i32.const 2)))
                (drop (call $reply (i32.const 429) (i32.const 100) (i32.const 12) (i32.const 100) (i32.const 4)
                    (i32.const 0) (i32.const 0) (i32.const 17)))))
            (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 0))"#,
    );
    let first = gateway.requested();
    let second = gateway.open();
    let outcome = gateway.vm.request_headers(second, request(), true).unwrap();
    assert_eq!(outcome.action, Action::Pause(Hold::AllAndWatermark));
    let [Effect::LocalReply(reply)] = &outcome.effects[..] else {
        panic!("{outcome:?}");
    };
    assert_eq!((reply.stream, reply.status), (first, 429));
    assert_eq!(reply.details, b"some_details");
    assert_eq!(reply.body, b"some");
    assert_eq!(reply.grpc_status, None, "17 is no gRPC status");
    // The answer passes through the filter, and the flag is of the past.
    let passed = gateway
        .vm
        .response_headers(first, Headers::from([(":status", "429")]), true);
    assert_eq!(passed.unwrap().action, Action::Continue);
}

#[test]
fn a_filter_acts_on_other_contexts_while_they_live() {
    let mut gateway = Gateway::new(
        r#"(func (export "proxy_on_tick") (param i32)
            (call $say (call $act_on (i32.const 2)))
            (call $say (call $resume (i32.const 0)))
            (call $say (call $act_on (i32.const 0)))
            (call $say (call $resume (i32.const 0)))
            (call $say (call $resume (i32.const 2)))
            (call $say (call $resume (i32.const 3)))
            (call $say (call $resume (i32.const 4)))
            (call $say (call $act_on (i32.const 99))))"#,
    );
    let stream = gateway.requested();
    assert_eq!(stream.number(), 2);
    let effects = gateway.vm.tick(gateway.root).unwrap();
    // Resuming a root context does nothing; the second kind is of TCP; the third is not implemented.
    assert_eq!(
        gateway.said(),
        ["00", "00", "00", "00", "00", "12", "02", "02"]
    );
    assert_eq!(effects, [Effect::ResumeRequest(stream)]);
    gateway.end(stream);
    let effects = gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(gateway.said()[0], "02", "the stream is gone");
    assert_eq!(effects, []);
}

#[test]
fn a_context_is_made_with_its_first_callback_and_ends_in_envoys_order() {
    let mut gateway = Gateway::new(
        r#"(func (export "proxy_on_context_create") (param $id i32) (param $parent i32)
            (call $say (i32.add (i32.const 10) (local.get $id))) (call $say (local.get $parent)))
        (func (export "proxy_on_log") (param i32) (call $say (i32.const 21)))
        (func (export "proxy_on_done") (param i32) (result i32) (call $say (i32.const 22)) (i32.const 0))
        (func (export "proxy_on_delete") (param i32) (call $say (i32.const 23)))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (call $say (i32.const 24)) (i32.const 0))"#,
    );
    assert_eq!(gateway.said(), ["11", "00"]);
    let stream = gateway.open();
    assert_eq!(gateway.said(), [""; 0]);
    let _ = gateway
        .vm
        .response_headers(stream, Headers::new(), true)
        .unwrap();
    assert_eq!(
        gateway.said(),
        [""; 0],
        "a filter that saw no request sees no response"
    );
    gateway.end(stream);
    assert_eq!(gateway.said(), ["12", "01", "21", "22", "23"]);
    let stream = gateway.requested();
    gateway.end(stream);
    assert_eq!(gateway.said(), ["13", "01", "21", "22", "23"]);
    assert_eq!(gateway.vm.streams(), 0);
}

#[test]
fn a_plugin_that_waits_ends_when_it_says_so() {
    let mut gateway = Gateway::new(
        r#"(func (export "proxy_on_done") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_delete") (param i32) (call $say (i32.const 23)))
        (func (export "proxy_on_tick") (param i32) (call $say (call $done)))"#,
    );
    gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(gateway.said(), ["01"], "nobody waits");
    assert!(!gateway.vm.shut_down(gateway.root).unwrap().0);
    gateway.vm.tick(gateway.root).unwrap();
    assert_eq!(gateway.said(), ["00", "23"]);
    assert_eq!(gateway.vm.root(gateway.root.number()), None);
}

#[test]
fn trailers_come_into_being_when_touched_at_the_end() {
    let mut gateway = Gateway::new(
        r#"(data (i32.const 100) "nv")
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
            (call $say (call $add_header (i32.const 3) (i32.const 100) (i32.const 1) (i32.const 101) (i32.const 1)))
            (i32.const 0))"#,
    );
    let stream = gateway.requested();
    let early = gateway.vm.response_body(stream, b"a", false).unwrap();
    let late = gateway.vm.response_body(stream, b"b", true).unwrap();
    assert_eq!(gateway.said(), ["02", "00"]);
    assert_eq!(early.effects, []);
    let map = Map::ResponseTrailers;
    assert!(matches!(
        late.effects[..],
        [
            Effect::AddTrailers { .. },
            Effect::EditHeaders {
                map: Map::ResponseTrailers,
                ..
            }
        ]
    ));
    assert_eq!(
        gateway.vm.headers(stream, map),
        Some(&Headers::from([("n", "v")]))
    );
}

#[test]
fn properties_are_read_by_path() {
    let filter = |path: &str| {
        format!(
            r#"(data (i32.const 100) "{path}") (data (i32.const 200) "mine") (data (i32.const 204) "m\00x")
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (drop (call $set_property (i32.const 200) (i32.const 4) (i32.const 204) (i32.const 1)))
                (drop (call $set_property (i32.const 204) (i32.const 3) (i32.const 204) (i32.const 1)))
                (call $say (call $property (i32.const 100) (i32.const {}) (i32.const 16) (i32.const 20)))
                (call $say_text (i32.const 16))
                (i32.const 0))"#,
            path.replace("\\00", "0").len()
        )
    };
    let cases = [
        ("request\\00url_path", "00", "/path"),
        ("request\\00query", "00", "query"),
        ("request\\00headers\\00x-one", "00", "1"),
        ("source\\00address", "00", "10.0.0.1:99"),
        ("source\\00port", "00", "c\0\0\0\0\0\0\0"),
        ("connection\\00mtls", "00", "\u{1}"),
        ("plugin_name", "00", "the-name"),
        ("plugin_root_id", "00", "the-root"),
        ("mine", "00", "m"),
        ("m\\00x", "01", ""),
        ("nothing", "01", ""),
        ("", "03", ""),
    ];
    for (path, answer, value) in cases {
        let plugin = Plugin {
            name: "the-name".to_owned(),
            root_id: "the-root".to_owned(),
            ..Plugin::default()
        };
        let mut gateway = Gateway::with(&module(&filter(path)), &VmOptions::default(), &plugin);
        let attributes = Attributes::default()
            .text(&["source", "address"], "10.0.0.1:99")
            .number(&["source", "port"], 99)
            .flag(&["connection", "mtls"], true);
        let stream = gateway.vm.open_stream(gateway.root, attributes).unwrap();
        let _ = gateway.vm.request_headers(stream, request(), true).unwrap();
        assert_eq!(gateway.said(), [answer, value], "{path}");
    }
}
