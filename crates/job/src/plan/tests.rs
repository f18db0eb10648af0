//! Every `u8` plan, and properties of the wider ones.
//!
//! A `u8` plan has five inputs, 2^40 combinations. They are all covered
//! because `build` is three steps in a row, each of which is tried with every
//! input that it can see:
//!
//! 1. `threads_worth(size, align, min_chunk, max_threads)` caps a number that
//!    the first three decide, the demand, by the fourth. Caps at or above the
//!    demand act alike, so `1..=demand` are all the distinct ones.
//! 2. `chunk_units(size, align, min_chunk, threads)` sees `max_threads` only
//!    through `threads`, which lies in `1..=demand`. One loop over every size,
//!    align, `min_chunk` and `threads` in that span is every case of 1 and 2.
//! 3. `Plan::cut(start, size, align, least, threads)` sees `least` only as a
//!    divisor of `size / align`, so one value for each quotient is every case;
//!    `threads` is capped by the chunks and decides nothing else.
//!
//! That the steps are put together rightly is checked from outside: by all
//! combinations of five numbers below 16, and (ignored, some minutes) by all
//! distinct `u8` combinations through the public builder.

use proptest::prelude::*;

use super::*;

/// The inputs of one plan.
#[derive(Clone, Copy, Debug)]
struct Asked<T> {
    start: T,
    size: T,
    align: T,
    min_chunk: T,
    max_threads: T,
}

impl<T: Unsigned> Asked<T> {
    fn build(self) -> Result<Plan<T>, PlanError> {
        let Self { start, size, align, min_chunk, max_threads } = self;
        let builder = Plan::builder(start, size).align(align);
        builder.min_chunk(min_chunk).max_threads(max_threads).build()
    }
}

/// Checks every promise of a plan but the thread count's lower bound; visits every chunk.
fn check_cut<T: Unsigned>(plan: &Plan<T>, start: T, size: T, align: T, least: T) {
    let (zero, one) = (T::from(0), T::from(1));
    let mut at = start;
    let mut count = zero;
    let (mut shortest, mut longest) = (T::MAX, zero);
    for chunk in plan {
        assert!(chunk.start == at, "no gap and no overlap: {plan:?}");
        assert!(chunk.start < chunk.end, "no empty chunk: {plan:?}");
        assert!(chunk.start == start || chunk.start % align == zero, "aligned: {plan:?}");
        let units = div_ceil(chunk.end, align) - chunk.start / align;
        shortest = shortest.min(units);
        longest = longest.max(units);
        at = chunk.end;
        count = count + one;
    }
    assert!(at == start + size, "the range is covered: {plan:?}");
    assert!(count == plan.chunks(), "as many as promised: {plan:?}");
    assert!(plan.chunk(count).is_none(), "none past the last: {plan:?}");
    if size == zero {
        assert!(count == zero && plan.threads() == zero);
        return;
    }
    assert!(longest - shortest <= one, "balanced: {plan:?}");
    assert!(count == one || shortest >= least, "no chunk is too short: {plan:?}");
    assert!(plan.threads() >= one && plan.threads() <= count);
}

/// Checks a plan against what was asked, visiting every chunk.
fn check<T: Unsigned>(asked: Asked<T>, plan: &Plan<T>) {
    let Asked { start, size, align, min_chunk, max_threads } = asked;
    check_cut(plan, start, size, align, div_ceil(min_chunk.max(T::from(1)), align));
    assert!(plan.threads() <= max_threads);
    if size <= align || size <= min_chunk {
        assert!(plan.chunks() <= T::from(1), "too short to cut: {plan:?}");
    }
    for chunk in plan {
        // What an end that is no multiple of align cuts off, in full.
        let before = chunk.start % align;
        let after = (align - chunk.end % align) % align;
        let length = [chunk.end - chunk.start, before, after].map(Unsigned::to_u128);
        let length = length.into_iter().fold(0, u128::saturating_add);
        assert!(plan.chunks() == T::from(1) || length >= min_chunk.to_u128(), "{plan:?}");
    }
}

