//! HTML as text that is worth a model's context: no scripts, menus and styles; headings, lists, links and preformatted
//! text kept. One pass, linear, tolerant of anything. Pure.

/// Form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With marks for headings, links, emphasis.
    Markdown,
    /// Bare.
    Text,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readable {
    pub(super) title: Option<String>,
    pub(super) text: String,
}

/// Elements whose content is not for reading.
const SKIPPED: &[&str] =
    &["script", "style", "noscript", "template", "svg", "nav", "footer", "aside", "form", "iframe", "button", "select"];
/// Elements in which nothing is markup.
const RAW: &[&str] = &["script", "style", "textarea", "title"];
/// Elements that stand on lines of their own.
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "section",
    "article",
    "main",
    "header",
    "ul",
    "ol",
    "table",
    "tr",
    "blockquote",
    "figure",
    "figcaption",
    "dl",
    "dt",
    "dd",
    "hr",
    "pre",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "li",
    "body",
    "details",
    "summary",
];
/// An article shorter than this is not taken for the page's content.
const ARTICLE_BYTES: usize = 200;

/// Reads a page.
pub(super) fn read(html: &str, form: Form) -> Readable {
    let whole = Reader::new(form).run(html);
    if whole.article.trim().len() >= ARTICLE_BYTES {
        return Readable { title: whole.title(), text: tidy(&whole.article) };
    }
    Readable { title: whole.title(), text: tidy(&whole.out) }
}

struct Reader {
    form: Form,
    out: String,
    /// What stands in `article` and `main`.
    article: String,
    title: String,
    /// The element being skipped and how deep it is nested in itself.
    skip: Option<(String, usize)>,
    in_article: usize,
    in_pre: usize,
    /// Targets of open links.
    links: Vec<String>,
}

impl Reader {
    fn new(form: Form) -> Reader {
        let empty = String::new;
        Reader {
            form,
            out: empty(),
            article: empty(),
            title: empty(),
            skip: None,
            in_article: 0,
            in_pre: 0,
            links: vec![],
        }
    }

    fn title(&self) -> Option<String> {
        let words: Vec<&str> = self.title.split_whitespace().collect();
        let title: String = words.join(" ").chars().take(300).collect();
        Some(title).filter(|title| !title.is_empty())
    }

