/*
 * raw_lmdb.c - what plain LMDB does in a second with the same file: as many records of the same size in the same trees, copied
 * byte by byte, opened with the flags that suit it, and room on the disk allocated ahead.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session/rules.h"
#include "store/lmdb.h"

enum { ROOM_AHEAD = 256 << 20, DATABASES = 8, SWEEP_AFTER_DAYS = 40 };

struct bench_raw {
    char folder[BENCH_PATH];
    MDB_env *env;
    MDB_dbi records, links, index;
    otok_id *ids;
    uint64_t n;
    size_t value_size, body_size;
    uint8_t *value; /* of some session */
    uint64_t batch, births;
    otok_index_key client, subject; /* whose pages are read */
    bench_walk walks[BENCH_THREADS];
    MDB_txn *readers[BENCH_THREADS];
    MDB_cursor *rows[BENCH_THREADS];
};

int __real_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);

static void must(int rc, const char *what)
{
    if (rc == MDB_SUCCESS)
        return;
    (void)fprintf(stderr, "bench: %s: %s\n", what, mdb_strerror(rc));
    exit(EXIT_FAILURE);
}

/* ----------------------------------------------------------------------------------------------------- the copy */

static void copy_file(const char *from, const char *to)
{
    struct stat there;
    off_t done = 0;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bench_must(in >= 0 && out >= 0 && fstat(in, &there) == 0, to);
    while (done < there.st_size) {
        ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)(there.st_size - done), 0);
        bench_must(n > 0, "copy_file_range");
        done += n;
    }
    (void)fallocate(out, FALLOC_FL_KEEP_SIZE, there.st_size, ROOM_AHEAD); /* where the file system can */
    bench_must(fsync(out) == 0, to);
    (void)close(in);
    (void)close(out);
}

