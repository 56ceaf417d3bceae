#include "unit.h"

#include "agent/git.h"
#include "agent/source.h"
#include "agent/template.h"

static struct arena arena;

static void parse(const char *text, bool insecure, const char *clean, const char *host, const char *user,
		  const char *password)
{
	struct source_url u;
	struct err e = { 0 };
	int r = source_url_parse(text, insecure, &arena, &u, &e);
	if (r < 0)
		print_message("%s: %s\n", text, e.message);
	assert_int_equal(r, 0);
	assert_string_equal(u.clean, clean);
	assert_string_equal(u.host, host);
	assert_true(streq(u.user, user));
	assert_true(streq(u.password, password));
}

static void urls(void **state)
{
	parse("https://github.com/a/b.git", false, "https://github.com/a/b.git", "github.com", NULL, NULL);
	parse(" https://h:8443/a ", false, "https://h:8443/a", "h:8443", NULL, NULL);
	parse("https://me:p%40ss@h/a", false, "https://h/a", "h", "me", "p@ss");
	parse("https://me:p@ss@h/a", false, "https://h/a", "h", "me", "p@ss");
	parse("https://token@h/a", false, "https://h/a", "h", "token", NULL);
	parse("https://[::1]:80/a", false, "https://[::1]:80/a", "[::1]:80", NULL, NULL);
	parse("ssh://git@h:22/a", false, "ssh://git@h:22/a", "h:22", "git", NULL);
	parse("git+ssh://git@h/a", false, "ssh://git@h/a", "h", "git", NULL);
	parse("git@github.com:a/b.git", false, "git@github.com:a/b.git", "github.com", NULL, NULL);
	parse("http://h/a", true, "http://h/a", "h", NULL, NULL);
	parse("file:///srv/a", true, "file:///srv/a", "", NULL, NULL);
	parse("/srv/a", true, "/srv/a", "", NULL, NULL);
}

static void refused_urls(void **state)
{
	static const char *const bad[] = {
		"",
		"-x",
		"--upload-pack=touch /tmp/x",
		"ext::sh -c id",
		"ftp://h/a",
		"git://h/a",
		"https://",
		"https:///a",
		"https://h",
		"https://h/",
		"https://-oProxyCommand=x/a",
		"ssh://-oProxyCommand=x/a",
		"ssh://-x@h/a",
		"-oProxyCommand=x@h:a",
		"git@-oProxyCommand=x:a",
		"git@h:",
		"git@h:-x",
		"h::a",
		"fd::17/x",
		"a b",
		"repo",
		"https://h/a\nb",
		"https://u:p%0Aq@h/a",
		"https://u:p%zz@h/a",
		"http://h/a",
		"file:///a",
		"/srv/a",
		"../a",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct source_url u;
		struct err e = { 0 };
		int r = source_url_parse(bad[i], false, &arena, &u, &e);
		if (r == 0)
			print_message("taken: %s\n", bad[i]);
		assert_true(r == -ERR_BAD_REQUEST || r == -ERR_FORBIDDEN);
	}
}

