//! A node's sum: no thread's value is lost, and none is added twice.

use loom::sync::Arc;
use loom::thread;

use super::{check, pool};
use crate::loops::reduce::NodeSums;

#[test]
fn every_threads_value_is_in_the_sum_once() {
    check(|| {
        let sums = Arc::new(NodeSums::new(&pool()));
        let add =
            |sums: &NodeSums<u32>, value| sums.add(value, || None, |left, right| left + right);
        let others = [10, 100].map(|value| {
            let sums = Arc::clone(&sums);
            thread::spawn(move || add(&sums, value))
        });
        add(&sums, 1);
        others.into_iter().for_each(|other| other.join().expect("it adds"));
        let sums = Arc::try_unwrap(sums).ok().expect("nobody adds any more");
        assert_eq!(sums.total(|left, right| left + right), Some(111));
    });
}
