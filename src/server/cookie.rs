//! The minted cookie, by which a browser is known again.

use std::fmt;

use data_encoding::HEXLOWER;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Name where the cookie is `Secure`: the prefix keeps other hosts and plain HTTP from setting it.
const SECURE_NAME: &str = "__Host-sessmux";

/// Start of the name elsewhere; the port follows, because cookies of one host reach all its ports.
const PLAIN_PREFIX: &str = "sessmux-";

/// 400 days in seconds: the longest that browsers grant.
const MAX_AGE: u32 = 400 * 24 * 60 * 60;

/// What keeps an answer with our cookie, and no `Cache-Control` of its own, from shared caches.
const PRIVATE: &str = "private, no-cache=\"Set-Cookie\"";

/// 128 random bits that name a browser; opaque, and a secret, so `Debug` does not show them.
///
/// Nobody learns one by timing: it is looked up by a hash under a key of this process, and compared whole with what has
/// the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BrowserId([u8; 16]);

impl BrowserId {
    /// Makes a new one.
    #[must_use]
    pub fn mint() -> Self {
        Self(rand::random())
    }

    /// The bits, for keys.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the text form: 32 lower-case hexadecimal digits, nothing else.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut bits = [0; 16];
        let whole = text.len() == 32 && HEXLOWER.decode_mut(text, &mut bits).is_ok();
        whole.then_some(Self(bits))
    }

    fn text(self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

impl fmt::Debug for BrowserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserId(..)")
    }
}

/// The cookie's name, and with it whether it is `Secure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieName(String);

/// Two values of one cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planted;

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CookieName {
    /// The name that holds for a request to `host`: `__Host-sessmux` where pages come by HTTPS,
    /// else `sessmux-` with the port that the browser sees, or the listener's where `host` names none.
    #[must_use]
    pub fn of(https: bool, host: Option<&str>, listen_port: u16) -> Self {
        if https {
            return Self(SECURE_NAME.into());
        }
        let digits = host.and_then(|host| host.rsplit_once(':')).map(|(_, digits)| digits);
        let port = digits.and_then(|digits| digits.parse().ok()).unwrap_or(listen_port);
        Self(format!("{PLAIN_PREFIX}{port}"))
    }

    /// The browser that a request comes from: the well-formed value under this name, if there is one.
    ///
    /// # Errors
    ///
    /// There are two. One of them was planted, by a sibling host or port, to have the browser share a session with whoever
    /// knows that value; which of them is not to be told, so the browser is one that is not known.
    pub fn read(&self, headers: &HeaderMap) -> Result<Option<BrowserId>, Planted> {
        let fields = headers.get_all(header::COOKIE).into_iter();
        let mut values = fields
            .flat_map(|field| field.as_bytes().split(|&byte| byte == b';'))
            .filter_map(|pair| {
                let pair = pair.trim_ascii();
                let value = pair.strip_prefix(self.0.as_bytes())?.strip_prefix(b"=")?;
                BrowserId::parse(value)
            });
        let first = values.next();
        if values.any(|other| Some(&other) != first.as_ref()) {
            return Err(Planted);
        }
        Ok(first)
    }

    /// The `Set-Cookie` value that gives a browser its id.
    #[must_use]
    pub fn set(&self, id: BrowserId) -> HeaderValue {
        let secure = if self.0 == SECURE_NAME { "; Secure" } else { "" };
        let text = format!(
            "{}={}; Max-Age={MAX_AGE}; Path=/; HttpOnly; SameSite=Lax{secure}",
            self.0,
            id.text()
        );
        HeaderValue::from_str(&text).expect("names and ids are visible ASCII")
    }
}

