/*
 * The writing connection belongs to whoever leads: one thread at a time. A writer that finds no leader leads itself. It
 * runs the functions that wait, its own first, each as a savepoint of one transaction, commits once and then answers
 * them all: an fsync is shared by everybody who came while the last one ran. Then it passes the lead on to the first of
 * those who came meanwhile. So a write alone costs no change of threads; with a thread of its own for all writes there
 * were two, which took longer than the fsync of a quick disk.
 *
 * A function that fails is rolled back alone. When the transaction itself is lost (the commit fails, or SQLite gives
 * it up because of a full disk), every function of the group is answered with that error: none of them is on disk.
 *
 * Checkpoints move the log's pages into the database file. A thread does that, as leader, when nobody writes, or between
 * two groups when the log is so long that waiting would not pay.
 */
#include "db/writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

/* A group is closed when nobody waits any more, and at the latest at this size: those in it wait for its commit. */
#define GROUP_MAX 256
/* Checkpoint when nobody writes for this long and so many pages (of 4 KiB) are to move, ... */
#define IDLE_MS 100
#define IDLE_PAGES 64
/* ... or, even when somebody waits, from so many on: 4 MiB, some milliseconds. The log stays so short that it is
 * overwritten in place, which syncs faster than a file that grows. */
#define BUSY_PAGES 1000
/* The log can begin anew only when no reader is in it. With readers that overlap forever that must be waited for: from
 * so many pages on (64 MiB), for so long at a time. Newer readers meanwhile need only the database file. */
#define RESTART_PAGES 16384
#define RESTART_MS 100

struct job {
	db_fn fn;
	void *arg;
	struct err *e; /* may be NULL */
	int result;
	bool done;
	bool leads; /* the lead was passed on to it */
	pthread_cond_t changed;
	struct job *next;
};

struct db_writer {
	struct db_conn *conn; /* the leader's, as is busy_pages */
	int busy_pages;	      /* the next checkpoint comes at so many pages to move */
	pthread_t thread;     /* for checkpoints */
	pthread_mutex_t lock; /* of what follows, and of job.done and job.leads */
	pthread_cond_t wake;  /* the thread's */
	struct job *first, **last;
	bool led;	   /* there is a leader */
	bool thread_leads; /* it is the thread */
	bool thread_waits; /* until there is something to move */
	unsigned groups;   /* that were led: tells whether somebody wrote */
	bool stopping;
	int fail_commit_after;
};

static struct job *take(struct db_writer *w)
{
	pthread_mutex_lock(&w->lock);
	struct job *j = w->first;
	if (j) {
		w->first = j->next;
		if (!w->first)
			w->last = &w->first;
		j->next = NULL;
	}
	pthread_mutex_unlock(&w->lock);
	return j;
}

/* Answers a list of jobs. They lie on their callers' stacks: after `done` they are gone. */
static void answer(struct db_writer *w, struct job *list)
{
	pthread_mutex_lock(&w->lock);
	while (list) {
		struct job *next = list->next;
		list->done = true;
		pthread_cond_signal(&list->changed);
		list = next;
	}
	pthread_mutex_unlock(&w->lock);
}

static void fail_all(struct job *list, const struct err *why)
{
	for (; list; list = list->next) {
		list->result = -(int)why->code;
		if (list->e)
			*list->e = *why;
	}
}

/* Runs one function as a savepoint. False: the transaction is lost, the reason is in *why. */
static bool run_job(struct db_conn *c, struct job *j, struct err *why)
{
	db_conn_forget_error(c);
	if (db_conn_control(c, DB_SAVEPOINT, why) < 0)
		return false;
	struct err mine;
	err_reset(&mine);
	j->result = j->fn(c, j->arg, &mine);
	if (j->result >= 0 && c->failure.code != ERR_NONE) {
		/* It went on after a failed statement: on the other engine that would have ended the transaction. */
		mine = c->failure;
		j->result = -(int)mine.code;
	}
	if (!db_conn_in_transaction(c)) {
		*why = c->failure;
		if (why->code == ERR_NONE)
			err_set(why, ERR_IO, "the database gave up the transaction");
		return false;
	}
	if (j->result < 0) {
		if (j->e)
			*j->e = mine;
		if (db_conn_control(c, DB_ROLLBACK_TO, why) < 0)
			return false;
	}
	return db_conn_control(c, DB_RELEASE, why) == 0;
}

static int commit(struct db_writer *w, struct err *e)
{
	pthread_mutex_lock(&w->lock);
	bool fail = w->fail_commit_after > 0 && --w->fail_commit_after == 0;
	pthread_mutex_unlock(&w->lock);
	if (fail)
		return err_set(e, ERR_NO_SPACE, "COMMIT: made to fail by the test");
	return db_conn_control(w->conn, DB_COMMIT, e);
}

static void run_group(struct db_writer *w, struct job *j)
{
	struct db_conn *c = w->conn;
	struct job *group = NULL, **end = &group;
	struct err why;
	err_reset(&why);
	db_conn_forget_error(c);
	bool good = db_conn_control(c, DB_BEGIN_WRITE, &why) == 0;
	for (int n = 0; j; j = ++n < GROUP_MAX && good ? take(w) : NULL) {
		*end = j;
		end = &j->next;
		if (good)
			good = run_job(c, j, &why);
	}
	if (good)
		good = commit(w, &why) == 0;
	if (!good) {
		if (db_conn_in_transaction(c))
			db_conn_control(c, DB_ROLLBACK, NULL);
		fail_all(group, &why);
	}
	answer(w, group);
}

