//! What is stored under a key: an answer, or what tells the answers of the key apart.

use super::codec::{Reader, Writer};
use crate::cache::{Head, Millis, Terms};
use crate::headers::Headers;
use std::rc::Rc;

/// Changes with the layout: what another version wrote is not read.
const VERSION: u64 = 1;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole key: two keys may have one hash.
    pub key: Vec<u8>,
    /// Tells this very entry from those that were or will be there.
    pub id: u64,
    /// The hash of its URI: what is invalidated together.
    pub uri: u64,
    /// Since then everything was forgotten so many times, so to speak: an entry of another epoch is none.
    pub epoch: u64,
    /// When it was asked for. What was invalidated at that time or later is void.
    pub requested_at: Millis,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Answer(Answer),
    Variants(Variants),
}

/// An answer, as it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub head: Head,
    pub terms: Terms,
    pub body: Rc<Vec<u8>>,
    /// How long it took to get.
    pub took: Millis,
}

/// The answers of this key depend on more of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variants {
    /// Part of the variants' keys: another generation has none of these.
    pub generation: u64,
    /// The fields of the request that matter.
    pub names: Vec<String>,
    /// The hashes of the variants, in the order of their coming.
    pub known: Vec<u64>,
}

impl Entry {
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match &self.content {
            Content::Answer(answer) => Some(answer),
            Content::Variants(_) => None,
        }
    }

    /// Its bytes in a worker's memory, about.
    #[must_use]
    pub fn size(&self) -> usize {
        let content = match &self.content {
            Content::Answer(answer) => answer.body.len() + answer.head.fields.serialized().len(),
            Content::Variants(variants) => {
                let names = variants.names.iter().map(|name| name.len() + 32);
                names.sum::<usize>() + variants.known.len() * 8
            }
        };
        self.key.len() + content + size_of::<Self>()
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(VERSION);
        out.bytes(&self.key);
        for number in [self.id, self.uri, self.epoch, self.requested_at] {
            out.number(number);
        }
        match &self.content {
            Content::Answer(answer) => {
                let terms = &answer.terms;
                out.number(0);
                out.number(answer.head.status.into());
                out.bytes(answer.head.fields.serialized());
                let flags = [
                    terms.no_cache,
                    terms.no_stale,
                    terms.authorized,
                    terms.validator,
                ];
                let flags = flags
                    .into_iter()
                    .fold(0, |all, flag| all << 1 | u64::from(flag));
                for number in [
                    answer.took,
                    terms.received_at,
                    terms.initial_age,
                    terms.lifetime,
                    terms.stale_while_revalidate,
                    terms.stale_if_error,
                    flags,
                ] {
                    out.number(number);
                }
                out.bytes(&answer.body);
            }
            Content::Variants(variants) => {
                out.number(1);
                out.number(variants.generation);
                out.number(variants.names.len() as u64);
                for name in &variants.names {
                    out.bytes(name.as_bytes());
                }
                for hash in &variants.known {
                    out.number(*hash);
                }
            }
        }
        out.done()
    }

    /// None for what this version did not write.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        if from.number()? != VERSION {
            return None;
        }
        Some(Self {
            key: from.bytes()?.to_vec(),
            id: from.number()?,
            uri: from.number()?,
            epoch: from.number()?,
            requested_at: from.number()?,
            content: match from.number()? {
                0 => Content::Answer(answer(&mut from)?),
                1 => Content::Variants(variants(&mut from)?),
                _ => return None,
            },
        })
    }
}

fn answer(from: &mut Reader) -> Option<Answer> {
    let head = Head {
        status: u16::try_from(from.number()?).ok()?,
        fields: Headers::from_serialized(from.bytes()?.to_vec()),
    };
    let took = from.number()?;
    let mut terms = Terms {
        received_at: from.number()?,
        initial_age: from.number()?,
        lifetime: from.number()?,
        stale_while_revalidate: from.number()?,
        stale_if_error: from.number()?,
        no_cache: false,
        no_stale: false,
        authorized: false,
        validator: false,
    };
    let flags = from.number()?;
    terms.no_cache = flags & 8 != 0;
    terms.no_stale = flags & 4 != 0;
    terms.authorized = flags & 2 != 0;
    terms.validator = flags & 1 != 0;
    Some(Answer {
        head,
        terms,
        body: Rc::new(from.bytes()?.to_vec()),
        took,
    })
}

fn variants(from: &mut Reader) -> Option<Variants> {
    let generation = from.number()?;
    let names = (0..from.number()?)
        .map(|_| String::from_utf8(from.bytes()?.to_vec()).ok())
        .collect::<Option<_>>()?;
    Some(Variants {
        generation,
        names,
        known: std::iter::from_fn(|| from.number()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contents() -> impl Strategy<Value = Content> {
        let numbers = prop::array::uniform6(any::<u64>());
        let flags = prop::array::uniform4(any::<bool>());
        let fields = prop::collection::vec(any::<[Vec<u8>; 2]>(), 0..3);
        let answer = (any::<u16>(), numbers, flags, any::<Vec<u8>>(), fields);
        prop_oneof![
            answer.prop_map(|(status, numbers, flags, body, fields)| {
                let fields: Vec<_> = fields
                    .into_iter()
                    .map(|[name, value]| (name, value))
                    .collect();
                Content::Answer(Answer {
                    head: Head {
                        status,
                        fields: Headers::from_pairs(&fields),
                    },
                    terms: Terms {
                        received_at: numbers[0],
                        initial_age: numbers[1],
                        lifetime: numbers[2],
                        stale_while_revalidate: numbers[3],
                        stale_if_error: numbers[4],
                        no_cache: flags[0],
                        no_stale: flags[1],
                        authorized: flags[2],
                        validator: flags[3],
                    },
                    body: Rc::new(body),
                    took: numbers[5],
                })
            }),
            (
                any::<u64>(),
                prop::collection::vec(".*", 0..4),
                any::<Vec<u64>>()
            )
                .prop_map(|(generation, names, known)| {
                    Content::Variants(Variants {
                        generation,
                        names,
                        known,
                    })
                }),
        ]
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_as_it_was_and_one_cut_short_is_none_or_another(
            content in contents(),
            key: Vec<u8>,
            numbers in prop::array::uniform4(any::<u64>()),
            cut: prop::sample::Index,
        ) {
            let [id, uri, epoch, requested_at] = numbers;
            let entry = Entry { key, id, uri, epoch, requested_at, content };
            let bytes = entry.encode();
            prop_assert_eq!(Entry::decode(&bytes), Some(entry.clone()));
            let short = Entry::decode(&bytes[..cut.index(bytes.len())]);
            prop_assert_ne!(short.as_ref(), Some(&entry));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = Entry::decode(&bytes);
        }
    }
}
