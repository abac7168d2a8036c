//! The file name in a `Content-Disposition` header ([RFC 6266](https://www.rfc-editor.org/rfc/rfc6266)).

/// Bytes of a header that are looked at.
const MAX_HEADER: usize = 2048;

/// The name that a server gives a file; `filename*` (RFC 8187) wins over `filename`. It may be anything: check it before use.
pub fn file_name(header: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(header.get(..header.len().min(MAX_HEADER))?).into_owned();
    let mut plain = None;
    for (name, value) in parameters(&text) {
        if name.eq_ignore_ascii_case("filename*") {
            if let Some(decoded) = extended(&value) {
                return Some(decoded);
            }
        } else if name.eq_ignore_ascii_case("filename") && plain.is_none() {
            plain = Some(value).filter(|value| !value.is_empty());
        }
    }
    plain
}

/// The parameters after the first semicolon, unquoted.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, end) = if after.starts_with('"') { quoted(after) } else { token(after) };
        found.push((name.trim().to_owned(), value));
        rest = after.get(end..).and_then(|rest| rest.split_once(';')).map_or("", |(_, rest)| rest);
    }
    found
}

/// A value in quotation marks, and where it ends.
fn quoted(text: &str) -> (String, usize) {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, at + 1),
            c => value.push(c),
        }
    }
    (value, text.len())
}

fn token(text: &str) -> (String, usize) {
    let end = text.find(';').unwrap_or(text.len());
    (text[..end].trim().to_owned(), end)
}

/// `UTF-8''percent%20encoded`.
fn extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_as_the_standard_says() {
        for (header, name) in [
            ("attachment; filename=\"a b.safetensors\"", Some("a b.safetensors")),
            ("attachment; filename=a.safetensors", Some("a.safetensors")),
            ("attachment;filename=a.safetensors ; size=3", Some("a.safetensors")),
            (r#"attachment; filename="a\"b;c.safetensors"; x=y"#, Some("a\"b;c.safetensors")),
            (
                "attachment; filename=\"x\"; filename*=UTF-8''%c3%a9t%C3%A9.safetensors",
                Some("été.safetensors"),
            ),
            ("inline; filename*=iso-8859-1''x; filename=y", Some("y")),
            ("inline; filename*=utf-8''%zz; filename=y", Some("y")),
            ("attachment; filename=\"../../etc/passwd\"", Some("../../etc/passwd")),
            ("attachment; filename=\"\"", None),
            ("attachment", None),
            ("", None),
        ] {
            assert_eq!(file_name(header.as_bytes()).as_deref(), name, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header: Vec<u8>) {
            let _ = file_name(&header);
        }

        #[test]
        fn no_odd_header_makes_it_panic(header in "[a-z;=\"\\\\*' %é]{0,40}") {
            let _ = file_name(header.as_bytes());
        }
    }
}
