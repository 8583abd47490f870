//! A herd on one key is one request upstream, on any number of workers, whoever leaves and whatever the origin does.

use std::io::Write;
use std::sync::Arc;

use host_tests::coalesce::{
    FRESH, Sent, answer, assert_sound, gateway, get, head, herd, status, until_active, until_event,
};
use host_tests::idempotency::{Gate, Service};
use host_tests::wait;
use serde_json::json;

/// A service that answers its number, as soon as the gate is open.
fn gated() -> (Service, Arc<Gate>) {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        theirs.pass();
        answer(stream, FRESH, format!("answer {number}").as_bytes())
    });
    (service, gate)
}

fn until_asked(service: &Service, count: usize) {
    wait::until("the origin to be asked", || service.count() == count);
}

#[test]
fn five_hundred_clients_are_one_request() {
    for workers in [1, 2, 4] {
        let (service, gate) = gated();
        let gateway = gateway(
            service.address(),
            json!({"flight": {"wait": "20s", "max_time": "20s"}}),
        )
        .workers(workers)
        .start();
        let mut clients = herd(&gateway, 500, "/item", 0);
        gate.open();
        let mut leaders = 0;
        for client in &mut clients {
            let got = client.answer();
            assert_eq!((got.status, &got.body[..]), (200, &b"answer 1"[..]));
            match status(&got).as_str() {
                "c; fwd=uri-miss; stored" => leaders += 1,
                "c; fwd=uri-miss; collapsed; ttl=3599" | "c; fwd=uri-miss; collapsed; ttl=3600" => {
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!((leaders, service.count()), (1, 1), "{workers} workers");
        let later = get(&gateway, "/item", "");
        assert!(
            status(&later).starts_with("c; hit; ttl=3"),
            "{}",
            status(&later)
        );
        assert_eq!(service.count(), 1);
        until_event(&gateway, "collapsed", 499);
        until_event(&gateway, "hit", 1);
        assert_sound(&gateway);
    }
}

#[test]
fn a_leader_that_leaves_before_the_answer_is_replaced() {
    let (service, gate) = gated();
    let gateway = gateway(
        service.address(),
        json!({"flight": {"wait": "20s", "max_time": "20s"}}),
    )
    .workers(4)
    .start();
    let leader = Sent::get(&gateway, "/item", "");
    until_asked(&service, 1);
    let mut clients = herd(&gateway, 100, "/item", 1);
    drop(leader);
    until_asked(&service, 2);
    until_active(&gateway, 100);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().body, b"answer 2");
    }
    assert_eq!(service.count(), 2);
    assert_sound(&gateway);
}

#[test]
fn a_leader_that_leaves_in_the_body_is_replaced_and_half_an_answer_goes_to_nobody() {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        let body = format!("answer {number}").into_bytes();
        if number > 1 {
            return answer(stream, FRESH, &body);
        }
        head(stream, "200 OK", FRESH, body.len())?;
        stream.write_all(&body[..4])?;
        theirs.pass();
        stream.write_all(&body[4..])?;
        Ok(true)
    });
    let gateway = gateway(
        service.address(),
        json!({"flight": {"wait": "20s", "max_time": "20s"}}),
    )
    .workers(2)
    .start();
    let leader = Sent::get(&gateway, "/item", "");
    until_asked(&service, 1);
    let clients = herd(&gateway, 50, "/item", 1);
    drop(leader);
    for mut client in clients {
        assert_eq!(client.answer().body, b"answer 2");
    }
    assert_eq!(service.count(), 2);
    gate.open();
    assert_sound(&gateway);
}

#[test]
fn an_upstream_that_breaks_off_is_tried_once_more_and_then_each_goes_for_itself() {
    let (gate, last) = (Gate::closed(), Gate::closed());
    let (theirs, their_last) = (Arc::clone(&gate), Arc::clone(&last));
    let service = Service::start(move |_, number, stream| {
        if number > 2 {
            // Who hears of the failures late would get what another one has got by then.
            their_last.pass();
            return answer(stream, FRESH, format!("answer {number}").as_bytes());
        }
        head(stream, "200 OK", FRESH, 1000)?;
        stream.write_all(b"half")?;
        theirs.pass();
        Ok(false)
    });
    let route = json!({"flight": {"wait": "20s", "max_time": "20s"}});
    let gateway = gateway(service.address(), route).workers(2).start();
    let mut clients = herd(&gateway, 20, "/item", 0);
    gate.open();
    until_asked(&service, 20);
    last.open();
    let whole = clients.iter_mut().map(|client| client.answer().complete);
    assert_eq!(whole.filter(|whole| *whole).count(), 18);
    assert_eq!(service.count(), 20);
    assert_sound(&gateway);
}

