// oneTBB for the benchmarks.
#include <cstddef>
#include <functional>
#include <new>

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_invoke.h>
#include <tbb/parallel_reduce.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#include <tbb/version.h>

#include "rival.h"

namespace {

struct runtime {
    explicit runtime(std::size_t threads)
        : limit(tbb::global_control::max_allowed_parallelism, threads),
          arena(static_cast<int>(threads))
    {
    }

    tbb::global_control limit;
    tbb::task_arena arena;
};

runtime &of(void *self)
{
    return *static_cast<runtime *>(self);
}

const char *version()
{
    return TBB_runtime_version();
}

void *start(std::size_t threads)
{
    return new (std::nothrow) runtime(threads);
}

void stop(void *self)
{
    delete &of(self);
}

// The caller's implicit arena has as many threads as global_control allows.
void for_each(void *, std::size_t n, rival_item item, const void *context)
{
    tbb::parallel_for(std::size_t{0}, n, [=](std::size_t i) { item(context, i); });
}

double sum(void *, std::size_t n, rival_value value, const void *context)
{
    using range = tbb::blocked_range<std::size_t>;
    return tbb::parallel_reduce(
        range(0, n), 0.0,
        [=](const range &part, double total) {
            for (std::size_t i = part.begin(); i != part.end(); ++i)
                total += value(context, i);
            return total;
        },
        std::plus<double>());
}

void enter(void *self, rival_item item, const void *context)
{
    of(self).arena.execute([=] { item(context, 0); });
}

std::uint64_t fib_task(std::uint32_t n)
{
    if (n < 2)
        return n;
    std::uint64_t one, other;
    tbb::parallel_invoke([&] { one = fib_task(n - 1); }, [&] { other = fib_task(n - 2); });
    return one + other;
}

std::uint64_t fib(void *, std::uint32_t n)
{
    return fib_task(n);
}

std::uint64_t count_children(tree_node node, std::uint32_t from, std::uint32_t to);

std::uint64_t count_task(tree_node node)
{
    return 1 + count_children(node, 0, tree_children(node));
}

std::uint64_t count_children(tree_node node, std::uint32_t from, std::uint32_t to)
{
    if (from == to)
        return 0;
    if (to - from == 1)
        return count_task(tree_child(node, from));
    const std::uint32_t middle = from + (to - from) / 2;
    std::uint64_t one, other;
    tbb::parallel_invoke([&] { one = count_children(node, from, middle); },
                         [&] { other = count_children(node, middle, to); });
    return one + other;
}

std::uint64_t count(void *, tree_node root)
{
    return count_task(root);
}

void spawn(void *, std::size_t n, rival_item item, const void *context)
{
    tbb::task_group group;
    for (std::size_t i = 0; i < n; ++i)
        group.run([=] { item(context, i); });
    group.wait();
}

void spawn_nested(void *, std::size_t outer, std::size_t inner, rival_item item,
                  const void *context)
{
    tbb::task_group group;
    for (std::size_t i = 0; i < outer; ++i)
        group.run([=] {
            tbb::task_group inside;
            for (std::size_t j = 0; j < inner; ++j)
                inside.run([=] { item(context, i * inner + j); });
            inside.wait();
        });
    group.wait();
}

} // namespace

// oneTBB promises no parallelism, so nothing in it makes every thread take part: no broadcast.
extern "C" {
extern const rival firsttouch_rival_onetbb;
const rival firsttouch_rival_onetbb = {
    version, start, stop, nullptr, for_each, sum, enter, fib, count, spawn, spawn_nested,
};
}
