//! What names a session: route, owner and key values.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::config::Route;
use crate::profile::Signer;

/// Who opened a session, as far as it can be proved; sessions are looked up within their owner's namespace. Secret:
/// `Debug` shows the kind alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The browser that holds this minted cookie.
    Browser([u8; 16]),
    /// Whoever knows the key: clients that are not browsers.
    Bearer,
    /// Whoever shows all that the route binds sessions to; boxed, for it is larger than the others and rarer.
    Bound(Box<Bound>),
    /// No owner's, but a namespace: of a route that refuses whoever names another's session.
    Anyone,
}

/// What an owner has shown: header and cookie values and a subject as a keyed hash of them all, and who signed the hello.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Bound {
    hash: Option<[u8; 32]>,
    signer: Option<Signer>,
}

impl Bound {
    /// Whether nothing was shown yet.
    pub fn is_empty(&self) -> bool {
        self.hash.is_none() && self.signer.is_none()
    }

    /// It shows this value too; all are shown in the same order every time.
    pub fn add(&mut self, value: &[u8]) {
        static SECRET: OnceLock<[u8; 32]> = OnceLock::new();
        let before = self.hash.unwrap_or(*SECRET.get_or_init(rand::random));
        let hash = Sha256::new().chain_update(before).chain_update(value).finalize();
        self.hash = Some(hash.into());
    }
}

impl Owner {
    /// The same, who also signed a hello.
    #[must_use]
    pub fn signed(self, signer: Signer) -> Self {
        let mut bound = match self {
            Self::Bound(bound) => bound,
            Self::Browser(_) | Self::Bearer | Self::Anyone => Box::default(),
        };
        bound.signer = Some(signer);
        Self::Bound(bound)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Browser(_) => "Browser",
            Self::Bearer => "Bearer",
            Self::Bound(_) => "Bound",
            Self::Anyone => "Anyone",
        })
    }
}

/// The registry's key. Secret: `Debug` shows its
/// hash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The route's pattern.
    pub route: Arc<str>,
    /// Stands for the route's rules of keys and owners: what one rule made is never found by another's, for values that
    /// were a secret under the one may be anybody's to choose under the other.
    rules: u64,
    /// In whose namespace.
    pub owner: Owner,
    /// The decoded value of every key part, in order, each behind its length.
    values: Box<[u8]>,
    /// Not 0 for a session that nobody can name (yet): it is its own.
    alone: u64,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

impl Key {
    /// A key of this route that others can name.
    pub fn new<'a>(route: &Route, owner: Owner, values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self {
            route: Arc::clone(&route.path.text),
            rules: rules(route),
            owner,
            values: encoded(values),
            alone: 0,
        }
    }

    /// The same, but nobody else's: no second key is equal to it.
    pub fn alone(self) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            alone: NEXT.fetch_add(1, Ordering::Relaxed),
            ..self
        }
    }

    /// Whether this route makes such keys.
    pub fn is_of(&self, route: &Route) -> bool {
        self.route == route.path.text && self.rules == rules(route)
    }

    /// Whether nobody else can name it.
    pub fn is_alone(&self) -> bool {
        self.alone != 0
    }

    /// The key with the value of part `index` as the server chose it; others can name it.
    pub fn with_value(&self, index: usize, value: &[u8]) -> Self {
        let values = self.values().enumerate();
        let values = values.map(|(at, known)| if at == index { value } else { known });
        Self {
            values: encoded(values),
            alone: 0,
            ..self.clone()
        }
    }

    /// The decoded value of every key part, in order.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.values;
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk()?;
            let (value, later) = behind.split_at(usize::from_le_bytes(*length));
            rest = later;
            Some(value)
        })
    }

    /// What stands for the key in logs.
    pub fn id(&self) -> SessionId {
        SessionId(seed().hash_one(self) as u32)
    }
}

/// See [`Key`].
fn rules(route: &Route) -> u64 {
    seed().hash_one((&route.key, &route.bind))
}

/// A secret of this process.
fn seed() -> &'static RandomState {
    static SEED: OnceLock<RandomState> = OnceLock::new();
    SEED.get_or_init(RandomState::new)
}

/// In one piece, each behind its length: so no two lists of values are alike.
fn encoded<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Box<[u8]> {
    let mut all = Vec::new();
    for value in values {
        all.extend_from_slice(&value.len().to_le_bytes());
        all.extend_from_slice(value);
    }
    all.into()
}

/// A session in logs: a short hash of its key, with a secret of this process, so that keys do not reach logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(u32);

impl FromStr for SessionId {
    type Err = String;

    /// Eight hexadecimal digits, as they are shown.
    fn from_str(text: &str) -> Result<Self, String> {
        let id = u32::from_str_radix(text, 16).ok().map(Self);
        // neither signs nor other spellings
        id.filter(|id| id.to_string() == text)
            .ok_or_else(|| "a session's id has eight hexadecimal digits, as in the log".into())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
