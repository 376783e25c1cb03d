/*
 * import.c - lines of JSON into a store (S3), as export.c writes them.
 *
 * File and store are both in the order of ids, and are gone through side by side: so what is there already is found without
 * remembering anything, and an import that was ended midway is begun again from the start.  Each record is a group of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/transfer.h"

#include <string.h>

enum { BATCH = 256 };

void otok_import_init(otok_import *import, size_t size)
{
    otok_struct_init(import, size);
}

/* An import under way. */
typedef struct importer {
    otok_import import;
    otok_store *store;
    const otok_watch *watch;
    otok_transfer *result;

    char *text; /* of OTOK_LINE_MAX bytes: what was read and is not done with, from `at` to `len` */
    size_t at, len;
    bool end;
    uint64_t number; /* of the line */
    otok_sum *sum;
    otok_line *line; /* the record of the line */
    otok_id last;    /* of the line before */

    otok_walk walk;
    otok_record *there; /* the next record of the store; NULL: there is none any more */

    otok_write writes[BATCH];
    otok_group groups[BATCH];
    otok_record *held[BATCH]; /* what the writes are about */
    uint64_t *counts[BATCH];  /* what they count for */
    size_t n;
} importer;

/* ---------------------------------------------------------------------------------------------------- lines */

static int fill(importer *i, otok_error *err)
{
    size_t len = 0;
    memmove(i->text, i->text + i->at, i->len - i->at);
    i->len -= i->at;
    i->at = 0;
    if (i->len == OTOK_LINE_MAX)
        return otok_fail(err, OTOK_E_FORMAT, "line %llu is longer than %d bytes", (unsigned long long)i->number + 1,
                         OTOK_LINE_MAX);
    if (i->import.read(i->import.user, i->text + i->len, OTOK_LINE_MAX - i->len, &len) != 0 ||
        len > OTOK_LINE_MAX - i->len)
        return otok_fail(err, OTOK_E_CALLBACK, "import.read failed");
    i->end = len == 0;
    i->len += len;
    return OTOK_OK;
}

/* The next line, with its end; it lives until the next call. */
static int next_line(importer *i, otok_str *out, otok_error *err)
{
    int rc = OTOK_OK;
    const char *end;
    while ((end = memchr(i->text + i->at, '\n', i->len - i->at)) == NULL) {
        if (i->end)
            return otok_fail(err, OTOK_E_FORMAT, "the file is cut off after line %llu", (unsigned long long)i->number);
        rc = fill(i, err);
        if (rc != OTOK_OK)
            return rc;
    }
    *out = (otok_str){i->text + i->at, (size_t)(end - i->text) + 1 - i->at};
    i->at += out->len;
    i->number++;
    return OTOK_OK;
}

static int next_json(importer *i, otok_str *line, otok_json **out, otok_error *err)
{
    otok_error why = {0};
    *out = NULL;
    int rc = next_line(i, line, err);
    if (rc != OTOK_OK)
        return rc;
    /* White space around it is not ours: found here, and not by the sum, when everything is written. */
    if (line->len < 3 || *(const char *)line->data != '{' || ((const char *)line->data)[line->len - 2] != '}')
        return otok_fail(err, OTOK_E_FORMAT, "line %llu is not one object of JSON from its beginning to its end",
                         (unsigned long long)i->number);
    rc = otok_json_parse_long(line->data, line->len - 1, OTOK_LINE_MAX, "it", out, &why);
    return rc == OTOK_OK ? OTOK_OK
                         : otok_fail(err, rc, "line %llu: %.400s", (unsigned long long)i->number, why.message);
}

