/*
 * What a rival in C or C++ gives to the benchmarks: one constant table of
 * functions. benches/src/runtime/foreign.rs has the same in Rust.
 *
 * A null entry is something that the runtime has no counterpart for. Every
 * function returns when all that it started has ended.
 */
#ifndef FIRSTTOUCH_RIVAL_H
#define FIRSTTOUCH_RIVAL_H

#include <stddef.h>
#include <stdint.h>

#include "tree.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*rival_item)(const void *context, size_t index);
typedef double (*rival_value)(const void *context, size_t index);

struct rival {
    /* Its name and version, such as "2021.8". */
    const char *(*version)(void);
    /* Makes ready for so many threads, the caller included; null where that fails. */
    void *(*start)(size_t threads);
    void (*stop)(void *runtime);
    /* Calls item once on every thread, with the thread's index. */
    void (*broadcast)(void *runtime, rival_item item, const void *context);
    /* Calls item for every index below n. */
    void (*for_each)(void *runtime, size_t n, rival_item item, const void *context);
    /* Adds up value over every index below n. */
    double (*sum)(void *runtime, size_t n, rival_value value, const void *context);
    /* Runs item(context, 0) where the runtime's own work runs. */
    void (*enter)(void *runtime, rival_item item, const void *context);
    /* The Fibonacci number n, by joining. */
    uint64_t (*fib)(void *runtime, uint32_t n);
    /* The number of nodes of a tree, by joining. */
    uint64_t (*count)(void *runtime, struct tree_node root);
    /* One scope with a task for every index below n. */
    void (*spawn)(void *runtime, size_t n, rival_item item, const void *context);
    /* One scope with outer tasks, each with a scope of inner tasks; the index counts them all. */
    void (*spawn_nested)(void *runtime, size_t outer, size_t inner, rival_item item,
                         const void *context);
};

#ifdef __cplusplus
}
#endif

#endif
