//! Lent counters: the next user starts at zero.

use std::sync::Arc;

use loom::thread;

use super::check;
use super::pool::Model;
use crate::node_counter::NodeCounter;
use crate::sync::Ordering::Relaxed;

#[test]
fn a_counter_is_lent_when_its_last_user_is_done() {
    check(|| {
        let model = Model::without_helpers_running();
        let count = |shared: &Arc<_>| {
            let counter = NodeCounter::lend(shared, 0).expect("there are some");
            assert_eq!(counter.fetch_add(1, Relaxed), 0, "the last user's count is over");
            assert_eq!(counter.fetch_add(1, Relaxed), 1);
        };
        let other = Arc::clone(model.shared());
        let other = thread::spawn(move || count(&other));
        count(model.shared());
        other.join().expect("it counts");
    });
}