    fn run(mut self, html: &str) -> Reader {
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            let (text, tag) = rest.split_at(at);
            self.text(text);
            rest = self.markup(tag);
        }
        self.text(rest);
        self
    }

    /// Takes one piece of markup; what follows it.
    fn markup<'a>(&mut self, tag: &'a str) -> &'a str {
        if let Some(comment) = tag.strip_prefix("<!--") {
            return comment.split_once("-->").map_or("", |(_, rest)| rest);
        }
        let names = tag.get(1..).unwrap_or_default();
        let closing = names.starts_with('/');
        let names = names.trim_start_matches('/');
        if !names.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!' || c == '?') {
            self.text("<");
            return tag.get(1..).unwrap_or_default();
        }
        let end = tag_end(names);
        let (inside, rest) = names.split_at(end);
        let rest = rest.get(1..).unwrap_or_default();
        let length = inside.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inside.len());
        let (name, attributes) = inside.split_at(length);
        let name = name.to_ascii_lowercase();
        if closing {
            self.close(&name);
            return rest;
        }
        let empty = attributes.trim_end().ends_with('/');
        self.open(&name, attributes, empty);
        if RAW.contains(&name.as_str()) && !empty { self.raw(&name, rest) } else { rest }
    }

    /// The content of an element without markup; what follows it.
    fn raw<'a>(&mut self, name: &str, rest: &'a str) -> &'a str {
        let mut from = 0;
        let end = loop {
            let Some(at) = rest.get(from..).and_then(|part| part.find("</")) else { break rest.len() };
            let named = rest.get(from + at + 2..from + at + 2 + name.len());
            if named.is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                break from + at;
            }
            from += at + 2;
        };
        let (inside, after) = rest.split_at(end);
        if name == "title" && self.title.is_empty() {
            self.title = decoded(inside);
        } else if name == "textarea" {
            self.text(inside);
        }
        after
    }

    fn open(&mut self, name: &str, attributes: &str, empty: bool) {
        if let Some((skipped, depth)) = &mut self.skip {
            if skipped == name && !empty {
                *depth += 1;
            }
            return;
        }
        if SKIPPED.contains(&name) {
            self.skip = (!empty).then(|| (name.to_string(), 1));
            return;
        }
        let markdown = self.form == Form::Markdown;
        match name {
            "br" => self.push("\n"),
            "article" | "main" => self.in_article += 1,
            "a" => {
                let target = attribute(attributes, "href").filter(|target| target.starts_with("http"));
                self.links.push(target.unwrap_or_default());
                if markdown && self.links.last().is_some_and(|target| !target.is_empty()) {
                    self.push("[");
                }
            }
            "img" => {
                if let Some(alt) = attribute(attributes, "alt").filter(|alt| !alt.trim().is_empty()) {
                    self.push(&format!("[image: {}]", alt.trim()));
                }
            }
            "td" | "th" => self.push(" | "),
            _ => {}
        }
        if BLOCKS.contains(&name) {
            self.push(if matches!(name, "li" | "tr" | "dt" | "dd") { "\n" } else { "\n\n" });
        }
        match name {
            "li" => self.push("- "),
            "pre" => {
                self.in_pre += 1;
                if markdown {
                    self.push("```\n");
                }
            }
            _ if markdown => self.push(mark(name)),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if let Some((skipped, depth)) = &mut self.skip {
            if skipped == name {
                *depth -= 1;
                if *depth == 0 {
                    self.skip = None;
                }
            }
            return;
        }
        let markdown = self.form == Form::Markdown;
        match name {
            "a" => {
                let target = self.links.pop().unwrap_or_default();
                if markdown && !target.is_empty() {
                    self.push(&format!("]({target})"));
                }
            }
            "pre" if self.in_pre > 0 => {
                self.in_pre -= 1;
                if markdown {
                    self.push("\n```");
                }
            }
            "b" | "strong" | "em" | "i" | "code" if markdown => self.push(mark(name)),
            _ => {}
        }
        if BLOCKS.contains(&name) {
            self.push("\n");
        }
        if matches!(name, "article" | "main") {
            self.in_article = self.in_article.saturating_sub(1);
        }
    }

    fn text(&mut self, text: &str) {
        if self.skip.is_some() || text.is_empty() {
            return;
        }
        let text = decoded(text);
        if self.in_pre > 0 {
            return self.push(&text);
        }
        let mut spaced = String::with_capacity(text.len());
        for c in text.chars() {
            let blank = c.is_whitespace();
            if !blank {
                spaced.push(c);
            } else if !spaced.ends_with(' ') {
                spaced.push(' ');
            }
        }
        self.push(&spaced);
    }

    fn push(&mut self, text: &str) {
        let out = if self.in_article > 0 { [&mut self.out, &mut self.article].into() } else { vec![&mut self.out] };
        for out in out {
            let blank = out.is_empty() || out.ends_with(['\n', ' ']);
            out.push_str(if blank && self.in_pre == 0 { text.strip_prefix(' ').unwrap_or(text) } else { text });
        }
    }
}

fn mark(name: &str) -> &'static str {
    match name {
        "h1" => "# ",
        "h2" => "## ",
        "h3" => "### ",
        "h4" | "h5" | "h6" => "#### ",
        "b" | "strong" => "**",
        "em" | "i" => "_",
        "code" => "`",
        "hr" => "---\n",
        "blockquote" => "> ",
        _ => "",
    }
}

/// Where a tag ends: at the first `>` outside quotes; a quote that never ends does not count.
fn tag_end(tag: &str) -> usize {
    let mut quote = None;
    // an unclosed quote must not swallow the page
    for (at, c) in tag.char_indices().take(4096) {
        match quote {
            None if c == '>' => return at,
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    tag.find('>').unwrap_or(tag.len())
}

fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start();
        let Some(value) = after.strip_prefix('=').map(str::trim_start) else {
            rest = if end == 0 { after.get(1..).unwrap_or_default() } else { after };
            continue;
        };
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inside = value.get(1..).unwrap_or_default();
                inside.split_once(quote).unwrap_or((inside, ""))
            }
            _ => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(decoded(value));
        }
        rest = after.trim_start();
    }
    None
}

