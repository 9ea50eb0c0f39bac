//! Signed hellos that were used for a session: none is used twice.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most that are remembered; a page that says more within their time is refused.
const MAX_USED: usize = 1024;
/// Timestamps are whole seconds, so a page that is loaded twice in one says the same hello again. Both arrive within
/// that second, give or take what they take on the way.
const REPEAT: Duration = Duration::from_secs(2);

/// A signed hello, as far as its use goes. Secret until it is used: `Debug` shows where it came from.
#[derive(Clone)]
pub struct Proof {
    /// What only its signer could make.
    pub signature: [u8; 64],
    /// Where it came from.
    pub address: IpAddr,
    /// When it stops being fresh, and need not be remembered.
    pub until: Instant,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof(from {})", self.address)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Proofs {
    used: Vec<(Instant, Proof)>,
}

impl Proofs {
    /// Whether this one may be used at `now`.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&mut self, now: Instant, proof: &Proof) -> Result<(), &'static str> {
        self.used.retain(|(_, used)| now <= used.until);
        if now > proof.until {
            return Err("the hello has become stale");
        }
        match self.used.iter().find(|(_, used)| used.signature == proof.signature) {
            Some((first, used)) if used.address != proof.address || now > *first + REPEAT => {
                Err("the hello was used before")
            }
            Some(_) => Ok(()),
            None if self.used.len() >= MAX_USED => Err("too many hellos; try again later"),
            None => Ok(()),
        }
    }

    /// It is used at `now`.
    pub fn note(&mut self, now: Instant, proof: Proof) {
        if !self.used.iter().any(|(_, used)| used.signature == proof.signature) {
            self.used.push((now, proof));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn proof(number: usize, address: IpAddr, until: Instant) -> Proof {
        let mut signature = [0; 64];
        signature[..8].copy_from_slice(&number.to_be_bytes());
        Proof {
            signature,
            address,
            until,
        }
    }

    #[test]
    fn each_is_used_once_but_for_an_honest_repeat_in_its_second() {
        let start = Instant::now();
        let until = start + Duration::from_secs(300);
        let mut proofs = Proofs::default();
        let (mine, theirs) = (proof(1, HOME, until), proof(1, ELSEWHERE, until));
        assert!(
            proofs.check(start, &mine).is_ok() && proofs.check(start, &mine).is_ok(),
            "not used yet"
        );
        proofs.note(start, mine.clone());
        assert_eq!(proofs.check(start, &theirs), Err("the hello was used before"));
        let soon = start + Duration::from_secs(1);
        assert!(proofs.check(soon, &mine).is_ok());
        proofs.note(soon, mine.clone());
        // a repeat does not prolong it
        assert!(proofs.check(start + Duration::from_millis(2001), &mine).is_err());
        assert!(proofs.check(soon, &proof(2, ELSEWHERE, until)).is_ok());
        assert_eq!(
            proofs.check(until + Duration::from_millis(1), &mine),
            Err("the hello has become stale")
        );
    }

    #[test]
    fn the_set_is_bounded_and_fails_closed_until_hellos_become_stale() {
        let start = Instant::now();
        let until = start + Duration::from_secs(300);
        let mut proofs = Proofs::default();
        for number in 0..MAX_USED {
            let proof = proof(number, HOME, until);
            assert!(proofs.check(start, &proof).is_ok());
            proofs.note(start, proof);
        }
        let later = until + Duration::from_secs(1);
        let fresh = proof(MAX_USED, HOME, later + Duration::from_secs(300));
        assert_eq!(proofs.check(until, &fresh), Err("too many hellos; try again later"));
        assert!(proofs.check(later, &fresh).is_ok());
    }
}
