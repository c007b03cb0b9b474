//! Admission by count: how many connections there may be at all, and how many of one address may
//! be unauthenticated. Counters are atomics that guards give back when dropped; no lock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;

/// One counted thing; the count goes down when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Takes one if fewer than `max` are out.
    fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Counted> {
        count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1))
            .ok()
            .map(|_| Counted(count.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The right to be connected at all.
pub struct Slot {
    _total: Counted,
}

/// The right to be connected without having authenticated.
pub struct Permit {
    address: Counted,
}

/// An address whose permit was given back, to ask for another one.
pub struct Address(Arc<AtomicUsize>);

impl Permit {
    /// Gives the permit back; the connection may ask again.
    pub fn give_back(self) -> Address {
        Address(self.address.0.clone())
    }
}

impl Address {
    /// A new permit, unless too many sockets of the address have none.
    pub fn ask(&self) -> Option<Permit> {
        Counted::take(&self.0, limits::UNAUTHENTICATED_PER_ADDRESS).map(|address| Permit { address })
    }
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// All connections are taken.
    Full,
    /// Too many sockets of this address have not authenticated.
    Unauthenticated,
}

/// Counts for all listeners together.
#[derive(Clone)]
pub struct Total {
    count: Arc<AtomicUsize>,
    max: usize,
}

impl Total {
    /// A counter that admits `max`.
    pub fn new(max: usize) -> Total {
        Total { count: Arc::new(AtomicUsize::new(0)), max }
    }
}

/// The gate of one listener; owned by its accept loop.
pub struct Gate {
    total: Total,
    addresses: HashMap<IpAddr, Arc<AtomicUsize>>,
}

impl Gate {
    /// A gate that shares the total with other listeners.
    pub fn new(total: Total) -> Gate {
        Gate { total, addresses: HashMap::new() }
    }

    /// Lets a connection of this address in, or says why not.
    pub fn enter(&mut self, address: IpAddr) -> Result<(Slot, Permit), Refused> {
        let total = Counted::take(&self.total.count, self.total.max).ok_or(Refused::Full)?;
        // Addresses without sockets are forgotten before the map could outgrow the connections.
        if self.addresses.len() > self.total.max {
            self.addresses.retain(|_, count| count.load(Ordering::Acquire) > 0);
        }
        let count = self.addresses.entry(address.to_canonical()).or_default();
        let address = Counted::take(count, limits::UNAUTHENTICATED_PER_ADDRESS).ok_or(Refused::Unauthenticated)?;
        Ok((Slot { _total: total }, Permit { address }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn refuses_the_thirty_third_unauthenticated_socket_of_an_address() {
        let mut gate = Gate::new(Total::new(1000));
        let held: Vec<_> = (0..32).map(|_| gate.enter(ADDRESS).ok().unwrap()).collect();
        assert_eq!(gate.enter(ADDRESS).err(), Some(Refused::Unauthenticated));
        assert!(gate.enter("192.0.2.1".parse().unwrap()).is_ok());
        drop(held);
        assert!(gate.enter(ADDRESS).is_ok());
    }

    #[test]
    fn counts_authenticated_sockets_against_the_total_only() {
        let mut gate = Gate::new(Total::new(40));
        let slots: Vec<Slot> = (0..40).map(|_| gate.enter(ADDRESS).ok().unwrap().0).collect();
        assert_eq!(gate.enter(ADDRESS).err(), Some(Refused::Full));
        drop(slots);
        assert!(gate.enter(ADDRESS).is_ok());
    }

    #[test]
    fn treats_a_mapped_address_as_its_ipv4_form() {
        let mut gate = Gate::new(Total::new(1000));
        let _held: Vec<_> = (0..32).map(|_| gate.enter(ADDRESS).ok().unwrap()).collect();
        assert_eq!(gate.enter("::ffff:127.0.0.1".parse().unwrap()).err(), Some(Refused::Unauthenticated));
    }
}
