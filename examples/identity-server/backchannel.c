/*
 * backchannel.c - tells clients that a login has ended (OpenID Connect Back-Channel Logout 1.0), by a thread of its own, so that no
 * browser waits for a client that is slow.
 *
 * What waits is in memory: a restart forgets it, and so does a client that does not answer three times.  Its tokens are dead all the same.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>
#include <curl/curl.h>

#include "server.h"

enum {
    MOST_NOTICES = 1000,
    MOST_OF_ONE = 100,
    TRIES = 3,
    PAUSE_S = 2,
    TIMEOUT_MS = 5000,
    MOST_ANSWER = 65536,
    TOKEN_LIVES_S = 120
};
static const int64_t SECOND_US = 1000000;

/* What one client is told. */
typedef struct notice {
    struct notice *next;
    const client *client;
    const user *user;
    char *sid; /* NULL: all logins of the user */
    char *jti; /* the same at each try */
    bool revoke_offline_access;
    int tries;
    int64_t not_before_us;
} notice;

struct notices {
    server *server;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more; /* waits by the wall clock, as not_before_us is */
    notice *first, **last;
    size_t count;
    atomic_bool stop;
};

static void notice_free(notice *n)
{
    if (n != NULL) {
        free(n->sid);
        free(n->jti);
    }
    free(n);
}

/* ---------------------------------------------------------------------------------------------------- the logout token */

/* Section 2.4: no nonce, so that it never passes for an ID token. */
static cJSON *logout_claims(const notice *n)
{
    const int64_t now_s = now_us() / SECOND_US;
    cJSON *o = cJSON_CreateObject();
    cJSON *events = cJSON_AddObjectToObject(o, "events");
    bool good = events != NULL &&
                cJSON_AddObjectToObject(events, "http://schemas.openid.net/event/backchannel-logout") != NULL &&
                cJSON_AddStringToObject(o, "aud", n->client->id) != NULL &&
                cJSON_AddStringToObject(o, "sub", n->user->id) != NULL &&
                cJSON_AddNumberToObject(o, "iat", (double)now_s) != NULL &&
                cJSON_AddNumberToObject(o, "exp", (double)(now_s + TOKEN_LIVES_S)) != NULL &&
                cJSON_AddStringToObject(o, "jti", n->jti) != NULL;
    if (good && n->sid != NULL)
        good = cJSON_AddStringToObject(o, "sid", n->sid) != NULL;
    if (good && n->revoke_offline_access) /* also what was granted before this login, and its refresh tokens */
        good = cJSON_AddObjectToObject(events, "revoke_offline_access") != NULL;
    if (!good) {
        cJSON_Delete(o);
        o = NULL;
    }
    return o;
}

/* The body of the request (section 2.5): a JWT needs no escapes in a form. */
static bool make_body(const server *s, const notice *n, text *out)
{
    char *jwt = NULL;
    otok_error err = {.message = "out of memory"};
    cJSON *o = logout_claims(n);
    char *json = o != NULL ? cJSON_PrintUnformatted(o) : NULL;
    int rc = json != NULL ? otok_jwt_sign(s->service, "logout+jwt", json, &jwt, &err) : OTOK_E_NOMEM;
    if (rc == OTOK_OK)
        html(out, "logout_token=%h", jwt);
    else
        fprintf(stderr, "identity-server: a logout token for %s: %s\n", n->client->id, err.message);
    otok_string_free(jwt);
    cJSON_free(json);
    cJSON_Delete(o);
    return rc == OTOK_OK && !out->failed;
}

/* ---------------------------------------------------------------------------------------------------- one request */

/* What a client answers is of no interest, and it may not keep us by going on with it. */
static size_t ignore(char *data, size_t size, size_t n, void *arg)
{
    size_t *room = arg;
    (void)data;
    if (size * n > *room)
        return 0;
    *room -= size * n;
    return size * n;
}

static int is_stopped(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const notices *all = arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&all->stop);
}

