/* `slipway admin import`: every stack of a source (move.h) into the running server, over its control socket. */
#include "cli/passage.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/limits.h"
#include "crypto/crypto.h"
#include "os/file.h"

#define TOKEN_BYTES (4 * KIB)

void passage_note(struct passage *p, const char *text)
{
	for (size_t i = 0; i < p->note_count; i++)
		if (streq(p->notes[i], text))
			return;
	if (text && p->note_count < PASSAGE_NOTES_MAX)
		p->notes[p->note_count++] = text;
	else if (text)
		p->unsaid++;
}

/* --- stacks --- */

static int make_stack(struct passage *p, struct json tags, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	struct json answer;
	const char *path = arena_strndup(p->a, p->path, (size_t)(strrchr(p->path, '/') - p->path));
	buf_init(&b, HTTP_JSON_BODY_BYTES);
	jw_init(&j, &b);
	jw_object(&j);
	jw_kv_string(&j, "stackName", p->stack);
	if (!json_is_null(tags))
		jw_kv_raw(&j, "tags", tags);
	jw_object_end(&j);
	int rc = path ? buf_check(&b, "the tags", e) : err_nomem(e);
	if (rc == 0)
		rc = site_call(p->m->in, "POST", path, buf_str(&b), PASSAGE_CALL_MS, &answer, e);
	if (rc == -ERR_NOT_FOUND)
		return err_set(
			e, ERR_NOT_FOUND,
			"the organization '%s' is not here: 'slipway admin org add %s' makes it, --org names another",
			p->org, p->org);
	if (rc == -ERR_BAD_REQUEST && !json_is_null(tags)) {
		const char *why = e ? arena_strdup(p->a, e->message) : NULL;
		err_reset(e);
		rc = make_stack(p, JSON_ABSENT, e);
		if (rc == 0)
			passage_note(p, arena_printf(p->a, "its tags are not taken: %s", why));
	}
	return rc;
}

static int need_stack(struct passage *p, struct err *e)
{
	struct json answer;
	int rc = site_call(p->m->in, "GET", p->path, STR_NULL, PASSAGE_CALL_MS, &answer, e);
	if (rc == -ERR_NOT_FOUND) {
		err_reset(e);
		p->is_new = true;
		return make_stack(p, p->from->tags, e);
	}
	if (rc < 0)
		return rc;
	const char *newest = json_cstr(json_get(answer, "activeUpdate"), p->a);
	p->newest = newest ? newest : "";
	json_int64(json_get(answer, "version"), &p->version);
	return 0;
}

static int name_here(struct passage *p, struct err *e)
{
	const struct move_stack *s = p->from;
	p->org = p->m->in->config.org ? p->m->in->config.org : s->org;
	p->project = s->project;
	p->stack = s->name;
	const char *names[] = { p->org, p->project, p->stack };
	p->name = arena_printf(p->a, "%s/%s/%s", p->org, s->project ? s->project : "?", s->name);
	if (!s->project)
		return err_set(
			e, ERR_BAD_REQUEST,
			"its project is not known: the legacy layout names it in resources alone, and it has none");
	_cleanup_buf_ struct buf b;
	buf_init(&b, 64 * KIB);
	buf_adds(&b, "/api/stacks");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		buf_addc(&b, '/');
		url_escape(&b, str_of(names[i]));
	}
	p->path = buf_failed(&b) ? NULL : arena_strndup(p->a, b.data, b.len);
	return p->name && p->path ? 0 : err_nomem(e);
}

static int pass(struct passage *p, struct err *e)
{
	int rc = name_here(p, e);
	if (rc == 0)
		rc = p->m->source->look(p->m->source, p->from, p->a, e);
	if (rc == 0)
		rc = need_stack(p, e);
	passage_note(p, p->from->note);
	passage_note(p, p->from->left);
	return rc < 0 ? rc : passage_take_versions(p, e);
}

/* What was counted rather than told at each version. */
static void sum_up(struct passage *p)
{
	const char *text = NULL;
	if (p->lost == 1)
		text = arena_printf(p->a, "the state of version %" PRId64 " is not kept there", p->lost_first);
	else if (p->lost > 1)
		text = arena_printf(
			p->a, "the states of %" PRId64 " versions from %" PRId64 " to %" PRId64 " are not kept there",
			p->lost, p->lost_first, p->lost_last);
	/* Both have a place: the last two notes give way. */
	if (p->note_count > PASSAGE_NOTES_MAX - 2 && (text || p->unsaid)) {
		p->unsaid += (int64_t)p->note_count - (PASSAGE_NOTES_MAX - 2);
		p->note_count = PASSAGE_NOTES_MAX - 2;
	}
	passage_note(p, text);
	if (p->unsaid)
		passage_note(p, arena_printf(p->a, "and %" PRId64 " notes more", p->unsaid));
}

