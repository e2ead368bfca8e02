/* What the two C programs of the TLS-PSK measurements share: suites, keys, addresses, small helpers.
 *
 * Both use libssl in the cheapest right way, since they are the measure for others: non-blocking sockets, one
 * epoll, one thread, no session cache, no tickets, buffers released when idle.
 */
#ifndef C_TLS_PSK_H
#define C_TLS_PSK_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_PSK = 256, MAX_IDENTITY = 255, MAX_EVENTS = 256, BACKLOG = 4096 };

struct suite {
    const char *name;
    int version;
    const char *ciphers; /* of TLS 1.2; those of TLS 1.3 are libssl's own list */
};

static const struct suite SUITES[] = {
    {"psk-gcm", TLS1_2_VERSION, "PSK-AES128-GCM-SHA256"},
    {"ecdhe-chacha", TLS1_2_VERSION, "ECDHE-PSK-CHACHA20-POLY1305"},
    {"ecdhe-cbc", TLS1_2_VERSION, "ECDHE-PSK-AES128-CBC-SHA256"},
    {"tls13", TLS1_3_VERSION, NULL}, /* psk_dhe_ke: psk_ke is refused unless one asks libssl for it */
};

struct credentials {
    char identity[MAX_IDENTITY + 1];
    unsigned char psk[MAX_PSK];
    unsigned int psk_length;
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

static long parse_number(const char *text, long minimum, long maximum)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || *text == '\0' || *end != '\0' || number < minimum || number > maximum)
        fail("not a number from %ld to %ld: %s", minimum, maximum, text);
    return number;
}

/* Identity as text, key as hexadecimal digits. */
static void set_credentials(struct credentials *credentials, const char *identity, const char *hex)
{
    size_t digits = strlen(hex);
    if (*identity == '\0' || strlen(identity) > MAX_IDENTITY)
        fail("identity: 1 to %d octets", MAX_IDENTITY);
    if (digits == 0 || digits % 2 || digits / 2 > MAX_PSK || strspn(hex, "0123456789abcdefABCDEF") != digits)
        fail("key: 1 to %d octets in hexadecimal", MAX_PSK);
    strcpy(credentials->identity, identity);
    credentials->psk_length = (unsigned int)(digits / 2);
    for (unsigned int i = 0; i < credentials->psk_length; i++) {
        char octet[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        credentials->psk[i] = (unsigned char)strtoul(octet, NULL, 16);
    }
}

/* "127.0.0.1:5000". Benchmarks stay on this machine: other addresses than 127/8 are refused. */
static struct sockaddr_in parse_address(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        fail("not HOST:PORT: %s", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || (ntohl(address.sin_addr.s_addr) >> 24) != 127)
        fail("not a loopback address: %s", host);
    address.sin_port = htons((uint16_t)parse_number(colon + 1, 0, 65535));
    return address;
}

/* A context for one suite by name, or for all of them with NULL. */
static SSL_CTX *make_context(const SSL_METHOD *method, const char *suite_name)
{
    SSL_CTX *context = SSL_CTX_new(method);
    char ciphers[256] = "";
    int lowest = TLS1_3_VERSION, highest = TLS1_2_VERSION, found = 0;
    for (size_t i = 0; i < sizeof SUITES / sizeof *SUITES; i++) {
        const struct suite *suite = &SUITES[i];
        if (suite_name != NULL && strcmp(suite->name, suite_name) != 0)
            continue;
        found = 1;
        lowest = suite->version < lowest ? suite->version : lowest;
        highest = suite->version > highest ? suite->version : highest;
        if (suite->ciphers != NULL) {
            strcat(ciphers, *ciphers ? ":" : "");
            strcat(ciphers, suite->ciphers);
        }
    }
    if (context == NULL || !found)
        fail("unknown suite: %s (psk-gcm, ecdhe-chacha, ecdhe-cbc, tls13)", suite_name ? suite_name : "");
    if (!SSL_CTX_set_min_proto_version(context, lowest) || !SSL_CTX_set_max_proto_version(context, highest)
        || (*ciphers && !SSL_CTX_set_cipher_list(context, ciphers)))
        fail("libssl lacks what the suite needs");
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    return context;
}

/* Whether the finished handshake used the key and nothing else: a TLS 1.3 key counts as a resumed session. */
static int used_psk(SSL *ssl)
{
    if (SSL_version(ssl) == TLS1_3_VERSION)
        return SSL_session_reused(ssl);
    return !SSL_session_reused(ssl) && strstr(SSL_get_cipher_name(ssl), "PSK") != NULL;
}

static int make_socket(void)
{
    int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return fd;
}

/* Listens, and says where as a line of JSON, for whoever has started this program. */
static int listen_on(struct sockaddr_in address)
{
    int yes = 1;
    socklen_t length = sizeof address;
    int fd = make_socket();
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG)
        || getsockname(fd, (struct sockaddr *)&address, &length))
        fail("listen: %s", strerror(errno));
    printf("{\"listening\": %u}\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void watch(int epoll, int operation, int fd, uint32_t events, void *data)
{
    struct epoll_event event = {.events = events, .data.ptr = data};
    if (epoll_ctl(epoll, operation, fd, &event))
        fail("epoll_ctl: %s", strerror(errno));
}

/* As many descriptors as this machine allows, and no death by a peer that has gone. */
static void prepare_process(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGPIPE, SIG_IGN);
}

#endif
