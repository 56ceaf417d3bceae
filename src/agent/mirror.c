#include "agent/mirror.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "crypto/crypto.h"
#include "os/disk.h"
#include "os/file.h"

#define NAMES_MAX 128 /* mirrors in use: more than an agent has slots */
#define WAIT_MAX_US (5 * US_PER_MINUTE)
/* Each run that found something new leaves a pack and a reference. From so many on a clone costs less than they do. */
#define PACKS_MAX 50
#define GROWTH_BYTES (256 * MIB)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char used[NAMES_MAX][68]; /* the keys of open mirrors; only this process uses the work folder */

static bool take(const char *key)
{
	size_t free_at = NAMES_MAX;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < NAMES_MAX; i++) {
		if (streq(used[i], key)) {
			free_at = NAMES_MAX;
			break;
		}
		if (!used[i][0] && free_at == NAMES_MAX)
			free_at = i;
	}
	if (free_at < NAMES_MAX)
		snprintf(used[free_at], sizeof(used[0]), "%s", key);
	pthread_mutex_unlock(&lock);
	return free_at < NAMES_MAX;
}

static void give_back(const char *key)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < NAMES_MAX; i++) {
		if (streq(used[i], key))
			used[i][0] = '\0';
	}
	pthread_mutex_unlock(&lock);
}

static int make_key(const struct mirror_cache *cache, const struct git_config *git, struct mirror *m, struct err *e)
{
	const struct order_auth *auth = &git->auth;
	const char *parts[] = { cache->salt,	   git->url.clean,	  git->url.user,
				git->url.password, auth->access_token,	  auth->user_name,
				auth->password,	   auth->ssh_private_key, auth->ssh_password };
	_cleanup_buf_ struct buf b;
	_cleanup_arena_ struct arena a;
	buf_init(&b, 2 * MIB);
	arena_init(&a, 64 * KIB);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		buf_addc(&b, parts[i] ? 1 : 0);
		buf_add(&b, parts[i] ? parts[i] : "", parts[i] ? strlen(parts[i]) + 1 : 0);
	}
	int r = buf_check(&b, "the repository's credentials", e);
	const char *hex = r == 0 ? crypto_sha256_hex(&a, buf_str(&b)) : NULL;
	if (b.data)
		explicit_bzero(b.data, b.cap);
	if (!hex)
		return r < 0 ? r : err_nomem(e);
	snprintf(m->key, sizeof(m->key), "%s", hex);
	return 0;
}

static size_t count_packs(const char *path, struct arena *a)
{
	size_t n = 0;
	const char *folder = arena_printf(a, "%s/objects/pack", path);
	DIR *dir = folder ? opendir(folder) : NULL;
	for (struct dirent *d; dir && (d = readdir(dir));)
		n += str_ends_with(str_of(d->d_name), ".pack");
	if (dir)
		closedir(dir);
	return n;
}

/* Takes `ready` away; false if it is not there, or the mirror has grown too much to be worth it. */
static bool begin_warm(struct mirror *m, struct arena *a)
{
	const char *ready = arena_printf(a, "%s/ready", m->path);
	struct str text;
	int64_t first;
	int64_t bytes = 0;
	if (!ready || file_read_regular(a, ready, 64, &text, NULL) < 0 || unlink(ready) != 0 ||
	    !str_to_int64(str_trim(text), &first) || first < 0)
		return false;
	m->first_bytes = (uint64_t)first;
	(void)disk_use(m->path, NULL, &bytes, NULL);
	return count_packs(m->path, a) <= PACKS_MAX && (uint64_t)bytes <= 2 * m->first_bytes + GROWTH_BYTES;
}

static int begin_cold(struct mirror *m, const struct git_config *git, struct arena *a, struct err *e)
{
	int r = file_remove_tree(m->path, e);
	if (r == 0)
		r = file_mkdir_p(arena_printf(a, "%s/refs/slipway", m->path), 0700, e);
	m->changed = true;
	return r < 0 ? r : git_repo_make(m->path, "ref: refs/heads/main", git->url.clean, true, a, e);
}

