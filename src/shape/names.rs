//! Names of columns in another case.

use crate::config::schema::NameCase;

/// A name in a case; one without words stays.
pub(super) fn in_case(case: NameCase, name: &str) -> String {
    let words = words(name);
    if words.is_empty() {
        return name.to_string();
    }
    let capitalised = |word: &String| {
        let mut letters = word.chars();
        let first = letters
            .next()
            .map(|letter| letter.to_uppercase().to_string());
        first.unwrap_or_default() + &letters.as_str().to_lowercase()
    };
    match case {
        NameCase::Snake => words.join("_").to_lowercase(),
        NameCase::Camel => {
            let rest = words.iter().skip(1).map(capitalised);
            words[0].to_lowercase() + &rest.collect::<String>()
        }
        NameCase::Pascal => words.iter().map(capitalised).collect(),
    }
}

/// The words of a name: between blanks, `_` and `-`, before a capital behind a small letter, and
/// before the last capital of a run that a small letter follows.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words: Vec<String> = vec![String::new()];
    for (place, letter) in letters.iter().enumerate() {
        if letter.is_whitespace() || matches!(letter, '_' | '-') {
            words.push(String::new());
            continue;
        }
        let before = place.checked_sub(1).map(|before| letters[before]);
        let is_behind_small = before.is_some_and(|before| before.is_lowercase());
        let is_last_of_run = before.is_some_and(|before| before.is_uppercase())
            && letters
                .get(place + 1)
                .is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (is_behind_small || is_last_of_run) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(*letter);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_words() {
        for (name, snake, camel, pascal) in [
            ("XMLParser", "xml_parser", "xmlParser", "XmlParser"),
            (
                "XMLHTTPRequest",
                "xmlhttp_request",
                "xmlhttpRequest",
                "XmlhttpRequest",
            ),
            ("Order Date", "order_date", "orderDate", "OrderDate"),
            ("order-id_2", "order_id_2", "orderId2", "OrderId2"),
            ("orderID", "order_id", "orderId", "OrderId"),
            ("__", "__", "__", "__"),
            ("Größe", "größe", "größe", "Größe"),
            ("a1B", "a1b", "a1b", "A1b"),
        ] {
            assert_eq!(in_case(NameCase::Snake, name), snake);
            assert_eq!(in_case(NameCase::Camel, name), camel);
            assert_eq!(in_case(NameCase::Pascal, name), pascal);
        }
    }
}
