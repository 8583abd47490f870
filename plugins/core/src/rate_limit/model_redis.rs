//! A Redis for tests: reads the pipelines that the limiter sends and answers them as the scripts would, on a clock
//! that the test sets. (The scripts themselves are compared with [`Quota`] on a real Redis elsewhere.)

use super::scripts;
use crate::gcra::{PS_PER_US, Ps};
use crate::redis::resp::{self, Reply};
use std::collections::HashMap;
use std::fmt::Write;

#[derive(Default)]
pub struct ModelRedis {
    pub records: HashMap<Vec<u8>, Ps>,
    /// Script calls carried out, by kind.
    pub takes: usize,
    pub refunds: usize,
    /// Digests it knows; others are answered by NOSCRIPT until they come whole.
    pub forgets_scripts: bool,
}

impl ModelRedis {
    /// Carries out a pipeline at `now` and returns the replies.
    pub fn run(&mut self, body: &[u8], now: Ps) -> Vec<u8> {
        let mut out = String::new();
        let mut rest = body;
        while !rest.is_empty() {
            let (command, after) = resp::decode(rest).unwrap();
            rest = after;
            let Reply::Array(parts) = command else {
                panic!("{command:?}")
            };
            let parts: Vec<&[u8]> = parts
                .into_iter()
                .map(|part| match part {
                    Reply::Bulk(text) => text,
                    other => panic!("{other:?}"),
                })
                .collect();
            match parts[0] {
                b"QUIT" => out.push_str("+OK\r\n"),
                b"EVALSHA" if self.forgets_scripts => {
                    out.push_str("-NOSCRIPT No matching script.\r\n")
                }
                b"EVALSHA" | b"EVAL" => {
                    self.forgets_scripts = false;
                    self.call(&parts, now, &mut out);
                }
                other => panic!("{}", String::from_utf8_lossy(other)),
            }
        }
        out.into_bytes()
    }

    fn call(&mut self, parts: &[&[u8]], now: Ps, out: &mut String) {
        let number = |text: &[u8]| -> u64 { String::from_utf8_lossy(text).parse().unwrap() };
        let keys = number(parts[2]) as usize;
        let names = &parts[3..3 + keys];
        let arguments: Vec<u64> = parts[3 + keys..].iter().map(|text| number(text)).collect();
        let scripts = scripts::all();
        let is_refund = arguments.len() == keys * 3;
        assert_eq!(arguments.len(), if is_refund { keys * 3 } else { keys * 7 });
        if parts[0] == b"EVALSHA" {
            assert_eq!(parts[1], scripts[usize::from(is_refund)].sha1().as_bytes());
        }
        if is_refund {
            self.refunds += 1;
            for (name, charge) in names.iter().zip(arguments.chunks(3)) {
                let gone = now.saturating_sub(Ps::from(charge[2]) * PS_PER_US);
                let charge = Ps::from(charge[0]) * PS_PER_US + Ps::from(charge[1]);
                let back = charge.saturating_sub(gone);
                if let Some(tat) = self.records.get_mut(*name) {
                    *tat = tat.saturating_sub(back);
                }
            }
            let _ = write!(out, ":{keys}\r\n");
        } else {
            self.takes += 1;
            self.take(names, &arguments, now, out);
        }
    }

    fn take(&mut self, names: &[&[u8]], arguments: &[u64], now: Ps, out: &mut String) {
        let mut all = true;
        let mut outcomes = Vec::new();
        for (name, a) in names.iter().zip(arguments.chunks(7)) {
            let interval = Ps::from(a[0]) * PS_PER_US + Ps::from(a[1]);
            let tolerance = Ps::from(a[2]) * PS_PER_US + Ps::from(a[3]);
            let (need, want, shadow) = (Ps::from(a[4]), Ps::from(a[5]), a[6] == 1);
            let base = self
                .records
                .get(*name)
                .copied()
                .unwrap_or(0)
                .clamp(now, now + tolerance);
            let room = now + tolerance - base;
            let grant = want.min(room / interval);
            let retry = if grant < need {
                all &= shadow;
                need * interval - room
            } else {
                0
            };
            let grant = if retry > 0 { 0 } else { grant };
            outcomes.push((name.to_vec(), base, grant, grant * interval, retry));
        }
        let _ = write!(out, "*{}\r\n", 1 + outcomes.len() * 3);
        let _ = write!(out, ":{}\r\n", now / PS_PER_US);
        for (name, base, grant, charge, retry) in outcomes {
            let charged = all && grant > 0;
            let tat = if charged { base + charge } else { base };
            if charged {
                self.records.insert(name, tat);
            }
            let backlog = (tat - now) / PS_PER_US;
            let granted = if charged { grant } else { 0 };
            let _ = write!(
                out,
                ":{granted}\r\n:{backlog}\r\n:{}\r\n",
                retry.div_ceil(PS_PER_US)
            );
        }
    }
}
