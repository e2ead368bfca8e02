/* Drives TLS-PSK servers on this machine and measures what each connection costs them.
 *
 *   c_tls_psk_load --targets FILE [--suite NAME] [--count N] [--concurrency K] [--pid PID]... [--timeout SECONDS]
 *                  [--hold] [--listen 127.0.0.1:PORT]
 *
 * One operation: TCP connection, full handshake as TLS client, one exchange, close_notify, the peer's close. The
 * exchange is a BFCP Hello with its answer where the target has a conference, else 32 octets that must come back.
 *
 * FILE ("-": stdin) has one target a line:   PORT IDENTITY PSK-HEX [CONFERENCE USER]
 * The targets are taken in turn until N operations are done (default: each once); all are on 127.0.0.1.
 *
 * --listen: the peer opens the TCP connections and this program accepts them (port 0: any, told on stdout as
 *     {"listening": PORT}); it is the TLS client all the same. Whose connection it is shows the peer's own port, which
 *     must be the target's; a target with PORT 0 is for connections from any other port.
 * --hold: N connections are opened and stay open, secured and silent, until stdin (a pipe; so the targets are in a
 *     file) ends, and then end with this program, without close_notify.
 *
 * --pid: a process of the server, may be repeated. Its CPU time (user and system, all threads, from schedstat) and its
 *     resident memory are read before the first connection and after the last. CPU time is nearly blind to busy
 *     neighbours, wall time is not: quote "cpu_us" and "per_second_and_core".
 *
 * The result is one line of JSON, with --hold printed when all connections stand:
 *   operations, failures, first_failure, wall_s, cpu_us (of the server, per operation), per_second_and_core,
 *   rss_before_kb, rss_after_kb, rss_kb_each, client_cpu_us. Exit status 1 when an operation failed.
 *
 *   cc -O2 -o c_tls_psk_load bench/c_tls_psk_load.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <getopt.h>
#include <time.h>

#include "c_tls_psk.h"

enum { ECHO_SIZE = 32, BFCP_HEADER = 12, BFCP_HELLO = 11, BFCP_HELLO_ACK = 12, MAX_PIDS = 64, MAX_LINE = 2048 };

struct target {
    uint16_t port;
    int bfcp;
    uint32_t conference;
    uint16_t user;
    struct credentials credentials;
};

enum phase { HANDSHAKE, REPLY, CLOSING, HELD };

struct connection {
    SSL *ssl;
    int fd;
    enum phase phase;
    const struct target *target;
    unsigned char received[64];
    size_t length; /* of what was received of the answer, which may be longer than `received` */
    double begun;
    struct connection *next, **link; /* list of those that a time limit holds for, oldest first */
};

static struct target *targets;
static long target_count;
static const struct target *target_of_port[65536];

static int epoll;
static SSL_CTX *context;
static int holding;
static double time_limit = 10;
static struct connection *oldest, **newest = &oldest;
static long started, finished, failures, held;
static char first_failure[256];

static long pids[MAX_PIDS];
static int pid_count;

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- what the server costs ---- */

/* Nanoseconds on the CPU of all threads of a process: first field of schedstat. */
static double process_cpu(long pid)
{
    char path[300];
    double total = 0;
    snprintf(path, sizeof path, "/proc/%ld/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        fail("no process %ld", pid);
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        unsigned long long on_cpu = 0;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%ld/task/%s/schedstat", pid, entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            continue; /* a thread that has ended meanwhile */
        if (fscanf(file, "%llu", &on_cpu) == 1)
            total += (double)on_cpu;
        fclose(file);
    }
    closedir(tasks);
    return total;
}

static double servers_cpu(void)
{
    double total = 0;
    for (int i = 0; i < pid_count; i++)
        total += process_cpu(pids[i]);
    return total;
}

static long servers_rss_kb(void)
{
    long total = 0;
    for (int i = 0; i < pid_count; i++) {
        char path[64];
        long pages = 0;
        snprintf(path, sizeof path, "/proc/%ld/statm", pids[i]);
        FILE *file = fopen(path, "r");
        if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
            fail("no process %ld", pids[i]);
        fclose(file);
        total += pages * (sysconf(_SC_PAGESIZE) / 1024);
    }
    return total;
}

