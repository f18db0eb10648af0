//! Every way to write lines gives what plain stores give.

use proptest::prelude::*;

use super::*;

/// Every way that this processor has.
fn ways() -> Vec<Lines> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut ways = vec![Lines::Plain, Lines::Sse2];
        ways.extend(is_x86_feature_detected!("avx").then_some(Lines::Avx));
        ways.extend(is_x86_feature_detected!("avx512f").then_some(Lines::Avx512));
        assert_eq!(ways.last(), Some(&Lines::best()));
        ways
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        vec![Lines::best()]
    }
}

#[test]
fn every_alignment_and_tail_is_copied_and_nothing_beside_it() {
    let from: Vec<u8> = (0..600_u32).map(|byte| (byte * 7 % 251) as u8 + 1).collect();
    for way in ways() {
        for to_start in 0..64 {
            for len in (0..200).chain([255, 256, 257, 320, 383]) {
                // Sources at another offset within a line than the destination.
                let from = &from[(to_start * 5 + len) % 64..][..len];
                let mut to = vec![0; 600];
                let first = to.as_ptr().align_offset(64) + to_start;
                way.copy(&mut to[first..][..len], from);
                way.fence();
                assert_eq!(to[first..][..len], *from, "{way:?} {to_start} {len}");
                assert!(to[..first].iter().chain(&to[first + len..]).all(|&byte| byte == 0));
            }
        }
    }
}

#[test]
fn elements_of_any_size_fill_all_of_a_slice() {
    fn check<T: Pod + PartialEq>(byte: u8) {
        let mut element = T::zeroed();
        for (index, part) in bytemuck::bytes_of_mut(&mut element).iter_mut().enumerate() {
            *part = (index as u8).wrapping_mul(3) ^ byte;
        }
        for way in ways() {
            for len in [0, 1, 2, 63, 64, 65, 1000, 5000] {
                for skip in [0, 1, 3] {
                    let mut elements = vec![T::zeroed(); len + skip + 1];
                    fill_by(way, &mut elements[skip..skip + len], element);
                    assert!(elements[skip..skip + len].iter().all(|other| *other == element));
                    let mut beside = elements[..skip].iter().chain(&elements[skip + len..]);
                    assert!(beside.all(|other| *other == T::zeroed()));
                }
            }
        }
    }
    check::<u8>(1);
    check::<[u8; 3]>(2);
    check::<u64>(3);
    check::<[f64; 3]>(4);
    check::<[u8; 64]>(5);
    check::<[u8; 512]>(6);
    check::<[[u8; 1024]; 2]>(7);
}

#[test]
#[should_panic(expected = "two slices of the same length")]
fn slices_of_different_lengths_are_refused() {
    copy(&mut [0_u8; 3], &[0; 4]);
}

proptest! {
    #[test]
    fn copies_are_equal(from in prop::collection::vec(any::<u8>(), 0..3000), skip in 0_usize..70) {
        let skip = skip.min(from.len());
        let mut to = vec![0; from.len()];
        copy(&mut to[skip..], &from[skip..]);
        prop_assert_eq!(&to[skip..], &from[skip..]);
        prop_assert!(to[..skip].iter().all(|&byte| byte == 0));
    }
}