static int read_head(importer *i, otok_error *err)
{
    otok_str line = {NULL, 0};
    otok_json *json;
    int64_t version = 0;
    int rc = next_json(i, &line, &json, err);
    if (rc != OTOK_OK)
        return rc;
    const char *format = otok_json_text(json, "format");
    if (format == NULL || strcmp(format, OTOK_TRANSFER_FORMAT) != 0)
        rc = otok_fail(err, OTOK_E_FORMAT, "line 1 does not say that this is an export of records");
    else if (!otok_json_integer(json, "version", &version) || version != OTOK_TRANSFER_VERSION)
        rc = otok_fail(err, OTOK_E_FORMAT, "line 1: a version that is not known here");
    else
        rc = otok_sum_add(i->sum, line.data, line.len, err);
    otok_json_free(json);
    return rc;
}

/* The last line: what it says, and that nothing follows. */
static int read_tail(importer *i, const otok_json *json, otok_error *err)
{
    uint8_t sum[OTOK_SHA256_SIZE];
    char text[OTOK_TRANSFER_SUM_CHARS + 1];
    int64_t records = 0;
    const char *said = otok_json_text(json, "sha256");
    int rc = otok_sum_end(i->sum, sum, err);
    if (rc != OTOK_OK)
        return rc;
    otok_transfer_print_sum(sum, text);
    if (!otok_json_integer(json, "records", &records) || (uint64_t)records != i->result->records)
        return otok_fail(err, OTOK_E_FORMAT, "the last line says another number of records than there are");
    if (said == NULL || strcmp(said, text) != 0)
        return otok_fail(err, OTOK_E_FORMAT, "the last line has another SHA-256 than the lines before it");
    while (rc == OTOK_OK && i->at == i->len && !i->end)
        rc = fill(i, err);
    if (rc == OTOK_OK && i->at != i->len)
        rc = otok_fail(err, OTOK_E_FORMAT, "something follows behind the last line");
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- writes */

static int commit(importer *i, otok_error *err)
{
    otok_error why = {0};
    int rc = otok_store_commit(i->store, i->groups, i->n, &why);
    if (rc != OTOK_OK)
        return otok_fail_errno(err, rc, why.system_errno, "%s", why.message);
    for (size_t k = 0; k < i->n; k++) {
        const otok_group *group = &i->groups[k];
        if (group->result == OTOK_OK)
            ++*i->counts[k];
        else if (rc == OTOK_OK && group->result == OTOK_E_CONFLICT)
            rc = otok_fail(err, OTOK_E_CONFLICT, "the store was changed meanwhile: begin again");
        else if (rc == OTOK_OK)
            rc = otok_fail_errno(err, group->result, group->error.system_errno, "%s", group->error.message);
    }
    return rc;
}

static int flush(importer *i, otok_error *err)
{
    int rc = OTOK_OK;
    if (i->n != 0 && i->import.dry_run == 0)
        rc = commit(i, err);
    for (size_t k = 0; k < i->n; k++) {
        if (i->import.dry_run != 0)
            ++*i->counts[k];
        otok_record_free(i->held[k]);
    }
    i->n = 0;
    return rc;
}

/* `record` is the importer's from here on. */
static int put(importer *i, uint32_t op, uint64_t expect, otok_record *record, uint64_t *count, otok_error *err)
{
    size_t k = i->n++;
    i->held[k] = record;
    i->counts[k] = count;
    i->writes[k] = (otok_write){.op = op, .expect = expect, .record = record};
    i->groups[k] = (otok_group){.writes = &i->writes[k], .n = 1};
    return i->n == BATCH ? flush(i, err) : OTOK_OK;
}

static int put_copy(importer *i, uint32_t op, uint64_t expect, uint64_t version, uint64_t *count, otok_error *err)
{
    otok_record *copy = otok_record_copy(&i->line->record);
    if (copy == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a record");
    copy->version = version;
    return put(i, op, expect, copy, count, err);
}

/* ---------------------------------------------------------------------------------------------------- one record */

static bool has_same_bytes(const void *a, const void *b, size_t na, size_t nb, size_t size)
{
    return na == nb && (na == 0 || memcmp(a, b, na * size) == 0);
}

/* All but the version, which a store may have made anew. */
static bool is_same(const otok_record *a, const otok_record *b)
{
    return a->kind == b->kind && a->created_us == b->created_us && a->sweep_us == b->sweep_us &&
           has_same_bytes(a->keys, b->keys, a->nkeys, b->nkeys, sizeof *a->keys) &&
           has_same_bytes(a->links, b->links, a->nlinks, b->nlinks, sizeof *a->links) &&
           otok_str_eq(a->realm, b->realm) && otok_str_eq(a->subject, b->subject) &&
           otok_str_eq(a->client, b->client) && otok_str_eq(a->head, b->head) && otok_str_eq(a->body, b->body);
}

/* A PUT leaves created_us and, but for a tombstone, the kind: where those differ, the record is made anew. */
static int replace(importer *i, otok_error *err)
{
    const otok_record *wanted = &i->line->record;
    uint64_t version = i->there->version, removed = 0;
    bool same_birth = i->there->created_us == wanted->created_us &&
                      (i->there->kind == wanted->kind || wanted->kind == OTOK_RECORD_TOMBSTONE);
    if (same_birth)
        return put_copy(i, OTOK_WRITE_PUT, version, version + 1, &i->result->replaced, err);
    int rc = put_copy(i, OTOK_WRITE_DELETE, version, version, &removed, err);
    if (rc == OTOK_OK)
        rc = flush(i, err);
    return rc == OTOK_OK ? put_copy(i, OTOK_WRITE_INSERT, 0, wanted->version, &i->result->replaced, err) : rc;
}

static int meet(importer *i, otok_error *err)
{
    if (is_same(i->there, &i->line->record)) {
        i->result->same++;
        return OTOK_OK;
    }
    if (i->import.mode == OTOK_IMPORT_ADD)
        return otok_fail(err, OTOK_E_CONFLICT, "line %llu: the store has this record, and it is another",
                         (unsigned long long)i->number);
    return replace(i, err);
}

static int step(importer *i, otok_error *err)
{
    otok_record_free(i->there);
    return otok_walk_next(&i->walk, &i->there, err);
}

/* What the store has before `id`, or to its end, and the file has not. */
static int pass(importer *i, const otok_id *id, otok_error *err)
{
    int rc = OTOK_OK;
    while (rc == OTOK_OK && i->there != NULL && (id == NULL || otok_id_compare(&i->there->id, id) < 0)) {
        if (i->import.mode == OTOK_IMPORT_MIRROR) {
            otok_record *extra = i->there;
            i->there = NULL;
            rc = put(i, OTOK_WRITE_DELETE, extra->version, extra, &i->result->removed, err);
        }
        if (rc == OTOK_OK)
            rc = step(i, err);
    }
    return rc;
}

/* A record that no store takes would fail the whole batch, and nobody could say which it was. */
static int parse_record(importer *i, const otok_json *json, otok_error *err)
{
    otok_error why = {0};
    size_t first;
    const otok_write write = {.op = OTOK_WRITE_INSERT, .record = &i->line->record};
    const otok_group group = {.writes = &write, .n = 1};
    int rc = otok_line_parse(json, i->line, &why);
    if (rc != OTOK_OK)
        return otok_fail(err, rc, "line %llu: %.400s", (unsigned long long)i->number, why.message);
    const char *fault = otok_group_fault(&group, &first);
    if (fault != NULL)
        return otok_fail(err, OTOK_E_FORMAT, "line %llu: %s", (unsigned long long)i->number, fault);
    return OTOK_OK;
}

static int import_record(importer *i, const otok_json *json, otok_error *err)
{
    const otok_record *record = &i->line->record;
    int rc = parse_record(i, json, err);
    if (rc != OTOK_OK)
        return rc;
    if (i->result->records != 0 && otok_id_compare(&i->last, &record->id) >= 0)
        return otok_fail(err, OTOK_E_FORMAT, "line %llu: not in the order of ids", (unsigned long long)i->number);
    i->last = record->id;
    i->result->records++;

    rc = pass(i, &record->id, err);
    if (rc != OTOK_OK)
        return rc;
    if (i->there == NULL || otok_id_compare(&i->there->id, &record->id) != 0)
        return put_copy(i, OTOK_WRITE_INSERT, 0, record->version, &i->result->inserted, err);
    rc = meet(i, err);
    return rc == OTOK_OK ? step(i, err) : rc;
}

/* ---------------------------------------------------------------------------------------------------- the whole */

static int import_line(importer *i, bool *last, otok_error *err)
{
    otok_str line = {NULL, 0};
    otok_json *json;
    int rc = next_json(i, &line, &json, err);
    if (rc != OTOK_OK)
        return rc;
    *last = otok_json_member(json, "sha256") != NULL;
    if (*last)
        rc = read_tail(i, json, err);
    else
        rc = otok_sum_add(i->sum, line.data, line.len, err);
    if (rc == OTOK_OK && !*last)
        rc = import_record(i, json, err);
    otok_json_free(json);
    if (rc == OTOK_OK && !*last && i->result->records % OTOK_TRANSFER_TELL == 0)
        rc = otok_watch_progress(i->watch, i->result->records, 0, err);
    return rc;
}

static int import_all(importer *i, otok_error *err)
{
    bool last = false;
    i->text = otok_malloc(OTOK_LINE_MAX);
    i->line = otok_malloc(sizeof *i->line);
    if (i->text == NULL || i->line == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a line");
    int rc = otok_sum_new(&i->sum, err);
    if (rc == OTOK_OK)
        rc = read_head(i, err);
    if (rc == OTOK_OK)
        rc = step(i, err);
    while (rc == OTOK_OK && !last)
        rc = import_line(i, &last, err);
    if (rc == OTOK_OK && i->import.mode == OTOK_IMPORT_MIRROR)
        rc = pass(i, NULL, err);
    /* What came before a line that is no good is good: it stays. */
    int written = flush(i, rc == OTOK_OK ? err : NULL);
    return rc == OTOK_OK ? written : rc;
}

static void end(importer *i)
{
    otok_walk_end(&i->walk);
    otok_record_free(i->there);
    otok_sum_free(i->sum);
    otok_free(i->line);
    otok_free(i->text);
    otok_free(i);
}

static int read_arguments(otok_store *store, const otok_import *in, const otok_transfer *result, otok_import *out,
                          otok_error *err)
{
    if (store == NULL)
        return otok_fail(err, OTOK_E_INVALID, "store is required");
    int rc = otok_struct_lent(result, "otok_transfer", err);
    if (rc == OTOK_OK)
        rc = otok_struct_read(out, sizeof *out, in, sizeof(size_t), "otok_import", err);
    if (rc != OTOK_OK)
        return rc;
    if (out->read == NULL)
        return otok_fail(err, OTOK_E_INVALID, "import.read is required");
    const otok_choice_rule choices[] = {{out->mode, OTOK_IMPORT_MIRROR, "import.mode"},
                                        {out->dry_run, 1, "import.dry_run"}};
    return otok_choices_check(choices, sizeof choices / sizeof choices[0], OTOK_E_INVALID, err);
}

int otok_store_import(otok_store *store, const otok_import *import, const otok_watch *watch, otok_transfer *result,
                      otok_error *err)
{
    otok_transfer done = {.size = sizeof done};
    otok_import known;
    otok_watch own;
    int rc = read_arguments(store, import, result, &known, err);
    if (rc == OTOK_OK)
        rc = otok_watch_read(watch, &own, err);
    if (rc != OTOK_OK)
        return rc;
    importer *i = otok_calloc(1, sizeof *i);
    if (i == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for an import");
    i->import = known;
    i->store = i->walk.store = store;
    i->watch = &own;
    i->result = &done;
    rc = import_all(i, err);
    end(i);
    otok_struct_give(result, &done, sizeof done);
    return rc;
}
