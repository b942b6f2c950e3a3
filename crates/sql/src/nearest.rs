//! The nearest known word to one that is not known.

/// The candidate that a misspelt word most likely meant: at most a third of its letters differ.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = word.to_lowercase();
    let allowed = (wanted.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::osa_distance(&wanted, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= allowed && candidate.len() > *distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean ...?` for the nearest candidate, if one is near.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|found| format!("did you mean {found}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_likely_word_only() {
        assert_eq!(nearest("SELEC", ["INSERT", "SELECT"]), Some("SELECT"));
        assert_eq!(
            nearest(
                "scan.startup.mod",
                ["scan.bounded.mode", "scan.startup.mode"]
            ),
            Some("scan.startup.mode")
        );
        assert_eq!(nearest("x", ["SELECT"]), None);
        assert_eq!(nearest("banana", ["INSERT", "SELECT"]), None);
    }
}
