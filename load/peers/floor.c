/* The floor in C: one send() for each event and socket. floor PORT REDIS_SOCKET
   All viewers send the same key, so the answer to their handshake is always the same. A socket that
   is full is left out until it is writable; what it missed then waits in a buffer of its own. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST 65536 /* sockets */
#define HELD (1 << 20)

static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int poll_fd, viewers[MOST], place[MOST], count; /* place: where in viewers, plus one */
static struct { char *bytes; size_t size; } waiting[MOST];
static char held[HELD], frame[HELD + 4];
static size_t holds;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int fd, unsigned events, int how) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poll_fd, how, fd, &event)) fail("epoll_ctl");
}

static void deliver(int fd, const char *data, size_t size) {
    ssize_t sent = 0;
    if (!waiting[fd].size) {
        sent = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == (ssize_t)size || (sent < 0 && errno != EAGAIN)) return; /* or: it is gone */
        if (sent < 0) sent = 0;
        watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    size_t rest = size - sent, before = waiting[fd].size;
    waiting[fd].bytes = realloc(waiting[fd].bytes, before + rest);
    if (!waiting[fd].bytes) fail("realloc");
    memcpy(waiting[fd].bytes + before, data + sent, rest);
    waiting[fd].size = before + rest;
}

static void writable(int fd) {
    char *bytes = waiting[fd].bytes;
    size_t size = waiting[fd].size;
    waiting[fd].bytes = NULL;
    waiting[fd].size = 0;
    watch(fd, EPOLLIN, EPOLL_CTL_MOD);
    deliver(fd, bytes, size);
    free(bytes);
}

static void leave(int fd) {
    if (place[fd]) {
        int last = viewers[--count];
        viewers[place[fd] - 1] = last;
        place[last] = place[fd];
        place[fd] = 0;
    }
    free(waiting[fd].bytes);
    waiting[fd].bytes = NULL;
    waiting[fd].size = 0;
    close(fd);
}

static void tell(const char *body, size_t size) {
    size_t head = size < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    frame[1] = (char)(size < 126 ? size : 126);
    if (head == 4) {
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
    }
    memcpy(frame + head, body, size);
    for (int i = 0; i < count; i++) deliver(viewers[i], frame, head + size);
}

/* One reply of Redis, *3 of three bulk strings: how many bytes it takes, 0 when it is not whole. */
static size_t reply(const char *data, const char *end) {
    const char *part[3], *at = data;
    size_t sizes[3];
    if (!(at = memchr(at, '\n', end - at))) return 0;
    at++;
    for (int i = 0; i < 3; i++) {
        const char *line = memchr(at, '\n', end - at);
        if (!line) return 0;
        part[i] = line + 1;
        sizes[i] = *at == '$' ? (size_t)atol(at + 1) : 0;
        at = *at == '$' ? part[i] + sizes[i] + 2 : part[i]; /* else a number, as in subscribe */
        if (at > end) return 0;
    }
    if (sizes[0] == 7) tell(part[2], sizes[2]); /* "message" */
    return at - data;
}

static void bus_reads(int bus) {
    ssize_t got = read(bus, held + holds, HELD - holds);
    if (got <= 0) exit(0);
    holds += got;
    size_t done = 0, one;
    while (done < holds && (one = reply(held + done, held + holds))) done += one;
    memmove(held, held + done, holds - done);
    holds -= done;
}

int main(int argc, char **argv) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un redis = {.sun_family = AF_UNIX};
    int yes = 1, bus = socket(AF_UNIX, SOCK_STREAM, 0), listener = socket(AF_INET, SOCK_STREAM, 0);
    if (argc != 3) return 2;
    at.sin_port = htons(atoi(argv[1]));
    strncpy(redis.sun_path, argv[2], sizeof redis.sun_path - 1);
    if (connect(bus, (void *)&redis, sizeof redis)) fail("redis");
    if (write(bus, "SUBSCRIBE room\r\n", 16) != 16) fail("redis");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) fail("listen");
    poll_fd = epoll_create1(0);
    watch(bus, EPOLLIN, EPOLL_CTL_ADD);
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[1024];
        for (int i = 0, n = epoll_wait(poll_fd, events, 1024, -1); i < n; i++) {
            int fd = events[i].data.fd;
            char head[4096];
            if (fd == bus) bus_reads(bus);
            else if (fd == listener) {
                int new = accept(listener, NULL, NULL);
                if (new < 0 || new >= MOST) fail("accept");
                setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                watch(new, EPOLLIN, EPOLL_CTL_ADD);
            } else if (events[i].events & EPOLLOUT) writable(fd);
            else if (read(fd, head, sizeof head) <= 0) leave(fd);
            else if (!place[fd]) {
                viewers[count++] = fd;
                place[fd] = count;
                if (write(fd, answer, sizeof answer - 1) < 0) leave(fd);
            }
        }
    }
}
