//! A map for up to some thousand entries: a sorted list. The library's trees are compiled anew (6 to 8 KiB) for every
//! pair of types, this is a fifth of it. Inserting and removing move what lies behind, so what grows without a small
//! bound, or is read from a file in any order, belongs into a `BTreeMap`. Knows nothing of what it holds.

use std::borrow::Borrow;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Entries sorted by key, each key once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table<K, V>(Vec<(K, V)>);

/// Walks the entries and gives something of each.
pub type Each<'a, Entry, Part> = std::iter::Map<std::slice::Iter<'a, Entry>, fn(&'a Entry) -> Part>;

impl<K, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table(Vec::new())
    }
}

impl<K: Ord, V> Table<K, V> {
    /// An empty one.
    pub fn new() -> Table<K, V> {
        Table(Vec::new())
    }

    /// Where a key stands, or would stand.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(own, _)| own.borrow().cmp(key))
    }

    /// The entry of a key.
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().and_then(|at| self.0.get(at)).map(|(key, value)| (key, value))
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// The value of a key, to change.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().and_then(|at| self.0.get_mut(at)).map(|(_, value)| value)
    }

    /// Whether a key has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// Sets a key's value; the former one comes back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(at) => self.0.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// The value of a key, made if there is none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = self.place(&key).unwrap_or_else(|at| {
            self.0.insert(at, (key, make()));
            at
        });
        &mut self.0.get_mut(at).expect("it was found or inserted there").1
    }

    /// The value of a key, the default one if there is none.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.get_or_insert_with(key, V::default)
    }

    /// Takes a key out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Takes the entry with the smallest key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// The entry with the smallest key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// Leaves only the entries that `keeps`.
    pub fn retain(&mut self, mut keeps: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keeps(key, value));
    }

    /// All entries, sorted by key.
    pub fn iter(&self) -> Each<'_, (K, V), (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// All entries, the values to change.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> + ExactSizeIterator {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Each<'_, (K, V), &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// All values, sorted by key.
    pub fn values(&self) -> Each<'_, (K, V), &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// All values, to change.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> + ExactSizeIterator {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// All values for good, sorted by key.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> + ExactSizeIterator {
        self.0.into_iter().map(|(_, value)| value)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Ord, V> IntoIterator for Table<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, K, V> IntoIterator for &'a Table<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Each<'a, (K, V), (&'a K, &'a V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<K: Ord, V> Extend<(K, V)> for Table<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Table<K, V> {
        let mut table = Table::new();
        table.extend(entries);
        table
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Table<K, V> {
    fn from(entries: [(K, V); N]) -> Table<K, V> {
        entries.into_iter().collect()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de, V: DeserializeOwned> Deserialize<'de> for Table<String, V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Table<String, V>, D::Error> {
        let mut table = Table::new();
        for (key, value) in Map::<String, Value>::deserialize(from)? {
            table.insert(key, V::deserialize(value).map_err(D::Error::custom)?);
        }
        Ok(table)
    }
}

/// For tests, which may panic.
#[cfg(test)]
impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> std::ops::Index<&Q> for Table<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("there is such a key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn does_what_the_tree_does() {
        let (mut table, mut tree) = (Table::new(), BTreeMap::new());
        let mut seed = 1_u32;
        for step in 0..2_000_u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = (seed >> 20) % 64;
            match seed >> 30 {
                0 => assert_eq!(table.remove(&key), tree.remove(&key)),
                1 => assert_eq!(table.or_default(key), tree.entry(key).or_default()),
                2 => assert_eq!(
                    (table.get(&key).copied(), table.contains_key(&key)),
                    (tree.get(&key).copied(), tree.contains_key(&key))
                ),
                _ => assert_eq!(table.insert(key, step), tree.insert(key, step)),
            }
            if let Some(value) = table.get_mut(&key) {
                *value = step;
                tree.insert(key, step);
            }
        }
        assert!(table.iter().eq(tree.iter()) && table.len() == tree.len() && table.keys().rev().eq(tree.keys().rev()));
        table.retain(|key, value| key % 2 == 0 && *value > 0);
        tree.retain(|key, value| key % 2 == 0 && *value > 0);
        assert_eq!(table.first_key_value(), tree.first_key_value());
        assert_eq!(table.pop_first(), tree.pop_first());
        assert!(table.into_values().eq(tree.into_values()));
    }

    #[test]
    fn is_written_and_read_as_an_object() {
        let table: Table<String, u8> = [("b".to_string(), 2), ("a".to_string(), 1), ("b".to_string(), 3)].into();
        assert_eq!(serde_json::to_string(&table).unwrap(), r#"{"a":1,"b":3}"#);
        assert_eq!(serde_json::from_str::<Table<String, u8>>(r#"{"b":3,"a":1}"#).unwrap(), table);
        assert!(serde_json::from_str::<Table<String, u8>>(r#"{"b":-1}"#).is_err());
    }
}
