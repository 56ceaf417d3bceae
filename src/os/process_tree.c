#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "os/process.h"

#define TREE_MAX 32768
#define ROUNDS_MAX 200

struct entry {
	pid_t pid;
	pid_t parent;
	bool below; /* a descendant of the root */
};

/* The parent and the state from /proc/PID/stat. The command's name is in parentheses and may hold anything, so the
 * fields are counted from the last one. */
static bool read_stat(pid_t pid, pid_t *ret_parent, char *ret_state)
{
	char name[64], text[512];
	snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
	_cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	char *end = strrchr(text, ')');
	int parent;
	if (!end || sscanf(end + 1, " %c %d", ret_state, &parent) != 2)
		return false;
	*ret_parent = parent;
	return true;
}

static size_t list_living(struct entry *list, size_t max)
{
	DIR *dir = opendir("/proc");
	size_t n = 0;
	if (!dir)
		return 0;
	for (struct dirent *d; n < max && (d = readdir(dir));) {
		char state;
		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		struct entry one = { .pid = (pid_t)strtol(d->d_name, NULL, 10) };
		if (read_stat(one.pid, &one.parent, &state) && state != 'Z' && state != 'X')
			list[n++] = one;
	}
	closedir(dir);
	return n;
}

int process_kill_descendants(pid_t root)
{
	int total = 0;
	struct entry *list = malloc(TREE_MAX * sizeof(*list));
	if (!list)
		return 0;
	for (int round = 0; round < ROUNDS_MAX; round++) {
		size_t n = list_living(list, TREE_MAX);
		int found = 0;
		bool more = true;
		while (more) {
			more = false;
			for (size_t i = 0; i < n; i++) {
				if (list[i].below || list[i].pid == root)
					continue;
				bool below = list[i].parent == root;
				for (size_t j = 0; j < n && !below; j++)
					below = list[j].below && list[j].pid == list[i].parent;
				if (below) {
					list[i].below = more = true;
					found++;
				}
			}
		}
		if (found == 0)
			break;
		for (size_t i = 0; i < n; i++) {
			if (list[i].below)
				kill(list[i].pid, SIGKILL);
		}
		total += found;
		usleep(round < 10 ? 1000 : 10000);
	}
	free(list);
	return total;
}