static void open_env(bench_raw *raw)
{
    MDB_txn *txn;
    must(mdb_env_create(&raw->env), "mdb_env_create");
    must(mdb_env_set_maxdbs(raw->env, DATABASES), "mdb_env_set_maxdbs");
    must(mdb_env_set_maxreaders(raw->env, 2 * BENCH_THREADS), "mdb_env_set_maxreaders");
    must(mdb_env_set_mapsize(raw->env, (size_t)1 << 40), "mdb_env_set_mapsize");
    must(__real_mdb_env_open(raw->env, raw->folder, MDB_NOTLS | MDB_NORDAHEAD, 0600), "mdb_env_open");
    must(mdb_txn_begin(raw->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    must(mdb_dbi_open(txn, "records", 0, &raw->records), "mdb_dbi_open");
    must(mdb_dbi_open(txn, "links", 0, &raw->links), "mdb_dbi_open");
    must(mdb_dbi_open(txn, "index", MDB_DUPSORT | MDB_DUPFIXED, &raw->index), "mdb_dbi_open");
    must(mdb_txn_commit(txn), "mdb_txn_commit");
}

/* The keys of the client with most sessions, and of the subject with many. */
static void keep_keys(bench_raw *raw, const otok_id *id, const MDB_val *value)
{
    otok_lmdb_view view;
    bench_must(otok_lmdb_decode(&view, id, value->mv_data, value->mv_size), "a record that cannot be read");
    for (size_t i = 0; i < view.record.nkeys; i++) {
        if (view.keys[i].index == OTOK_INDEX_CLIENT && otok_str_eq(view.record.client, otok_str_of(BENCH_CLIENT)))
            raw->client = view.keys[i];
        if (view.keys[i].index == OTOK_INDEX_SUBJECT && otok_str_eq(view.record.subject, otok_str_of(BENCH_HEAVY)))
            raw->subject = view.keys[i];
    }
    raw->body_size = view.record.body.len;
}

static void keep_value(bench_raw *raw, const MDB_val *value)
{
    raw->value_size = value->mv_size;
    raw->value = malloc(value->mv_size);
    bench_must(raw->value != NULL, "memory");
    memcpy(raw->value, value->mv_data, value->mv_size);
}

/* Every id, in order; every record has the same size, or a put would not be like one of the library. */
static void read_ids(bench_raw *raw)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_stat stat;
    must(mdb_txn_begin(raw->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    must(mdb_stat(txn, raw->records, &stat), "mdb_stat");
    must(mdb_cursor_open(txn, raw->records, &cursor), "mdb_cursor_open");
    raw->ids = malloc(stat.ms_entries * sizeof raw->ids[0]);
    for (raw->n = 0; mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == MDB_SUCCESS; raw->n++) {
        memcpy(raw->ids[raw->n].bytes, key.mv_data, sizeof raw->ids[0].bytes);
        if (raw->n == 0)
            keep_value(raw, &value);
        if (raw->client.index == 0 || raw->subject.index == 0)
            keep_keys(raw, &raw->ids[raw->n], &value);
        bench_must(value.mv_size == raw->value_size, "records are of different sizes");
    }
    bench_must(raw->n == stat.ms_entries && raw->client.index != 0 && raw->subject.index != 0, "records are missing");
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
}

bench_raw *bench_raw_open(const bench_world *world, const char *folder)
{
    char from[BENCH_PATH + 16], to[BENCH_PATH + 16];
    bench_raw *raw = calloc(1, sizeof *raw);
    bench_must(raw != NULL && world->store == NULL, "a copy of an open store");
    (void)snprintf(raw->folder, sizeof raw->folder, "%.4080s/raw", folder);
    (void)snprintf(from, sizeof from, "%s/data.mdb", world->folder);
    (void)snprintf(to, sizeof to, "%s/data.mdb", raw->folder);
    bench_must(mkdir(raw->folder, 0700) == 0, raw->folder);
    copy_file(from, to);
    open_env(raw);
    read_ids(raw);
    raw->batch = 1;
    for (size_t i = 0; i < BENCH_THREADS; i++)
        raw->walks[i] = bench_walk_of(raw->n, i * raw->n / BENCH_THREADS);
    return raw;
}

static void close_env(bench_raw *raw)
{
    for (size_t i = 0; i < BENCH_THREADS; i++) {
        if (raw->rows[i] != NULL)
            mdb_cursor_close(raw->rows[i]);
        mdb_txn_abort(raw->readers[i]);
        raw->rows[i] = NULL;
        raw->readers[i] = NULL;
    }
    mdb_env_close(raw->env);
}

void bench_raw_close(bench_raw *raw)
{
    char path[BENCH_PATH + 16];
    close_env(raw);
    (void)snprintf(path, sizeof path, "%s/data.mdb", raw->folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", raw->folder);
    (void)unlink(path);
    (void)rmdir(raw->folder);
    free(raw->value);
    free(raw->ids);
    free(raw);
}

double bench_raw_reopen(bench_raw *raw)
{
    close_env(raw);
    int64_t begun_us = otok_clock_monotonic_us();
    open_env(raw);
    return (double)(otok_clock_monotonic_us() - begun_us);
}

size_t bench_raw_value_size(const bench_raw *raw)
{
    return raw->value_size;
}

size_t bench_raw_body_size(const bench_raw *raw)
{
    return raw->body_size;
}

/* -------------------------------------------------------------------------------------------------------- writes */

static const otok_id *pick(bench_raw *raw, size_t thread)
{
    return &raw->ids[bench_walk_next(&raw->walks[thread])];
}

void bench_raw_batch(bench_raw *raw, double puts)
{
    raw->batch = puts > 1 ? (uint64_t)(puts + 0.5) : 1;
}

uint64_t bench_raw_put(void *arg, size_t thread)
{
    bench_raw *raw = arg;
    MDB_txn *txn;
    must(mdb_txn_begin(raw->env, NULL, 0, &txn), "mdb_txn_begin");
    for (uint64_t i = 0; i < raw->batch; i++) {
        otok_id id = *pick(raw, thread);
        MDB_val key = {sizeof id.bytes, id.bytes}, value = {raw->value_size, raw->value};
        must(mdb_put(txn, raw->records, &key, &value, 0), "mdb_put");
    }
    must(mdb_txn_commit(txn), "mdb_txn_commit");
    return raw->batch;
}

static void put_entry(bench_raw *raw, MDB_txn *txn, const otok_record *record, const otok_index_key *index_key)
{
    uint8_t key_bytes[OTOK_LMDB_KEY_SIZE], entry[OTOK_LMDB_ENTRY_SIZE];
    MDB_val key = {sizeof key_bytes, key_bytes}, value = {sizeof entry, entry};
    otok_lmdb_index_key(key_bytes, index_key);
    otok_lmdb_index_entry(entry, index_key->index == OTOK_INDEX_SWEEP ? record->sweep_us : record->created_us,
                          &record->id);
    int rc = mdb_put(txn, raw->index, &key, &value, MDB_APPENDDUP);
    must(rc == MDB_KEYEXIST ? mdb_put(txn, raw->index, &key, &value, 0) : rc, "mdb_put");
}

/* A session like one that is there, later than all, with a sid of its own: the puts of an issue, and nothing else. */
static void put_birth(bench_raw *raw, MDB_txn *txn, size_t thread)
{
    static uint8_t bytes[OTOK_LMDB_MAX_VALUE];
    otok_lmdb_view view;
    otok_id old = *pick(raw, thread), id = old;
    MDB_val key = {sizeof old.bytes, old.bytes}, value;
    must(mdb_get(txn, raw->records, &key, &value), "mdb_get");
    bench_must(otok_lmdb_decode(&view, &old, value.mv_data, value.mv_size), "a record that cannot be read");
    uint64_t now_ms = otok_get_u48(raw->ids[raw->n - 1].bytes) + ++raw->births;
    otok_put_u48(id.bytes, now_ms);
    view.record.id = id;
    view.record.created_us = (int64_t)now_ms * OTOK_US_PER_MS;
    view.record.sweep_us = view.record.created_us + SWEEP_AFTER_DAYS * OTOK_DAY_US;
    for (size_t i = 0; i < view.record.nkeys; i++) {
        if (view.keys[i].index == OTOK_INDEX_SID) {
            memcpy(view.keys[i].digest, id.bytes + 6, 8); /* out of order */
            memcpy(view.links[i].bytes, view.keys[i].digest, sizeof view.links[i].bytes);
        }
    }
    value = (MDB_val){otok_lmdb_encode(bytes, &view.record, view.record.created_us), bytes};
    key = (MDB_val){sizeof id.bytes, id.bytes};
    must(mdb_put(txn, raw->records, &key, &value, MDB_APPEND), "mdb_put");
    for (size_t i = 0; i < view.record.nkeys; i++)
        put_entry(raw, txn, &view.record, &view.keys[i]);
}

uint64_t bench_raw_issue(void *arg, size_t thread)
{
    bench_raw *raw = arg;
    MDB_txn *txn;
    must(mdb_txn_begin(raw->env, NULL, 0, &txn), "mdb_txn_begin");
    for (uint64_t i = 0; i < raw->batch; i++)
        put_birth(raw, txn, thread);
    must(mdb_txn_commit(txn), "mdb_txn_commit");
    return raw->batch;
}

/* --------------------------------------------------------------------------------------------------------- reads */

static MDB_txn *renew(bench_raw *raw, size_t thread)
{
    if (raw->readers[thread] == NULL)
        must(mdb_txn_begin(raw->env, NULL, MDB_RDONLY, &raw->readers[thread]), "mdb_txn_begin");
    else
        must(mdb_txn_renew(raw->readers[thread]), "mdb_txn_renew");
    return raw->readers[thread];
}

uint64_t bench_raw_get(void *arg, size_t thread)
{
    bench_raw *raw = arg;
    MDB_txn *txn = renew(raw, thread);
    otok_id id = *pick(raw, thread);
    MDB_val key = {sizeof id.bytes, id.bytes}, value;
    must(mdb_get(txn, raw->records, &key, &value), "mdb_get");
    mdb_txn_reset(txn);
    return 1;
}

static MDB_cursor *rows_of(bench_raw *raw, size_t thread, const otok_index_key *index_key, MDB_val *row)
{
    uint8_t bytes[OTOK_LMDB_KEY_SIZE];
    MDB_val key = {sizeof bytes, bytes};
    MDB_txn *txn = renew(raw, thread);
    if (raw->rows[thread] == NULL)
        must(mdb_cursor_open(txn, raw->index, &raw->rows[thread]), "mdb_cursor_open");
    else
        must(mdb_cursor_renew(txn, raw->rows[thread]), "mdb_cursor_renew");
    otok_lmdb_index_key(bytes, index_key);
    must(mdb_cursor_get(raw->rows[thread], &key, row, MDB_SET_KEY), "MDB_SET_KEY");
    return raw->rows[thread];
}

static uint64_t page_of(bench_raw *raw, size_t thread, const otok_index_key *index_key)
{
    MDB_val key, row, value;
    MDB_cursor *rows = rows_of(raw, thread, index_key, &row);
    must(mdb_cursor_get(rows, &key, &row, MDB_LAST_DUP), "MDB_LAST_DUP");
    for (int n = 0; n < BENCH_PAGE; n++) {
        MDB_val id = {sizeof(otok_id), (uint8_t *)row.mv_data + OTOK_LMDB_ENTRY_SIZE - sizeof(otok_id)};
        must(mdb_get(raw->readers[thread], raw->records, &id, &value), "mdb_get");
        if (mdb_cursor_get(rows, &key, &row, MDB_PREV_DUP) != MDB_SUCCESS)
            bench_must(n == BENCH_PAGE - 1, "there are fewer sessions than fill a page");
    }
    mdb_txn_reset(raw->readers[thread]);
    return 1;
}

uint64_t bench_raw_page_of_client(void *raw, size_t thread)
{
    return page_of(raw, thread, &((bench_raw *)raw)->client);
}

uint64_t bench_raw_page_of_subject(void *raw, size_t thread)
{
    return page_of(raw, thread, &((bench_raw *)raw)->subject);
}

uint64_t bench_raw_count(void *arg, size_t thread)
{
    bench_raw *raw = arg;
    size_t n;
    MDB_val row;
    must(mdb_cursor_count(rows_of(raw, thread, &raw->client, &row), &n), "mdb_cursor_count");
    mdb_txn_reset(raw->readers[thread]);
    return 1;
}

static uint64_t pages_of(const MDB_stat *stat)
{
    return stat->ms_branch_pages + stat->ms_leaf_pages + stat->ms_overflow_pages;
}

/* The pages of lists of duplicates are not in mdb_stat: the index is what nothing else is. */
bench_pages bench_raw_pages(bench_raw *raw)
{
    MDB_stat records, links, index;
    MDB_envinfo info;
    MDB_val key, value;
    MDB_cursor *cursor;
    MDB_txn *txn;
    bench_pages pages = {0};
    must(mdb_txn_begin(raw->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    must(mdb_stat(txn, raw->records, &records), "mdb_stat");
    must(mdb_stat(txn, raw->links, &links), "mdb_stat");
    must(mdb_stat(txn, raw->index, &index), "mdb_stat");
    must(mdb_env_info(raw->env, &info), "mdb_env_info");
    must(mdb_cursor_open(txn, 0, &cursor), "mdb_cursor_open"); /* 0: the list of free pages */
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == MDB_SUCCESS) {
        size_t n;
        memcpy(&n, value.mv_data, sizeof n);
        pages.unused += n;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    pages.records = pages_of(&records);
    pages.links = pages_of(&links);
    pages.index_entries = index.ms_entries;
    pages.all = info.me_last_pgno + 1;
    pages.page_size = records.ms_psize;
    return pages;
}
