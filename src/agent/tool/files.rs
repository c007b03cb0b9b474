//! The tools `read`, `write` and `edit`. Owns their bounds and what models are told; where files may lie is the
//! workspace's.

use std::io::{BufRead, BufReader, Read};

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};

use super::args::Args;
use super::outcome::ToolOutcome;
use super::text;
use super::workspace::Workspace;
use crate::agent::message::Block;
use crate::limits;

/// `read`.
pub(super) fn read(workspace: &Workspace, args: &Args) -> ToolOutcome {
    let path = args.text("path");
    let outcome = match workspace.read(path) {
        Err(fault) => ToolOutcome::error(fault.to_string()),
        Ok(file) => {
            let limit = u64::try_from(limits::READ_SCAN_BYTES).unwrap_or(u64::MAX);
            let mut reader = BufReader::with_capacity(16 * 1024, file.take(limit));
            show(&mut reader, args).unwrap_or_else(|fault| ToolOutcome::error(format!("{path}: {fault}")))
        }
    };
    outcome.with_meta(path)
}

fn show(reader: &mut impl BufRead, args: &Args) -> std::io::Result<ToolOutcome> {
    let start = reader.fill_buf()?;
    if let Some(mime) = picture(start) {
        return image(reader, mime);
    }
    if start.contains(&0) {
        return Ok(ToolOutcome::error("this is a binary file; read shows texts and images (png, jpg, gif, webp)"));
    }
    let offset = args.count("offset").unwrap_or(1);
    let wanted = args.count("limit").unwrap_or(limits::READ_LINES).min(limits::READ_LINES);
    let page = lines(reader, offset, wanted)?;
    if page.count == 0 && offset > 1 {
        return Ok(ToolOutcome::error(format!(
            "offset {offset} is beyond the end: {} there",
            text::counted(page.skipped, "line")
        )));
    }
    let mut shown = text::safe(&page.bytes);
    if page.cut {
        shown.push_str("\n[a line was cut]");
    }
    if page.more {
        let last = offset + page.count - 1;
        shown.push_str(&format!("\n[lines {offset} to {last}; there is more, go on with offset={}]", last + 1));
    }
    Ok(ToolOutcome::text(shown))
}

/// The image type that these first bytes announce.
fn picture(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

fn image(reader: &mut impl Read, mime: &str) -> std::io::Result<ToolOutcome> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(limits::TOOL_IMAGE_BYTES).unwrap_or(u64::MAX);
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > limits::TOOL_IMAGE_BYTES {
        return Ok(ToolOutcome::error(format!("the image is over {} bytes", limits::TOOL_IMAGE_BYTES)));
    }
    let note = format!("Image file ({mime}, {} bytes)", bytes.len());
    let content = vec![Block::text(note), Block::image(BASE64.encode(&bytes), mime)];
    Ok(ToolOutcome { content, ..ToolOutcome::text("") })
}

#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    /// Lines before it.
    skipped: usize,
    /// Lines in it.
    count: usize,
    /// Whether a line was too long.
    cut: bool,
    /// Whether something follows.
    more: bool,
}

/// Lines from number `offset` on: at most that many, and at most the bytes of one page.
fn lines(reader: &mut impl BufRead, offset: usize, wanted: usize) -> std::io::Result<Page> {
    let mut page = Page::default();
    while page.skipped + 1 < offset {
        if line(reader, 0)?.is_none() {
            return Ok(page);
        }
        page.skipped += 1;
    }
    while page.count < wanted {
        let room = limits::READ_BYTES.saturating_sub(page.bytes.len());
        if reader.fill_buf()?.is_empty() {
            return Ok(page);
        }
        if room == 0 {
            page.more = true;
            return Ok(page);
        }
        let Some((bytes, cut)) = line(reader, room)? else { return Ok(page) };
        // a line that does not fit any more stands on the next page, unless it fits no page
        if cut && page.count > 0 {
            page.more = true;
            return Ok(page);
        }
        page.bytes.extend_from_slice(&bytes);
        page.count += 1;
        page.cut |= cut;
    }
    page.more = !reader.fill_buf()?.is_empty();
    Ok(page)
}

/// The next line with its end, at most `max` bytes of it; whether it was longer. None at the end of the file.
fn line(reader: &mut impl BufRead, max: usize) -> std::io::Result<Option<(Vec<u8>, bool)>> {
    let (mut kept, mut length) = (Vec::new(), 0);
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok((length > 0).then_some((kept, length > max)));
        }
        let end = piece.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(piece.len());
        let room = max.saturating_sub(kept.len()).min(taken);
        kept.extend_from_slice(piece.get(..room).unwrap_or_default());
        length += taken;
        reader.consume(taken);
        if end.is_some() {
            let cut = length > max;
            return Ok(Some((kept, cut)));
        }
    }
}

/// `write`.
pub(super) fn write(workspace: &Workspace, args: &Args) -> ToolOutcome {
    let (path, content) = (args.text("path"), args.text("content"));
    let outcome = if content.len() > limits::WRITE_BYTES {
        ToolOutcome::error(format!("the content is over {} bytes", limits::WRITE_BYTES))
    } else {
        match workspace.write(path, content.as_bytes()) {
            Ok(()) => ToolOutcome::text(format!("Wrote {} bytes to {path}", content.len())),
            Err(fault) => ToolOutcome::error(fault.to_string()),
        }
    };
    outcome.with_meta(path)
}

