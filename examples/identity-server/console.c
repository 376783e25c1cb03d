/*
 * console.c - what the account and the administrator's pages share: how a session is shown, tables, notices, pages of a list.
 *
 * SPDX-License-Identifier: MIT
 */
#include "console.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- names and words */

static bool is_browsers(const char *client_id)
{
    return client_id != NULL && strcmp(client_id, BROWSER_CLIENT) == 0;
}

const char *client_title(const request *r, const char *id)
{
    const client *c = directory_client(r->server->directory, id);
    if (c != NULL)
        return c->name;
    if (is_browsers(id))
        return "Browser login";
    return id != NULL && is_own_client(id) ? "Waiting device" : id;
}

void html_user_title(const request *r, const char *id, text *out)
{
    const size_t prefix = sizeof SERVICE_SUBJECT - 1;
    const user *u = directory_user(r->server->directory, id);
    if (u != NULL)
        html(out, "%s", u->name);
    else if (strncmp(id, SERVICE_SUBJECT, prefix) == 0)
        html(out, "%s itself", client_title(r, id + prefix));
    else
        html(out, "%s", id);
}

const char *session_device(const otok_session *s, char room[AGENT_NAME])
{
    if (s->label != NULL && *s->label != '\0')
        return s->label;
    const char *name = agent_name(s->start_user_agent != NULL ? s->start_user_agent : s->last_user_agent, room);
    return name != NULL ? name : "A device without a name";
}

