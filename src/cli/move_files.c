/*
 * The CLI's own backend in a folder (pulumi login file://DIR). Its layout:
 *
 *	.pulumi/meta.yaml                                   version: 1; absent or 0: the legacy layout, without projects
 *	.pulumi/stacks/[PROJECT/]STACK.json                 the newest state
 *	.pulumi/stacks/[PROJECT/]STACK.pulumi-tags          {"version":1,"tags":{..}}
 *	.pulumi/history/[PROJECT/]STACK/STACK-NANOSECONDS.history.json      an update, and the state that it left:
 *	.pulumi/history/[PROJECT/]STACK/STACK-NANOSECONDS.checkpoint.json
 *	.pulumi/locks/...                                   organization/PROJECT/STACK/ID.json; legacy: STACK/ID.json
 *
 * Each document may be compressed (.json.gz, .json.zst); what it is is told by its first bytes, as the CLI does.
 */
#include "cli/move.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compress.h"
#include "base/json.h"
#include "base/limits.h"
#include "os/file.h"

#define META_BYTES (64 * KIB)
#define LAYOUT_MAX 1

struct files {
	struct move_source source;
	const char *root; /* .../.pulumi */
	bool legacy;
};

struct names {
	const char **list;
	size_t count;
};

static struct files *files_of(struct move_source *s)
{
	return (struct files *)s;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted; nothing when there is no such folder. */
static int list_folder(const char *path, struct arena *a, struct names *ret, struct err *e)
{
	DIR *d = opendir(path);
	size_t cap = 0;
	*ret = (struct names){ 0 };
	if (!d)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(e, "%s", path);
	const struct dirent *entry;
	int rc = 0;
	while (rc == 0 && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		if (ret->count == cap) {
			cap = cap ? 2 * cap : 64;
			const char **more = arena_array(a, cap, sizeof(*more));
			if (more && ret->count)
				memcpy(more, ret->list, ret->count * sizeof(*more));
			ret->list = more;
		}
		const char *name = ret->list ? arena_strdup(a, entry->d_name) : NULL;
		if (!name)
			rc = err_nomem(e);
		else
			ret->list[ret->count++] = name;
	}
	closedir(d);
	if (rc == 0 && ret->count)
		qsort(ret->list, ret->count, sizeof(*ret->list), by_name);
	return rc;
}

/* The name without .json, .json.gz or .json.zst and what `kind` is before it (".history"); NULL: it is something else. */
static const char *document_name(struct arena *a, const char *file, const char *kind)
{
	static const char *const ends[] = { ".json", ".json.gz", ".json.zst" };
	struct str s = str_of(file);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		size_t n = strlen(ends[i]) + strlen(kind);
		if (s.n > n && str_ends_with(s, ends[i]) &&
		    str_ends_with((struct str){ s.p, s.n - strlen(ends[i]) }, kind))
			return str_dup(a, (struct str){ s.p, s.n - n });
	}
	return NULL;
}

/* The document of that name in whatever compression, the last written one where there are several (as the CLI reads it).
 * p == NULL: there is none. */
static int read_document(const char *base, struct arena *a, struct str *ret, struct err *e)
{
	static const char *const ends[] = { "", ".gz", ".zst" };
	const char *best = NULL;
	struct timespec newest = { 0 };
	struct stat st;
	*ret = STR_NULL;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		const char *path = arena_printf(a, "%s.json%s", base, ends[i]);
		if (!path)
			return err_nomem(e);
		if (stat(path, &st) < 0)
			continue;
		if (best && (st.st_mtim.tv_sec < newest.tv_sec ||
			     (st.st_mtim.tv_sec == newest.tv_sec && st.st_mtim.tv_nsec < newest.tv_nsec)))
			continue;
		best = path;
		newest = st.st_mtim;
	}
	if (!best)
		return 0;
	struct str bytes;
	int rc = file_read(a, best, HTTP_DOCUMENT_BODY_BYTES, &bytes, e);
	if (rc < 0)
		return rc;
	if (bytes.n > 2 && memcmp(bytes.p, "\x1f\x8b", 2) == 0) {
		rc = gzip_decompress_arena(bytes, HTTP_DOCUMENT_BODY_BYTES, a, ret, e);
	} else if (bytes.n > 4 && memcmp(bytes.p, "\x28\xb5\x2f\xfd", 4) == 0) {
		_cleanup_buf_ struct buf b;
		buf_init(&b, HTTP_DOCUMENT_BODY_BYTES);
		rc = zstd_decompress(bytes, HTTP_DOCUMENT_BODY_BYTES, &b, e);
		*ret = (struct str){ rc == 0 ? arena_strndup(a, b.data ? b.data : "", b.len) : NULL, b.len };
		if (rc == 0 && !ret->p)
			rc = err_nomem(e);
	} else {
		*ret = bytes;
	}
	return rc < 0 ? err_wrap(e, "%s", best) : 0;
}

