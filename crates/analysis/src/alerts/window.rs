//! The last seconds up to one, merged into one value: what an alert with an `average` compares.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use antiphon_platform::clock::SECOND;

/// Seconds that are merged once and then used whole: bounds what one step costs to about three times as many.
const BLOCK: i64 = 60;

/// The seconds of a window that moves on with time.
///
/// What it says of a second depends on the seconds of the window that ends there alone, to the last bit: never on where the
/// reading began. So an alert is the same however its audio was cut.
#[derive(Clone, Debug)]
pub(super) struct Window<T> {
    length: i64,
    seconds: VecDeque<(i64, Arc<T>)>,
    /// Blocks of the epoch that lie in the window whole, by number.
    blocks: BTreeMap<i64, T>,
}

impl<T> Window<T> {
    /// One of so many seconds.
    pub(super) fn new(length: i64) -> Self {
        Self { length, seconds: VecDeque::new(), blocks: BTreeMap::new() }
    }

    /// Moves on to a second that was heard.
    pub(super) fn push(&mut self, second: i64, item: Arc<T>) {
        let from = second - self.length + 1;
        self.seconds.push_back((second, item));
        while self.seconds.front().is_some_and(|(first, _)| *first < from) {
            self.seconds.pop_front();
        }
        while self.blocks.first_key_value().is_some_and(|(block, _)| block * BLOCK < from) {
            self.blocks.pop_first();
        }
    }

    /// What the window says whole; all its seconds must have been pushed. `merge` gets items in the order of time.
    pub(super) fn merged(&mut self, merge: impl Fn(&[&T]) -> Option<T>) -> Option<Arc<T>> {
        let Self { length, seconds, blocks } = self;
        let seconds: &[(i64, Arc<T>)] = seconds.make_contiguous();
        let last = seconds.last()?.0;
        let is_whole = |block: i64| block * BLOCK > last - *length && (block + 1) * BLOCK <= last + 1;
        let by_block = || seconds.chunk_by(|(a, _), (b, _)| a.div_euclid(BLOCK) == b.div_euclid(BLOCK));
        for these in by_block() {
            let block = these[0].0.div_euclid(BLOCK);
            if is_whole(block) && !blocks.contains_key(&block) {
                let items: Vec<&T> = these.iter().map(|(_, item)| &**item).collect();
                blocks.insert(block, merge(&items)?);
            }
        }
        let mut parts: Vec<&T> = Vec::new();
        for these in by_block() {
            match blocks.get(&these[0].0.div_euclid(BLOCK)) {
                Some(block) => parts.push(block),
                None => parts.extend(these.iter().map(|(_, item)| &**item)),
            }
        }
        merge(&parts).map(Arc::new)
    }

    /// Whether `heard`, in µs, is at least half of it: a value of less says little of the window.
    pub(super) fn is_heard(&self, heard: u64) -> bool {
        i64::try_from(heard).unwrap_or(i64::MAX).saturating_mul(2) >= self.length * SECOND
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(items: &[&Vec<i64>]) -> Option<Vec<i64>> {
        Some(items.iter().flat_map(|item| item.iter().copied()).collect())
    }

    /// A sum that depends on what was added to what first, as those of cells do.
    fn rounded(items: &[&f32]) -> Option<f32> {
        Some(items.iter().map(|item| f64::from(**item)).sum::<f64>() as f32)
    }

    proptest! {
        #[test]
        fn it_holds_the_seconds_of_the_window_in_order_wherever_the_reading_began(
            length in prop_oneof![1_i64..70, 100_i64..200], holes in prop::collection::vec(0_i64..300, 0..100),
            first in -90_i64..90, skipped in 0_i64..200,
        ) {
            let heard: Vec<i64> = (first..first + 300).filter(|second| !holes.contains(&(second - first))).collect();
            let (mut window, mut sum) = (Window::new(length), Window::new(length));
            let (mut later, from) = (Window::new(length), first + skipped);
            for second in &heard {
                let item = 1.0 / (second.rem_euclid(17) + 1) as f32;
                window.push(*second, Arc::new(vec![*second]));
                sum.push(*second, Arc::new(item));
                let expected: Vec<i64> =
                    heard.iter().copied().filter(|one| (second - length + 1..=*second).contains(one)).collect();
                prop_assert_eq!((*window.merged(joined).unwrap()).clone(), expected);
                let whole = *sum.merged(rounded).unwrap();
                if *second > from - length {
                    later.push(*second, Arc::new(item));
                }
                if *second >= from {
                    prop_assert_eq!(later.merged(rounded).unwrap().to_bits(), whole.to_bits());
                }
            }
        }
    }

    #[test]
    fn half_of_it_must_be_heard() {
        let window = Window::<()>::new(5);
        assert!(!window.is_heard(2_400_000) && window.is_heard(2_500_000));
        assert!(Window::<()>::new(5).merged(|_| Some(())).is_none());
    }
}