/* Straight to the address that is registered, and nowhere else. */
static void set_up(CURL *curl, const notice *n, const text *body, notices *all, size_t *room)
{
    curl_easy_setopt(curl, CURLOPT_URL, n->client->backchannel_logout_uri);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* this is not the only thread */
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body->len);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "identity-server");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, room);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, is_stopped);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, all);
}

/* Whether there is nothing more to do: the client has heard it (section 2.8), or says that it will never understand. */
static bool is_done(const notice *n, CURLcode code, long status)
{
    bool refused = status >= 400 && status < 500 && status != 408 && status != 429;
    if (code == CURLE_OK && (status == 200 || status == 204))
        return true;
    if (code == CURLE_OK)
        fprintf(stderr, "identity-server: %s answered %ld to a logout\n", n->client->id, status);
    else if (code != CURLE_ABORTED_BY_CALLBACK)
        fprintf(stderr, "identity-server: %s was not told of a logout: %s\n", n->client->id, curl_easy_strerror(code));
    return code == CURLE_OK && refused;
}

static bool tell(notices *all, const notice *n)
{
    text body = {0};
    long status = 0;
    size_t room = MOST_ANSWER;
    CURL *curl = make_body(all->server, n, &body) ? curl_easy_init() : NULL;
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (curl != NULL) {
        set_up(curl, n, &body, all, &room);
        code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_cleanup(curl);
    }
    text_free(&body);
    return is_done(n, code, status);
}

/* ---------------------------------------------------------------------------------------------------- the queue */

static size_t waiting_for(const notices *all, const client *c)
{
    size_t count = 0;
    for (const notice *n = all->first; n != NULL; n = n->next)
        count += n->client == c;
    return count;
}

/* One client that is slow has a share of the queue, so that the others are still told. */
static bool put(notices *all, notice *n)
{
    pthread_mutex_lock(&all->lock);
    bool fits = all->count < MOST_NOTICES && waiting_for(all, n->client) < MOST_OF_ONE;
    if (fits) {
        n->next = NULL;
        *all->last = n;
        all->last = &n->next;
        all->count++;
        pthread_cond_signal(&all->more);
    }
    pthread_mutex_unlock(&all->lock);
    if (!fits) {
        fprintf(stderr, "identity-server: too many logouts wait: %s is not told of one\n", n->client->id);
        notice_free(n);
    }
    return fits;
}

/* The first whose time has come, taken out; NULL, and when that will be. */
static notice *take_due(notices *all, int64_t now, int64_t *next_us)
{
    *next_us = INT64_MAX;
    for (notice **at = &all->first; *at != NULL; at = &(*at)->next) {
        notice *n = *at;
        if (n->not_before_us <= now) {
            *at = n->next;
            if (all->last == &n->next)
                all->last = at;
            all->count--;
            return n;
        }
        *next_us = n->not_before_us < *next_us ? n->not_before_us : *next_us;
    }
    return NULL;
}

/* Waits until there is one to be sent; NULL: it is time to stop. */
static notice *take(notices *all)
{
    notice *n = NULL;
    pthread_mutex_lock(&all->lock);
    while (!atomic_load(&all->stop)) {
        int64_t next_us;
        n = take_due(all, now_us(), &next_us);
        if (n != NULL)
            break;
        const struct timespec until = {(time_t)(next_us / SECOND_US), (long)(next_us % SECOND_US * 1000)};
        if (next_us == INT64_MAX)
            pthread_cond_wait(&all->more, &all->lock);
        else
            pthread_cond_timedwait(&all->more, &all->lock, &until);
    }
    pthread_mutex_unlock(&all->lock);
    return n;
}

/* A client that could not be told is not asked for a while, whatever else there is for it: nobody waits behind it meanwhile. */
static void put_off(notices *all, notice *n)
{
    n->not_before_us = now_us() + SECOND_US * PAUSE_S * (n->tries + 1);
    pthread_mutex_lock(&all->lock);
    for (notice *other = all->first; other != NULL; other = other->next) {
        if (other->client == n->client && other->not_before_us < n->not_before_us)
            other->not_before_us = n->not_before_us;
    }
    pthread_mutex_unlock(&all->lock);
}

