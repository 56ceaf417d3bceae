/*
 * writer.h: the writing connection and its group commit. Inside of the room only.
 */
#ifndef SLIPWAY_DB_WRITER_H
#define SLIPWAY_DB_WRITER_H

#include "db/conn.h"

struct db_writer;

/* Takes the connection over. */
int db_writer_start(struct db_conn *c, struct db_writer **ret, struct err *e);
/* Waits for those who write, then closes the connection. NULL is fine. */
void db_writer_stop(struct db_writer *w);
/* Any thread; returns after the commit. The function may run on another one. */
int db_writer_run(struct db_writer *w, db_fn fn, void *arg, struct err *e);
void db_writer_fail_commit_after(struct db_writer *w, int n);

#endif