static int begin(struct mirror *m, const struct git_config *git, struct arena *a, struct err *e)
{
	int r = 0;
	m->warm = begin_warm(m, a);
	if (!m->warm)
		r = begin_cold(m, git, a, e);
	if (r == 0 && git->drop)
		r = file_chown_tree(m->path, git->uid, git->gid, e);
	return r;
}

int mirror_open(const struct mirror_cache *cache, const struct git_config *git, struct arena *a, struct mirror *ret,
		struct err *e)
{
	struct mirror m = { .cache = cache };
	if (!cache || !cache->bytes_max || git->url.scheme == SOURCE_FILE)
		return 0;
	int r = make_key(cache, git, &m, e);
	if (r < 0)
		return r;
	for (int64_t until = clock_mono_us() + WAIT_MAX_US; !take(m.key); poll(NULL, 0, 20)) {
		if (git->stopped(git->arg))
			return err_set(e, ERR_CANCELLED, "cancelled");
		if (clock_mono_us() > until)
			return 0;
	}
	m.path = arena_printf(a, "%s/%s", cache->dir, m.key);
	r = m.path ? begin(&m, git, a, e) : err_nomem(e);
	if (r < 0) {
		mirror_close(&m, false);
		return r;
	}
	*ret = m;
	return 1;
}

/* The one that was used longest ago and is not in use. Its size, or 0 if there is none. `sum`: of all. */
static bool find_oldest(const struct mirror_cache *cache, struct arena *a, char ret_key[68], uint64_t *ret_sum)
{
	struct timespec oldest = { .tv_sec = INT64_MAX };
	DIR *dir = opendir(cache->dir);
	*ret_sum = 0;
	ret_key[0] = '\0';
	for (struct dirent *d; dir && (d = readdir(dir));) {
		const char *path = arena_printf(a, "%s/%s", cache->dir, d->d_name);
		int64_t bytes = 0;
		struct stat st;
		if (strlen(d->d_name) >= sizeof(used[0]) || d->d_name[0] == '.' || !path ||
		    disk_use(path, NULL, &bytes, NULL) < 0)
			continue;
		*ret_sum += (uint64_t)bytes;
		const char *ready = arena_printf(a, "%s/ready", path);
		if (!ready || stat(ready, &st) != 0)
			continue; /* in use */
		if (st.st_mtim.tv_sec < oldest.tv_sec ||
		    (st.st_mtim.tv_sec == oldest.tv_sec && st.st_mtim.tv_nsec < oldest.tv_nsec)) {
			oldest = st.st_mtim;
			memcpy(ret_key, d->d_name, strlen(d->d_name) + 1);
		}
	}
	if (dir)
		closedir(dir);
	return ret_key[0] != '\0';
}

static void make_room(const struct mirror_cache *cache)
{
	for (int i = 0; i < 1000; i++) {
		_cleanup_arena_ struct arena a;
		char key[68];
		uint64_t sum;
		struct err e = { 0 };
		arena_init(&a, 4 * MIB);
		if (!find_oldest(cache, &a, key, &sum) || sum <= cache->bytes_max || !take(key))
			return;
		const char *path = arena_printf(&a, "%s/%s", cache->dir, key);
		if (path && file_remove_tree(path, &e) < 0)
			log_warn("agent", "a mirror cannot be removed: %s", e.message);
		give_back(key);
	}
}

void mirror_close(struct mirror *m, bool good)
{
	_cleanup_arena_ struct arena a;
	struct err e = { 0 };
	arena_init(&a, MIB);
	if (!m->path)
		return;
	int64_t bytes = (int64_t)m->first_bytes;
	int r = 0;
	if (good && !m->warm)
		r = disk_use(m->path, NULL, &bytes, &e);
	if (good && r == 0)
		r = file_chown_tree(m->path, geteuid(), getegid(), &e);
	const char *text = arena_printf(&a, "%lld\n", (long long)bytes);
	if (good && r == 0)
		r = file_write_new(arena_printf(&a, "%s/ready", m->path), str_of(text), 0600, &e);
	if (!good || r < 0)
		r = file_remove_tree(m->path, &e);
	if (r < 0)
		log_warn("agent", "mirror of a repository: %s", e.message);
	give_back(m->key);
	m->path = NULL;
	if (m->changed)
		make_room(m->cache);
}