/* --- stacks --- */

/* Where a stack's files lie below stacks/ and history/. */
static const char *path_of(struct files *f, const struct move_stack *s, const char *folder, struct arena *a)
{
	return f->legacy ? arena_printf(a, "%s/%s/%s", f->root, folder, s->name)
			 : arena_printf(a, "%s/%s/%s/%s", f->root, folder, s->project, s->name);
}

static bool is_locked(struct files *f, const struct move_stack *s, struct arena *a)
{
	struct names locks;
	const char *folder = f->legacy ? arena_printf(a, "%s/locks/%s", f->root, s->name)
				       : arena_printf(a, "%s/locks/organization/%s/%s", f->root, s->project, s->name);
	if (!folder || list_folder(folder, a, &locks, NULL) < 0)
		return false;
	for (size_t i = 0; i < locks.count; i++)
		if (document_name(a, locks.list[i], ""))
			return true;
	return false;
}

/* The project of a legacy stack stands in its URNs alone: urn:pulumi:STACK::PROJECT::.... NULL: it has no resources. */
static const char *project_in_state(struct files *f, const struct move_stack *s, struct arena *a)
{
	struct str text, urn, rest;
	struct json root, resource, found = JSON_ABSENT;
	const char *path = path_of(f, s, "stacks", a);
	if (!path || read_document(path, a, &text, NULL) < 0 || !text.p || json_check(text, &root, NULL) < 0)
		return NULL;
	json_foreach(resource, json_path(root, "checkpoint", "latest", "resources", NULL))
		if (!found.p)
			found = json_get(resource, "urn");
	if (!json_string(found, a, &urn))
		return NULL;
	const char *colons = memmem(urn.p, urn.n, "::", 2);
	if (!colons)
		return NULL;
	str_cut((struct str){ colons + 2, urn.n - (size_t)(colons + 2 - urn.p) }, ':', &rest);
	return rest.p ? arena_strndup(a, colons + 2, (size_t)(rest.p - 1 - (colons + 2))) : NULL;
}

static int files_look(struct move_source *source, struct move_stack *s, struct arena *a, struct err *e)
{
	struct files *f = files_of(source);
	struct str text;
	struct json root;
	const char *path = path_of(f, s, "stacks", a);
	path = path ? arena_printf(a, "%s.pulumi-tags", path) : NULL;
	if (!path)
		return err_nomem(e);
	if (is_locked(f, s, a))
		s->note = "is locked there: an update may be running";
	if (!file_exists(path))
		return 0;
	int rc = file_read(a, path, HTTP_JSON_BODY_BYTES, &text, e);
	if (rc == 0)
		rc = json_check(text, &root, e);
	if (rc < 0)
		return err_wrap(e, "%s", path);
	s->tags = json_get(root, "tags");
	return 0;
}

struct listing {
	struct files *f;
	struct arena *a;
	struct move_stack *list;
	size_t count, cap;
};

static int add_stack(struct listing *l, const char *project, const char *name, struct err *e)
{
	struct arena *a = l->a;
	if (l->count && streq(l->list[l->count - 1].name, name) && streq(l->list[l->count - 1].project, project))
		return 0; /* the same in another compression */
	if (l->count == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		struct move_stack *more = arena_array(a, l->cap, sizeof(*more));
		if (!more)
			return err_nomem(e);
		if (l->count)
			memcpy(more, l->list, l->count * sizeof(*more));
		l->list = more;
	}
	struct move_stack s = { .project = project, .name = name };
	s.key = project ? arena_printf(a, "%s/%s", project, name) : name;
	l->list[l->count++] = s;
	return s.key ? 0 : err_nomem(e);
}