/// Character references replaced; unknown ones stay.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        let end = reference.char_indices().take(12).find(|(_, c)| *c == ';').map(|(end, _)| end);
        let known = end.and_then(|end| reference.get(1..end)).and_then(character);
        match (known, end) {
            (Some(c), Some(end)) => {
                out.push(c);
                rest = reference.get(end + 1..).unwrap_or_default();
            }
            _ => {
                out.push('&');
                rest = reference.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control() || *c == '\n');
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "laquo" => '«',
        "raquo" => '»',
        "bull" => '•',
        "middot" => '·',
        "copy" => '©',
        "reg" => '®',
        "trade" => '™',
        "euro" => '€',
        "deg" => '°',
        "times" => '×',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "egrave" => 'è',
        _ => return None,
    })
}

/// Safe characters, no blanks at line ends, at most one empty line in a row.
fn tidy(text: &str) -> String {
    let text = super::text::safe(text.as_bytes());
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines().map(str::trim_end) {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markdown(html: &str) -> String {
        read(html, Form::Markdown).text
    }

    #[test]
    fn structure_survives() {
        let html = "<h1>Title</h1><p>One <a href='http://x.org/?a=1&amp;b=2'>link</a>\n and <em>two</em>.</p><ul><li>a<li>b</ul><pre>x\n  y</pre>";
        assert_eq!(
            markdown(html),
            "# Title\n\nOne [link](http://x.org/?a=1&b=2) and _two_.\n\n- a\n- b\n\n```\nx\n  y\n```"
        );
        assert_eq!(read(html, Form::Text).text, "Title\n\nOne link and two.\n\n- a\n- b\n\nx\n  y");
    }

    #[test]
    fn scripts_menus_and_comments_vanish() {
        let html = "<script>if (a < b) { '</p>' }</script><style>p{}</style><nav><nav>x</nav>y</nav><!-- <p>no</p> --><p>yes</p><footer>f";
        assert_eq!(markdown(html), "yes");
    }

    #[test]
    fn an_article_is_preferred_when_it_is_one() {
        let long = "word ".repeat(60);
        let html = format!("<div>menu</div><article><p>{long}</p></article><div>related</div>");
        assert_eq!(markdown(&html), long.trim());
        assert_eq!(markdown("<div>a</div><article>b</article>"), "a\n\nb");
    }

    #[test]
    fn references_are_characters_and_titles_are_found() {
        assert_eq!(markdown("a &lt;b&gt; &#228;&#x20ac; &nosuch; & &#0; x"), "a <b> ä€ &nosuch; & &#0; x");
        assert_eq!(read("<TITLE>\n A  b </Title>x", Form::Text).title.as_deref(), Some("A b"));
        assert_eq!(read("x", Form::Text).title, None);
    }

    #[test]
    fn broken_markup_is_read_anyway() {
        for html in [
            "<",
            "<p",
            "</",
            "<!--",
            "<a href=",
            "<a href='x",
            "a < b > c",
            "<script>",
            "<pre><pre></pre></pre></pre>",
            "&",
            "&#",
            "<p =>x",
        ] {
            let _ = markdown(html);
        }
        assert_eq!(markdown("1 < 2"), "1 < 2");
        assert_eq!(markdown("<p title=\">\">x</p>"), "x");
        let whole = "<html><b>ä</b>&auml;<a href=\"x\">ß</a><!-- c --><pre>\u{1f600}</pre>";
        for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
            let _ = (markdown(&whole[..at]), markdown(&whole[at..]));
        }
    }

    #[test]
    fn hostile_pages_take_linear_time() {
        for piece in ["<", "<a href='", "<!--", "&", "<script>", "</", "<div>", "<a =", "<pre>", "&amp"] {
            let html = piece.repeat(400_000 / piece.len());
            let started = std::time::Instant::now();
            let _ = markdown(&html);
            assert!(started.elapsed().as_secs() < 10, "{piece}");
        }
    }
}