static void *work(void *arg)
{
    notices *all = arg;
    for (notice *n = take(all); n != NULL; n = take(all)) {
        bool is_told = tell(all, n);
        if (!is_told)
            put_off(all, n);
        if (is_told || ++n->tries == TRIES)
            notice_free(n);
        else
            (void)put(all, n);
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------- start and stop */

notices *notices_start(server *s)
{
    notices *all = calloc(1, sizeof *all);
    if (all == NULL)
        return NULL;
    all->server = s;
    all->last = &all->first;
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->more, NULL);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
        if (pthread_create(&all->thread, NULL, work, all) == 0)
            return all;
        curl_global_cleanup();
    }
    pthread_cond_destroy(&all->more);
    pthread_mutex_destroy(&all->lock);
    free(all);
    fprintf(stderr, "identity-server: cannot start the thread that tells clients of logouts\n");
    return NULL;
}

void notices_stop(notices *all)
{
    if (all == NULL)
        return;
    pthread_mutex_lock(&all->lock);
    atomic_store(&all->stop, true);
    pthread_cond_signal(&all->more);
    pthread_mutex_unlock(&all->lock);
    pthread_join(all->thread, NULL);
    if (all->count != 0)
        fprintf(stderr, "identity-server: %zu clients were not told of a logout\n", all->count);
    while (all->first != NULL) {
        notice *n = all->first;
        all->first = n->next;
        notice_free(n);
    }
    curl_global_cleanup();
    pthread_cond_destroy(&all->more);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* ---------------------------------------------------------------------------------------------------- whom to tell */

static void add(server *s, const client *c, const user *u, const char *sid, bool revoke_offline_access)
{
    notice *n = calloc(1, sizeof *n);
    if (n != NULL) {
        *n = (notice){.client = c, .user = u, .revoke_offline_access = revoke_offline_access};
        n->jti = random_name();
        n->sid = sid != NULL ? strdup(sid) : NULL;
    }
    if (n != NULL && n->jti != NULL && (sid == NULL || n->sid != NULL)) {
        (void)put(s->notices, n);
        return;
    }
    notice_free(n);
    fprintf(stderr, "identity-server: out of memory: %s is not told of a logout\n", c->id);
}

struct clients {
    const client *all;
    size_t n;
    bool *noted; /* those that have a session, and want to be told */
};

static bool note_client(void *arg, const otok_session *session)
{
    const struct clients *clients = arg;
    for (size_t k = 0; k < clients->n; k++) {
        if (clients->all[k].backchannel_logout_uri != NULL && strcmp(clients->all[k].id, session->client_id) == 0)
            clients->noted[k] = true;
    }
    return true;
}

/* Where it cannot be found out who has sessions, all who might are told: they look for theirs, and find none. */
void notices_logout(server *s, const user *u, const char *sid, bool revoke_offline_access)
{
    struct clients to = {0};
    otok_filter filter;
    otok_error err = {.message = "out of memory"};
    to.n = directory_clients(s->directory, &to.all);
    to.noted = calloc(to.n + 1, sizeof *to.noted);
    otok_filter_init(&filter, sizeof filter);
    if (sid == NULL || revoke_offline_access)
        filter.subject = u->id;
    else
        filter.sid = sid;
    bool found = to.noted != NULL && sessions_each(s, &filter, note_client, &to, &err) == OTOK_OK;
    if (!found)
        fprintf(stderr, "identity-server: who has sessions of a login that ends: %s\n", err.message);
    for (size_t k = 0; k < to.n; k++) {
        if (to.all[k].backchannel_logout_uri != NULL && (!found || to.noted[k]))
            add(s, &to.all[k], u, sid, revoke_offline_access);
    }
    free(to.noted);
}
