#include "deploy/schedule.h"

#include "base/clock.h"
#include "base/id.h"

/* How long before a time to live ends its warnings come. */
static const int64_t warn_leads_us[] = { 2 * US_PER_DAY, 2 * US_PER_HOUR, 30 * US_PER_MINUTE };

int schedule_time_read(const char *cron, const char *once, const char *once_name, int64_t now_us,
		       struct schedule_time *ret, struct err *e)
{
	struct schedule_time t = { .once_us = DB_NULL_INT };
	bool has_cron = cron && cron[0], has_once = once && once[0];
	if (has_cron && has_once)
		return err_set(e, ERR_BAD_REQUEST, "scheduleCron and %s cannot both be set", once_name);
	if (has_cron) {
		t.cron_text = cron;
		int rc = cron_parse(str_of(cron), &t.cron, e);
		if (rc < 0)
			return err_wrap(e, "/scheduleCron");
		if (cron_next_us(&t.cron, now_us) == INT64_MAX)
			return err_set(e, ERR_BAD_REQUEST, "/scheduleCron: there is no such day");
		*ret = t;
		return 0;
	}
	if (!has_once)
		return err_set(e, ERR_BAD_REQUEST, "%s must be set", once_name);
	if (!clock_parse(str_of(once), &t.once_us))
		return err_set(e, ERR_BAD_REQUEST, "/%s: must be a time such as 2026-11-21T07:35:49Z", once_name);
	if (t.once_us <= now_us)
		return err_set(e, ERR_BAD_REQUEST, "/%s: must lie in the future", once_name);
	*ret = t;
	return 0;
}

int64_t schedule_next_us(const struct schedule_get_row *s, int64_t now_us)
{
	struct cron c;
	if (streq(s->status, "fired"))
		return DB_NULL_INT;
	if (!s->cron)
		return s->once_us;
	if (cron_parse(str_of(s->cron), &c, NULL) < 0)
		return DB_NULL_INT;
	int64_t us = cron_next_us(&c, now_us);
	return us == INT64_MAX ? DB_NULL_INT : us;
}

int64_t schedule_warning_us(const char *kind, int64_t once_us, int64_t now_us)
{
	for (size_t i = 0; streq(kind, "ttl") && i < ARRAY_SIZE(warn_leads_us); i++)
		if (once_us - warn_leads_us[i] > now_us)
			return once_us - warn_leads_us[i];
	return DB_NULL_INT;
}

int schedule_find(struct db_conn *c, struct arena *a, const char *stack_id, const char *id,
		  struct schedule_get_row *ret, struct err *e)
{
	struct schedule_get_in in = { .id = id };
	int rc = q_schedule_get(c, a, &in, ret, e);
	if (rc == 0 || (rc > 0 && !streq(ret->stack_id, stack_id)))
		return err_set(e, ERR_NOT_FOUND, "ScheduledAction '%s' not found", id);
	return rc < 0 ? rc : 0;
}

/* --- moves --- */

static const struct {
	const char *from;
	const char *to;
} moves[] = { { "active", "paused" }, { "paused", "active" }, { "active", "fired" } };

int schedule_move(struct db_conn *c, const struct schedule_get_row *s, const char *to, int64_t now_us, struct err *e)
{
	bool known = false;
	for (size_t i = 0; i < ARRAY_SIZE(moves); i++)
		known |= streq(s->status, moves[i].from) && streq(to, moves[i].to);
	if (!known)
		return err_set(e, ERR_CONFLICT, "the schedule is %s and cannot become %s", s->status, to);
	bool active = streq(to, "active");
	struct schedule_move_in in = {
		.id = s->id,
		.from_status = s->status,
		.to_status = to,
		.next_us = active ? schedule_next_us(s, now_us) : DB_NULL_INT,
		.warn_us = active ? schedule_warning_us(s->kind, s->once_us, now_us) : DB_NULL_INT,
		.now_us = now_us,
	};
	int rc = q_schedule_move(c, &in, e);
	return rc < 0 ? rc : 0;
}

/* --- save --- */

struct saving {
	struct arena *arena;
	const struct schedule_new *n;
	const char *id;	    /* of a new one */
	const char *change; /* id of the one that changes, NULL */
	int64_t now_us;
	struct schedule_get_row row;
};

