/*
 * server.h: the server as a whole: opens the data directory, wires the rooms together, serves, ticks, stops.
 *
 * The data directory (0700, locked: two servers cannot share it):
 *
 *	slipway.db     the database (and its -wal, -shm)
 *	blobs/         large documents
 *	master.key     opens every stored secret (0600): back it up, apart from the database
 *	slipway.sock   the control socket (0600): whoever may open it is the site's administrator
 *	slipway.conf   options, if somebody wrote them
 *	slipway.lock   held while a server runs
 */
#ifndef SLIPWAY_SERVER_SERVER_H
#define SLIPWAY_SERVER_SERVER_H

#include "identity/app.h"
#include "server/config.h"

struct server;

/* Returns once requests are answered. The config must outlive the server. Its threads inherit the caller's signal mask: block
 * first what you want to wait for. */
int server_start(const struct config *config, struct server **ret, struct err *e);
/* Opens the data directory alone, for what works without a server: nobody listens, nothing ticks. ERR_CONFLICT when a
 * server runs on it. */
int server_open(const struct config *config, struct server **ret, struct err *e);
/* Reads everything that is stored (state/verify.h) and writes what is wrong: {"problems":[sentences],"problemCount",
 * "looked":{"stacks":n,...}}. */
struct json_writer;
int server_verify(struct app *app, struct json_writer *j, int64_t *ret_problems, struct err *e);
struct app *server_app(struct server *s);
/* "http://127.0.0.1:8420": where it listens, with the real port. */
const char *server_listen_url(const struct server *s);
/* Whether there is nobody yet who could log in. */
bool server_is_empty(const struct server *s);
/* /readyz answers 503, nothing new begins, running requests finish. */
void server_stop(struct server *s);
/* Stops first if nobody did. NULL is fine. */
void server_free(struct server *s);

/* --- inside of server/ --- */
struct route;
extern const struct route server_routes[];
extern const size_t server_route_count;
struct outbox_event;
int activity_log(const struct outbox_event *event, void *arg, struct err *e);
int server_authorize(struct request *r, struct err *e);
struct response;
int readyz(struct request *r, struct response *w, struct err *e);
/* 0 once everything that a handler needs is in place (a client may be there before); ERR_UNAVAILABLE until then. */
int server_started(struct app *app, struct err *e);
/* 0 when requests can be served; ERR_UNAVAILABLE says why not. */
int server_ready(struct app *app, struct err *e);

#endif
