//! Which bytes of a large blob are read back: pieces spread over all of it, one in each of as many equal stretches,
//! the first and the last byte always among them. Pure: the choice depends on the seed alone.

use mockreg_proto::content_range::ByteRange;
use mockreg_proto::seed::{Seed, below};

/// One request reads so many bytes: enough for a request's cost to vanish, little enough to hold two of them.
pub const PIECE: u64 = 1 << 20;

/// The pieces that cover at least `percent` of `size` bytes, in order and apart; the whole where it is not longer
/// than the pieces would be. Empty for an empty blob.
pub fn pieces(seed: &Seed, size: u64, percent: u64) -> Vec<ByteRange> {
    let wanted = u64::try_from(u128::from(size) * u128::from(percent) / 100).unwrap_or(u64::MAX);
    // The first and the last byte need a piece each.
    let count = wanted.saturating_add(1).div_ceil(PIECE).max(2);
    let stretch = size / count;
    if stretch <= PIECE {
        return size.checked_sub(1).map(|last| ByteRange { first: 0, last }).into_iter().collect();
    }
    (0..count)
        .map(|index| {
            let first = match index {
                0 => 0,
                _ if index == count - 1 => size - PIECE,
                _ => {
                    let draw = seed.child([index.to_be_bytes()]).draw();
                    index * stretch + below(draw, stretch - PIECE + 1)
                }
            };
            ByteRange { first, last: first + PIECE - 1 }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_blobs_are_read_whole() {
        let seed = Seed::root(1);
        assert_eq!(pieces(&seed, 0, 5), []);
        assert_eq!(pieces(&seed, 1, 5), [ByteRange { first: 0, last: 0 }]);
        assert_eq!(pieces(&seed, 2 * PIECE, 5), [ByteRange { first: 0, last: 2 * PIECE - 1 }]);
        assert_eq!(pieces(&seed, 2 * PIECE + 2, 5).len(), 2);
    }

    #[test]
    fn another_seed_reads_other_bytes() {
        let chosen = |number| pieces(&Seed::root(number), 1 << 30, 5);
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
    }

    proptest! {
        #[test]
        fn pieces_are_apart_in_order_and_enough(size in 1u64..(6 << 30), percent in 1u64..=100, number: u64) {
            let pieces = pieces(&Seed::root(number), size, percent);
            let read: u64 = pieces.iter().map(ByteRange::len).sum();
            prop_assert!(u128::from(read) * 100 >= u128::from(size) * u128::from(percent));
            prop_assert_eq!(pieces.first().map(|piece| piece.first), Some(0));
            prop_assert_eq!(pieces.last().map(|piece| piece.last), Some(size - 1));
            prop_assert!(pieces.windows(2).all(|pair| pair[0].last < pair[1].first));
        }
    }
}