const char *number_words(uint64_t n, char room[NUMBER_ROOM])
{
    char digits[24], *to = room;
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    for (int i = 0; i < len; i++) {
        if (i != 0 && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return room;
}

/* ---------------------------------------------------------------------------------------------------------- blocks */

static const struct {
    const char *done, *words;
} notices_done[] = {
    {"session", "The session has ended. Whoever holds its token can do nothing with it any more."},
    {"login", "That browser is logged out."},
    {"application", "The application has lost its permissions, and every session that it had."},
    {"consent", "The consent is withdrawn, and the sessions of that application have ended."},
    {"gone", "That session had ended already."},
    {"client", "All sessions of this application have ended."},
    {"user", "All sessions of this user have ended."},
    {"realm", "All sessions have ended. Whoever is here now has logged in since."},
};

void html_done(const request *r, text *out)
{
    const char *done = query_value(r, "done");
    for (size_t i = 0; done != NULL && i < sizeof notices_done / sizeof *notices_done; i++) {
        if (strcmp(done, notices_done[i].done) == 0)
            html(out, "<p class=\"notice notice-good\" role=\"status\">%s</p>", notices_done[i].words);
    }
}

void answer_done(request *r, text *path, const char *done)
{
    html(path, "?done=%u", done);
    if (path->failed)
        answer_problem(r, 503, "Out of memory",
                       "It is done, but this server is short of memory: please go back, and reload.");
    else
        answer_see_other(r, path->data);
    text_free(path);
}

void html_post(const request *r, const char *action, text *out)
{
    html(out, "<form method=\"post\" action=\"%s\">", action);
    html_csrf(r, out);
}

void html_table(text *out, const char *caption, const char *const *headings)
{
    html(out, "<table class=\"table\" role=\"table\"><caption>%s</caption>", caption);
    html(out, "<thead role=\"rowgroup\"><tr role=\"row\">");
    for (; *headings != NULL; headings++) {
        if (**headings == '\0')
            html(out, "<th scope=\"col\" role=\"columnheader\"><span class=\"hidden\">What you can do</span></th>");
        else
            html(out, "<th scope=\"col\" role=\"columnheader\">%s</th>", *headings);
    }
    html(out, "</tr></thead><tbody role=\"rowgroup\">");
}

/* Cells and rows end where the next begins (HTML, 13.1.2.4). */
void html_row(text *out)
{
    html(out, "\n<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">");
}

void html_cell(text *out, const char *label, const char *class)
{
    html(out, "\n<td role=\"cell\" data-label=\"%s\"", label);
    if (class != NULL)
        html(out, " class=\"%s\"", class);
    html(out, ">");
}

void html_table_end(text *out)
{
    html(out, "</tbody></table>");
}

/* -------------------------------------------------------------------------------------------------------- sessions */

static bool oldest_first(const request *r)
{
    const char *order = query_value(r, "order");
    return order != NULL && strcmp(order, "oldest") == 0;
}

int sessions_read(const request *r, const otok_filter *filter, otok_page **out, bool *restarted, otok_error *err)
{
    otok_list_request ask;
    otok_list_request_init(&ask, sizeof ask);
    ask.filter = filter;
    ask.limit = SESSIONS_A_PAGE;
    ask.order = oldest_first(r) ? OTOK_ORDER_OLDEST_FIRST : OTOK_ORDER_NEWEST_FIRST;
    ask.cursor = query_value(r, "cursor");
    *restarted = false;
    int code = otok_list(r->server->service, &ask, out, err);
    if (code != OTOK_E_INVALID || ask.cursor == NULL)
        return code;
    ask.cursor = NULL; /* from another list, or before a key that is gone now */
    *restarted = true;
    return otok_list(r->server->service, &ask, out, err);
}

void html_restarted(bool restarted, text *out)
{
    if (restarted)
        html(out, "<p class=\"notice notice-warn\" role=\"status\">The page that was asked for is not known any more. "
                  "This is the first one.</p>");
}

static void add_place(const char *path, const char *order, const char *cursor, text *out)
{
    html(out, "%s?order=%s", path, order);
    if (cursor != NULL)
        html(out, "&amp;cursor=%u", cursor);
}

void html_pager(const request *r, const char *path, const otok_page *page, text *out)
{
    const char *order = oldest_first(r) ? "oldest" : "newest";
    bool is_first = query_value(r, "cursor") == NULL;
    if (is_first && page->next_cursor == NULL)
        return;
    html(out, "<nav class=\"pager\" aria-label=\"Pages of sessions\">");
    if (!is_first) {
        html(out, "<a class=\"button button-quiet button-small\" href=\"");
        add_place(path, order, NULL, out);
        html(out, "\">First page</a>");
    }
    if (page->next_cursor != NULL) {
        html(out, "<a class=\"button button-quiet button-small\" rel=\"next\" href=\"");
        add_place(path, order, page->next_cursor, out);
        html(out, "\">Next page</a>");
    }
    html(out, "</nav>");
}

static bool belongs(const otok_session *s, const session_table *table)
{
    if (table->kind != ANY_KIND && s->kind != table->kind)
        return false;
    if (table->client_id != NULL)
        return strcmp(s->client_id, table->client_id) == 0;
    return table->with_browsers || !is_browsers(s->client_id);
}

static void show_headings(const session_table *table, text *out)
{
    const char *headings[9];
    size_t n = 0;
    if (table->with_users)
        headings[n++] = "User";
    if (table->client_id == NULL)
        headings[n++] = "Application";
    headings[n++] = "Device";
    headings[n++] = "Started";
    if (!is_browsers(table->client_id)) /* of a login it is not kept */
        headings[n++] = "Last used";
    headings[n++] = "From";
    headings[n++] = "Ends";
    headings[n++] = "";
    headings[n] = NULL;
    html_table(out, table->caption, headings);
}

/* How it came about, and what binds it: for those who run the server. */
static void show_details(const otok_session *s, text *out)
{
    static const char *const grants[] = {"code",        "password",  "client credentials", "device",
                                         "backchannel", "assertion", "token exchange"};
    bool known = s->grant_type >= 0 && (size_t)s->grant_type < sizeof grants / sizeof *grants;
    html(out, "<br><span class=\"muted small\">%s", s->kind == OTOK_SESSION_OFFLINE ? "offline" : "until logout");
    if (!is_browsers(s->client_id))
        html(out, ", by %s, generation %d%s", known ? grants[s->grant_type] : "another grant", (int64_t)s->generation,
             s->binding != OTOK_BINDING_NONE ? ", bound to a key" : "");
    html(out, "</span>");
    if (s->state != OTOK_OK)
        html(out, " <span class=\"badge badge-warn\">state unknown</span>");
}

static void show_device_cell(const otok_session *s, const session_table *table, text *out)
{
    char room[AGENT_NAME];
    html(out, "<span class=\"device\">%s", session_device(s, room));
    if (table->current != NULL && strcmp(s->session_id, table->current) == 0)
        html(out, " <span class=\"badge badge-good\">This browser</span>");
    if (table->for_administrators)
        show_details(s, out);
    html(out, "</span>");
}

/* Whose, what, and on which device: the first of these is the heading of the row. */
static void show_names(const request *r, const otok_session *s, const session_table *table, text *out)
{
    html_row(out);
    if (table->with_users) {
        html(out, "<a href=\"/admin/users/%u\">", s->subject);
        html_user_title(r, s->subject, out);
        html(out, "</a>");
        html_cell(out, "Device", NULL);
    } else if (table->client_id == NULL) {
        html(out, "<a href=\"/admin/clients/%u\">%s</a>", s->client_id, client_title(r, s->client_id));
        html_cell(out, "Device", NULL);
    }
    show_device_cell(s, table, out);
}

static void show_button(const request *r, const otok_session *s, const session_table *table, text *out)
{
    char room[AGENT_NAME];
    html(out, "<form method=\"post\" action=\"%s%u\">", table->action, s->session_id);
    html_csrf(r, out);
    if (table->from != NULL)
        html(out, "<input type=\"hidden\" name=\"from\" value=\"%s\">", table->from);
    html(out, "<button class=\"button button-danger button-quiet button-small\">%s<span class=\"hidden\"> ",
         table->verb);
    if (table->with_users) {
        html_user_title(r, s->subject, out);
        html(out, ", ");
    }
    if (!is_browsers(s->client_id))
        html(out, "%s on ", client_title(r, s->client_id));
    html(out, "%s</span></button></form>", session_device(s, room));
}

static void show_session(const request *r, const otok_session *s, const session_table *table, int64_t now, text *out)
{
    const char *ip = s->last_ip != NULL ? s->last_ip : s->start_ip;
    show_names(r, s, table, out);
    html_cell(out, "Started", NULL);
    html_time(out, s->started_us, now);
    if (!is_browsers(table->client_id))
        html_cell(out, "Last used", NULL);
    if (!is_browsers(s->client_id))
        html_time(out, s->last_used_us, now);
    html_cell(out, "From", NULL);
    html(out, "%s", ip != NULL ? ip : "unknown");
    html_cell(out, "Ends", NULL);
    html_time(out, s->idle_expires_us < s->max_expires_us ? s->idle_expires_us : s->max_expires_us, now);
    html(out, "\n<td role=\"cell\" class=\"act\">");
    show_button(r, s, table, out);
}

size_t html_sessions(const request *r, const otok_page *page, const session_table *table, text *out)
{
    size_t shown = 0;
    int64_t now = now_us();
    for (size_t i = 0; i < page->count; i++) {
        if (!belongs(page->sessions[i], table))
            continue;
        if (shown++ == 0)
            show_headings(table, out);
        show_session(r, page->sessions[i], table, now, out);
    }
    if (shown != 0)
        html_table_end(out);
    return shown;
}

/* ------------------------------------------------------------------------------------------- of administrators' pages */

static void show_order(const request *r, const char *path, text *out)
{
    bool oldest = oldest_first(r);
    html(out,
         "<p class=\"row\"><span class=\"muted\">The %s first.</span><a href=\"%s?order=%s\">Show the %s first</a></p>",
         oldest ? "oldest" : "newest", path, oldest ? "newest" : "oldest", oldest ? "newest" : "oldest");
}

int html_session_list(const request *r, const otok_filter *filter, const session_table *table, const text *path,
                      text *out, otok_error *err)
{
    otok_page *page = NULL;
    bool restarted = false;
    if (path->failed)
        return out_of_memory(err);
    int code = sessions_read(r, filter, &page, &restarted, err);
    if (code != OTOK_OK)
        return code;
    html(out, "<section class=\"card\"><h2>Sessions</h2>");
    html_restarted(restarted, out);
    show_order(r, path->data, out);
    if (html_sessions(r, page, table, out) == 0)
        html(out, "<p>%s</p>", page->next_cursor != NULL ? "None on this page." : "None that lives.");
    html_pager(r, path->data, page, out);
    html(out, "</section>\n");
    otok_page_free(page);
    return code;
}

int html_kept(const request *r, const otok_filter *filter, uint64_t kept, text *out, otok_error *err)
{
    char room[NUMBER_ROOM];
    int64_t cutoff_us = 0;
    int code = otok_cutoff_get(r->server->service, filter, &cutoff_us, err);
    html(out,
         "<dt>Sessions kept</dt><dd>%s <span class=\"muted\">also those that have ended, until they are swept "
         "away</span></dd><dt>Cutoff</dt><dd>%h",
         number_words(kept, room), cutoff_us != 0 ? "what began before has ended: " : "never set");
    if (cutoff_us != 0)
        html_time(out, cutoff_us, now_us());
    html(out, "</dd>");
    return code == OTOK_E_NOT_FOUND ? OTOK_OK : code;
}
