#include "state/event_filter.h"

/* The members of apitype.EngineEvent in their order, and where each names a resource. */
static const struct {
	const char *name;
	const char *object; /* inside of it, or NULL */
	const char *urn;    /* NULL: it belongs to no resource */
} kinds[] = {
	{ "cancelEvent", NULL, NULL },
	{ "stdoutEvent", NULL, NULL },
	{ "diagnosticEvent", NULL, "urn" },
	{ "preludeEvent", NULL, NULL },
	{ "summaryEvent", NULL, NULL },
	{ "resourcePreEvent", "metadata", "urn" },
	{ "resOutputsEvent", "metadata", "urn" },
	{ "resOpFailedEvent", "metadata", "urn" },
	{ "policyEvent", NULL, "resourceUrn" },
	{ "policyRemediationEvent", NULL, "resourceUrn" },
	{ "policyLoadEvent", NULL, NULL },
	{ "policyAnalyzeSummaryEvent", NULL, "resourceUrn" },
	{ "policyRemediateSummaryEvent", NULL, "resourceUrn" },
	{ "policyAnalyzeStackSummaryEvent", NULL, NULL },
	{ "startDebuggingEvent", NULL, NULL },
	{ "progressEvent", NULL, NULL },
	{ "errorEvent", NULL, NULL },
};

int event_filter_add_type(struct event_filter *f, const char *type, struct err *e)
{
	int64_t number;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!streq(type, kinds[i].name) && !(str_to_int64(str_of(type), &number) && number == (int64_t)i))
			continue;
		f->types |= 1u << i;
		return 0;
	}
	return err_set(e, ERR_BAD_REQUEST,
		       "type: must be the name of an event's member, as diagnosticEvent, or 0 to %zu",
		       ARRAY_SIZE(kinds) - 1);
}

static bool names_urn(size_t kind, struct json value, const char *urn)
{
	if (!kinds[kind].urn)
		return false;
	if (kinds[kind].object)
		value = json_get(value, kinds[kind].object);
	return json_string_is(json_get(value, kinds[kind].urn), urn);
}

bool event_filter_wants(const struct event_filter *f, struct json event)
{
	struct json_iter it = json_iter_start(event);
	struct json key, value;
	if (!event_filter_is_set(f))
		return true;
	while (json_next(&it, &key, &value)) {
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			if (!json_string_is(key, kinds[i].name) || json_is_null(value))
				continue;
			return (!f->types || (f->types & 1u << i)) && (!f->urn || names_urn(i, value, f->urn));
		}
	}
	return false;
}
