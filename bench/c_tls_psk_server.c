/* A TLS-PSK server on libssl and epoll, one thread: the measure beside which the MRFP's set-ups are put.
 *
 *   c_tls_psk_server --identity ID --psk HEX [--suite NAME] --listen 127.0.0.1:PORT
 *   c_tls_psk_server --identity ID --psk HEX [--suite NAME] --connect 127.0.0.1:PORT --count N [--concurrency K]
 *
 * It is the TLS server in both forms. With --listen it also waits for TCP connections (port 0: any, told on stdout as
 * {"listening": PORT}) and runs until it is killed. With --connect it opens N of them itself, K at a time, as the
 * MRFP does when the answer says a=setup:active, and ends when the last is over.
 *
 * On each connection: full handshake, whatever is received is sent back, close_notify is answered, closed.
 *
 *   cc -O2 -o c_tls_psk_server bench/c_tls_psk_server.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include <getopt.h>

#include "c_tls_psk.h"

struct connection {
    SSL *ssl;
    int fd;
    int established;
};

static struct credentials own;
static int epoll;
static long opened, ended, failed;

/* One key for all: what a key per connection would cost beside this is one comparison. */
static unsigned int find_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned int room)
{
    (void)ssl;
    if (identity == NULL || strcmp(identity, own.identity) != 0 || room < own.psk_length)
        return 0;
    memcpy(psk, own.psk, own.psk_length);
    return own.psk_length;
}

static void add_connection(SSL_CTX *context, int fd)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || (connection->ssl = SSL_new(context)) == NULL || !SSL_set_fd(connection->ssl, fd))
        fail("out of memory");
    connection->fd = fd;
    SSL_set_accept_state(connection->ssl);
    /* Edge-triggered, both directions, once: no epoll_ctl call later on. */
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, connection);
    opened++;
}

static void end_connection(struct connection *connection, int failure)
{
    if (failure)
        failed++;
    ended++;
    SSL_free(connection->ssl);
    close(connection->fd);
    free(connection);
}

/* Goes on until libssl wants to wait, or the connection is over. */
static void advance(struct connection *connection)
{
    char buffer[4096];
    ERR_clear_error();
    if (!connection->established) {
        int result = SSL_do_handshake(connection->ssl);
        if (result != 1) {
            int error = SSL_get_error(connection->ssl, result);
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
                end_connection(connection, 1);
            return;
        }
        if (!used_psk(connection->ssl)) {
            end_connection(connection, 1);
            return;
        }
        connection->established = 1;
    }
    for (;;) {
        int length = SSL_read(connection->ssl, buffer, sizeof buffer);
        if (length <= 0) {
            int error = SSL_get_error(connection->ssl, length);
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
                return;
            if (error == SSL_ERROR_ZERO_RETURN)
                SSL_shutdown(connection->ssl);
            end_connection(connection, error != SSL_ERROR_ZERO_RETURN);
            return;
        }
        /* An echo is far smaller than a socket's buffer; a peer that does not read is not served. */
        if (SSL_write(connection->ssl, buffer, length) != length) {
            end_connection(connection, 1);
            return;
        }
    }
}

static void accept_all(SSL_CTX *context, int listener)
{
    int yes = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        add_connection(context, fd);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        fail("accept: %s", strerror(errno));
}

/* libssl itself finds out, by its first read, whether the connection came about. */
static void open_connections(SSL_CTX *context, struct sockaddr_in remote, long count, long concurrency)
{
    while (opened < count && opened - ended < concurrency) {
        int fd = make_socket();
        if (connect(fd, (struct sockaddr *)&remote, sizeof remote) && errno != EINPROGRESS)
            fail("connect: %s", strerror(errno));
        add_connection(context, fd);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"identity", required_argument, NULL, 'i'}, {"psk", required_argument, NULL, 'p'},
        {"suite", required_argument, NULL, 's'},    {"listen", required_argument, NULL, 'l'},
        {"connect", required_argument, NULL, 'c'},  {"count", required_argument, NULL, 'n'},
        {"concurrency", required_argument, NULL, 'k'}, {NULL, 0, NULL, 0},
    };
    const char *identity = NULL, *psk = NULL, *suite = NULL, *listening = NULL, *connecting = NULL;
    long count = 0, concurrency = 64;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'i': identity = optarg; break;
        case 'p': psk = optarg; break;
        case 's': suite = optarg; break;
        case 'l': listening = optarg; break;
        case 'c': connecting = optarg; break;
        case 'n': count = parse_number(optarg, 1, 100000000); break;
        case 'k': concurrency = parse_number(optarg, 1, 100000); break;
        default: fail("see the head of bench/c_tls_psk_server.c");
        }
    }
    if (optind != argc || !identity || !psk || !listening == !connecting || !count != !connecting)
        fail("--identity, --psk, and either --listen or --connect with --count");
    set_credentials(&own, identity, psk);
    prepare_process();
    SSL_CTX *context = make_context(TLS_server_method(), suite);
    SSL_CTX_set_psk_server_callback(context, find_psk);
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
        fail("epoll: %s", strerror(errno));

    struct sockaddr_in address = parse_address(listening ? listening : connecting);
    int listener = -1;
    if (listening) {
        listener = listen_on(address);
        watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    }
    while (listening || ended < count) {
        struct epoll_event events[MAX_EVENTS];
        if (connecting)
            open_connections(context, address, count, concurrency);
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        if (ready < 0 && errno != EINTR)
            fail("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(context, listener);
            else
                advance(events[i].data.ptr);
        }
    }
    SSL_CTX_free(context);
    printf("{\"connections\": %ld, \"failures\": %ld}\n", ended, failed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