static int change(struct db_conn *c, struct saving *s, const struct schedule_get_row *due, struct err *e)
{
	int rc = schedule_find(c, s->arena, s->n->stack_id, s->change, &s->row, e);
	if (rc < 0)
		return rc;
	if (!streq(s->row.kind, s->n->kind) || streq(s->row.status, "fired"))
		return err_set(e, ERR_NOT_FOUND, "ScheduledAction '%s' not found", s->change);
	bool active = streq(s->row.status, "active");
	struct schedule_change_in in = { .id = s->change,
					 .cron = due->cron,
					 .once_us = due->once_us,
					 .request = s->n->request,
					 .next_us = active ? due->next_us : DB_NULL_INT,
					 .warn_us = active ? due->warn_us : DB_NULL_INT,
					 .now_us = s->now_us,
					 .user_id = s->n->user_id };
	return q_schedule_change(c, &in, e);
}

static int insert(struct db_conn *c, struct saving *s, const struct schedule_get_row *due, struct err *e)
{
	struct schedule_count_in count = { .stack_id = s->n->stack_id };
	struct schedule_count_row there;
	int rc = q_schedule_count(c, s->arena, &count, &there, e);
	if (rc < 0)
		return rc;
	if (there.n >= SCHEDULES_PER_STACK_MAX)
		return err_set(e, ERR_BAD_REQUEST, "the stack has %d schedules, more are not possible",
			       SCHEDULES_PER_STACK_MAX);
	struct schedule_insert_in in = { .id = s->id,
					 .org_id = s->n->org_id,
					 .stack_id = s->n->stack_id,
					 .kind = s->n->kind,
					 .cron = due->cron,
					 .once_us = due->once_us,
					 .request = s->n->request,
					 .next_us = due->next_us,
					 .warn_us = due->warn_us,
					 .now_us = s->now_us,
					 .user_id = s->n->user_id };
	return q_schedule_insert(c, &in, e);
}

static int save_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct saving *s = arg;
	const struct schedule_new *n = s->n;
	struct settings_get_in settings = { .stack_id = n->stack_id };
	struct settings_get_row saved;
	int rc = q_settings_get(c, s->arena, &settings, &saved, e);
	if (rc == 0)
		return err_set(e, ERR_BAD_REQUEST, "the stack does not have deployment settings configured");
	if (rc < 0)
		return rc;
	struct schedule_get_row due = { .status = "active", .cron = n->time.cron_text, .once_us = n->time.once_us };
	due.next_us = schedule_next_us(&due, s->now_us);
	due.warn_us = schedule_warning_us(n->kind, n->time.once_us, s->now_us);
	rc = s->change ? change(c, s, &due, e) : insert(c, s, &due, e);
	if (rc >= 0)
		rc = schedule_find(c, s->arena, n->stack_id, s->change ? s->change : s->id, &s->row, e);
	return rc < 0 ? rc : 0;
}

int schedule_save(struct app *app, struct arena *a, const struct schedule_new *n, const char *id,
		  struct schedule_get_row *ret, struct err *e)
{
	struct saving s = { .arena = a, .n = n, .id = id_new_arena(a), .change = id, .now_us = clock_now_us() };
	if (!s.id)
		return err_nomem(e);
	int rc = db_write(app->db, save_fn, &s, e);
	if (rc < 0)
		return rc;
	if (app->poke)
		app->poke(app);
	*ret = s.row;
	return 0;
}

/* --- pause, remove --- */

struct changing {
	struct arena *arena;
	const char *stack_id;
	const char *id;
	bool paused;
	int64_t now_us;
};

static int pause_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct changing *p = arg;
	struct schedule_get_row s;
	const char *to = p->paused ? "paused" : "active";
	int rc = schedule_find(c, p->arena, p->stack_id, p->id, &s, e);
	if (rc < 0 || streq(s.status, to))
		return rc;
	if (streq(s.status, "fired"))
		return err_set(e, ERR_NOT_FOUND, "ScheduledAction '%s' not found", p->id);
	return schedule_move(c, &s, to, p->now_us, e);
}

int schedule_pause(struct app *app, struct arena *a, const char *stack_id, const char *id, bool paused, struct err *e)
{
	struct changing p = { .arena = a, .stack_id = stack_id, .id = id, .paused = paused, .now_us = clock_now_us() };
	int rc = db_write(app->db, pause_fn, &p, e);
	if (rc == 0 && app->poke)
		app->poke(app);
	return rc;
}

static int remove_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct changing *p = arg;
	struct schedule_delete_in in = { .id = p->id, .stack_id = p->stack_id };
	int rc = q_schedule_delete(c, &in, e);
	return rc < 0 ? rc : 0;
}

int schedule_remove(struct app *app, const char *stack_id, const char *id, struct err *e)
{
	struct changing p = { .stack_id = stack_id, .id = id };
	return db_write(app->db, remove_fn, &p, e);
}
