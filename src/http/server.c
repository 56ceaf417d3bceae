/*
 * server.c: start and stop.
 *
 * Stopping, in this order, so that nothing is cut and nothing hangs: no more connections are accepted; parked requests
 * are run for the last time; answers get "Connection: close"; what runs may finish, and for STOP_GRACE_MS after that
 * clients may fetch their answers; then no connection may be suspended any more (`closed`), and when none is, the
 * library is stopped (it aborts the process when told to stop with suspended connections), then our threads.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/internal.h"

/* Descriptors for everything but connections. */
#define OTHER_DESCRIPTORS 512

static int raise_descriptor_limit(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return CONNECTIONS_MAX;
	rlim_t want = CONNECTIONS_MAX + OTHER_DESCRIPTORS;
	if (r.rlim_cur < want) {
		rlim_t old = r.rlim_cur;
		r.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
		if (setrlimit(RLIMIT_NOFILE, &r) < 0)
			r.rlim_cur = old;
	}
	if (r.rlim_cur >= want)
		return CONNECTIONS_MAX;
	int left = (int)r.rlim_cur - OTHER_DESCRIPTORS;
	return left > 2 * CONNECTIONS_SOCKET_RESERVE ? left : 2 * CONNECTIONS_SOCKET_RESERVE;
}

static void library_log(void *arg, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void library_log(void *arg, const char *fmt, va_list ap)
{
	char text[512];
	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("http", "%s", text);
}

/* We decode paths and arguments ourselves, once. */
static size_t no_unescape(void *arg, struct MHD_Connection *c, char *text)
{
	return strlen(text);
}

static int start_library(struct http_server *s, struct err *e)
{
	struct MHD_OptionItem options[] = {
		{ MHD_OPTION_CONNECTION_LIMIT, s->connections_max, NULL },
		{ MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S, NULL },
		{ MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG;
	s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, library_log, s,
				     MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, s, MHD_OPTION_URI_LOG_CALLBACK, on_uri,
				     s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
				     on_connection, s, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
	if (!s->daemon)
		return err_set(e, ERR_INTERNAL, "the HTTP library does not start: %s", strerror(errno));
	return 0;
}

static int start_threads(struct http_server *s, struct err *e)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int workers = s->config.workers > 0 ? s->config.workers : cores > 2 ? (int)cores * 4 : 8;
	/* Signals are for the threads that the program made itself. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = workers_start(s, workers, e);
	if (rc >= 0)
		rc = start_library(s, e);
	if (rc >= 0)
		rc = loop_start(s, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static const char *default_spool_dir(void)
{
	const char *tmp = getenv("TMPDIR");
	return tmp && tmp[0] ? tmp : access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp";
}

int http_server_start(const struct http_config *config, struct http_server **ret, struct err *e)
{
	struct http_server *s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e);
	s->config = *config;
	s->tcp_fd = s->socket_fd = -1;
	s->epoll_fd = s->kick_fd = -1;
	atomic_init(&s->accepting, true);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	pthread_mutex_init(&s->queue.lock, NULL);
	pthread_mutex_init(&s->park.lock, NULL);
	s->connections_max = raise_descriptor_limit();
	s->spool_dir = strdup(config->spool_dir ? config->spool_dir : default_spool_dir());

	int rc = s->spool_dir ? 0 : err_nomem(e);
	if (rc >= 0)
		rc = router_new(config->routes, config->route_count, &s->router, e);
	if (rc >= 0)
		rc = loop_init(s, e);
	park_init(&s->park, s->epoll_fd);
	if (rc >= 0)
		rc = loop_listen(s, e);
	if (rc >= 0)
		rc = start_threads(s, e);
	if (rc < 0) {
		http_server_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int http_server_port(const struct http_server *s)
{
	return s->port;
}

/* Until nothing is suspended and everything was answered, or STOP_GRACE_MS after the last one came back. */
static void drain(struct http_server *s)
{
	pthread_mutex_lock(&s->lock);
	int64_t grace_end_us = 0;
	while (s->active > 0) {
		if (s->suspended > 0) {
			grace_end_us = 0;
			pthread_cond_wait(&s->changed, &s->lock);
			continue;
		}
		if (grace_end_us == 0)
			grace_end_us = clock_mono_us() + STOP_GRACE_MS * US_PER_MS;
		int64_t left_us = grace_end_us - clock_mono_us();
		if (left_us <= 0)
			break;
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 50 * 1000 * 1000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&s->changed, &s->lock, &until);
	}
	s->closed = true;
	while (s->suspended > 0)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void http_server_stop(struct http_server *s)
{
	if (atomic_exchange(&s->stopping, true))
		return;
	if (s->daemon) {
		loop_stop_accepting(s);
		park_stop(s);
		drain(s);
	}
	loop_stop(s);
	if (s->daemon)
		MHD_stop_daemon(s->daemon);
	s->daemon = NULL;
	workers_stop(s);
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	http_server_stop(s);
	BUG_ON(s->active > 0);
	exchanges_free(s);
	park_done(&s->park);
	loop_done(s);
	router_free(s->router);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->queue.lock);
	pthread_mutex_destroy(&s->park.lock);
	free(s->spool_dir);
	free(s);
}