static int list_project(struct listing *l, const char *project, struct err *e)
{
	struct names files;
	const char *folder = project ? arena_printf(l->a, "%s/stacks/%s", l->f->root, project)
				     : arena_printf(l->a, "%s/stacks", l->f->root);
	int rc = folder ? list_folder(folder, l->a, &files, e) : err_nomem(e);
	for (size_t i = 0; rc == 0 && i < files.count; i++) {
		const char *name = document_name(l->a, files.list[i], "");
		const char *path = arena_printf(l->a, "%s/%s", folder, files.list[i]);
		if (name && path && !file_is_dir(path))
			rc = add_stack(l, project, name, e);
	}
	return rc;
}

static int files_list(struct move_source *source, struct arena *a, struct move_stack **ret, size_t *ret_count,
		      struct err *e)
{
	struct listing l = { .f = files_of(source), .a = a };
	struct names entries;
	const char *folder = arena_printf(a, "%s/stacks", l.f->root);
	int rc = folder ? list_folder(folder, a, &entries, e) : err_nomem(e);
	if (rc == 0 && l.f->legacy)
		rc = list_project(&l, NULL, e);
	for (size_t i = 0; rc == 0 && !l.f->legacy && i < entries.count; i++) {
		const char *path = arena_printf(a, "%s/%s", folder, entries.list[i]);
		if (!path)
			return err_nomem(e);
		if (file_is_dir(path))
			rc = list_project(&l, entries.list[i], e);
		else if (document_name(a, entries.list[i], ""))
			source->tell(
				source->tell_arg,
				arena_printf(a,
					     "%s: not taken: belongs to the legacy layout, and the backend does not "
					     "show it any more; 'pulumi state upgrade' moves it",
					     path));
	}
	/* What the project is called is in the states alone. */
	for (size_t i = 0; rc == 0 && i < l.count; i++) {
		_cleanup_arena_ struct arena one;
		arena_init(&one, 0);
		if (l.list[i].project)
			continue;
		const char *project = project_in_state(l.f, &l.list[i], &one);
		l.list[i].project = project ? arena_strdup(a, project) : NULL;
	}
	*ret = l.list;
	*ret_count = l.count;
	return rc;
}

/* --- history and states --- */

static int read_update(struct files *f, const char *folder, const char *name, struct arena *a, struct move_update *ret,
		       struct err *e)
{
	struct str text;
	struct json root;
	const char *path = arena_printf(a, "%s/%s.history", folder, name);
	int rc = path ? read_document(path, a, &text, e) : err_nomem(e);
	if (rc == 0)
		rc = json_check(text, &root, e);
	if (rc < 0)
		return err_wrap(e, "history %s", name);
	const char *kind = json_cstr(json_get(root, "kind"), a), *result = json_cstr(json_get(root, "result"), a);
	const char *message = json_cstr(json_get(root, "message"), a);
	*ret = (struct move_update){ .key = name,
				     .kind = kind ? kind : "update",
				     .result = result ? result : "succeeded",
				     .message = message ? message : "",
				     .environment = json_get(root, "environment"),
				     .changes = json_get(root, "resourceChanges"),
				     .resource_count = -1 };
	json_int64(json_get(root, "startTime"), &ret->start_s);
	json_int64(json_get(root, "endTime"), &ret->end_s);
	rc = move_config_read(json_get(root, "config"), a, &ret->config, e);
	return rc < 0 ? err_wrap(e, "history %s", name) : 0;
}

