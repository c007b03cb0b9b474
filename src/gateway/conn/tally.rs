//! What the connections' threads count for `/metrics`: requests by route and class of status, connections that were
//! not let in. Counters that are only ever added to; nothing is decided by them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::api::SURFACES;
use crate::http::route::Route;

/// Routes that are no interface for programs.
const OTHERS: [&str; 6] = ["malformed", "websocket", "probe", "index", "other", "/hooks"];
/// Classes of status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const ROUTES: usize = OTHERS.len() + SURFACES.len();

/// A route's place in the count; [`Place::default`] is a request that could not be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place(usize);

impl Place {
    /// All hooks: their paths are the callers'.
    pub const HOOKS: Place = Place(5);

    /// The place of a route.
    pub fn of(route: Route) -> Place {
        Place(match route {
            Route::WebSocket => 1,
            Route::Probe(_) => 2,
            Route::Index => 3,
            Route::Api(row) => OTHERS.len() + row.surface as usize,
            _ => 4,
        })
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Tally {
    requests: [[AtomicU64; CLASSES.len()]; ROUTES],
    refused: [AtomicU64; 2],
}

impl Tally {
    /// Counts an answer.
    pub fn answered(&self, place: Place, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = self.requests.get(place.0).and_then(|classes| classes.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a connection that was not let in; `full` tells that all places were taken, and not only its address's.
    pub fn refused(&self, full: bool) {
        let [all, own] = &self.refused;
        if full { all } else { own }.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts of this moment.
    pub fn read(&self, open: usize) -> Tallied {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tallied {
            open,
            refused: [load(&self.refused[0]), load(&self.refused[1])],
            requests: self.requests.iter().map(|classes| classes.iter().map(load).collect()).collect(),
        }
    }
}

/// The counts of one moment.
#[derive(Debug)]
pub struct Tallied {
    /// Connections that are open.
    pub open: usize,
    /// Connections that were not let in: all places taken, too many of the address.
    pub refused: [u64; 2],
    requests: Vec<Vec<u64>>,
}

impl Tallied {
    /// Route, class of status and count of what has been asked for.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let routes = OTHERS.iter().copied().chain(SURFACES.iter().map(|row| row.path));
        routes.zip(&self.requests).flat_map(|(route, counts)| {
            let seen = CLASSES.iter().zip(counts).filter(|(_, count)| **count > 0);
            seen.map(move |(class, count)| (route, *class, *count))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_counted_under_its_path() {
        for (at, row) in SURFACES.iter().enumerate() {
            assert_eq!(row.surface as usize, at, "{}: the table's order is the order of the names", row.path);
        }
        let tally = Tally::default();
        tally.answered(Place::of(Route::Api(&SURFACES[1])), 200);
        tally.answered(Place::of(Route::Api(&SURFACES[1])), 204);
        tally.answered(Place::default(), 431);
        tally.answered(Place::HOOKS, 204);
        tally.answered(Place::of(Route::WebSocket), 101);
        tally.answered(Place::of(Route::Index), 99);
        tally.answered(Place::of(Route::Index), 700);
        let seen: Vec<_> = tally.read(0).requests().collect();
        assert_eq!(
            seen,
            [
                ("malformed", "4xx", 1),
                ("websocket", "1xx", 1),
                ("index", "1xx", 1),
                ("/hooks", "2xx", 1),
                (SURFACES[1].path, "2xx", 2)
            ]
        );
    }
}
