//! The nearest of several names, for messages.

/// Names that differ more than this have nothing to do with each other.
const ALIKE: f64 = 0.6;

/// The candidate that looks most like what was written, if any does.
pub fn to<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let score = |name: &str| strsim::normalized_damerau_levenshtein(&written, &name.to_lowercase());
    let scored = candidates.into_iter().map(|name| (score(name), name)).filter(|(score, _)| *score >= ALIKE);
    // The first of equals, so that the answer does not depend on more than the order of the candidates.
    scored
        .fold(None, |best: Option<(f64, &str)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        })
        .map(|(_, name)| name)
}

/// The beginning of a help text: which candidate was probably meant, if any.
pub fn hint<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    to(written, candidates).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_is_alike_is_near() {
        let names = ["hypervisors", "connections", "start"];
        assert_eq!(super::to("hypervisor", names), Some("hypervisors"));
        assert_eq!(super::to("conections", names), Some("connections"));
        assert_eq!(super::to("flavour", names), None);
    }
}
