/*
 * change.c - commits: what is done at once, in the outbox with it, and told of it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

/* A change on its way: its group, with what the outbox adds. */
struct pending {
    otok_write writes[OTOK_CHANGE_WRITES + 1];
    otok_outbox_entry entry;
};

static int enter(otok_service *service, otok_outbox *outbox, const otok_change *change, struct pending *pending,
                 otok_group *group, otok_error *err)
{
    memcpy(pending->writes, change->writes, change->nwrites * sizeof *change->writes);
    *group = (otok_group){.writes = pending->writes, .n = change->nwrites};
    int rc = otok_outbox_enter(service, outbox, change, &pending->entry, err);
    if (rc == OTOK_OK)
        pending->writes[group->n++] = pending->entry.write;
    return rc;
}

static void tell(const otok_service *service, const otok_change *change, const otok_outbox_entry *entry)
{
    char id[OTOK_EVENT_ID_CHARS + 1];
    bool held = entry != NULL && entry->held;
    if (entry != NULL && !held)
        otok_count_one(service, OTOK_COUNT_OUTBOX_OVERFLOW);
    for (size_t i = 0; i < change->nnotices; i++) {
        if (held)
            otok_event_id_print(&entry->record, i, id);
        otok_notice_send(service, &change->notices[i], held ? id : NULL);
    }
}

/* The result of changes that the store was not asked for. */
enum { NOT_ASKED = 1 };

/* The first trouble of a commit; a conflict is none where each change stands on its own. */
static int first_trouble(const otok_change *changes, const otok_group *groups, size_t n, otok_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (changes[i].result != OTOK_OK && changes[i].result != OTOK_E_CONFLICT)
            return otok_error_set(err, changes[i].result, groups[i].error.system_errno, groups[i].error.message);
    }
    return OTOK_OK;
}

/* To the end: one that failed says nothing about the others. */
static int settle(otok_change *changes, const otok_group *groups, size_t n, otok_error *err)
{
    for (size_t i = 0; i < n; i++)
        changes[i].result = groups[i].result;
    return first_trouble(changes, groups, n, err);
}

/* ------------------------------------------------------------------------------------------------------ without an outbox */

static int commit_plain(otok_service *service, otok_change *changes, otok_group *groups, size_t n, otok_error *err)
{
    for (size_t i = 0; i < n; i++)
        groups[i] = (otok_group){.writes = changes[i].writes, .n = changes[i].nwrites};
    int rc = otok_store_commit(service->store, groups, n, err);
    int first = settle(changes, groups, n, rc == OTOK_OK ? err : NULL);
    for (size_t i = 0; i < n; i++) {
        if (changes[i].result == OTOK_OK)
            tell(service, &changes[i], NULL);
    }
    return rc != OTOK_OK ? rc : first;
}

/* --------------------------------------------------------------------------------------------------------- with an outbox */

static int commit_entered(otok_service *service, otok_outbox *outbox, otok_change *changes, struct pending *pending,
                          otok_group *groups, size_t n, otok_error *err)
{
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < n; i++) {
        if (changes[i].nnotices != 0)
            rc = enter(service, outbox, &changes[i], &pending[i], &groups[i], err);
        else
            groups[i] = (otok_group){.writes = changes[i].writes, .n = changes[i].nwrites};
    }
    if (rc != OTOK_OK)
        return rc;
    rc = otok_store_commit(service->store, groups, n, err);
    int first = settle(changes, groups, n, rc == OTOK_OK ? err : NULL);
    for (size_t i = 0; i < n; i++) {
        if (changes[i].result == OTOK_OK)
            tell(service, &changes[i], changes[i].nnotices != 0 ? &pending[i].entry : NULL);
    }
    return rc != OTOK_OK ? rc : first;
}

static int commit_how(otok_service *service, int how, otok_change *changes, struct pending *pending, otok_group *groups,
                      size_t n, otok_error *err)
{
    otok_outbox outbox;
    int rc = otok_outbox_begin(service, how, n, &outbox, err);
    if (rc == OTOK_OK)
        rc = commit_entered(service, &outbox, changes, pending, groups, n, err);
    otok_outbox_end(&outbox);
    return rc;
}

/* Whether the outbox was in the way of a change, or may have been: the next way to try, WHILE_ROOM for none. */
static int how_again(const otok_change *change, const struct pending *pending, int before)
{
    bool full = change->result == OTOK_E_FULL && pending->entry.held;
    bool contended = change->result == OTOK_E_CONFLICT && !pending->entry.held;
    if (change->nnotices == 0 || (!full && !contended))
        return OTOK_OUTBOX_WHILE_ROOM;
    return before == OTOK_OUTBOX_WHILE_ROOM ? OTOK_OUTBOX_MARKER
           : full                           ? OTOK_OUTBOX_WHILE_ROOM
                                            : OTOK_OUTBOX_NEVERTHELESS;
}

