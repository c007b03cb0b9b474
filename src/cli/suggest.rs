//! Which known word an unknown one probably meant.
//! Pure; knows nothing of commands or flags.

/// The nearest of `known`, if it is near enough to be a slip.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|other| (distance(word, other), other))
        .filter(|(far, other)| *far <= allowed || (word.len() >= 3 && other.starts_with(word)))
        .min_by_key(|(far, other)| (*far, *other))
        .map(|(_, other)| other)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |cells: &[usize], n: usize| cells.get(n).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_swapped_pair_and_refuses_strangers() {
        assert_eq!(nearest("statsu", ["status", "start"]), Some("status"));
        assert_eq!(nearest("gatway", ["gateway", "health"]), Some("gateway"));
        assert_eq!(nearest("foobar", ["gateway", "health"]), None);
        assert_eq!(nearest("requi", ["require-rpc", "url"]), Some("require-rpc"));
    }
}
