#include <yaml.h>

#include "executor/executor.h"
#include "os/file.h"

/* A project file is a page; the rest is somebody's joke. */
#define PROJECT_MAX_BYTES (1024 * 1024)
#define DEPTH_MAX 16

/*
 * Only three levels matter: runtime, runtime.name, runtime.options.*. They are found in the event stream, with the path
 * of keys that leads to the present place. An alias expands to nothing, so there is no bomb to fear.
 */
struct walk {
	int depth;
	struct {
		bool mapping;
		bool at_value; /* in a mapping: the next node is a value */
		char key[64];
	} level[DEPTH_MAX];
};

static const char *scalar(struct arena *a, const yaml_event_t *ev)
{
	return arena_strndup(a, (const char *)ev->data.scalar.value, ev->data.scalar.length);
}

static bool path_is(const struct walk *w, const char *one, const char *two, const char *three)
{
	const char *want[] = { one, two, three };
	int n = three ? 3 : two ? 2 : 1;
	if (w->depth != n)
		return false;
	for (int i = 0; i < n; i++) {
		if (!w->level[i].mapping || strcmp(w->level[i].key, want[i]) != 0)
			return false;
	}
	return true;
}

static void take_scalar(struct walk *w, struct arena *a, const yaml_event_t *ev, struct project *p)
{
	if (w->depth == 0 || w->depth > DEPTH_MAX)
		return;
	if (w->level[w->depth - 1].mapping && !w->level[w->depth - 1].at_value) {
		size_t n = ev->data.scalar.length;
		char *key = w->level[w->depth - 1].key;
		n = n < sizeof(w->level[0].key) - 1 ? n : sizeof(w->level[0].key) - 1;
		memcpy(key, ev->data.scalar.value, n);
		key[n] = '\0';
		return;
	}
	if (path_is(w, "runtime", NULL, NULL) || path_is(w, "runtime", "name", NULL))
		p->runtime = scalar(a, ev);
	else if (path_is(w, "runtime", "options", "virtualenv"))
		p->virtualenv = scalar(a, ev);
	else if (path_is(w, "runtime", "options", "toolchain"))
		p->toolchain = scalar(a, ev);
	else if (path_is(w, "runtime", "options", "packagemanager"))
		p->package_manager = scalar(a, ev);
	else if (path_is(w, "runtime", "options", "binary"))
		p->binary = scalar(a, ev);
}

/* A node has ended (scalar, alias, or a whole container): in a mapping, key and value take turns. */
static void turn(struct walk *w)
{
	if (w->depth > 0 && w->depth <= DEPTH_MAX && w->level[w->depth - 1].mapping)
		w->level[w->depth - 1].at_value = !w->level[w->depth - 1].at_value;
}

static bool step(struct walk *w, struct arena *a, const yaml_event_t *ev, struct project *p)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		take_scalar(w, a, ev, p);
		turn(w);
		break;
	case YAML_ALIAS_EVENT:
		turn(w);
		break;
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		if (w->depth < DEPTH_MAX) {
			w->level[w->depth].mapping = ev->type == YAML_MAPPING_START_EVENT;
			w->level[w->depth].at_value = false;
			w->level[w->depth].key[0] = '\0';
		}
		w->depth++;
		break;
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		w->depth--;
		turn(w);
		break;
	case YAML_DOCUMENT_END_EVENT:
	case YAML_STREAM_END_EVENT:
		return false;
	default:
		break;
	}
	return w->depth < 1000;
}

int project_parse(struct str yaml, struct arena *a, struct project *ret, struct err *e)
{
	struct project p = { .found = true };
	struct walk w = { 0 };
	yaml_parser_t parser;
	int r = 0;
	if (!yaml_parser_initialize(&parser))
		return err_nomem(e);
	yaml_parser_set_input_string(&parser, (const unsigned char *)yaml.p, yaml.n);
	for (bool more = true; more && r == 0;) {
		yaml_event_t ev;
		if (!yaml_parser_parse(&parser, &ev)) {
			r = err_set(e, ERR_BAD_REQUEST, "line %zu: %s", parser.problem_mark.line + 1,
				    parser.problem ? parser.problem : "not YAML");
			break;
		}
		more = step(&w, a, &ev, &p);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&parser);
	if (r == 0)
		*ret = p;
	return r;
}

int project_load(const char *folder, struct arena *a, struct project *ret, struct err *e)
{
	static const char *const names[] = { "Pulumi.yaml", "Pulumi.yml" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct str text;
		int r = file_read_regular(a, arena_printf(a, "%s/%s", folder, names[i]), PROJECT_MAX_BYTES, &text, e);
		if (r == -ERR_NOT_FOUND)
			continue;
		if (r == 0)
			r = project_parse(text, a, ret, e);
		return r < 0 ? err_wrap(e, "%s", names[i]) : 0;
	}
	*ret = (struct project){ .found = false };
	return 0;
}
