/*
 * replay_cli: our replay of journals as a filter, for tests/oracle/run. One document per line on standard input:
 *
 *	{"base":<DeploymentV3 or null>,"batches":[{"entries":[...]},...]}
 *
 * One UntypedDeployment, or {"error":"..."}, per line on standard output. The batches are checked as the route of
 * journal entries checks them before it stores them. The argument is the engine's version, for the manifest.
 */
#include "state/journal_entry.h"
#include "state/replay.h"

#include "base/limits.h"

static int replay_line(struct str line, const char *engine_version, struct arena *a, struct buf *out, struct err *e)
{
	_cleanup_buf_ struct buf wrapped;
	buf_init(&wrapped, HTTP_DOCUMENT_BODY_BYTES);
	struct json root, v;
	int64_t count, resources;
	size_t n = 0;
	int rc = json_check(line, &root, e);
	if (rc < 0)
		return rc;
	struct json base = json_get(root, "base"), list = json_get(root, "batches");
	struct replay_input in = { .engine_version = engine_version };
	if (!json_is_null(base)) {
		buf_adds(&wrapped, "{\"version\":3,\"deployment\":");
		buf_add(&wrapped, base.p, base.n);
		buf_addc(&wrapped, '}');
		rc = buf_check(&wrapped, "the base", e);
		if (rc == 0)
			rc = json_check(buf_str(&wrapped), &in.base, e);
		if (rc < 0)
			return rc;
	}
	in.batch_count = json_count(list);
	struct json *batches = arena_array(a, in.batch_count, sizeof(*batches));
	if (!batches)
		return err_nomem(e);
	json_foreach(v, list) {
		batches[n++] = v;
		rc = journal_body_check(v, &count, e);
		if (rc < 0)
			return rc;
	}
	in.batches = batches;
	return replay(&in, a, out, &resources, e);
}

int main(int argc, char **argv)
{
	const char *engine_version = argc > 1 ? argv[1] : "";
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	while ((n = getline(&line, &size, stdin)) > 0) {
		_cleanup_arena_ struct arena a;
		_cleanup_buf_ struct buf out;
		struct err e = { 0 };
		arena_init(&a, 0);
		buf_init(&out, HTTP_RESPONSE_BYTES);
		if (line[n - 1] == '\n')
			n--;
		/* A copy of exactly this size, so that AddressSanitizer sees a reader that walks on. */
		char *exact = malloc((size_t)n + 1);
		if (!exact)
			return 1;
		memcpy(exact, line, (size_t)n);
		if (replay_line((struct str){ exact, (size_t)n }, engine_version, &a, &out, &e) < 0) {
			struct json_writer w;
			buf_reset(&out);
			jw_init(&w, &out);
			jw_object(&w);
			jw_kv_string(&w, "error", e.message);
			jw_object_end(&w);
		}
		free(exact);
		buf_addc(&out, '\n');
		if (buf_failed(&out) || fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
			return 1;
	}
	free(line);
	return 0;
}
