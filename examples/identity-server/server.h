/*
 * server.h - what the files of this server share; to be read from top to bottom, then each file by itself:
 *
 *     main.c       options, start, stop, and what is done every second
 *     directory.c  users, clients and scopes; directory_read.c: from a JSON file; password.c: what they know
 *     storage.c    where sessions are kept
 *     callbacks.c  what the library asks and tells this host: policies, veto, claims, events
 *     http.c       requests, on libmicrohttpd; answer.c the answers, guard.c who may come and post, listen.c the socket
 *     routes.c     every address, who may come there, and who answers
 *     html.c       pages, in which nothing is forgotten to be escaped
 *     seal.c       texts that browsers keep for us: sealed, so that they are ours when they come back
 *     browser.c    who is logged in; the login page
 *     sessions.c   whether a login lives, and its end; session_walk.c: all of a filter, page by page
 *     throttle.c   who has failed too often
 *     authorize.c  authorization endpoint; authorize_check.c: what can be wrong with a request
 *     consent.c    the consent page
 *     code.c       the authorization code
 *     client_auth.c which client asks; revocation, introspection
 *     token.c      the token endpoint and its grants
 *     issue.c      what an approval is worth: tokens; offline access and consent at the grants without a page
 *     device.c     the device grant (RFC 8628); device_request.c: the devices that wait
 *     discovery.c  metadata, JWKS, UserInfo
 *     logout.c     RP-initiated logout
 *     backchannel.c tells clients of logouts, by a thread of its own
 *     agent.c      "Firefox on Linux"
 *     console.c    what the next two share: how a session is shown
 *     account.c    the user's page: applications and devices
 *     admin.c      the administrator's pages; also admin_client.c, admin_user.c, admin_end.c
 *     activity.c   the last minutes, for those pages: counters and events
 *
 * All that must outlive a restart is in the library's store: offline sessions, consents, and also the logins of browsers and what devices
 * ask for, which are sessions of this server itself.  Codes and cookies are sealed texts.  So any number of these servers can share one
 * store.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IDENTITY_SERVER_H
#define IDENTITY_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <offlinetok/offlinetok.h>

/* -------------------------------------------------------------------------------------------------------- html.c */

/* A text that grows.  When memory runs out it is `failed`, and what is added after that is ignored: looked at once, at the end. */
typedef struct text {
    char *data; /* NUL-terminated once something was added; NULL before */
    size_t len, room;
    bool failed;
} text;

void text_free(text *t); /* wipes it, and makes it empty */

int out_of_memory(otok_error *err); /* OTOK_E_NOMEM, which it says there */

/*
 * Adds by a format, in which only these are known, and everything else is a bug that ends in a failed text:
 *
 *     %s  const char *, escaped for HTML: text and attributes in double quotes; NULL is empty
 *     %u  const char *, percent-encoded for a part of a URL: a value of a query, or a name in a path
 *     %h  const char *, as it is: HTML of our own making
 *     %d  int64_t
 *     %%
 */
void html(text *out, const char *format, ...);

void text_add(text *out, const char *plain);               /* as it is */
void text_append(text *out, const void *data, size_t len); /* bytes, as they are */

/* "3 minutes ago", with the exact time as a title: <time datetime="2026-...Z" title="...">. `us` 0: "never"; OTOK_UNLIMITED: "no limit" */
void html_time(text *out, int64_t us, int64_t now_us);

/* ----------------------------------------------------------------------------------------------------- directory.c */

typedef struct user {
    const char *id, *name, *email; /* id: what the library calls subject, and what the user types */
    const char *password;          /* scrypt$N$r$p$salt$hash, base64url */
    bool may_be_offline;           /* has the role offline_access */
    bool is_administrator;
} user;

typedef struct scope {
    const char *name;
    const char *permission; /* what the consent page says it allows: "Read your files" */
    const char *audience;   /* of the resource server that looks at it; NULL: ours (UserInfo) */
} scope;