/// `edit`.
pub(super) fn edit(workspace: &Workspace, args: &Args) -> ToolOutcome {
    let path = args.text("path");
    let edited = load(workspace, path).and_then(|old| {
        let (new, line) = replaced(&old, args.text("oldText"), args.text("newText"))?;
        workspace.write(path, new.as_bytes()).map_err(|fault| fault.to_string())?;
        Ok(line)
    });
    match edited {
        Ok(line) => ToolOutcome::text(format!("Changed {path} at line {line}"))
            .with_details(json!({"path": path, "firstChangedLine": line})),
        Err(text) => ToolOutcome::error(format!("{path}: {text}")),
    }
    .with_meta(path)
}

/// A whole text file.
pub(super) fn load(workspace: &Workspace, path: &str) -> Result<String, String> {
    let file = workspace.read(path).map_err(|fault| fault.to_string())?;
    let limit = u64::try_from(limits::EDIT_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|fault| fault.to_string())?;
    if bytes.len() > limits::EDIT_BYTES {
        return Err(format!("over {} bytes", limits::EDIT_BYTES));
    }
    String::from_utf8(bytes).map_err(|_| "not a UTF-8 text".to_string())
}

/// The text with its one occurrence replaced, and the line of it. Line ends of Windows are matched by plain ones.
fn replaced(old: &str, from: &str, to: &str) -> Result<(String, usize), String> {
    if from == to {
        return Err("oldText and newText are the same".to_string());
    }
    let (from, to) = match old.contains("\r\n") && !old.contains(from) {
        true => (from.replace("\r\n", "\n").replace('\n', "\r\n"), to.replace("\r\n", "\n").replace('\n', "\r\n")),
        false => (from.to_string(), to.to_string()),
    };
    let Some((before, after)) = old.split_once(&from) else {
        return Err("oldText was not found; it must match exactly, blanks and line ends included".to_string());
    };
    // overlapping occurrences count: which one is meant would be unclear
    let rest = old.get(before.len() + from.chars().next().map_or(1, char::len_utf8)..).unwrap_or_default();
    if rest.contains(&from) {
        return Err("oldText occurs more than once; take more lines around it".to_string());
    }
    let line = before.matches('\n').count() + 1;
    Ok((format!("{before}{to}{after}"), line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn page(text: &[u8], offset: usize, wanted: usize) -> Page {
        lines(&mut BufReader::with_capacity(3, Cursor::new(text)), offset, wanted).unwrap()
    }

    #[test]
    fn pages_of_lines() {
        let text = b"one\ntwo\nthree";
        let first = page(text, 1, 2);
        assert_eq!((first.bytes.as_slice(), first.count, first.more), (&b"one\ntwo\n"[..], 2, true));
        let last = page(text, 3, 9);
        assert_eq!((last.bytes.as_slice(), last.count, last.more), (&b"three"[..], 1, false));
        let beyond = page(text, 9, 9);
        assert_eq!((beyond.count, beyond.skipped), (0, 3));
        assert_eq!(page(b"", 1, 9).count, 0);
    }

    #[test]
    fn a_page_has_a_bound_in_bytes_also_within_one_line() {
        let long = page(&vec![b'x'; limits::READ_BYTES * 3], 1, 10);
        assert_eq!((long.bytes.len(), long.cut, long.more), (limits::READ_BYTES, true, false));
        let many = page(&b"0123456789\n".repeat(limits::READ_BYTES), 1, usize::MAX);
        assert!(many.bytes.len() <= limits::READ_BYTES && many.bytes.len() > limits::READ_BYTES - 11 && many.more);
    }

    #[test]
    fn pages_lose_no_part_of_a_line() {
        let text: Vec<u8> = (0..20_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let (mut read, mut next) = (Vec::new(), 1);
        loop {
            let one = page(&text, next, limits::READ_LINES * 5);
            assert!(!one.cut && one.bytes.len() <= limits::READ_BYTES);
            read.extend_from_slice(&one.bytes);
            next += one.count;
            if !one.more {
                break;
            }
        }
        assert_eq!(read, text);
    }

    #[test]
    fn an_edit_needs_exactly_one_place() {
        assert_eq!(replaced("a\nb\nc\n", "b\n", "x\n"), Ok(("a\nx\nc\n".into(), 2)));
        assert_eq!(replaced("a\r\nb\r\nc", "a\nb", "x\ny"), Ok(("x\r\ny\r\nc".into(), 1)));
        assert!(replaced("a b a", "a", "x").unwrap_err().contains("more than once"));
        assert!(replaced("aaa", "aa", "x").unwrap_err().contains("more than once"));
        assert!(replaced("äää", "ää", "x").unwrap_err().contains("more than once"));
        assert!(replaced("abc", "x", "y").unwrap_err().contains("not found"));
        assert!(replaced("abc", "a", "a").is_err());
        assert_eq!(replaced("abc", "abc", ""), Ok((String::new(), 1)));
    }

    #[test]
    fn pictures_are_known_by_their_first_bytes() {
        assert_eq!(picture(b"\x89PNG\r\n"), Some("image/png"));
        assert_eq!(picture(b"RIFF1234WEBPVP8"), Some("image/webp"));
        assert_eq!((picture(b"\xff\xd8\xff\xe0"), picture(b"GIF89a")), (Some("image/jpeg"), Some("image/gif")));
        assert_eq!((picture(b""), picture(b"text")), (None, None));
    }
}
