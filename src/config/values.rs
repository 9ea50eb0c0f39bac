//! Values of settings that are a word or a number.

use std::net::{IpAddr, SocketAddr};
use std::num::IntErrorKind;
use std::time::Duration;

use ipnet::IpNet;

use super::units::{duration, size};
use super::{Foreign, Overflow, ReplayMode};

/// The largest payload of a control frame, in bytes (RFC 6455 section 5.5): less is no limit for messages.
const MAX_MESSAGE_MIN: usize = 125;
/// Sizes of messages are kept in 32 bits.
const MAX_MESSAGE_MAX: usize = u32::MAX as usize;
/// Below this a log holds next to nothing.
const LOG_BYTES_MIN: usize = 4096;

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse();
    address.map_err(|_| "is not ADDRESS:PORT with an IP address, such as 127.0.0.1:8080 or [::1]:8080".into())
}

/// An address, or a network of them.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address());
    let network = network.map_err(|_| "is no IP address, nor a network such as 10.0.0.0/8")?;
    if network.trunc() != network {
        return Err(format!(
            "is an address within its network: {} would be it",
            network.trunc()
        ));
    }
    Ok(network)
}

pub(super) fn replay(text: &str) -> Result<ReplayMode, String> {
    match text {
        "all" => Ok(ReplayMode::All),
        "turn" => Ok(ReplayMode::Turn),
        "missed" => Ok(ReplayMode::Missed),
        "none" => Ok(ReplayMode::None),
        _ => Err("is none of all, turn, missed, none".into()),
    }
}

pub(super) fn blip(text: &str) -> Result<bool, String> {
    match text {
        "1006" => Ok(true),
        _ => Err("is not \"1006\", an end without a close frame".into()),
    }
}

pub(super) fn max_message(text: &str) -> Result<usize, String> {
    let bytes = at_least(MAX_MESSAGE_MIN, size(text)?)?;
    if bytes > MAX_MESSAGE_MAX {
        return Err(format!("is above {MAX_MESSAGE_MAX} bytes"));
    }
    Ok(bytes)
}

pub(super) fn log_bytes(text: &str) -> Result<usize, String> {
    at_least(LOG_BYTES_MIN, size(text)?)
}

pub(super) fn at_least(least: usize, bytes: usize) -> Result<usize, String> {
    if bytes < least {
        return Err(format!("is below {least} bytes"));
    }
    Ok(bytes)
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(count @ 1..) => Ok(count),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err("is too large".into()),
        _ => Err("is not a number above 0".into()),
    }
}

/// Times a second.
pub(super) fn rate(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(rate @ 1..) => Ok(rate),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err("is too large".into()),
        _ => Err("is not a number above 0, of times a second".into()),
    }
}

/// A time in which something can be done.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() {
        return Err("leaves no time at all".into());
    }
    Ok(time)
}

pub(super) fn header(text: &str) -> Result<Option<String>, String> {
    let name = hyper::header::HeaderName::from_bytes(text.as_bytes());
    let name = name.map_err(|_| "is not a header's name")?;
    Ok(Some(name.as_str().to_owned()))
}

pub(super) fn foreign(text: &str) -> Result<Foreign, String> {
    match text {
        "separate" => Ok(Foreign::Separate),
        "refuse" => Ok(Foreign::Refuse),
        _ => Err("is neither separate nor refuse".into()),
    }
}

pub(super) fn overflow(text: &str) -> Result<Overflow, String> {
    match text {
        "drop-oldest" => Ok(Overflow::DropOldest),
        "close" => Ok(Overflow::Close),
        _ => Err("is neither drop-oldest nor close".into()),
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "is neither true nor false".into())
}

pub(super) fn subprotocol(text: &str) -> Result<Option<String>, String> {
    if is_token(text) {
        Ok(Some(text.to_owned()))
    } else {
        Err("is not a token".into())
    }
}

/// Tells whether a text is a token (RFC 9110 section 5.6.2), as names of headers, cookies and subprotocols are.
pub(super) fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    !text.is_empty() && text.bytes().all(letter)
}
