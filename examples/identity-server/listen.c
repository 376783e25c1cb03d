/*
 * listen.c - the socket, and libmicrohttpd on it: a thread for each connection, bounded in number, memory and patience.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* CONNECTION_MEMORY is the bound of a request's headers; of a body, MOST_BODY. */
enum { CONNECTIONS = 500, CONNECTIONS_OF_ONE = 100, CONNECTION_MEMORY = 65536, TIMEOUT_S = 15, MOST_PEM = 1 << 20 };

struct http {
    struct MHD_Daemon *daemon;
    text certificate, key;
};

/* ------------------------------------------------------------------------------------------------------------ socket */

/* "[::1]:8080" to "::1" and "8080".  Freed by the caller, the port lives as long. */
static char *split(const char *where, const char **port)
{
    char *host = strdup(where), *colon = host != NULL ? strrchr(host, ':') : NULL;
    if (colon == NULL || colon == host || colon[1] == '\0') {
        free(host);
        return NULL;
    }
    *colon = '\0';
    *port = colon + 1;
    if (host[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        memmove(host, host + 1, strlen(host));
    }
    return host;
}

static int bind_to(const struct addrinfo *address)
{
    int one = 1,
        fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static bool port_of(int fd, uint16_t *port)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof own;
    char digits[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&own, &len) != 0 ||
        getnameinfo((struct sockaddr *)&own, len, NULL, 0, digits, sizeof digits, NI_NUMERICSERV) != 0)
        return false;
    *port = (uint16_t)strtoul(digits, NULL, 10);
    return true;
}

int http_listen(const char *where, uint16_t *port)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const char *service = NULL;
    char *host = split(where, &service);
    int code = host != NULL ? getaddrinfo(host, service, &hints, &found) : EAI_NONAME;
    free(host);
    if (code != 0) {
        fprintf(stderr, "identity-server: --listen %s: %s\n", where, gai_strerror(code));
        return -1;
    }
    int fd = bind_to(found);
    freeaddrinfo(found);
    if (fd < 0 || !port_of(fd, port))
        fprintf(stderr, "identity-server: --listen %s: %s\n", where, strerror(errno));
    return fd;
}

/* ------------------------------------------------------------------------------------------------------------ daemon */

static bool read_file(const char *path, text *out)
{
    char block[4096];
    size_t len;
    FILE *in = fopen(path, "re");
    while (in != NULL && out->len <= MOST_PEM && (len = fread(block, 1, sizeof block, in)) != 0)
        text_append(out, block, len);
    bool is_read = in != NULL && !ferror(in) && out->len != 0 && out->len <= MOST_PEM && !out->failed;
    if (!is_read)
        fprintf(stderr, "identity-server: %s: %s\n", path, in == NULL ? strerror(errno) : "is not a PEM file");
    if (in != NULL)
        fclose(in);
    explicit_bzero(block, sizeof block);
    return is_read;
}

/* What it says of each connection that a client broke off is nobody's concern. */
static void say_nothing(void *arg, const char *format, va_list args)
{
    (void)arg, (void)format, (void)args;
}

/* Paths are decoded in http.c, more strictly: this leaves them as they are. */
static size_t leave(void *arg, struct MHD_Connection *connection, char *path)
{
    (void)arg, (void)connection;
    return strlen(path);
}

/*
 * A refresh waits for the disk, and whoever waits at the same time shares one sync.  In a pool a connection belongs to one thread for good,
 * and waits for what else came to that; so each has its own.
 */
static struct MHD_Daemon *start(server *s, int fd, const struct http *http)
{
    const bool has_tls = http->certificate.data != NULL;
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, http->certificate.data},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, http->key.data},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL},
    };
    const unsigned flags =
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_ERROR_LOG | (has_tls ? MHD_USE_TLS : 0U);
    /* Behind a proxy all connections come from one address. */
    const unsigned of_one = s->behind_proxy ? 0 : CONNECTIONS_OF_ONE;
    return MHD_start_daemon(flags, 0, NULL, NULL, exchange_go_on, s, MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL,
                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, exchange_new, s,
                            MHD_OPTION_NOTIFY_COMPLETED, exchange_free, s, MHD_OPTION_UNESCAPE_CALLBACK, leave, NULL,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                            of_one, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT,
                            1, has_tls ? MHD_OPTION_ARRAY : MHD_OPTION_END, tls, MHD_OPTION_END);
}

struct http *http_start(server *s, int socket, const char *certificate, const char *key)
{
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL)
        return NULL;
    bool is_ready = certificate == NULL || (read_file(certificate, &http->certificate) && read_file(key, &http->key));
    if (is_ready)
        http->daemon = start(s, socket, http);
    if (http->daemon != NULL)
        return http;
    if (is_ready)
        fprintf(stderr,
                "identity-server: libmicrohttpd does not start: a key and a certificate that do not go together?\n");
    http_stop(http);
    return NULL;
}

void http_stop(struct http *http)
{
    if (http == NULL)
        return;
    if (http->daemon != NULL)
        MHD_stop_daemon(http->daemon);
    text_free(&http->certificate);
    text_free(&http->key);
    free(http);
}
