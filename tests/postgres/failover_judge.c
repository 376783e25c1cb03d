/*
 * failover_judge.c - whether what was acknowledged is so: every session is used, and every list holds those and no other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/failover.h"

#include <string.h>

static failover_session *find(failover_worker *worker, const char *id)
{
    for (size_t i = 0; i < worker->nsessions; i++) {
        if (strcmp(worker->sessions[i].id, id) == 0)
            return &worker->sessions[i];
    }
    return NULL;
}

/* What was in doubt is settled by the first use that is answered; a second shows that it is settled for good. */
static bool use(failover_node *node, failover_worker *worker, failover_session *session)
{
    int rc, answered = 0, uses = session->in_doubt || session->untried ? 2 : 1;
    for (int tries = 0; answered < uses && tries < 100; tries++) {
        rc = failover_refresh(node, worker, session);
        if (rc == FAILOVER_WRONG)
            return false;
        answered += !failover_is_in_doubt(rc) && !failover_is_untried(rc);
        if (session->state == FAILOVER_DEAD && answered > 0)
            return true;
    }
    if (answered < uses)
        (void)failover_wrong(worker, session, "a hundred tries", rc);
    return answered == uses;
}

static bool check_page(failover_worker *worker, const otok_page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        const failover_session *session = find(worker, page->sessions[i]->session_id);
        if (page->sessions[i]->state != OTOK_OK)
            continue;
        if (session == NULL)
            return failover_wrong(worker, NULL, "a session that nobody was told of", OTOK_OK) == OTOK_OK;
        if (session->state == FAILOVER_DEAD)
            return failover_wrong(worker, session, "a revoked session is listed", OTOK_OK) == OTOK_OK;
    }
    return true;
}

/* The retried issue of a once key made one session, not two: the list has no other than those that were acknowledged. */
static bool check_list(failover_node *node, failover_worker *worker, uint32_t subject)
{
    char name[32];
    otok_filter filter;
    otok_list_request request;
    otok_page *page = NULL;
    failover_subject(node->shared, worker, subject, name);
    otok_filter_init(&filter, sizeof filter);
    filter.subject = name;
    otok_list_request_init(&request, sizeof request);
    request.filter = &filter;
    request.limit = 1000;
    int rc = otok_list(node->service, &request, &page, NULL);
    bool good = rc == OTOK_OK ? check_page(worker, page) : failover_wrong(worker, NULL, "a list", rc) == OTOK_OK;
    if (good && page->next_cursor != NULL && page->count == request.limit)
        good = failover_wrong(worker, NULL, "more sessions than there can be", OTOK_OK) == OTOK_OK;
    otok_page_free(page);
    return good;
}

bool failover_judge(failover_node *node, failover_worker *worker)
{
    bool good = worker->wrong[0] == '\0';
    for (size_t i = 0; good && i < worker->nsessions; i++)
        good = use(node, worker, &worker->sessions[i]);
    for (uint32_t i = 0; good && i < FAILOVER_SUBJECTS; i++)
        good = check_list(node, worker, i);
    return good;
}
