/* GOMP, GCC's OpenMP, for the benchmarks. */
#include <omp.h>
#include <stdlib.h>

#include "rival.h"

struct runtime {
    int threads;
};

/* The library has no version of its own: it belongs to the compiler. */
static const char *version(void)
{
    return "GCC " __VERSION__;
}

static void *start(size_t threads)
{
    struct runtime *self = malloc(sizeof *self);
    if (self) {
        self->threads = (int)threads;
        /* Exactly so many, also where the machine is busy. */
        omp_set_dynamic(0);
        omp_set_num_threads(self->threads);
    }
    return self;
}

static void stop(void *runtime)
{
    free(runtime);
}

static void broadcast(void *runtime, rival_item item, const void *context)
{
    (void)runtime;
#pragma omp parallel
    item(context, (size_t)omp_get_thread_num());
}

static void for_each(void *runtime, size_t n, rival_item item, const void *context)
{
    (void)runtime;
#pragma omp parallel for
    for (size_t i = 0; i < n; i++)
        item(context, i);
}

static double sum(void *runtime, size_t n, rival_value value, const void *context)
{
    double total = 0.0;
    (void)runtime;
#pragma omp parallel for reduction(+ : total)
    for (size_t i = 0; i < n; i++)
        total += value(context, i);
    return total;
}

static uint64_t fib_task(uint32_t n)
{
    uint64_t one, other;
    if (n < 2)
        return n;
#pragma omp task shared(one) firstprivate(n)
    one = fib_task(n - 1);
    other = fib_task(n - 2);
#pragma omp taskwait
    return one + other;
}

static uint64_t fib(void *runtime, uint32_t n)
{
    uint64_t answer = 0;
    (void)runtime;
#pragma omp parallel
#pragma omp single
    answer = fib_task(n);
    return answer;
}

static uint64_t count_children(struct tree_node node, uint32_t from, uint32_t to);

static uint64_t count_task(struct tree_node node)
{
    return 1 + count_children(node, 0, tree_children(node));
}

static uint64_t count_children(struct tree_node node, uint32_t from, uint32_t to)
{
    uint64_t one, other;
    uint32_t middle = from + (to - from) / 2;
    if (from == to)
        return 0;
    if (to - from == 1)
        return count_task(tree_child(node, from));
#pragma omp task shared(one) firstprivate(node, from, middle)
    one = count_children(node, from, middle);
    other = count_children(node, middle, to);
#pragma omp taskwait
    return one + other;
}

static uint64_t count(void *runtime, struct tree_node root)
{
    uint64_t answer = 0;
    (void)runtime;
#pragma omp parallel
#pragma omp single
    answer = count_task(root);
    return answer;
}

static void spawn(void *runtime, size_t n, rival_item item, const void *context)
{
    (void)runtime;
#pragma omp parallel
#pragma omp single
#pragma omp taskgroup
    for (size_t i = 0; i < n; i++)
#pragma omp task firstprivate(i)
        item(context, i);
}

static void spawn_nested(void *runtime, size_t outer, size_t inner, rival_item item,
                         const void *context)
{
    (void)runtime;
#pragma omp parallel
#pragma omp single
#pragma omp taskgroup
    for (size_t i = 0; i < outer; i++)
#pragma omp task firstprivate(i)
    {
#pragma omp taskgroup
        for (size_t j = 0; j < inner; j++)
#pragma omp task firstprivate(i, j)
            item(context, i * inner + j);
    }
}

/* Entering is the parallel region itself, which broadcast measures. */
const struct rival firsttouch_rival_gomp = {
    .version = version,
    .start = start,
    .stop = stop,
    .broadcast = broadcast,
    .for_each = for_each,
    .sum = sum,
    .enter = NULL,
    .fib = fib,
    .count = count,
    .spawn = spawn,
    .spawn_nested = spawn_nested,
};
