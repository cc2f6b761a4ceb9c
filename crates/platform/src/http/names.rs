//! "Did you mean": the nearest valid name for one that is not.

/// The candidate that `name` was most likely meant to be, or `None` when nothing is near.
///
/// Near is a Damerau-Levenshtein distance of at most a third of the longer name (at least 1), or one
/// being the beginning of the other. Case is ignored.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names longer than any of ours are never near; comparing them would cost quadratic time.
    if name.chars().count() > 200 {
        return None;
    }
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| distance(&wanted, candidate).map(|distance| (distance, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(wanted: &str, candidate: &str) -> Option<usize> {
    let candidate = candidate.to_lowercase();
    let longer = wanted.chars().count().max(candidate.chars().count());
    let distance = strsim::damerau_levenshtein(wanted, &candidate);
    if distance <= (longer / 3).max(1) {
        return Some(distance);
    }
    let begins = wanted.len() >= 2 && (candidate.starts_with(wanted) || wanted.starts_with(&candidate));
    (begins && !candidate.is_empty()).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_the_name() {
        assert_eq!(nearest("resolutoin", ["from", "to", "resolution"]), Some("resolution"));
        assert_eq!(nearest("Level", ["level", "mel"]), Some("level"));
        assert_eq!(nearest("res", ["from", "resolution"]), Some("resolution"));
    }

    #[test]
    fn what_is_far_from_everything_finds_nothing() {
        assert_eq!(nearest("zebra", ["from", "to", "resolution"]), None);
        assert_eq!(nearest("x", std::iter::empty()), None);
        assert_eq!(nearest(&"a".repeat(10_000), ["a"]), None);
    }

    #[test]
    fn the_nearer_of_two_wins() {
        assert_eq!(nearest("roof-1", ["roof-12", "roof-1x", "roof-1"]), Some("roof-1"));
    }
}