#[test]
fn when_every_client_is_killed_at_once_the_next_one_is_served() {
    let (service, gate) = gated();
    let gateway = gateway(service.address(), json!({})).workers(4).start();
    for round in 1..4 {
        let clients = herd(&gateway, 200, "/item", 0);
        drop(clients);
        assert_sound(&gateway);
        wait::until("the origin", || service.count() >= round);
    }
    gate.open();
    let before = service.count();
    let fresh = get(&gateway, "/item", "");
    assert_eq!(fresh.status, 200);
    assert_eq!(service.count(), before + 1);
    assert_eq!(fresh.body, format!("answer {}", before + 1).into_bytes());
    assert_sound(&gateway);
}

#[test]
fn answers_that_cannot_be_shared_do_not_queue_one_by_one() {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        if number == 1 {
            theirs.pass();
        } else {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        let fields = format!("{FRESH}set-cookie: id={number}\r\n");
        answer(stream, &fields, number.to_string().as_bytes())
    });
    let gateway = gateway(
        service.address(),
        json!({"flight": {"wait": "20s", "max_time": "20s"}}),
    )
    .workers(2)
    .start();
    let mut clients = herd(&gateway, 50, "/item", 0);
    gate.open();
    let since = std::time::Instant::now();
    let mut cookies: Vec<String> = clients
        .iter_mut()
        .map(|client| client.answer().header("set-cookie").unwrap())
        .collect();
    let took = since.elapsed();
    cookies.sort_unstable();
    cookies.dedup();
    assert_eq!(
        (cookies.len(), service.count()),
        (50, 50),
        "each has its own"
    );
    // One by one would take ten seconds.
    assert!(took.as_millis() < 3_000, "{took:?}");
    assert_sound(&gateway);
}

#[test]
fn an_event_stream_is_its_clients_alone_and_nobody_waits_for_its_end() {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
             9\r\ndata: {number:02}\n\r\n"
        )?;
        theirs.pass();
        write!(stream, "0\r\n\r\n")?;
        Ok(true)
    });
    let gateway = gateway(service.address(), json!({})).workers(2).start();
    let mut clients: Vec<Sent> = (0..20)
        .map(|_| Sent::get(&gateway, "/events", ""))
        .collect();
    // All streams are open at once, none has ended.
    until_asked(&service, 20);
    gate.open();
    for client in &mut clients {
        assert!(client.answer().body.starts_with(b"data: "));
    }
    assert_sound(&gateway);
}

#[test]
fn a_large_body_is_shared_whole_up_to_the_cap_and_cut_loose_beyond() {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |message, _, stream| {
        theirs.pass();
        let size = message.path.trim_start_matches("/size/");
        let size = size.split('?').next().and_then(|size| size.parse().ok());
        let size = size.unwrap_or(0);
        let body: Vec<u8> = (0..size).map(|at: usize| (at / 251 % 251) as u8).collect();
        if message.header("x-chunked").is_none() {
            return answer(stream, FRESH, &body);
        }
        write!(
            stream,
            "HTTP/1.1 200 OK\r\n{FRESH}transfer-encoding: chunked\r\n\r\n"
        )?;
        for piece in body.chunks(10_000) {
            write!(stream, "{:x}\r\n", piece.len())?;
            stream.write_all(piece)?;
            write!(stream, "\r\n")?;
        }
        write!(stream, "0\r\n\r\n")?;
        Ok(true)
    });
    let route = json!({"flight": {"wait": "20s", "max_time": "20s", "max_body": "1MiB"}});
    let gateway = gateway(service.address(), route).workers(4).start();
    gate.open();
    for (size, shared) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        for chunked in ["", "x-chunked: 1\r\n"] {
            let path = format!("/size/{size}?{}", chunked.len());
            let before = service.count();
            let mut clients: Vec<Sent> = (0..20)
                .map(|_| Sent::get(&gateway, &path, chunked))
                .collect();
            for client in &mut clients {
                let got = client.answer();
                assert!(got.complete);
                assert_eq!(got.body.len(), size);
                let right = |(at, byte): (usize, &u8)| *byte == (at / 251 % 251) as u8;
                assert!(got.body.iter().enumerate().all(right));
            }
            let asked = service.count() - before;
            let most = if shared { 1 } else { 20 };
            assert!(asked <= most, "{size} {chunked}: {asked}");
            assert!(shared || asked == 20, "{asked}");
        }
    }
    assert_sound(&gateway);
}
