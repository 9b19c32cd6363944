//! The names that a source file uses, as far as the rules need them.

/// A path as it stands in the code: `crate::engine::batch::Records`, or a single name.
pub type Segments = Vec<String>;

/// The text without comments, literals and test modules.
pub fn code(text: &str) -> String {
    let plain = without_literals(text);
    let mut rest = plain.as_str();
    let mut kept = String::new();
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        rest = after_item(&rest[at + "#[cfg(test)]".len()..]);
    }
    kept + rest
}

/// What follows an item that ends with `;` or with its closing brace.
fn after_item(text: &str) -> &str {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (character == '}' || character == ';') {
            return &text[at + 1..];
        }
    }
    ""
}

fn without_literals(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = literal_or_comment(rest, kept.chars().next_back());
        if skipped > 0 {
            kept.push(' ');
            rest = &rest[skipped..];
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    kept
}

/// The length of the comment, text or character that begins here; 0 when none does.
fn literal_or_comment(text: &str, before: Option<char>) -> usize {
    let from = |start: usize, end: &str| {
        text[start..]
            .find(end)
            .map_or(text.len(), |at| start + at + end.len())
    };
    let hashes = text
        .strip_prefix('r')
        .map_or(0, |rest| rest.len() - rest.trim_start_matches('#').len());
    let is_raw = text.starts_with('r') && text[1 + hashes..].starts_with('"');
    if text.starts_with("//") {
        text.find('\n').unwrap_or(text.len())
    } else if text.starts_with("/*") {
        from(2, "*/")
    } else if is_raw && !before.is_some_and(|c| c.is_alphanumeric() && c != 'b') {
        from(hashes + 2, &format!("\"{}", "#".repeat(hashes)))
    } else if text.starts_with('"') {
        quoted(text, '"')
    } else if text.starts_with("'\\") || text.chars().nth(2) == Some('\'') && text.starts_with('\'')
    {
        quoted(text, '\'')
    } else {
        0
    }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        if character == quote && !escaped {
            return at + quote.len_utf8();
        }
        escaped = character == '\\' && !escaped;
    }
    text.len()
}

/// Every name and path, those of `use` trees written out, `self` and `super` resolved.
pub fn paths(file: &str, code: &str) -> Vec<Segments> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            at = use_tree(&tokens, at + 1, &[], &mut found);
        } else if is_word(&tokens[at]) {
            let mut path = vec![tokens[at].clone()];
            while tokens.get(at + 1).is_some_and(|next| next == "::")
                && tokens.get(at + 2).is_some_and(|next| is_word(next))
            {
                path.push(tokens[at + 2].clone());
                at += 2;
            }
            found.push(path);
            at += 1;
        } else {
            at += 1;
        }
    }
    let module = module_of(file);
    found
        .into_iter()
        .map(|path| resolved(&module, path))
        .collect()
}

/// Writes out the tree that begins at `at`; where the next one begins. A crate that is imported
/// as a whole counts as a path.
fn use_tree(
    tokens: &[String],
    mut at: usize,
    above: &[String],
    found: &mut Vec<Segments>,
) -> usize {
    let mut path = above.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = use_tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            "," | "}" | ";" => break,
            "as" => at += 1,
            "::" => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    if path.len() == 1 {
        path.push("*".to_owned());
    }
    found.push(path);
    at
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut last_was_word = false;
    for character in code.chars() {
        let in_word = character.is_alphanumeric() || character == '_';
        match tokens.last_mut() {
            Some(token) if in_word && last_was_word => token.push(character),
            Some(token) if character == ':' && token == ":" => token.push(':'),
            _ if !character.is_whitespace() => tokens.push(character.to_string()),
            _ => {}
        }
        last_was_word = in_word;
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// `src/stream/store.rs` is `crate::stream::store`.
fn module_of(file: &str) -> Segments {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let names = inner
        .split('/')
        .filter(|name| !["lib", "main", "mod"].contains(name));
    ["crate"]
        .into_iter()
        .chain(names)
        .map(str::to_owned)
        .collect()
}

fn resolved(module: &[String], path: Segments) -> Segments {
    let supers = path
        .iter()
        .take_while(|segment| *segment == "super")
        .count();
    let selfs = usize::from(path.first().is_some_and(|first| first == "self") && path.len() > 1);
    if supers + selfs == 0 {
        return path;
    }
    let base = &module[..module.len().saturating_sub(supers)];
    base.iter()
        .cloned()
        .chain(path.into_iter().skip(supers + selfs))
        .collect()
}