/// Takes our cookies out of a request, every other byte of its `Cookie` fields left as it is.
///
/// Ours is any name that a sessmux mints: those of another one on this host arrive here too, and no agent
/// may learn them.
pub fn strip(headers: &mut HeaderMap) {
    if !headers
        .get_all(header::COOKIE)
        .into_iter()
        .any(|field| pairs(field).any(is_ours))
    {
        return;
    }
    rewrite(headers, &header::COOKIE, |field| {
        let kept: Vec<&[u8]> = pairs(field).filter(|pair| !is_ours(pair)).collect();
        let joined = kept.join(&b';');
        let joined = joined.trim_ascii_start();
        if joined.is_empty() {
            None
        } else {
            HeaderValue::from_bytes(joined).ok()
        }
    });
}

/// Drops from an upstream's answer what would set a cookie of ours.
pub fn drop_foreign(headers: &mut HeaderMap) {
    // Browsers read `=name=value` as a nameless cookie and send it back as `name=value`.
    let sets_ours = |field: &HeaderValue| {
        let text = field.as_bytes().trim_ascii_start();
        is_ours(text.strip_prefix(b"=").unwrap_or(text))
    };
    if headers.get_all(header::SET_COOKIE).into_iter().any(sets_ours) {
        rewrite(headers, &header::SET_COOKIE, |field| {
            (!sets_ours(field)).then(|| field.clone())
        });
    }
}

/// Gives a browser its id with this answer, and keeps shared caches from giving it to others too.
///
/// `Cache-Control` gains `private` and `no-cache="Set-Cookie"` and loses `public` and `s-maxage`; where it
/// is stricter, it stays so.
pub fn give(headers: &mut HeaderMap, name: &CookieName, id: BrowserId) {
    headers.append(header::SET_COOKIE, name.set(id));
    // as in almost every answer to an upgrade
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(PRIVATE));
        return;
    }
    let fields = headers.get_all(header::CACHE_CONTROL).into_iter();
    let text: Vec<String> = fields
        .map(|field| String::from_utf8_lossy(field.as_bytes()).into_owned())
        .collect();
    let text = text.join(",");
    let mut kept: Vec<&str> = directives(&text)
        .filter(|directive| {
            // a quote that does not end is no part of a name either
            let name = directive.split(['=', '"']).next().unwrap_or_default().trim();
            !name.eq_ignore_ascii_case("public") && !name.eq_ignore_ascii_case("s-maxage")
        })
        .collect();
    let has = |kept: &[&str], wanted: &str| kept.iter().any(|directive| directive.eq_ignore_ascii_case(wanted));
    // ahead of all others, one of which may have a quote that does not end
    if !has(&kept, "no-store") {
        if !has(&kept, "no-cache") {
            kept.insert(0, "no-cache=\"Set-Cookie\"");
        }
        if !has(&kept, "private") {
            kept.insert(0, "private");
        }
    }
    // What is not ASCII is no directive; the strictest there is replaces it.
    let value = HeaderValue::from_str(&kept.join(", ")).ok();
    let value = value.filter(|value| value.to_str().is_ok());
    let value = value.unwrap_or(HeaderValue::from_static("no-store"));
    headers.insert(header::CACHE_CONTROL, value);
}

/// The directives of a `Cache-Control` value; a comma within quotes parts none.
pub(crate) fn directives(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |letter| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    })
    .map(str::trim)
    .filter(|directive| !directive.is_empty())
}

fn pairs(field: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    field.as_bytes().split(|&byte| byte == b';')
}

/// Tells whether `name=value` has a name that a sessmux mints.
fn is_ours(pair: &[u8]) -> bool {
    let end = pair
        .iter()
        .position(|&byte| byte == b'=' || byte == b';')
        .unwrap_or(pair.len());
    let name = pair[..end].trim_ascii();
    name == SECURE_NAME.as_bytes()
        || name
            .strip_prefix(PLAIN_PREFIX.as_bytes())
            .is_some_and(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit))
}

/// Replaces each field of one name by what `change` makes of it, in order.
fn rewrite(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&HeaderValue) -> Option<HeaderValue>) {
    let changed: Vec<HeaderValue> = headers.get_all(name).into_iter().filter_map(change).collect();
    headers.remove(name);
    for field in changed {
        headers.append(name, field);
    }
}

#[cfg(test)]
mod tests;
