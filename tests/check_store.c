/*
 * check_store.c - the dispatcher: a backend sees only calls within the contract's bounds, and callers only its results (S1).
 *
 * SPDX-License-Identifier: MIT
 */
#include <check.h>
#include <string.h>

#include "store/store.h"
#include "support/fixture.h"

/* A backend that counts its calls and answers what the test says. */
struct backend {
    int calls, closed;
    int rc;
    int32_t result;
    bool no_result, no_detail;
    otok_record emits; /* `nemits` times, whatever the callback says */
    size_t nemits;
};

static int answer(struct backend *backend, otok_error *err)
{
    backend->calls++;
    if (backend->rc != OTOK_OK && !backend->no_detail)
        (void)otok_error_set(err, backend->rc, 5, "detail of the backend");
    return backend->rc;
}

static int emit_all(struct backend *backend, otok_emit emit, void *arg, otok_error *err)
{
    for (size_t i = 0; i < backend->nemits; i++)
        (void)emit(arg, &backend->emits);
    return answer(backend, err);
}

static int backend_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                         otok_error *err)
{
    (void)ids, (void)n, (void)flags;
    return emit_all(self, emit, arg, err);
}

static int backend_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    struct backend *backend = self;
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_ne(groups[i].result, OTOK_OK); /* a backend that forgets one does not report success */
        if (!backend->no_result)
            groups[i].result = backend->result;
    }
    return answer(self, err);
}

static int backend_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    (void)scan;
    return emit_all(self, emit, arg, err);
}

static int backend_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    (void)key;
    *out = 3;
    return answer(self, err);
}

static void backend_close(void *self)
{
    ((struct backend *)self)->closed++;
}

static otok_store_vtab vtab_of(void)
{
    return (otok_store_vtab){.size = sizeof(otok_store_vtab),
                             .guarantees = OTOK_STORE_ATOMIC_GROUPS,
                             .name = "fake",
                             .fetch = backend_fetch,
                             .commit = backend_commit,
                             .scan = backend_scan,
                             .count = backend_count,
                             .close = backend_close};
}

static otok_store *open_fake(struct backend *backend)
{
    otok_store *store = NULL;
    otok_error err = {0};
    otok_store_vtab vtab = vtab_of();
    *backend = (struct backend){0};
    ck_assert_msg(otok_store_open(&vtab, backend, &store, &err) == OTOK_OK, "%s", err.message);
    return store;
}

