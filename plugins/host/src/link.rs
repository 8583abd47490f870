//! The way to Redis: a callout for each batch, or one stream that stays open.

use crate::callout;
use crate::duplex::{self, Duplex};
use sluice_core::gcra::Ps;
use sluice_core::policy::redis::{Redis, Transport};
use sluice_core::redis::conversation::Conversation;
use sluice_core::redis::trouble::Trouble;

#[derive(Debug)]
pub enum Link {
    Callouts { cluster: String },
    Stream(StreamLink),
}

/// A stream that is opened when there is something to send, and again after it ended.
#[derive(Debug)]
pub struct StreamLink {
    cluster: String,
    open: Option<(Duplex, Conversation)>,
    /// Batches are numbered by ourselves: the host knows of messages only.
    last_token: u32,
}

/// Batches that have come to their end: with replies, or with trouble.
pub type Ended = Vec<(u32, Result<Vec<u8>, Trouble>)>;

impl Link {
    /// The way that the policy names; nothing is opened before there is something to send.
    #[must_use]
    pub fn new(redis: &Redis) -> Self {
        Self::to(redis, &redis.cluster_name)
    }

    /// The same way to another cluster.
    #[must_use]
    pub fn to(redis: &Redis, cluster: &str) -> Self {
        let cluster = cluster.to_owned();
        match redis.transport {
            Transport::Callout => Self::Callouts { cluster },
            Transport::Stream => Self::Stream(StreamLink {
                cluster,
                open: None,
                last_token: 0,
            }),
        }
    }

    /// Sends a batch of `replies` commands and returns its token. `login` is what a new connection begins with.
    ///
    /// # Errors
    /// When nothing was sent; no reply will come.
    pub fn send(
        &mut self,
        body: &[u8],
        replies: usize,
        deadline: Ps,
        now: Ps,
        login: (&[u8], usize),
    ) -> Result<u32, Trouble> {
        match self {
            Self::Callouts { cluster } => {
                callout::post(cluster, body, deadline.saturating_sub(now))
            }
            Self::Stream(link) => link.send(body, replies, deadline, login),
        }
    }

    /// Ends a stream whose replies are overdue, and all that waits on it.
    pub fn tick(&mut self, now: Ps) -> Ended {
        match self {
            Self::Stream(link) if link.is_overdue(now) => link.give_up(Trouble::Timeout),
            _ => Ended::new(),
        }
    }

    /// A message of stream `token` has come.
    pub fn message(&mut self, token: u32, size: usize) -> Ended {
        match self {
            Self::Stream(link) => link.message(token, size),
            Self::Callouts { .. } => Ended::new(),
        }
    }

    /// Stream `token` has ended with a gRPC status.
    pub fn closed(&mut self, token: u32, status: u32) -> Ended {
        match self {
            Self::Stream(link) => link.closed(token, status),
            Self::Callouts { .. } => Ended::new(),
        }
    }
}

impl StreamLink {
    fn send(
        &mut self,
        body: &[u8],
        replies: usize,
        deadline: Ps,
        (login, login_replies): (&[u8], usize),
    ) -> Result<u32, Trouble> {
        let (duplex, conversation) = match &mut self.open {
            Some(open) => open,
            None => {
                let duplex = Duplex::open(&self.cluster)?;
                if login_replies > 0 {
                    duplex.send(login)?;
                }
                self.open.insert((duplex, Conversation::new(login_replies)))
            }
        };
        duplex.send(body)?;
        self.last_token = self.last_token.wrapping_add(1);
        conversation.sent(self.last_token, replies, deadline);
        Ok(self.last_token)
    }

    fn is_overdue(&self, now: Ps) -> bool {
        self.open
            .as_ref()
            .is_some_and(|(_, conversation)| conversation.is_overdue(now))
    }

    fn message(&mut self, token: u32, size: usize) -> Ended {
        let Some((_, conversation)) = self.open.as_mut().filter(|(duplex, _)| duplex.is(token))
        else {
            return Ended::new();
        };
        let mut ended = Ended::new();
        let received = conversation.received(&duplex::message(size), |batch, replies| {
            ended.push((batch, Ok(replies.to_vec())));
        });
        if let Err(trouble) = received {
            ended.extend(self.give_up(trouble));
        }
        ended
    }

    fn closed(&mut self, token: u32, status: u32) -> Ended {
        match &mut self.open {
            Some((duplex, conversation)) if duplex.is(token) => {
                let ended = failed(conversation, duplex::trouble(status));
                duplex.close();
                self.open = None;
                ended
            }
            _ => Ended::new(),
        }
    }

    fn give_up(&mut self, trouble: Trouble) -> Ended {
        match self.open.take() {
            Some((duplex, mut conversation)) => {
                duplex.reset();
                failed(&mut conversation, trouble)
            }
            None => Ended::new(),
        }
    }
}

fn failed(conversation: &mut Conversation, trouble: Trouble) -> Ended {
    let tokens = conversation.broken().into_iter();
    tokens.map(|token| (token, Err(trouble))).collect()
}
