//! Admission by count: how many connections there may be at all, and how many of one address may
//! be unauthenticated. Counters are atomics that guards give back when dropped; no lock.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;
use crate::sys::table::Table;

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
    taken: Counted,
    roomy: usize,
}

impl Slot {
    /// Whether so many places are taken that none may be spent on waiting for a request: anybody could hold
    /// them all, without a secret, and keep every client out.
    pub fn is_crowded(&self) -> bool {
        self.taken.0.load(Ordering::Acquire) > self.roomy
    }
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

    /// Connections that are in.
    pub fn taken(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// The gate of one listener; owned by its accept loop.
pub struct Gate {
    total: Total,
    addresses: Table<IpAddr, Arc<AtomicUsize>>,
}

impl Gate {
    /// A gate that shares the total with other listeners.
    pub fn new(total: Total) -> Gate {
        Gate { total, addresses: Table::new() }
    }

    /// Lets a connection of this address in, or says why not.
    pub fn enter(&mut self, address: IpAddr) -> Result<(Slot, Permit), Refused> {
        let total = Counted::take(&self.total.count, self.total.max).ok_or(Refused::Full)?;
        // Addresses without sockets are forgotten before the map could outgrow the connections.
        if self.addresses.len() > self.total.max {
            self.addresses.retain(|_, count| count.load(Ordering::Acquire) > 0);
        }
        let count = self.addresses.or_default(household(address));
        let address = Counted::take(count, limits::UNAUTHENTICATED_PER_ADDRESS).ok_or(Refused::Unauthenticated)?;
        let roomy = self.total.max * limits::KEPT_SHARE.0 / limits::KEPT_SHARE.1;
        Ok((Slot { taken: total, roomy }, Permit { address }))
    }
}

/// What counts as one address: an IPv6 subscriber has a whole /64 to choose from (RFC 6177), which would be as
/// many permits.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
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

    #[test]
    fn counts_an_ipv6_network_as_one_address() {
        let mut gate = Gate::new(Total::new(1000));
        let of = |network: &str, n: u16| format!("{network}::{n:x}").parse().unwrap();
        let _held: Vec<_> = (0..32).map(|n| gate.enter(of("2001:db8:0:1", n)).ok().unwrap()).collect();
        assert_eq!(gate.enter(of("2001:db8:0:1", 99)).err(), Some(Refused::Unauthenticated));
        assert!(gate.enter(of("2001:db8:0:2", 99)).is_ok());
    }

    #[test]
    fn is_crowded_once_three_quarters_are_taken() {
        let mut gate = Gate::new(Total::new(8));
        let mut slots: Vec<Slot> = (0..6).map(|_| gate.enter(ADDRESS).ok().unwrap().0).collect();
        assert!(!slots[0].is_crowded());
        slots.push(gate.enter(ADDRESS).ok().unwrap().0);
        assert!(slots.iter().all(Slot::is_crowded));
        slots.pop();
        assert!(!slots[0].is_crowded());
    }
}