#[test]
fn u8_every_thread_count_and_chunk_size_is_the_kernels() {
    for size in 0..=u8::MAX {
        for align in 1..=u8::MAX {
            for min_chunk in 0..=u8::MAX {
                // In u32 nothing overflows, so this is the kernel's arithmetic as written.
                let [wide_size, wide_align, wide_min] = [size, align, min_chunk].map(u32::from);
                let demand = (wide_size / wide_min.max(wide_align)).max(1);
                for threads in 1..=demand {
                    let max_threads = threads as u8;
                    let got = threads_worth(size, align, min_chunk, max_threads);
                    let units = chunk_units(size, align, min_chunk, got, LOAD_BALANCE_FACTOR);
                    let share = wide_size / (threads * u32::from(LOAD_BALANCE_FACTOR));
                    let least = share.max(wide_min).max(1).div_ceil(wide_align);
                    assert!((u32::from(got), u32::from(units)) == (threads, least));
                }
                if min_chunk % 64 == 0 {
                    let most = threads_worth(size, align, min_chunk, u8::MAX);
                    assert_eq!(u32::from(most), demand, "a cap above the demand does nothing");
                }
            }
        }
    }
}

#[test]
fn u8_every_cut_covers_in_order_aligned_and_balanced() {
    for align in 1..=u8::MAX {
        for start in 0..=u8::MAX {
            for size in 0..=(u8::MAX - start) {
                let whole_units = size / align;
                let mut least = Some(1);
                while let Some(units) = least {
                    let plan = Plan::cut(start, size, align, units, u8::MAX);
                    check_cut(&plan, start, size, align, units);
                    // The next divisor that gives another quotient, 0 the last of them.
                    let quotient = whole_units / units;
                    let last_of_it = whole_units.checked_div(quotient);
                    least = last_of_it.and_then(|divisor| divisor.checked_add(1));
                }
            }
        }
    }
}

#[test]
fn all_five_numbers_below_16_give_plans_that_hold() {
    for start in 0..16 {
        for size in 0..16 {
            for align in 1..16 {
                for min_chunk in 0..16 {
                    for max_threads in 1..16 {
                        let asked = Asked { start, size, align, min_chunk, max_threads };
                        let plan = asked.build().expect("the numbers are in bounds");
                        check::<u8>(asked, &plan);
                    }
                }
            }
        }
    }
}

#[test]
#[ignore = "some minutes in a release build: every distinct u8 combination, from outside"]
fn u8_every_combination_gives_a_plan_that_holds() {
    for start in 0..=u8::MAX {
        for size in 0..=(u8::MAX - start) {
            for align in 1..=u8::MAX {
                for min_chunk in 0..=u8::MAX {
                    for max_threads in 1..=(size / min_chunk.max(align)).max(1) {
                        let asked = Asked { start, size, align, min_chunk, max_threads };
                        check(asked, &asked.build().expect("the numbers are in bounds"));
                    }
                }
            }
        }
    }
}

/// Cuts `size` units from `start` by a grain, for up to `threads` threads.
fn by_grain<T: Unsigned>(start: T, size: T, align: T, grain: Grain<T>, threads: T) -> Plan<T> {
    let builder = Plan::builder(start, size).align(align).grain(grain);
    builder.max_threads(threads).build().expect("the numbers are in bounds")
}

