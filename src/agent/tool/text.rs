//! Bytes of programs and files as text that is safe to show and to store: no control characters, no terminal
//! sequences, line ends of one kind. Pure and linear.

/// The text of these bytes. Carriage returns become line ends, terminal sequences vanish, other control characters and
/// runs of bytes that are no UTF-8 become one replacement character.
pub(super) fn safe(bytes: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(lossy.len());
    let mut chars = lossy.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            '\u{1b}' => escape(&mut chars),
            c if c.is_control() || c == '\u{fffd}' || is_invisible(c) => {
                if !out.ends_with('\u{fffd}') {
                    out.push('\u{fffd}');
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// Marks that change the direction of text: they make a line show something else than it says.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Skips a terminal sequence: `ESC [ … letter`, `ESC ] … BEL` or `ESC \`, or one more character.
fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
        Some(']' | 'P' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    return;
                }
            }
        }
        _ => {}
    }
}

/// The first characters of a text on one line: a label for people.
pub(super) fn label(text: &str, max: usize) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(max).filter(|c| !c.is_control()).collect();
    if short.len() < text.trim().len() {
        short.push('…');
    }
    short
}

/// The noun with its number.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_and_terminal_sequences_vanish() {
        assert_eq!(safe(b"\x1b[1;31mred\x1b[0m\tx\r\ny\rz"), "red\tx\ny\nz");
        assert_eq!(safe(b"a\x1b]0;title\x07b\x1b]8;;u\x1b\\c\x1bMd"), "abcd");
        assert_eq!(safe(b"a\0\x01\xff\xfe\x80b"), "a\u{fffd}b");
        assert_eq!(safe("gr\u{fc}\u{df}e \u{202e}x".as_bytes()), "gr\u{fc}\u{df}e \u{fffd}x");
        assert_eq!(safe(b"\x1b["), "");
    }

    #[test]
    fn binary_noise_of_any_kind_is_text() {
        let noise: Vec<u8> = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        assert!(safe(&noise).chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
    }

    #[test]
    fn labels_are_one_short_line() {
        assert_eq!(label(" ls -l \n rm", 80), "ls -l …");
        assert_eq!((label("abcdef", 3).as_str(), label("abc", 3).as_str()), ("abc…", "abc"));
        assert_eq!((counted(1, "file").as_str(), counted(2, "file").as_str()), ("1 file", "2 files"));
    }
}