static void references(void **state)
{
	static const char *const good[] = {
		"main", "refs/heads/main", "feature/x-1", "v1.2.3", "ä", "refs/pull/1/head"
	};
	static const char *const bad[] = { "",	     "-x", "a b",  "a:b",  "a..b",  "a~1", "a^", "a?",
					   "a*",     "a[", "a\\b", "@{u}", "a@{1}", "/a",  "a/", "a//b",
					   "a.lock", ".a", "a/.b", "a.",   "a\nb",  "\xff" };
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(source_ref_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(source_ref_valid(bad[i]));
	assert_true(source_commit_valid("0123abc"));
	assert_true(source_commit_valid("0123456789012345678901234567890123456789"));
	assert_false(source_commit_valid("012345"));
	assert_false(source_commit_valid("HEAD~10"));
	assert_false(source_commit_valid("--upload-pack"));
}

static void folders(void **state)
{
	const char *dir;
	struct err e = { 0 };
	static const char *const good[][2] = {
		{ "", "" }, { ".", "" }, { "a", "a" }, { "./a//b/", "a/b" }, { "a/..b", "a/..b" }
	};
	static const char *const bad[] = { "/", "/a", "..", "a/..", "a/../b", "../x" };
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(source_dir_clean(good[i][0], &arena, &dir, &e), 0);
		assert_string_equal(dir, good[i][1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(source_dir_clean(bad[i], &arena, &dir, &e), -ERR_BAD_REQUEST);
}

static void failures(void **state)
{
	static const char *const transient[] = {
		"fatal: unable to access 'https://h/a/': Could not resolve host: h",
		"fatal: unable to access 'https://h/a/': Failed to connect to h port 443: Connection refused",
		"error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502",
		"fatal: early EOF",
		"ssh: connect to host h port 22: Connection timed out\nfatal: Could not read from remote repository.",
	};
	static const char *const permanent[] = {
		"remote: Repository not found.\nfatal: repository 'https://h/a/' not found",
		"fatal: Authentication failed for 'https://h/a/'",
		"fatal: could not read Username for 'https://h': terminal prompts disabled",
		"git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
		"fatal: couldn't find remote ref refs/heads/x",
		"Host key verification failed.",
		"fatal: transport 'file' not allowed",
		"fatal: mismatched algorithms: client sha1; server sha256",
		"error: index-pack died of signal 25\nfatal: index-pack failed",
	};
	for (size_t i = 0; i < ARRAY_SIZE(transient); i++)
		assert_true(git_failure_is_transient(str_of(transient[i])));
	for (size_t i = 0; i < ARRAY_SIZE(permanent); i++)
		assert_false(git_failure_is_transient(str_of(permanent[i])));
}

static void template(const char *url, const char *repo, const char *branch, const char *commit, const char *dir)
{
	struct template_url t;
	struct err e = { 0 };
	assert_int_equal(template_url_parse(url, &arena, &t, &e), 0);
	assert_string_equal(t.repo_url, repo);
	assert_string_equal(t.branch, branch);
	assert_string_equal(t.commit, commit);
	assert_string_equal(t.dir, dir);
}

static void templates(void **state)
{
	static const char hash[] = "0123456789012345678901234567890123456789";
	static const char *const bad[] = { "",
					   "aws-typescript",
					   "https://h",
					   "https://h/",
					   "https://h/owner",
					   "git@h:",
					   "h:a/b/c",
					   "registry://templates/private/acme/web@1.0.0" };
	template("https://h/o/r", "https://h/o/r.git", "", "", "");
	template("https://h/o/r/", "https://h/o/r.git", "", "", "");
	template("https://h/o/r/a/b", "https://h/o/r.git", "", "", "a/b");
	template("https://h/o/r/tree/main/a/b", "https://h/o/r.git", "main", "", "a/b");
	template("https://h/o/r.git/tree/v1", "https://h/o/r.git", "v1", "", "");
	template("https://h/g/s/r.git/a", "https://h/g/s/r.git", "", "", "a");
	template(arena_printf(&arena, "https://h/o/r/tree/%s/a", hash), "https://h/o/r.git", "", hash, "a");
	template("ssh://git@h:22/o/r/a", "ssh://git@h:22/o/r.git", "", "", "a");
	template("git@h:o/r.git/a", "git@h:o/r.git", "", "", "a");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct template_url t;
		struct err e = { 0 };
		assert_true(template_url_parse(bad[i], &arena, &t, &e) < 0);
	}
}

static int begin(void **state)
{
	arena_init(&arena, 0);
	return 0;
}

static int end(void **state)
{
	arena_done(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls),	   cmocka_unit_test(refused_urls), cmocka_unit_test(references),
		cmocka_unit_test(folders), cmocka_unit_test(failures),	   cmocka_unit_test(templates),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