static int files_history(struct move_source *source, const struct move_stack *s, struct arena *a,
			 struct move_update **ret, size_t *ret_count, struct err *e)
{
	struct files *f = files_of(source);
	struct names names;
	const char *folder = path_of(f, s, "history", a), *last = NULL;
	int rc = folder ? list_folder(folder, a, &names, e) : err_nomem(e);
	if (rc < 0)
		return rc;
	struct move_update *list = arena_array(a, names.count, sizeof(*list));
	size_t count = 0;
	if (!list)
		return err_nomem(e);
	for (size_t i = 0; rc == 0 && i < names.count; i++) {
		/* By name is by time. */
		const char *name = document_name(a, names.list[i], ".history");
		if (!name || streq(name, last))
			continue;
		rc = read_update(f, folder, name, a, &list[count], e);
		list[count].version = (int64_t)count + 1; /* the CLI counts none there */
		count++;
		last = name;
	}
	*ret = list;
	*ret_count = count;
	return rc;
}

static int files_state(struct move_source *source, const struct move_stack *s, const struct move_update *u,
		       struct arena *a, struct str *ret, struct err *e)
{
	struct files *f = files_of(source);
	struct str text;
	const char *path = path_of(f, s, u ? "history" : "stacks", a);
	if (path && u)
		path = arena_printf(a, "%s/%s.checkpoint", path, u->key);
	int rc = path ? read_document(path, a, &text, e) : err_nomem(e);
	*ret = STR_NULL;
	if (rc < 0 || !text.p)
		return rc;
	rc = move_checkpoint_read(text, a, ret, e);
	return rc < 0 ? err_wrap(e, "%s.json", path) : 0;
}

static void files_free(struct move_source *s)
{
	/* All of it lies in the caller's arena. */
}

/* --- opening --- */

/* One line, "version: N". */
static int read_layout(struct files *f, struct arena *a, struct err *e)
{
	const char *path = arena_printf(a, "%s/meta.yaml", f->root), *folder = arena_printf(a, "%s/stacks", f->root);
	struct str text, line;
	struct names entries;
	int64_t version = 0;
	if (!path || !folder)
		return err_nomem(e);
	if (!file_exists(path)) {
		/* As the CLI decides: an old backend was never marked. */
		int rc = list_folder(folder, a, &entries, e);
		for (size_t i = 0; rc == 0 && i < entries.count; i++)
			f->legacy |= document_name(a, entries.list[i], "") != NULL;
		return rc;
	}
	int rc = file_read(a, path, META_BYTES, &text, e);
	if (rc < 0)
		return rc;
	bool found = false;
	while (text.p) {
		line = str_cut(text, '\n', &text);
		if (str_starts_with(line, "version:"))
			found = str_to_int64(str_trim((struct str){ line.p + 8, line.n - 8 }), &version);
	}
	if (!found || version < 0 || version > LAYOUT_MAX)
		return err_set(e, ERR_BAD_REQUEST, "%s: is no layout that this program knows", path);
	f->legacy = version == 0;
	return 0;
}

/* file:///abs, file://rel, file://~ or file://~/x, as the CLI reads it. */
static const char *folder_of(const char *url, struct arena *a)
{
	struct str path = str_cut(str_of(url + strlen("file://")), '?', &(struct str){ 0 });
	if (path.n > 0 && path.p[0] == '~' && (path.n == 1 || path.p[1] == '/')) {
		const char *home = getenv("HOME");
		return home ? arena_printf(a, "%s%.*s", home, (int)path.n - 1, path.p + 1) : NULL;
	}
	return path.n ? str_dup(a, path) : NULL;
}

int move_files_open(const char *url, struct arena *a, struct move_source **ret, struct err *e)
{
	struct files *f = arena_new(a, struct files);
	const char *folder = folder_of(url, a);
	_cleanup_free_ char *real = folder ? realpath(folder, NULL) : NULL;
	if (!f)
		return err_nomem(e);
	if (!real)
		return err_errno(e, "%s", url);
	f->root = arena_printf(a, "%s/.pulumi", real);
	f->source = (struct move_source){ .url = arena_printf(a, "file://%s", real),
					  .list = files_list,
					  .look = files_look,
					  .history = files_history,
					  .state = files_state,
					  .left = "the copies in .pulumi/backups",
					  .free = files_free };
	if (arena_failed(a))
		return err_nomem(e);
	if (!file_is_dir(f->root))
		return err_set(e, ERR_NOT_FOUND, "%s is not there: no 'pulumi login file://...' has used this folder",
			       f->root);
	*ret = &f->source;
	return read_layout(f, a, e);
}