typedef struct client {
    const char *id, *name, *home; /* home: URL, may be NULL */
    const char *secret;           /* base64url of its SHA-256; NULL: a public client */
    bool is_native;               /* application_type */
    bool is_resource_server;      /* may introspect; no grants */
    /*
     * Its users are asked, and what they allow is checked whenever a token is used: so a grant without a consent page, by password or
     * client credentials, saves a consent of its own.
     */
    bool must_consent;
    bool needs_dpop_nonce; /* where it proves possession: each proof has a nonce of ours (RFC 9449 section 8) */
    const char *const *grant_types; /* these are NULL-terminated */
    /* Of a native client http://127.0.0.1/x and http://[::1]/x match with any port (RFC 8252 section 7.3). */
    const char *const *redirect_uris;
    const char *const *post_logout_redirect_uris;
    const char *const *scopes;
    const char *backchannel_logout_uri; /* NULL: none */
} client;

typedef struct directory directory;

directory *directory_load(const char *path); /* says on stderr what is wrong, and is NULL then */
void directory_free(directory *d);

const user *directory_user(const directory *d, const char *id); /* NULL: none; takes NULL */
const client *directory_client(const directory *d, const char *id);
bool is_own_client(
    const char *client_id); /* of sessions that are this server's own: no client in a directory is called so */
const scope *directory_scope(const directory *d, const char *name);
size_t directory_users(const directory *d, const user **out); /* all, in the order of the file */
size_t directory_clients(const directory *d, const client **out);

/* The same work whether there is such a user or not. */
bool user_has_password(const user *u, const char *password);
bool client_has_secret(const client *c, const char *secret);
bool client_may_use(const client *c, const char *grant_type); /* "authorization_code", … */
bool client_has_redirect(const client *c, const char *uri);
bool client_has_scope(const client *c, const char *name);

/* Whether a space-separated list has this word; the words of `asked` that the client may ask for, each once, to `out`. */
bool has_word(const char *list, const char *word);
void client_scopes(const client *c, const char *asked, text *out);

/* ---------------------------------------------------------------------------------------------------------- seal.c */

/*
 * Sealed texts: AES-256-GCM under the server's key, with the purpose as associated data and an end in them; base64url.  What comes
 * back altered, from another purpose, or too late is NULL.  Both are freed with free().
 */
typedef struct seal seal;

seal *seal_open(const char *path); /* the key's file; made, mode 0600, when it is not there.  NULL: said on stderr */
void seal_free(seal *s);
char *seal_text(const seal *s, const char *purpose, const char *plain, int64_t ends_us);
char *unseal_text(const seal *s, const char *purpose, const char *sealed, int64_t now_us);

/* Freed with free(); NULL: not base64url without padding (RFC 4648 section 5), or not as it would have been written. */
unsigned char *base64url_decode(const char *in, size_t n, size_t *len);

/* 22 characters of randomness, and base64url of a SHA-256: freed with free(); NULL when libcrypto fails. */
char *random_name(void);
char *sha256_name(const char *plain);
bool same_text(const char *a, const char *b); /* in a time that does not tell where they differ; NULL is like nothing */

/* --------------------------------------------------------------------------------------------------------- storage.c */

bool storage_is_known(const char *name);

/*
 * The store of that name, "postgres:" and a connection string, and the keyring in `folder`, made when there is none.  NULL: neither,
 * for the library opens what it has in a folder by itself.
 */
int storage_open(const char *name, const char *folder, otok_store **store, otok_keyring **keyring, otok_error *err);

/* ------------------------------------------------------------------------------------------------------------ main.c */

typedef struct activity activity;
typedef struct notices notices;

typedef struct server {
    const char *issuer; /* without a slash at its end */
    otok_service *service;
    directory *directory;
    seal *seal;
    activity *activity;
    notices *notices;
    bool behind_proxy; /* which tells in X-Forwarded-For where requests come from */
} server;

int64_t now_us(void);

/* --------------------------------------------------------------------------------------------------------- callbacks.c */

/* This server's own: of the logins of browsers; and, before a client's id, of what devices ask for. */
#define BROWSER_CLIENT "browser"
#define DEVICE_CLIENT  "device:"

void callbacks_set(otok_callbacks *callbacks); /* their `user` is the server */

/* The claims that scopes stand for (OpenID Connect Core 1.0 section 5.4), for ID token and UserInfo; NULL: no memory. */
struct cJSON;
struct cJSON *user_claims(const user *u, const char *scopes);

/* -------------------------------------------------------------------------------------------------------------- http.c */

/* Who is logged in at a browser. */
typedef struct login {
    const user *user;
    char *sid;        /* of the SSO session: in ID tokens and logout tokens */
    char *session_id; /* of the session of BROWSER_CLIENT that this login is */
    int64_t auth_time_us;
} login;

