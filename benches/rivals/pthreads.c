/*
 * Page initialisation as it is written by hand: threads that are started for
 * the call take pieces from a shared counter and have the kernel populate them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct work {
    unsigned char *start;
    size_t size;
    /* What one thread takes at a time, and what it populates before it fills that. */
    size_t piece, step;
    int value;
    atomic_size_t next;
    atomic_int error;
};

static int populate(unsigned char *start, size_t size)
{
    while (madvise(start, size, MADV_POPULATE_WRITE) != 0)
        if (errno != EINTR && errno != EAGAIN)
            return errno;
    return 0;
}

static int init_piece(const struct work *work, unsigned char *start, size_t size)
{
    if (work->value == 0)
        return populate(start, size);
    for (size_t done = 0; done < size; done += work->step) {
        size_t part = size - done < work->step ? size - done : work->step;
        int error = populate(start + done, part);
        if (error)
            return error;
        memset(start + done, work->value, part);
    }
    return 0;
}

static void *take_pieces(void *context)
{
    struct work *work = context;
    for (;;) {
        size_t offset = atomic_fetch_add(&work->next, work->piece);
        if (offset >= work->size)
            return NULL;
        size_t left = work->size - offset;
        int error =
            init_piece(work, work->start + offset, left < work->piece ? left : work->piece);
        if (error) {
            atomic_store(&work->error, error);
            return NULL;
        }
    }
}

/*
 * Initialises size bytes from start, a multiple of pages, to value. The caller
 * is one of the threads. Returns 0, or the number of the system's error.
 */
int firsttouch_pthreads_populate(unsigned char *start, size_t size, size_t threads, size_t piece,
                                 size_t step, int value)
{
    struct work work = {
        .start = start, .size = size, .piece = piece, .step = step, .value = value};
    pthread_t *others = calloc(threads, sizeof *others);
    size_t started = 0;
    int error = 0;
    if (!others)
        return ENOMEM;
    while (started + 1 < threads && !error) {
        error = pthread_create(&others[started], NULL, take_pieces, &work);
        started += !error;
    }
    take_pieces(&work);
    for (size_t i = 0; i < started; i++)
        pthread_join(others[i], NULL);
    free(others);
    return error ? error : atomic_load(&work.error);
}
