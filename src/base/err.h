/*
 * err.h: errors as objects.
 *
 * A fallible function returns 0 (or a non-negative result that its comment defines) on success and a negative
 * `enum err_code` on failure, and takes `struct err *e` as its last parameter. It is returned as it is made:
 *
 *	return err_set(e, ERR_NOT_FOUND, "stack %s", name);
 *
 * Each level up may put its own words in front with err_wrap(). The edge (HTTP answer, process exit, log line)
 * prints the object once. There is no heap here: an err lives on the stack of the edge and has a fixed size; a
 * message that does not fit is cut at a UTF-8 boundary.
 *
 * `e` may be NULL where the caller only wants the code.
 */
#ifndef SLIPWAY_BASE_ERR_H
#define SLIPWAY_BASE_ERR_H

#include <stddef.h>

#define ERR_MESSAGE_MAX 1024

/* name, HTTP status, process exit code, status text (the words in front of every message on the wire,
 * "Conflict: ...", which clients match: cli-protocol §1.4). */
#define ERR_CODES(X)                                     \
	X(BAD_REQUEST, 400, 1, "Bad Request")            \
	X(UNAUTHORIZED, 401, 1, "Unauthorized")          \
	X(FORBIDDEN, 403, 1, "Forbidden")                \
	X(NOT_FOUND, 404, 1, "Not Found")                \
	X(METHOD, 405, 1, "Method Not Allowed")          \
	X(CONFLICT, 409, 1, "Conflict")                  \
	X(PRECONDITION, 412, 1, "Precondition Failed")   \
	X(TOO_LARGE, 413, 1, "Request Entity Too Large") \
	X(MEDIA_TYPE, 415, 1, "Unsupported Media Type")  \
	X(TOO_MANY, 429, 1, "Too Many Requests")         \
	X(INTERNAL, 500, 1, "Internal Server Error")     \
	X(NOT_BUILT, 501, 1, "Not Implemented")          \
	X(UNAVAILABLE, 503, 1, "Service Unavailable")    \
	X(NO_SPACE, 507, 1, "Insufficient Storage")      \
	X(NO_MEMORY, 503, 1, "Service Unavailable")      \
	X(IO, 500, 1, "Internal Server Error")           \
	X(TIMEOUT, 504, 1, "Gateway Timeout")            \
	X(CANCELLED, 499, 1, "Client Closed Request")    \
	X(USAGE, 400, 2, "Usage")

enum err_code {
	ERR_NONE = 0,
#define ERR_ENUM(name, status, exit_code, text) ERR_##name,
	ERR_CODES(ERR_ENUM)
#undef ERR_ENUM
		ERR_CODE_COUNT
};

struct err {
	enum err_code code;
	char message[ERR_MESSAGE_MAX];
};

/* Fills *e (when given) and returns -code. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set with ": <strerror(errno)>" behind the message; ENOSPC and EDQUOT become ERR_NO_SPACE, ENOMEM
 * ERR_NO_MEMORY, everything else ERR_IO. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "<fmt>: " in front of the message; returns -e->code (ERR_INTERNAL if e is NULL or empty). */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Shorthand for out of memory. */
int err_nomem(struct err *e);

void err_reset(struct err *e);

int err_http_status(enum err_code code);
int err_exit_code(enum err_code code);
const char *err_status_text(enum err_code code);
/* The code for an HTTP status that somebody else answered (400 -> ERR_BAD_REQUEST); ERR_INTERNAL if unknown. */
enum err_code err_from_http_status(int status);

/* For our own mistakes, never for input: prints file, line and the condition and aborts. */
#define BUG_ON(cond) ((cond) ? err_bug(__FILE__, __LINE__, #cond) : (void)0)
_Noreturn void err_bug(const char *file, int line, const char *what);

#endif
