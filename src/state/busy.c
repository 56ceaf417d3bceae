#include "state/busy.h"

#include <stdio.h>

#include "base/clock.h"
#include "state/stack.h"

int busy_check(struct db_conn *c, struct arena *a, const struct stack *s, struct update *ret_holder, struct err *e)
{
	*ret_holder = (struct update){ 0 };
	if (!s->running_update_id)
		return 0;
	int rc = update_find(c, a, s->running_update_id, ret_holder, e);
	return rc < 0 ? rc : stack_is_busy(e);
}

int busy_answer(struct response *w, int rc, const struct update *holder, const struct err *e)
{
	if (rc != -ERR_CONFLICT || !holder->id)
		return rc;
	char message[ERR_MESSAGE_MAX + 64];
	response_status(w, err_http_status(e->code));
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_int(j, "code", err_http_status(e->code));
	snprintf(message, sizeof(message), "%s: %s", err_status_text(e->code), e->message);
	jw_kv_string(j, "message", message);
	jw_key(j, "currentUpdate");
	jw_object(j);
	jw_kv_string(j, "updateID", holder->id);
	jw_kv_string(j, "kind", holder->kind);
	jw_kv_string(j, "author", holder->author ? holder->author : "");
	jw_kv_int(j, "started", holder->started_us / US_PER_S);
	jw_kv_int(j, "version", holder->version);
	if (holder->deployment_id)
		jw_kv_string(j, "deploymentID", holder->deployment_id);
	jw_object_end(j);
	jw_object_end(j);
	return 0;
}
