//! Cleaning of prompts before they become tokens, as the published text encoders were trained with: repaired Unicode
//! (the steps of the Python library ftfy that concern plain text), HTML entities resolved, single spaces.

use unicode_normalization::UnicodeNormalization;

/// The text as the tokenizer expects it: UTF-8 that was read as Windows-1252 is read again, typographic quotes, ligatures
/// and full-width letters become plain ones, control characters go, HTML entities are resolved twice, every run of
/// white space becomes one space, and the ends have none.
#[must_use]
pub fn clean(text: &str) -> String {
    // Text with tags may mean its entities; ftfy leaves those to the two rounds below.
    let text = if text.contains('<') { text.to_owned() } else { htmlize::unescape(text).into_owned() };
    let text = plain_characters(&repair_encoding(text));
    let text = htmlize::unescape(htmlize::unescape(text).into_owned()).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Undoes the reading of UTF-8 as Windows-1252, as often as it happened (`Ã©` is `é`). A text is only changed when all
/// of it is such a misreading, which real text is not: every letter beyond ASCII would have to be followed by the right
/// symbols.
fn repair_encoding(mut text: String) -> String {
    /// More often it does not happen; each round makes the text shorter anyway.
    const ROUNDS: usize = 4;
    for _ in 0..ROUNDS {
        if text.is_ascii() {
            break;
        }
        let bytes: Option<Vec<u8>> = text.chars().map(windows_1252).collect();
        match bytes.map(String::from_utf8) {
            Some(Ok(repaired)) => text = repaired,
            _ => break,
        }
    }
    text
}

/// The byte that Windows-1252 reads as this character; bytes without a meaning there stand for themselves.
fn windows_1252(character: char) -> Option<u8> {
    /// What the bytes from 0x80 to 0x9f are read as.
    const HIGH: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";
    let place = HIGH.chars().zip(0x80..).find(|(high, _)| *high == character).map(|(_, byte)| byte);
    place.or_else(|| u8::try_from(u32::from(character)).ok())
}

/// Plain forms of characters that only look different, without control characters, composed (NFC).
fn plain_characters(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            // A terminal's colour: ESC [ digits ; digits m
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                while rest.next_if(|c| c.is_ascii_digit() || *c == ';').is_some() {}
                rest.next_if(char::is_ascii_alphabetic);
            }
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' => {}
            // Deprecated formatting, byte order mark, interlinear annotation.
            '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}' => {}
            '\u{2bc}' | '\u{2018}'..='\u{201b}' => out.push('\''),
            '\u{201c}'..='\u{201f}' => out.push('"'),
            // Ligatures of Latin letters, and full- or half-width forms.
            'Ĳ' | 'ĳ' | 'Ǆ'..='ǌ' | 'Ǳ'..='ǳ' | 'ﬀ'..='ﬆ' | '\u{ff01}'..='\u{ffef}' => {
                out.extend(std::iter::once(character).nfkc());
            }
            'ŉ' => out.push_str("'n"),
            '\u{2028}' | '\u{2029}' | '\u{85}' => out.push('\n'),
            _ => out.push(character),
        }
    }
    out.nfc().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn white_space_becomes_single_spaces() {
        assert_eq!(clean("  a\tdog \r\n\u{a0}runs\u{3000}\u{2028}far\u{c} "), "a dog runs far");
        assert_eq!(clean(" \n "), "");
    }

    #[test]
    fn entities_are_resolved_even_when_escaped_twice() {
        assert_eq!(clean("cats &amp; dogs"), "cats & dogs");
        assert_eq!(clean("&amp;amp;lt;b&amp;amp;gt;"), "<b>");
        assert_eq!(clean("<i> &amp;quot;x&amp;quot;"), "<i> \"x\"");
        assert_eq!(clean("&#233;&#x1F600; &nosuch; AT&T"), "é😀 &nosuch; AT&T");
    }

    #[test]
    fn utf_8_read_as_windows_1252_is_repaired() {
        assert_eq!(clean("olÃ© Ã©tude"), "olé étude");
        assert_eq!(clean("itâ€™s â€œfineâ€\u{9d}"), "it's \"fine\"");
        // Twice misread.
        assert_eq!(clean("olÃƒÂ©"), "olé");
        // Real text stays.
        for text in ["café", "naïve Ãngström", "東京の夜", "© 2025 Ærø", "à la carte"] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn fancy_characters_become_plain() {
        assert_eq!(clean("“ﬁne” ‘ﬂow’"), "\"fine\" 'flow'");
        assert_eq!(clean("ＮＥＯＮ　１２３"), "NEON 123");
        assert_eq!(clean("ｶﾞ"), "ガ");
        assert_eq!(clean("e\u{301}"), "é");
        assert_eq!(clean("a\u{0}b\u{feff}c\u{1b}[31;1md"), "abcd");
    }

    proptest! {
        #[test]
        fn cleaned_text_has_single_spaces_and_no_control_characters(text in any::<String>()) {
            let cleaned = clean(&text);
            prop_assert!(!cleaned.contains("  ") && cleaned.trim() == cleaned);
            // Numeric entities may still name any character: the encoder was trained with that order.
            if !text.contains('&') {
                prop_assert!(!cleaned.chars().any(|c| c.is_ascii_control()), "{cleaned:?}");
            }
        }
    }
}
