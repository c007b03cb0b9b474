//! The README's generated part is what the protocol table says. Knows nothing of the rest of it.

use super::tidy::root;

#[test]
fn the_reference_in_the_readme_comes_from_the_table() {
    let path = root().join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find("a test compares it.\n").unwrap() + "a test compares it.\n".len();
    let end = text.find("\n## Licence").unwrap();
    let wanted = format!("\n{}", openclaw::protocol::emit::markdown::markdown());
    if text[start..end].trim() == wanted.trim() {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        let fresh = format!("{}{}\n{}", &text[..start], wanted.trim_end(), &text[end..]);
        std::fs::write(path, fresh).unwrap();
        return;
    }
    panic!("the reference in README.md is not what the table says (UPDATE=1 rewrites it)");
}