static int ignore(void *arg, const otok_record *record)
{
    (void)arg, (void)record;
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------- open */

START_TEST(open_refuses_what_is_no_store_and_leaves_self_to_the_caller)
{
    enum { NO_VTAB, SHORT, NEWER, NO_GROUPS, NO_FETCH, NO_COMMIT, NO_SCAN, NO_COUNT, NO_CLOSE, NO_TAIL, CASES };
    static const int want[CASES] = {OTOK_E_INVALID,     OTOK_E_INVALID,     OTOK_E_INVALID,     OTOK_E_UNSUPPORTED,
                                    OTOK_E_UNSUPPORTED, OTOK_E_UNSUPPORTED, OTOK_E_UNSUPPORTED, OTOK_E_UNSUPPORTED,
                                    OTOK_E_UNSUPPORTED, OTOK_E_UNSUPPORTED};
    for (int i = 0; i < CASES; i++) {
        struct {
            otok_store_vtab vtab;
            uint64_t newer;
        } given = {.vtab = vtab_of()};
        otok_error err = {0};
        otok_store *store = (otok_store *)&given;
        struct backend backend = {0};
        given.vtab.size = i == SHORT ? 8 : i == NEWER ? sizeof given : given.vtab.size;
        given.newer = i == NEWER;
        if (i == NO_GROUPS)
            given.vtab.guarantees = OTOK_STORE_DURABLE | OTOK_STORE_SHARED | OTOK_STORE_FAST_COUNT;
        if (i == NO_FETCH)
            given.vtab.fetch = NULL;
        if (i == NO_COMMIT)
            given.vtab.commit = NULL;
        if (i == NO_SCAN)
            given.vtab.scan = NULL;
        if (i == NO_COUNT)
            given.vtab.count = NULL;
        if (i == NO_CLOSE)
            given.vtab.close = NULL;
        if (i == NO_TAIL)
            given.vtab.size = offsetof(otok_store_vtab, count);
        ck_assert_msg(otok_store_open(i == NO_VTAB ? NULL : &given.vtab, &backend, &store, &err) == want[i], "case %d",
                      i);
        ck_assert_ptr_null(store);
        ck_assert_int_eq(err.code, want[i]);
        ck_assert_uint_gt(strlen(err.message), 0);
        ck_assert_int_eq(backend.closed, 0);
    }
    otok_store_vtab vtab = vtab_of();
    ck_assert_int_eq(otok_store_open(&vtab, NULL, NULL, NULL), OTOK_E_INVALID);
}
END_TEST

START_TEST(vtab_of_a_newer_header_is_accepted_and_copied)
{
    struct {
        otok_store_vtab vtab;
        uint64_t newer[4];
    } given = {.vtab = vtab_of()};
    char name[] = "short-lived";
    struct backend backend = {0};
    otok_store *store = NULL;
    given.vtab.size = sizeof given;
    given.vtab.name = name;
    ck_assert_int_eq(otok_store_open(&given.vtab, &backend, &store, NULL), OTOK_OK);
    memset(&given, 0x55, sizeof given);
    memset(name, 'x', sizeof name - 1);
    ck_assert_str_eq(otok_store_name(store), "short-lived");
    ck_assert_uint_eq(otok_store_guarantees(store), OTOK_STORE_ATOMIC_GROUPS);
    uint64_t count = 0;
    otok_index_key key = {.index = 1};
    ck_assert_int_eq(otok_store_count(store, &key, &count, NULL), OTOK_OK);
    ck_assert_uint_eq(count, 3);
    otok_store_close(store);
    ck_assert_int_eq(backend.closed, 1);
}
END_TEST

START_TEST(backend_is_closed_once_with_the_last_reference)
{
    struct backend backend;
    otok_store *store = open_fake(&backend);
    ck_assert_ptr_eq(otok_store_ref(store), store);
    otok_store_close(store);
    ck_assert_int_eq(backend.closed, 0);
    otok_store_close(store);
    ck_assert_int_eq(backend.closed, 1);
    otok_store_close(NULL);
    ck_assert_uint_eq(otok_store_guarantees(NULL), 0);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- bounds */

/* One group of two writes, one thing of which a row of the table spoils. */
struct scene {
    uint8_t bytes[OTOK_MAX_BODY + 1];
    otok_index_key keys[OTOK_MAX_KEYS + 1];
    otok_id links[OTOK_MAX_LINKS + 1];
    struct {
        otok_record record;
        uint64_t newer;
    } records[OTOK_MAX_GROUP_WRITES + 1];
    otok_write writes[OTOK_MAX_GROUP_WRITES + 1];
    otok_group group;
};

static void scene_init(struct scene *scene)
{
    memset(scene, 0, sizeof *scene);
    for (uint32_t i = 0; i <= OTOK_MAX_KEYS; i++)
        scene->keys[i].index = OTOK_INDEX_MAX - i;
    for (size_t i = 0; i <= OTOK_MAX_GROUP_WRITES; i++) {
        scene->records[i].record = (otok_record){
            .size = sizeof(otok_record), .kind = OTOK_RECORD_SESSION, .keys = scene->keys, .links = scene->links};
        scene->records[i].record.id.bytes[15] = (uint8_t)i;
        scene->writes[i] = (otok_write){.op = OTOK_WRITE_INSERT, .record = &scene->records[i].record};
    }
    scene->group = (otok_group){.writes = scene->writes, .n = 2, .result = 99};
}

static void set_text(otok_str *text, const struct scene *scene, size_t len)
{
    *text = (otok_str){.data = scene->bytes, .len = len};
}

static void sized(struct scene *scene, size_t n, size_t body)
{
    scene->group.n = n;
    for (size_t i = 0; i < n; i++)
        set_text(&scene->records[i].record.body, scene, body);
}

#define SPOIL(name, statement)                                                                                         \
    static void name(struct scene *s, otok_write *w, otok_record *r)                                                   \
    {                                                                                                                  \
        (void)s, (void)w, (void)r;                                                                                     \
        statement;                                                                                                     \
    }

SPOIL(no_writes, s->group.n = 0)
SPOIL(null_writes, s->group.writes = NULL)
SPOIL(writes_65, s->group.n = 65)
SPOIL(writes_64, s->group.n = 64)
SPOIL(no_record, w->record = NULL)
SPOIL(op_0, w->op = 0)
SPOIL(op_6, w->op = 6)
SPOIL(size_0, r->size = 0)
SPOIL(size_small, r->size = sizeof *r - 8)
SPOIL(size_of_newer, r->size = sizeof s->records[1])
SPOIL(newer_member, (r->size = sizeof s->records[1], s->records[1].newer = 1))
SPOIL(kind_0, r->kind = 0)
SPOIL(kind_8, r->kind = 8)
SPOIL(kind_7, r->kind = 7)
SPOIL(keys_9, r->nkeys = 9)
SPOIL(keys_8, r->nkeys = 8)
SPOIL(keys_null, (r->nkeys = 1, r->keys = NULL))
SPOIL(keys_huge, r->nkeys = SIZE_MAX)
SPOIL(index_0, (r->nkeys = 2, s->keys[1].index = 0))
SPOIL(index_256, (r->nkeys = 2, s->keys[0].index = 256))
SPOIL(index_twice, (r->nkeys = 3, s->keys[2].index = s->keys[0].index))
SPOIL(links_9, r->nlinks = 9)
SPOIL(links_8, r->nlinks = 8)
SPOIL(links_null, (r->nlinks = 1, r->links = NULL))
SPOIL(realm_256, set_text(&r->realm, s, 256))
SPOIL(realm_255, set_text(&r->realm, s, 255))
SPOIL(subject_256, set_text(&r->subject, s, 256))
SPOIL(client_256, set_text(&r->client, s, 256))
SPOIL(client_null, r->client.len = 1)
SPOIL(head_25, set_text(&r->head, s, 25))
SPOIL(head_24, set_text(&r->head, s, 24))
SPOIL(head_null, r->head.len = 3)
SPOIL(body_65537, set_text(&r->body, s, 65537))
SPOIL(body_65536, set_text(&r->body, s, 65536))
SPOIL(body_null, r->body.len = 3)
SPOIL(id_twice, r->id = s->records[0].record.id)
SPOIL(mebibyte, sized(s, 16, 65536))
SPOIL(mebibyte_and_1, (sized(s, 16, 65536), set_text(&r->head, s, 1)))
SPOIL(mebibyte_and_key, (sized(s, 16, 65536), r->nkeys = 1))
SPOIL(put_same_version, (w->op = OTOK_WRITE_PUT, w->expect = 5, r->version = 5))
SPOIL(put_next_version, (w->op = OTOK_WRITE_PUT, w->expect = 5, r->version = 6))
SPOIL(put_wraps, (w->op = OTOK_WRITE_PUT, w->expect = UINT64_MAX, r->version = 0))
SPOIL(put_kind_0, (w->op = OTOK_WRITE_PUT, r->version = 1, r->kind = 0))
SPOIL(head_same_version, (w->op = OTOK_WRITE_HEAD, w->expect = 5, r->version = 5))
SPOIL(head_wraps, (w->op = OTOK_WRITE_HEAD, w->expect = UINT64_MAX, r->version = 0))
SPOIL(head_of_25, (w->op = OTOK_WRITE_HEAD, r->version = 1, set_text(&r->head, s, 25)))
SPOIL(head_reads_no_body, (w->op = OTOK_WRITE_HEAD, r->version = 1, r->kind = 0, r->nkeys = 99, r->body.len = 99))
SPOIL(delete_reads_id_only, (w->op = OTOK_WRITE_DELETE, r->kind = 0, r->nkeys = 99, r->head.len = 99))
SPOIL(assert_reads_id_only, (w->op = OTOK_WRITE_ASSERT, r->kind = 99, r->nlinks = 99, r->body.len = 99))
SPOIL(assert_needs_size, (w->op = OTOK_WRITE_ASSERT, r->size = 1))

static const struct {
    void (*spoil)(struct scene *scene, otok_write *write, otok_record *record);
    const char *field; /* that the message names; NULL: the group is good */
} group_rows[] = {
    {no_writes, "without writes"},
    {null_writes, "without writes"},
    {writes_65, "64 writes"},
    {writes_64, NULL},
    {no_record, "record"},
    {op_0, "op"},
    {op_6, "op"},
    {size_0, "record.size"},
    {size_small, "record.size"},
    {size_of_newer, NULL},
    {newer_member, "record.size"},
    {kind_0, "record.kind"},
    {kind_8, "record.kind"},
    {kind_7, NULL},
    {keys_9, "record.nkeys"},
    {keys_8, NULL},
    {keys_null, "record.keys"},
    {keys_huge, "record.nkeys"},
    {index_0, "record.keys"},
    {index_256, "record.keys"},
    {index_twice, "record.keys"},
    {links_9, "record.nlinks"},
    {links_8, NULL},
    {links_null, "record.links"},
    {realm_256, "record.realm"},
    {realm_255, NULL},
    {subject_256, "record.subject"},
    {client_256, "record.client"},
    {client_null, "record.client"},
    {head_25, "record.head"},
    {head_24, NULL},
    {head_null, "record.head"},
    {body_65537, "record.body"},
    {body_65536, NULL},
    {body_null, "record.body"},
    {id_twice, "record.id"},
    {mebibyte, NULL},
    {mebibyte_and_1, "1 MiB"},
    {mebibyte_and_key, "1 MiB"},
    {put_same_version, "record.version"},
    {put_next_version, NULL},
    {put_wraps, NULL},
    {put_kind_0, "record.kind"},
    {head_same_version, "record.version"},
    {head_wraps, NULL},
    {head_of_25, "record.head"},
    {head_reads_no_body, NULL},
    {delete_reads_id_only, NULL},
    {assert_reads_id_only, NULL},
    {assert_needs_size, "record.size"},
};
enum { GROUP_ROWS = sizeof group_rows / sizeof group_rows[0] };

START_TEST(group_beyond_a_bound_never_reaches_the_backend)
{
    static struct scene good, scene;
    struct backend backend;
    otok_error err = {0};
    otok_store *store = open_fake(&backend);
    scene_init(&good);
    scene_init(&scene);
    group_rows[_i].spoil(&scene, &scene.writes[1], &scene.records[1].record);
    otok_group groups[] = {good.group, scene.group, good.group};
    int rc = otok_store_commit(store, groups, 3, &err);
    if (group_rows[_i].field == NULL) {
        ck_assert_msg(rc == OTOK_OK, "row %d: %s", _i, err.message);
        ck_assert_int_eq(backend.calls, 1);
    } else {
        ck_assert_msg(rc == OTOK_E_INVALID, "row %d, %s: %s", _i, group_rows[_i].field, otok_error_name(rc));
        ck_assert_msg(strstr(err.message, group_rows[_i].field) != NULL, "%s is not in: %s", group_rows[_i].field,
                      err.message);
        ck_assert_ptr_nonnull(strstr(err.message, "groups[1]"));
        ck_assert_int_eq(backend.calls, 0);
    }
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(groups[i].result, rc);
        ck_assert_int_eq(groups[i].error.code, rc);
    }
    otok_store_close(store);
}
END_TEST

START_TEST(commit_of_no_groups_is_done_at_once)
{
    struct backend backend;
    otok_group group = {0};
    otok_store *store = open_fake(&backend);
    ck_assert_int_eq(otok_store_commit(store, NULL, 0, NULL), OTOK_OK);
    ck_assert_int_eq(otok_store_commit(store, &group, 0, NULL), OTOK_OK);
    ck_assert_int_eq(otok_store_commit(store, NULL, 1, NULL), OTOK_E_INVALID);
    ck_assert_int_eq(otok_store_commit(NULL, &group, 1, NULL), OTOK_E_INVALID);
    ck_assert_int_eq(backend.calls, 0);
    otok_store_close(store);
}
END_TEST

START_TEST(fetch_beyond_a_bound_never_reaches_the_backend)
{
    static otok_id ids[OTOK_MAX_FETCH + 1];
    const struct {
        const otok_id *ids;
        size_t n;
        uint32_t flags;
        otok_emit emit;
        int want;
    } rows[] = {
        {ids, 1, 0, ignore, OTOK_OK},
        {ids, OTOK_MAX_FETCH, OTOK_FETCH_LINKS, ignore, OTOK_OK},
        {ids, OTOK_MAX_FETCH + 1, 0, ignore, OTOK_E_INVALID},
        {ids, 0, 0, ignore, OTOK_E_INVALID},
        {NULL, 1, 0, ignore, OTOK_E_INVALID},
        {ids, 1, 2, ignore, OTOK_E_INVALID},
        {ids, 1, 0, NULL, OTOK_E_INVALID},
    };
    struct backend backend;
    otok_store *store = open_fake(&backend);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        backend.calls = 0;
        int rc = otok_store_fetch(store, rows[i].ids, rows[i].n, rows[i].flags, rows[i].emit, NULL, NULL);
        ck_assert_msg(rc == rows[i].want, "row %zu: %s", i, otok_error_name(rc));
        ck_assert_int_eq(backend.calls, rc == OTOK_OK);
    }
    ck_assert_int_eq(otok_store_fetch(NULL, ids, 1, 0, ignore, NULL, NULL), OTOK_E_INVALID);
    otok_store_close(store);
}
END_TEST

