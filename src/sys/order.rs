//! Sorting and collecting into sorted maps with little code: the library's sort and its `collect` into a map are
//! compiled anew (4 to 5 KiB) for every type and closure, these once. Knows nothing of what it sorts.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Sorts; items that compare equal keep their order.
pub fn by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let pair = |one: usize, two: usize| match (items.get(one), items.get(two)) {
        (Some(one), Some(two)) => compare(one, two),
        _ => Ordering::Equal,
    };
    for (at, from) in swaps(items.len(), &pair) {
        items.swap(at, from);
    }
}

/// Sorts by a key that is cheap to take; items with equal keys keep their order.
pub fn by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    by(items, |one, two| key(one).cmp(&key(two)));
}

/// Which places to swap, one after the other, so that all items stand in order.
fn swaps(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|one, two| compare(*one, *two));
    let mut swaps = Vec::new();
    for start in 0..len {
        // round the circle of items that stand in each other's place
        let mut at = start;
        while let Some(from) = order.get_mut(at).map(|from| std::mem::replace(from, at)).filter(|from| *from != start) {
            swaps.push((at, from));
            at = from;
        }
    }
    swaps
}

/// Collects into a map; the last of equal keys stays.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(entries);
    map
}

/// Collects into a set.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

/// Collects into a JSON object; the last of equal names stays.
pub fn object(members: impl IntoIterator<Item = (String, Value)>) -> Map<String, Value> {
    let mut object = Map::new();
    object.extend(members);
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_as_the_library_does_and_keeps_the_order_of_equals() {
        let mut seed = 7_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 16
        };
        for len in [0, 1, 2, 3, 50, 1_000] {
            let items: Vec<(u32, usize)> = (0..len).map(|at| (next() % 20, at)).collect();
            let (mut ours, mut theirs) = (items.clone(), items);
            by_key(&mut ours, |item| item.0);
            theirs.sort_by_key(|item| item.0);
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn one_long_circle_takes_one_swap_per_item() {
        let mut items: Vec<u32> = (1..5_000).chain([0]).collect();
        by(&mut items, u32::cmp);
        assert!(items.is_sorted());
        assert_eq!(swaps(5_000, &|one, two| ((one + 1) % 5_000).cmp(&((two + 1) % 5_000))).len(), 4_999);
    }

    #[test]
    fn the_last_of_equal_keys_stays() {
        assert_eq!(map([("a", 1), ("b", 2), ("a", 3)]), BTreeMap::from([("a", 3), ("b", 2)]));
        assert_eq!(set(["b", "a", "b"]), BTreeSet::from(["a", "b"]));
        let twice = object([("a".to_string(), Value::from(1)), ("a".to_string(), Value::from(2))]);
        assert_eq!(Value::Object(twice), json!({"a": 2}));
    }
}