static void tell_stack(struct passage *p, const char *problem)
{
	struct moving *m = p->m;
	struct json_writer *j = &m->j;
	if (!m->in->config.json) {
		printf("%s: %" PRId64 " version%s taken", p->name, p->taken, p->taken == 1 ? "" : "s");
		if (p->before)
			printf(", %" PRId64 " here before", p->before);
		puts("");
		for (size_t i = 0; i < p->note_count; i++)
			printf("  %s\n", p->notes[i]);
		if (problem)
			printf("  NOT TAKEN: %s\n", problem);
		fflush(stdout);
		return;
	}
	jw_object(j);
	jw_kv_string(j, "stack", p->name);
	jw_kv_int(j, "taken", p->taken);
	jw_kv_int(j, "before", p->before);
	jw_key(j, "notes");
	jw_array(j);
	for (size_t i = 0; i < p->note_count; i++)
		jw_string(j, p->notes[i]);
	jw_array_end(j);
	if (problem)
		jw_kv_string(j, "problem", problem);
	jw_object_end(j);
}

static void move_stack(struct moving *m, struct move_stack *s)
{
	_cleanup_arena_ struct arena a;
	struct passage p = { .m = m, .from = s, .a = &a, .newest = "", .name = s->key };
	struct err e = { 0 };
	arena_init(&a, 0);
	int rc = pass(&p, &e);
	m->stacks++;
	m->versions += p.taken;
	m->failed += rc < 0;
	sum_up(&p);
	tell_stack(&p, rc < 0 ? e.message : NULL);
}

/* --- the command --- */

static void tell(void *arg, const char *text)
{
	fprintf(stderr, "%s\n", text);
}

static int read_token(struct invocation *in, const char **ret, struct err *e)
{
	struct str text;
	*ret = getenv("PULUMI_ACCESS_TOKEN");
	if (!in->config.token_file)
		return *ret && **ret ? 0
				     : err_set(e, ERR_USAGE,
					       "a service needs a token: --token-file FILE, or PULUMI_ACCESS_TOKEN");
	int rc = file_read(in->arena, in->config.token_file, TOKEN_BYTES, &text, e);
	*ret = rc == 0 ? str_dup(in->arena, str_trim(text)) : NULL;
	return rc < 0 ? err_wrap(e, "--token-file") : *ret ? 0 : err_nomem(e);
}

static int open_source(struct invocation *in, struct move_source **ret, struct err *e)
{
	struct str from = str_of(in->config.from);
	const char *token = NULL;
	if (!from.p)
		return err_set(e, ERR_USAGE, "--from URL is missing");
	if (str_starts_with(from, "file://"))
		return in->config.org ? move_files_open(in->config.from, in->arena, ret, e)
				      : err_set(e, ERR_USAGE,
						"--org ORG is missing: a folder has no organizations of its own");
	if (!str_starts_with(from, "http://") && !str_starts_with(from, "https://"))
		return err_set(
			e, ERR_USAGE,
			"--from: must begin with file://, http:// or https://; a bucket is first copied to a folder");
	while (from.p[from.n - 1] == '/')
		from.n--;
	const char *url = str_dup(in->arena, from);
	int rc = url ? read_token(in, &token, e) : err_nomem(e);
	return rc < 0 ? rc : move_service_open(url, token, in->arena, ret, e);
}

static int move_all(struct moving *m, struct err *e)
{
	struct move_stack *list;
	struct json site;
	size_t count;
	int rc = site_call(m->in, "GET", "/api/site", STR_NULL, PASSAGE_CALL_MS, &site, e);
	if (rc < 0)
		return rc;
	m->public_url = json_cstr(json_get(site, "publicUrl"), m->in->arena);
	rc = m->source->list(m->source, m->in->arena, &list, &count, e);
	if (rc < 0)
		return err_wrap(e, "%s", m->source->url);
	for (size_t i = 0; i < count; i++)
		move_stack(m, &list[i]);
	return 0;
}

int command_import(struct invocation *in, struct err *e)
{
	struct moving m = { .in = in };
	int rc = open_source(in, &m.source, e);
	if (rc < 0)
		return rc;
	m.source->tell = tell;
	buf_init(&m.report, HTTP_RESPONSE_BYTES);
	jw_init(&m.j, &m.report);
	jw_object(&m.j);
	jw_key(&m.j, "stacks");
	jw_array(&m.j);
	rc = crypto_init(e);
	if (rc == 0)
		rc = move_all(&m, e);
	jw_array_end(&m.j);
	jw_object_end(&m.j);
	if (rc == 0 && in->config.json)
		printf("%s\n", m.report.data);
	if (rc == 0) {
		fprintf(stderr, "%" PRId64 " stack%s, %" PRId64 " version%s taken", m.stacks, m.stacks == 1 ? "" : "s",
			m.versions, m.versions == 1 ? "" : "s");
		fprintf(stderr, m.failed ? ", %" PRId64 " with a problem\n" : "\n", m.failed);
		fprintf(stderr, "Not part of it: %s.\n", m.source->left);
	}
	buf_done(&m.report);
	m.source->free(m.source);
	return rc < 0 ? rc : m.failed ? 1 : 0;
}
