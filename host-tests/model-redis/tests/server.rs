//! What the model adds to a Redis: the caller's clock, faults on demand, and the same run again from the same seed.

use sluice_model_redis::{Connection, Mode, Server, Settings};

const START: u64 = 1_700_000_000_000_000;

struct Client {
    server: Server,
    connection: Connection,
    now: u64,
}

impl Client {
    fn new(settings: Settings) -> Self {
        let mut server = Server::new(settings);
        Self {
            connection: server.connect(),
            server,
            now: START,
        }
    }

    fn ask(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let answer = self
            .server
            .feed(&mut self.connection, bytes.as_bytes(), self.now);
        String::from_utf8(answer).unwrap()
    }

    fn reconnect(&mut self) {
        self.connection = self.server.connect();
    }
}

fn replicated() -> Settings {
    Settings {
        replicas: 1,
        replica_backlog: 10,
        ..Settings::default()
    }
}

#[test]
fn keys_go_when_the_callers_clock_says_so_and_not_before() {
    let mut client = Client::new(Settings::default());
    client.ask("SET k v PX 1500");
    client.now = START + 1_500_999;
    assert_eq!(client.ask("GET k"), "$1\r\nv\r\n");
    assert_eq!(client.ask("PTTL k"), ":0\r\n");
    client.now = START + 1_501_000;
    assert_eq!(client.ask("GET k"), "$-1\r\n");
    assert_eq!(client.ask("DBSIZE"), ":0\r\n");
    // A clock that is set back does not bring back what is gone, and makes what is there last longer.
    client.ask("SET k v PX 1000");
    client.now = START;
    assert_eq!(client.ask("PTTL k"), ":2501\r\n");
    assert!(client.ask("TIME").contains("1700000000"));
    assert_eq!(
        client.ask("XADD s 1700000009000-0 a b"),
        "$15\r\n1700000009000-0\r\n"
    );
    assert_eq!(client.ask("XADD s * a b"), "$15\r\n1700000009000-1\r\n");
}

#[test]
fn half_a_command_waits_for_the_rest() {
    let mut client = Client::new(Settings::default());
    let bytes = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*1\r\n$4\r\nPING\r\n";
    let mut answer = Vec::new();
    for byte in bytes {
        let more = client.server.feed(&mut client.connection, &[*byte], START);
        answer.extend(more);
    }
    assert_eq!(answer, b"$2\r\nhi\r\n+PONG\r\n");
}

#[test]
fn quit_ends_a_connection_and_what_comes_after_is_not_done() {
    let mut client = Client::new(Settings::default());
    let bytes = b"*1\r\n$4\r\nQUIT\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let answer = client.server.feed(&mut client.connection, bytes, START);
    assert_eq!(answer, b"+OK\r\n");
    assert!(client.connection.closed());
    assert_eq!(client.ask("PING"), "");
    assert!(client.server.keys().is_empty());
}

#[test]
fn a_restart_forgets_scripts_and_connections_and_the_data_if_asked() {
    let mut client = Client::new(Settings::default());
    client.ask("SET k v");
    client.ask("SCRIPT LOAD return(1)");
    let digest = "EVALSHA 930269f31393d0be681588b6ab08dccee7d6bb67 0";
    assert_eq!(client.ask(digest), ":1\r\n");
    client.server.restart(true);
    assert_eq!(client.ask("PING"), "");
    assert!(client.connection.closed());
    client.reconnect();
    assert!(client.ask(digest).starts_with("-NOSCRIPT"));
    assert_eq!(client.server.get(0, b"k"), Some(b"v".to_vec()));
    client.server.restart(false);
    client.reconnect();
    assert_eq!(client.ask("GET k"), "$-1\r\n");
}

