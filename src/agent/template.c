#include "agent/template.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "os/file.h"

#define FILE_MAX_BYTES (1 * MIB)
#define DEPTH_MAX 50
#define HASH_LENGTH 40

/* Up to where the URL names its host: "https://host", "ssh://git@host", "git@host". 0: it does not. */
static size_t host_end(const char *url)
{
	const char *scheme = strstr(url, "://");
	if (scheme)
		return (size_t)(strchrnul(scheme + 3, '/') - url);
	const char *colon = strchr(url, ':');
	return colon && memchr(url, '@', (size_t)(colon - url)) ? (size_t)(colon - url) : 0;
}

/* How much of `path` ("/owner/repo/…") is the repository's. 0: there is none. */
static size_t repo_end(struct str path)
{
	size_t second = 0;
	int parts = 0;
	for (size_t i = 1; i <= path.n; i++) {
		if (i < path.n && path.p[i] != '/')
			continue;
		if (path.p[i - 1] == '/')
			continue;
		if (str_ends_with((struct str){ path.p, i }, ".git"))
			return i;
		if (++parts == 2)
			second = i;
	}
	return second;
}

int template_url_parse(const char *url, struct arena *a, struct template_url *ret, struct err *e)
{
	struct template_url t = { .branch = "", .commit = "" };
	if (str_starts_with(str_of(url), "registry://"))
		return err_set(e, ERR_NOT_BUILT,
			       "template.sourceUrl: there is no registry of templates here: name a git repository, "
			       "https://HOST/OWNER/REPO/FOLDER");
	size_t host = host_end(url);
	struct str path = host ? str_of(url + host) : STR_NULL;
	size_t end = path.n > 1 ? repo_end(path) : 0;
	if (!end)
		return err_set(e, ERR_BAD_REQUEST,
			       "template.sourceUrl: must be https://HOST/OWNER/REPO/FOLDER, also with /tree/BRANCH in "
			       "front of the folder, or the same with ssh");
	struct str repo = { url, host + end }, rest = { path.p + end, path.n - end };
	t.repo_url = arena_printf(a, "%.*s%s", STR_ARG(repo), str_ends_with(repo, ".git") ? "" : ".git");
	while (rest.n && rest.p[0] == '/')
		rest = (struct str){ rest.p + 1, rest.n - 1 };
	if (str_starts_with(rest, "tree/")) {
		struct str behind, ref = str_cut((struct str){ rest.p + 5, rest.n - 5 }, '/', &behind);
		const char *name = str_dup(a, ref);
		if (name && ref.n == HASH_LENGTH && strspn(name, "0123456789abcdef") == HASH_LENGTH)
			t.commit = name;
		else
			t.branch = name;
		rest = behind.p ? behind : STR("");
	}
	t.dir = str_dup(a, rest);
	if (!t.repo_url || !t.branch || !t.commit || !t.dir)
		return err_nomem(e);
	*ret = t;
	return 0;
}

/* --- the program --- */
struct filling {
	const char *project;
	char description[400];
};

/* `description` of the section `template` of a Pulumi.yaml, as far as it is one line. */
static void find_description(struct str text, struct filling *f)
{
	bool within = false;
	for (struct str rest = text; rest.p;) {
		struct str value, line = str_cut(rest, '\n', &rest);
		if (line.n && line.p[0] != ' ' && line.p[0] != '\t' && line.p[0] != '#')
			within = str_starts_with(line, "template:");
		struct str key = str_trim(str_cut(line, ':', &value));
		if (!within || !value.p || !str_is(key, "description"))
			continue;
		value = str_trim(value);
		if (value.n >= 2 && (value.p[0] == '"' || value.p[0] == '\'') && value.p[value.n - 1] == value.p[0])
			value = (struct str){ value.p + 1, value.n - 2 };
		if (value.n < sizeof(f->description)) {
			memcpy(f->description, value.p, value.n);
			f->description[value.n] = '\0';
		}
		return;
	}
}

static void replace(struct str text, bool is_project_file, const struct filling *f, struct buf *out)
{
	const struct {
		const char *open, *value;
	} places[] = { { "${PROJECT}", f->project }, { "${DESCRIPTION}", f->description } };
	for (size_t i = 0; i < text.n;) {
		struct str here = { text.p + i, text.n - i };
		size_t k = 0;
		if (is_project_file && str_starts_with(here, "name:") && (i == 0 || text.p[i - 1] == '\n')) {
			const char *end = memchr(here.p, '\n', here.n);
			buf_addf(out, "name: %s", f->project);
			i += end ? (size_t)(end - here.p) : here.n;
			continue;
		}
		while (k < ARRAY_SIZE(places) && !str_starts_with(here, places[k].open))
			k++;
		if (k < ARRAY_SIZE(places)) {
			buf_adds(out, places[k].value);
			i += strlen(places[k].open);
		} else {
			buf_addc(out, text.p[i++]);
		}
	}
}

static int fill_file(int parent, const char *name, bool is_project_file, struct filling *f, struct err *e)
{
	_cleanup_close_ int fd = openat(parent, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_buf_ struct buf in, out;
	struct stat st;
	buf_init(&in, FILE_MAX_BYTES + 1);
	buf_init(&out, 4 * FILE_MAX_BYTES);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
	    (size_t)st.st_size > FILE_MAX_BYTES || !buf_reserve(&in, (size_t)st.st_size))
		return 0;
	ssize_t n = pread(fd, in.data, (size_t)st.st_size, 0);
	if (n < 0)
		return err_errno(e, "cannot read %s", name);
	in.len = (size_t)n;
	if (str_has_nul(buf_str(&in)))
		return 0;
	if (is_project_file)
		find_description(buf_str(&in), f);
	replace(buf_str(&in), is_project_file, f, &out);
	int r = buf_check(&out, name, e);
	if (r < 0 || str_eq(buf_str(&in), buf_str(&out)))
		return r;
	if (ftruncate(fd, 0) != 0)
		return err_errno(e, "cannot write %s", name);
	return file_write_all(fd, buf_str(&out), e);
}

static int fill_folder(int fd, int depth, struct filling *f, struct err *e)
{
	DIR *dir = fdopendir(fd);
	int r = 0;
	if (!dir) {
		close(fd);
		return err_nomem(e);
	}
	for (struct dirent *d; r == 0 && (d = readdir(dir));) {
		if (streq(d->d_name, ".") || streq(d->d_name, "..") || streq(d->d_name, ".git"))
			continue;
		int below = openat(fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0 && depth < DEPTH_MAX)
			r = fill_folder(below, depth + 1, f, e);
		else if (below >= 0)
			close(below);
		else if (depth > 0 || !streq(d->d_name, "Pulumi.yaml"))
			r = fill_file(fd, d->d_name, false, f, e);
	}
	closedir(dir);
	return r;
}

int template_fill(const char *folder, const char *project, struct err *e)
{
	struct filling f = { .project = project, .description = "A Pulumi program" };
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "cannot open the template's folder");
	/* First, because it says what the description is. */
	int r = fill_file(fd, "Pulumi.yaml", true, &f, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fill_folder(fd, 0, &f, e);
}