/* ---- one connection ---- */

static unsigned int give_psk(SSL *ssl, const char *hint, char *identity, unsigned int identity_room,
                             unsigned char *psk, unsigned int psk_room)
{
    const struct connection *connection = SSL_get_app_data(ssl);
    const struct credentials *own = &connection->target->credentials;
    (void)hint;
    if (strlen(own->identity) >= identity_room || own->psk_length > psk_room)
        return 0;
    strcpy(identity, own->identity);
    memcpy(psk, own->psk, own->psk_length);
    return own->psk_length;
}

/* Out of the list of those that the time limit holds for. */
static void unlist(struct connection *connection)
{
    if (connection->link == NULL)
        return;
    *connection->link = connection->next;
    if (connection->next != NULL)
        connection->next->link = connection->link;
    else
        newest = connection->link;
    connection->link = NULL;
}

static void add_connection(int fd, const struct target *target)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || (connection->ssl = SSL_new(context)) == NULL || !SSL_set_fd(connection->ssl, fd))
        fail("out of memory");
    connection->fd = fd;
    connection->target = target;
    connection->begun = seconds_now();
    connection->link = newest;
    *newest = connection;
    newest = &connection->next;
    SSL_set_app_data(connection->ssl, connection);
    SSL_set_connect_state(connection->ssl);
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, connection);
    started++;
}

static void end_connection(struct connection *connection, const char *failure)
{
    if (failure != NULL) {
        unsigned long error = ERR_peek_error();
        const char *reason = error ? ERR_reason_error_string(error) : NULL;
        if (failures++ == 0)
            snprintf(first_failure, sizeof first_failure, "port %u: %s%s%s", connection->target->port, failure,
                     reason ? ": " : "", reason ? reason : "");
    }
    if (connection->phase == HELD)
        held--;
    else
        finished++;
    unlist(connection);
    SSL_free(connection->ssl);
    close(connection->fd);
    free(connection);
}

/* The request of the exchange: a BFCP Hello (RFC 8855 5.1, no attributes, transaction 1), or octets to come back.
 * Returns its length. */
static int make_request(const struct target *target, unsigned char request[ECHO_SIZE])
{
    uint32_t conference = htonl(target->conference);
    uint16_t user = htons(target->user), transaction = htons(1);
    if (!target->bfcp) {
        memset(request, 'e', ECHO_SIZE);
        return ECHO_SIZE;
    }
    memset(request, 0, BFCP_HEADER);
    request[0] = 1 << 5;
    request[1] = BFCP_HELLO;
    memcpy(request + 4, &conference, 4);
    memcpy(request + 8, &transaction, 2);
    memcpy(request + 10, &user, 2);
    return BFCP_HEADER;
}

static int send_request(struct connection *connection)
{
    unsigned char request[ECHO_SIZE];
    int length = make_request(connection->target, request);
    return SSL_write(connection->ssl, request, length) == length;
}

/* 1: the whole answer is there. 0: not yet. -1: it is not the answer.
 * The answer is the request itself, or for a Hello also a HelloAck with the same identifiers; the length of a BFCP
 * message is in its header, in units of 4 octets after it. */
static int has_reply(const struct connection *connection)
{
    unsigned char request[ECHO_SIZE];
    const unsigned char *reply = connection->received;
    size_t length = (size_t)make_request(connection->target, request);
    if (connection->length < length)
        return 0;
    if (!connection->target->bfcp)
        return memcmp(reply, request, length) == 0 ? 1 : -1;
    if ((reply[1] != BFCP_HELLO && reply[1] != BFCP_HELLO_ACK) || memcmp(reply + 4, request + 4, length - 4) != 0)
        return -1;
    return connection->length >= length + 4u * (reply[2] << 8 | reply[3]);
}

/* Reads what is there. 1: go on waiting. 0: the peer has closed. -1: failure. */
static int receive(struct connection *connection)
{
    for (;;) {
        unsigned char buffer[4096];
        int length = SSL_read(connection->ssl, buffer, sizeof buffer);
        if (length <= 0) {
            int error = SSL_get_error(connection->ssl, length);
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
                return 1;
            return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
        }
        for (int i = 0; i < length && connection->length + (size_t)i < sizeof connection->received; i++)
            connection->received[connection->length + (size_t)i] = buffer[i];
        connection->length += (size_t)length;
    }
}

