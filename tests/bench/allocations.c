/*
 * allocations.c - how often a refresh allocates: the library itself, and all in all, OpenSSL and libc included (PF13).
 *
 * malloc() and its kin are this program's, but what they do beside counting is libc's.  Sanitizers have theirs: under them, and
 * without glibc, only what the library itself asks for is counted.
 *
 *     link: --wrap= of otok_malloc, otok_calloc, otok_realloc, otok_strdup, otok_strndup
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <malloc.h>
#include <stdlib.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EVERY_ALLOCATION 1
#else
#define EVERY_ALLOCATION 0
#endif

static _Thread_local bool counting;
static _Thread_local uint64_t all, own;

#if EVERY_ALLOCATION

/* Seen by the shared libraries, which is what they are here for. */
#define FOR_EVERYBODY __attribute__((__visibility__("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

FOR_EVERYBODY void *malloc(size_t size)
{
    all += counting;
    return __libc_malloc(size);
}

FOR_EVERYBODY void *calloc(size_t count, size_t size)
{
    all += counting;
    return __libc_calloc(count, size);
}

FOR_EVERYBODY void *realloc(void *old, size_t size)
{
    all += counting;
    return __libc_realloc(old, size);
}

FOR_EVERYBODY void *memalign(size_t alignment, size_t size)
{
    all += counting;
    return __libc_memalign(alignment, size);
}

#endif

void *__real_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__real_otok_realloc(void *old, size_t size);
char *__real_otok_strdup(const char *text);
char *__real_otok_strndup(const void *text, size_t len);
void *__wrap_otok_malloc(size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);
void *__wrap_otok_realloc(void *old, size_t size);
char *__wrap_otok_strdup(const char *text);
char *__wrap_otok_strndup(const void *text, size_t len);

void *__wrap_otok_malloc(size_t size)
{
    own += counting;
    return __real_otok_malloc(size);
}

void *__wrap_otok_calloc(size_t count, size_t size)
{
    own += counting;
    return __real_otok_calloc(count, size);
}

void *__wrap_otok_realloc(void *old, size_t size)
{
    own += counting;
    return __real_otok_realloc(old, size);
}

char *__wrap_otok_strdup(const char *text)
{
    own += counting;
    return __real_otok_strdup(text);
}

char *__wrap_otok_strndup(const void *text, size_t len)
{
    own += counting;
    return __real_otok_strndup(text, len);
}

/* ---------------------------------------------------------------------------------------------------- the figures */

enum { ROTATE_US = 61 * 1000000 };

/* The second refresh of a service: what the first prepares is kept. */
static void refresh_twice(bench *b, int32_t rotation, int32_t access_token)
{
    otok_service *service = bench_service(&b->world, rotation, access_token);
    for (size_t i = 0; i < 2; i++) {
        otok_refresh_request request;
        otok_tokens *tokens = NULL;
        otok_error err;
        otok_refresh_request_init(&request, sizeof request);
        request.token = b->world.tokens[i];
        request.client_id = bench_client_of(i);
        request.client_type = OTOK_CLIENT_PUBLIC;
        bench_advance(&b->world, ROTATE_US);
        all = own = 0;
        counting = true;
        int rc = otok_refresh(service, &request, &tokens, &err);
        counting = false;
        bench_ok(rc, &err, "otok_refresh");
        for (size_t k = 0; k < OTOK_TOKEN_CHARS; k++)
            b->world.tokens[i][k] = tokens->offline_token[k];
        otok_tokens_free(tokens);
    }
    otok_service_close(service);
}

static uint64_t allocations_of(uint64_t (*step)(void *signer, size_t thread), bench_signer *signer)
{
    (void)step(signer, 0);
    all = 0;
    counting = true;
    (void)step(signer, 0);
    counting = false;
    return all;
}

static void tell(bench *b, const char *name, int32_t rotation, int32_t access_token, uint64_t openssl)
{
    refresh_twice(b, rotation, access_token);
    const bench_side ours = bench_once("the library's own", (double)own);
    const bench_side signature = bench_once("EVP_DigestSign, ES256, on a copy of a prepared context", (double)openssl);
    const bench_figure figure = {
        .id = "PF13",
        .name = bench_format("allocations in a refresh, %s", name),
        .unit = "the library's own",
        .goal_is = BENCH_OURS_MOST,
        .goal = 12,
        .ours = &ours,
        .raw = access_token == OTOK_ON ? &signature : NULL,
        .note = EVERY_ALLOCATION ? bench_format("%llu with those of libcrypto and libc", (unsigned long long)all)
                                 : "those of libcrypto and libc cannot be counted in this build",
    };
    bench_tell(&b->report, &figure);
}

void bench_allocations(bench *b)
{
    if (!bench_wants(b, "PF13"))
        return;
    uint64_t openssl = EVERY_ALLOCATION ? allocations_of(bench_sign_prepared, b->signer) : 1;
    tell(b, "rotated, ES256", OTOK_ROTATION_ALWAYS, OTOK_ON, openssl);
    tell(b, "rotation off, ES256", OTOK_ROTATION_NEVER, OTOK_ON, openssl);
    tell(b, "rotation off, no access token", OTOK_ROTATION_NEVER, OTOK_OFF, 0);
}