START_TEST(scan_beyond_a_bound_never_reaches_the_backend)
{
    const struct {
        size_t size;
        uint32_t index, flags, limit;
        otok_emit emit;
        const char *field;
    } rows[] = {
        {sizeof(otok_scan), OTOK_INDEX_ALL, 0, 1, ignore, NULL},
        {sizeof(otok_scan), OTOK_INDEX_MAX, 3, OTOK_MAX_FETCH, ignore, NULL},
        {sizeof(otok_scan) + 8, 1, 0, 1, ignore, NULL},
        {sizeof(otok_scan) - 8, 1, 0, 1, ignore, "scan.size"},
        {0, 1, 0, 1, ignore, "scan.size"},
        {sizeof(otok_scan), 256, 0, 1, ignore, "scan.key.index"},
        {sizeof(otok_scan), 1, 4, 1, ignore, "scan.flags"},
        {sizeof(otok_scan), 1, 0, 0, ignore, "scan.limit"},
        {sizeof(otok_scan), 1, 0, OTOK_MAX_FETCH + 1, ignore, "scan.limit"},
        {sizeof(otok_scan), 1, 0, 1, NULL, "emit"},
    };
    struct backend backend;
    otok_store *store = open_fake(&backend);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct {
            otok_scan scan;
            uint64_t newer;
        } given = {
            .scan = {.size = rows[i].size, .key.index = rows[i].index, .flags = rows[i].flags, .limit = rows[i].limit}};
        otok_error err = {0};
        backend.calls = 0;
        int rc = otok_store_scan(store, &given.scan, rows[i].emit, NULL, &err);
        ck_assert_int_eq(rc, rows[i].field == NULL ? OTOK_OK : OTOK_E_INVALID);
        ck_assert_int_eq(backend.calls, rc == OTOK_OK);
        if (rc != OTOK_OK)
            ck_assert_msg(strstr(err.message, rows[i].field) != NULL, "%s is not in: %s", rows[i].field, err.message);
    }
    ck_assert_int_eq(otok_store_scan(store, NULL, ignore, NULL, NULL), OTOK_E_INVALID);
    ck_assert_int_eq(otok_store_scan(NULL, NULL, ignore, NULL, NULL), OTOK_E_INVALID);
    otok_store_close(store);
}
END_TEST

