//! Tokens: who finds one cancelled sees what was written before.

use loom::sync::Arc;
use loom::thread;

use super::{Places, check};
use crate::CancelToken;

#[test]
fn who_finds_a_token_cancelled_sees_what_was_written_before() {
    check(|| {
        let (token, why) = (CancelToken::new(), Arc::new(Places::new(1)));
        let canceller = thread::spawn({
            let (token, why) = (token.clone(), Arc::clone(&why));
            move || {
                why.count(0);
                token.cancel();
            }
        });
        if token.is_cancelled() {
            assert_eq!(why.counts(), [1]);
        }
        canceller.join().expect("it cancels");
        assert!(token.is_cancelled());
    });
}