/* A request, read whole, and its answer. */
typedef struct request {
    server *server;
    void *connection;        /* of libmicrohttpd */
    const char *method;      /* "GET", "POST" */
    const char *path;        /* decoded, without control characters: "/admin/clients/photos" */
    const char *rest;        /* what stands behind the route's path: "photos" */
    const char *url;         /* path and query, as they came */
    otok_form *query, *form; /* form: of a POST of that content type.  NULL: none, or bad, which http.c has answered */
    const void *body;
    size_t body_len;
    char ip[64];
    const login *login; /* NULL: nobody */
    char *csrf;         /* for the forms of this browser */
    int status;         /* of the answer; 0: none yet */
} request;

const char *request_header(const request *r, const char *name); /* NULL: none */
const char *query_value(const request *r, const char *name);    /* NULL: none, or empty */
const char *form_value(const request *r, const char *name);

/* For the library's endpoints: `path` is that of the endpoint, `dpop` has room for 2 values. */
void request_as_http(const request *r, const char *path, otok_http_request *out, const char **dpop);

/* The answer: one of these, once.  They free the body, or the response. */
void answer_page(request *r, int status, const char *title, text *body); /* in the layout of this server */
void answer_json(request *r, int status, text *body);
void answer_text(request *r, int status, const char *type, text *body); /* of that content type */
void answer_see_other(request *r, const char *url);                     /* 303 */
void answer_library(request *r, otok_http_response *response);

/* A page that says what is wrong; the same of a call of the library, which is said on stderr too; JSON (RFC 6749 section 5.2). */
void answer_problem(request *r, int status, const char *title, const char *what);
void answer_failure(request *r, const otok_error *err);
void answer_oauth_error(request *r, int status, const char *error, const char *description);

/* Before the answer: a header field, in the place of one of that name that every answer has. */
void answer_header(request *r, const char *name, const char *value);

/*
 * Before the answer.  A cookie is Secure, HttpOnly and SameSite=Lax, and has the prefix __Host-, which is not in `name`: "login" is the
 * cookie __Host-login.  `value` NULL: it is removed; max_age_s 0: it ends with the browser.
 */
void answer_cookie(request *r, const char *name, const char *value, int64_t max_age_s);
char *request_cookie(const request *r, const char *name); /* freed with free(); NULL: none */

/* form-action of this page: also the origin, or scheme, of `url`. */
void answer_may_post_to(request *r, const char *url);

/* A hidden field that every <form method="post"> of a page needs. */
void html_csrf(const request *r, text *out);

/* A socket that listens on "127.0.0.1:8080" or "[::1]:8080"; port 0: a free one, told in `*port`.  -1: said on stderr. */
int http_listen(const char *where, uint16_t *port);

struct http; /* answers what comes to that socket, which it closes at the end */
struct http *http_start(server *s, int socket, const char *certificate,
                        const char *key); /* PEM files; NULL: plain HTTP.  NULL: said on stderr */
void http_stop(struct http *http);

/* ------------------------------------------------------------------------------------------------------------ routes.c */

/*
 * Who may come here.  guard.c sees to it: a POST of a browser has a good CSRF token and no foreign Origin.  Clients may send browsers to
 * /authorize and /logout by a POST too, which has no such token: it is sent on as the GET that it might have been, and nothing else.
 */
enum {
    ROUTE_API,     /* programs: no cookies, no CSRF token */
    ROUTE_BROWSER, /* anybody with a browser */
    ROUTE_USER,    /* logged in: else to the login page, and back */
    ROUTE_ADMIN    /* and an administrator: else 403 */
};

typedef struct route {
    const char *method, *path; /* a path that ends in '/' and is not "/" itself matches what begins so: request.rest */
    int access;
    void (*handle)(request *r);
} route;

extern const route routes[]; /* ends with a method NULL */

/* ---------------------------------------------------------------------------------------------------------- throttle.c */

/*
 * Guesses of `who`, a name or an IP address, at `what`, of whom less than `limit` may have failed in the last 5 minutes.  One begins with
 * throttle_enter(), which waits while as many are under way as may still fail, so that nobody guesses more often by guessing at once.
 * NULL: no more.  It ends with throttle_leave().
 */
