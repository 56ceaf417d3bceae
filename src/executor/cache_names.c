#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "executor/cache.h"

static bool is_under(const char *name, const char *place)
{
	size_t n = strlen(place);
	return strncmp(name, place, n) == 0 && (name[n] == '\0' || name[n] == '/');
}

bool cache_name_ok(const char *const *places, const char *name)
{
	int depth = 0;
	for (struct str rest = str_of(name); rest.p;) {
		struct str part = str_cut(rest, '/', &rest);
		if (part.n == 0 || part.n > NAME_MAX || str_is(part, ".") || str_is(part, "..") ||
		    ++depth > CACHE_DEPTH_MAX)
			return false;
	}
	while (*places && !is_under(name, *places))
		places++;
	return *places != NULL;
}

bool cache_target_ok(const char *name, const char *target)
{
	static const char *const programs[] = { "/usr/", "/opt/", NULL };
	int depth = -2; /* without the root's name and the link's own */
	for (const char *p = name; p; p = (p = strchr(p, '/')) ? p + 1 : NULL)
		depth++;
	if (target[0] == '/') {
		const char *const *p = programs;
		while (*p && strncmp(target, *p, strlen(*p)) != 0)
			p++;
		/* Where absolute links lead, no step back is needed. */
		depth = *p ? 0 : -1;
	}
	for (struct str rest = str_of(target); rest.p && depth >= 0;) {
		struct str part = str_cut(rest, '/', &rest);
		if (str_is(part, ".."))
			depth -= target[0] == '/' ? INT_MAX / 2 : 1;
		else if (part.n && !str_is(part, "."))
			depth++;
	}
	return depth >= 0;
}

int cache_open_folder(int root, const char *path, bool make)
{
	int at = dup(root);
	for (struct str rest = str_of(path); at >= 0 && rest.p && rest.n;) {
		struct str part = str_cut(rest, '/', &rest);
		char name[NAME_MAX + 1];
		if (part.n > NAME_MAX) {
			close(at);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, part.p, part.n);
		name[part.n] = '\0';
		if (make)
			(void)mkdirat(at, name, 0755);
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int saved = errno;
		close(at);
		errno = saved;
		at = next;
	}
	return at;
}