#[test]
fn a_failover_loses_the_last_writes_whole() {
    let mut client = Client::new(replicated());
    client.ask("SET k 1");
    client.ask("HSET h a 1");
    client.ask("INCR k");
    client.ask("GET k");
    client.ask("DEL nothing");
    client
        .ask("EVAL redis.call('incr','k')redis.call('hset','h','a',2)redis.call('set','new',1) 0");
    assert_eq!(client.server.unconfirmed_writes(), 4);
    assert_eq!(client.server.failover(1), 1);
    client.reconnect();
    assert_eq!(client.ask("GET k"), "$1\r\n2\r\n");
    assert_eq!(client.ask("HGET h a"), "$1\r\n1\r\n");
    assert_eq!(client.ask("EXISTS new"), ":0\r\n");
    assert_eq!(client.server.failover(2), 2);
    client.reconnect();
    assert_eq!(client.ask("GET k"), "$1\r\n1\r\n");
    assert_eq!(client.ask("EXISTS h"), ":0\r\n");
}

#[test]
fn what_wait_confirms_is_not_lost() {
    let mut client = Client::new(replicated());
    client.ask("SET k 1");
    assert_eq!(client.ask("WAIT 1 100"), ":1\r\n");
    client.ask("SET k 2");
    client.server.set_replicas_follow(false);
    assert_eq!(client.ask("WAIT 1 100"), ":0\r\n");
    assert_eq!(client.server.failover(5), 1);
    assert_eq!(client.server.get(0, b"k"), Some(b"1".to_vec()));
    let mut alone = Client::new(Settings::default());
    alone.ask("SET k 1");
    assert_eq!(alone.ask("WAIT 1 100"), ":0\r\n");
    assert_eq!(alone.server.failover(5), 0);
}

#[test]
fn the_seed_decides_what_is_evicted() {
    let evicted = |seed| {
        let mut client = Client::new(Settings {
            seed,
            ..Settings::default()
        });
        for number in 0..100 {
            client.ask(&format!("SET key:{number} x"));
        }
        let evicted = client.server.evict(0.3);
        assert_eq!(client.server.keys().len(), 100 - evicted.len());
        evicted
    };
    assert_eq!(evicted(1), evicted(1));
    assert_ne!(evicted(1), evicted(2));
    assert!((10..50).contains(&evicted(1).len()));
}

#[test]
fn memory_has_a_limit_that_deleting_makes_room_under() {
    let mut client = Client::new(Settings {
        max_memory: Some(1000),
        ..Settings::default()
    });
    let big = format!("SET big {}", "x".repeat(2000));
    assert_eq!(client.ask(&big), "+OK\r\n");
    assert!(client.server.memory() > 2000);
    assert!(client.ask("SET a 1").starts_with("-OOM"));
    assert_eq!(client.ask("DEL big"), ":1\r\n");
    assert_eq!(client.ask("SET a 1"), "+OK\r\n");
}

#[test]
fn a_server_that_loads_answers_little() {
    let mut client = Client::new(Settings::default());
    client.server.set_mode(Mode::Loading);
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    assert_eq!(client.ask("GET k"), loading);
    assert_eq!(client.ask("PING"), loading);
    assert_eq!(client.ask("EVAL return(1) 0"), loading);
    assert_eq!(client.ask("ECHO x"), "$1\r\nx\r\n");
    client.server.set_mode(Mode::Normal);
    assert_eq!(client.ask("PING"), "+PONG\r\n");
}

#[test]
fn calls_are_counted_those_of_scripts_too() {
    let mut client = Client::new(Settings::default());
    client.ask("GET a");
    client.ask("GET");
    client.ask("EVAL return(redis.call('get','a')) 0");
    let calls = client.server.calls();
    assert_eq!((calls.get("get"), calls.get("eval")), (Some(&2), Some(&1)));
}

#[test]
fn an_endless_script_ends() {
    let mut client = Client::new(Settings::default());
    // A tab: `ask` parts words at blanks.
    let answer = client.ask("EVAL redis.call('set','a',1)while\ttrue\tdo\tend 0");
    assert!(
        answer.starts_with("-ERR Script killed by user with SCRIPT KILL. script: "),
        "{answer}"
    );
    assert_eq!(client.ask("GET a"), "$1\r\n1\r\n");
}

#[test]
fn a_server_may_live_on_any_thread() {
    fn is_send<T: Send>() {}
    is_send::<Server>();
    is_send::<Connection>();
}
