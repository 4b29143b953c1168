/* SPDX-License-Identifier: MIT */
/* Ordering by dependencies: Kahn's algorithm, which of all files that are ready takes the one with
 * the lowest version, through a heap of indexes. */
#include "migrate/graph.h"

#include <stdlib.h>

#include "base/buffer.h"

/* One file waits for another. Edges are grouped by what is waited for. */
struct edge {
    size_t from; /* needed first */
    size_t to;
};

struct graph {
    struct migration *migrations; /* sorted by version */
    size_t count;
    struct edge *edges;
    size_t edge_count;
    size_t *waits; /* for how many others each still waits */
    size_t *heap;  /* those that wait for none */
    size_t heap_count;
    size_t *order; /* the result */
    size_t ordered;
};

static int compare_migrations(const void *a, const void *b)
{
    const struct migration *left = a, *right = b;
    int order = version_compare(left->version, right->version);
    return order ? order : strcmp(left->file_name, right->file_name);
}

static int compare_edges(const void *a, const void *b)
{
    const struct edge *left = a, *right = b;
    if (left->from != right->from)
        return left->from < right->from ? -1 : 1;
    return (left->to > right->to) - (left->to < right->to);
}

static int compare_key(const void *key, const void *element)
{
    const struct migration *migration = element;
    return version_compare(key, migration->version);
}

static void heap_swap(struct graph *graph, size_t a, size_t b)
{
    size_t kept = graph->heap[a];
    graph->heap[a] = graph->heap[b];
    graph->heap[b] = kept;
}

static void heap_add(struct graph *graph, size_t value)
{
    size_t at = graph->heap_count++;
    graph->heap[at] = value;
    for (; at > 0 && graph->heap[at] < graph->heap[(at - 1) / 2]; at = (at - 1) / 2)
        heap_swap(graph, at, (at - 1) / 2);
}

static size_t heap_take(struct graph *graph)
{
    size_t least = graph->heap[0];
    graph->heap[0] = graph->heap[--graph->heap_count];
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child >= graph->heap_count)
            return least;
        if (child + 1 < graph->heap_count && graph->heap[child + 1] < graph->heap[child])
            child++;
        if (graph->heap[at] <= graph->heap[child])
            return least;
        heap_swap(graph, at, child);
        at = child;
    }
}

/* Sorts by version and refuses two files with one. */
static bool sort_by_version(struct migration_set *set, struct error *error)
{
    qsort(set->migrations, set->count, sizeof *set->migrations, compare_migrations);
    for (size_t i = 1; i < set->count; i++) {
        const struct migration *one = &set->migrations[i - 1], *two = &set->migrations[i];
        if (version_compare(one->version, two->version) == 0)
            return error_set(
                error, ERROR_DEPENDENCY,
                "%s and %s in %s have one version, %s; give one of them another number",
                one->file_name, two->file_name, set->directory, two->version);
    }
    return true;
}

static bool add_edges(struct graph *graph, const char *directory, struct error *error)
{
    for (size_t i = 0; i < graph->count; i++) {
        const struct migration *migration = &graph->migrations[i];
        if (!migration->depends_declared && i > 0)
            graph->edges[graph->edge_count++] = (struct edge){i - 1, i};
        for (size_t d = 0; d < migration->depends_count; d++) {
            const struct migration *needed =
                bsearch(migration->depends[d], graph->migrations, graph->count,
                        sizeof *graph->migrations, compare_key);
            if (!needed)
                return error_set(
                    error, ERROR_DEPENDENCY,
                    "%s:%u: depends on %s, but no file in %s has that version; add the "
                    "file or change the line",
                    migration->file_name, migration->depends_line, migration->depends[d],
                    directory);
            graph->edges[graph->edge_count++] =
                (struct edge){(size_t)(needed - graph->migrations), i};
        }
    }
    qsort(graph->edges, graph->edge_count, sizeof *graph->edges, compare_edges);
    for (size_t i = 0; i < graph->edge_count; i++)
        graph->waits[graph->edges[i].to]++;
    return true;
}

