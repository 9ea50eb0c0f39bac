//! A configuration shown to people.

use std::fmt;

use super::units::{show_duration, show_size};
use super::{Config, Overflow, ReplayMode, Route};

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listen    {}", self.listen)?;
        writeln!(f, "upstream  {}", self.upstream)?;
        for origin in &self.public_origins {
            writeln!(f, "public    {origin}")?;
        }
        for origin in &self.allow_origins {
            writeln!(f, "allowed   {origin}")?;
        }
        for (index, route) in self.routes.iter().enumerate() {
            write!(f, "route[{index}]  {route}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} to {}", self.path, self.upstream)?;
        let key: Vec<_> = self.key.iter().map(ToString::to_string).collect();
        writeln!(f, "  key      {}", key.join(" + "))?;
        match self.profile.rules.len() {
            0 => writeln!(f, "  profile  none: messages stay opaque")?,
            rules => writeln!(f, "  profile  {:?}, {rules} rule(s)", self.profile.name)?,
        }
        let blip = if self.blip_1006 { " (every 1006)" } else { "" };
        writeln!(
            f,
            "  replay   {} on refresh, {} on blip{blip}",
            self.replay_refresh, self.replay_blip
        )?;
        writeln!(
            f,
            "  log      {} or {} messages, then {}",
            show_size(self.log_bytes),
            self.log_messages,
            self.overflow
        )?;
        write!(
            f,
            "  limits   grace {}, message {}",
            show_duration(self.grace),
            show_size(self.max_message)
        )?;
        for (on, name) in [(self.acks, "acks"), (self.fights, "fights")] {
            if !on {
                write!(f, ", {name} off")?;
            }
        }
        writeln!(f)
    }
}

impl fmt::Display for ReplayMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Turn => "turn",
            Self::Missed => "missed",
            Self::None => "none",
        })
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DropOldest => "drop-oldest",
            Self::Close => "close",
        })
    }
}