START_TEST(count_beyond_a_bound_never_reaches_the_backend)
{
    struct backend backend;
    otok_store *store = open_fake(&backend);
    uint64_t out;
    otok_index_key keys[] = {{.index = 0}, {.index = 256}, {.index = 255}};
    ck_assert_int_eq(otok_store_count(store, &keys[0], &out, NULL), OTOK_E_INVALID);
    ck_assert_int_eq(otok_store_count(store, &keys[1], &out, NULL), OTOK_E_INVALID);
    ck_assert_int_eq(otok_store_count(store, NULL, &out, NULL), OTOK_E_INVALID);
    ck_assert_int_eq(otok_store_count(store, &keys[2], NULL, NULL), OTOK_E_INVALID);
    ck_assert_int_eq(otok_store_count(NULL, &keys[2], &out, NULL), OTOK_E_INVALID);
    ck_assert_int_eq(backend.calls, 0);
    ck_assert_int_eq(otok_store_count(store, &keys[2], &out, NULL), OTOK_OK);
    otok_store_close(store);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- results */

START_TEST(what_a_backend_answers_becomes_a_result_of_the_contract)
{
    static const struct {
        struct backend backend;
        int rc, result;
        const char *message; /* of the group */
    } rows[] = {
        {{.result = OTOK_OK}, OTOK_OK, OTOK_OK, ""},
        {{.result = OTOK_E_CONFLICT}, OTOK_OK, OTOK_E_CONFLICT, "another version"},
        {{.result = OTOK_E_FULL}, OTOK_OK, OTOK_E_FULL, "not committed"},
        {{.no_result = true}, OTOK_OK, OTOK_E_UNCERTAIN, "no result"},
        {{.result = 7}, OTOK_OK, OTOK_E_UNCERTAIN, "no result"},
        {{.rc = OTOK_E_BUSY}, OTOK_E_BUSY, OTOK_E_BUSY, "detail of the backend"},
        {{.rc = OTOK_E_UNCERTAIN, .result = OTOK_E_CONFLICT},
         OTOK_E_UNCERTAIN,
         OTOK_E_UNCERTAIN,
         "detail of the backend"},
        {{.rc = OTOK_E_IO, .no_detail = true}, OTOK_E_IO, OTOK_E_IO, "fake: commit failed"},
        {{.rc = 1}, OTOK_E_UNCERTAIN, OTOK_E_UNCERTAIN, "no error code"},
        /* What is not for a store to say. */
        {{.rc = OTOK_E_NOT_FOUND}, OTOK_E_UNCERTAIN, OTOK_E_UNCERTAIN, "no error code"},
        {{.rc = OTOK_E_TOKEN_INVALID}, OTOK_E_UNCERTAIN, OTOK_E_UNCERTAIN, "no error code"},
        {{.rc = -1000}, OTOK_E_UNCERTAIN, OTOK_E_UNCERTAIN, "no error code"},
        {{.result = OTOK_E_NOT_FOUND}, OTOK_OK, OTOK_E_UNCERTAIN, "no result"},
        {{.result = OTOK_E_TOKEN_REUSED}, OTOK_OK, OTOK_E_UNCERTAIN, "no result"},
    };
    static struct scene scene;
    scene_init(&scene);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct backend backend;
        otok_error err = {0};
        otok_store *store = open_fake(&backend);
        backend = rows[i].backend;
        otok_group groups[] = {scene.group, scene.group};
        ck_assert_int_eq(otok_store_commit(store, groups, 2, i % 2 == 0 ? &err : NULL), rows[i].rc);
        if (i % 2 == 0)
            ck_assert_int_eq(err.code, rows[i].rc);
        for (size_t j = 0; j < 2; j++) {
            ck_assert_int_eq(groups[j].result, rows[i].result);
            ck_assert_int_eq(groups[j].error.code, rows[i].result);
            ck_assert_msg(strstr(groups[j].error.message, rows[i].message) != NULL, "row %zu: %s", i,
                          groups[j].error.message);
        }
        otok_store_close(store);
    }
}
END_TEST