static int compare_from(const void *key, const void *element)
{
    const size_t *from = key;
    const struct edge *edge = element;
    return (*from > edge->from) - (*from < edge->from);
}

static void release(struct graph *graph, size_t done)
{
    struct edge *edge = graph->edge_count == 0 ? NULL
                                               : bsearch(&done, graph->edges, graph->edge_count,
                                                         sizeof *graph->edges, compare_from);
    if (!edge)
        return;
    while (edge > graph->edges && edge[-1].from == done)
        edge--;
    for (; edge < graph->edges + graph->edge_count && edge->from == done; edge++) {
        if (--graph->waits[edge->to] == 0)
            heap_add(graph, edge->to);
    }
}

/* Some file that `node` waits for and that could not be ordered either. */
static size_t unmet(const struct graph *graph, size_t node)
{
    for (size_t i = 0; i < graph->edge_count; i++) {
        if (graph->edges[i].to == node && graph->waits[graph->edges[i].from] > 0)
            return graph->edges[i].from;
    }
    return node;
}

/* Every file that is left waits for one that is left: going back from any, one comes round. */
static bool refuse_cycle(const struct graph *graph, struct error *error)
{
    size_t node = 0;
    while (graph->waits[node] == 0)
        node++;
    for (size_t i = 0; i < graph->count; i++)
        node = unmet(graph, node);

    /* Now on the cycle. Going back gives the order in which they would have to be applied. */
    struct buffer text = {0};
    size_t at = node;
    buffer_append_string(&text, graph->migrations[node].version);
    do {
        at = unmet(graph, at);
        buffer_printf(&text, " -> %s", graph->migrations[at].version);
    } while (at != node);
    error_set(error, ERROR_DEPENDENCY,
              "migrations depend on one another in a cycle: %s; change an automigrate:depends line "
              "(a file without one depends on the file before it)",
              text.failed ? graph->migrations[node].version : text.data);
    buffer_free(&text);
    return false;
}

static bool sort_by_dependencies(struct graph *graph, const char *directory, struct error *error)
{
    if (!add_edges(graph, directory, error))
        return false;
    for (size_t i = 0; i < graph->count; i++) {
        if (graph->waits[i] == 0)
            heap_add(graph, i);
    }
    while (graph->heap_count > 0) {
        size_t next = heap_take(graph);
        graph->order[graph->ordered++] = next;
        release(graph, next);
    }
    return graph->ordered == graph->count || refuse_cycle(graph, error);
}

bool graph_order(struct migration_set *set, struct error *error)
{
    if (set->count == 0)
        return true;
    if (!sort_by_version(set, error))
        return false;
    size_t edges = set->count;
    for (size_t i = 0; i < set->count; i++)
        edges += set->migrations[i].depends_count;
    struct graph graph = {
        .migrations = set->migrations,
        .count = set->count,
        .edges = calloc(edges, sizeof *graph.edges),
        .waits = calloc(set->count, sizeof *graph.waits),
        .heap = calloc(set->count, sizeof *graph.heap),
        .order = calloc(set->count, sizeof *graph.order),
    };
    struct migration *ordered = calloc(set->count, sizeof *ordered);
    set->by_version = calloc(set->count, sizeof *set->by_version);
    bool good =
        graph.edges && graph.waits && graph.heap && graph.order && ordered && set->by_version;
    if (!good)
        error_set(error, ERROR_MEMORY, "out of memory while ordering %zu migrations", set->count);
    good = good && sort_by_dependencies(&graph, set->directory, error);
    if (good) {
        for (size_t i = 0; i < set->count; i++) {
            ordered[i] = set->migrations[graph.order[i]];
            set->by_version[graph.order[i]] = i;
        }
        free(set->migrations);
        set->migrations = ordered;
        ordered = NULL;
    }
    free(ordered);
    free(graph.edges);
    free(graph.waits);
    free(graph.heap);
    free(graph.order);
    return good;
}