/* After our close_notify: until the peer closes too. So the peer closes first and keeps TIME_WAIT off our ports. */
static void await_close(struct connection *connection)
{
    int result = receive(connection);
    if (result == 1)
        return;
    if (result == 0) { /* close_notify; now its FIN */
        char octet;
        ssize_t length = read(connection->fd, &octet, 1);
        if (length < 0 && errno == EAGAIN)
            return;
    }
    /* A bare FIN or a reset after our close_notify is how some servers answer it: the operation was complete. */
    end_connection(connection, NULL);
}

/* Goes on until libssl wants to wait, or the connection is over. */
static void advance(struct connection *connection)
{
    int result, open;
    ERR_clear_error();
    switch (connection->phase) {
    case HANDSHAKE:
        result = SSL_do_handshake(connection->ssl);
        if (result != 1) {
            int error = SSL_get_error(connection->ssl, result);
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
                end_connection(connection, "handshake");
            return;
        }
        if (!used_psk(connection->ssl) || !send_request(connection)) {
            end_connection(connection, "no PSK used, or request not sent");
            return;
        }
        connection->phase = REPLY;
        /* fall through */
    case REPLY:
        open = receive(connection) == 1;
        result = has_reply(connection);
        if (result < 0 || (result == 0 && !open))
            end_connection(connection, result < 0 ? "wrong answer" : "closed before the answer");
        if (result <= 0)
            return;
        if (holding) {
            connection->phase = HELD;
            unlist(connection);
            held++;
            finished++;
            return;
        }
        SSL_shutdown(connection->ssl);
        connection->phase = CLOSING;
        /* fall through */
    case CLOSING:
        await_close(connection);
        return;
    case HELD:
        if (receive(connection) != 1)
            end_connection(connection, "held connection closed by the server");
        return;
    }
}

/* ---- all connections ---- */