START_TEST(errors_of_reads_are_passed_on_with_their_detail)
{
    struct backend backend;
    otok_store *store = open_fake(&backend);
    otok_id id = {{0}};
    otok_scan scan = {.size = sizeof scan, .limit = 1};
    otok_index_key key = {.index = 1};
    uint64_t out;
    for (int detail = 0; detail < 2; detail++) {
        otok_error errs[3] = {{0}};
        backend.rc = OTOK_E_IO;
        backend.no_detail = detail == 0;
        ck_assert_int_eq(otok_store_fetch(store, &id, 1, 0, ignore, NULL, &errs[0]), OTOK_E_IO);
        ck_assert_int_eq(otok_store_scan(store, &scan, ignore, NULL, &errs[1]), OTOK_E_IO);
        ck_assert_int_eq(otok_store_count(store, &key, &out, &errs[2]), OTOK_E_IO);
        for (int i = 0; i < 3; i++) {
            ck_assert_int_eq(errs[i].code, OTOK_E_IO);
            ck_assert_int_eq(errs[i].system_errno, detail == 0 ? 0 : 5);
            ck_assert_ptr_nonnull(strstr(errs[i].message, detail == 0 ? "failed" : "detail of the backend"));
        }
    }
    otok_store_close(store);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- records */

static int note(void *arg, const otok_record *record)
{
    (void)record;
    return --*(int *)arg == 0;
}

/* S1: what would be written behind the rows of a caller. */
START_TEST(records_that_nobody_asked_for_or_has_room_for_reach_no_caller)
{
    enum { MANY, BEHIND_THE_END, KEYS, LINKS, NO_KEYS, HEAD, NAME, BODY, NO_BODY, CASES };
    const otok_scan scan = {.size = sizeof scan, .key.index = OTOK_INDEX_REALM, .limit = 3};
    const otok_index_key keys[OTOK_MAX_KEYS + 1] = {{0}};
    const otok_id ids[OTOK_MAX_LINKS + 1] = {{{0}}};
    static const char text[OTOK_MAX_BODY + 1];
    for (int i = 0; i < 2 * CASES; i++) {
        struct backend backend;
        otok_store *store = open_fake(&backend);
        otok_record *record = &backend.emits;
        int left = i / 2 == BEHIND_THE_END ? 1 : 1000;
        otok_error err = {0};
        *record = (otok_record){.size = sizeof *record, .keys = keys, .links = ids, .kind = OTOK_RECORD_SESSION};
        backend.nemits = i / 2 == MANY ? 28 : i / 2 == BEHIND_THE_END ? 2 : 1;
        record->nkeys = i / 2 == KEYS ? OTOK_MAX_KEYS + 1 : i / 2 == NO_KEYS;
        record->keys = i / 2 == NO_KEYS ? NULL : keys;
        record->nlinks = i / 2 == LINKS ? OTOK_MAX_LINKS + 1 : 0;
        record->head = (otok_str){text, i / 2 == HEAD ? OTOK_MAX_HEAD + 1 : 0};
        record->client = (otok_str){text, i / 2 == NAME ? OTOK_MAX_NAME + 1 : 0};
        record->body = (otok_str){i / 2 == NO_BODY ? NULL : text, i / 2 == BODY ? sizeof text : i / 2 == NO_BODY};
        int rc = i % 2 == 0 ? otok_store_fetch(store, ids, 3, OTOK_FETCH_LINKS, note, &left, &err)
                            : otok_store_scan(store, &scan, note, &left, &err);
        ck_assert_msg(rc == OTOK_E_STATE && err.code == rc, "%d: %s: %s", i, otok_error_name(rc), err.message);
        ck_assert_int_eq(left, i / 2 == MANY ? 1000 - (i % 2 == 0 ? 27 : 3) : i / 2 == BEHIND_THE_END ? 0 : 1000);
        otok_store_close(store);
    }
}
END_TEST

START_TEST(record_copy_shares_nothing_with_its_source)
{
    static struct scene scene;
    uint8_t unaligned[1 + 3 * sizeof(otok_index_key)];
    scene_init(&scene);
    memset(scene.bytes, 'x', sizeof scene.bytes);
    otok_record source = scene.records[3].record;
    memcpy(unaligned + 1, scene.keys, 3 * sizeof(otok_index_key));
    source.keys = (const otok_index_key *)(const void *)(unaligned + 1);
    source.nkeys = 3;
    source.nlinks = 2;
    set_text(&source.realm, &scene, 3);
    set_text(&source.head, &scene, 24);
    set_text(&source.body, &scene, 65536);
    otok_record *copy = otok_record_copy(&source);
    ck_assert_ptr_nonnull(copy);
    memset(unaligned, 0xee, sizeof unaligned);
    scene.bytes[0] = scene.bytes[65535] = 'y';
    ck_assert_uint_eq((uintptr_t)copy->keys % _Alignof(otok_index_key), 0);
    ck_assert_uint_eq(copy->keys[2].index, OTOK_INDEX_MAX - 2);
    ck_assert_uint_eq(copy->id.bytes[15], 3);
    ck_assert_uint_eq(copy->body.len, 65536);
    ck_assert_int_eq(((const char *)copy->body.data)[65535], 'x');
    ck_assert_int_eq(((const char *)copy->realm.data)[0], 'x');
    ck_assert_uint_eq(copy->subject.len, 0);
    otok_record_free(copy);
}
END_TEST

START_TEST(record_copy_takes_nothing_and_refuses_sizes_that_overflow)
{
    otok_record record = {.size = sizeof record};
    otok_record *copy = otok_record_copy(&record);
    ck_assert_ptr_nonnull(copy);
    ck_assert_ptr_null(copy->keys);
    otok_record_free(copy);
    otok_record_free(NULL);
    ck_assert_ptr_null(otok_record_copy(NULL));
    record.nkeys = SIZE_MAX / 8;
    ck_assert_ptr_null(otok_record_copy(&record));
    record.nkeys = 0;
    record.body.len = SIZE_MAX - 8;
    ck_assert_ptr_null(otok_record_copy(&record));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, open_refuses_what_is_no_store_and_leaves_self_to_the_caller);
    tcase_add_test(tests, vtab_of_a_newer_header_is_accepted_and_copied);
    tcase_add_test(tests, backend_is_closed_once_with_the_last_reference);
    tcase_add_loop_test(tests, group_beyond_a_bound_never_reaches_the_backend, 0, GROUP_ROWS);
    tcase_add_test(tests, commit_of_no_groups_is_done_at_once);
    tcase_add_test(tests, fetch_beyond_a_bound_never_reaches_the_backend);
    tcase_add_test(tests, scan_beyond_a_bound_never_reaches_the_backend);
    tcase_add_test(tests, count_beyond_a_bound_never_reaches_the_backend);
    tcase_add_test(tests, what_a_backend_answers_becomes_a_result_of_the_contract);
    tcase_add_test(tests, errors_of_reads_are_passed_on_with_their_detail);
    tcase_add_test(tests, records_that_nobody_asked_for_or_has_room_for_reach_no_caller);
    tcase_add_test(tests, record_copy_shares_nothing_with_its_source);
    tcase_add_test(tests, record_copy_takes_nothing_and_refuses_sizes_that_overflow);
}

int main(void)
{
    return test_main("store", add);
}