typedef struct guesser guesser;
enum {
    GUESS_FAILED,
    GUESS_PASSED,
    GUESS_FORGIVES /* and all before it is forgotten */
};
guesser *throttle_enter(const char *what, const char *who, unsigned limit);
void throttle_leave(guesser *place, int how);

/* An IPv6 address stands for its network of 64 bits, all of which one guesser has (RFC 6177).  False: it is not one. */
enum { NETWORK_ROOM = 64 };
bool network_of(const char *ip, char out[NETWORK_ROOM]);

/* ------------------------------------------------------------------------------------------------------------- agent.c */

/* "Firefox on Linux", or the name that a program gives itself; NULL: it tells nothing. */
enum { AGENT_NAME = 64 };
const char *agent_name(const char *user_agent, char out[AGENT_NAME]);

/* ----------------------------------------------------------------------------------------------------------- browser.c */

/*
 * The login of this browser, from its cookie, if the session behind that lives: freed with login_free().  0; anything else: the library
 * failed, and nobody knows.
 */
int login_find(request *r, login **out, otok_error *err);
void login_free(login *l);

/* Sends the browser to the login page, and back to `url`, a path of ours. */
void login_ask(request *r, const char *url);

/*
 * A user by name and password, throttled: after 5 failures of one name, or 20 from one address, in 5 minutes nobody gets in for that
 * time; but in a browser in which that user has logged in before, where failures are counted apart.  NULL: not.
 */
const user *login_check(request *r, const char *name, const char *password);

void login_cookie_remove(request *r);

void show_login(request *r); /* GET /login?return= */
void do_login(request *r);   /* POST */

/* ---------------------------------------------------------------------------------------------------------- sessions.c */

/* Looks at every session of a filter that lives, the oldest first, until `look` is false. */
int sessions_each(server *s, const otok_filter *filter, bool (*look)(void *arg, const otok_session *session), void *arg,
                  otok_error *err);

/* Whether a browser is logged in as this user, in the login of that sid; and the name of its device. */
int login_lives(server *s, const user *u, const char *sid, bool *lives, char device[AGENT_NAME], otok_error *err);

/*
 * A login ends: its browser's session, and what clients have by it until logout; with `revoke_offline_access` all that the user has,
 * everywhere.  Clients are told.  login_end(): that of this browser, and its cookie.
 */
int login_logout(server *s, const user *u, const char *sid, bool revoke_offline_access, otok_error *err);
int login_end(request *r, bool revoke_offline_access, otok_error *err);

/* One session; that of a browser is a login. */
int session_end(server *s, const otok_session *session, otok_error *err);

/* --------------------------------------------------------------------------------------------------- the other pages */

void show_home(request *r);  /* GET /: what this is, and where to go */
void show_style(request *r); /* GET /style.css */

extern const unsigned char style_css[]; /* that file, put into the program when it is built */
extern const size_t style_css_len;

/* GET /authorize; also POST (OpenID Connect Core 1.0 section 3.1.2.1), of which routes.c makes a GET. */
void show_authorize(request *r);
void do_consent(request *r); /* POST /consent?... : the query is that of /authorize, whole */

/* The client of an authorization request, and where its browser goes in the end; NULL: there is no such client, or not this URI. */
const client *authorize_client(const server *s, const otok_form *query, const char **redirect_uri);

/* What a code, or a device code, is worth once its user has agreed; to be issued for. */
typedef struct approval {
    const client *client;
    const user *user;
    const char *scope;              /* granted; may lack offline_access */
    const char *sid, *nonce, *code; /* nonce may be NULL; code: for once_key; NULL: of a grant that has none */
    int64_t auth_time_us;
    int32_t grant_type;   /* OTOK_GRANT_... */
    const char *label;    /* of the device; may be NULL */
    const char *amr;      /* "pwd"; NULL: nobody was there */
    const char *dpop_jkt; /* the proof must be of this key (RFC 9449 section 10); NULL: of any */
} approval;

/* An approval's subject; without a user, by client credentials, it is that of the client itself. */
#define SERVICE_SUBJECT "service:"
enum { SUBJECT_ROOM = 272 };
const char *subject_of(const approval *a, char out[SUBJECT_ROOM]);

/* A list of permissions, as consent and device page show them. */
void html_permissions(const request *r, const client *c, const char *scopes, text *out);

/* issue.c: answers with tokens for an approval: offline where the scope has offline_access, else bound to the login, else, where the client
 * has no refresh grant, without a refresh token. */
