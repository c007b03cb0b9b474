//! Tables with box characters that fit the terminal: wide cells wrap, the widest column gives way.
//! Pure; knows nothing of what stands in the cells.

use super::out::clean;

/// Draws a table of at most `width` columns; without rows it is empty.
pub fn draw(headers: &[&str], rows: &[Vec<String>], width: usize) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell).replace('\t', " ")).collect()).collect();
    let heads: Vec<String> = headers.iter().map(|head| (*head).to_string()).collect();
    let widths = fit(natural(&heads, &cells), width.saturating_sub(3 * heads.len() + 1));
    let mut out = rule(&widths, '┌', '┬', '┐');
    out.push_str(&row_text(&heads, &widths));
    out.push_str(&rule(&widths, '├', '┼', '┤'));
    for row in &cells {
        out.push_str(&row_text(row, &widths));
    }
    out.push_str(rule(&widths, '└', '┴', '┘').trim_end());
    out
}

fn natural(heads: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let widest = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n)).flat_map(|cell| cell.lines());
        cells.map(columns).max().unwrap_or(0)
    };
    heads.iter().enumerate().map(|(n, head)| columns(head).max(widest(n))).collect()
}

/// Takes columns from the widest until the sum fits; none falls below four.
fn fit(mut widths: Vec<usize>, room: usize) -> Vec<usize> {
    while widths.iter().sum::<usize>() > room {
        let Some(widest) = widths.iter_mut().max_by_key(|width| **width).filter(|width| **width > 4) else { break };
        *widest -= 1;
    }
    widths
}

fn rule(widths: &[usize], left: char, middle: char, right: char) -> String {
    let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
    format!("{left}{}{right}\n", bars.join(&middle.to_string()))
}

fn row_text(cells: &[String], widths: &[usize]) -> String {
    let empty = String::new();
    let wrapped: Vec<Vec<String>> =
        widths.iter().enumerate().map(|(n, width)| wrap(cells.get(n).unwrap_or(&empty), *width)).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(1);
    let mut out = String::new();
    for line in 0..height {
        out.push('│');
        for (cell, width) in wrapped.iter().zip(widths) {
            let text = cell.get(line).map(String::as_str).unwrap_or("");
            let pad = width.saturating_sub(columns(text));
            out.push_str(&format!(" {text}{} │", " ".repeat(pad)));
        }
        out.push('\n');
    }
    out
}

/// Lines of at most `width` columns, broken at spaces where possible.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        for word in line.split(' ') {
            let joined = columns(&current) + columns(word) + usize::from(!current.is_empty());
            if joined > width && !current.is_empty() {
                lines.push(std::mem::take(&mut current));
            }
            if !current.is_empty() {
                current.push(' ');
            }
            for c in word.chars() {
                if columns(&current) + wide(c) > width && !current.is_empty() {
                    lines.push(std::mem::take(&mut current));
                }
                current.push(c);
            }
        }
        lines.push(current);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// Columns that a text takes on a terminal.
fn columns(text: &str) -> usize {
    text.chars().map(wide).sum()
}

/// Two for East Asian wide characters and emoji, nothing for joiners, one for the rest.
fn wide(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_tables_wrap_inside_the_width() {
        let rows = vec![vec!["a".into(), "word ".repeat(40)], vec!["漢字".into(), "x".repeat(200)]];
        let table = draw(&["Item", "Value"], &rows, 80);
        assert!(table.lines().all(|line| columns(line) == 80), "{table}");
        assert!(table.contains("漢字"));
    }

    #[test]
    fn small_tables_are_only_as_wide_as_needed() {
        let table = draw(&["A", "B"], &[vec!["1".into(), "22".into()]], 80);
        assert_eq!(table, "┌───┬────┐\n│ A │ B  │\n├───┼────┤\n│ 1 │ 22 │\n└───┴────┘");
        assert_eq!(draw(&["A"], &[], 80), "");
    }
}
