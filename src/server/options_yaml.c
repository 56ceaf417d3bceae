#include <yaml.h>

#include "os/file.h"
#include "server/options.h"

#define FILE_MAX_BYTES (256 * (size_t)1024)
#define LIST_MAX_BYTES (64 * (size_t)1024)

/* A mapping of names to texts or lists of texts, and nothing deeper: one document, no aliases. */
struct reading {
	struct options *o;
	const char *path;
	yaml_parser_t parser;
	yaml_event_t event;
	struct err *e;
};

static int next(struct reading *r)
{
	yaml_event_delete(&r->event);
	if (yaml_parser_parse(&r->parser, &r->event))
		return 0;
	return err_set(r->e, ERR_USAGE, "%s:%zu: %s", r->path, r->parser.problem_mark.line + 1,
		       r->parser.problem ? r->parser.problem : "is not YAML");
}

static int wrong(struct reading *r, const char *what)
{
	return err_set(r->e, ERR_USAGE, "%s:%zu: %s", r->path, r->event.start_mark.line + 1, what);
}

static struct str text_of(const struct reading *r)
{
	return (struct str){ (const char *)r->event.data.scalar.value, r->event.data.scalar.length };
}

/* `name:` and `name: null` say nothing. */
static bool is_null(const struct reading *r)
{
	struct str s = text_of(r);
	return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (s.n == 0 || str_is(s, "~") || str_is(s, "null"));
}

/* [A, B] is "A,B". */
static int read_list(struct reading *r, struct buf *ret)
{
	for (;;) {
		int rc = next(r);
		if (rc < 0)
			return rc;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return buf_check(ret, "a list", r->e);
		if (r->event.type != YAML_SCALAR_EVENT)
			return wrong(r, "a list must hold plain values");
		if (ret->len)
			buf_addc(ret, ',');
		buf_add_str(ret, text_of(r));
	}
}

static int read_value(struct reading *r, const char *name, const char *where)
{
	_cleanup_buf_ struct buf list;
	buf_init(&list, LIST_MAX_BYTES);
	int rc = next(r);
	if (rc < 0)
		return rc;
	if (r->event.type == YAML_SEQUENCE_START_EVENT) {
		rc = read_list(r, &list);
		return rc < 0 ? rc : options_set_from_file(r->o, str_of(name), buf_str(&list), where, r->e);
	}
	if (r->event.type != YAML_SCALAR_EVENT)
		return wrong(r, "a value must be a text, a number, true, false or a list of those");
	if (str_has_nul(text_of(r)))
		return wrong(r, "a value holds a NUL byte");
	return is_null(r) ? 0 : options_set_from_file(r->o, str_of(name), text_of(r), where, r->e);
}

static int read_mapping(struct reading *r)
{
	for (;;) {
		int rc = next(r);
		if (rc < 0 || r->event.type == YAML_MAPPING_END_EVENT)
			return rc;
		if (r->event.type != YAML_SCALAR_EVENT)
			return wrong(r, "must be 'name: value'");
		const char *name = str_dup(r->o->arena, text_of(r));
		const char *where = arena_printf(r->o->arena, "%s:%zu", r->path, r->event.start_mark.line + 1);
		if (!name || !where)
			return err_nomem(r->e);
		rc = read_value(r, name, where);
		if (rc < 0)
			return rc;
	}
}

static int read_document(struct reading *r)
{
	int rc = next(r); /* the stream */
	if (rc == 0)
		rc = next(r);
	if (rc < 0 || r->event.type == YAML_STREAM_END_EVENT)
		return rc;
	rc = next(r);
	if (rc < 0)
		return rc;
	if (r->event.type == YAML_SCALAR_EVENT && is_null(r))
		return 0;
	if (r->event.type != YAML_MAPPING_START_EVENT)
		return wrong(r, "must be 'name: value', a line for each option");
	return read_mapping(r);
}

int options_read_yaml(struct options *o, const char *path, bool required, bool *ret_found, struct err *e)
{
	struct reading r = { .o = o, .path = path, .e = e };
	struct str text;
	int rc = file_read(o->arena, path, FILE_MAX_BYTES, &text, e);
	if (ret_found)
		*ret_found = rc == 0;
	if (rc == -ERR_NOT_FOUND && !required) {
		err_reset(e);
		return 0;
	}
	if (rc < 0)
		return rc;
	if (!yaml_parser_initialize(&r.parser))
		return err_nomem(e);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.p, text.n);
	rc = read_document(&r);
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	return rc;
}