void answer_tokens(request *r, const otok_http_request *http, const approval *a);

/*
 * A code's contents, sealed: made by authorize.c, spent by token.c.  code_open(): an approval whose texts are in `*memory`, freed with
 * free(); false: no such code, or it is not for this redirect_uri and verifier.
 */
char *code_make(const request *r, const approval *a, const char *redirect_uri, const char *challenge);
bool code_open(const request *r, const client *c, const char *code, const char *redirect_uri, const char *verifier,
               approval *out, char **memory);

void do_token(request *r);      /* POST /token */
void do_revoke(request *r);     /* POST /revoke */
void do_introspect(request *r); /* POST /introspect */

/* The client that asks, authenticated or public; NULL: answered. */
const client *client_of(request *r, const otok_form *form);

/* The same for a POST with a form, and the request for the library's endpoint at that path, with this client; `dpop`: room for 2. */
const client *client_asks(request *r, const char *path, otok_http_request *http, const char **dpop);

/* JSON, as the library's endpoints refuse: OTOK_E_... */
void answer_refusal(request *r, int code, const char *description);

/* What a call of one of these endpoints came to: its response, or its failure. */
void answer_endpoint(request *r, int code, otok_http_response *response, const otok_error *err);

/*
 * The scopes, of those that a client may ask for, that are granted to it by a grant without a page, or with one whose user has just agreed:
 * freed with free().  OTOK_E_SCOPE: none, and `err` says why.
 */
int scope_granted(const client *c, const user *u, const char *asked, int32_t grant_type, char **granted,
                  otok_error *err);

/* Adds to what a subject has allowed a client. */
int consent_add(server *s, const char *subject, const client *c, const char *granted, otok_error *err);

void device_policy(otok_policy *policy);  /* of the sessions that requests are */
void do_device_authorization(request *r); /* POST /device_authorization */
void show_device(request *r);             /* GET /device?user_code= */
void do_device(request *r);               /* POST */
void do_device_token(request *r, const client *c, const otok_http_request *http); /* the token endpoint's part */

void answer_object(request *r, int status, struct cJSON *object); /* as JSON; frees it */
void show_metadata(request *r); /* GET /.well-known/openid-configuration, and oauth-authorization-server */
void show_jwks(request *r);     /* GET /jwks */
void show_userinfo(request *r); /* GET and POST /userinfo */

/* A thread that tells clients of logouts, on libcurl: tries 3 times, holds 1000 at most, 100 of a client. */
notices *notices_start(server *s);
void notices_stop(notices *all);

/* To every client that has sessions of that login, of the user with `revoke_offline_access`.  `sid` NULL: of all logins. */
void notices_logout(server *s, const user *u, const char *sid, bool revoke_offline_access);

/* GET and POST /logout (RP-Initiated Logout 1.0), as /authorize; asks where it must. */
void show_end_session(request *r);
void do_end_session(request *r); /* POST /logout/confirm */

void show_account(request *r);           /* GET /account */
void do_account_revoke(request *r);      /* POST /account/sessions/: one */
void do_account_application(request *r); /* POST /account/applications/: all of a client, and its consent */

void show_admin(request *r);        /* GET /admin: counters, plot, events, clients, users */
void show_admin_client(request *r); /* GET /admin/clients/: its sessions, page by page */
void show_admin_user(request *r);   /* GET /admin/users/: consents and sessions */
void do_admin_revoke(request *r);   /* POST /admin/sessions/ */
void do_admin_consent(request *r);  /* POST /admin/consents: user and client */
void do_admin_cutoff(request *r);   /* POST /admin/cutoffs: of realm, client or user; asks first */
void show_metrics(request *r);      /* GET /metrics: OpenMetrics, for this machine only */

/* ---------------------------------------------------------------------------------------------------------- activity.c */

enum { ACTIVITY_SECONDS = 120, ACTIVITY_EVENTS = 30 };

activity *activity_new(void);
void activity_free(activity *a);
void activity_event(activity *a, const otok_event *event);           /* from the callback: any thread */
void activity_second(activity *a, const otok_stats *stats);          /* once a second */
void html_activity(activity *a, const otok_stats *stats, text *out); /* plot (SVG) and counters */
void html_events(activity *a, text *out);                            /* the last ones */

#endif
