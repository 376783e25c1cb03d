/*
 * quickstart.c - the life of an offline session, on a real LMDB store in a temporary folder.
 *
 * The clock is the program's, so that months pass at once; everything else is as in a server.
 *
 * SPDX-License-Identifier: MIT
 */
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <offlinetok/offlinetok.h>

static int64_t clock_us;
static otok_service *service;

static int64_t now(void *user)
{
    (void)user;
    return clock_us;
}

static void on_event(void *user, const otok_event *event)
{
    (void)user;
    if (event->type == OTOK_EVENT_REUSE)
        printf("         event: a superseded token of %s came back to %s (rotations since: %" PRIu32 ")\n",
               event->subject, event->client_id, event->distance);
    if (event->type == OTOK_EVENT_CUTOFF)
        printf("         event: a cutoff for %s\n", event->client_id);
}

static void check(int code, const otok_error *err)
{
    if (code != OTOK_OK) {
        fprintf(stderr, "%s: %s\n", otok_error_name(code), err->message);
        exit(EXIT_FAILURE);
    }
}

static void step(const char *text)
{
    static int number;
    printf("\n%2d  %s\n", ++number, text);
}

static void days_pass(int days)
{
    clock_us += (int64_t)days * 86400 * 1000000;
}

/* The first 9 and the last 4 characters tell tokens apart; a whole one is a secret. */
static void show(const char *what, const char *token)
{
    printf("         %s %.9s…%s\n", what, token, token + strlen(token) - 4);
}

static void open_service(const char *folder)
{
    otok_config config;
    otok_callbacks callbacks;
    otok_error err;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = now;
    callbacks.event = on_event;
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example.org";
    config.directory = folder;
    config.callbacks = &callbacks;
    check(otok_service_open(&config, NULL, NULL, &service, &err), &err);
}

static otok_tokens *issue(const char *subject, const char *client_id, const char *label)
{
    otok_grant grant;
    otok_tokens *tokens;
    otok_error err;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = subject;
    grant.client_id = client_id;
    grant.client_type = OTOK_CLIENT_PUBLIC;
    grant.scope = "openid offline_access photos.read";
    grant.label = label;
    check(otok_issue(service, &grant, &tokens, &err), &err);
    return tokens;
}

static int refresh(const char *token, const char *client_id, otok_tokens **tokens, otok_error *err)
{
    otok_refresh_request request;
    otok_refresh_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = client_id;
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_refresh(service, &request, tokens, err);
}

static void list(const char *subject, const char *client_id)
{
    otok_filter filter;
    otok_list_request request;
    otok_page *page;
    otok_error err;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = subject;
    filter.client_id = client_id;
    otok_list_request_init(&request, sizeof request);
    request.filter = &filter;
    check(otok_list(service, &request, &page, &err), &err);
    printf("         sessions of %s:\n", subject != NULL ? subject : client_id);
    for (size_t i = 0; i < page->count; i++) {
        const otok_session *s = page->sessions[i];
        time_t used = (time_t)(s->last_used_us / 1000000);
        char date[32];
        strftime(date, sizeof date, "%Y-%m-%d", gmtime(&used));
        printf("           %-22s %-6s %-7s %-16s last used %s\n", s->session_id, s->subject, s->client_id, s->label,
               date);
    }
    otok_page_free(page);
}

static uint64_t count(const char *client_id)
{
    otok_filter filter;
    otok_error err;
    uint64_t live;
    otok_filter_init(&filter, sizeof filter);
    filter.client_id = client_id;
    check(otok_count_live(service, &filter, &live, &err), &err);
    return live;
}

static void must_be_refused(const char *token, const char *client_id)
{
    otok_tokens *tokens;
    otok_error err;
    int code = refresh(token, client_id, &tokens, &err);
    printf("         refused: %s (%s)\n", otok_error_oauth(code), err.message);
    if (code == OTOK_OK)
        exit(EXIT_FAILURE);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

int main(void)
{
    char folder[] = "/tmp/offlinetok-quickstart-XXXXXX";
    otok_tokens *first, *second, *retry, *tablet, *backup, *again;
    otok_filter filter;
    otok_error err;

    clock_us = (int64_t)time(NULL) * 1000000;
    if (mkdtemp(folder) == NULL)
        return EXIT_FAILURE;
    printf("libofflinetok %s, LMDB store and keyring in %s\n", otok_version(), folder);
    open_service(folder);

    step("alice logs in on her phone and allows the photo app to act while she is away");
    first = issue("alice", "photos", "Alice's phone");
    show("offline token", first->offline_token);
    printf("         access token for %" PRId64 " s, ID token, session %s\n", first->access_expires_in_s,
           first->session_id);

    step("a week later the app refreshes; the token is rotated");
    days_pass(7);
    check(refresh(first->offline_token, "photos", &second, &err), &err);
    show("offline token", second->offline_token);

    step("the response had been lost on the way: the retry gets the same token, not another");
    check(refresh(first->offline_token, "photos", &retry, &err), &err);
    show("offline token", retry->offline_token);
    if (strcmp(second->offline_token, retry->offline_token) != 0)
        return EXIT_FAILURE;

    step("alice also uses a tablet; bob has a nightly backup");
    tablet = issue("alice", "photos", "Alice's tablet");
    backup = issue("bob", "backup", "nightly backup");
    list("alice", NULL);

    step("a thief had copied the first token and uses it a day later: that session ends");
    days_pass(1);
    must_be_refused(first->offline_token, "photos");
    must_be_refused(second->offline_token, "photos");

    step("the tablet's session lives on");
    check(refresh(tablet->offline_token, "photos", &again, &err), &err);
    show("offline token", again->offline_token);

    step("the server restarts: service and store are closed, and opened again");
    otok_service_close(service);
    open_service(folder);
    otok_tokens_free(tablet);
    days_pass(1);
    check(refresh(again->offline_token, "photos", &tablet, &err), &err);
    show("offline token", tablet->offline_token);
    list(NULL, "photos");

    step("alice sees the list and revokes the tablet");
    check(otok_revoke_session(service, tablet->session_id, &err), &err);
    must_be_refused(tablet->offline_token, "photos");

    step("the administrator distrusts the backup client: one cutoff ends all its sessions at once");
    otok_filter_init(&filter, sizeof filter);
    filter.client_id = "backup";
    check(otok_cutoff_set(service, &filter, OTOK_NOW, NULL, &err), &err);
    must_be_refused(backup->offline_token, "backup");

    step("what is left");
    check(otok_sweep(service, 0, NULL, &err), &err);
    printf("         photos: %" PRIu64 " live, backup: %" PRIu64 " live\n", count("photos"), count("backup"));

    otok_tokens_free(first);
    otok_tokens_free(second);
    otok_tokens_free(retry);
    otok_tokens_free(tablet);
    otok_tokens_free(backup);
    otok_tokens_free(again);
    otok_service_close(service);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
