//! What the origin says of a key: always the same, so that the checks know what may be done with its answers.

use fastrand::Rng;

/// The field by which answers may differ.
pub const LANGUAGE: &str = "accept-language";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vary {
    Nothing,
    Language,
    Everything,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nature {
    pub status: u16,
    /// What it says of its lifetime.
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub public: bool,
    pub private: bool,
    pub no_store: bool,
    pub no_cache: bool,
    pub must_revalidate: bool,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
    /// Another cache had it for so long.
    pub age: Option<u64>,
    pub set_cookie: bool,
    pub event_stream: bool,
    pub vary: Vary,
    pub validator: bool,
    /// It says how long its body is.
    pub sized: bool,
    pub size: usize,
    pub pieces: usize,
}

impl Nature {
    #[must_use]
    pub fn draw(rng: &mut Rng, max_body: usize) -> Self {
        let often = |rng: &mut Rng, of: u8| rng.u8(..of) == 0;
        let mut nature = Self {
            status: 200,
            max_age: Some(rng.u64(1..=3)),
            s_maxage: None,
            public: often(rng, 3),
            private: false,
            no_store: false,
            no_cache: false,
            must_revalidate: often(rng, 5),
            stale_while_revalidate: often(rng, 5).then(|| rng.u64(0..=3)),
            stale_if_error: often(rng, 5).then(|| rng.u64(0..=3)),
            age: often(rng, 12).then(|| rng.u64(0..=2)),
            set_cookie: false,
            event_stream: false,
            vary: Vary::Nothing,
            validator: often(rng, 3),
            sized: rng.bool(),
            size: match rng.u8(..6) {
                0 => 0,
                1 => rng.usize(..=max_body * 2),
                _ => rng.usize(..=max_body),
            },
            pieces: rng.usize(1..=4),
        };
        match rng.u8(..24) {
            0 => nature.private = true,
            1 => nature.no_store = true,
            2..=3 => nature.set_cookie = true,
            4..=5 => nature.no_cache = true,
            6 => nature.vary = Vary::Everything,
            7..=10 => nature.vary = Vary::Language,
            11 => nature.event_stream = true,
            12..=13 => nature.max_age = None,
            14 => nature.max_age = Some(0),
            15 => nature.s_maxage = Some(rng.u64(0..=2)),
            16 => nature.status = [301, 404, 410][rng.usize(..3)],
            17 => nature.status = [500, 503][rng.usize(..2)],
            _ => {}
        }
        nature
    }

    /// `Cache-Control`, if it says anything.
    #[must_use]
    pub fn directives(&self) -> Option<String> {
        let flags = [
            ("public", self.public),
            ("private", self.private),
            ("no-store", self.no_store),
            ("no-cache", self.no_cache),
            ("must-revalidate", self.must_revalidate),
        ];
        let numbers = [
            ("max-age", self.max_age),
            ("s-maxage", self.s_maxage),
            ("stale-while-revalidate", self.stale_while_revalidate),
            ("stale-if-error", self.stale_if_error),
        ];
        let flags = flags.into_iter().filter(|(_, set)| *set);
        let mut all: Vec<String> = flags.map(|(name, _)| name.to_owned()).collect();
        for (name, seconds) in numbers {
            all.extend(seconds.map(|seconds| format!("{name}={seconds}")));
        }
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// How long it is fresh by its own word, in milliseconds.
    #[must_use]
    pub fn lifetime_ms(&self) -> Option<u64> {
        self.s_maxage
            .or(self.max_age)
            .map(|seconds| seconds * 1_000)
    }

    /// Never served stale.
    #[must_use]
    pub fn no_stale(&self) -> bool {
        self.must_revalidate || self.no_cache || self.s_maxage.is_some()
    }

    /// It allows itself to be given to others than the one whose `Authorization` it was made for.
    #[must_use]
    pub fn authorizes(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage.is_some()
    }

    /// It is for the client that asked and no other, today and tomorrow, with whatever policy.
    #[must_use]
    pub fn is_for_one(&self) -> bool {
        self.private
            || self.no_store
            || self.set_cookie
            || self.event_stream
            || self.vary == Vary::Everything
    }
}