/*
 * The outbox never stands in the way of a change: where the disk has no room for events, the marker takes their place; where others
 * have just made the marker, it is read again; where they keep changing it, the events go in beyond the limit.
 */
static int commit_again(otok_service *service, otok_change *change, struct pending *pending, otok_group *group,
                        otok_error *err)
{
    int how = how_again(change, pending, OTOK_OUTBOX_WHILE_ROOM), rc = OTOK_OK;
    while (how != OTOK_OUTBOX_WHILE_ROOM && (rc == OTOK_OK || rc == OTOK_E_FULL)) {
        otok_outbox_entry_free(&pending->entry);
        *pending = (struct pending){0};
        rc = commit_how(service, how, change, pending, group, 1, err);
        how = how == OTOK_OUTBOX_NEVERTHELESS ? OTOK_OUTBOX_WHILE_ROOM : how_again(change, pending, how);
    }
    return rc == OTOK_E_FULL ? OTOK_OK : rc; /* which the group's result says */
}

static int commit_all_again(otok_service *service, otok_change *changes, struct pending *pending, otok_group *groups,
                            size_t n, otok_error *err)
{
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < n; i++)
        rc = commit_again(service, &changes[i], &pending[i], &groups[i], err);
    return rc == OTOK_OK ? first_trouble(changes, groups, n, err) : rc;
}

static int commit_with_outbox(otok_service *service, otok_change *changes, otok_group *groups, size_t n,
                              otok_error *err)
{
    struct pending *pending = otok_calloc(n, sizeof *pending);
    if (pending == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    int rc = commit_how(service, OTOK_OUTBOX_WHILE_ROOM, changes, pending, groups, n, err);
    if (changes[0].result != NOT_ASKED) /* a trouble of one is nothing to the others */
        rc = commit_all_again(service, changes, pending, groups, n, err);
    for (size_t i = 0; i < n; i++)
        otok_outbox_entry_free(&pending[i].entry);
    otok_free(pending);
    return rc;
}

static bool needs_outbox(const otok_service *service, const otok_change *changes, size_t n)
{
    bool notices = false;
    for (size_t i = 0; i < n; i++)
        notices |= changes[i].nnotices != 0;
    return service->outbox_limit != 0 && notices;
}

/* One time for what is told of it, in the outbox and after it. */
static void stamp(const otok_service *service, otok_change *change)
{
    for (size_t i = 0; i < change->nnotices; i++) {
        if (change->notices[i].event.time_us == 0)
            change->notices[i].event.time_us = otok_service_now(service);
    }
}

/* Those that the store was never asked for have the reason why as their result. */
static int commit(otok_service *service, otok_change *changes, otok_group *groups, size_t n, otok_error *err)
{
    for (size_t i = 0; i < n; i++) {
        changes[i].result = NOT_ASKED;
        stamp(service, &changes[i]);
    }
    int rc = needs_outbox(service, changes, n) ? commit_with_outbox(service, changes, groups, n, err)
                                               : commit_plain(service, changes, groups, n, err);
    for (size_t i = 0; i < n; i++) {
        if (changes[i].result == NOT_ASKED)
            changes[i].result = rc;
    }
    return rc;
}

int otok_changes_commit(otok_service *service, otok_change *changes, size_t n, otok_error *err)
{
    otok_group *groups = otok_calloc(n, sizeof *groups);
    if (groups == NULL) {
        for (size_t i = 0; i < n; i++)
            changes[i].result = OTOK_E_NOMEM;
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    }
    int rc = commit(service, changes, groups, n, err);
    otok_free(groups);
    return rc;
}

int otok_change_commit(otok_service *service, otok_change *change, otok_error *err)
{
    otok_group group;
    int rc = commit(service, change, &group, 1, err);
    if (rc == OTOK_OK && change->result == OTOK_E_CONFLICT)
        rc = otok_error_set(err, OTOK_E_CONFLICT, 0, group.error.message);
    return rc;
}

int otok_service_write(otok_service *service, uint32_t op, uint64_t expect, const otok_record *record, otok_error *err)
{
    const otok_write write = {op, expect, record};
    otok_change change = {.writes = &write, .nwrites = 1};
    return otok_change_commit(service, &change, err);
}
