//! Which endpoint a run asks that names none.
//!
//! A function of the model's name and of what the fleet offers at the moment; that the choice then stays is up to
//! [`crate::Coordinator`].

use std::collections::BTreeSet;

/// What the models of an endpoint are called, where their names do not begin with its own.
const FAMILIES: [(&str, &[&str]); 1] = [("openai", &["gpt-", "chatgpt-", "o1", "o3", "o4"])];

/// The endpoint of `offered` for a model: the only one, else the one that the model is named after, else none. Of
/// several that the model may be named after it is the one with the longest name.
pub(crate) fn choose<'a>(model: &str, offered: &'a BTreeSet<String>) -> Option<&'a str> {
    let mut names = offered.iter().map(String::as_str);
    if let (Some(only), 1) = (names.next(), offered.len()) {
        return Some(only);
    }
    named_after(model, offered.iter().map(String::as_str))
}

/// The endpoint of these that a model is named after, by the endpoint's own name or by one of its families'; of several
/// the one with the longest name.
pub fn named_after<'a>(model: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let begins_with = |beginning: &str| {
        let head = model.as_bytes().get(..beginning.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(beginning.as_bytes()))
    };
    let is_of = |name: &&str| {
        let families = FAMILIES.iter().filter(|(family, _)| family == name);
        let mut beginnings = families.flat_map(|(_, beginnings)| beginnings.iter());
        begins_with(name) || beginnings.any(|beginning| begins_with(beginning))
    };
    names.filter(is_of).max_by_key(|name| name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(model: &str, offered: &[&str]) -> Option<String> {
        let offered = offered.iter().map(|name| (*name).to_owned()).collect();
        choose(model, &offered).map(str::to_owned)
    }

    #[test]
    fn only_endpoint_is_chosen_whatever_the_model_is_called() {
        assert_eq!(chosen("gpt-4o", &["local"]).as_deref(), Some("local"));
        assert_eq!(chosen("gpt-4o", &[]), None);
    }

    #[test]
    fn endpoint_that_the_model_is_named_after_is_chosen_of_several() {
        for (model, endpoint) in [
            ("deepseek-chat", Some("deepseek")),
            ("DeepSeek-V3", Some("deepseek")),
            ("gpt-4o-mini", Some("openai")),
            ("chatgpt-4o-latest", Some("openai")),
            ("o1", Some("openai")),
            ("o3-mini", Some("openai")),
            ("o4-mini", Some("openai")),
            ("openai/gpt-oss", Some("openai")),
            ("o2", None),
            ("qwen-max", None),
            ("", None),
        ] {
            let expected = endpoint.map(str::to_owned);
            assert_eq!(chosen(model, &["deepseek", "openai"]), expected, "{model}");
        }
    }

    #[test]
    fn longest_of_the_names_that_the_model_begins_with_is_chosen() {
        let offered = ["deep", "deepseek", "openai"];
        assert_eq!(chosen("deepseek-chat", &offered).as_deref(), Some("deepseek"));
    }
}