#[test]
fn u8_every_grain_covers_in_order_aligned_balanced_and_within_its_bound() {
    for start in [0, 1, 7, 8, 100, 200, 250, 255] {
        for size in 0..=(u8::MAX - start) {
            for align in [1, 2, 3, 8, 100, 255] {
                // The units of align that the range touches.
                let units = div_ceil(start + size, align) - start / align;
                for number in (1..=20).chain([100, 254, 255]) {
                    let plan = by_grain(start, size, align, Grain::AtMost(number), 9);
                    check_cut(&plan, start, size, align, 1);
                    let longest = number.div_ceil(align);
                    let unit = |chunk: &Range<u8>| div_ceil(chunk.end, align) - chunk.start / align;
                    assert!(plan.iter().all(|chunk| unit(&chunk) <= longest), "{plan:?}");
                    let fewest = if size == 0 { 0 } else { units.div_ceil(longest) };
                    assert_eq!(plan.chunks(), fewest);

                    let plan = by_grain(start, size, align, Grain::BalancedUpTo(number), 9);
                    check_cut(&plan, start, size, align, 1);
                    let longest = (number / align).max(1);
                    assert!(plan.iter().all(|chunk| unit(&chunk) <= longest), "{plan:?}");
                    let balanced = by_grain(start, size, align, Grain::Balanced, 9);
                    let fewest = if size == 0 { 0 } else { units.div_ceil(longest) };
                    assert_eq!(plan.chunks(), balanced.chunks().max(fewest));

                    let plan = by_grain(start, size, align, Grain::AtLeast(number), 9);
                    check_cut(&plan, start, size, align, number.div_ceil(align));

                    let plan = by_grain(start, size, align, Grain::PerThread, number);
                    check_cut(&plan, start, size, align, 1);
                    assert!(plan.chunks() <= number && plan.threads() == plan.chunks());
                    let most = (size / align).clamp(size.min(1), number);
                    assert_eq!(plan.chunks(), most, "as many as there is work for: {plan:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_cut_for_a_fixed_number_of_threads_knows_no_other(
        start in 0_u64..100,
        size in 0_u64..1_000_000,
        align in 1_u64..100,
        min_chunk in 0_u64..10_000,
        threads in 1_u64..600,
    ) {
        let cut = |threads| {
            let builder = Plan::builder(start, size).align(align).min_chunk(min_chunk);
            let plan = builder.max_threads(threads).grain(Grain::BalancedFor(256)).build();
            plan.map(|plan| plan.iter().collect::<Vec<_>>())
        };
        let chunks = cut(threads)?;
        prop_assert!(chunks.len() <= 2047);
        prop_assert_eq!(chunks, cut(1)?);
    }

    #[test]
    fn a_finer_cut_has_as_many_chunks_for_each_thread_as_asked_for_and_less_than_twice_as_many(
        start in 0_u64..100,
        threads in 1_u64..600,
        factor in 1_u8..=u8::MAX,
        more in 0_u64..1_000_000,
        min_chunk in 0_u64..100,
    ) {
        let wanted = threads * u64::from(factor);
        let cut = |min_chunk| {
            let builder = Plan::builder(start, wanted + more).min_chunk(min_chunk);
            builder.max_threads(threads).grain(Grain::BalancedBy(factor)).build()
        };
        prop_assert!((wanted..2 * wanted).contains(&cut(0)?.chunks()));
        let plan = cut(min_chunk)?;
        let least = min_chunk.min(wanted + more);
        prop_assert!(plan.iter().all(|chunk| chunk.end - chunk.start >= least));
        let [kernel, same] = [Grain::Balanced, Grain::BalancedBy(LOAD_BALANCE_FACTOR)]
            .map(|grain| by_grain(start, wanted + more, 1, grain, threads));
        prop_assert_eq!(kernel, same);
    }

    #[test]
    fn neighbours_span_what_they_cover_and_a_unit_finds_the_first_chunk_from_it(
        start in 0_u64..100,
        size in 1_u64..10_000,
        align in 1_u64..50,
        picks in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let plan = by_grain(start, size, align, Grain::Balanced, 30);
        let [a, b] = [picks.0, picks.1].map(|pick| pick.index(plan.chunks() as usize) as u64);
        let (first, last) = (a.min(b), a.max(b));
        let span = plan.span(first..last + 1);
        let ends = plan.chunk(first).zip(plan.chunk(last)).map(|(a, b)| a.start..b.end);
        prop_assert_eq!(span, ends);
        prop_assert_eq!(plan.span(first..first), None);
        prop_assert_eq!(plan.span(first..plan.chunks() + 1), None);
        for unit in start..=start + size {
            let found = plan.first_from(unit);
            let counted = plan.iter().filter(|chunk| chunk.start < unit).count() as u64;
            prop_assert_eq!(found, counted);
        }
    }
}

#[test]
fn grains_near_the_maximum_neither_wrap_nor_panic() {
    let most = u64::MAX;
    for align in [1, 3, 1 << 40, most] {
        for length in [1 << 40, most / 2, most] {
            for grain in [
                Grain::AtMost(length),
                Grain::AtLeast(length),
                Grain::BalancedUpTo(length),
                Grain::PerThread,
            ] {
                for (start, size) in [(0, most), (1, most - 1), (most - 9, 9), (most, 0)] {
                    let plan = by_grain(start, size, align, grain, 5);
                    let first = plan.chunk(0).map_or(start, |chunk| chunk.start);
                    assert_eq!(first, start);
                    let last = plan.chunks().checked_sub(1).and_then(|last| plan.chunk(last));
                    assert_eq!(last.map_or(start, |chunk| chunk.end), start + size);
                }
            }
        }
    }
}

#[test]
fn a_grain_of_no_units_is_an_error() {
    for grain in [Grain::AtMost(0), Grain::AtLeast(0), Grain::BalancedUpTo(0)] {
        let plan = Plan::builder(0_u64, 9).grain(grain).build();
        assert_eq!(plan, Err(PlanError::ZeroChunk));
    }
}

/// Numbers of every magnitude, the maximum among them.
macro_rules! any_magnitude {
    ($int:ty) => {
        prop_oneof![
            (any::<$int>(), 0..<$int>::BITS).prop_map(|(value, shift)| value >> shift),
            (0..1000 as $int).prop_map(|less| <$int>::MAX - less),
            0..1000 as $int,
        ]
    };
}

macro_rules! plans_up_to_the_maximum {
    ($($name:ident: $int:ty),*) => {$(
        proptest! {
            #[test]
            fn $name(
                start in any_magnitude!($int),
                size in any_magnitude!($int),
                align in any_magnitude!($int),
                min_chunk in any_magnitude!($int),
                threads in 1..600 as $int,
            ) {
                let size = size.min(<$int>::MAX - start);
                let align = align.max(1);
                let asked = Asked { start, size, align, min_chunk, max_threads: threads };
                let plan = asked.build().expect("the numbers are in bounds");
                check(asked, &plan);
            }
        }
    )*};
}

plans_up_to_the_maximum! {
    u16_plans_hold_up_to_the_maximum: u16,
    u64_plans_hold_up_to_the_maximum: u64,
    usize_plans_hold_up_to_the_maximum: usize,
    u128_plans_hold_up_to_the_maximum: u128
}

proptest! {
    #[test]
    fn chunks_are_the_same_from_both_ends(size in 0_u64..100_000, align in 1_u64..100) {
        let plan = Plan::builder(7, size).align(align).max_threads(16).build()?;
        let mut backwards: Vec<_> = plan.iter().rev().collect();
        backwards.reverse();
        prop_assert_eq!(backwards, plan.iter().collect::<Vec<_>>());
    }
}

#[test]
fn min_chunk_zero_divides_by_nothing() {
    let plan = Plan::builder(0_u64, 100).min_chunk(0).max_threads(4).build().expect("valid");
    assert_eq!((plan.threads(), plan.chunks()), (4, 16));
}

#[test]
fn align_holds_where_the_chunk_size_would_come_out_zero() {
    // 20 / (8 threads x 4) is 0; the kernel once took that for "no alignment".
    let plan = Plan::builder(0_u64, 20).align(2).max_threads(8).build().expect("valid");
    assert!(plan.iter().all(|chunk| chunk.start % 2 == 0 && chunk.end % 2 == 0));
    assert_eq!(plan.chunks(), 10);
}

#[test]
fn align_and_min_chunk_both_zero_is_an_error_and_not_a_crash() {
    let plan = Plan::builder(0_u64, 100).align(0).min_chunk(0).build();
    assert_eq!(plan, Err(PlanError::ZeroAlign));
}

#[test]
fn sizes_near_the_maximum_neither_wrap_nor_panic() {
    let half = u64::MAX / 2 + 1;
    let plan = Plan::builder(1, u64::MAX - 1).align(half).min_chunk(u64::MAX).build();
    assert_eq!(plan.expect("valid").chunks(), 1);
    let plan = Plan::builder(0, u64::MAX).align(half).max_threads(u64::MAX).build();
    let plan = plan.expect("valid");
    assert_eq!((plan.chunks(), plan.chunk(0)), (1, Some(0..u64::MAX)));
    let plan = Plan::builder(0, u64::MAX).align(1 << 62).build().expect("valid");
    assert_eq!(plan.iter().next_back(), Some((3 << 62)..u64::MAX));
}

#[test]
fn every_unit_is_visited_once() {
    // A wrong step once left most pages of a heap untouched (JDK-8324817).
    let plan = Plan::builder(3_usize, 10_000).align(16).max_threads(5).build().expect("valid");
    let mut visits = vec![0_u8; 10_003];
    for chunk in &plan {
        for unit in chunk {
            visits[unit] += 1;
        }
    }
    assert_eq!(visits[..3], [0; 3]);
    assert!(visits[3..].iter().all(|&count| count == 1));
}

#[test]
fn a_remainder_is_spread_and_not_left_to_one_thread() {
    // 160 pages on 64 threads once gave one of them 34 (QEMU).
    let plan = Plan::builder(0_u64, 160).max_threads(64).build().expect("valid");
    assert_eq!(plan.threads(), 64);
    let longest = plan.iter().map(|chunk| chunk.end - chunk.start).max();
    assert_eq!(longest, Some(1));
    let plan = Plan::builder(0_u64, 100).min_chunk(11).max_threads(3).build().expect("valid");
    let lengths: Vec<_> = plan.iter().map(|chunk| chunk.end - chunk.start).collect();
    assert_eq!(lengths, [12, 11, 11, 11, 11, 11, 11, 11, 11]);
}

#[test]
fn threads_never_outnumber_chunks() {
    // Worth 20 threads by size alone, but rounding leaves 15 chunks.
    let plan = Plan::builder(0_u64, 30 * 4096).align(4096).min_chunk(6144).build();
    let plan = plan.expect("valid");
    assert_eq!((plan.chunks(), plan.threads()), (15, 15));
}

#[test]
fn no_size_means_no_chunk_and_no_thread() {
    let plan = Plan::builder(u64::MAX, 0).max_threads(8).build().expect("valid");
    assert_eq!((plan.threads(), plan.chunks(), plan.chunk(0)), (0, 0, None));
    assert_eq!(plan.iter().next(), None);
}

#[test]
fn a_whole_plan_is_one_chunk() {
    let plan = Plan::builder(5_u64, 1000).align(64).max_threads(8).build().expect("valid");
    let whole = plan.whole();
    assert_eq!((whole.chunks(), whole.threads(), whole.chunk(0)), (1, 1, Some(5..1005)));
    let none = Plan::builder(5_u64, 0).build().expect("valid");
    assert_eq!(none.whole().chunks(), 0);
}

#[test]
fn errors_say_what_would_be_right() {
    let error = Plan::builder(0_u8, 9).max_threads(0).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "max_threads is 0; the caller counts as one of them, so 1 is the least"
    );
    let error = Plan::builder(200_u8, 56).build().unwrap_err();
    assert_eq!(error, PlanError::TooLong { start: 200, size: 56, max: 255 });
    assert_eq!(Plan::builder(200_u8, 55).build().map(|plan| plan.range()), Ok(200..255));
}