void mirror_sweep(const struct mirror_cache *cache)
{
	_cleanup_arena_ struct arena a;
	DIR *dir = opendir(cache->dir);
	arena_init(&a, 16 * MIB);
	for (struct dirent *d; dir && (d = readdir(dir));) {
		const char *path = arena_printf(&a, "%s/%s", cache->dir, d->d_name);
		const char *ready = arena_printf(&a, "%s/%s/ready", cache->dir, d->d_name);
		if (d->d_name[0] != '.' && path && ready && (!cache->bytes_max || !file_exists(ready)))
			(void)file_remove_tree(path, NULL);
	}
	if (dir)
		closedir(dir);
	if (cache->bytes_max)
		make_room(cache);
}

void mirror_forget(struct mirror *m)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, MIB);
	const char *path = arena_printf(&a, "%s/%s", m->cache->dir, m->key);
	if (!path || !take(m->key))
		return;
	(void)file_remove_tree(path, NULL);
	give_back(m->key);
}

const char *mirror_ref_name(const char *name, struct arena *a)
{
	const char *hex = crypto_sha256_hex(a, str_of(name));
	return hex ? arena_printf(a, "refs/slipway/%s", hex) : NULL;
}

const char *mirror_hash(const struct mirror *m, const char *ref, struct arena *a)
{
	struct str text;
	const char *path = arena_printf(a, "%s/%s", m->path, ref);
	if (!path || file_read_regular(a, path, 128, &text, NULL) < 0)
		return NULL;
	const char *hash = str_dup(a, str_trim(text));
	return hash && source_commit_valid(hash) ? hash : NULL;
}

int mirror_put(const struct mirror *m, const char *ref, const char *hash, const struct git_config *git, struct arena *a,
	       struct err *e)
{
	const char *path = arena_printf(a, "%s/%s", m->path, ref);
	const char *line = arena_printf(a, "%s\n", hash);
	int r = path && line ? file_write_atomic(path, str_of(line), 0600, e) : err_nomem(e);
	return r == 0 && git->drop ? file_chown_tree(path, git->uid, git->gid, e) : r;
}

static bool goes_on(void *arg)
{
	const struct git_config *git = arg;
	return !git->stopped(git->arg) && clock_mono_us() < git->deadline_us;
}

int mirror_copy(const struct mirror *m, const struct git_config *git, const char *git_dir, struct arena *a,
		struct err *e)
{
	static const char *const kinds[] = { ".pack", ".idx", ".rev" };
	struct git_config config = *git;
	int r = 0;
	const char *folder = arena_printf(a, "%s/objects/pack", m->path);
	const char *shallow = arena_printf(a, "%s/shallow", m->path);
	if (arena_failed(a))
		return err_nomem(e);
	if (file_exists(shallow))
		r = file_clone(shallow, arena_printf(a, "%s/shallow", git_dir), 0600, NULL, NULL, e);
	DIR *dir = opendir(folder);
	if (!dir)
		return err_errno(e, "cannot open %s", folder);
	for (struct dirent *d; r == 0 && (d = readdir(dir));) {
		for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++) {
			if (!str_starts_with(str_of(d->d_name), "pack-") || !str_ends_with(str_of(d->d_name), kinds[i]))
				continue;
			const char *from = arena_printf(a, "%s/%s", folder, d->d_name);
			const char *to = arena_printf(a, "%s/objects/pack/%s", git_dir, d->d_name);
			r = from && to ? file_clone(from, to, 0400, goes_on, &config, e) : err_nomem(e);
		}
	}
	closedir(dir);
	return r;
}
