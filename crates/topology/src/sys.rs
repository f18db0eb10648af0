//! Every system call.
