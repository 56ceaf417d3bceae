/*
 * log.h: one line per fact on standard error: `time level room: message`. Any thread. Libraries (base, os, crypto, db,
 * http client) never log; the edges do.
 */
#ifndef SLIPWAY_BASE_LOG_H
#define SLIPWAY_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
/* Shown in front, e.g. "agent"; kept by reference: a string that lives as long as the process. */
void log_set_name(const char *program);
bool log_level_parse(const char *text, enum log_level *ret);
void log_msg(enum log_level level, const char *room, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_debug(room, ...) log_msg(LOG_DEBUG, (room), __VA_ARGS__)
#define log_info(room, ...) log_msg(LOG_INFO, (room), __VA_ARGS__)
#define log_warn(room, ...) log_msg(LOG_WARN, (room), __VA_ARGS__)
#define log_error(room, ...) log_msg(LOG_ERROR, (room), __VA_ARGS__)

#endif
