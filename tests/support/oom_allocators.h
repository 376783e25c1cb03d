/*
 * oom_allocators.h - malloc() and its kin, which fail when oom.h says so: included once by a program, which needs
 * beside it
 *
 *     link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc
 *
 * They are the whole program's, so that the allocations of OpenSSL, cJSON, LMDB and libc are refused too.  Sanitizers
 * have theirs: under them, and without glibc, only what goes through the library's own four functions is.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_OOM_ALLOCATORS_H
#define TEST_OOM_ALLOCATORS_H

#include <errno.h>
#include <stdlib.h>

#include "support/oom.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EVERY_ALLOCATION 1
#else
#define EVERY_ALLOCATION 0
#endif

static bool is_refused(void)
{
    bool refused = oom_is_refused();
    if (refused)
        errno = ENOMEM;
    return refused;
}

#if EVERY_ALLOCATION

/* Seen by the shared libraries, which is what they are here for. */
#define FOR_EVERYBODY __attribute__((__visibility__("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *old);

static void *note(void *allocated)
{
    test_shortage.living += allocated != NULL;
    return allocated;
}

FOR_EVERYBODY void *malloc(size_t size)
{
    return is_refused() ? NULL : note(__libc_malloc(size));
}

FOR_EVERYBODY void *calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : note(__libc_calloc(count, size));
}

FOR_EVERYBODY void *realloc(void *old, size_t size)
{
    if (is_refused())
        return NULL;
    void *grown = __libc_realloc(old, size);
    test_shortage.living += (old == NULL && grown != NULL) - (old != NULL && grown == NULL && size == 0);
    return grown;
}

FOR_EVERYBODY void *memalign(size_t alignment, size_t size)
{
    return is_refused() ? NULL : note(__libc_memalign(alignment, size));
}

FOR_EVERYBODY void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

FOR_EVERYBODY int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *allocated = memalign(alignment, size);
    if (allocated == NULL)
        return ENOMEM;
    *out = allocated;
    return 0;
}

FOR_EVERYBODY void free(void *old)
{
    test_shortage.living -= old != NULL;
    __libc_free(old);
}

#endif

void *__real_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__real_otok_realloc(void *old, size_t size);
void *__wrap_otok_malloc(size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);
void *__wrap_otok_realloc(void *old, size_t size);

void *__wrap_otok_malloc(size_t size)
{
    return !EVERY_ALLOCATION && is_refused() ? NULL : __real_otok_malloc(size);
}

void *__wrap_otok_calloc(size_t count, size_t size)
{
    return !EVERY_ALLOCATION && is_refused() ? NULL : __real_otok_calloc(count, size);
}

void *__wrap_otok_realloc(void *old, size_t size)
{
    return !EVERY_ALLOCATION && is_refused() ? NULL : __real_otok_realloc(old, size);
}

#endif