/* Pages that a reader's snapshot still needs stay in the log. */
static void checkpoint(struct db_writer *w)
{
	sqlite3 *sqlite = w->conn->sqlite;
	int pages = 0, moved = 0;
	bool restart = w->conn->log_pages >= RESTART_PAGES;
	if (restart)
		sqlite3_busy_timeout(sqlite, RESTART_MS);
	/* A failure is told by the next commit, if it matters. */
	int rc = sqlite3_wal_checkpoint_v2(
		sqlite, NULL, restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);
	if (restart)
		sqlite3_busy_timeout(sqlite, DB_BUSY_TIMEOUT_MS);
	if (rc == SQLITE_OK) {
		w->conn->log_pages = pages;
		w->conn->moved_pages = moved;
	}
	/* Not at each group for the sake of one long reader: the search for pages takes the longer the log is. */
	w->busy_pages = BUSY_PAGES + (rc == SQLITE_OK ? pages - moved : w->conn->log_pages);
}

static int note_log_pages(void *arg, sqlite3 *sqlite, const char *name, int pages)
{
	(void)sqlite;
	(void)name;
	struct db_conn *c = arg;
	if (pages < c->log_pages)
		c->moved_pages = 0; /* the log began anew */
	c->log_pages = pages;
	return SQLITE_OK;
}

static int pages_to_move(const struct db_writer *w)
{
	return w->conn->log_pages - w->conn->moved_pages;
}

/* The leader is done. With the lock held. */
static void pass_on(struct db_writer *w)
{
	w->thread_leads = pages_to_move(w) >= w->busy_pages;
	w->led = w->thread_leads || w->first != NULL;
	if (w->thread_leads || (!w->led && (w->stopping || (w->thread_waits && pages_to_move(w) >= IDLE_PAGES)))) {
		pthread_cond_signal(&w->wake);
	} else if (w->first) {
		w->first->leads = true;
		pthread_cond_signal(&w->first->changed);
	}
}

/* With the lock held, which is given back meanwhile. */
static void lead_checkpoint(struct db_writer *w)
{
	pthread_mutex_unlock(&w->lock);
	checkpoint(w);
	pthread_mutex_lock(&w->lock);
	pass_on(w);
}

/* Waits for IDLE_MS, or until the thread is to lead or to end. True: nobody wrote meanwhile. With the lock held. */
static bool was_idle(struct db_writer *w)
{
	unsigned groups = w->groups;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	int64_t ns = until.tv_nsec + IDLE_MS * INT64_C(1000000);
	until.tv_sec += ns / INT64_C(1000000000);
	until.tv_nsec = ns % INT64_C(1000000000);
	int rc = 0;
	while (rc != ETIMEDOUT && !w->thread_leads && !w->stopping)
		rc = pthread_cond_timedwait(&w->wake, &w->lock, &until);
	return !w->led && !w->stopping && w->groups == groups;
}

static void *run_thread(void *arg)
{
	struct db_writer *w = arg;
	pthread_mutex_lock(&w->lock);
	while (!w->stopping || w->led) {
		if (w->thread_leads) {
			lead_checkpoint(w);
		} else if (w->stopping || (!w->led && pages_to_move(w) < IDLE_PAGES)) {
			w->thread_waits = true;
			pthread_cond_wait(&w->wake, &w->lock);
			w->thread_waits = false;
		} else if (was_idle(w)) {
			w->led = true;
			lead_checkpoint(w);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int db_writer_start(struct db_conn *c, struct db_writer **ret, struct err *e)
{
	struct db_writer *w = calloc(1, sizeof(*w));
	if (!w) {
		db_conn_close(c);
		return err_nomem(e);
	}
	w->conn = c;
	w->last = &w->first;
	w->busy_pages = BUSY_PAGES;
	sqlite3_wal_hook(c->sqlite, note_log_pages, c);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&w->lock, NULL);
	errno = pthread_create(&w->thread, NULL, run_thread, w);
	if (errno) {
		int rc = err_errno(e, "cannot start the thread for the database's checkpoints");
		pthread_mutex_destroy(&w->lock);
		pthread_cond_destroy(&w->wake);
		db_conn_close(c);
		free(w);
		return rc;
	}
	*ret = w;
	return 0;
}

void db_writer_stop(struct db_writer *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->wake);
	db_conn_close(w->conn);
	free(w);
}

int db_writer_run(struct db_writer *w, db_fn fn, void *arg, struct err *e)
{
	struct job j = { .fn = fn, .arg = arg, .e = e };
	pthread_cond_init(&j.changed, NULL);
	pthread_mutex_lock(&w->lock);
	*w->last = &j;
	w->last = &j.next;
	if (!w->led)
		w->led = j.leads = true;
	while (!j.done && !j.leads)
		pthread_cond_wait(&j.changed, &w->lock);
	if (!j.done) {
		w->groups++;
		pthread_mutex_unlock(&w->lock);
		run_group(w, take(w)); /* it is the first */
		pthread_mutex_lock(&w->lock);
		pass_on(w);
	}
	pthread_mutex_unlock(&w->lock);
	pthread_cond_destroy(&j.changed);
	return j.result;
}

void db_writer_fail_commit_after(struct db_writer *w, int n)
{
	pthread_mutex_lock(&w->lock);
	w->fail_commit_after = n;
	pthread_mutex_unlock(&w->lock);
}
