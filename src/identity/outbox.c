#include "identity/identity.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_event.h"
#include "db/queries_identity.h"

/* While a row is being delivered it is not due; a server that dies in between leaves it to be delivered again then. */
#define CLAIM_US (1 * US_PER_MINUTE)
#define RETRY_FIRST_US (5 * US_PER_S)
#define RETRY_LAST_US (1 * US_PER_HOUR)

/* Who wants which events. A row of the outbox is one event for one consumer. */
static struct consumer {
	const char *name;
	const char *kind_prefix; /* "": everything */
	outbox_deliver_fn deliver;
	void *arg;
} consumers[] = {
	{ .name = "activity", .kind_prefix = "" }, /* the server's log */
};

static void (*notify_fn)(void *arg);
static void *notify_arg;
/* Something was put, perhaps in a transaction that has not been committed yet. */
static atomic_bool put_since;

void outbox_set_consumer(const char *name, outbox_deliver_fn deliver, void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(consumers); i++)
		if (streq(consumers[i].name, name)) {
			consumers[i].deliver = deliver;
			consumers[i].arg = arg;
			return;
		}
	BUG_ON(true); /* a name that is not in the table */
}

void outbox_set_notify(void (*notify)(void *arg), void *arg)
{
	notify_fn = notify;
	notify_arg = arg;
}

int outbox_put(struct db_conn *c, const char *kind, const char *org_id, const char *stack_id, struct str payload,
	       struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	const char *text = payload.p ? str_dup(&a, payload) : "{}";
	if (!text)
		return err_nomem(e);
	/* Made here, on the thread that writes: ids are in the order of the commits. */
	char id[ID_SIZE];
	id_new(id);
	int rc = q_event_insert(c, &(struct event_insert_in){ id, kind, org_id, stack_id, text, clock_now_us() }, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_SIZE(consumers); i++) {
		if (!str_starts_with(str_of(kind), consumers[i].kind_prefix))
			continue;
		struct outbox_insert_in row = { .consumer = consumers[i].name,
						.kind = kind,
						.org_id = org_id,
						.stack_id = stack_id,
						.payload = text,
						.now_us = clock_now_us() };
		id_new(id);
		row.id = id;
		rc = q_outbox_insert(c, &row, e);
		if (rc < 0)
			return rc;
	}
	atomic_store(&put_since, true);
	if (notify_fn)
		notify_fn(notify_arg);
	return 0;
}

struct batch {
	struct arena *a;
	const char *consumer;
	int64_t now_us;
	struct outbox_due_row *rows;
	size_t count;
	bool *done;
	int64_t next_us;
};

static int claim_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct batch *b = arg;
	struct outbox_due_in in = { .consumer = b->consumer, .now_us = b->now_us };
	b->rows = NULL;
	b->count = 0;
	size_t due = 0;
	int rc = q_outbox_due(c, b->a, &in, &b->rows, &due, e);
	for (size_t i = 0; rc >= 0 && i < due; i++) {
		struct outbox_claim_in claim = { .id = b->rows[i].id,
						 .due_us = b->now_us + CLAIM_US,
						 .attempts = b->rows[i].attempts };
		rc = q_outbox_claim(c, &claim, e);
		/* 0: another server was first. */
		if (rc > 0)
			b->rows[b->count++] = b->rows[i];
	}
	return rc < 0 ? rc : 0;
}

static int64_t retry_delay_us(int64_t attempts)
{
	int64_t delay = RETRY_FIRST_US;
	for (int64_t i = 0; i < attempts && delay < RETRY_LAST_US; i++)
		delay *= 2;
	return delay < RETRY_LAST_US ? delay : RETRY_LAST_US;
}

static int settle_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct batch *b = arg;
	int rc = 0;
	for (size_t i = 0; rc >= 0 && i < b->count; i++) {
		if (b->done[i])
			rc = q_outbox_delete(c, &(struct outbox_delete_in){ .id = b->rows[i].id }, e);
		else
			rc = q_outbox_retry(
				c,
				&(struct outbox_retry_in){ .id = b->rows[i].id,
							   .due_us = b->now_us + retry_delay_us(b->rows[i].attempts) },
				e);
	}
	return rc < 0 ? rc : 0;
}

/* Whether an earlier event of the same stack failed in this batch: then this one has to wait behind it. */
static bool is_blocked(const struct batch *b, size_t i)
{
	if (!b->rows[i].stack_id)
		return false;
	for (size_t j = 0; j < i; j++)
		if (!b->done[j] && b->rows[j].stack_id && streq(b->rows[j].stack_id, b->rows[i].stack_id))
			return true;
	return false;
}

static void deliver(const struct consumer *to, struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		const struct outbox_due_row *row = &b->rows[i];
		struct outbox_event event = {
			row->id, row->kind, row->org_id, row->stack_id, str_of(row->payload), row->created_us
		};
		b->done[i] = !is_blocked(b, i) && to->deliver(&event, to->arg, NULL) >= 0;
	}
}

static int next_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct batch *b = arg;
	struct outbox_next_row row;
	int rc = q_outbox_next(c, b->a, &(struct outbox_next_in){ .consumer = b->consumer }, &row, e);
	b->next_us = rc > 0 && row.due_us != DB_NULL_INT ? row.due_us : INT64_MAX;
	return rc < 0 ? rc : 0;
}

int outbox_tick(struct db *db, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	int64_t next_us = INT64_MAX;
	/* A read could run ahead of the commit that brings the row; a write waits in line behind it. Without news a read
	 * decides, so that a tick for other reasons costs no commit. */
	bool news = atomic_exchange(&put_since, false);
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	for (size_t i = 0; i < ARRAY_SIZE(consumers); i++) {
		if (!consumers[i].deliver)
			continue;
		struct batch b = { .a = &a, .consumer = consumers[i].name, .now_us = now_us };
		int rc = news ? 0 : db_read(db, next_fn, &b, e);
		if (rc == 0 && (news || b.next_us <= now_us)) {
			rc = db_write(db, claim_fn, &b, e);
			if (rc == 0 && b.count > 0) {
				b.done = arena_array(&a, b.count, sizeof(*b.done));
				if (!b.done)
					return err_nomem(e);
				deliver(&consumers[i], &b);
				rc = db_write(db, settle_fn, &b, e);
			}
			if (rc == 0)
				rc = db_read(db, next_fn, &b, e);
		}
		if (rc < 0)
			return err_wrap(e, "outbox of %s", consumers[i].name);
		if (b.next_us < next_us)
			next_us = b.next_us;
		arena_reset(&a);
	}
	*ret_next_us = next_us;
	return 0;
}
