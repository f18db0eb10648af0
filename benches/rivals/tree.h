/* The unbalanced tree of benches/src/runtime/tree.rs: see there. */
#ifndef FIRSTTOUCH_TREE_H
#define FIRSTTOUCH_TREE_H

#include <stdint.h>

#define TREE_STEP UINT64_C(0x9E3779B97F4A7C15)
#define TREE_ANOTHER UINT64_C(3435973836)
#define TREE_MOST_CHILDREN 100

struct tree_node {
    uint64_t state;
    uint32_t generations;
};

static inline uint64_t tree_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static inline uint32_t tree_children(struct tree_node node)
{
    uint32_t children = 0;
    if (node.generations == 0)
        return 0;
    while (children < TREE_MOST_CHILDREN
           && tree_mix(node.state ^ (TREE_STEP * (children + 1))) >> 32 < TREE_ANOTHER)
        children++;
    return children;
}

static inline struct tree_node tree_child(struct tree_node node, uint32_t place)
{
    struct tree_node child = {tree_mix(node.state + TREE_STEP * ((uint64_t)place + 1)),
                              node.generations - 1};
    return child;
}

#endif