static void open_connections(long count, long concurrency)
{
    while (started < count && started - finished < concurrency) {
        const struct target *target = &targets[started % target_count];
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(target->port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = make_socket();
        if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
            fail("connect to port %u: %s", target->port, strerror(errno));
        add_connection(fd, target);
    }
}

static void accept_all(int listener)
{
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int yes = 1, fd;
    while ((fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        const struct target *target = target_of_port[ntohs(peer.sin_port)];
        if (target == NULL)
            target = target_of_port[0];
        if (target == NULL)
            fail("connection from port %u, which no target has", ntohs(peer.sin_port));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        add_connection(fd, target);
        length = sizeof peer;
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        fail("accept: %s", strerror(errno));
}

/* The list is in the order of beginning, so this looks at those that are too old and one more. */
static void end_those_too_old(void)
{
    double now = seconds_now();
    ERR_clear_error();
    while (oldest != NULL && now - oldest->begun > time_limit) {
        static const char *const waiting_for[] = {"handshake takes too long", "no answer", "no close", ""};
        end_connection(oldest, waiting_for[oldest->phase]);
    }
}

/* Its address stands for stdin where an event has a connection, as NULL does for the listener. */
static char stdin_marker;

/* One round of waiting and going on. Returns 0 when stdin has ended. */
static int run_once(int listener)
{
    struct epoll_event events[MAX_EVENTS];
    int open = 1;
    int ready = epoll_wait(epoll, events, MAX_EVENTS, 100);
    if (ready < 0 && errno != EINTR)
        fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < ready; i++) {
        char scrap[64];
        if (events[i].data.ptr == NULL)
            accept_all(listener);
        else if (events[i].data.ptr == &stdin_marker)
            open = read(STDIN_FILENO, scrap, sizeof scrap) > 0;
        else
            advance(events[i].data.ptr);
    }
    end_those_too_old();
    return open;
}

static void read_targets(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    char line[MAX_LINE];
    long room = 0;
    if (file == NULL)
        fail("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file) != NULL) {
        char *words[6];
        int count = 0;
        for (char *word = strtok(line, " \n"); word != NULL && count < 6; word = strtok(NULL, " \n"))
            words[count++] = word;
        if (count == 0)
            continue;
        if (count != 3 && count != 5)
            fail("target %ld: PORT IDENTITY PSK-HEX [CONFERENCE USER]", target_count + 1);
        if (target_count == room) {
            room = room ? 2 * room : 64;
            if ((targets = realloc(targets, (size_t)room * sizeof *targets)) == NULL)
                fail("out of memory");
        }
        struct target *target = &targets[target_count++];
        memset(target, 0, sizeof *target);
        target->port = (uint16_t)parse_number(words[0], 0, 65535);
        set_credentials(&target->credentials, words[1], words[2]);
        if (count == 5) {
            target->bfcp = 1;
            target->conference = (uint32_t)parse_number(words[3], 0, 0xffffffffL);
            target->user = (uint16_t)parse_number(words[4], 0, 65535);
        }
    }
    if (target_count == 0)
        fail("%s: no targets", path);
    for (long i = 0; i < target_count; i++)
        target_of_port[targets[i].port] = &targets[i];
    if (file != stdin)
        fclose(file);
}

static void report(double wall, double cpu_ns, long rss_before, long rss_after, double own_cpu)
{
    long done = finished - failures;
    printf("{\"operations\": %ld, \"failures\": %ld, \"wall_s\": %.3f", done, failures, wall);
    if (failures)
        printf(", \"first_failure\": \"%s\"", first_failure);
    if (done > 0) {
        printf(", \"client_cpu_us\": %.1f", own_cpu * 1e6 / (double)done);
        if (pid_count)
            printf(", \"cpu_us\": %.1f, \"per_second_and_core\": %.0f, \"rss_before_kb\": %ld, "
                   "\"rss_after_kb\": %ld, \"rss_kb_each\": %.2f",
                   cpu_ns / 1e3 / (double)done, (double)done * 1e9 / cpu_ns, rss_before, rss_after,
                   (double)(rss_after - rss_before) / (double)done);
    }
    printf("}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"targets", required_argument, NULL, 't'}, {"suite", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'n'},   {"concurrency", required_argument, NULL, 'k'},
        {"pid", required_argument, NULL, 'p'},     {"timeout", required_argument, NULL, 'w'},
        {"hold", no_argument, NULL, 'h'},          {"listen", required_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    const char *path = NULL, *suite = NULL, *listening = NULL;
    long count = 0, concurrency = 64;
    int option, listener = -1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 't': path = optarg; break;
        case 's': suite = optarg; break;
        case 'n': count = parse_number(optarg, 1, 100000000); break;
        case 'k': concurrency = parse_number(optarg, 1, 100000); break;
        case 'w': time_limit = (double)parse_number(optarg, 1, 3600); break;
        case 'h': holding = 1; break;
        case 'l': listening = optarg; break;
        case 'p':
            if (pid_count == MAX_PIDS)
                fail("too many processes");
            pids[pid_count++] = parse_number(optarg, 1, 1L << 30);
            break;
        default: fail("see the head of bench/c_tls_psk_load.c");
        }
    }
    if (optind != argc || path == NULL)
        fail("--targets FILE; see the head of bench/c_tls_psk_load.c");
    read_targets(path);
    count = count ? count : target_count;
    prepare_process();
    context = make_context(TLS_client_method(), suite);
    /* A server without the key must fail, not prove itself by a certificate: none is trusted. */
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_psk_client_callback(context, give_psk);
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
        fail("epoll: %s", strerror(errno));

    double cpu = servers_cpu();
    long rss = servers_rss_kb();
    double begun = 0;
    if (listening) {
        listener = listen_on(parse_address(listening));
        watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    }
    while (finished < count) {
        if (!listening)
            open_connections(count, concurrency);
        if (begun == 0 && started > 0)
            begun = seconds_now();
        run_once(listener);
    }
    double own_cpu = (double)clock() / CLOCKS_PER_SEC;
    report(seconds_now() - begun, servers_cpu() - cpu, rss, servers_rss_kb(), own_cpu);

    if (holding) {
        long standing = held;
        watch(epoll, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, &stdin_marker);
        while (run_once(listener))
            continue;
        printf("{\"held\": %ld, \"lost\": %ld}\n", held, standing - held);
    }
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
